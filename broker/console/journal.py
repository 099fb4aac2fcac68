"""The auditor's desk: the transmission log, every event, and the proof of each that anybody can check without trusting us (RS-6.2.3, PI-3.3)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import receipt
from broker.audit import service as audit
from broker.audit.models import AuditEvent
from broker.console import event_words, language, pickers, tables, words
from broker.console.applying import RESIDENT_NUMBER
from broker.console.desk import Desk
from broker.console.door import Visitor, require
from broker.console.language import N_, said
from broker.console.lists import SPAN
from broker.console.pages import HEADERS, Pages, named, text
from broker.console.tables import Ask, Cell, Column, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, NotFound
from broker.identity import service as identity
from broker.identity.access import Action
from broker.identity.models import Person
from broker.records import service as records

Reader = Annotated[Visitor, Depends(require(Action.TRANSMISSION_READ))]
LogReader = Annotated[Visitor, Depends(require(Action.LOG_READ))]

#: An intent without an outcome is told after this long.
LATE = timedelta(minutes=10)


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Transmissions, events, proofs."""
    router = APIRouter()

    @router.get("/console/transmissions")
    def transmissions(request: Request, who: Reader, session: SessionDep) -> Response:
        spoken, ask = pages.language(request), Ask.of(request)
        since, until = moments(desk, ask)
        known = identity.Directory(session)
        recipients, recipient = pickers.organizations(session, spoken, identity.ANY).filter(ask, "recipient", said(spoken, N_("Recipient")))
        limit, offset = ask.window
        found = audit.transmissions(
            session,
            patient=whose(desk, session, who, ask.text("patient")),
            recipient=recipient or None,
            application=ask.text("application").upper() or None,
            since=since,
            until=until,
            limit=min(offset + limit + 1, tables.MOST),
        )
        zone = desk.settings.time_zone

        def row(one: audit.Transmission) -> list[Cell]:
            return [
                Cell(language.moment(spoken, zone, one.at)),
                Cell(named(known.get(one.sender or ""), spoken), note=""),
                Cell(named(known.get(one.receiver or ""), spoken), note=one.actor.removeprefix("client:")),
                Cell(one.application or "–", href=f"/console/applications/{one.application}" if one.application else ""),
                Cell(text(desk.purposes.get(one.purpose or ""), spoken)),
                Cell("–" if one.items is None else str(one.items)),
                Cell(words.word(spoken, "outcome", one.outcome), tone=words.TONES.get(one.outcome, "quiet")),
                Cell(said(spoken, N_("Proof")), href=f"/console/proof/{one.outcome_event or one.intent_event}"),
            ]

        table = tables.made(
            ask,
            [Column(said(spoken, title), number=title == "Resources") for title in
             (N_("Time"), N_("Sender"), N_("Recipient"), N_("Application"), N_("Purpose"), N_("Resources"), N_("Outcome"), N_("Log"))],
            [row(one) for one in found[offset : offset + limit]],
            len(found),
            span=said(spoken, SPAN if len(found) <= offset + limit else N_("{first} to {last}, and more")),
            filters=[
                Filter("patient", said(spoken, N_("Patient's number"))),
                recipients,
                Filter("application", said(spoken, N_("Application")), hint="SA-2026-…"),
                Filter("since", said(spoken, N_("From")), kind="date"),
                Filter("until", said(spoken, N_("Until")), kind="date"),
            ],
        )  # fmt: skip
        if ask.format:
            return tables.exported(table, ask.format, "transmissions")
        late = audit.unfinished(session, LATE) if not ask.values else []
        patient = urlencode({"patient": ask.text("patient")}) if ask.text("patient") else ""
        return pages.show(request, "transmissions.html", table=table, late=late, patient=patient, **_state(session))

    @router.get("/console/transmissions/accounting.pdf")
    def accounting_file(request: Request, who: Reader, session: SessionDep) -> Response:
        given = Ask.of(request).text("patient")
        key = whose(desk, session, who, given)
        if key is None:
            raise NotFound("a patient's number")
        spoken = pages.language(request)
        called = records.called(session, desk.keys, key, desk.settings.record_number_system)
        if called is None:
            raise NotFound("a patient's number")  # "Nothing was sent" of somebody whom nobody knows would be a lie about whoever was meant.
        name, number = called
        # Never the number that was typed: what is printed is what the hospital keeps.
        printed = f"{name or '–'} ({said(spoken, N_('Record number'))} {number})" if number else name or said(spoken, N_("without a record number"))
        pdf = desk.accounting_file(session, key, printed, spoken)
        return Response(pdf, media_type="application/pdf", headers={**HEADERS, "Content-Disposition": 'attachment; filename="disclosures.pdf"'})

    @router.get("/console/events")
    def events(request: Request, who: LogReader, session: SessionDep) -> Response:
        del who
        spoken, ask = pages.language(request), Ask.of(request)
        since, until = moments(desk, ask)
        conditions: list[Any] = []
        if ask.text("type"):
            conditions.append(col(AuditEvent.type).startswith(ask.text("type").lower(), autoescape=True))
        if ask.text("application"):
            conditions.append(col(AuditEvent.application) == ask.text("application").upper())
        if ask.text("person"):
            accounts = session.exec(select(Person.id).where(Person.username == ask.text("person").lower())).all()
            conditions.append(col(AuditEvent.actor).in_([f"person:{one}" for one in accounts] or [ask.text("person")]))
        conditions += [col(AuditEvent.at) >= since] if since else []
        conditions += [col(AuditEvent.at) < until] if until else []
        limit, offset = ask.window
        rows = session.exec(select(AuditEvent).where(*conditions).order_by(col(AuditEvent.id).desc()).limit(limit + 1).offset(offset)).all()
        names = _names(session, [row.actor for row in rows])
        zone = desk.settings.time_zone
        cells = [
            [
                Cell(language.moment(spoken, zone, row.at)),
                Cell(event_words.event(spoken, row.type), note=row.type),
                Cell(event_words.actor(spoken, row.actor, names)),
                Cell(row.application or "–", href=f"/console/applications/{row.application}" if row.application else ""),
                Cell(words.word(spoken, "outcome", row.outcome)),
                Cell(said(spoken, N_("Proof")), href=f"/console/proof/{row.id}"),
            ]
            for row in rows[:limit]
        ]
        table = tables.made(
            ask,
            [Column(said(spoken, title)) for title in (N_("Time"), N_("Event"), N_("Who"), N_("Application"), N_("Outcome"), N_("Log"))],
            cells,
            offset + len(rows),
            span=said(spoken, SPAN if len(rows) <= limit else N_("{first} to {last}, and more")),
            filters=[
                Filter(
                    "type",
                    said(spoken, N_("Event")),
                    sorted(((f"{code}.", said(spoken, one)) for code, one in event_words.ABOUT.items()), key=lambda one: one[1]),
                ),
                Filter("person", said(spoken, N_("User name"))),
                Filter("application", said(spoken, N_("Application")), hint="SA-2026-…"),
                Filter("since", said(spoken, N_("From")), kind="date"),
                Filter("until", said(spoken, N_("Until")), kind="date"),
            ],
        )
        if ask.format:
            return tables.exported(table, ask.format, "events")
        return pages.show(request, "events.html", table=table, **_state(session))

    @router.get("/console/proof/{event}")
    def proof(request: Request, event: UUID, who: Reader, session: SessionDep) -> Response:
        row = session.get(AuditEvent, event)
        given: receipt.Receipt | None = None
        problem: BrokerError | None = None
        try:
            given = receipt.parse(audit.proof(session, event))
        except BrokerError as error:
            problem = error
        names = _names(session, [row.actor]) if row else {}
        return pages.show(
            request,
            "proof.html",
            status=problem.status if problem else 200,
            problem=problem,
            event=row,
            happened=event_words.event(pages.language(request), row.type) if row else "",
            purpose=text(desk.purposes.get(row.purpose or ""), pages.language(request), row.purpose or "") if row else "",
            who_did=event_words.actor(pages.language(request), row.actor, names) if row else "",
            proof=given,
            hashes=[one.hex() for one in given.hashes] if given else [],
            leaf=row.leaf if row and who.caller.may(Action.LOG_READ) else "",
        )

    return router


def moments(desk: Desk, ask: Ask) -> tuple[datetime | None, datetime | None]:
    """From the first moment of a day to the last of another, in the hospital's time."""
    zone = ZoneInfo(desk.settings.time_zone)
    first, last = _day(ask.text("since")), _day(ask.text("until"))
    start = datetime.combine(first, time.min, zone).astimezone(UTC) if first else None
    return start, datetime.combine(last + timedelta(days=1), time.min, zone).astimezone(UTC) if last else None


def whose(desk: Desk, session: Session, who: Visitor, given: str) -> UUID | None:
    """The patient who is meant by a number; asking for a patient's traces is on record itself. None: not asked for."""
    if not given:
        return None
    numbers = ((RESIDENT_NUMBER, given), (desk.settings.record_number_system, given))
    found = [match.patient_key for system, value in numbers
             if (match := records.match(session, desk.keys, {"system": system, "value": value})).grade in ("certain", "probable")]  # fmt: skip
    key = next((one for one in found if one is not None), None) or desk.keys.patient_key(given)
    audit.record_search(session, who.caller.actor, key)
    return key


def _day(given: str) -> date | None:
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        return None


def _state(session: Session) -> dict[str, Any]:
    """How the log stands: the newest checkpoint, what waits to be sealed, and what somebody outside has seen."""
    note, backlog = audit.published_checkpoint(session), audit.backlog(session)
    lines = note.split("\n") if note else ["", "0", ""]
    late = backlog.oldest is not None and clock.now() - backlog.oldest > LATE
    return {"origin": lines[0], "size": lines[1], "root": lines[2], "backlog": backlog.events, "late_log": late, "seen": audit.cosigned(session)}


def _names(session: Session, actors: list[str]) -> dict[str, str]:
    """The names of people among actors."""
    ids = {UUID(actor.removeprefix("person:")) for actor in actors if actor.startswith("person:")}
    rows = session.execute(sa.select(col(Person.id), col(Person.name), col(Person.username)).where(col(Person.id).in_(ids))).all()
    return {f"person:{row[0]}": f"{row[1]} ({row[2]})" for row in rows}
