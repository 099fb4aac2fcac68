"""Minimisation: from the stored bytes of a resource to the bytes that may leave, by keep-lists compiled from the release plan (RS-5.2.3).

What is not named stays behind. ``fhir.keeplist`` says what a name keeps, ``fhir.filters`` whether a resource is wanted at all,
``fhir.transforms`` what may be done to a value; ``fhir.fastpath`` and ``fhir.slowpath`` carry it out with equal results. Why
keep-lists, and why two paths: docs/decisions/0006-minimisation-by-keep-lists.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from broker.errors import Problem
from broker.fhir.fastpath import fast
from broker.fhir.filters import code_filter
from broker.fhir.keeplist import Keep, keep_list
from broker.fhir.plan import PlanInvalid, ReleasePlan, TypePlan
from broker.fhir.slowpath import Pseudonym, reduced
from broker.fhir.transforms import apply
from broker.fhir.withheld import REASONS, Withheld

__all__ = ["REASONS", "Minimiser", "Pseudonym", "Withheld", "compiled"]

#: Tells the recipient that the resource is not whole (R4, "Summaries and subsets").
SUBSETTED = b',"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]},'

#: Compiled types kept in one process. Compiling one takes about a millisecond and 20 kB, looking it up a microsecond.
COMPILED_TYPES = 1024


@dataclass(frozen=True, slots=True)
class _Way:
    """How one resource type is reduced."""

    keep: Keep
    matches: Callable[[bytes], bool] | None
    fast: Callable[[bytes], bytes | None] | None
    before: bytes  #: up to the opening quote of versionId
    skip: int  #: bytes of a reduced resource that ``before`` repeats


@lru_cache(maxsize=COMPILED_TYPES)
def _way(resource_type: str, plan: TypePlan, *, pseudonymous: bool) -> tuple[_Way | None, tuple[Problem, ...]]:
    """The way of one type, or everything wrong with its plan. Remembered by what the plan says, not by the plan: periods differ each time."""
    keep, problems = keep_list(resource_type, plan.elements)
    if problems:
        return None, tuple(problems)
    problems += apply(keep, resource_type, plan.transforms)
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
            way, wrong = _way(resource_type, wanted.timeless(), pseudonymous=self.pseudonymous)
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
        if len(security) < len(b'[{"code":"N"}]'):
            raise Withheld("unlabelled", f"{resource_type}.meta.security")
        if way.matches is not None and not way.matches(body):
            return None
        out = way.fast(body) if way.fast is not None else None
        if out is None:
            out = reduced(resource_type, way.keep, body, pseudonymous=self.pseudonymous, pseudonym=pseudonym)
        return b"".join(
            (way.before, str(version).encode(), b'","lastUpdated":', _encode(last_updated), b',"security":', security, SUBSETTED, out[way.skip :])
        )


_encode = msgspec.json.Encoder().encode


def compiled(plan: ReleasePlan) -> Minimiser:
    """The plan's minimiser, put together from types compiled once in this process. Raises :class:`PlanInvalid`."""
    return Minimiser(plan)
