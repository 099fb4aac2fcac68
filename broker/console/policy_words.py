"""Policies in words: profiles, what a draft changes and what a replay found, as pages show them. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from broker.console import vocabulary, words
from broker.console.element_words import STEPS
from broker.console.language import N_, said
from broker.governance.service import Change, Outcome, Proposal, needed
from broker.policy.service import Text

#: Fields of the form, which are where the days stand in a profile.
DAY_FIELDS = ("limits.retention_days", "lookback_days.recent", "lookback_days.latest")

WINDOW = {
    "undated": N_("without a date"),
    "standing": N_("of any time"),
    "recent": N_("of recent years"),
    "latest": N_("of the latest time"),
}
#: What a replay says of an element that leaves unchanged.
_PLAIN = " as it is"
FIELD = {
    "limits.retention_days": N_("Days the recipient may keep it"),
    "limits.releases": N_("Releases at most"),
    "lookback_days.recent": N_("Days looked back, recent years"),
    "lookback_days.latest": N_("Days looked back, latest time"),
    "channels": N_("Ways"),
    "ceiling": N_("Highest confidentiality"),
    "lifted_ceiling": N_("Highest confidentiality, with a sensitive class"),
    "may_lift": N_("Sensitive classes that may be asked for"),
    "obligations": N_("Obligations"),
    "workforce": N_("Qualifications required"),
    "abroad": N_("May go abroad"),
    "transforms": N_("Changed before it leaves"),
    "window": N_("Period"),
    "codes": N_("Codes"),
    "categories": N_("Categories"),
    "name": N_("Name"),
    "why": N_("Why"),
}
OUTCOMES = {
    Outcome.SAME: (N_("unchanged"), ""),
    Outcome.NARROWED: (N_("narrower"), "waiting"),
    Outcome.REFUSED: (N_("newly refused"), "bad"),
    Outcome.NEWLY_ALLOWED: (N_("newly allowed"), "bad"),
    Outcome.WIDENED: (N_("wider"), "bad"),
    Outcome.CHANGED: (N_("changed otherwise"), "waiting"),
    Outcome.NOT_KNOWN: (N_("not known then"), "waiting"),
    Outcome.UNAVAILABLE: (N_("could not be judged"), "bad"),
}


@dataclass(frozen=True)
class Element:
    """An element for people: ``path`` as FHIR names it, ``words`` as they do; ``must``: the type can't do without it."""

    path: str
    words: str
    must: bool = False
    change: str = ""


@dataclass(frozen=True)
class Kind:
    """A type within a profile."""

    name: str
    words: str
    window: str
    elements: Sequence[Element]
    only: Sequence[str]  #: categories and codes, where only some leave


@dataclass(frozen=True)
class Profile:
    """A profile, ready to be shown."""

    name: str
    title: str
    why: str
    uses: Sequence[str]
    kinds: Sequence[Kind]
    channels: Sequence[tuple[str, str]]
    days: Mapping[str, int]
    day_words: Mapping[str, str]
    releases: int | None
    obligations: Sequence[str]
    lifts: Sequence[str]
    requires: Sequence[str]  #: what whoever applies must hold, a line each
    demandable: Sequence[tuple[str, str]]  #: everything that could be required
    abroad: bool


def element(spoken: str, path: str) -> str:
    """An element in words, with the part that is meant."""
    return " · ".join(said(spoken, vocabulary.ELEMENTS.get(step) or STEPS.get(step, step)) for step in path.split("."))


def right(spoken: str, named: str) -> str:
    """What a replay names, such as ``Observation.note`` or ``Observation of earlier years``."""
    kind, dot, rest = named.partition(".")
    if dot and " " not in kind:
        path = rest.removesuffix(_PLAIN)
        found = f"{vocabulary.kind(spoken, kind)} · {element(spoken, path)}"
        return found if path == rest else f"{found} ({said(spoken, N_('as it is'))})"
    kind, _, rest = named.partition(" ")
    if rest == "of earlier years":
        return f"{vocabulary.kind(spoken, kind)} ({said(spoken, N_('of earlier years'))})"
    what = {"confidentiality": N_("Confidentiality"), "label": N_("Sensitivity labels")}.get(kind)
    name = vocabulary.kind(spoken, kind) if what is None else said(spoken, what)
    field, _, token = rest.partition(" ")
    return name if not rest else f"{name} · {said(spoken, FIELD[field])} {token}" if field in FIELD else f"{name} · {rest}"


def profiles(spoken: str, data: Mapping[str, Any]) -> list[Profile]:
    """Every profile, by name."""
    return [profile(spoken, data, name) for name in sorted(data["profiles"])]


def profile(spoken: str, data: Mapping[str, Any], name: str) -> Profile:
    """One profile."""
    it = data["profiles"][name]
    return Profile(
        name=name,
        title=it["name"][spoken],
        why=it["why"][spoken],
        uses=_uses(spoken, data, name),
        kinds=[_kind(spoken, data, kind, row) for kind, row in sorted(it["types"].items())],
        channels=[(each, words.word(spoken, "channel", each)) for each in it["channels"]],
        days={field: it[field.partition(".")[0]][field.partition(".")[2]] for field in DAY_FIELDS},
        day_words={field: said(spoken, FIELD[field]) for field in DAY_FIELDS},
        releases=it["limits"]["releases"],
        obligations=[vocabulary.obligation(spoken, each["code"]) for each in it["obligations"]],
        lifts=[data["data_classes"][code]["name"][spoken] for code in it["may_lift"]],
        requires=[line_words(spoken, data, line) for line in it["workforce"]],
        demandable=[(code, row["name"][spoken]) for code, row in sorted(data["workforce"].items())],
        abroad=it["abroad"],
    )


def line_words(spoken: str, data: Mapping[str, Any], line: Sequence[str] | str) -> str:
    """A line of what is required: one of several. Revisions of before had a single code in its place."""
    names = [data["workforce"][code]["name"][spoken] for code in ([line] if isinstance(line, str) else line)]
    return said(spoken, N_(" or ")).join(names)


def _uses(spoken: str, data: Mapping[str, Any], name: str) -> list[str]:
    return [
        " · ".join((data["purposes"][purpose]["name"][spoken], words.word(spoken, "kind", kind), words.word(spoken, "relationship", relationship)))
        for purpose, kinds in sorted(data["profile_index"].items())
        for kind, each in sorted(kinds.items())
        for relationship, applies in sorted(each.items())
        if applies == name
    ]


def _kind(spoken: str, data: Mapping[str, Any], kind: str, row: Mapping[str, Any]) -> Kind:
    must = needed(data["types"], kind)
    changed = {each["path"]: each["do"] for each in row["transforms"]}
    elements = [Element(path, element(spoken, path), path in must, changed.get(path, "")) for path in row["elements"].split(" ")]
    return Kind(kind, vocabulary.kind(spoken, kind), said(spoken, WINDOW[row["window"]]), elements, [*row["categories"], *row["codes"]])


@dataclass(frozen=True)
class Changed:
    """What becomes of one profile."""

    name: str
    title: str
    kinds: Sequence[tuple[str, Sequence[str], Sequence[str], Sequence[tuple[str, str, str]]]]  #: type, what goes, what comes, fields


def changes(spoken: str, data: Mapping[str, Any], found: Sequence[Change]) -> list[Changed]:
    """What a draft changes, profile by profile."""
    shown = []
    for name, rows in groupby(found, key=lambda each: each.profile):
        title = data["profiles"][name]["name"][spoken] if name in data["profiles"] else name
        kinds = [
            (
                vocabulary.kind(spoken, row.kind) if row.kind else "",
                [element(spoken, path) for path in row.lost],
                [element(spoken, path) for path in row.gained],
                [
                    (said(spoken, FIELD.get(field, field)), _value(spoken, data, field, before), _value(spoken, data, field, now))
                    for field, before, now in row.fields
                ],
            )
            for row in rows
        ]
        shown.append(Changed(name, title, kinds))
    return shown


def _value(spoken: str, data: Mapping[str, Any], field: str, value: Any) -> str:
    """A value of a profile for people."""
    comma = said(spoken, N_(", "))
    if value is None:
        return "–"
    if isinstance(value, bool):
        return said(spoken, N_("Yes") if value else N_("No"))
    if field == "channels":
        return comma.join(words.word(spoken, "channel", each) for each in value) or "–"
    if field == "obligations":
        return comma.join(vocabulary.obligation(spoken, each["code"]) for each in value) or "–"
    if field == "workforce":
        return said(spoken, N_("; ")).join(line_words(spoken, data, line) for line in value) or "–"
    if field in ("name", "why"):
        return str(value[spoken])
    if field == "window":
        return said(spoken, WINDOW.get(value, str(value)))
    if isinstance(value, list):
        return comma.join(f"{each['path']} {each['do']}" if isinstance(each, dict) else str(each) for each in value) or "–"
    return str(value)


@dataclass(frozen=True)
class Replay:
    """What a draft would have made of the past."""

    at: str
    since: str
    decisions: int
    patients: int
    unreadable: int
    tiles: Sequence[tuple[str, int, str]]
    columns: Sequence[str]
    groups: Sequence[tuple[str, str, int, Sequence[int]]]  #: recipient, purpose, patients, how many of each outcome
    lost: Sequence[tuple[str, int]]
    gained: Sequence[tuple[str, int]]
    reasons: Sequence[tuple[str, int]]
    absent: Sequence[tuple[str, int]]  #: facts that were not kept then, and in how many decisions


#: Facts that questions of before may lack, in words.
ABSENT = {
    "workforce": N_("what the registers of qualifications and training said"),
    "residency": N_("what was shown for a transfer abroad"),
    "wanted_types": N_("which types the call wanted"),
    "patient.age": N_("the patient's age"),
    "consent.givers": N_("who gave the consents"),
    "consent.separate": N_("which separate consents were given"),
}


def replay(
    spoken: str, data: Mapping[str, Any], reasons: Mapping[str, Text], found: Mapping[str, Any] | None, place: Callable[[str], str]
) -> Replay | None:  # fmt: skip
    """The result of a replay; None before there was one. ``place``: the name of an organisation."""
    if found is None:
        return None
    some = [outcome for outcome in OUTCOMES if outcome is Outcome.SAME or found.get(outcome.value)]

    def reason(code: str) -> str:
        return code if code not in reasons else reasons[code].zh if spoken == "zh" else reasons[code].en

    def purpose(code: str) -> str:
        return str(data["purposes"][code]["name"][spoken]) if code in data["purposes"] else code

    return Replay(
        at=found["at"],
        since=found["since"] or "",
        decisions=found["decisions"],
        patients=found["patients"],
        unreadable=found["unreadable"],
        tiles=[(said(spoken, OUTCOMES[each][0]), found[each.value], OUTCOMES[each][1] if found[each.value] else "") for each in some],
        columns=[said(spoken, OUTCOMES[each][0]) for each in some],
        groups=[
            (place(row["recipient"]), purpose(row["purpose"]), row["patients"], [row[each.value] for each in some]) for row in found["groups"]
        ],
        lost=_merged(spoken, found["lost"]),
        gained=_merged(spoken, found["gained"]),
        reasons=[(reason(code), count) for code, count in found["reasons"].items()],
        absent=[(said(spoken, ABSENT.get(name, ABSENT["residency"])), count) for name, count in found.get("absent", {}).items()],
    )  # fmt: skip


def _merged(spoken: str, counted: Mapping[str, int]) -> list[tuple[str, int]]:
    """Named for people; what is gone is not told again as gone "as it is"."""
    plain = {name for name in counted if not name.endswith(_PLAIN)}
    return [(right(spoken, name), count) for name, count in counted.items() if name in plain or name.removesuffix(_PLAIN) not in plain]


@dataclass(frozen=True)
class Proposed:
    """A proposal for a narrower profile, ready to be shown. ``without``: what the form begins without."""

    name: str
    title: str
    grants: int
    reports: int
    unused: Sequence[str]
    without: Sequence[str]
    always_cut: Sequence[tuple[str, int]]


def proposal(spoken: str, data: Mapping[str, Any], found: Proposal) -> Proposed:
    """One proposal."""
    return Proposed(
        name=found.profile,
        title=data["profiles"][found.profile]["name"][spoken],
        grants=found.grants,
        reports=found.reports,
        unused=[right(spoken, each) for each in found.unused],
        without=found.unused if found.changes else (),
        always_cut=[(right(spoken, each), count) for each, count in list(found.always_cut.items())[:20]],
    )
