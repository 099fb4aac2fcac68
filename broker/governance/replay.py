"""Past decisions asked again of other policies: what would have been allowed, refused, narrowed; by department, purpose, patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker.crypto import Keys, KeyUnusable
from broker.governance.not_known import filled
from broker.governance.rules import Difference, Outcome, compared
from broker.policy.models import PolicyDecision
from broker.policy.service import PolicyEngine, opened
from broker.records import service as records
from broker.records.errors import RecordUnreadable, UnknownPatient

#: Elements named in a result.
_NAMED = 50


@dataclass
class _Group:
    decisions: int = 0
    patients: set[UUID] = field(default_factory=set)
    outcomes: Counter[Outcome] = field(default_factory=Counter)


def replayed(session: Session, keys: Keys, engine: PolicyEngine, *, since: datetime | None = None, limit: int | None = None) -> dict[str, Any]:
    """The newest decisions since a moment, asked again of ``engine``. The result says of how many, and of how many it could not be said.

    A decision about a patient whose key was shredded can't be asked again, and says so as ``unreadable``. Facts that were not kept then are
    filled with what permits least (``not_known``): ``absent`` counts them by name, and such a decision is ``not_known``, never a permit.
    """
    groups: dict[tuple[str, str], _Group] = {}
    lost, gained, reasons, absent = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    totals: Counter[str] = Counter()
    for row, facts, plan in questions(session, keys, since, limit):
        totals["decisions"] += 1
        if facts is None:
            totals["unreadable"] += 1
            continue
        whole, missing = filled(facts)
        after = engine.decide_form(whole)
        difference = compared(row.effect, plan, after, known=not missing)
        absent.update(missing)
        group = groups.setdefault((row.recipient, row.purpose), _Group())
        group.decisions += 1
        group.patients.add(row.patient_key)
        group.outcomes[difference.outcome] += 1
        totals[difference.outcome.value] += 1
        _count(difference, lost, gained)
        if difference.outcome is Outcome.REFUSED:
            reasons.update({reason.code for reason in after.reasons})
    return {
        "revision": engine.revision,
        "since": None if since is None else since.isoformat(),
        "decisions": totals["decisions"],
        "unreadable": totals["unreadable"],
        "patients": len({patient for group in groups.values() for patient in group.patients}),
        **{outcome.value: totals[outcome.value] for outcome in Outcome},
        "groups": [
            {
                "recipient": recipient,
                "purpose": purpose,
                "decisions": group.decisions,
                "patients": len(group.patients),
                **{outcome.value: group.outcomes[outcome] for outcome in Outcome},
            }
            for (recipient, purpose), group in sorted(groups.items())
        ],
        "lost": _most(lost),
        "gained": _most(gained),
        "reasons": _most(reasons),
        "absent": _most(absent),
    }


def questions(
    session: Session, keys: Keys, since: datetime | None, limit: int | None
) -> Iterator[tuple[PolicyDecision, dict[str, Any] | None, dict[str, Any] | None]]:
    """Each kept decision with its facts and its plan; both None where the patient's key is gone."""
    query = (
        select(PolicyDecision)
        .where(PolicyDecision.patient_key != records.NOBODY)
        .order_by(col(PolicyDecision.at).desc(), col(PolicyDecision.input_hash))
    )
    if since is not None:
        query = query.where(col(PolicyDecision.at) >= since)
    data_keys: dict[UUID, bytes | None] = {}
    for row in session.exec(query.limit(limit)).all():
        if row.patient_key not in data_keys:
            try:
                data_keys[row.patient_key] = records.open_vault(session, keys, row.patient_key).data_key
            except (RecordUnreadable, UnknownPatient):
                data_keys[row.patient_key] = None
        data_key = data_keys[row.patient_key]
        try:
            content = None if data_key is None else opened(row.sealed, patient_key=row.patient_key, input_hash=row.input_hash, data_key=data_key)
        except KeyUnusable:
            content = None
        yield (row, None, None) if content is None else (row, content["facts"], content["plan"])


def _count(difference: Difference, lost: Counter[str], gained: Counter[str]) -> None:
    lost.update(difference.lost)
    gained.update(difference.gained)


def _most(counted: Counter[str]) -> dict[str, int]:
    return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:_NAMED])
