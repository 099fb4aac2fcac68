"""The front door of incidents: report, assess, contain, notify, investigate, close; adverse events, risks, corrective actions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Session

from broker import jobs
from broker.incidents import contacting, desk, emergencies, exhibits, forgetting, improving, violations
from broker.incidents.affected import Affected, Scope, affected
from broker.incidents.containment import Target, TargetKind, ask_to_lift, contain, frozen, hand_over_patient, is_contained, lift, take_back_patient
from broker.incidents.desk import assess, close, containments, dismiss, investigate, look, many, notices, opened, reopen, report, steps
from broker.incidents.emergencies import SecondFactor, break_glass, escalate
from broker.incidents.emergencies import many as emergency_accesses
from broker.incidents.emergencies import review as review_emergency
from broker.incidents.exhibits import Exhibit
from broker.incidents.forgetting import destroy_texts
from broker.incidents.improving import (
    actions,
    adverse_events,
    adverse_words,
    analyse_adverse_event,
    as_fhir,
    finish_action,
    open_action,
    put_risk,
    report_adverse_event,
    risks,
)
from broker.incidents.lifecycle import OPEN, State, possible
from broker.incidents.rules import Audience, Kind, Severity, risk_score
from broker.incidents.sanctions import CASE_MOVES, CaseAction, CaseState, Sanction, possible_for
from broker.incidents.telling import done, draft
from broker.incidents.watching import watch

__all__ = [
    "CASE_MOVES",
    "OPEN",
    "Affected",
    "Audience",
    "CaseAction",
    "CaseState",
    "Exhibit",
    "Kind",
    "Sanction",
    "Scope",
    "SecondFactor",
    "Severity",
    "State",
    "Target",
    "TargetKind",
    "actions",
    "adverse_events",
    "adverse_words",
    "affected",
    "analyse_adverse_event",
    "as_fhir",
    "ask_to_lift",
    "assess",
    "background",
    "break_glass",
    "close",
    "contain",
    "containments",
    "destroy_texts",
    "dismiss",
    "done",
    "draft",
    "emergencies",
    "emergency_accesses",
    "escalate",
    "exhibits",
    "figures",
    "finish_action",
    "frozen",
    "hand_over_patient",
    "investigate",
    "is_contained",
    "lift",
    "look",
    "many",
    "notices",
    "open_action",
    "opened",
    "possible",
    "possible_for",
    "put_risk",
    "reopen",
    "report",
    "report_adverse_event",
    "review_emergency",
    "risk_score",
    "risks",
    "steps",
    "take_back_patient",
    "violations",
    "watch",
]


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Incidents and what was learnt from them in a span of time, for the quarterly review."""
    return {
        "incidents": desk.figures(session, since, until),
        "emergencies": emergencies.figures(session, since, until),
        "violations": violations.figures(session, since, until),
        "improvement": improving.figures(session, since, until),
    }


def background() -> list[jobs.Job]:
    """Every minute: releases that failed their check, emergencies that nobody reviewed, sanctions whose time is over."""

    def look(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            watch(session, tools.keys)
        with tools.database.transaction() as session:
            escalate(session, tools.keys)
            violations.expire(session)
            exhibits.complete(session)

    def reseal(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            forgetting.reseal(session, tools.keys)

    return [jobs.Job("incidents.watch", look, cron="* * * * *"), jobs.Job("incidents.reseal", reseal, cron="17 * * * *"), contacting.job()]
