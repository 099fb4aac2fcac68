"""Incidents at the console: anybody reports, handlers freeze, assess, tell, investigate and close (PI-7, TM-5.5). Drills are marked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console import afterwards, language, vocabulary, words
from broker.console.afterwards import actor_name, choice_of, moment_of, offered, several, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.pages import Pages, named, to
from broker.console.patient import known_as
from broker.console.tables import Ask, Cell, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.incidents import service as incidents
from broker.incidents.models import Containment, Incident
from broker.incidents.service import Audience, Kind, Scope, Severity, State, Target, TargetKind, possible
from broker.records import service as records

TITLES = (N_("Number"), N_("Kind"), N_("State"), N_("Severity"), N_("Patients"), N_("Reported"), N_("By"))


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The list, where anybody reports, and one incident with its steps."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def listed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        state = Ask.of(request).one_of("status", [one.value for one in State])
        rows = incidents.many(session, who.caller, status=State(state) if state else None, limit=500)
        cells = [
            [
                Cell(one.number, href=f"/console/incidents/{one.number}", note=said(spoken, N_("drill")) if one.drill else ""),
                Cell(words.word(spoken, "incident_kind", one.kind)),
                Cell(words.word(spoken, "incident_state", one.status), tone=words.TONES.get(one.status, "quiet")),
                Cell(words.word(spoken, "severity", one.severity), tone=words.TONES.get(one.severity or "", "") if one.severity else ""),
                Cell("–" if one.patients is None else str(one.patients)),
                Cell(language.moment(spoken, zone, one.reported_at)),
                Cell(actor_name(session, spoken, one.reported_by)),
            ]
            for one in rows
        ]
        states = Filter("status", said(spoken, N_("State")), offered(spoken, "incident_state"))
        return afterwards.show(
            pages, request, "incidents.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, TITLES, cells, [states]), kinds=offered(spoken, "incident_kind"),
            handles=who.caller.may(Button.INCIDENT_HANDLE),
            open_ones=[(row.number, row.number) for row in rows if row.status not in ("closed", "dismissed")],
            known=_known(session, spoken) if who.caller.may(Button.INCIDENT_HANDLE) else {},
            meant={name: request.query_params.get(name, "")[:200] for name in ("client", "organization", "grant", "person", "incident")},
        )  # fmt: skip

    @router.get("/console/incidents")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return listed(request, who, session)

    @router.post("/console/incidents")
    def begin(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        made: list[str] = []
        if form.one("step") == "contain":
            identity.stepped_up(desk.settings, who.caller)

        def act() -> None:
            drill = form.has("drill")
            if form.one("step") == "contain":
                targets = _targets(session, desk, form)
                row, _ = incidents.contain(
                    session, desk.keys, who.caller, targets, reason=text_of(form), incident=form.one("incident") or None, drill=drill
                )
            else:
                kind = Kind(choice_of(form, "kind", list(Kind)))
                occurred = moment_of(form, "occurred", zone)
                row = incidents.report(
                    session, desk.keys, who.caller.actor, kind=kind, summary=text_of(form), occurred_at=occurred, drill=drill,
                )  # fmt: skip
            made.append(row.number)

        done = "contained" if form.one("step") == "contain" else "reported"
        again = lambda error: listed(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(f"/console/incidents/{made[0]}", done=done))

    def shown(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        row = incidents.look(session, who.caller, number)
        return pages.show(
            request, "incident.html", status=error.status if error else 200, error=error, **_whole(desk, pages, request, who, session, row)
        )

    @router.get("/console/incidents/{number}")
    def one(request: Request, number: str, who: SignedIn, session: SessionDep) -> Response:
        return shown(request, number, who, session)

    @router.post("/console/incidents/{number}")
    def step(request: Request, number: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        if form.one("step") in ("contain", "ask-to-lift", "lift"):
            identity.stepped_up(desk.settings, who.caller)
        again = lambda error: shown(request, number, who, session, error)  # noqa: E731  (As above.)
        return tried(session, lambda: _step(desk, form, who, session, number), again, lambda: to(f"/console/incidents/{number}", done="saved"))

    return router


def _step(desk: Desk, form: Form, who: Visitor, session: Session, number: str) -> None:
    """One step, by its name. Raises what the verb raises, Malformed for no step."""
    keys, caller = desk.keys, who.caller
    match form.one("step"):
        case "contain":
            incidents.contain(session, keys, caller, _targets(session, desk, form), reason=text_of(form), incident=number)
        case "ask-to-lift":
            incidents.ask_to_lift(session, keys, caller, number, reason=text_of(form))
        case "lift":
            incidents.lift(session, keys, caller, number, reason=text_of(form))
        case "assess":
            severity = Severity(choice_of(form, "severity", list(Severity)))
            scope = Scope(
                clients=several(form, "clients"),
                organizations=several(form, "organizations"),
                applications=several(form, "applications"),
                since=moment_of(form, "since", desk.settings.time_zone),
                until=moment_of(form, "until", desk.settings.time_zone),
            )
            words_ = text_of(form, required=False) or None
            incidents.assess(session, keys, caller, number, severity=severity, sensitive=form.has("sensitive"), scope=scope, text=words_)
        case "notify":
            how = choice_of(form, "how", words.TABLES["told_how"])
            notice = afterwards.id_of(form, "notice")
            incidents.done(session, keys, caller, number, notice, how=how, text=text_of(form), waived=form.has("waived"))
        case "investigate":
            incidents.investigate(session, keys, caller, number, text=text_of(form, required=False) or None)
        case "close":
            incidents.close(session, keys, caller, number, cause=text_of(form, "cause"), measures=text_of(form, "measures"))
        case "dismiss":
            incidents.dismiss(session, keys, caller, number, text=text_of(form))
        case "reopen":
            incidents.reopen(session, keys, caller, number, text=text_of(form))
        case _:
            raise Malformed("There is no such step.")


def _whole(desk: Desk, pages: Pages, request: Request, who: Visitor, session: Session, row: Incident) -> dict[str, Any]:
    """What the page of an incident shows; to who only reported it, what they wrote and where it stands."""
    spoken, reads = pages.language(request), who.caller.may(Button.INCIDENT_READ)
    handles = who.caller.may(Button.INCIDENT_HANDLE)

    def opened(field: str, sealed: bytes | None) -> str | None:
        return incidents.opened(desk.keys, row, field, sealed) if reads else None

    frozen = incidents.containments(session, row) if reads else ()
    names = identity.Directory(session)
    notices = [
        {
            "row": one,
            "partner": getattr(names.get(one.organization_id or ""), f"name_{spoken}", one.organization_id),
            "late": one.done_at is None and one.due_at <= clock.now(),
            "draft": _draft(desk, session, row, Audience(one.audience), spoken) if handles and one.done_at is None else "",
        }
        for one in (incidents.notices(session, row) if reads else ())
    ]
    standing = [one for one in frozen if one.lifted_at is None]
    return {
        "it": row,
        "summary": incidents.opened(desk.keys, row, "summary", row.summary_sealed),
        "cause": opened("cause", row.cause_sealed),
        "measures": opened("measures", row.measures_sealed),
        "kinds": [vocabulary.kind(spoken, one) for one in row.data_types],
        "reporter": actor_name(session, spoken, row.reported_by),
        "reads": reads,
        "actions": [one.value for one in possible(State(row.status))] if handles else [],
        "steps": [
            {
                "what": words.word(spoken, "incident_step", one.action), "at": one.at, "who": actor_name(session, spoken, one.actor),
                "text": incidents.opened(desk.keys, row, f"step|{one.id}", one.text_sealed),
            }
            for one in (incidents.steps(session, row) if reads else ())
        ],
        "frozen": [_frozen(desk, session, spoken, one) for one in frozen],
        "standing": standing,
        "known": _known(session, spoken) if handles else {},
        "lift_asked": any(one.lift_asked_by for one in standing),
        "lift_mine": any(one.lift_asked_by == who.caller.natural_person for one in standing),
        "untold": sum(one.done_at is None for one in incidents.notices(session, row)) if reads else 0,
        "notices": notices,
        "severities": offered(spoken, "severity"),
        "hows": offered(spoken, "told_how"),
    }  # fmt: skip


def _known(session: Session, spoken: str) -> dict[str, list[tuple[str, str]]]:
    """What may be frozen, as its field wants it, with its name: nobody looks up identifiers while something leaks."""
    return {
        "client": [(one.id, one.name) for one in identity.clients_like(session, "", identity.ANY)],
        "organization": [(one.id, named(one, spoken)) for one in identity.organizations_like(session, "", identity.ANY)],
        "person": [(one.username, one.name) for one in identity.people_like(session, "")],
    }


def _draft(desk: Desk, session: Session, row: Incident, audience: Audience, spoken: str) -> str:
    return incidents.draft(
        session, row, audience, spoken, hospital=desk.settings.hospital, contact=desk.settings.base_url, zone=desk.settings.time_zone
    )


def _frozen(desk: Desk, session: Session, spoken: str, one: Containment) -> list[Cell]:
    zone = desk.settings.time_zone
    state = N_("lifted") if one.lifted_at else N_("lifting asked for") if one.lift_asked_by else N_("frozen")
    return [
        Cell(words.word(spoken, "target", one.kind)),
        Cell(_called(session, spoken, one), note="" if one.changed else said(spoken, N_("stood still already, or a drill"))),
        Cell(language.moment(spoken, zone, one.at)),
        Cell(said(spoken, state), tone="quiet" if one.lifted_at else "bad"),
    ]


def _called(session: Session, spoken: str, one: Containment) -> str:
    """What is frozen, as people call it. Of a patient only the blinded key is kept, which says nothing to anybody."""
    match TargetKind(one.kind):
        case TargetKind.PATIENT:
            return said(spoken, N_("kept under a blinded key"))
        case TargetKind.PERSON:
            return identity.person(session, UUID(one.target)).name
        case TargetKind.ORGANIZATION:
            return named(identity.organization(session, one.target), spoken)
        case TargetKind.CLIENT:
            return identity.client(session, one.target).name
        case _:
            return one.target


def _targets(session: Session, desk: Desk, form: Form) -> list[Target]:
    """What is to be frozen, each field with several. Raises Invalid for a person or patient whom nobody knows."""
    found = [
        Target(kind, name)
        for kind in (TargetKind.ORGANIZATION, TargetKind.CLIENT, TargetKind.GRANT, TargetKind.TOKEN)
        for name in several(form, kind.value)
    ]
    for name in several(form, "person"):
        person = identity.person_named(session, name)
        if person is None:
            raise Invalid(problems=(Problem("/person", "unknown", "There is no such choice."),))
        found.append(Target(TargetKind.PERSON, str(person.id)))
    for number in several(form, "patient"):
        key = known_as(session, desk.keys, desk.settings, number) or records.find_patient(session, desk.keys, number)
        if key is None:
            raise Invalid(problems=(Problem("/patient", "unknown", "There is no such choice."),))
        found.append(Target(TargetKind.PATIENT, records.open_vault(session, desk.keys, key).fhir_id))
    if not found:
        raise Invalid(problems=(Problem("/targets", "required", "Name at least one thing to freeze."),))
    return found
