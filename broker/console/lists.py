"""Lists of applications: one's own, to endorse, to decide, and every exchange that somebody may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.applications import service as applications
from broker.applications.schemas import SummaryOut
from broker.applications.service import Became, BulkAction, Chosen, GrantState, State, Wanted
from broker.console import language, tables, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.exchange import said_to
from broker.console.language import N_, said
from broker.console.pages import Pages, named, text
from broker.console.tables import Ask, Cell, Column, Filter
from broker.console.workload import workload
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem
from broker.feedback import service as feedback
from broker.identity import service as identity
from broker.identity.access import Action
from broker.paging import COUNTED

#: States that somebody looks for together.
TOGETHER = {"to-finish": (State.DRAFT, State.RETURNED), "under-way": (State.SUBMITTED, State.ENDORSED)}

#: What can be done with many at once, list by list: steps that mean the same for each of them.
AT_ONCE: dict[str, tuple[BulkAction, ...]] = {
    "endorse": (BulkAction.ENDORSE, BulkAction.AGREE, BulkAction.RETURN),
    "decide": (BulkAction.LEGALITY, BulkAction.NECESSITY, BulkAction.CONCUR, BulkAction.APPROVE, BulkAction.RETURN, BulkAction.REFUSE),
    "exchanges": (BulkAction.SUSPEND, BulkAction.RESUME, BulkAction.REVOKE),
}

SPAN = N_("{first} to {last} of {total}")


@dataclass(frozen=True)
class Kind:
    """One of the lists: what it is called, what is in it, how it is sorted at first, what it says when it is empty."""

    name: str
    title: str
    lead: str
    states: tuple[State, ...] = ()
    mine: bool = False
    to_decide: bool = False
    sort: str = "-created"
    target: str = ""  #: which page of an application its number leads to
    empty: tuple[str, str] = field(default=("", ""))


MINE = Kind(
    "applications",
    N_("My applications"),
    N_("What you asked for, and how far it is."),
    mine=True,
    empty=(
        N_("You have not applied for anything yet"),
        N_("An application says who needs which data about whom, what for, and until when. While you write it, you see what policy would cut."),
    ),
)
ENDORSE = Kind(
    "endorse",
    N_("To endorse"),
    N_("Applications of your department, and for its data. Whoever endorses answers for the need."),
    states=(State.SUBMITTED,),
    to_decide=True,
    sort="submitted",
    empty=(N_("Nothing waits for you"), N_("Applications of your department appear here as soon as they are submitted.")),
)
DECIDE = Kind(
    "decide",
    N_("To decide"),
    N_("Endorsed applications, the longest waiting first. Each opens with request, assessment, consents and preview on one page."),
    states=(State.ENDORSED,),
    to_decide=True,
    sort="submitted",
    target="/decide",
    empty=(N_("Nothing waits for you"), N_("Applications appear here when the department head has endorsed them.")),
)
EXCHANGES = Kind(
    "exchanges",
    N_("Exchanges"),
    N_("Every application with its whole thread: request, opinions, decisions, what was sent, feedback."),
    empty=(N_("There are no exchanges yet"), N_("They appear here as soon as somebody applies.")),
)


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The lists."""
    router = APIRouter()

    def listed(
        request: Request, who: Visitor, session: Session, kind: Kind, *, error: BrokerError | None = None, became: Sequence[Became] = ()
    ) -> Response:
        spoken, ask = pages.language(request), Ask.of(request)
        sort = ask.sort(applications.SORTS, kind.sort)
        status = ask.one_of("status", (*State, *TOGETHER))
        states = kind.states or TOGETHER.get(status) or ((State(status),) if status else ())
        grant = ask.one_of("grant", [state.value for state in GrantState])
        wanted = Wanted(
            states=states,
            grant=GrantState(grant) if grant else None,
            purpose=ask.one_of("purpose", desk.purposes),
            urgency=ask.one_of("urgency", words.URGENCY),
            number=ask.text("number"),
            mine=kind.mine,
            to_decide=kind.to_decide,
            sort=sort,
        )
        limit, offset = ask.window
        found = applications.listing(session, who.caller.person_id, wanted, limit=limit, offset=offset, counted=COUNTED)
        known = identity.Directory(session)
        table = tables.made(
            ask,
            columns(spoken, kind),
            [row(desk, spoken, kind, one, known) for one in found.items],
            found.total,
            span=said(spoken, SPAN),
            filters=filters(desk, spoken, kind),
            sort=sort,
        )
        if ask.format:
            return tables.exported(table, ask.format, kind.name)
        return pages.show(
            request, "list.html", status=error.status if error else 200, error=error, kind=kind, table=table,
            counts=counts(session, who, kind, desk.today),
            held=holds(session, who, kind), at_once=at_once(who, kind), reasons=[(code, words.word(spoken, "reason", code)) for code in words.REASON],
            became=became, done_of=sum(one.error is None for one in became),
        )  # fmt: skip

    def at_once(who: Visitor, kind: Kind) -> tuple[str, ...]:
        """The steps that somebody may take for many of this list."""
        may = kind is not EXCHANGES or who.caller.may(Action.GRANT_REVOKE)
        return tuple(one.value for one in AT_ONCE.get(kind.name, ())) if may else ()

    def act(request: Request, form: Form, who: Visitor, session: Session, kind: Kind) -> Response:
        """One step for all that were ticked; each is taken or refused by itself (a savepoint each), and the page says what became of each."""
        if form.one("action") not in at_once(who, kind):
            raise Malformed("There is no such step.")
        chosen = [Chosen(ref, int(version)) for ref, _, version in (one.partition("|") for one in form.all("chosen")) if _digits(version)]
        if not chosen or len(chosen) > tables.SIZE:
            problem = Problem("/chosen", "none-chosen", "Choose at least one.")
            return listed(request, who, session, kind, error=Invalid(problems=(problem,)))
        try:
            reason = said_to(form, pages.language(request)).said()
        except BrokerError as error:
            return listed(request, who, session, kind, error=error)
        became = applications.bulk(session, desk.means, who.caller.person_id, BulkAction(form.one("action")), chosen, reason)
        return listed(request, who, session, kind, became=became)

    def holds(session: Session, who: Visitor, kind: Kind) -> tuple[str, ...]:
        return feedback.holds(desk.settings.feedback_days)(session, who.caller.person_id) if kind.mine else ()

    def route(kind: Kind) -> None:
        def page(request: Request, who: SignedIn, session: SessionDep) -> Response:
            return listed(request, who, session, kind)

        router.add_api_route(f"/console/{kind.name}", page, methods=["GET"], name=kind.name)

    def steps(kind: Kind) -> None:
        def page(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
            return act(request, form, who, session, kind)

        router.add_api_route(f"/console/{kind.name}", page, methods=["POST"], name=f"{kind.name} at once")

    for kind in (MINE, ENDORSE, DECIDE, EXCHANGES):
        route(kind)
        if kind.name in AT_ONCE:
            steps(kind)
    return router


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def counts(session: Session, who: Visitor, kind: Kind, today: date) -> list[tuple[str, int, str]]:
    """What somebody's work looks like at a glance: words, number, address."""
    if kind is DECIDE:
        return workload(session, who, today)
    if kind is not MINE:
        return []
    found = applications.glance(session, who.caller.person_id)
    return [
        (N_("To finish"), found.to_finish, "/console/applications?status=to-finish"),
        (N_("Under way"), found.under_way, "/console/applications?status=under-way"),
        (N_("In force"), found.in_force, "/console/applications?grant=active"),
    ]


def columns(spoken: str, kind: Kind) -> list[Column]:
    """The columns of a list of applications."""
    when = Column(said(spoken, N_("Submitted")), "submitted") if kind.to_decide else Column(said(spoken, N_("Begun")), "created")
    return [
        Column(said(spoken, N_("Number")), "number"),
        Column(said(spoken, N_("State")), "status"),
        Column(said(spoken, N_("Purpose"))),
        Column(said(spoken, N_("Applicant"))),
        Column(said(spoken, N_("Recipient"))),
        Column(said(spoken, N_("Urgency"))),
        Column(said(spoken, N_("Assessment"))),
        Column(said(spoken, N_("Decide by"))),
        when,
    ]


def filters(desk: Desk, spoken: str, kind: Kind) -> list[Filter]:
    """The search of a list of applications."""
    together = [("to-finish", said(spoken, N_("To finish"))), ("under-way", said(spoken, N_("Under way")))]
    state = Filter("status", said(spoken, N_("State")), [*together, *((code, words.word(spoken, "state", code)) for code in words.STATE)])
    grant = Filter("grant", said(spoken, N_("Grant")), [(code, words.word(spoken, "grant", code)) for code in words.GRANT])
    return [
        Filter("number", said(spoken, N_("Number")), hint="SA-2026-…"),
        *(() if kind.states else (state, grant)),
        Filter(
            "purpose",
            said(spoken, N_("Purpose")),
            sorted(((code, text(name, spoken)) for code, name in desk.purposes.items()), key=lambda one: one[1]),
        ),
        Filter("urgency", said(spoken, N_("Urgency")), [(code, words.word(spoken, "urgency", code)) for code in words.URGENCY]),
    ]


def row(desk: Desk, spoken: str, kind: Kind, one: SummaryOut, known: identity.Directory) -> list[Cell]:
    """One application as a line."""
    zone = desk.settings.time_zone
    grant = words.word(spoken, "grant", one.grant_status) if one.grant_status and one.grant_status != "active" else ""
    when = one.submitted_at if kind.to_decide else one.created_at
    name = one.number or said(spoken, N_("Draft"))
    return [
        Cell(name, href=f"/console/applications/{one.id}{kind.target}", key=f"{one.id}|{one.version}"),
        Cell(words.word(spoken, "state", one.status), tone=words.TONES.get(one.status, "quiet"), note=grant),
        Cell(text(desk.purposes.get(one.purpose or ""), spoken)),
        Cell(one.requester.name, note="" if one.requester.organization == one.recipient else named(known.get(one.requester.organization), spoken)),
        Cell(named(known.get(one.recipient or ""), spoken)),
        Cell(words.word(spoken, "urgency", one.urgency), tone=words.TONES.get(one.urgency, "quiet")),
        Cell(words.word(spoken, "effect", one.assessed), tone=words.TONES.get(one.assessed or "", "quiet") if one.assessed else ""),
        Cell(language.moment(spoken, zone, one.due_at), note=said(spoken, N_("late")) if one.late else ""),
        Cell(language.moment(spoken, zone, when)),
    ]
