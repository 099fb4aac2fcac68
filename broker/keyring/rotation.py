"""How far the change of a key is, and what is done next. Pure: names of keys in, words out; no key is needed to say it.

The same steps as ``broker keys`` takes (decision 0021): all hold the new key, all use it, everything is under it, the old one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

#: After this long a key's change is due: the shorter of the periods that NIST SP 800-57 Part 1 Rev. 5, 5.3.6 gives for keys that sign or wrap.
DUE = timedelta(days=365)


class Use(StrEnum):
    """What a key is at this moment."""

    IN_USE = "in-use"  #: the first: what is new is under it
    NEXT = "next"  #: held and not used yet
    FORMER = "former"  #: held, since something is still under it
    ELSEWHERE = "elsewhere"  #: good, and this process was not given it
    RETIRED = "retired"


class Step(StrEnum):
    """What an operator does next."""

    SETTLED = "settled"  #: nothing; ``broker keys rotate`` begins a change
    HAND_OUT = "hand-out"  #: give every process the key that this one lacks
    START_ANEW = "start-anew"  #: start anew the processes that don't hold the new key, or don't use it
    WRAP = "wrap"  #: ``broker keys rotate`` wraps what is left
    PUT_FIRST = "put-first"  #: ``broker keys rotate`` makes the new one the first
    RETIRE = "retire"  #: ``broker keys retire`` ends the old one


@dataclass(frozen=True)
class Known:
    """A key as the database remembers it."""

    kid: str
    since: datetime | None
    retired_at: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """A key with what it is now."""

    kid: str
    use: Use
    since: datetime | None
    retired_at: datetime | None


@dataclass(frozen=True)
class Next:
    """The next step; ``kid`` is the key that it is about."""

    step: Step
    kid: str | None = None


def standing(known: Sequence[Known], held: Sequence[str]) -> list[Standing]:
    """Every key of a kind, oldest first. ``held``: names of those that a process was given, the one it uses first.

    A key that is held and not known is new: nobody has used it.
    """
    order = [one.kid for one in known]
    found = [Standing(one.kid, _use(one, held, order), one.since, one.retired_at) for one in known]
    return found + [Standing(kid, Use.IN_USE if kid == held[0] else Use.NEXT, None, None) for kid in held if kid not in order]


def _use(one: Known, held: Sequence[str], order: Sequence[str]) -> Use:
    if one.retired_at is not None:
        return Use.RETIRED
    if one.kid not in held:
        return Use.ELSEWHERE
    if one.kid == held[0]:
        return Use.IN_USE
    first = order.index(held[0]) if held[0] in order else len(order)
    return Use.NEXT if order.index(one.kid) > first else Use.FORMER


def next_step(keys: Sequence[Standing], *, left: int = 0, lacking: int = 0, behind: int = 0) -> Next:
    """What comes next for the keys of one kind.

    ``left``: patients' keys that are not under the newest key. ``lacking``: processes that don't hold the newest key. ``behind``: processes that
    hold it and use another first.
    """
    live = [one for one in keys if one.use is not Use.RETIRED]
    if any(one.use is Use.ELSEWHERE for one in live):
        return Next(Step.HAND_OUT, next(one.kid for one in live if one.use is Use.ELSEWHERE))
    coming = [one for one in live if one.use is Use.NEXT]
    if coming:
        newest = coming[-1].kid
        if lacking:
            return Next(Step.START_ANEW, newest)
        return Next(Step.WRAP if left else Step.PUT_FIRST, newest)
    former = [one for one in live if one.use is Use.FORMER]
    if former:
        using = next(one.kid for one in live if one.use is Use.IN_USE)
        if lacking or behind:
            return Next(Step.START_ANEW, using)
        return Next(Step.WRAP, using) if left else Next(Step.RETIRE, former[0].kid)
    return Next(Step.SETTLED)


def is_due(one: Standing, now: datetime) -> bool:
    """Whether a key that is used is so old that its change is due."""
    return one.use is Use.IN_USE and one.since is not None and now - one.since >= DUE
