"""One consent with everything but its rules taken away, as JSON and back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.consent.givers import GIVERS, SEPARATE, UNKNOWN
from broker.consent.times import Span
from broker.consent.values import OPEN, Classes, Conditions, Datum, Effect, Meaning, Provision, Scope, Statement

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Residual:
    """One consent in force, compiled. One that can't be read back denies, like any consent that is not understood."""

    consent: str
    version: int
    scope: Scope
    span: Span
    provisions: tuple[Provision, ...]
    readable: bool = True
    giver: str = UNKNOWN
    separate: frozenset[str] = frozenset()

    @classmethod
    def unreadable(cls, consent: str, version: int = 0) -> Residual:
        """Stands for a consent that can't be understood; it denies."""
        return cls(consent, version, Scope.PRIVACY, OPEN, (), readable=False)

    @classmethod
    def from_json(cls, consent: str, version: int, value: Any) -> Residual:
        """Read what :meth:`to_json` wrote. Anything else gives an unreadable residual, never an exception."""
        try:
            if value["format"] != FORMAT:
                return cls.unreadable(consent, version)
            provisions = tuple(_provision(one) for one in value["rules"])
            if not provisions or any(one.number != index or (one.parent is not None and one.parent >= index) for index, one in enumerate(provisions)):
                return cls.unreadable(consent, version)
            # What was filed before these were kept says neither, and no more is taken from it than what it says.
            giver = value.get("giver")
            said = frozenset(SEPARATE) & {one for one in value.get("separate", ()) if isinstance(one, str)}
            return cls(consent, version, Scope(value["scope"]), _span(value["span"]), provisions,
                       giver=giver if giver in GIVERS else UNKNOWN, separate=said)  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls.unreadable(consent, version)

    def to_json(self) -> dict[str, Any]:
        """The rules as JSON: codes, references and epoch seconds; no names, no text, nothing of who the patient is."""
        if not self.readable:
            return {"format": FORMAT}  # Without rules it is read back as one that is not understood.
        return {
            "format": FORMAT, "scope": self.scope, "span": [self.span.start, self.span.end], "rules": [_written(one) for one in self.provisions],
            "giver": self.giver, "separate": sorted(self.separate),
        }  # fmt: skip

    @property
    def statement(self) -> Statement:
        """As ``rules`` want it."""
        return Statement(self.consent, True, self.scope, self.span, self.provisions, not self.readable)


def compile_statement(statement: Statement, consent: str, version: int) -> Residual:
    """The residual of a consent that is filed as ``consent``. One that can't be enforced gives one that denies."""
    if statement.unenforceable or not statement.active:
        return Residual.unreadable(consent, version)
    return Residual(consent, version, statement.scope, statement.span, statement.provisions, giver=statement.giver, separate=statement.separate)


_SETS = ("actors", "actions", "purposes", "labels", "codes")
_SPANS = ("period", "data_period")


def _span(value: Any) -> Span:
    start, end = value
    return Span(start, end)


def _written(provision: Provision) -> dict[str, Any]:
    when = provision.when
    conditions: dict[str, Any] = {name: sorted(value) for name in _SETS if (value := getattr(when, name)) is not None}
    conditions |= {name: [value.start, value.end] for name in _SPANS if (value := getattr(when, name)) is not None}
    if when.classes is not None:
        conditions["classes"] = [[sorted(one.types), sorted(one.profiles), sorted(one.documents)] for one in when.classes]
    if when.data is not None:
        conditions["data"] = [[one.meaning, one.reference] for one in when.data]
    return {
        "in": provision.parent,
        "depth": provision.depth,
        "path": provision.path,
        "effect": provision.effect,
        "n": provision.number,
        "when": conditions,
    }


def _provision(value: dict[str, Any]) -> Provision:
    when = value["when"]
    if when.keys() - {*_SETS, *_SPANS, "classes", "data"}:
        raise ValueError("a condition that this version doesn't know")
    sets = {name: frozenset(when[name]) if name in when else None for name in _SETS}
    spans = {name: _span(when[name]) if name in when else None for name in _SPANS}
    return Provision(
        number=value["n"],
        parent=value["in"],
        depth=value["depth"],
        path=value["path"],
        effect=Effect(value["effect"]),
        when=Conditions(
            period=spans["period"],
            actors=sets["actors"],
            actions=sets["actions"],
            purposes=sets["purposes"],
            labels=sets["labels"],
            classes=tuple(Classes(*(frozenset(part) for part in one)) for one in when["classes"]) if "classes" in when else None,
            codes=sets["codes"],
            data_period=spans["data_period"],
            data=tuple(Datum(Meaning(meaning), reference) for meaning, reference in when["data"]) if "data" in when else None,
        ),
    )
