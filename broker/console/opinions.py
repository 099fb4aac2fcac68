"""The machine's opinion in the words of a page: what would leave of which kind, what is cut, why, and what the recipient is bound to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker.console import vocabulary
from broker.console.desk import Desk
from broker.console.language import N_, day, said
from broker.console.pages import text

_ALWAYS = frozenset({"id", "resourceType", "meta"})


@dataclass(frozen=True)
class Line:
    """One kind of resource that would leave: its elements, since when, reduced how."""

    name: str
    type: str
    elements: tuple[str, ...]
    since: str
    transforms: int


@dataclass(frozen=True)
class Cut:
    """What is asked for and not given: why, and what it concerns."""

    code: str
    why: str
    what: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """A reason with what to do next."""

    code: str
    sentence: str
    help: str


@dataclass(frozen=True)
class Opinion:
    """What a page shows of one decision of policy's."""

    effect: str
    reasons: tuple[Said, ...]
    lines: tuple[Line, ...]
    cuts: tuple[Cut, ...]
    labels: tuple[str, ...]
    obligations: tuple[str, ...]
    profile: str


def opinion(
    desk: Desk, spoken: str, *, effect: str, reasons: Sequence[Mapping[str, str]], plan: Mapping[str, Any] | None,
    obligations: Sequence[Mapping[str, Any]], necessity: Mapping[str, Any],
) -> Opinion:  # fmt: skip
    """The opinion in a language. ``reasons`` have ``code`` and ``message``; the rest is as policy gives it."""
    types: Mapping[str, Any] = (plan or {}).get("types") or {}
    lines = [
        Line(
            vocabulary.kind(spoken, name),
            name,
            tuple(dict.fromkeys(vocabulary.element(spoken, path) for path in one.get("elements", ()) if path not in _ALWAYS)),
            _since(spoken, one),
            len(one.get("transforms") or ()),
        )
        for name, one in types.items()
    ]
    return Opinion(
        effect=effect,
        reasons=tuple(_said(desk, spoken, one) for one in reasons),
        lines=tuple(sorted(lines, key=lambda line: line.name)),
        cuts=_cuts(desk, spoken, necessity),
        labels=tuple(dict.fromkeys(vocabulary.label(spoken, code) for code in ((plan or {}).get("labels") or {}).get("deny", ()))),
        obligations=tuple(_obligation(spoken, one) for one in obligations),
        profile=_profile(desk, spoken, str(necessity.get("profile", ""))),
    )


def _profile(desk: Desk, spoken: str, name: str) -> str:
    """What a least-necessary list is called; one that is no more, by its identifier."""
    known = desk.policies().data["profiles"].get(name)
    return str(known["name"][spoken]) if known else name


def _since(spoken: str, one: Mapping[str, Any]) -> str:
    start = (one.get("period") or {}).get("start")
    return day(spoken, datetime.fromtimestamp(start, UTC).date()) if isinstance(start, int) else ""


def _said(desk: Desk, spoken: str, one: Mapping[str, str]) -> Said:
    found = desk.reasons.get(one["code"])
    if found is None:
        return Said(one["code"], one.get("message", one["code"]), "")
    return Said(one["code"], text(found, spoken), found.help_zh if spoken == "zh" else found.help_en)


def _cuts(desk: Desk, spoken: str, necessity: Mapping[str, Any]) -> tuple[Cut, ...]:
    by_reason: dict[str, list[str]] = {}
    for one in necessity.get("cut", ()):
        code, item, kind = one.get("reason", ""), one.get("item", ""), one.get("type", "")
        by_reason.setdefault(code, []).append(_what(desk, spoken, code, item, kind))
    return tuple(Cut(code, text(desk.reasons.get(code), spoken, code), tuple(sorted(set(what)))) for code, what in sorted(by_reason.items()))


def _what(desk: Desk, spoken: str, code: str, item: str, kind: str) -> str:
    if code == "cut.label":
        return vocabulary.label(spoken, item)
    if item in desk.catalogue.classes:
        return text(desk.catalogue.classes[item].name, spoken)
    name = vocabulary.kind(spoken, kind or item)
    return f"{name} · {vocabulary.element(spoken, item)}" if kind and item else name


def _obligation(spoken: str, one: Mapping[str, Any]) -> str:
    words = vocabulary.obligation(spoken, str(one.get("code", "")))
    if isinstance(one.get("days"), int):
        return words + said(spoken, N_(" (within %(days)s days)")) % {"days": one["days"]}
    return words
