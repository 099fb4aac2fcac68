"""From the bytes of an entry to what is stored: read, checked, resolved, attributed, labelled. No database; what has to be looked up
comes in as :class:`Surroundings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from broker.errors import Malformed, Problem, TooLarge
from broker.fhir import definitions
from broker.fhir.errors import KINDS
from broker.fhir.errors import problem as structural
from broker.fhir.parse import read_json
from broker.fhir.validate import problems
from broker.records import rewriting
from broker.records.compartment import SHARED_TYPES, belonging, references
from broker.records.dates import clinical_dates
from broker.records.inheriting import sources_of
from broker.records.labelling import UNCLASSIFIED, Label, labels_for, names_medication
from broker.records.matching import identifiers_of, names_of
from broker.records.sources import MAX_LINE_BYTES, Entry

#: Why a well-formed resource is refused: code → (English, Chinese).
REASONS: Mapping[str, tuple[str, str]] = {
    "method": ("Only POST and PUT entries are records.", "仅接受 POST 与 PUT 条目。"),
    "no-resource": ("The entry has no resource.", "条目中没有资源。"),
    "no-patient": (
        "It belongs to no patient, and its type is not of staff, organisations or products.",
        "不属于任何患者，其类型亦非人员、机构或产品。",
    ),
    "several-patients": ("It belongs to several patients; split it.", "同时属于多名患者，请拆分。"),
    "patient-elsewhere": ("It refers to a patient on another server or only by an identifier.", "所指患者在其他服务器上，或仅以标识符表示。"),
    "patient-contained": ("Its patient is only described inside it.", "其患者仅为内嵌描述，无法确认身份。"),
    "unresolved-reference": ("It refers to an entry that is not in this Bundle.", "所引用的条目不在本 Bundle 内。"),
    "ambiguous-reference": ("Several entries of this Bundle have the address that it refers to.", "本 Bundle 中有多个条目使用该引用地址。"),
    "no-match": ("No stored resource matches the conditional reference.", "没有与条件引用匹配的资源。"),
    "several-matches": ("Several stored resources match the conditional reference.", "有多个资源与条件引用匹配。"),
    "unsupported-condition": ("Conditional references are resolved by identifier=system|value alone.", "条件引用仅支持 identifier=system|value。"),
    "reference-form": ("A reference is written in a way that can't be replaced byte for byte.", "引用的书写方式无法按字节替换。"),
    "not-asked": ("The upstream server was not asked for this type.", "上游服务器返回了未请求的资源类型。"),
    "other-source": ("A resource with this type and id came from another source.", "相同类型与 id 的资源来自其他来源。"),
    "other-patient": ("A resource with this type and id is stored for another patient.", "相同类型与 id 的资源已属于另一名患者。"),
}

_Found = Callable[[rewriting.Condition], Sequence[str]]


class Refusal(NamedTuple):
    """An entry that is not stored, and every reason."""

    where: str
    problems: tuple[Problem, ...]
    waiting: bool = False  #: it may be taken once other files have been read


@dataclass
class Prepared:
    """A resource ready to be sealed and stored."""

    where: str
    type: str
    id: str
    patient: str | None  #: FHIR id; None: shared
    body: bytes
    labels: tuple[Label, ...]
    clinical_from: datetime | None
    clinical_until: datetime | None
    links: tuple[tuple[str, str], ...] = ()  #: (type, id) of shared resources it refers to
    identifiers: tuple[tuple[str, str], ...] = ()  #: (system, value), of patients and shared resources
    names: frozenset[str] = frozenset()  #: of a Patient, normalised
    birth_date: str | None = None
    sources: tuple[tuple[str, str], ...] = ()  #: (type, id) of the resources whose labels it takes over
    waiting: bool = False  #: its labels may become known once other files have been read


class Unchanged(NamedTuple):
    """A conditional create whose resource is there already."""

    where: str


@dataclass
class Surroundings:
    """What an entry may refer to: the other entries, and what is stored."""

    links: dict[str, str | None] = field(default_factory=dict)  #: full URL → ``Type/id``; None where several have it
    identified: dict[rewriting.Condition, list[str]] = field(default_factory=dict)  #: ids of this Bundle's entries
    stored: _Found = lambda _: ()
    medication: Callable[[str], tuple[Label, ...] | None] = lambda _: None
    unnamed: Callable[[bytes], str] = lambda _: ""  #: id of a resource that came without id and full URL
    max_depth: int = 64

    def matches(self, condition: rewriting.Condition) -> list[str]:
        """Ids that match a condition, here and in the store."""
        return sorted({*self.identified.get(condition, ()), *self.stored(condition)})


class _Head(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 - FHIR's name
    id: str = ""
    identifier: Any = None


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""
    ifNoneExist: str = ""  # noqa: N815 - FHIR's name


class _EntryHead(msgspec.Struct):
    fullUrl: str = ""  # noqa: N815 - FHIR's name
    resource: _Head | None = None
    request: _Request | None = None


class _EntryRaw(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")


_decode_head = msgspec.json.Decoder(_EntryHead).decode
_decode_raw = msgspec.json.Decoder(_EntryRaw).decode


def _id_of(head: _EntryHead, data: bytes, unnamed: Callable[[bytes], str]) -> str:
    """The id an entry's resource has or gets: its own, of its PUT, of its full URL, or made of its content."""
    if head.resource is not None and head.resource.id:
        return head.resource.id
    last = head.fullUrl.rpartition("/")[2] if "/" in head.fullUrl else head.fullUrl.rpartition(":")[2]
    if head.request is not None and head.request.method == "PUT" and "/" in head.request.url and "?" not in head.request.url:
        last = head.request.url.rpartition("/")[2]
    return last or unnamed(data)


def survey(entries: Sequence[Entry], around: Surroundings) -> None:
    """Note where the entries of a Bundle will stand, before any of them is prepared."""
    for entry in entries:
        data = bytes(entry.data)
        try:
            head = _decode_head(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # It is refused with its reason when its turn comes.
        if head.resource is None or head.resource.resourceType not in definitions.resource_types():
            continue
        name, resource_id = head.resource.resourceType, _id_of(head, data, around.unnamed)
        existing = _if_none_exist(head.request.ifNoneExist if head.request else "", name, around)
        target = f"{name}/{existing or resource_id}"
        if head.fullUrl:
            known = around.links.setdefault(head.fullUrl, target)
            if known != target:
                around.links[head.fullUrl] = None
        if not existing and isinstance(head.resource.identifier, list):
            for system, value in _identifiers({"identifier": head.resource.identifier}):
                ids = around.identified.setdefault(rewriting.Condition(name, system, value), [])
                if resource_id not in ids:
                    ids.append(resource_id)


def _identifiers(resource: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    listed = [
        one for one in resource["identifier"] if isinstance(one, dict) and isinstance(one.get("system"), str) and isinstance(one.get("value"), str)
    ]
    return identifiers_of({"identifier": listed})


def _if_none_exist(query: str, type_name: str, around: Surroundings) -> str | None:
    """The one stored resource that a conditional create would not create again."""
    condition = rewriting.identifier_query(type_name, query) if query else None
    found = around.stored(condition) if condition else ()
    return found[0] if len(found) == 1 else None


def _reason(code: str, path: str) -> Problem:
    return Problem(path, code, REASONS[code][0])


def prepare(entry: Entry, around: Surroundings) -> Prepared | Refusal | Unchanged:
    """Read, check and resolve one entry. Everything that is wrong with it is in the Refusal."""
    data = bytes(entry.data)
    try:
        parsed = read_json(data, max_bytes=MAX_LINE_BYTES, max_depth=around.max_depth + 2)
    except (Malformed, TooLarge) as error:
        return Refusal(entry.where, error.problems or (Problem("$", "too-large", error.detail),))
    if not entry.wrapped:
        return _resource(entry.where, parsed, data, around)
    if not isinstance(parsed, dict):
        return Refusal(entry.where, (structural("$", "not-an-object"),))
    try:
        head = _decode_head(data)
        body = bytes(_decode_raw(data).resource)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal(entry.where, (structural(entry.where, "wrong-type", "fullUrl, request or resource of the entry."),))
    if head.request is not None and head.request.method not in ("POST", "PUT"):
        return Refusal(entry.where, (_reason("method", "request.method"),))
    resource = parsed.get("resource")
    if resource is None:
        return Refusal(entry.where, (_reason("no-resource", "resource"),))
    existing = (
        _if_none_exist(head.request.ifNoneExist if head.request else "", str(resource.get("resourceType")), around)
        if isinstance(resource, dict)
        else None
    )
    if existing is not None and existing != resource.get("id"):
        return Unchanged(entry.where)
    if isinstance(resource, dict) and resource and "id" not in resource and body:
        resource_id = _id_of(head, data, around.unnamed)
        resource["id"], body = resource_id, rewriting.with_id(body, resource_id) if resource_id.isascii() and '"' not in resource_id else body
    return _resource(entry.where, resource, body, around)


def _resource(where: str, resource: Any, body: bytes, around: Surroundings) -> Prepared | Refusal:
    found = problems(resource)
    if not found and "id" not in resource:
        found = [structural(f"{resource['resourceType']}.id", "id-missing")]
    if found:
        return Refusal(where, tuple(found))
    name = resource["resourceType"]
    resolved = _resolve(where, resource, body, around)
    if isinstance(resolved, Refusal):
        return resolved
    owner = belonging(resource)
    if owner.refusal is not None:
        return Refusal(where, (_reason(owner.refusal, owner.path),))
    wanted = names_medication(resource)
    labels = labels_for(resource, medication=around.medication(wanted) if wanted else None)
    begins, ends = clinical_dates(resource)
    prepared = Prepared(where, name, resource["id"], owner.patient, resolved, labels, begins, ends, links=_links(resource))
    _named(prepared, resource)
    prepared.sources = sources_of(resource)
    prepared.waiting = wanted is not None and any(label.code == UNCLASSIFIED for label in labels)
    return prepared


def _named(prepared: Prepared, resource: dict[str, Any]) -> None:
    if prepared.type == "Patient" or prepared.patient is None:
        prepared.identifiers = identifiers_of(resource)
    if prepared.type == "Patient":
        prepared.names, prepared.birth_date = names_of(resource), resource.get("birthDate")


def prepared_again(resource: dict[str, Any], body: bytes, patient: str | None, labels: tuple[Label, ...]) -> Prepared:
    """What is stored already, with other labels and otherwise as it was."""
    begins, ends = clinical_dates(resource)
    prepared = Prepared("$", resource["resourceType"], resource["id"], patient, body, labels, begins, ends, links=_links(resource))
    _named(prepared, resource)
    return prepared


def _links(resource: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Shared resources that a resource refers to, each once."""
    found: dict[tuple[str, str], None] = {}
    for reference in references(resource):
        name, _, rest = reference["reference"].partition("/")
        if name in SHARED_TYPES and rest:
            found[name, rest.partition("/")[0]] = None
    return tuple(found)


def _resolve(where: str, resource: dict[str, Any], body: bytes, around: Surroundings) -> bytes | Refusal:
    """Replace what points to other entries or asks for a match, in the parsed resource and in its bytes alike."""
    changes: dict[str, str] = {}
    places = 0
    wrong: list[Problem] = []
    waiting = False
    for holder, name in rewriting.targets(resource):
        old = holder[name]
        new: str | None = None
        if old in around.links:
            new = around.links[old]
            if new is None:
                wrong.append(_reason("ambiguous-reference", _path_of(resource, holder)))
        elif name == "reference" and old.startswith("urn:"):
            wrong.append(_reason("unresolved-reference", _path_of(resource, holder)))
        elif name == "reference" and "?" in old and not old.startswith(("#", "http:", "https:")):
            code, new = _matched(old, around)
            if code:
                wrong.append(_reason(code, _path_of(resource, holder)))
                waiting = waiting or code == "no-match"
        if new is not None and new != old:
            holder[name], changes[old], places = new, new, places + 1
    if wrong:
        return Refusal(where, tuple(dict.fromkeys(wrong)), waiting)
    if not changes:
        return body
    written, count = rewriting.rewritten(body, changes)
    return written if count == places else Refusal(where, (_reason("reference-form", resource["resourceType"]),))


def _path_of(resource: dict[str, Any], holder: dict[str, Any]) -> str:
    """Where in the resource a reference stands; looked for only when something is wrong with it."""
    queue: list[tuple[str, Any]] = [(resource["resourceType"], resource)]
    while queue:
        path, node = queue.pop()
        if node is holder:
            return path
        if type(node) is list:
            queue.extend((f"{path}[{index}]", item) for index, item in enumerate(node))
        elif type(node) is dict:
            queue.extend((f"{path}.{name}", value) for name, value in node.items())
    return str(resource["resourceType"])


def _matched(target: str, around: Surroundings) -> tuple[str, str | None]:
    """("", ``Type/id``) of the one match, or the code of what is wrong."""
    condition = rewriting.conditional(target)
    if condition is None:
        return "unsupported-condition", None
    ids = around.matches(condition)
    if len(ids) == 1:
        return "", f"{condition.type}/{ids[0]}"
    return ("several-matches" if ids else "no-match"), None


def spoken(found: Problem, language: str) -> str:
    """A problem's sentence in ``zh`` or ``en``."""
    if language == "zh":
        if found.code in REASONS:
            return REASONS[found.code][1]
        if found.code in KINDS:
            return KINDS[found.code].zh
    return found.message
