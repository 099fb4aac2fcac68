"""What consents say: the eight rules of docs/decisions/0008-consent-rules.md over typed provisions. Pure.

``consent.reading`` makes provisions from FHIR JSON, ``consent.residual`` keeps what of them the release path needs. Nothing here
knows FHIR JSON, a database or the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial

from broker.consent.codes import CONFIDENTIALITY, PURPOSES, SENSITIVITY
from broker.consent.times import Span
from broker.consent.values import (
    ACTIONS_AFTER_RELEASE,
    ACTIONS_OF_RELEASE,
    DOCUMENT_TYPES,
    IN_TEXT,
    UNCLASSIFIED,
    Anchors,
    Classes,
    Datum,
    Effect,
    Labels,
    Meaning,
    Provision,
    Reason,
    ResourceFacts,
    Scope,
    Statement,
    Use,
    Verdict,
)

#: Break-glass is emergency treatment, but a permit for treatment, or for the root of all purposes, does not cover it (rule 5).
_BREAK_GLASS = "BTG"
_NOT_BREAK_GLASS = frozenset({"TREAT", "PurposeOfUse"})


@lru_cache(maxsize=4096)
def labels_of(codes: tuple[str, ...]) -> Labels | None:
    """The labels told apart; None for a resource that has none or could not be labelled."""
    if not codes or UNCLASSIFIED in codes:
        return None
    levels = [CONFIDENTIALITY[code] for code in codes if code in CONFIDENTIALITY]
    sensitive = frozenset(code for code in codes if code in SENSITIVITY)
    in_text = frozenset(code.removeprefix(IN_TEXT) for code in codes if code.startswith(IN_TEXT))
    unknown = any(code not in CONFIDENTIALITY and code not in SENSITIVITY and not code.startswith(IN_TEXT) for code in codes)
    return Labels(max(levels) if levels else None, not levels, sensitive, unknown, in_text)


def covers(effect: Effect, named: frozenset[str], labels: Labels) -> bool:
    """Whether a provision that names these labels covers a resource with those (rule 5).

    A permit covers its confidentiality and what is lower, a denial its own and what is higher; sensitivity matches by
    subsumption. What is not known or not understood is covered by a denial and by no permit.
    """
    levels = [CONFIDENTIALITY[code] for code in named if code in CONFIDENTIALITY]
    topics = named - CONFIDENTIALITY.keys()
    if any(topics & SENSITIVITY.wider(code) for code in labels.sensitive):
        return True
    if effect is Effect.PERMIT:
        return bool(levels) and labels.level is not None and labels.level <= max(levels)
    if any(topics & SENSITIVITY.wider(code) for code in labels.in_text):
        return True
    if levels and (labels.level_missing or (labels.level is not None and labels.level >= min(levels))):
        return True
    return bool(topics) and labels.unknown


def _suits_purpose(effect: Effect, purposes: frozenset[str], asked: str) -> bool:
    if asked not in PURPOSES:
        return effect is Effect.DENY
    wider = PURPOSES.wider(asked)
    if effect is Effect.PERMIT and asked == _BREAK_GLASS:
        wider -= _NOT_BREAK_GLASS
    return bool(purposes & wider)


def suits_use(provision: Provision, use: Use) -> bool:
    """Whether time, actor, action and purpose fit; nothing of the resource is asked."""
    when = provision.when
    if when.period is not None and not when.period.holds(use.at):
        return False
    if when.actors is not None and not when.actors & (use.actors if provision.effect is Effect.PERMIT else use.actors | use.near):
        return False
    if when.actions is not None and not when.actions & (
        ACTIONS_OF_RELEASE if provision.effect is Effect.PERMIT else ACTIONS_OF_RELEASE | ACTIONS_AFTER_RELEASE
    ):
        return False
    return when.purposes is None or _suits_purpose(provision.effect, when.purposes, use.purpose)


def _of_class(classes: Classes, facts: ResourceFacts) -> bool:
    if facts.type in classes.types or classes.profiles & facts.profiles:
        return True
    return facts.type in DOCUMENT_TYPES and bool(classes.documents & facts.codes)


def _names(datum: Datum, effect: Effect, facts: ResourceFacts, anchors: Anchors) -> bool:
    match datum.meaning:
        case Meaning.AUTHORED_BY:
            return datum.reference in facts.authors
        case Meaning.BELONGS_TO if datum.reference in facts.references:
            return True
        case Meaning.REFERS_TO:
            referred = anchors(datum.reference)
            # What it refers to can't be told: a denial may mean any resource, a permit surely means the named one alone.
            if effect is Effect.DENY if referred is None else facts.reference in referred:
                return True
    return datum.reference == facts.reference


def suits_resource(provision: Provision, facts: ResourceFacts, labels: Labels, anchors: Anchors) -> bool:
    """Whether labels, class, code, dates and named data fit. ``labels`` stands beside ``facts`` so that one label can be judged alone."""
    when = provision.when
    if when.labels is not None and not covers(provision.effect, when.labels, labels):
        return False
    if when.classes is not None and not all(_of_class(classes, facts) for classes in when.classes):
        return False
    if when.codes is not None and not when.codes & facts.codes:
        return False
    if when.data_period is not None:
        fits = when.data_period.covers if provision.effect is Effect.PERMIT else when.data_period.touches
        if not fits(facts.date_from, facts.date_until):
            return False
    return when.data is None or any(_names(datum, provision.effect, facts, anchors) for datum in when.data)


def counting(provisions: Iterable[Provision], suits: Callable[[Provision], bool], above: Provision | None = None) -> list[Provision]:
    """The provisions that count: they match and, below the first level, their parent counts too (rule 4).

    The root and its children stand side by side: the root's conditions do not bound its children (rule 3). ``above`` is a
    provision outside the list that is known to count.
    """
    numbers = set() if above is None else {above.number}
    found = []
    for provision in provisions:
        if (provision.depth <= 1 or provision.parent in numbers) and suits(provision):
            numbers.add(provision.number)
            found.append(provision)
    return found


def deepest(counted: Iterable[Provision]) -> Provision | None:
    """The provision that decides: the deepest, and of several equally deep one that denies (rule 4)."""
    return max(counted, key=lambda one: (one.depth, one.effect is Effect.DENY), default=None)


def below(provisions: Iterable[Provision], top: Provision) -> list[Provision]:
    """Everything nested in ``top``, at any depth, out of provisions in document order."""
    numbers = {top.number}
    found = []
    for one in provisions:
        if one.parent in numbers:
            numbers.add(one.number)
            found.append(one)
    return found


def _denied_label(
    provisions: Sequence[Provision], counted: Sequence[Provision], suits: Callable[[Provision, Labels], bool], labels: Labels
) -> Provision | None:
    """The denial that covers a label of the resource and is not lifted for that label by an exception nested in it (rule 6).

    A resource about several sensitive topics is judged for each of them alone: an exception for one does not set the others free.
    """
    for denial in counted:
        if denial.effect is not Effect.DENY or denial.when.labels is None:
            continue
        nested = below(provisions, denial)
        for label in labels.single():
            if covers(Effect.DENY, denial.when.labels, label):
                lifting = deepest(counting(nested, partial(_suits_label, suits, label), above=denial))
                if lifting is None or lifting.effect is Effect.DENY:
                    return denial
    return None


def _suits_label(suits: Callable[[Provision, Labels], bool], label: Labels, provision: Provision) -> bool:
    return suits(provision, label)


def judge(provisions: Sequence[Provision], suits: Callable[[Provision, Labels], bool], labels: Labels) -> tuple[Effect, Provision | None]:
    """What one consent says of a resource with these labels, and the provision that says it (rules 3, 4, 6)."""
    counted = counting(provisions, lambda one: suits(one, labels))
    last = deepest(counted)
    if last is None:
        return Effect.SILENT, None
    if last.effect is Effect.PERMIT:
        denial = _denied_label(provisions, counted, suits, labels)
        if denial is not None:
            return Effect.DENY, denial
    return last.effect, last


def speaks(statement: Statement, use: Use) -> bool:
    """Whether a consent of this patient has a say now: active, in its period, about this kind of use (rule 1)."""
    if not statement.active or not statement.span.holds(use.at) or statement.scope is Scope.OTHER:
        return False
    return statement.scope is Scope.PRIVACY or use.purpose not in PURPOSES or "HRESCH" in PURPOSES.wider(use.purpose)


def replaced(statements: Sequence[Statement]) -> dict[str, str]:
    """Consents of one patient that a newer active one replaces: id → id of the newest that does (rule 7).

    By the same identifier only a later date replaces; a consent that names the older one replaces it unless it is dated before.
    One that is not understood takes nobody's place.
    """
    found: dict[str, str] = {}
    for newer in sorted(statements, key=lambda one: one.issued.start or 0):
        for older in statements:
            if newer.active and not newer.unenforceable and newer is not older and _replaces(newer, older):
                found[older.consent] = newer.consent
    return found


def _surely_before(first: Span, second: Span) -> bool:
    return first.end is not None and second.start is not None and first.end < second.start


def _replaces(newer: Statement, older: Statement) -> bool:
    if newer.identifiers & older.identifiers and _surely_before(older.issued, newer.issued):
        return True
    if not ({f"Consent/{older.consent}"} | older.identifiers) & newer.replaces or _surely_before(newer.issued, older.issued):
        return False
    # Where each names the other, the dates must tell which is newer; else neither goes.
    return not ({f"Consent/{newer.consent}"} | newer.identifiers) & older.replaces or _surely_before(older.issued, newer.issued)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """What several consents say together: a denial overrides, then a permit; else silence (rule 7)."""
    permit = None
    for verdict in verdicts:
        if verdict.effect is Effect.DENY:
            return verdict
        if verdict.effect is Effect.PERMIT and permit is None:
            permit = verdict
    return permit or Verdict(Effect.SILENT, Reason.NOTHING_SAID)


def evaluate(statements: Sequence[Statement], use: Use, facts: ResourceFacts, anchors: Anchors = lambda _: None) -> Verdict:
    """What the consents of the resource's patient say about it for this use: all eight rules."""
    gone = replaced(statements)
    heard = [one for one in statements if one.consent not in gone and speaks(one, use)]
    return combine(_said_by(one, use, facts, anchors) for one in heard)


def _said_by(statement: Statement, use: Use, facts: ResourceFacts, anchors: Anchors) -> Verdict:
    if statement.unenforceable:
        return Verdict(Effect.DENY, Reason.UNENFORCEABLE, statement.consent)
    labels = labels_of(facts.labels)
    if labels is None:
        return Verdict(Effect.DENY, Reason.UNLABELLED, statement.consent)
    effect, provision = judge(statement.provisions, lambda one, seen: suits_use(one, use) and suits_resource(one, facts, seen, anchors), labels)
    if provision is None:
        return Verdict(effect, Reason.NOTHING_SAID)
    return Verdict(effect, Reason.PROVISION, statement.consent, provision.path)
