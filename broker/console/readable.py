"""FHIR values and consents in a line that a person can read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.console import vocabulary
from broker.console.desk import Desk
from broker.console.language import N_, day, said
from broker.console.pages import Names, text

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{5,8}|$)")

#: Codes of states and sexes that records hold, in words.
CODES = {
    "final": N_("final result"), "preliminary": N_("preliminary result"), "amended": N_("amended result"), "corrected": N_("corrected result"),
    "registered": N_("registered, no result yet"), "cancelled": N_("cancelled"), "entered-in-error": N_("entered in error"),
    "unknown": N_("not known"), "active": N_("in effect"), "completed": N_("completed"), "finished": N_("finished"), "in-progress": N_("going on"),
    "planned": N_("planned"), "on-hold": N_("held for now"), "stopped": N_("stopped"), "not-done": N_("was not done"), "current": N_("current"),
    "male": N_("male"), "female": N_("female"), "other": N_("other"),
}  # fmt: skip

#: Longer values are cut: a page is for a look, not for keeping.
LONGEST = 160


def shown(value: Any) -> str:
    """One value: codings by their words, quantities with their unit, periods from and until."""
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, list):
        return _cut("; ".join(dict.fromkeys(filter(None, (shown(one) for one in value)))))
    if not isinstance(value, Mapping):
        return _cut(str(value))
    if "coding" in value:
        return value.get("text") or shown(value["coding"])
    if "display" in value or ({"system", "code"} <= value.keys() and "value" not in value):
        return str(value.get("display") or value.get("code", ""))
    if "value" in value and ("unit" in value or "code" in value or "comparator" in value):
        return f"{value.get('comparator', '')}{value['value']} {value.get('unit') or value.get('code', '')}".strip()
    if "reference" in value:
        return str(value["reference"])
    if value.keys() <= {"start", "end", "id", "extension"} and value:
        return f"{value.get('start', '…')} – {value.get('end', '…')}"
    if value.keys() & {"family", "given"}:
        return value.get("text") or f"{value.get('family', '')}{''.join(value.get('given', ()))}"
    return _cut("; ".join(filter(None, (shown(one) for key, one in value.items() if key not in ("id", "extension", "system")))))


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def headline(resource: Mapping[str, Any]) -> str:
    """What a resource is about."""
    for name in ("code", "medicationCodeableConcept", "vaccineCode", "type", "category", "name", "class"):
        if resource.get(name):
            return shown(resource[name])
    return str(resource.get("id", ""))


def rows(language: str, resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each element of a resource with its value."""
    hidden = ("resourceType", "id", "meta")
    found = [(vocabulary.element(language, plain(name)), _told(language, name, value)) for name, value in resource.items() if name not in hidden]
    return [(name, value) for name, value in found if value]


def _told(language: str, name: str, value: Any) -> str:
    """A value in the language's habit: days and moments as it writes them, the codes of states by their words."""
    if isinstance(value, str) and _DAY.match(value):
        return _dated(language, value)
    if isinstance(value, Mapping) and value and value.keys() <= {"start", "end"}:
        return " – ".join(_dated(language, str(value[edge])) if value.get(edge) else "…" for edge in ("start", "end"))
    if isinstance(value, str) and name in ("status", "gender"):
        return said(language, CODES.get(value, value))
    return shown(value)


def _dated(language: str, value: str) -> str:
    """A day, or a moment as the clock stood where it was written down; less than a day as it is."""
    try:
        told = day(language, value[:10])
    except ValueError:
        return value
    return f"{told} {value[11:16]}".strip()


def plain(name: str) -> str:
    """The name of an element without the type that stands behind it: ``valueQuantity`` is a value."""
    for stem in ("value", "effective", "onset", "abatement", "deceased", "medication", "performed", "occurrence"):
        if name.startswith(stem) and name[len(stem) : len(stem) + 1].isupper():
            return stem
    return name.removeprefix("_")


@dataclass(frozen=True)
class ConsentSaid:
    """A consent in words: what the root says, to whom, what for, until when, and its exceptions."""

    id: str
    status: str
    date: str
    permits: bool
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    period: str
    exceptions: tuple[str, ...]


def consent(desk: Desk, language: str, body: Mapping[str, Any], names: Names) -> ConsentSaid:
    """A FHIR Consent in words. ``names``: of organisations, by id."""
    root = body.get("provision") or {}
    period = root.get("period") or {}
    return ConsentSaid(
        id=str(body.get("id", "")),
        status=str(body.get("status", "")),
        date=day(language, str(body.get("dateTime", ""))[:10]),
        permits=root.get("type") == "permit",
        purposes=tuple(_purposes(desk, language, root)),
        recipients=tuple(_actors(root, names)),
        period=f"{day(language, str(period.get('start', ''))[:10])} – {day(language, str(period.get('end', ''))[:10])}",
        exceptions=tuple(_exceptions(desk, language, root.get("provision") or (), names, permits=root.get("type") != "permit")),
    )


def _purposes(desk: Desk, language: str, provision: Mapping[str, Any]) -> Iterator[str]:
    for one in provision.get("purpose") or ():
        yield text(desk.purposes.get(one.get("code", "")), language, one.get("display") or one.get("code", ""))


def _actors(provision: Mapping[str, Any], names: Names) -> Iterator[str]:
    for one in provision.get("actor") or ():
        reference = (one.get("reference") or {}).get("reference", "")
        yield names.get(reference.rpartition("/")[2], reference)


def _exceptions(desk: Desk, language: str, provisions: Sequence[Mapping[str, Any]], names: Names, *, permits: bool) -> Iterator[str]:
    for one in provisions:
        allowed = one.get("type", "permit" if permits else "deny") == "permit"
        what = [
            *(vocabulary.label(language, label.get("code", "")) for label in one.get("securityLabel") or ()),
            *(vocabulary.kind(language, kind.get("code", "")) for kind in one.get("class") or ()),
            *(shown(code) for code in one.get("code") or ()),
            *_purposes(desk, language, one),
            *_actors(one, names),
        ]
        words = said(language, N_("allowed: %(what)s")) if allowed else said(language, N_("not: %(what)s"))
        yield words % {"what": said(language, N_(", ")).join(dict.fromkeys(what))}
