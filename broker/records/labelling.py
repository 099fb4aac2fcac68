"""Security labels: what is sensitive in a resource, by which rule. Pure.

The code lists are data (``codes/*.json``): for each category its rules with codes, ICD-10 and ATC prefixes, and words. A code list can't
hold every code of a drug or of a local catalogue, so that names of codes and free texts are searched for unmistakable words too. Each
label names the rule that gave it and the version of its list, and one label is always a confidentiality code:

* ``N`` normal, ``R`` restricted (whatever is sensitive), ``V`` very restricted (what its rule says);
* labels that the source put into ``meta.security`` stay, and can only make it stricter;
* what can't be judged, because nothing tells what the resource is about, is :data:`UNCLASSIFIED` and withheld.

What only a note or a conclusion says does not make a blood pressure psychiatric: the label then is ``text:PSY``, it leaves the level as
it is, and counts for releases that keep free text (:func:`denied`). Where the text is the matter, as in a document, it counts in full.

Over-labelling is an error too: it hides from a doctor what the patient never asked to hide. So no list works by similarity, and common
words with a harmless meaning are not searched. References are not followed, except to the medication that is given.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from broker.records.wording import Wording

#: Put before the code of a label that only free text gives.
IN_TEXT = "text:"

#: Withheld until somebody tells what it is.
UNCLASSIFIED = "unclassified"

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"

#: Strictness; U, L and M, which a source may give, count as N here.
LEVELS = {"U": 0, "L": 0, "M": 0, "N": 0, "R": 1, "V": 2}

#: Categories a narrower code of v3-ActCode belongs to, so that denying the category denies it too.
UMBRELLAS = {
    "ETHUD": "SUD",
    "OPIOIDUD": "SUD",
    "ETH": "SUD",
    "STD": "SEX",
    "SDV": "VIO",
    "MST": "VIO",
    "SCA": "GDIS",
    "SICKLE": "GDIS",
    "PSYTHPN": "PSY",
    "MH": "PSY",
    "BH": "PSY",
}

#: Elements that say what a resource is about: if none can be read, nobody can say whether it is sensitive.
SUBJECT_MATTER: Mapping[str, tuple[str, ...]] = {
    "AllergyIntolerance": ("code",),
    "Basic": ("code",),
    "Composition": ("type",),
    "Condition": ("code",),
    "DetectedIssue": ("code",),
    "DiagnosticReport": ("code",),
    "DocumentManifest": ("type",),
    "DocumentReference": ("type", "category"),
    "FamilyMemberHistory": ("condition.code", "relationship"),
    "Flag": ("code",),
    "Goal": ("description",),
    "Immunization": ("vaccineCode",),
    "Media": ("type", "view", "content.title"),
    "MedicationAdministration": ("medicationCodeableConcept",),
    "MedicationDispense": ("medicationCodeableConcept",),
    "MedicationRequest": ("medicationCodeableConcept",),
    "MedicationStatement": ("medicationCodeableConcept",),
    "NutritionOrder": ("oralDiet.type", "supplement.type", "enteralFormula.baseFormulaType"),
    "Observation": ("code",),
    "Procedure": ("code",),
    "QuestionnaireResponse": ("item",),
    "RiskAssessment": ("code", "method", "condition", "prediction.outcome"),
    "ServiceRequest": ("code",),
}

#: Types whose content nothing here can read.
OPAQUE = frozenset({"Binary"})

#: Code systems the lists are written in or that hold nothing sensitive: a code from them is judged by the lists even without its name.
_KNOWN_SYSTEMS = (
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://www.whocc.no/atc",
    "http://terminology.hl7.org/",
    "http://hl7.org/fhir/",
)
_ALIASES = {
    "urn:oid:2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "urn:oid:2.16.840.1.113883.6.1": "http://loinc.org",
    "urn:oid:2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "urn:oid:2.16.840.1.113883.6.73": "http://www.whocc.no/atc",
    "urn:oid:2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "urn:oid:2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10-cm",
    "urn:oid:2.16.156.10011.2.3.3.11": "http://hl7.org/fhir/sid/icd-10",  # China, WS 364: ICD-10
}
_ATC = "http://www.whocc.no/atc"
#: A LOINC code as LHC-Forms and others make links of it: ``/44250-9``, ``…#44250-9``.
_LOINC_LINK = re.compile(r"(?:^|[/#.])([0-9]{1,6}-[0-9])(?:$|[/.])", re.ASCII)
_ICD10 = re.compile(r"icd-?10(?!-?pcs)", re.IGNORECASE)

#: Properties whose strings are searched for words.
_TEXTS = frozenset(
    {"text", "display", "conclusion", "description", "comment", "title", "valueString", "valueMarkdown", "patientInstruction", "clinicalDetails"}
)
#: Elements whose strings are free text, at any depth.
FREE_TEXT = frozenset(
    {"note", "conclusion", "description", "comment", "dosageInstruction", "dosage", "patientInstruction", "valueString", "valueMarkdown", "payload"}
)

#: Types that are texts: what stands in them is what they are about.
_DOCUMENTS = frozenset(
    {"Communication", "CommunicationRequest", "Composition", "DocumentManifest", "DocumentReference", "Media", "QuestionnaireResponse"}
)

#: Names up to this length are remembered with what was found in them.
_REMEMBERED = 160


class Label(NamedTuple):
    """A security label, the rule that gave it and the version of that rule's list."""

    code: str
    rule: str
    version: str


@dataclass
class _Lists:
    """The code lists, turned round: from what stands in a resource to the rules it meets."""

    #: rule id → its labels, its level
    rules: dict[str, tuple[tuple[Label, ...], str]] = field(default_factory=dict)
    codes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    icd10: dict[str, list[str]] = field(default_factory=dict)
    atc: dict[str, list[str]] = field(default_factory=dict)
    types: dict[str, list[str]] = field(default_factory=dict)
    questionnaires: dict[str, list[str]] = field(default_factory=dict)  #: names of instruments; after ``=`` the name must be all there is
    words: Wording = field(default_factory=Wording)  #: for free text
    all_words: Wording = field(default_factory=Wording)  #: for the names of codes


@cache
def lists() -> _Lists:
    """The code lists of ``codes/*.json``, read once."""
    found = _Lists()
    for file in sorted((Path(__file__).parent / "codes").glob("*.json")):
        category = json.loads(file.read_text(encoding="utf-8"))
        for rule in category["rules"]:
            name = rule["id"]
            labels = tuple(Label(code, name, category["version"]) for code in rule["gives"])
            found.rules[name] = labels, rule.get("confidentiality", "R")
            for system, codes in rule.get("codes", {}).items():
                for code in codes:
                    found.codes.setdefault((system, code), []).append(name)
            for target, key in ((found.icd10, "icd10"), (found.atc, "atc"), (found.types, "types"), (found.questionnaires, "questionnaires")):
                for entry in rule.get(key, ()):
                    target.setdefault(entry, []).append(name)
            found.words.add(name, rule.get("words", ()))
            found.all_words.add(name, (*rule.get("words", ()), *rule.get("concept_words", ())))
    return found


@cache
def version() -> str:
    """The newest version among the lists."""
    return max(label.version for labels, _ in lists().rules.values() for label in labels)


def _by_prefix(code: str, prefixes: Mapping[str, list[str]]) -> Iterator[str]:
    plain = code.replace(".", "").upper()
    for length in range(1, min(len(plain), 7) + 1):
        yield from prefixes.get(plain[:length], ())


@lru_cache(maxsize=20_000)
def _by_code(system: str, code: str) -> tuple[str, ...]:
    """Rules that a code meets."""
    plain = _ALIASES.get(system, system)
    met = list(lists().codes.get((plain, code), ()))
    if _ICD10.search(plain):
        met += _by_prefix(code, lists().icd10)
    elif plain == _ATC:
        met += _by_prefix(code, lists().atc)
    return tuple(met)


@lru_cache(maxsize=20_000)
def _in_name(name: str) -> tuple[str, ...]:
    """Rules whose words stand in the name of a code; the same names come again and again."""
    return lists().all_words.found(name)


def _by_words(text: str, *, free: bool) -> tuple[str, ...]:
    """Rules whose words stand in a text. Notes are not remembered, since they are a patient's."""
    if free:
        return lists().words.found(text)
    return _in_name(text) if len(text) <= _REMEMBERED else lists().all_words.found(text)


def _met(resource: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Names of the rules that anything in the resource meets, contained resources included, and whether only free text met it."""
    document = resource["resourceType"] in _DOCUMENTS
    answers = resource["resourceType"] == "QuestionnaireResponse"
    queue: list[tuple[Any, bool]] = [(resource, False)]
    while queue:
        node, free = queue.pop()
        if type(node) is list:
            queue.extend((item, free) for item in node)
            continue
        if type(node) is not dict or "div" in node:
            continue  # A narrative repeats the elements; it never leaves.
        if "resourceType" in node:
            yield from ((name, False) for name in lists().types.get(node["resourceType"], ()))
        system, code = node.get("system"), node.get("code")
        if type(system) is str and type(code) is str:
            yield from ((name, False) for name in _by_code(system, code))
        if answers:
            yield from ((name, False) for name in _by_links(node))
        for name, value in node.items():
            if type(value) is str:
                if name in _TEXTS:
                    in_text = (free or name in FREE_TEXT) and not document
                    yield from ((rule, in_text) for rule in _by_words(value, free=free or name in FREE_TEXT))
            elif type(value) is dict or type(value) is list:
                queue.append((value, free or name in FREE_TEXT))
        if document and str(node.get("contentType", "")).startswith("text/") and type(node.get("data")) is str:
            yield from ((rule, False) for rule in lists().words.found(_decoded(node["data"])))


@lru_cache(maxsize=4096)
def _by_questionnaire(url: str) -> tuple[str, ...]:
    """Rules that a questionnaire's canonical URL meets: by its LOINC code, or by the name of a known instrument in its last part."""
    segment = url.partition("|")[0].rstrip("/").rpartition("/")[2]
    if "loinc.org" in url:
        return _by_code("http://loinc.org", segment)
    words = re.findall(r"[a-z]+|[0-9]+", segment.lower())
    names = {*words, *(first + second for first, second in pairwise(words)), "=" + "".join(words)}
    return tuple(rule for name in sorted(names) for rule in lists().questionnaires.get(name, ()))


def _by_links(node: Mapping[str, Any]) -> Iterator[str]:
    """Rules that the questionnaire or an item of a QuestionnaireResponse meets by its name alone: ``questionnaire``, ``linkId``, ``definition``."""
    if type(node.get("questionnaire")) is str:
        yield from _by_questionnaire(node["questionnaire"])
    for name in ("linkId", "definition"):
        code = _LOINC_LINK.search(node[name]) if type(node.get(name)) is str else None
        if code is not None:
            yield from _by_code("http://loinc.org", code[1])


def _decoded(data: str) -> str:
    """An attachment's text."""
    try:
        return base64.b64decode(data).decode(errors="replace")
    except ValueError:
        return ""


def _at(node: Any, path: str) -> Iterator[Any]:
    """The values at a path, through arrays."""
    if type(node) is list:
        for item in node:
            yield from _at(item, path)
    elif not path:
        yield node
    elif type(node) is dict:
        name, _, rest = path.partition(".")
        if name in node:
            yield from _at(node[name], rest)


def _readable(value: Any) -> bool:
    """Whether a concept, text or answer tells what it is about."""
    if type(value) is str:
        return bool(value.strip())
    if type(value) is not dict:
        return False
    if any(type(value.get(name)) is str and value[name].strip() for name in ("text", "display", "title")):
        return True
    system, code = value.get("system"), value.get("code")
    if type(system) is str and type(code) is str:
        plain = _ALIASES.get(system, system)
        return plain.startswith(_KNOWN_SYSTEMS) or bool(_ICD10.search(plain))
    return any(_readable(coding) for coding in value.get("coding", ()))


def names_medication(resource: Mapping[str, Any]) -> str | None:
    """The reference to a Medication that a prescription, dispense or administration gives; its labels are needed to label this one."""
    medication = resource.get("medicationReference")
    target = medication.get("reference") if type(medication) is dict else None
    return target if type(target) is str and not target.startswith("#") else None


def _can_be_judged(resource: Mapping[str, Any], medication: Sequence[Label] | None) -> bool:
    type_name = resource["resourceType"]
    if type_name in OPAQUE:
        return False
    if "medicationReference" in resource and type_name in SUBJECT_MATTER:
        reference = resource["medicationReference"].get("reference", "")
        return medication is not None or (reference.startswith("#") and any("code" in part for part in resource.get("contained", ())))
    paths = SUBJECT_MATTER.get(type_name)
    return paths is None or any(_readable(value) for path in paths for value in _at(resource, path))


def denied(codes: Iterable[str], *, free_text: bool) -> tuple[str, ...]:
    """The label codes to keep out for these denied codes: ``unclassified`` always, and ``text:`` labels where free text is kept.

    ``free_text``: the release keeps notes, conclusions, descriptions or other free text of any type (:data:`FREE_TEXT`).
    """
    plain = dict.fromkeys((*codes, UNCLASSIFIED))
    return (*plain, *(IN_TEXT + code for code in plain)) if free_text else tuple(plain)


def labels_for(resource: Mapping[str, Any], *, medication: Sequence[Label] | None = None) -> tuple[Label, ...]:
    """The labels of a well-formed resource, ordered by code, each once; among them exactly one of N, R and V, or ``unclassified``.

    ``medication`` are the labels of the Medication that :func:`names_medication` refers to, if it is known.
    """
    given: dict[str, Label] = {}
    level = "N"

    def add(label: Label, confidentiality: str) -> None:
        nonlocal level
        given.setdefault(label.code, label)
        level = max(level, confidentiality, key=LEVELS.__getitem__)

    for name, only_text in _met(resource):
        labels, confidentiality = lists().rules[name]
        for label in labels:
            if only_text:
                given.setdefault(IN_TEXT + label.code, label._replace(code=IN_TEXT + label.code))
            else:
                add(label, confidentiality)
        if not only_text:
            level = max(level, confidentiality, key=LEVELS.__getitem__)
    for security in resource.get("meta", {}).get("security", ()):
        code = security.get("code")
        if security.get("system") == CONFIDENTIALITY and code in LEVELS:
            level = max(level, code, key=LEVELS.__getitem__)
        elif security.get("system") == ACT_CODE and code:
            add(Label(code, "source", "meta.security"), "R")
            if code in UMBRELLAS:
                add(Label(UMBRELLAS[code], "source", "meta.security"), "R")
    for label in medication or ():
        if label.code.startswith(IN_TEXT):
            continue
        if label.code in LEVELS:
            level = max(level, label.code, key=LEVELS.__getitem__)
        elif label.code != UNCLASSIFIED:
            add(label, "R")
    if not _can_be_judged(resource, None if medication is None or any(label.code == UNCLASSIFIED for label in medication) else medication):
        given[UNCLASSIFIED] = Label(UNCLASSIFIED, "nothing-to-read", version())
        level = max(level, "R", key=LEVELS.__getitem__)
    given[level] = Label(level, "confidentiality-default" if level == "N" else "confidentiality-of-content", version())
    return tuple(given[code] for code in sorted(given))
