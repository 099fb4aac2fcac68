"""The verbs by which policy changes: draft, test, replay, approve, withdraw, bring back. None commits; each records what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Problem
from broker.governance import canaries
from broker.governance.errors import DraftInvalid, NoSuchRevision, OwnDraft, RevisionMoveNotAllowed, TooSoon
from broker.governance.lifecycle import Action, State, after
from broker.governance.narrowing import Kept, narrowed, needed
from broker.governance.proposals import Proposal, proposals
from broker.governance.replay import replayed
from broker.governance.rules import Change, Outcome, differences
from broker.governance.rules import changes as changes_of
from broker.identity.access import PersonCaller
from broker.policy import service as policy
from broker.policy.errors import PolicyUnusable
from broker.policy.models import PolicyActivation, PolicyRevision
from broker.policy.service import PolicySet

__all__ = [
    "Change", "Kept", "Outcome", "Proposal", "activations", "approve", "bring_back", "changes", "differing", "draft",
    "files", "many", "narrowed", "needed", "one", "proposals", "replay", "replayed", "run_tests", "withdraw",
]  # fmt: skip

#: Seconds from the approval until a revision decides at the earliest: by then every process has read the schedule.
_NOTICE = timedelta(seconds=policy.NOTICE)


def draft(session: Session, caller: PersonCaller, active: PolicySet, changes: Mapping[str, str | None], *, note: str) -> PolicyRevision:
    """Keep a draft: the active policies with some files changed; None takes a file away.

    Raises DraftInvalid with everything that the static checks find, or if nothing changes.
    """
    base = files(session, active)
    wanted = {path: content for path, content in {**base, **changes}.items() if content is not None}
    try:
        drafted = policy.policy_set_of(wanted)
    except PolicyUnusable as error:
        raise DraftInvalid(problems=error.problems) from error
    found = policy.problems(drafted)
    if found:
        raise DraftInvalid(problems=found)
    if drafted.revision == active.revision:
        raise DraftInvalid(problems=(Problem("/changes", "unchanged", "The draft is the same as the active policies."),))
    known = session.get(PolicyRevision, drafted.revision)
    if known is not None and known.state != State.WITHDRAWN:
        return known
    _keep_base(session, caller, active, base)
    changed = sorted(path for path in {*base, *wanted} if base.get(path) != wanted.get(path))
    row = known or PolicyRevision(
        revision=drafted.revision, files=policy.packed(wanted), based_on=active.revision, author=caller.person_id,
        author_natural=caller.natural_person, note=note, changed=changed, state=State.DRAFT.value, created_at=clock.now(),
    )  # fmt: skip
    row.state, row.tests, row.replay = State.DRAFT.value, None, None
    row.author, row.author_natural, row.note = caller.person_id, caller.natural_person, note
    session.add(row)
    session.flush()
    _told(session, caller, "policy.drafted", row, {"based_on": active.revision, "changed": [path[:200] for path in changed[:50]]})
    return row


def files(session: Session, policies: PolicySet) -> dict[str, str]:
    """The files of policies: as they were kept, or as they lie in the folder that the settings name."""
    row = session.get(PolicyRevision, policies.revision)
    return policy.files_of(policies.folder) if row is None else policy.unpacked(row.files)


def _keep_base(session: Session, caller: PersonCaller, active: PolicySet, base: Mapping[str, str]) -> None:
    """What the broker ships is kept as well once something replaces it, so that there is a way back and it can be replayed."""
    if session.get(PolicyRevision, active.revision) is None:
        session.add(
            PolicyRevision(
                revision=active.revision,
                files=policy.packed(base),
                based_on="",
                author=caller.person_id,
                author_natural="",
                note="shipped",
                changed=[],
                state=State.APPROVED.value,
                created_at=clock.now(),
            )
        )
        session.flush()


def run_tests(session: Session, caller: PersonCaller, revision: str) -> PolicyRevision:
    """Ask the draft what every set of policies must refuse (``canaries``). A draft that fails stays, or becomes again, a draft."""
    row = _locked(session, revision)
    state = after(State(row.state), Action.TEST)
    policies = policy.kept(session, revision)
    result = canaries.tested(policies, policy.embedded_engine(policies))
    row.tests = {"at": clock.now().isoformat(), **result}
    row.state = (State.DRAFT if result["failed"] or not result["permitted"] else state).value
    row.replay = None
    session.add(row)
    _told(session, caller, "policy.tested", row, {"cases": result["cases"], "failed": len(result["failed"])})
    return row


def replay(
    session: Session, keys: Keys, caller: PersonCaller, revision: str, *, since: datetime | None = None, limit: int | None = None
) -> PolicyRevision:
    """Ask the draft the questions of the past, and keep what it would have changed."""
    row = _locked(session, revision)
    state = after(State(row.state), Action.REPLAY)
    result = replayed(session, keys, policy.embedded_engine(policy.kept(session, revision)), since=since, limit=limit)
    row.replay = {"at": clock.now().isoformat(), **result}
    row.state = state.value
    session.add(row)
    told = {name: result[name] for name in ("decisions", "newly_allowed", "refused", "narrowed", "widened", "changed")}
    _told(session, caller, "policy.replayed", row, told)
    return row


def approve(session: Session, caller: PersonCaller, revision: str, *, effective_at: datetime | None = None) -> PolicyActivation:
    """The second person's yes: from ``effective_at`` on (as soon as every process can know, by default) the revision decides.

    Raises OwnDraft for whoever wrote it, by person and not by account; RevisionMoveNotAllowed before tests and replay, or if other policies
    have come into force since it was drafted, whose replay it has not seen; TooSoon.
    """
    row = _locked(session, revision)
    state = after(State(row.state), Action.APPROVE)
    if caller.natural_person == row.author_natural:
        raise OwnDraft
    planned = activations(session)
    if planned and planned[0].revision != row.based_on:
        raise RevisionMoveNotAllowed("Other policies have been approved since this was drafted. Draft it again on those.")
    activation = _activated(session, caller, row, effective_at, way_back=False)
    row.state = state.value
    session.add(row)
    return activation


def bring_back(session: Session, caller: PersonCaller, revision: str) -> PolicyActivation:
    """The way back: a revision that was approved before decides again, at once. One person is enough, since two approved it."""
    row = _locked(session, revision)
    if row.state != State.APPROVED.value:
        raise RevisionMoveNotAllowed
    return _activated(session, caller, row, None, way_back=True)


def _activated(session: Session, caller: PersonCaller, row: PolicyRevision, effective_at: datetime | None, *, way_back: bool) -> PolicyActivation:
    newest = next(iter(activations(session)), None)
    soonest = clock.now() + _NOTICE
    begins = soonest if effective_at is None else effective_at
    if begins < soonest - timedelta(seconds=1):
        raise TooSoon(problems=(Problem("/effective_at", "too-soon", f"The earliest moment is {soonest.astimezone(UTC).isoformat()}."),))
    if newest is not None and begins <= newest.effective_at:
        # What comes back comes back now, and what was planned after it does not happen by itself.
        if not way_back:
            raise TooSoon(problems=(Problem("/effective_at", "too-soon", "Another revision is planned for later than that."),))
        begins = newest.effective_at + timedelta(seconds=1)
    activation = PolicyActivation(revision=row.revision, effective_at=begins, decided_by=caller.person_id, decided_at=clock.now(), way_back=way_back)
    session.add(activation)
    session.flush()
    _told(session, caller, "policy.brought-back" if way_back else "policy.approved", row, {"effective_at": begins.astimezone(UTC).isoformat()})
    return activation


def withdraw(session: Session, caller: PersonCaller, revision: str) -> PolicyRevision:
    """Give a draft up. It is kept."""
    row = _locked(session, revision)
    row.state = after(State(row.state), Action.WITHDRAW).value
    session.add(row)
    _told(session, caller, "policy.withdrawn", row, {})
    return row


def one(session: Session, revision: str) -> PolicyRevision:
    """One revision. Raises NoSuchRevision."""
    row = session.get(PolicyRevision, revision)
    if row is None:
        raise NoSuchRevision
    return row


def many(session: Session, limit: int = 100) -> Sequence[PolicyRevision]:
    """Revisions, the newest first."""
    return session.exec(select(PolicyRevision).order_by(col(PolicyRevision.created_at).desc()).limit(limit)).all()


def activations(session: Session) -> Sequence[PolicyActivation]:
    """When which revision came, or will come, into force, the latest first."""
    return session.exec(select(PolicyActivation).order_by(col(PolicyActivation.effective_at).desc())).all()


def differing(session: Session, row: PolicyRevision) -> list[str]:
    """What a revision changes in the tables of the one that it is based on, line by line; Rego is named by file."""
    if not row.based_on:
        return []
    before, now = policy.kept(session, row.based_on), policy.kept(session, row.revision)
    return [*differences(before.data, now.data), *(f"{path}: Rego" for path in row.changed if path.endswith(".rego"))]


def changes(session: Session, row: PolicyRevision) -> list[Change]:
    """The same for the profiles alone, in parts that can be shown to people who read no tables."""
    return [] if not row.based_on else changes_of(policy.kept(session, row.based_on).data, policy.kept(session, row.revision).data)


def _locked(session: Session, revision: str) -> PolicyRevision:
    row = session.exec(select(PolicyRevision).where(PolicyRevision.revision == revision).with_for_update()).first()
    if row is None:
        raise NoSuchRevision
    return row


def _told(session: Session, caller: PersonCaller, what: str, row: PolicyRevision, facts: Mapping[str, str | int | bool | list[str]]) -> None:
    audit.record(session, Event(what, caller.actor, facts={"revision": row.revision, **facts}))
