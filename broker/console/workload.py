"""What waits for a manager beside applications, at a glance on the page where they begin (PI-6, PI-7, PIPL 50)."""

from __future__ import annotations

from datetime import date

from sqlmodel import Session

from broker.console.door import Visitor
from broker.console.language import N_
from broker.identity.access import Action as Button
from broker.incidents import service as incidents
from broker.requests import service as requests


def workload(session: Session, who: Visitor, today: date) -> list[tuple[str, int, str]]:
    """Words, number, address; nothing for who handles no incidents. ``today``: the day at the hospital."""
    if not who.caller.may(Button.INCIDENT_HANDLE):
        return []
    actions = incidents.actions(session, who.caller, open_only=True)
    open_ = [one for one in incidents.many(session, who.caller, limit=500) if one.status in incidents.OPEN and not one.drill]
    asked = [one for one in requests.many(session, who.caller, limit=500) if one.status in requests.OPEN]
    unreviewed = [one for one in incidents.emergency_accesses(session, who.caller) if one.reviewed_at is None]
    return [
        (N_("Incidents open"), len(open_), "/console/incidents"),
        (N_("Emergencies to review"), len(unreviewed), "/console/emergencies"),
        (N_("Requests of patients open"), len(asked), "/console/requests"),
        (N_("Corrective actions open"), len(actions), "/console/improvement"),
        (N_("Corrective actions overdue"), sum(one.due_on < today for one in actions), "/console/improvement"),
    ]
