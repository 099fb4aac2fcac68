"""The front door of notifications: tell somebody, read what one was told, say where else it should arrive, deliver what waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock, crypto, jobs
from broker.crypto import Keys
from broker.database import Database
from broker.identity.access import PersonCaller, Role
from broker.identity.models import Organization, Person, RoleHeld
from broker.notifications import accounts, sending
from broker.notifications.addresses import Resolve, networks, resolved, url_problem
from broker.notifications.channels import add_channel, channels, remove_channel
from broker.notifications.errors import NoSuchNotification, NotDelivered, UndeliverableKind
from broker.notifications.fact_words import worded
from broker.notifications.kinds import KINDS
from broker.notifications.models import Channel, Delivery, Fate, Notification, Way
from broker.notifications.outsiders import tell_outsider
from broker.notifications.rules import ABANDONED, check_facts, check_recipient, next_try
from broker.notifications.sending import Message, post
from broker.settings import Settings

__all__ = [
    "ABANDONED",
    "KINDS",
    "Resolve",
    "add_channel",
    "background",
    "channels",
    "deliver_due",
    "holders",
    "inbox",
    "mark_read",
    "next_try",
    "notify",
    "notify_role",
    "post",
    "remove_channel",
    "resolved",
    "said",
    "tell_of_accounts",
    "tell_outsider",
    "unread",
    "webhook_problem",
]

#: In which organisations and clients are told, in this order.
LANGUAGES = ("zh", "en")


def webhook_problem(settings: Settings, url: str) -> str | None:
    """What is wrong with a URL that something is to be posted to, as it is written; None: nothing."""
    return url_problem(url, inside=bool(networks(settings.webhook_networks)))


def notify(session: Session, keys: Keys, *, to: str, kind: str, facts: Mapping[str, str | int], once: str | None = None) -> UUID | None:
    """Tell ``to`` (``person:<uuid>``, ``organization:<id>``, ``client:<id>``) something, in the caller's transaction.

    ``kind`` is one of KINDS and ``facts`` exactly the facts that it names: codes and numbers, never a patient's data. ``once``: a
    key under which this is told once and never again; then None comes back. Raises UndeliverableKind, a mistake of the caller's.
    The message stands in the inbox at once; mail and webhooks leave after the commit, when a worker comes by.
    """
    del keys  # Nothing of it need be sealed, since nothing secret may stand in it; named so that it may become so.
    found = KINDS.get(kind)
    if found is None:
        raise UndeliverableKind(kind)
    check_recipient(to)
    check_facts(facts, found.facts)
    now = clock.now()
    row = Notification(recipient=to, kind=kind, facts=dict(facts), at=now, once=once)
    values = {"id": row.id, "recipient": to, "kind": kind, "facts": row.facts, "at": now, "once": once}
    stored = session.execute(insert(Notification).values(**values).on_conflict_do_nothing(index_elements=["once"]).returning(col(Notification.id)))
    if stored.first() is None:
        return None
    ways = session.exec(select(Channel.id).where(Channel.recipient == to)).all()
    session.add_all(Delivery(notification_id=row.id, channel_id=channel, next_at=now) for channel in ways)
    session.flush()
    if ways:
        jobs.defer(session, "notifications.deliver", {}, once="notifications.deliver")
    return row.id


def holders(session: Session, role: Role, organizations: tuple[str, ...] | None = None) -> list[UUID]:
    """The active accounts that hold a role for one of these organisations, or, where none is named, inside the hospital itself."""
    query = (
        select(Person.id)
        .join(RoleHeld, col(RoleHeld.person_id) == col(Person.id))
        .join(Organization, col(Organization.id) == col(RoleHeld.organization_id))
        .where(RoleHeld.role == role.value, Person.status == "active")
    )
    query = query.where(Organization.relationship == "internal") if organizations is None else query.where(col(Organization.id).in_(organizations))
    return sorted(set(session.exec(query).all()))


def notify_role(
    session: Session,
    keys: Keys,
    role: Role,
    organizations: tuple[str, ...] | None = None,
    *,
    kind: str,
    facts: Mapping[str, str | int],
    once: str | None = None,
) -> int:
    """As :func:`notify`, to everybody who holds a role (:func:`holders`); how many were told."""
    told = 0
    for person in holders(session, role, organizations):
        own = None if once is None else f"{once}|{person}"
        told += notify(session, keys, to=f"person:{person}", kind=kind, facts=facts, once=own) is not None
    return told


def tell_of_accounts(session: Session, keys: Keys) -> int:
    """Tell people, and those who keep and audit accounts, of what somebody else did to a way into an account; how many messages."""
    return accounts.tell(session, keys, notify)


def said(kind: str, facts: Mapping[str, Any], language: str, zone: str) -> tuple[str, str, str]:
    """Subject, sentence and path of a notification in ``zh`` or ``en``, by the clocks of ``zone``. One of an unknown kind shows its code."""
    found = KINDS.get(kind)
    if found is None or found.facts != set(facts):
        return kind, kind, "/console"
    subject, body = (found.subject_zh, found.body_zh) if language == "zh" else (found.subject_en, found.body_en)
    words = worded(facts, language, zone)
    return subject.format_map(words), body.format_map(words), found.path.format_map(facts)


def _mine(caller: PersonCaller) -> sa.ColumnElement[bool]:
    """What was told to this person, and to the organisation that they belong to."""
    return col(Notification.recipient).in_([caller.actor, f"organization:{caller.organization_id}"])


def inbox(session: Session, caller: PersonCaller, *, unread_only: bool = False, limit: int = 50, after: UUID | None = None) -> list[Notification]:
    """What somebody was told, newest first; ``after`` is the last one of the page before."""
    query = select(Notification).where(_mine(caller))
    if unread_only:
        query = query.where(col(Notification.read_at).is_(None))
    if after is not None:
        last = session.exec(select(Notification).where(Notification.id == after, _mine(caller))).one_or_none()
        if last is None:
            raise NoSuchNotification
        query = query.where(sa.tuple_(col(Notification.at), col(Notification.id)) < sa.tuple_(sa.literal(last.at), sa.literal(last.id)))
    return list(session.exec(query.order_by(col(Notification.at).desc(), col(Notification.id).desc()).limit(limit)).all())


def unread(session: Session, caller: PersonCaller) -> int:
    """How many of them nobody has read."""
    return session.exec(select(sa.func.count()).select_from(Notification).where(_mine(caller), col(Notification.read_at).is_(None))).one()


def mark_read(session: Session, caller: PersonCaller, notification: UUID | None = None) -> int:
    """Mark one as read, or all; how many were unread. Raises NoSuchNotification."""
    where = [_mine(caller)]
    if notification is not None:
        where.append(col(Notification.id) == notification)
        if session.exec(select(Notification.id).where(*where)).one_or_none() is None:
            raise NoSuchNotification
    changed = session.execute(
        sa.update(Notification)
        .where(*where, col(Notification.read_at).is_(None))
        .values(read_at=clock.now(), read_by=caller.person_id)
        .returning(col(Notification.id))
    )
    return len(changed.all())


def deliver_due(database: Database, keys: Keys, settings: Settings, *, limit: int = 100, resolve: Resolve = resolved) -> int:
    """Try every delivery that is due, at most ``limit``; how many arrived.

    Each is claimed and counted in a transaction of its own before it is tried, so that no lock is held while a server far away
    takes its time, several workers share the work, and a try that a crash cut short is taken up again. What arrives may
    therefore arrive twice, under the same number.
    """
    arrived = 0
    for _ in range(limit):
        with database.transaction() as session:
            claimed = _claim(session, keys, settings)
        if claimed is None:
            break
        delivery, way, address, secret, message = claimed
        try:
            if way == Way.MAIL:
                sending.mail(settings, address, message)
            else:
                sending.webhook(settings, address, secret, message, resolve)
        except NotDelivered as error:
            outcome: tuple[Fate, str | None, bool] = (Fate.WAITING, error.code, error.final)
        else:
            outcome = (Fate.SENT, None, False)
            arrived += 1
        with database.transaction() as session:
            _settle(session, delivery, *outcome)
    return arrived


def _claim(session: Session, keys: Keys, settings: Settings) -> tuple[UUID, str, str, bytes, Message] | None:
    now = clock.now()
    row = session.exec(
        select(Delivery)
        .where(Delivery.status == Fate.WAITING.value, Delivery.next_at <= now)
        .order_by(col(Delivery.next_at))
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    row.attempts += 1
    row.next_at = now + ABANDONED
    session.add(row)
    told = session.exec(select(Notification).where(Notification.id == row.notification_id)).one()
    channel = session.exec(select(Channel).where(Channel.id == row.channel_id)).one()
    sealing = keys.blind("notification-channel", channel.id.hex)
    address = crypto.unseal(sealing, channel.address_sealed, b"address").decode()
    secret = b"" if channel.secret_sealed is None else crypto.unseal(sealing, channel.secret_sealed, b"secret")
    return row.id, channel.way, address, secret, _message(session, settings, row.id, told)


def _message(session: Session, settings: Settings, delivery: UUID, told: Notification) -> Message:
    languages = LANGUAGES
    if told.recipient.startswith("person:"):
        spoken = session.exec(select(Person.language).where(Person.id == UUID(told.recipient.partition(":")[2]))).one_or_none()
        languages = (spoken,) if spoken in LANGUAGES else LANGUAGES  # type: ignore[assignment]
    base = settings.base_url.rstrip("/")
    texts = {language: said(told.kind, told.facts, language, settings.time_zone) for language in languages}
    subject = " · ".join(text[0] for text in texts.values())
    text = "\n\n".join(f"{body}\n{base}{path}" for _, body, path in texts.values()) + "\n"
    body = {
        "type": told.kind,
        "timestamp": told.at.isoformat(),
        "data": {**told.facts, "recipient": told.recipient, "link": base + next(iter(texts.values()))[2]},
    }
    return Message(str(delivery), subject, text, json.dumps(body, ensure_ascii=True, sort_keys=True).encode())


def _settle(session: Session, delivery: UUID, fate: Fate, error: str | None, final: bool) -> None:
    row = session.exec(select(Delivery).where(Delivery.id == delivery).with_for_update()).one_or_none()
    if row is None:  # The channel was removed while it was tried.
        return
    now: datetime = clock.now()
    again = None if fate is Fate.SENT or final else next_try(row.attempts, now)
    row.status = (fate if fate is Fate.SENT else Fate.FAILED if again is None else Fate.WAITING).value
    row.error = error
    row.next_at = again or now
    row.done_at = None if again else now
    session.add(row)


def background() -> list[jobs.Job]:
    """What notifications do by themselves: deliver what waits, at once and again every minute for what failed."""

    def deliver(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        deliver_due(tools.database, tools.keys, tools.settings)

    def look(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            tell_of_accounts(session, tools.keys)

    return [
        jobs.Job("notifications.deliver", deliver),
        jobs.Job("notifications.deliver_again", deliver, cron="* * * * *"),
        jobs.Job("notifications.accounts", look, cron="* * * * *"),
    ]
