"""Least-necessary policies for whoever writes no Rego: what each profile lets leave, narrowing one, and the way of a draft (RS-5.2.3, QA-3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console import policy_words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.errors import NoSuchProfile
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem
from broker.governance import service as governance
from broker.identity import service as identity
from broker.identity.access import Action
from broker.policy.models import PolicyRevision

Reader = Annotated[Visitor, Depends(require(Action.POLICY_READ))]
Writer = Annotated[Visitor, Depends(require(Action.POLICY_WRITE))]

#: Decisions of the past that a draft is asked again from these pages, the newest; the API takes more.
_REPLAYED = 5_000


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The pages."""
    router = APIRouter()

    @router.get("/console/policies")
    def many(request: Request, who: Reader, session: SessionDep) -> Response:
        active, spoken = desk.policies(), pages.language(request)
        begun, planned = _schedule(session)
        drafts = [(row, _name(session, row.author)) for row in governance.many(session)]
        return pages.show(
            request, "policies.html", profiles=policy_words.profiles(spoken, active.data), active=active.revision, drafts=drafts,
            since=begun[0].effective_at if begun else None, planned={each.revision: each.effective_at for each in planned},
            may_write=who.caller.may(Action.POLICY_WRITE),
        )  # fmt: skip

    @router.get("/console/policies/proposals")
    def proposals(request: Request, who: Reader, session: SessionDep) -> Response:
        active, spoken = desk.policies(), pages.language(request)
        since = _quarter_before(_today(desk))
        found = governance.proposals(session, desk.keys, active, since=_midnight(desk, since))
        rows = [policy_words.proposal(spoken, active.data, each) for each in found if each.unused or each.always_cut]
        return pages.show(request, "policy_proposals.html", rows=rows, since=since, may_write=who.caller.may(Action.POLICY_WRITE))

    @router.get("/console/policies/profiles/{name}")
    def profile(request: Request, name: str, who: Reader) -> Response:
        return pages.show(
            request, "policy_profile.html", it=policy_words.profile(pages.language(request), _data(name), name),
            may_write=who.caller.may(Action.POLICY_WRITE),
        )  # fmt: skip

    def _data(name: str) -> dict[str, Any]:
        data = dict(desk.policies().data)
        if name not in data["profiles"]:
            raise NoSuchProfile
        return data

    # -- narrowing --

    @router.get("/console/policies/profiles/{name}/narrow")
    def narrow(request: Request, name: str, _who: Writer) -> Response:
        return _narrow(request, name)

    def _narrow(request: Request, name: str, error: BrokerError | None = None, form: Form | None = None) -> Response:
        data = _data(name)
        has = _all_of(data, name)
        kept = has - {*request.query_params.getlist("without")} if form is None else _kept(data, form).elements
        given = {each: form.one(each) for each in ("note", *policy_words.DAY_FIELDS)} if form else {}
        return pages.show(
            request, "policy_narrow.html", status=error.status if error else 200, error=error, kept=kept, given=given,
            it=policy_words.profile(pages.language(request), data, name),
            channels=form.all("channel") if form else data["profiles"][name]["channels"],
            licences=form.all("licence") if form else (), requires=form.all("requires") if form else (),
        )  # fmt: skip

    @router.post("/console/policies/profiles/{name}/narrow")
    def draft(request: Request, name: str, form: Posted, who: Writer, session: SessionDep) -> Response:
        data = _data(name)
        try:
            note = form.one("note")[:4000]
            if not note:
                raise Invalid(problems=(Problem("/note", "required", "Say what is to change, and why."),))
            changes = governance.narrowed(data, name, _kept(data, form))
            with session.begin_nested():
                row = governance.draft(session, who.caller, desk.policies(), changes, note=note)
        except BrokerError as error:
            return _narrow(request, name, error, form)
        return to(f"/console/policies/revisions/{row.revision}", done="saved")

    # -- a revision on its way --

    @router.get("/console/policies/revisions/{revision}")
    def one(request: Request, revision: str, who: Reader, session: SessionDep) -> Response:
        return _revision(request, revision, who, session)

    def _revision(request: Request, revision: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        row, spoken, active = governance.one(session, revision), pages.language(request), desk.policies()
        begun, planned = _schedule(session)
        mine = who.caller.natural_person == row.author_natural
        return pages.show(
            request, "policy_revision.html", status=error.status if error else 200, error=error, it=row, author=_name(session, row.author), mine=mine,
            changes=policy_words.changes(spoken, active.data, governance.changes(session, row)), others=_others(session, row),
            replay=policy_words.replay(spoken, active.data, desk.reasons, row.replay, lambda place: _place(session, place, spoken)),
            is_active=active.revision == revision, history=[(each, _name(session, each.decided_by)) for each in (*planned, *begun)
                                                            if each.revision == revision],
            planned=any(each.revision == revision for each in planned), since=_quarter_before(_today(desk)).isoformat(),
            may_write=who.caller.may(Action.POLICY_WRITE), stale=row.state not in ("approved", "withdrawn") and row.based_on != active.revision,
        )  # fmt: skip

    @router.post("/console/policies/revisions/{revision}")
    def step(request: Request, revision: str, form: Posted, who: Writer, session: SessionDep) -> Response:
        what = form.one("step")
        try:
            with session.begin_nested():
                _step(session, who, revision, what, form)
        except BrokerError as error:
            return _revision(request, revision, who, session, error)
        return to(f"/console/policies/revisions/{revision}", done=f"policy-{what}")

    def _step(session: Session, who: Visitor, revision: str, what: str, form: Form) -> None:
        if what == "check":
            if governance.run_tests(session, who.caller, revision).state == "tested":
                begin = _midnight(desk, _day(form.one("since")) or _quarter_before(_today(desk)))
                governance.replay(session, desk.keys, who.caller, revision, since=begin, limit=_REPLAYED)
        elif what == "approve":
            governance.approve(session, who.caller, revision, effective_at=_moment(form.one("effective_at"), desk.settings.time_zone))
        elif what == "withdraw":
            governance.withdraw(session, who.caller, revision)
        elif what == "bring-back":
            governance.bring_back(session, who.caller, revision)
        else:
            raise Malformed("There is no such step.")

    return router


def _all_of(data: dict[str, Any], name: str) -> set[str]:
    return {f"{kind}.{element}" for kind, row in data["profiles"][name]["types"].items() for element in row["elements"].split(" ")}


def _kept(data: dict[str, Any], form: Form) -> governance.Kept:
    """What a form leaves of a profile: of a type that stays, what was ticked and what it can't do without."""
    kinds = [kind for kind in form.all("type") if kind in data["types"]]
    ticked = {each for each in form.all("element") if each.partition(".")[0] in kinds}
    must = {f"{kind}.{element}" for kind in kinds for element in governance.needed(data["types"], kind)}
    days = {}
    for field in policy_words.DAY_FIELDS:
        given = form.one(field)
        if given:
            if not (given.isascii() and given.isdigit() and len(given) < 7):
                raise Invalid(problems=(Problem(f"/{field}", "number", "This must be a whole number of days."),))
            group, _, name = field.partition(".")
            days[group, name] = int(given)
    lines = (tuple(form.all("licence")), *((code,) for code in form.all("requires")))
    if not {code for line in lines for code in line} <= data["workforce"].keys():
        raise Malformed("There is no such qualification.")
    return governance.Kept(ticked | must, form.all("channel"), days, tuple(line for line in lines if line))


def _others(session: Session, row: PolicyRevision) -> list[str]:
    """Lines on what is no change within a profile: other tables, new profiles, Rego. A draft made over the API may have them."""
    named = {each.profile for each in governance.changes(session, row)}
    return [line for line in governance.differing(session, row) if line.partition(":")[0] not in named]


def _schedule(session: Session) -> tuple[Sequence[Any], Sequence[Any]]:
    """Activations that have begun, and those to come, the latest first."""
    rows, now = governance.activations(session), clock.now()
    return [row for row in rows if row.effective_at <= now], [row for row in rows if row.effective_at > now]


def _name(session: Session, person: UUID) -> str:
    return identity.person(session, person).name


def _place(session: Session, organization: str, spoken: str) -> str:
    row = identity.organization(session, organization)
    return row.name_zh if spoken == "zh" else row.name_en


def _today(desk: Desk) -> date:
    return clock.now().astimezone(desk.settings.zone).date()


def _quarter_before(day: date) -> date:
    """The first day of the quarter before that of a day."""
    first = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    last = first - timedelta(days=1)
    return last.replace(month=(last.month - 1) // 3 * 3 + 1, day=1)


def _midnight(desk: Desk, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=desk.settings.zone)


def _day(given: str) -> date | None:
    try:
        return date.fromisoformat(given) if given else None
    except ValueError as error:
        raise Invalid(problems=(Problem("/since", "date", "This is no date."),)) from error


def _moment(given: str, zone: str) -> datetime | None:
    """The moment of a ``datetime-local`` field; None if it was left empty."""
    try:
        return datetime.fromisoformat(given).replace(tzinfo=ZoneInfo(zone)) if given else None
    except ValueError as error:
        raise Invalid(problems=(Problem("/effective_at", "date", "This is no date."),)) from error
