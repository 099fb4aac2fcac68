"""One release, from a token to the last byte: the front door of the slice.

0 gate     the caller's token, then a shared lock on patient and grant that a withdrawal must wait for
1 facts    grant, recipient, consents in force, token and client as they stand now
2 decide   policy answers once, with a plan; the patient's consents narrow it
3 record   the intent or the refusal, committed on a connection of its own before anything is read
4 fetch    only types, dates and labels of the plan; a body that may not leave is never decrypted
5 reduce   keep-lists and transforms (``fhir.minimise``); consent rules on each resource
6 check    an independent checker that shares no code with 5; a doubt stops the release
7 send     while the gate is held
8 record   the outcome, with manifest and digest; then the gate opens

An intent without an outcome counts as disclosed. A refusal is a value: an exception would undo its own record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from broker import clock
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import service as consent
from broker.consent.residual import Residual, ResourceGate
from broker.crypto import Keys, digest
from broker.database import Database, gate_lock
from broker.errors import BrokerError
from broker.fhir.plan import PlanInvalid, ReleasePlan
from broker.identity import access
from broker.identity.access import NotAuthenticatedReason, ReleaseCaller
from broker.policy.decision import Decision, Effect
from broker.policy.service import INSERT_DECISION, LiveEngine, row_of
from broker.records import service as records
from broker.release import collect, consents, outcome, paging, prepared, query, recognition, whose
from broker.release.answers import Form, Kind, Ready, Refusal
from broker.release.facts import facts_of
from broker.release.plans import plan_of
from broker.release.query import Wanted
from broker.release.ready import made_ready
from broker.release.reducing import Under
from broker.settings import Settings
from broker.wire import BEGIN, COMMIT, Statement, run

log = logging.getLogger("broker.release")

#: Types that never leave: what they say of consent and surveillance is a disclosure itself (attack D17), or they are ours.
NEVER_RELEASED = frozenset({"Consent", "AuditEvent", "Provenance", "Bundle", "Parameters", "OperationOutcome", "Binary", "Subscription"})

_LOCKS = Statement("SELECT set_config('lock_timeout', '5s', true), pg_advisory_xact_lock_shared(%s::int8), pg_advisory_xact_lock_shared(%s::int8)")
_STANDING, _GRANT = Statement(access.STANDING), Statement(applications.GRANT_FACTS_SQL)
_VAULT, _PATIENT, _RESIDUALS = Statement(records.VAULT_SQL), Statement(records.PATIENT_SQL), Statement(consent.RESIDUALS_SQL)
_EVENT, _RELEASE = Statement(audit.INSERT_EVENT), Statement(outcome.INSERT_RELEASE)


@dataclass(frozen=True)
class Ask:
    """One call as it came in: whose token, what is wanted (or why the query is refused), which application it names itself."""

    authorization: str | None
    wanted: Wanted | Refusal
    form: Form
    application: str | None = None
    proven: str | None = None  #: thumbprint of the key that the caller proved to hold (``access.proof_of``)
    unless: str = ""  #: If-None-Match: the version of the one resource that the caller has
    question: recognition.Question | None = None  #: of mutual recognition, which the answer answers


@dataclass(frozen=True)
class Parts:
    """What the release path holds for as long as the process lives. ``intents`` is a second, small pool: a release that waited for
    a connection of the pool that all releases hold would wait for itself.
    """

    settings: Settings
    keys: Keys
    database: Database
    intents: Database
    engine: LiveEngine
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))


Connection = psycopg.AsyncConnection[Any]
Cursor = psycopg.AsyncCursor[Any]
Sending = Callable[[Ready], Awaitable[bool]]


@dataclass(frozen=True)
class Refused:
    """A refusal that still has to be recorded, with what the record says besides."""

    refusal: Refusal
    common: Event


@dataclass(frozen=True)
class Permitted:
    """What was decided, ready to be recorded and carried out."""

    common: Event
    decision: Decision
    plan: ReleasePlan
    vault: records.Vault
    gate: ResourceGate
    consent_required: bool
    counted: bool  #: whether this release counts against a limit, or is the grant's first
    bound: paging.Bound
    after: tuple[str, UUID] | None
    recipient: str
    wanted: Wanted  #: as far as the token's granular scopes reach
    encrypt_to: dict[str, Any] | None  #: the recipient's pinned key


async def release(parts: Parts, ask: Ask, send: Sending) -> Refusal | None:
    """Do one call from gate to outcome; None when something was sent, else the refusal, which is recorded already.

    ``send`` is step 7: it takes what is ready and says whether every byte was taken. Never raises for what a caller or an
    outage can cause before the first byte.
    """
    begun = False

    async def noted(ready: Ready) -> bool:
        nonlocal begun
        begun = True
        return await send(ready)

    try:
        async with parts.slots, parts.database.release_connection() as connection:
            try:
                return await _gated(parts, ask, connection, noted)
            except BaseException:
                # The gate opens whatever happened. What was not committed never was; an intent stands, being committed elsewhere.
                if not connection.closed:
                    await connection.rollback()
                raise
    except (psycopg.OperationalError, PoolTimeout, OSError) as error:
        log.error("release %s: %s", "without outcome" if begun else "not possible", type(error).__name__)  # noqa: TRY400  (a traceback may hold data)
        # Once bytes are out, the intent stands without an outcome and counts as disclosed until somebody explains it.
        return None if begun else Refusal(Kind.UNAVAILABLE, ("database.unavailable",))


async def _gated(parts: Parts, ask: Ask, connection: Connection, send: Sending) -> Refusal | None:
    claims = access.claims_of(parts.keys, parts.settings, ask.authorization, ask.proven)
    if isinstance(claims, NotAuthenticatedReason):
        return Refusal(Kind.UNAUTHENTICATED, (claims.code,))
    cursor = connection.cursor(binary=True)
    about = await whose.asked_about(connection, parts.keys, ask.wanted, UUID(claims["grant"]))
    seen = await behind_the_gate(parts, connection, claims, about.patient_key)
    answer: Permitted | Refused | Refusal
    if isinstance(seen.caller, NotAuthenticatedReason):
        answer = Refusal(Kind.UNAUTHENTICATED, (seen.caller.code,))
    else:
        try:
            answer = await judged(parts, ask, cursor, seen, seen.caller)
        except BrokerError as error:  # Something that the consents point to is not what was stored.
            answer = Refused(Refusal(Kind.UNAVAILABLE, (error.code,)), outcome.about(seen.caller, patient=None, subject=None, recipient=None))
    if isinstance(answer, Permitted | Refused):
        vault = seen.vault or records.nobody(parts.keys)
        await keep_decision(parts, vault, answer.decision if isinstance(answer, Permitted) else answer.refusal.decision)
    if isinstance(answer, Permitted):
        return await _carried_out(parts, ask, cursor, answer, send, about.instead)
    if isinstance(answer, Refused):
        await record_and_open(connection, outcome.refused(answer.common, answer.refusal))
        return answer.refusal
    await connection.rollback()
    return answer


async def keep_decision(parts: Parts, vault: records.Vault, decision: Decision | None) -> None:
    """Keep a decision with its question, before anything comes of it, unless it was kept when it was made."""
    if decision is None or not parts.engine.unkept(decision):
        return
    async with parts.intents.release_connection() as connection:
        await connection.execute(INSERT_DECISION, row_of(decision, patient_key=vault.patient_key, data_key=vault.data_key), binary=True)
    parts.engine.mark_kept(decision)


@dataclass(frozen=True)
class Seen:
    """What was read while the gate is held, so that nobody can take it back before the last byte is out."""

    caller: ReleaseCaller | NotAuthenticatedReason
    grant: applications.GrantRow | None
    vault: records.Vault | None
    residuals: tuple[Residual, ...]
    patient_key: UUID  #: of the patient who is asked about, whether there is such a patient or not
    age: str = "unknown"  #: of the patient, as a class; the birth date is not kept
    damaged: str = ""  #: code of the error, where grant, key or consent are not what was stored


async def behind_the_gate(parts: Parts, connection: Connection, claims: dict[str, Any], patient_key: UUID | None) -> Seen:
    """0 gate and 1 facts, in one round trip: the statements run in order, and each sees what is committed when it begins."""
    grant_id, now = UUID(claims["grant"]), clock.now()
    locks = sorted((gate_lock("grant", str(grant_id)), gate_lock("patient", (patient_key or records.SHARED).hex)))
    _, _, standing, grants, vaults, residuals, patients = await run(
        connection,
        (BEGIN, ()),
        (_LOCKS, locks),
        (_STANDING, access.standing_query(claims)[1]),
        (_GRANT, {"grant": grant_id, "patients": [patient_key] if patient_key else []}),
        (_VAULT, (patient_key,)),
        (_RESIDUALS, (patient_key, now)),
        (_PATIENT, (patient_key,)),
    )
    caller = access.caller_from(standing[0] if standing else None, claims, parts.settings)
    asked, grant = patient_key or records.NOBODY, None
    try:
        grant = applications.grant_from_row(grants[0], now) if grants else None
        opened = records.unwrap(parts.keys, asked, *vaults[0]) if vaults else None
        members = () if grant is None else grant.members
        age = records.age_from_rows(opened, patients, now.date()) if opened is not None and asked in members else "unknown"
        return Seen(caller, grant, opened, () if opened is None else consent.residuals_from_rows(residuals, opened), asked, age)
    except BrokerError as error:  # That something is wrong with a patient outside the grant would tell that there is one.
        return Seen(caller, grant, None, (), asked, damaged=error.code if grant is None or asked in grant.members else "")


async def record_and_open(connection: Connection, event: Event) -> None:
    """Record and let go of the gate."""
    await run(connection, (_EVENT, audit.event_row(event)), (COMMIT, ()))


async def judged(parts: Parts, ask: Ask, cursor: Cursor, seen: Seen, caller: ReleaseCaller) -> Permitted | Refused:
    """2 decide: what policy and consents make of the facts that were read behind the gate."""
    common = outcome.about(caller, patient=None, subject=None, recipient=None)

    def refused(kind: Kind, *reasons: str, decision: Decision | None = None) -> Refused:
        # One resource that isn't there, is withheld or is somebody else's: one answer.
        shown = Kind.NOT_FOUND if kind is Kind.REFUSED and ask.form is Form.RESOURCE else kind
        return Refused(Refusal(shown, reasons, decision=decision), common)

    wanted = ask.wanted
    if isinstance(wanted, Refusal):
        return Refused(wanted, common)
    if ask.application is not None and ask.application != caller.application:
        return refused(Kind.REFUSED, "caller.other-application")
    if not _in_scope(caller, wanted, ask.form):
        return refused(Kind.REFUSED, "caller.scope")

    vault, grant = seen.vault, seen.grant
    if seen.damaged:
        return refused(Kind.UNAVAILABLE, seen.damaged)
    if grant is None:
        return refused(Kind.REFUSED, "grant.unknown")
    # Nobody, and a patient outside the grant, are judged by the same steps: no consent is asked, and policy is.
    known, vault = vault is not None, vault or records.nobody(parts.keys)
    member = known and seen.patient_key in grant.members
    subject = vault.subject
    common = outcome.about(caller, patient=seen.patient_key if known else None, subject=subject if known else None, recipient=grant.recipient.id)
    at = clock.epoch(clock.now())
    said = await consents.under_grant(cursor, parts.keys, vault, seen.residuals if member else (), grant, at)
    # Of every type, whatever this call wants: staff are let go for the sake of what names them, and references for what they lead to.
    facts = facts_of(at=at, caller=caller, grant=grant, patient_key=seen.patient_key, member=member, age=seen.age, consent=said.facts, types=())

    # 2 decide
    decision = await asyncio.to_thread(parts.engine.decide, facts) if parts.engine.blocking else parts.engine.decide(facts)
    reasons = tuple(reason.code for reason in decision.reasons)
    if decision.effect is Effect.UNAVAILABLE:
        return refused(Kind.UNAVAILABLE, *reasons, decision=decision)
    if not decision.allow or not member:  # Whatever policy says, nothing leaves of nobody, nor of a patient outside the grant.
        return refused(Kind.REFUSED, *((known and reasons) or ("patient.unknown",)), decision=decision)
    try:
        plan = plan_of(decision)
    except PlanInvalid:
        return refused(Kind.UNAVAILABLE, "policy.plan-unusable", decision=decision)
    if ask.form is Form.MATCH and plan.pseudonymous:  # It would join a pseudonym to a name.
        return refused(Kind.REFUSED, "match.pseudonymous", decision=decision)
    if plan.pseudonymous and wanted.id is not None and wanted.types != ("Patient",):  # So would whoever names a resource by its true id.
        return refused(Kind.REFUSED, "resource.pseudonymous", decision=decision)
    if wanted.types and not any(name in plan.types for name in wanted.types):
        return refused(Kind.REFUSED, "necessity.type-not-permitted", decision=decision)

    if ask.form is Form.COLLECTION and caller.encryption_jwk is not None and caller.encryption_jwk.get("exp", at + 1) <= at:
        return refused(Kind.REFUSED, "recipient.encryption-key-expired", decision=decision)
    # A question about a result asks of every type; where a type shows no codes, none of its resources is the answer.
    if ask.question is None and (unseen := query.hidden(wanted, {name: kept.elements for name, kept in plan.types.items()})):
        return Refused(replace(unseen, decision=decision), common)

    bound = paging.Bound(caller.client_id, caller.grant_id, f"{wanted.path}?{wanted.shown}", vault.epoch, plan.fingerprint)
    after = None if wanted.after is None else paging.opened(parts.keys, bound, wanted.after)
    if wanted.after is not None and after is None:
        return refused(Kind.NOT_FOUND, "page.unknown", decision=decision)
    # A grant without limit is counted once, at its first release: a row that every release had to write would make them queue.
    counted = grant.grant.releases_limit is not None or grant.grant.releases_used == 0
    narrowed = query.narrowed(wanted, caller.narrowed(_letter(ask.form)))
    gate, consent_required = consents.bound(plan, said.gate)
    return Permitted(
        common, decision, plan, vault, gate, consent_required, counted, bound, after, grant.recipient.id, narrowed, caller.encryption_jwk,
    )  # fmt: skip


def _letter(form: Form) -> str:
    """The interaction that a form of answer is, as SMART scopes write it: read or search."""
    return "r" if form is Form.RESOURCE else "s"


def _in_scope(caller: ReleaseCaller, wanted: Wanted, form: Form) -> bool:
    """Whether the token's scopes reach what is asked: ``r`` for a read, ``s`` for everything else (SMART App Launch 2.2)."""
    letter = _letter(form)
    reach = caller.types(letter) | set(caller.narrowed(letter))
    return "*" in reach or (bool(wanted.types) and reach.issuperset(wanted.types)) or (not wanted.types and bool(reach))


async def _carried_out(parts: Parts, ask: Ask, cursor: Cursor, permitted: Permitted, send: Sending, instead: str) -> Refusal | None:
    connection = cursor.connection
    release_id = audit.uuid7(clock.now())  # Begins with the time: the log's index of releases grows at its end.
    wanted = permitted.wanted

    # 3 record. On a connection of its own, so that it is durable while this one still holds the gate.
    intent = await record_intent(parts, permitted, release_id, spend=wanted.after is None and permitted.counted)
    if intent is None:
        refusal = Refusal(Kind.NOT_FOUND if ask.form is Form.RESOURCE else Kind.REFUSED, ("grant.used-up",), decision=permitted.decision)
        await record_and_open(connection, outcome.refused(permitted.common, refusal))
        return refusal

    # 4 fetch, 5 reduce, 6 check
    page = await collect.safely(cursor, parts.keys, order_of(parts, permitted, ask.form))
    if isinstance(page, collect.Unsafe):
        await record_and_open(connection, outcome.failed(permitted.common, release_id, page.reason))
        log.error("release %s stopped: %s", release_id, page.reason)
        return Refusal(Kind.UNAVAILABLE, (page.reason,))
    if instead or (ask.form in (Form.RESOURCE, Form.MATCH) and not page.resources):
        await record_and_open(connection, outcome.failed(permitted.common, release_id, instead or "resource.withheld-or-unknown"))
        return Refusal(Kind.NOT_FOUND if ask.form is Form.RESOURCE else Kind.REFUSED, ("resource.withheld-or-unknown",))
    if ask.question is not None:
        ready = recognition.ready(ask.question, release_id, page.resources, page.items, page.held_back)
    else:
        obligations = permitted.plan.obligations
        ready = made_ready(
            parts.settings, parts.keys, ask.form, wanted, page,
            release=release_id, bound=permitted.bound, obligations=obligations, encrypt_to=permitted.encrypt_to,
        ).unless(ask.unless)  # fmt: skip

    # 7 send
    complete = await send(ready)

    # 8 record
    await prepared.keep(parts.intents, page.keep)
    await record_outcome(connection, permitted, ready, intent, complete=complete)
    return None


def order_of(parts: Parts, permitted: Permitted, form: Form) -> collect.Order:
    """What to collect for what was permitted."""
    under = Under(permitted.bound.grant, permitted.decision.revision, parts.settings.base_url) if form is Form.SEARCHSET else None
    return collect.Order(
        permitted.plan, permitted.vault, permitted.gate, permitted.consent_required, permitted.recipient, permitted.wanted, permitted.after, under
    )


async def record_intent(parts: Parts, permitted: Permitted, release_id: UUID, *, spend: bool) -> UUID | None:
    """Record the intent and spend one release of the grant in one transaction; None where none is left."""
    event = outcome.permitted(
        permitted.common, release_id, permitted.decision,
        sender=parts.settings.hospital, plan=permitted.plan.fingerprint, epoch=permitted.vault.epoch,
        types=tuple(name for name in permitted.plan.types if not permitted.wanted.types or name in permitted.wanted.types),
    )  # fmt: skip
    row = audit.event_row(event)
    async with parts.intents.release_connection() as connection:
        if not spend:
            await run(connection, (_EVENT, row))
        else:
            async with connection.transaction():
                spent = await connection.execute(applications.SPEND_SQL, {"grant": UUID(permitted.common.grant), "at": clock.now()})
                if await spent.fetchone() is None:
                    return None
                await run(connection, (_EVENT, row))
    intent: UUID = row["id"]
    return intent


async def record_outcome(connection: Connection, permitted: Permitted, ready: Ready, intent: UUID, *, complete: bool) -> None:
    """8 record the outcome with manifest and digest, and let go of the gate."""
    vault = permitted.vault
    packed = outcome.packed_manifest(ready.items) if ready.listed is None else ready.listed.manifest
    manifest = outcome.sealed_manifest(vault.data_key, vault.patient_key, ready.release, packed)
    row = {
        "patient_key": vault.patient_key, "id": ready.release, "grant_id": permitted.bound.grant,
        "application": permitted.common.application, "client_id": permitted.bound.client, "intent": intent, "sent_at": clock.now(),
        "outcome": "sent" if complete else "partial", "items": ready.count, "held_back": ready.held_back, "body_bytes": len(ready.body),
        "digest": ready.digest, "plan": permitted.plan.fingerprint, "policy_revision": permitted.decision.revision, "manifest": manifest,
        "signature": ready.signature or None,
    }  # fmt: skip
    event = outcome.sent(permitted.common, ready, permitted.plan, complete=complete, manifest=digest(manifest))
    await run(connection, (_RELEASE, row), (_EVENT, audit.event_row(event)), (COMMIT, ()))
