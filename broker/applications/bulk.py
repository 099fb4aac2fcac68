"""One step for many applications: each is taken or refused by itself, and what became of each is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker.applications import deciding, grants
from broker.applications.means import Means
from broker.applications.steps import Reason
from broker.errors import BrokerError

#: So many at once.
MOST = 200


class BulkAction(StrEnum):
    """What can be done with many at once."""

    ENDORSE = "endorse"
    AGREE = "agree"
    LEGALITY = "legality"
    NECESSITY = "necessity"
    CONCUR = "concur"
    APPROVE = "approve"
    RETURN = "return"
    REFUSE = "refuse"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"


@dataclass(frozen=True)
class Chosen:
    """One of the many: its number and the version that was looked at."""

    ref: str
    version: int | None


@dataclass(frozen=True)
class Became:
    """What became of one: done, or the error that it alone would have met."""

    ref: str
    error: BrokerError | None = None


_VERBS: Mapping[BulkAction, Callable[..., Any]] = {
    BulkAction.ENDORSE: deciding.endorse,
    BulkAction.AGREE: deciding.agree,
    BulkAction.LEGALITY: deciding.legality,
    BulkAction.NECESSITY: deciding.necessity,
    BulkAction.CONCUR: deciding.concur,
    BulkAction.RETURN: deciding.return_,
    BulkAction.REFUSE: deciding.refuse,
    BulkAction.SUSPEND: grants.suspend,
    BulkAction.RESUME: grants.resume,
    BulkAction.REVOKE: grants.revoke,
}


def act(session: Session, means: Means, person: UUID, action: BulkAction, chosen: Sequence[Chosen], reason: Reason | None) -> list[Became]:
    """Take a step for each, in the order of their numbers so that two who do this at once don't wait for each other in a ring.

    Each stands in a savepoint: one that is refused leaves the others as they are.
    """
    became = {}
    for one in sorted(chosen, key=lambda one: one.ref):
        savepoint = session.begin_nested()
        try:
            if action is BulkAction.APPROVE:
                deciding.approve(session, means, person, one.ref, if_match=one.version, reason=reason)
            else:
                _VERBS[action](session, means.keys, person, one.ref, if_match=one.version, reason=reason)
        except BrokerError as error:
            savepoint.rollback()
            became[one.ref] = Became(one.ref, error)
        else:
            savepoint.commit()
            became[one.ref] = Became(one.ref)
    return [became[one.ref] for one in chosen]
