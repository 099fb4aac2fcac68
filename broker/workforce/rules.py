"""What a person or an institution holds at a moment, and what of the required is missing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from broker.workforce.codes import SCOPE

#: Days before the end at which a holder is reminded.
REMINDED = (60, 30, 7, 1)


@dataclass(frozen=True)
class Entry:
    """One certificate as these rules need it. Moments are whole epoch seconds."""

    code: str
    status: str
    valid_until: int | None = None
    scoped: bool = False  #: it names a scope of practice

    @classmethod
    def parse(cls, text: str) -> Entry:
        """From the form of :data:`service.HELD_SQL`: ``code|status|valid_until|scoped``."""
        code, status, until, scoped = text.split("|")
        return cls(code, status, int(until) if until else None, scoped == "t")

    def counts(self, at: int) -> bool:
        """Whether it is in force at a moment."""
        return self.status == "active" and (self.valid_until is None or at < self.valid_until)


@dataclass(frozen=True)
class Standing:
    """What somebody holds and what has run out, as codes, sorted; no code is in both."""

    held: tuple[str, ...]
    expired: tuple[str, ...]
    valid_until: int | None  #: the nearest moment at which what is held, or demanded, may change

    def lacking(self, required: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """What of the required isn't held: ``(code, missing | expired)``, sorted."""
        return tuple(sorted((code, "expired" if code in self.expired else "missing") for code in set(required) - set(self.held)))


def standing(entries: Collection[Entry], at: int) -> Standing:
    """What these certificates amount to at a moment. A code is held if one certificate of it is in force."""
    held = {entry.code for entry in entries if entry.counts(at)} | {SCOPE for entry in entries if entry.scoped and entry.counts(at)}
    known = {entry.code for entry in entries} | {SCOPE for entry in entries if entry.scoped}
    ends = [entry.valid_until for entry in entries if entry.counts(at) and entry.valid_until is not None]
    return Standing(tuple(sorted(held)), tuple(sorted(known - held)), min(ends, default=None))


def demanded(entries: Collection[Entry], demands: Collection[str]) -> tuple[str, ...]:
    """What the registers demand of somebody: what the step demands, and every training once given, which is to be kept up (PI-4).

    A training that was withdrawn is no longer to be kept up.
    """
    kept_up = {entry.code for entry in entries if entry.code.startswith("training.") and entry.status != "withdrawn"}
    return tuple(sorted(kept_up | set(demands)))
