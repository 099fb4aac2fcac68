"""Telling whoever subscribed that a consent was filed, replaced or withdrawn: kept with the change, sent by a job, tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlmodel import Session, col, select

from broker import clock, crypto, jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import query, topics
from broker.consent.errors import NoSuchSubscription, NotASubscription
from broker.consent.models import ChangeTold, Consent, Subscription
from broker.consent.whose import known_patient
from broker.crypto import Keys
from broker.database import Database
from broker.notifications import service as notifications
from broker.notifications.errors import NotDelivered
from broker.settings import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Held:
    """A subscription as it stands."""

    id: UUID
    status: str
    events: int
    body: bytes


def subscribe(session: Session, keys: Keys, settings: Settings, given: Any, *, owner: str) -> Held:
    """Take a subscription. It becomes active once its endpoint has answered a handshake. Raises NotASubscription."""
    channel = given.get("channel") if isinstance(given, dict) else None
    endpoint = channel.get("endpoint") if isinstance(channel, dict) else None
    wrong = notifications.webhook_problem(settings, endpoint) if isinstance(endpoint, str) else "endpoint"
    asked = topics.read(given, wrong)
    if not isinstance(asked, topics.Asked):
        raise NotASubscription(problems=asked)
    now = clock.now()
    row = Subscription(
        id=uuid4(), owner=owner, status="requested", content=asked.content, given=b"", created_at=now, next_at=now,
        until=None if asked.until is None else _EPOCH + timedelta(seconds=asked.until),
    )  # fmt: skip
    row.given = crypto.seal(_key(keys, row.id), orjson.dumps(given), b"subscription")
    session.add(row)
    session.flush()
    jobs.defer(session, "consent.tell", {}, once="consent.tell")
    audit.record(session, Event("consent.subscribed", owner, facts={"subscription": str(row.id), "content": row.content}))
    return _held(keys, row)


def subscription(session: Session, keys: Keys, subscription_id: UUID, *, owner: str) -> Held:
    """One's own subscription. Raises NoSuchSubscription."""
    return _held(keys, _own(session, subscription_id, owner))


def unsubscribe(session: Session, subscription_id: UUID, *, owner: str) -> None:
    """Switch one's own subscription off; doing so again changes nothing. Raises NoSuchSubscription."""
    row = _own(session, subscription_id, owner)
    if row.status != "off":
        row.status = "off"
        session.add(row)
        audit.record(session, Event("consent.unsubscribed", owner, facts={"subscription": str(row.id)}))


def note_change(session: Session, keys: Keys, consent: Consent, raw: bytes) -> None:
    """Note, in the transaction that changes a consent, whom its change is to be told to."""
    rows = session.exec(
        select(Subscription).where(col(Subscription.status).in_(("requested", "active", "error"))).order_by(col(Subscription.id))
    ).all()
    now, body = clock.now(), orjson.loads(raw) | {"status": consent.status} if rows else {}
    for row in rows:
        if (row.until is not None and row.until < now) or not _meets(session, keys, _asked(keys, row), consent, body):
            continue
        # The row stays locked until the change is committed, so that numbers have no gaps and no two changes one number.
        locked = session.exec(select(Subscription).where(Subscription.id == row.id).with_for_update().execution_options(populate_existing=True)).one()
        locked.events += 1
        session.add(locked)
        session.flush()
        told = ChangeTold(
            patient_key=consent.patient_key,
            subscription_id=row.id,
            number=locked.events,
            consent_id=consent.id,
            at=now,
            status="waiting",
            next_at=now,
        )
        session.add(told)
        jobs.defer(session, "consent.tell", {}, once="consent.tell")


def _meets(session: Session, keys: Keys, asked: topics.Asked, consent: Consent, body: dict[str, Any]) -> bool:
    return not asked.filters or any(all(_met(session, keys, name, value, consent, body) for name, value in one) for one in asked.filters)


def _met(session: Session, keys: Keys, name: str, value: str, consent: Consent, body: dict[str, Any]) -> bool:
    if name == "patientId":
        system, _, number = value.rpartition("|")
        return known_patient(session, keys, {"identifier": {"system": system, "value": number}}) == consent.patient_key
    if name == "status":
        return value in (consent.status, f"http://hl7.org/fhir/consent-state-codes|{consent.status}")
    return query.meets(body, query.Query({name: (value,)}))


def tell_due(database: Database, keys: Keys, settings: Settings, *, limit: int = 100, resolve: notifications.Resolve = notifications.resolved) -> int:
    """Send every handshake and every notification that is due, at most ``limit``; how many arrived.

    Each is claimed and counted before it is tried, so that several workers share the work and a crash is made good. What arrives may
    arrive twice, under the same event number. A subscription whose endpoint fails for three days is in error; its later changes wait no less.
    """
    arrived = 0
    for _ in range(limit):
        with database.transaction() as session:
            claimed = _claim_handshake(session, keys, settings) or _claim_change(session, keys, settings)
        if claimed is None:
            break
        asked, body, place = claimed
        headers = {"Content-Type": "application/fhir+json", **dict(asked.headers)}
        error = ""
        try:
            notifications.post(settings, asked.endpoint, body, headers, resolve)
            arrived += 1
        except NotDelivered as failure:
            error = failure.code
        with database.transaction() as session:
            _settle(session, place, error)
    return arrived


_Claim = tuple[topics.Asked, bytes, tuple[UUID, UUID | None, int]]


def _claim_handshake(session: Session, keys: Keys, settings: Settings) -> _Claim | None:
    now = clock.now()
    row = session.exec(
        select(Subscription).where(Subscription.status == "requested", col(Subscription.next_at) <= now).limit(1).with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    row.attempts += 1
    row.next_at = now + notifications.ABANDONED
    session.add(row)
    return _asked(keys, row), _message(settings, row, "handshake", None), (row.id, None, 0)


def _claim_change(session: Session, keys: Keys, settings: Settings) -> _Claim | None:
    now = clock.now()
    found = session.exec(
        select(ChangeTold, Subscription)
        .join(Subscription, col(Subscription.id) == ChangeTold.subscription_id)
        .where(ChangeTold.status == "waiting", ChangeTold.next_at <= now, col(Subscription.status).in_(("active", "error")))
        .order_by(col(ChangeTold.next_at), col(ChangeTold.number))
        .limit(1)
        .with_for_update(of=ChangeTold, skip_locked=True)
    ).first()
    if found is None:
        return None
    change, row = found
    change.attempts += 1
    change.next_at = now + notifications.ABANDONED
    session.add(change)
    event = (change.number, change.at, str(change.consent_id) if row.content == "id-only" else None)
    return _asked(keys, row), _message(settings, row, "event-notification", event), (row.id, change.patient_key, change.number)


def _settle(session: Session, place: tuple[UUID, UUID | None, int], error: str) -> None:
    """Write down what became of a try."""
    subscription_id, patient_key, number = place
    now = clock.now()
    row = session.exec(select(Subscription).where(Subscription.id == subscription_id).with_for_update()).one()
    if row.status == "off":
        return
    if patient_key is None:
        following = notifications.next_try(row.attempts, now) if error else None
        row.status = "active" if not error else "requested" if following else "error"
        row.next_at = following or now
    else:
        change = session.exec(
            select(ChangeTold).where(
                ChangeTold.patient_key == patient_key, ChangeTold.subscription_id == subscription_id, ChangeTold.number == number
            )
        ).one()
        following = notifications.next_try(change.attempts, now) if error else None
        change.status = "sent" if not error else "waiting" if following else "failed"
        change.error, change.done_at, change.next_at = error or None, now if not following else None, following or now
        row.status = "error" if change.status == "failed" else "active" if not error else row.status
        session.add(change)
    session.add(row)


def _message(settings: Settings, row: Subscription, kind: str, event: tuple[int, datetime, str | None] | None) -> bytes:
    base = settings.base_url.rstrip("/")
    content = topics.status(base, str(row.id), state="requested" if kind == "handshake" else "active", kind=kind, count=row.events, event=event)
    return orjson.dumps(topics.notification(content, at=clock.now(), url=f"{base}/fhir/Subscription/{row.id}/$status"))


def status_of(settings: Settings, held: Held) -> bytes:
    """The answer to ``$status``: a searchset with the SubscriptionStatus."""
    base = settings.base_url.rstrip("/")
    content = topics.status(base, str(held.id), state=held.status, kind="query-status", count=held.events, event=None)
    url = f"{base}/fhir/Subscription/{held.id}/$status"
    bundle = {"resourceType": "Bundle", "type": "searchset", "total": 1, "link": [{"relation": "self", "url": url}], "entry": [{"resource": content}]}
    return orjson.dumps(bundle)


def _own(session: Session, subscription_id: UUID, owner: str) -> Subscription:
    row = session.exec(select(Subscription).where(Subscription.id == subscription_id, Subscription.owner == owner)).first()
    if row is None:
        raise NoSuchSubscription
    return row


def _key(keys: Keys, subscription_id: UUID) -> bytes:
    return keys.blind("consent-subscription", subscription_id.hex)


def _given(keys: Keys, row: Subscription) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(crypto.unseal(_key(keys, row.id), row.given, b"subscription"))
    return found


def _asked(keys: Keys, row: Subscription) -> topics.Asked:
    asked = topics.read(_given(keys, row), None)
    assert isinstance(asked, topics.Asked)  # noqa: S101  (it was read when it was taken)
    return asked


def _held(keys: Keys, row: Subscription) -> Held:
    """The subscription as it was given, with id and status as they stand, and without the headers, which hold its credentials."""
    given = _given(keys, row)
    channel = {name: value for name, value in given["channel"].items() if name != "header"}
    body = {
        "resourceType": "Subscription",
        "id": str(row.id),
        **{k: v for k, v in given.items() if k != "id"},
        "status": row.status,
        "channel": channel,
    }
    return Held(row.id, row.status, row.events, orjson.dumps(body))
