"""What is left of a patient's consents once everything but the rules is taken away, and how a release applies it. Pure.

A consent is compiled when it is filed (:func:`compile_statement`) and kept as JSON. A release loads the residuals of its patient,
asks once what they say about the use (:func:`evaluate_base`, :func:`facts_for`), and then asks the gate about each resource. The
answers are those of ``rules.evaluate``; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from broker.consent.codes import CONFIDENTIALITY, SENSITIVITY
from broker.consent.compiled import Residual, compile_statement
from broker.consent.givers import UNKNOWN
from broker.consent.rules import below, combine, judge, labels_of, speaks, suits_resource, suits_use
from broker.consent.values import UNCLASSIFIED, Anchors, Conditions, Effect, Meaning, Provision, Reason, ResourceFacts, Use, Verdict
from broker.policy.facts import ConsentFacts

__all__ = [
    "Anchors",
    "Applicable",
    "Base",
    "Effect",
    "Residual",
    "ResourceFacts",
    "ResourceGate",
    "Use",
    "Verdict",
    "applicable",
    "compile_statement",
    "evaluate_base",
    "facts_for",
    "gate_for",
]


@dataclass(frozen=True, slots=True)
class Applicable:
    """What of one consent matters for one use: the provisions whose time, actor, action and purpose fit, in document order."""

    consent: str
    readable: bool
    provisions: tuple[Provision, ...]
    giver: str = UNKNOWN
    separate: frozenset[str] = frozenset()

    @property
    def surely_denied_from(self) -> int:
        """Depth of the deepest denial that holds for every resource; -1 where there is none."""
        return max((one.depth for one in _unconditional(self.provisions) if one.effect is Effect.DENY), default=-1)

    @property
    def may_permit(self) -> bool:
        """Whether it can permit any resource at all."""
        bar = self.surely_denied_from
        return self.readable and any(one.effect is Effect.PERMIT and one.depth > bar for one in self.provisions)

    @property
    def denies_all(self) -> bool:
        """Whether it denies every resource."""
        return not self.readable or (self.surely_denied_from >= 0 and not self.may_permit)


def _unconditional(provisions: Sequence[Provision]) -> list[Provision]:
    """The provisions that count for every resource."""
    numbers: set[int] = set()
    found = []
    for one in provisions:
        if (one.depth <= 1 or one.parent in numbers) and not one.when.about_resources:
            numbers.add(one.number)
            found.append(one)
    return found


def applicable(residuals: Iterable[Residual], use: Use) -> tuple[Applicable, ...]:
    """The consents that speak about this use, each with the provisions that fit it."""
    found = []
    for residual in residuals:
        if speaks(residual.statement, use):
            numbers: set[int] = set()
            kept = []
            for one in residual.provisions:
                if (one.depth <= 1 or one.parent in numbers) and suits_use(one, use):
                    numbers.add(one.number)
                    kept.append(one)
            found.append(Applicable(residual.consent, residual.readable, tuple(kept), residual.giver, residual.separate))
    return tuple(found)


class ResourceGate:
    """Asks the applicable provisions about resources, one at a time.

    ``anchors`` tells what a resource refers to, for provisions about what a named resource is ``related`` to (R4); it is asked
    for the references in :attr:`anchors_needed` only. Where it answers None, denials apply and permits do not.
    """

    def __init__(self, consents: Sequence[Applicable], anchors: Anchors = lambda _: None) -> None:
        self._consents = tuple(consents)
        self._anchors = anchors
        every = [one.when for consent in consents for one in consent.provisions]
        #: No provision looks at the resource: every labelled resource gets the same verdict.
        self.trivial: bool = not any(when.about_resources for when in every)
        #: Which facts are looked at: ``dates``, ``codes``, ``profiles``, ``references``, ``authors``. Type, id and labels always are.
        self.needs: frozenset[str] = frozenset(need for when in every for need in _needs(when))
        #: Rules look at the type and the labels alone: resources that are equal in these get the same verdict.
        self.by_kind: bool = not self.needs and not any(when.data for when in every)
        #: References whose own references are asked for.
        self.anchors_needed: frozenset[str] = frozenset(
            datum.reference for when in every for datum in when.data or () if datum.meaning is Meaning.REFERS_TO
        )
        #: Labels that no resource with them gets past, whatever else is true of it; to be excluded where resources are fetched.
        self.denied_labels: frozenset[str] = frozenset({UNCLASSIFIED}).union(*(_denied_labels(consent.provisions) for consent in consents))

    @property
    def fingerprint(self) -> str:
        """The same for gates that give every resource the same answer, in every process; SHA-256, hex."""
        anchored = {reference: self._anchors(reference) for reference in self.anchors_needed}
        return sha256(_written((self._consents, anchored))).hexdigest()

    def verdict(self, facts: ResourceFacts) -> Verdict:
        """What all consents say about one resource. ``silent`` is no permit: where consent is what a release stands on, withhold."""
        return combine(self._said(consent, facts) for consent in self._consents)

    def allows(self, facts: ResourceFacts, *, consent_required: bool) -> bool:
        """Whether the resource may leave so far as consents go.

        Where the release stands on consent, only what they permit; where it stands on another lawful basis, what they don't deny.
        A resource that could not be labelled never may, whether or not a consent speaks (rule 6).
        """
        if labels_of(facts.labels) is None:
            return False
        effect = self.verdict(facts).effect
        return effect is Effect.PERMIT or (effect is Effect.SILENT and not consent_required)

    def _said(self, consent: Applicable, facts: ResourceFacts) -> Verdict:
        if not consent.readable:
            return Verdict(Effect.DENY, Reason.UNENFORCEABLE, consent.consent)
        labels = labels_of(facts.labels)
        if labels is None:
            return Verdict(Effect.DENY, Reason.UNLABELLED, consent.consent)
        effect, provision = judge(consent.provisions, lambda one, seen: suits_resource(one, facts, seen, self._anchors), labels)
        if provision is None:
            return Verdict(effect, Reason.NOTHING_SAID)
        return Verdict(effect, Reason.PROVISION, consent.consent, provision.path)


#: A value in one spelling: sets, mappings and fields in order, so that two processes write it alike.
_written = msgspec.json.Encoder(order="sorted").encode


def _needs(when: Conditions) -> Iterable[str]:
    if when.data_period is not None:
        yield "dates"
    if when.codes is not None:
        yield "codes"
    for one in when.classes or ():
        if one.profiles:
            yield "profiles"
        if one.documents:
            yield "codes"
    for datum in when.data or ():
        if datum.meaning is Meaning.BELONGS_TO:
            yield "references"
        if datum.meaning is Meaning.AUTHORED_BY:
            yield "authors"


def _denied_labels(provisions: Sequence[Provision]) -> frozenset[str]:
    """Labels of denials that ask for nothing else of the resource and have no permit nested in them."""
    found: set[str] = set()
    certain = {one.number for one in _unconditional(provisions)}
    for one in provisions:
        labels = one.when.labels
        if one.effect is not Effect.DENY or labels is None or not (one.depth <= 1 or one.parent in certain):
            continue
        alone = all(value is None for value in (one.when.classes, one.when.codes, one.when.data_period, one.when.data))
        if alone and all(nested.effect is Effect.DENY for nested in below(provisions, one)):
            for code in labels:
                rank = CONFIDENTIALITY.get(code)
                found |= SENSITIVITY.narrower(code) if rank is None else {other for other, height in CONFIDENTIALITY.items() if height >= rank}
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Base:
    """What the consents say about a use before any resource is looked at."""

    effect: Effect  #: PERMIT: something may leave, and the gate says what
    refused: bool  #: a consent denies every resource
    unenforceable: bool  #: a consent that speaks could not be read
    consents: tuple[str, ...]  #: those that speak
    valid_until: int | None  #: the last second for which this answer surely holds
    givers: tuple[str, ...] = ()  #: who gave those that can permit something
    separate: tuple[str, ...] = ()  #: the separate consents that each of them says


def evaluate_base(residuals: Sequence[Residual], use: Use) -> Base:
    """What the consents say about a use as a whole.

    DENY where any consent denies every resource; else PERMIT where some consent can permit some resource, so that a refusal with
    an exception comes out as PERMIT and the gate lets the exception through; else SILENT.
    """
    speaking = applicable(residuals, use)
    refused = any(one.denies_all for one in speaking)
    effect = Effect.DENY if refused else Effect.PERMIT if any(one.may_permit for one in speaking) else Effect.SILENT
    unenforceable = any(not one.readable for one in speaking)
    permitting = [one for one in speaking if one.may_permit]
    separate = frozenset.intersection(*(one.separate for one in permitting)) if permitting else ()
    return Base(
        effect, refused, unenforceable, tuple(sorted(one.consent for one in speaking)), _holds_until(residuals, use.at),
        tuple(sorted({one.giver for one in permitting})), tuple(sorted(separate)),
    )  # fmt: skip


def _holds_until(residuals: Sequence[Residual], at: int) -> int | None:
    """The last second before any period of any consent begins or ends."""
    spans = [span for residual in residuals for span in (residual.span, *(one.when.period for one in residual.provisions)) if span is not None]
    edges = [span.end for span in spans if span.end is not None] + [span.start - 1 for span in spans if span.start is not None]
    return min((edge for edge in edges if edge >= at), default=None)


def facts_for(residuals: Sequence[Residual], use: Use, epoch: int) -> ConsentFacts:
    """What policy is told (``policy.facts``)."""
    base = evaluate_base(residuals, use)
    return ConsentFacts(
        base=base.effect.value,
        refused=base.refused,
        unenforceable=base.unenforceable,
        epoch=epoch,
        consents=base.consents,
        valid_until=base.valid_until,
        givers=base.givers,
        separate=base.separate,
    )


def gate_for(residuals: Sequence[Residual], use: Use, anchors: Anchors = lambda _: None) -> ResourceGate:
    """The gate for one use; it holds as long as the epoch stands and until ``Base.valid_until``."""
    return ResourceGate(applicable(residuals, use), anchors)
