"""The front door of retention: schedule and sweep, holds, destruction orders, scrubbing, and what a restored backup must forget again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import server_url
from broker.records import service as records
from broker.retention import shred_list
from broker.retention.certificate import as_pdf as certificate_pdf
from broker.retention.models import DestructionItem, DestructionOrder
from broker.retention.orders import (
    Means,
    approve,
    approvers,
    brought_back,
    cancel,
    certificate,
    check_orderer,
    find,
    hold,
    holds,
    items,
    many,
    patient_keys,
    propose,
    reason_of,
    release_hold,
    reseal_holds,
    what_of,
)
from broker.retention.rules import grouped, read_schedule
from broker.retention.scrubbing import Scrubbed, scrub
from broker.retention.shred_list import ShredListUnusable
from broker.retention.sweeping import sweep
from broker.settings import Settings

__all__ = [
    "Means",
    "Scrubbed",
    "ShredListUnusable",
    "approve",
    "approvers",
    "background",
    "cancel",
    "certificate",
    "certificate_pdf",
    "check_orderer",
    "figures",
    "find",
    "forget_again",
    "grouped",
    "hold",
    "holds",
    "items",
    "list_path",
    "many",
    "patient_keys",
    "propose",
    "publish",
    "read_schedule",
    "reason_of",
    "release_hold",
    "reseal_holds",
    "scrub",
    "scrubbed",
    "sweep",
    "what_of",
]


def list_path(settings: Settings) -> Path:
    """Where the shred list lies."""
    return settings.shred_list or settings.var / "shredded.ndjson"


def publish(session: Session, keys: Keys, settings: Settings) -> int:
    """Write whoever was destroyed into the list outside the database; how many were new."""
    return shred_list.publish(session, keys, list_path(settings))


def forget_again(session: Session, keys: Keys, settings: Settings, means: Means) -> int:
    """Destroy again whoever the list names and a restored backup brought back; how many. Before anything is served.

    Raises ShredListUnusable.
    """
    again = 0
    for one in shred_list.read(keys, list_path(settings)):
        try:
            back = not records.is_shredded(session, one.patient_key)
        except records.UnknownPatient:
            continue
        if back:
            texts = sum(forget(session, keys, one.patient_key) for forget in means.forget)
            brought_back(session, one)
            try:
                records.shred_again(session, one.patient_key)
            except ProgrammingError as error:
                raise ShredListUnusable(
                    f"{one.order}: the database doesn't know who approved it; run `broker migrate` with its owner's login, which destroys again"
                ) from error
            audit.record(session, Event("patient.shredded-again", "system", patient=one.patient_key, facts={"order": one.order, "texts": texts}))
            again += 1
    if again:
        jobs.defer(session, "retention.scrub", {}, once="retention.scrub")
    return again


def scrubbed(session: Session, report: Scrubbed) -> int:
    """Write down on every order that waits for it that the database was scrubbed, and with which result; how many."""
    rows = session.exec(
        select(DestructionOrder).where(
            DestructionOrder.kind == "shred", DestructionOrder.status == "executed", col(DestructionOrder.scrubbed_at).is_(None)
        )
    ).all()
    for row in rows:
        row.scrubbed_at, row.scrub = clock.now(), report.to_json()
        session.add(row)
        facts: dict[str, str | int | bool | list[str]] = {"order": row.number, "clean": report.clean, "segments_left": report.segments_left}
        audit.record(session, Event("destruction.scrubbed", "system", facts=facts))
    session.flush()
    return len(rows)


def background() -> list[jobs.Job]:
    """Every day the schedule is looked at; after a destruction the database is scrubbed, and the list outside it is kept whole."""

    def look(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            sweep(session, tools.keys, read_schedule())
        with tools.database.transaction() as session:
            publish(session, tools.keys, tools.settings)

    def clean(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        report = scrub(server_url(tools.settings, "admin"))
        with tools.database.transaction() as session:
            publish(session, tools.keys, tools.settings)
            scrubbed(session, report)

    def reseal(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            reseal_holds(session, tools.keys)

    return [
        jobs.Job("retention.reseal", reseal, cron="19 * * * *"),
        jobs.Job("retention.sweep", look, cron="23 2 * * *"),
        jobs.Job("retention.scrub", clean),
    ]


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Destructions of a span of time, for the review; ``until`` is not included."""
    rows = session.exec(select(DestructionOrder).where(col(DestructionOrder.executed_at) >= since, col(DestructionOrder.executed_at) < until)).all()
    patients = session.exec(select(DestructionItem.patient_key).where(col(DestructionItem.order_id).in_([row.id for row in rows]))).all()
    waiting = session.exec(select(DestructionOrder.id).where(DestructionOrder.status == "proposed", DestructionOrder.proposed_at < until)).all()
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    return {"orders": dict(sorted(kinds.items())), "patients": len(patients), "waiting": len(waiting)}
