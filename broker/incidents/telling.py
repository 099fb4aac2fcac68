"""Telling authority, patients and partners: the text, when it went out and how, or why it need not."""

from __future__ import annotations

from uuid import UUID
from zoneinfo import ZoneInfo

from sqlmodel import Session, select

from broker import clock
from broker.applications import service as applications
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import NotFound
from broker.identity import service as identity
from broker.identity.access import PersonCaller
from broker.incidents import desk
from broker.incidents.errors import IncidentTextRequired
from broker.incidents.lifecycle import Action, State, check_move
from broker.incidents.models import Incident, Notice
from broker.incidents.rules import Audience
from broker.incidents.wording import Told, notice


def draft(session: Session, row: Incident, audience: Audience, language: str, *, hospital: str, contact: str, zone: str) -> str:
    """The text that the broker proposes, from what it knows. ``hospital``: the organisation's id; ``zone``: by whose clocks (IANA)."""
    own = identity.organization(session, hospital)
    told = Told(
        number=row.number,
        hospital={"zh": own.name_zh, "en": own.name_en},
        kind=row.kind,
        at=(row.occurred_at or row.reported_at).astimezone(ZoneInfo(zone)),
        types=tuple(row.data_types),
        patients=row.patients or 0,
        releases=row.releases or 0,
        contained=row.contained_at is not None,
        contact=contact,
        drill=row.drill,
    )
    return notice(audience, told, language)


def done(session: Session, keys: Keys, caller: PersonCaller, number: str, notice_id: UUID, *, how: str, text: str, waived: bool = False) -> Notice:
    """Write down that a notice went out, by which way and in which words; or, ``waived``, why it need not.

    PIPL 57(2): persons need not be told where measures effectively avoid harm. Raises Forbidden, NoSuchIncident,
    IncidentMoveNotAllowed, NotFound, IncidentTextRequired.
    """
    desk.check_handler(caller)
    row = desk.find(session, number, lock=True)
    check_move(State(row.status), Action.NOTIFY)
    one = session.exec(select(Notice).where(Notice.id == notice_id, Notice.incident_id == row.id).with_for_update()).one_or_none()
    if one is None:
        raise NotFound
    if not text.strip():
        raise IncidentTextRequired
    one.done_at, one.done_by, one.how, one.waived = clock.now(), caller.actor, how, waived
    one.text_sealed = applications.seal_text(keys, row.id, f"incident|notice|{one.id}", text)
    session.add(one)
    facts: desk.Facts = {"incident": row.number, "audience": one.audience, "how": how, "waived": waived, "late": one.done_at > one.due_at}
    event = Event("incident.notified", caller.actor, recipient=one.organization_id, facts=facts)
    desk.store(session, keys, row, Action.NOTIFY.value, caller.actor, event)
    return one
