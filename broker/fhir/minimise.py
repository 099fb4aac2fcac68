"""Minimisation: from the stored bytes of a resource to the bytes that may leave, by keep-lists compiled from the release plan (RS-5.2.3).

What is not named stays behind. ``fhir.keeplist`` says what a name keeps, ``fhir.filters`` whether a resource is wanted at all,
``fhir.transforms`` what may be done to a value; ``fhir.fastpath`` and ``fhir.slowpath`` carry it out with equal results. Why
keep-lists, and why two paths: docs/decisions/0006-minimisation-by-keep-lists.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import msgspec

from broker.errors import Problem
from broker.fhir.fastpath import Fast, fast
from broker.fhir.filters import CodeFilter, code_filter
from broker.fhir.keeplist import Keep, keep_list
from broker.fhir.plan import PlanInvalid, ReleasePlan, TypePlan
from broker.fhir.references import cut
from broker.fhir.slowpath import Pseudonym, reduced
from broker.fhir.transforms import apply, shift_all
from broker.fhir.withheld import REASONS, Withheld

__all__ = ["REASONS", "Item", "Minimiser", "Pseudonym", "Withheld", "compiled"]

#: Tells the recipient that the resource is not whole (R4, "Summaries and subsets").
SUBSETTED = b',"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]},'

#: Compiled types kept in one process. Compiling one takes about a millisecond and 20 kB, looking it up a microsecond.
COMPILED_TYPES = 1024

#: Resources that go one by one because one among them can't be read with the others.
NEIGHBOURS = 16

#: One resource as :meth:`Minimiser.reduce_many` takes it: ``body``, ``security``, ``version``, ``last_updated`` of :meth:`Minimiser.reduce`.
Item: TypeAlias = tuple[bytes, bytes, int, str]

_FEW = 4  #: Below this, sharing costs more than it saves.
_SHORTEST = len(b'[{"code":"N"}]')  #: Of ``security``: anything shorter labels nothing.


@dataclass(frozen=True, slots=True)
class _Way:
    """How one resource type is reduced."""

    keep: Keep
    matches: CodeFilter | None
    fast: Fast | None
    before: bytes  #: up to the opening quote of versionId
    skip: int  #: bytes of a reduced resource that ``before`` repeats


@lru_cache(maxsize=COMPILED_TYPES)
def _way(resource_type: str, plan: TypePlan, *, pseudonymous: bool, shifted: bool) -> tuple[_Way | None, tuple[Problem, ...]]:
    """The way of one type, or everything wrong with its plan. Remembered by what the plan says, not by the plan: periods differ each time."""
    keep, problems = keep_list(resource_type, plan.elements)
    if problems:
        return None, tuple(problems)
    problems += apply(keep, resource_type, plan.transforms)
    if shifted:
        shift_all(keep)
    matches, wrong = code_filter(resource_type, plan)
    problems += wrong
    if problems:
        return None, tuple(problems)
    start = b'{"resourceType":"' + resource_type.encode() + b'",'
    quick = None if pseudonymous else fast(resource_type, keep)
    return _Way(keep, matches, quick, start + b'"meta":{"versionId":"', len(start)), ()


class Minimiser:
    """A compiled plan. Holds no resource and no state between calls; safe to share between threads."""

    def __init__(self, plan: ReleasePlan) -> None:
        """Compile; raises :class:`PlanInvalid` with every unknown type, element and transform."""
        self.pseudonymous = plan.pseudonymous
        self._ways: dict[str, _Way] = {}
        problems: list[Problem] = []
        for resource_type, wanted in plan.types.items():
            way, wrong = _way(resource_type, wanted.timeless(), pseudonymous=self.pseudonymous, shifted=plan.shifted)
            problems += wrong
            if way is not None:
                self._ways[resource_type] = way
        if problems:
            raise PlanInvalid("The release plan names what FHIR R4 or the broker does not know.", problems=tuple(problems))

    def reduce(
        self,
        resource_type: str,
        body: bytes,
        *,
        security: bytes,
        version: int,
        last_updated: str,
        pseudonym: Pseudonym | None = None,
    ) -> bytes | None:
        """What may leave of one resource, as compact JSON; None if the plan's codes or categories don't match it.

        ``body`` is the stored JSON of a resource of the type; ``security`` a ready JSON array of Codings and ``last_updated`` an
        instant, both written into ``meta`` as they are; ``pseudonym`` answers ``(type, id)`` and is needed if ``pseudonymous``.
        Raises :class:`Withheld` if the resource can't be reduced safely.
        """
        way = self._ways.get(resource_type)
        if way is None:
            raise Withheld("type-not-in-plan", "")
        if len(security) < _SHORTEST:
            raise Withheld("unlabelled", f"{resource_type}.meta.security")
        if way.matches is not None and not way.matches(body):
            return None
        out = way.fast(body) if way.fast is not None else None
        if out is None:
            out = reduced(resource_type, way.keep, body, pseudonymous=self.pseudonymous, pseudonym=pseudonym)
        return _head(way, security, version, last_updated) + out[way.skip :]

    def reduce_many(self, resource_type: str, items: Sequence[Item], *, pseudonym: Pseudonym | None = None) -> list[bytes | Withheld | None]:
        """What :meth:`reduce` gives for each of these resources of one type, in their order; a :class:`Withheld` stands where it raises one.

        They are read and written together, in a few calls. Where one of them needs care, it goes alone with those beside it.
        """
        way = self._ways.get(resource_type)
        if way is None or way.fast is None or len(items) < _FEW:
            return [self._alone(resource_type, item, pseudonym) for item in items]
        answers = self._together(resource_type, way, way.fast, items, pseudonym)
        if answers is None and len(items) > NEIGHBOURS:
            parts = [items[start : start + NEIGHBOURS] for start in range(0, len(items), NEIGHBOURS)]
            return [answer for part in parts for answer in self.reduce_many(resource_type, part, pseudonym=pseudonym)]
        return [self._alone(resource_type, item, pseudonym) for item in items] if answers is None else answers

    def without(self, resource_type: str, reduced: bytes, gone: Collection[bytes]) -> bytes:
        """What :meth:`reduce` gave, without the references that are among ``gone`` (``fhir.references``)."""
        return cut(self._ways[resource_type].keep, reduced, gone)

    def _together(
        self, resource_type: str, way: _Way, quick: Fast, items: Sequence[Item], pseudonym: Pseudonym | None
    ) -> list[bytes | Withheld | None] | None:
        """What :meth:`reduce_many` gives, if all of them can be read; else None."""
        if min([len(item[1]) for item in items]) < _SHORTEST:
            return None
        wanted, matching = items, None
        if way.matches is not None:
            matching = way.matches.many([item[0] for item in items])
            if matching is None:
                return None
            wanted = [item for item, matches in zip(items, matching, strict=True) if matches]
        lines = quick.many([item[0] for item in wanted]) if wanted else []
        if lines is None:
            return None
        answers: list[bytes | Withheld | None] = []
        skip = way.skip
        head, labels, number, moment = b"", b"", 0, ""
        for item, line in zip(wanted, lines, strict=True):
            _, security, version, last_updated = item
            # Most of a page has the same labels, version and moment, and then the same head.
            if security is not labels or version != number or last_updated != moment:
                head = _head(way, security, version, last_updated)
                labels, number, moment = security, version, last_updated
            answers.append(self._alone(resource_type, item, pseudonym) if line is None else head + line[skip:])
        if matching is None:
            return answers
        found = iter(answers)
        return [next(found) if matches else None for matches in matching]

    def _alone(self, resource_type: str, item: Item, pseudonym: Pseudonym | None) -> bytes | Withheld | None:
        body, security, version, last_updated = item
        try:
            return self.reduce(resource_type, body, security=security, version=version, last_updated=last_updated, pseudonym=pseudonym)
        except Withheld as reason:
            # Without its traceback, whose frames hold the body.
            return Withheld(reason.reason_code, reason.path)


def _head(way: _Way, security: bytes, version: int, last_updated: str) -> bytes:
    """The beginning of a released resource: its type and its new ``meta``."""
    return b"".join((way.before, str(version).encode(), b'","lastUpdated":', _encode(last_updated), b',"security":', security, SUBSETTED))


_encode = msgspec.json.Encoder().encode


def compiled(plan: ReleasePlan) -> Minimiser:
    """The plan's minimiser, put together from types compiled once in this process. Raises :class:`PlanInvalid`."""
    return Minimiser(plan)
