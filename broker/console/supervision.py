"""Where an authority begins: the quarters as they were signed, in added-up figures, and what the log says happened, of nobody's patient (ID-3.2).

Figures that point at few people are left out where they are made; names of people, patients and free text never come here.
"""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import col, select

from broker.audit.models import AuditEvent
from broker.console import charts, event_words, language, tables
from broker.console.desk import Desk
from broker.console.door import Visitor, require
from broker.console.language import N_, said
from broker.console.lists import SPAN
from broker.console.pages import Pages, named, text
from broker.console.reviewing import quarters
from broker.console.tables import Ask, Cell, Column, Filter
from broker.database import SessionDep
from broker.identity import service as identity
from broker.identity.access import Action
from broker.review import service as review

Supervisor = Annotated[Visitor, Depends(require(Action.SUPERVISION_READ))]

#: What may be followed: in words, and the events that it means, by how their names begin. The same as the API's feed; a test asks.
SUBJECTS = {
    "decisions": (N_("Decisions"), ("release.permitted", "release.refused", "application.approved", "application.narrowed", "application.refused")),
    "disclosures": (N_("Disclosures"), ("release.sent", "release.partial", "release.unknown", "release.failed")),
    "incidents": (N_("Incidents"), ("incident.",)),
    "qualifications": (N_("Qualifications"), ("workforce.",)),
}


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The two pages."""
    router = APIRouter()

    @router.get("/console/supervision")
    def begin(request: Request, who: Supervisor, session: SessionDep) -> Response:
        del who
        spoken, known = pages.language(request), quarters()
        laid = {quarter: found for quarter in known if (found := review.workbench.laid(session, review.Quarter.parse(quarter))) is not None}
        chosen = Ask.of(request).one_of("quarter", laid, next(iter(laid), ""))
        made = laid.get(chosen)
        drawn = [] if made is None else [charts.decided(made, spoken)]
        drawn += [] if made is None else [charts.chart(desk, name, rows, spoken) for name, rows in made["breakdowns"].items()]
        signed = {} if made is None else review.workbench.signatures(session, review.Quarter.parse(chosen))
        return pages.show(
            request, "supervision.html", quarters=list(laid), chosen=chosen, charts=drawn, signed=len(signed), base_url=desk.settings.base_url
        )

    @router.get("/console/supervision/events")
    def feed(request: Request, who: Supervisor, session: SessionDep) -> Response:
        del who
        spoken, ask = pages.language(request), Ask.of(request)
        subject = ask.one_of("subject", SUBJECTS)
        begins = [one for code, (_, names) in SUBJECTS.items() if subject in ("", code) for one in names]
        limit, offset = ask.window
        query = select(AuditEvent).where(sa.or_(*(col(AuditEvent.type).startswith(one, autoescape=True) for one in begins)))
        found = session.exec(query.order_by(col(AuditEvent.id).desc()).limit(limit + 1).offset(offset)).all()
        known = identity.Directory(session)
        zone = desk.settings.time_zone
        rows = [
            [
                Cell(language.moment(spoken, zone, one.at)),
                Cell(event_words.event(spoken, one.type)),
                Cell(named(known.get(one.recipient or ""), spoken)),
                Cell(text(desk.purposes.get(one.purpose or ""), spoken)),
                Cell(one.application or "–"),
                Cell(said(spoken, N_("Proof")), href=f"/log/proof/{one.id}"),
            ]
            for one in found[:limit]
        ]
        titles = (N_("Time"), N_("Event"), N_("Recipient"), N_("Purpose"), N_("Application"), N_("Log"))
        filters = [Filter("subject", said(spoken, N_("About")), [(code, said(spoken, word)) for code, (word, _) in SUBJECTS.items()])]
        span = said(spoken, SPAN if len(found) <= limit else N_("{first} to {last}, and more"))
        columns = [Column(said(spoken, title)) for title in titles]
        table = tables.made(ask, columns, rows, offset + len(found), span=span, filters=filters)
        if ask.format:
            return tables.exported(table, ask.format, "supervision")
        return pages.show(request, "supervision_events.html", table=table)

    return router
