"""A hospital's own FHIR server as a source of records: pulled by the workers into the store, and released from there like everything else.

Records pass the same door as files do (``ingest``): checks, compartment, labels. A server speaks for what it brought and for nothing else: it
can't change what another source brought, nor bring types that it was not asked for. What it no longer has is marked gone and not
released. A round that breaks off is taken up again; what was taken in twice is unchanged. Where an age is stated for a server, its
patients are not released once the last whole round is older (``release_reads.VAULT_SQL``), whether or not a worker runs (decision 0027).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from joserfc.jwk import ECKey
from sqlmodel import Session, select

from broker import clock, jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database, close_gate
from broker.errors import Conflict, Invalid, NotFound, Problem
from broker.fhir import definitions
from broker.fhir.parse import read_json
from broker.records.ingest import SOURCE, ingest_parts
from broker.records.labelling import UNCLASSIFIED, Label
from broker.records.models import SHARED, UpstreamServer
from broker.records.patients import open_vault
from broker.records.preparing import REASONS, Prepared, Refusal, prepared_again
from broker.records.relabelling import GONE
from broker.records.sources import Part
from broker.records.storing import store
from broker.records.tokens import id_token
from broker.records.upstream_http import UpstreamFailed, Wire, origin
from broker.records.upstream_pull import Connection, awaited, files, ordered, removals, searched
from broker.settings import Settings

PULL, DUE = "records.pull", "records.pull_due"
#: The next round asks for what was changed since this long before the last one began: clocks differ, and taking in twice changes nothing.
OVERLAP = timedelta(minutes=15)
#: A round by which more than this share of a server's resources would be gone is not believed, unless they are few.
SHARE, FEW = 0.5, 20
_LOCK = 0x75707374  #: first half of the advisory lock that one round of one server holds
_PATH = re.compile(r"(?:Patient/|Group/[A-Za-z0-9.\-]{1,64}/)?\$export", re.ASCII)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*", re.ASCII)


@dataclass(frozen=True)
class Given:
    """An upstream server as an operator describes it."""

    name: str
    organization: str
    base_url: str
    client_id: str
    types: tuple[str, ...]
    scope: str = "system/*.rs"
    token_endpoint: str | None = None
    mode: str = "search"
    export_path: str = "$export"
    every_minutes: int = 60
    max_age_hours: int | None = None


def wire(settings: Settings) -> Wire:
    """How this process reaches upstream servers."""
    return Wire(settings.allowed_upstream_hosts, settings.upstream_ca_file)


def signing_key(settings: Settings) -> ECKey | None:
    """The key by which upstream servers know us. Raises Invalid where it is none for ES384."""
    if settings.upstream_signing_key is None:
        return None
    try:
        key = ECKey.import_key(settings.upstream_signing_key.get_secret_value())
    except ValueError:
        raise Invalid("BROKER_UPSTREAM_SIGNING_KEY is no private key in PEM.") from None
    if key.curve_name != "P-384" or not key.is_private:
        raise Invalid("BROKER_UPSTREAM_SIGNING_KEY must be a private key on the curve P-384.")
    return key


def public_jwks(settings: Settings) -> dict[str, Any]:
    """What is to be registered at an upstream server."""
    key = signing_key(settings)
    if key is None:
        raise Invalid("BROKER_UPSTREAM_SIGNING_KEY is not set.")
    return {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": "ES384"}]}


def add(session: Session, settings: Settings, actor: str, given: Given) -> UpstreamServer:
    """Register an upstream server. Raises Invalid with every problem, and Conflict for a name that is taken."""
    base = given.base_url.rstrip("/")
    wrong = list(_wrong(settings, given, base))
    if wrong:
        raise Invalid("The upstream server can't be used as described.", problems=tuple(wrong))
    if session.get(UpstreamServer, given.name) is not None:
        raise Conflict("There is an upstream server of this name.")
    row = UpstreamServer(
        name=given.name, organization_id=given.organization, base_url=base, token_endpoint=given.token_endpoint, client_id=given.client_id,
        scope=given.scope, mode=given.mode, export_path=given.export_path, types=list(given.types), every_minutes=given.every_minutes,
        max_age_hours=given.max_age_hours, created_at=clock.now(), done=[],
    )  # fmt: skip
    session.add(row)
    session.flush()
    _told(session, row, "upstream.added", actor, types=len(row.types))
    return row


def _wrong(settings: Settings, given: Given, base: str) -> Iterator[Problem]:
    if not SOURCE.fullmatch(given.name):
        yield Problem("name", "name", "letters, digits and . _ : / - only, at most 64")
    for where, url in (("base_url", base), ("token_endpoint", given.token_endpoint)):
        try:
            if url is not None:
                wire(settings).checked(url)
        except UpstreamFailed as error:
            yield Problem(where, error.reason, "https, and a host that BROKER_UPSTREAM_HOSTS names; http on this machine alone")
    if not given.types or len(set(given.types)) != len(given.types) or not definitions.resource_types().issuperset(given.types):
        yield Problem("types", "type", "resource types of FHIR R4, each once")
    if given.mode not in ("search", "bulk"):
        yield Problem("mode", "mode", "search or bulk")
    if not _PATH.fullmatch(given.export_path):
        yield Problem("export_path", "path", "$export, Patient/$export or Group/<id>/$export")
    if not _SCOPE.fullmatch(given.scope):
        yield Problem("scope", "scope", "scopes of SMART, separated by single spaces")
    if not 1 <= given.every_minutes <= 10_080 or (given.max_age_hours is not None and not 1 <= given.max_age_hours <= 8760):
        yield Problem("every_minutes", "number", "1 to 10080 minutes between rounds; an age of 1 to 8760 hours")


def listed(session: Session) -> Sequence[UpstreamServer]:
    """Every upstream server with how far it is, by name."""
    return session.exec(select(UpstreamServer).order_by(UpstreamServer.name)).all()


def _told(session: Session, row: UpstreamServer, kind: str, actor: str, **facts: int | str | bool) -> None:
    audit.record(session, Event(kind, actor, facts={"source": row.name, "organization": row.organization_id, **facts}))


_HELD = """
SELECT r.id_token, u.server FROM resource r LEFT JOIN upstream_resource u
  ON u.patient_key = r.patient_key AND u.type = r.type AND u.id_token = r.id_token
WHERE r.id_token = ANY(%(tokens)s)
"""
_KEEP = """
INSERT INTO upstream_resource (patient_key, type, id_token, server, round, gone)
SELECT r.patient_key, r.type, r.id_token, %(server)s, %(round)s, false FROM resource r
JOIN unnest(%(patients)s::uuid[], %(tokens)s::uuid[]) AS w(patient_key, id_token) ON w.patient_key = r.patient_key AND w.id_token = r.id_token
ON CONFLICT (patient_key, type, id_token) DO UPDATE SET round = excluded.round, gone = false
"""


@dataclass(frozen=True)
class Origin:
    """What ingest asks about resources of one server (``ingest.Origin``)."""

    keys: Keys
    server: str
    base_url: str
    types: frozenset[str]
    round: int

    def local(self, reference: str) -> str | None:
        """``Type/id`` of an absolute reference to the server itself."""
        rest = reference.removeprefix(f"{self.base_url}/")
        parts = rest.split("/")
        return rest if rest != reference and len(parts) in (2, 4) and parts[0] in definitions.resource_types() else None

    def admitted(self, session: Session, ready: Sequence[Prepared]) -> tuple[list[Prepared], list[Refusal]]:
        """Resources that the server may bring, and why the others not: a type nobody asked for, or what another source brought."""
        tokens = {id_token(self.keys, one.type, one.id): one for one in ready}
        rows = session.connection().exec_driver_sql(_HELD, {"tokens": list(tokens)})
        others = {row[0] for row in rows if row[1] != self.server}
        taken, refused = [], []
        for one in ready:
            code = "not-asked" if one.type not in self.types else "other-source" if id_token(self.keys, one.type, one.id) in others else ""
            if code:
                refused.append(Refusal(one.where, (Problem(one.type, code, REASONS[code][0]),)))
            else:
                taken.append(one)
        return taken, refused

    def keep(self, session: Session, stored: Sequence[Prepared]) -> None:
        """Note that the server has these now."""
        if stored:
            patients = {
                id_token(self.keys, one.type, one.id): SHARED if one.patient is None else self.keys.patient_key(one.patient) for one in stored
            }
            values = {"server": self.server, "round": self.round, "patients": list(patients.values()), "tokens": list(patients)}
            session.connection().exec_driver_sql(_KEEP, values)


@contextmanager
def _alone(database: Database, name: str) -> Iterator[bool]:
    """Whether nobody else pulls from this server. The lock goes with its connection, so that a worker that is killed holds nothing."""
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        found = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK, name)).fetchone()
        try:
            yield bool(found and found[0])
        finally:  # The server ends a closed connection, and its lock, a moment later; whoever comes next need not wait for that.
            connection.execute("SELECT pg_advisory_unlock_all()")


@dataclass(frozen=True)
class _Pull:
    """One round of one server under way."""

    database: Database
    keys: Keys
    server: UpstreamServer
    connection: Connection
    origin: Origin

    def take(self, batch: Iterable[Part]) -> None:
        """Take parts in; what is refused is counted, and stands in the log."""
        for part in batch:
            report = ingest_parts(self.database, self.keys, [part], source=self.server.name, origin=self.origin)
            self.note(accepted=report.accepted, refused=report.refused)

    def note(self, *, accepted: int = 0, refused: int = 0, **values: Any) -> None:
        """Write down how far the round is."""
        with self.database.transaction() as session:
            row = session.get_one(UpstreamServer, self.server.name)
            row.accepted, row.refused = row.accepted + accepted, row.refused + refused
            for name, value in values.items():
                setattr(row, name, value)


def pull(
    database: Database, keys: Keys, settings: Settings, name: str, *, full: bool = False, connection: Connection | None = None
) -> UpstreamServer:
    """One round: everything that the server has changed since the last one, or, now and then and when asked, all that it has.

    Goes on where a round was broken off. Raises NotFound for a name that nobody knows, Conflict while another round is under way, and
    UpstreamFailed where the server does not give what it should, which is on record.
    """
    with _alone(database, name) as alone:
        if not alone:
            raise Conflict("A round of this upstream server is under way.")
        server = _begun(database, name, full=full)
        made = connection or Connection(wire(settings), server.base_url, server.token_endpoint, server.client_id, server.scope, signing_key(settings))
        origin = Origin(keys, server.name, server.base_url, frozenset(server.types), server.round)
        work = _Pull(database, keys, server, made, origin)
        try:
            taken_at = _bulk(work) if server.mode == "bulk" else _search(work)
            gone = _without(work) if server.full else 0
        except UpstreamFailed as error:
            # An export that failed is asked for anew; types that are done stay done.
            pending = server.pending if error.reason == "upstream.unreachable" else None
            work.note(error=error.reason, tried_at=clock.now(), pending=pending)
            with database.transaction() as session:
                _told(session, server, "upstream.failed", "system", reason=error.reason, round=server.round)
            raise
        return _ended(work, taken_at, gone)


def _begun(database: Database, name: str, *, full: bool) -> UpstreamServer:
    with database.transaction() as session:
        row = session.get(UpstreamServer, name)
        if row is None:
            raise NotFound("There is no upstream server of this name.")
        now = clock.now()
        if row.began_at is None or (full and not row.full):
            late = row.fully_at is None or row.fully_at < now - timedelta(days=row.full_every_days)
            row.round, row.began_at, row.done, row.pending, row.full = row.round + 1, now, [], None, full or row.since is None or late
        session.flush()
        session.refresh(row)
        session.expunge(row)
        return row


def _search(work: _Pull) -> Any:
    server = work.server
    for kind in server.types:
        if kind not in server.done:
            work.take(searched(work.connection, kind, None if server.full else server.since))
            server.done.append(kind)
            work.note(done=list(server.done))
    return server.began_at


def _bulk(work: _Pull) -> Any:
    server = work.server
    if server.pending is None:
        server.pending = ordered(work.connection, server.export_path, server.types, None if server.full else server.since)
        work.note(pending=server.pending)
    export = awaited(work.connection, server.pending)
    work.take(files(work.connection, export, server.types))
    named = removals(work.connection, export)
    tokens = [id_token(work.keys, *one) for one in named]
    _marked(work, "u.id_token = ANY(%(tokens)s) AND u.round < %(round)s", {"tokens": tokens, "round": server.round})
    return min(export.at, server.began_at or export.at)


def _without(work: _Pull) -> int:
    """Mark what a whole full round did not bring. A server that has suddenly lost most of what it had is not believed."""
    with work.database.transaction() as session:
        counted = "SELECT count(*) FILTER (WHERE round < %(round)s), count(*) FROM upstream_resource WHERE server = %(server)s AND NOT gone"
        missing, known = session.connection().exec_driver_sql(counted, {"round": work.server.round, "server": work.server.name}).one()
    if missing > FEW and missing > SHARE * known:
        raise UpstreamFailed("upstream.lost-most")
    return _marked(work, "u.round < %(round)s", {"round": work.server.round})


def _marked(work: _Pull, which: str, values: Mapping[str, Any]) -> int:
    """Give what the server no longer has the label of what is gone, which nothing lets go; how many."""
    query = f"SELECT u.patient_key, u.type, u.id_token FROM upstream_resource u WHERE u.server = %(server)s AND NOT u.gone AND {which}"
    with work.database.transaction() as session:
        rows = session.connection().exec_driver_sql(query, {"server": work.server.name, **values}).all()
    patients: dict[UUID, list[Any]] = {}
    for row in rows:
        patients.setdefault(row[0], []).append((row[1], row[2]))
    for patient_key, places in sorted(patients.items()):
        with work.database.transaction() as session:
            close_gate(session, "patient", patient_key.hex)  # Nothing of it is on its way once this has committed.
            _mark(session, work.keys, patient_key, places)
    return len(rows)


_SEALED = "SELECT version, body FROM resource WHERE patient_key = %s AND type = %s AND id_token = %s"
_GONE = "UPDATE upstream_resource SET gone = true WHERE patient_key = %s AND type = %s AND id_token = %s"


def _mark(session: Session, keys: Keys, patient_key: UUID, places: Sequence[Any]) -> None:
    vault, raw = open_vault(session, keys, patient_key), session.connection()
    labels = (Label(GONE, "upstream", "1"), Label(UNCLASSIFIED, "upstream-gone", "1"))
    patient = None if patient_key == SHARED else vault.fhir_id
    gone = []
    for kind, token in places:
        row = raw.exec_driver_sql(_SEALED, (patient_key, kind, token)).one_or_none()
        raw.exec_driver_sql(_GONE, (patient_key, kind, token))
        if row is not None:
            body = vault.open_resource(kind, token, row[0], bytes(row[1])).body
            gone.append(prepared_again(read_json(body, max_bytes=len(body) + 1, max_depth=66), body, patient, labels))
    store(session, keys, gone)


def _ended(work: _Pull, taken_at: Any, gone: int) -> UpstreamServer:
    with work.database.transaction() as session:
        row = session.get_one(UpstreamServer, work.server.name)
        row.succeeded_at = work.server.began_at
        row.fully_at = work.server.began_at if row.full else row.fully_at
        row.since, row.began_at, row.pending, row.done, row.error, row.tried_at = taken_at - OVERLAP, None, None, [], "", clock.now()
        age = row.max_age_hours
        row.stale_after = None if age is None or row.succeeded_at is None else row.succeeded_at + timedelta(hours=age)
        _told(session, row, "upstream.pulled", "system", round=row.round, full=row.full, gone=gone)
        session.flush()
        session.refresh(row)
        session.expunge(row)
        return row


def ask(session: Session, actor: str, name: str) -> None:
    """Have a worker pull as soon as one is free. Asked twice it is done once. Raises NotFound."""
    row = session.get(UpstreamServer, name)
    if row is None:
        raise NotFound("There is no upstream server of this name.")
    jobs.defer(session, PULL, {"server": row.name}, once=f"{PULL}:{row.name}", queue="bulk")
    _told(session, row, "upstream.asked", actor)


def _due(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    del payload
    now = clock.now()
    with tools.database.transaction() as session:
        for row in listed(session):
            if row.tried_at is None or row.tried_at <= now - timedelta(minutes=row.every_minutes):
                jobs.defer(session, PULL, {"server": row.name}, once=f"{PULL}:{row.name}", queue="bulk")


def _pulled(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    try:
        pull(tools.database, tools.keys, tools.settings, payload["server"])
    except (NotFound, Conflict):
        return  # It was taken away, or somebody is at it.


def background() -> list[jobs.Job]:
    """Rounds of upstream servers, when they are due."""
    return [jobs.Job(PULL, _pulled, attempts=3, queue="bulk"), jobs.Job(DUE, _due, cron="* * * * *")]


__all__ = ["Given", "add", "background", "listed", "origin", "public_jwks", "pull"]
