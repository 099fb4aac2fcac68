"""What a recipient will fetch first, prepared by a worker: when a grant comes to life, and again when records, consents or policies have moved.

The same code, steps and conditions as where a release prepares the next one (``release.prepared``): behind the gate, by the facts of now, decided by
policy, narrowed by consents, passed by the checker. Nothing is sent, so nothing is on record as sent; whoever fetches is judged anew, and what was
decided here is not used for that. Where policy or consents refuse, what lay prepared goes. Without a worker the first fetch takes longer, and that is
all. Who fetches is not known yet: what is prepared is for a client that asks for all that the grant reaches (docs/decisions/0032).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
from sqlmodel import Session

from broker import clock, jobs
from broker.applications import service as applications
from broker.database import Database
from broker.errors import BrokerError
from broker.identity import service as identity
from broker.identity.access import ReleaseCaller, SmartScope
from broker.release import collect, prepared, service
from broker.release.answers import Form
from broker.release.query import Wanted
from broker.release.service import Ask, Parts, Permitted
from broker.wire import COMMIT, Statement, run

log = logging.getLogger("broker.release")

Connection = psycopg.AsyncConnection[Any]

AGAIN = "release.prepare_again"
#: Patients of a grant for whom it is done: who is given more of them takes an export, and most of it would lie for nothing.
MOST = 20
#: Releases that are prepared again in one turn.
TURN = 200

_MEMBERS = """
SELECT m.patient_key FROM grant_patient m JOIN sharing_grant g ON g.id = m.grant_id
WHERE g.id = %(grant)s AND g.status = 'active' ORDER BY m.patient_key LIMIT %(most)s
"""

#: What lay prepared and is out of date, under grants that live.
_OUTDATED = """
SELECT s.grant_id, s.patient_key
FROM prepared_release s JOIN patient p ON p.patient_key = s.patient_key JOIN sharing_grant g ON g.id = s.grant_id
     LEFT JOIN record_changes c ON c.patient_key = s.patient_key
WHERE g.status = 'active' AND g.valid_until > %(now)s
  AND (s.epoch <> p.epoch OR s.changes <> coalesce(c.changes, 0)
       OR s.made_at < (SELECT max(a.effective_at) FROM policy_activation a WHERE a.effective_at <= %(now)s))
ORDER BY s.made_at LIMIT %(turn)s
"""

_FORGET = Statement("DELETE FROM prepared_release WHERE patient_key = %(patient_key)s AND grant_id = %(grant)s")
_STILL_GOOD = Statement("UPDATE prepared_release SET made_at = %(at)s WHERE patient_key = %(patient_key)s AND grant_id = %(grant)s")


def prepare(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    """Prepare the whole of each patient of a grant. Safe to repeat: what is good stays."""
    grant = UUID(payload["grant"])
    with tools.database.transaction() as session:
        found = session.connection().exec_driver_sql(_MEMBERS, {"grant": grant, "most": MOST + 1}).all()
    if len(found) <= MOST:
        _do(tools, [(grant, row[0]) for row in found])


def prepare_again(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    """Prepare anew what is out of date."""
    del payload
    with tools.database.transaction() as session:
        found = session.connection().exec_driver_sql(_OUTDATED, {"now": clock.now(), "turn": TURN}).all()
    _do(tools, [(row[0], row[1]) for row in found])


def _do(tools: jobs.Tools, places: Sequence[tuple[UUID, UUID]]) -> None:
    with tools.database.transaction() as session:
        clients = {grant: _client(session, grant) for grant in {grant for grant, _ in places}}
    if places:
        asyncio.run(_each(tools, [(grant, patient, client) for grant, patient in places if (client := clients[grant]) is not None]))


def _client(session: Session, grant: UUID) -> tuple[str, str] | None:
    """A client that may fetch under a grant, and its organisation: of the recipient, or of what that is part of."""
    recipient, _ = applications.parties_of(session, grant)
    for home in identity.lineage(session, recipient):
        for one in identity.clients(session, home.id):
            if one.status == "active" and not one.resource_server:
                return one.id, home.id
    return None


async def _each(tools: jobs.Tools, places: Sequence[tuple[UUID, UUID, tuple[str, str]]]) -> None:
    intents = Database(tools.database.url, "broker_web", pool=1)  # Of this loop, which lives as long as the job.
    parts = Parts(tools.settings, tools.keys, tools.database, intents, tools.engine)
    try:
        async with await psycopg.AsyncConnection.connect(tools.database.conninfo, autocommit=True, prepare_threshold=None) as connection:
            for grant, patient, client in places:
                try:
                    await _one(parts, connection, grant, patient, client)
                finally:  # The gate opens whatever happened.
                    if not connection.closed:
                        await connection.rollback()
    finally:
        await intents.close()


async def _one(parts: Parts, connection: Connection, grant: UUID, patient: UUID, client: tuple[str, str]) -> None:
    """Prepare one patient's release, or let go of what lies there."""
    place = {"patient_key": patient, "grant": grant}
    # Nobody has shown a token: whether whoever does is in good standing is asked then.
    seen = await service.behind_the_gate(parts, connection, {"grant": str(grant), "client_id": client[0], "jti": ""}, patient)
    page: collect.Page | collect.Unsafe | None = None
    if seen.grant is not None and seen.vault is not None and not seen.damaged:
        every = (SmartScope("system", "*", "rs"),)
        caller = ReleaseCaller(client[0], client[1], grant, seen.grant.application, seen.grant.purpose, every, "", 0)
        seen = replace(seen, caller=caller)
        wanted = Wanted(patient=seen.vault.fhir_id if seen.vault else None, everything=True, path="prepared")
        try:
            answer = await service.judged(parts, Ask(None, wanted, Form.SEARCHSET), connection.cursor(binary=True), seen, caller)
        except BrokerError as error:  # Something that the consents point to is not what was stored.
            log.warning("nothing is prepared: %s", error.code)
        else:
            if isinstance(answer, Permitted):
                page = await collect.safely(connection.cursor(binary=True), parts.keys, service.order_of(parts, answer, Form.SEARCHSET))
    if isinstance(page, collect.Page) and page.keep is not None:
        await prepared.keep(parts.intents, page.keep)  # While the gate is held, as a release does it.
    elif isinstance(page, collect.Page) and page.prepared is not None:
        await run(connection, (_STILL_GOOD, {**place, "at": clock.now()}), (COMMIT, ()))
    else:
        await run(connection, (_FORGET, place), (COMMIT, ()))


def background() -> list[jobs.Job]:
    """What releases do by themselves: prepare what will be fetched, and tidy up after what nobody asks for any more."""

    def tidy(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        prepared.clean(tools.database)

    return [
        jobs.Job(applications.PREPARE, prepare),
        jobs.Job(AGAIN, prepare_again, cron="*/5 * * * *"),
        jobs.Job("release.forget_prepared", tidy, cron="17 * * * *"),
    ]
