"""When a patient may be asked, who may answer, and what an answer must come with. Pure.

Sources: PIPL 13 to 16 (voluntary, informed, as easily withdrawn), 23, 29, 31 (children under 14), 39; Civil Code 28, 36 (guardians of adults
without capacity); Regulation on Network Data Security 22 (no pestering after a refusal).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from broker.errors import Problem
from broker.fhir.ages import CHILD

#: In which capacity somebody answers.
SELF, GUARDIAN = "self", "guardian"
#: Why a guardian answers for somebody who is no child.
NO_CAPACITY = "no-capacity"
#: What is proof of a signature; a witness alone is one for an answer given by mouth.
SIGNED = frozenset({"document", "image", "questionnaire-response"})


@dataclass(frozen=True)
class Answerer:
    """Who answers: the patient, or a guardian with the relationship and the reason."""

    capacity: str
    relationship: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Scope:
    """What is asked for: to whom, what for, how, which types of data, which sensitive topics, until when."""

    recipient: str
    purpose: str
    method: str
    data: frozenset[str]
    sensitive: frozenset[str]
    until: date


def who_may_answer(answerer: Answerer, years: int | None, evidence: frozenset[str]) -> list[Problem]:
    """What speaks against this person's answering for a patient of this age."""
    if answerer.capacity == SELF:
        if years is None:
            return [Problem("/grantor", "age-unknown", "The patient's age is not known, so it can't be told whether a guardian must answer.")]
        return [Problem("/grantor", "guardian-needed", "For a child under 14 a guardian answers (PIPL 31).")] if years < CHILD else []
    found = []
    if not answerer.relationship:
        found.append(Problem("/grantor/relationship", "missing", "Say how the guardian is related."))
    if years is not None and years >= CHILD:
        if answerer.reason != NO_CAPACITY:
            found.append(Problem("/grantor/reason", "guardian-not-needed", "Who is 14 or older answers alone, unless without capacity."))
        elif not evidence & {"document", "image"}:
            found.append(Problem("/evidence", "authority-missing", "A guardian's authority must be shown by a document."))
    return found


def separate_needed(*, other_processor: bool, abroad: bool) -> frozenset[str]:
    """The separate consents without which nothing may be shared. Health data are sensitive, whoever gets them (PIPL 28, 29)."""
    return frozenset({"sensitive"} | ({"other-processor"} if other_processor else set()) | ({"abroad"} if abroad else set()))


def what_is_missing(
    kinds: Iterable[str], separate: frozenset[str], needed: frozenset[str], evidence: frozenset[str], *, given: bool
) -> list[Problem]:
    """What an answer lacks. ``kinds``: the separate consents that the notice speaks of; ``separate``: those that the patient ticked."""
    found = [Problem("/notice", "notice-does-not-say", f"The notice does not speak of: {one}.") for one in sorted(needed - frozenset(kinds))]
    if not given:
        return found
    found += [Problem("/separate", "separate-consent-missing", f"A separate consent is needed: {one}.") for one in sorted(needed - separate)]
    if not evidence & SIGNED and "witness" not in evidence:
        found.append(Problem("/evidence", "evidence-missing", "A signed document, an image, a questionnaire or a witness must prove it."))
    return found


def may_ask_from(refused_at: datetime | None, days: int) -> datetime | None:
    """From when the same may be asked again after a refusal; None: at any time."""
    return None if refused_at is None else refused_at + timedelta(days=days)


def asks_anew(held: Scope, wanted: Scope, today: date) -> tuple[str, ...]:
    """Why what was agreed to does not carry what is wanted now: purpose, method, types, topics, or time (PIPL 14, 23)."""
    return tuple(
        reason
        for reason, differs in (
            ("recipient", held.recipient != wanted.recipient),
            ("purpose", held.purpose != wanted.purpose),
            ("method", held.method != wanted.method),
            ("types", not wanted.data <= held.data),
            ("topics", not wanted.sensitive <= held.sensitive),
            ("expired", held.until < today),
        )
        if differs
    )
