"""Where else notifications arrive: mail addresses and webhooks of people, organisations and clients."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock, crypto
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Problem
from broker.notifications.addresses import networks, url_problem
from broker.notifications.errors import ChannelRefused, NoSuchNotification
from broker.notifications.models import Channel, Way
from broker.notifications.rules import check_recipient
from broker.settings import Settings

#: An address as RFC 5321 lets most be written, without quotes, comments and anything that could begin another header.
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")

#: Bytes of a webhook's secret (Standard Webhooks: 24 to 64).
SECRET_BYTES = 32


@dataclass(frozen=True)
class Shown:
    """A channel as it may be shown. ``secret`` is told once, when the webhook is entered."""

    id: UUID
    recipient: str
    way: str
    address: str
    secret: str | None = None


def is_mail_address(given: str) -> bool:
    """Whether mail can be sent there, as it is written."""
    return _MAIL.fullmatch(given) is not None


def add_channel(session: Session, keys: Keys, settings: Settings, actor: str, *, recipient: str, way: Way, address: str) -> Shown:
    """Let notifications of a recipient also arrive there. Raises ChannelRefused. A webhook gets a fresh secret."""
    check_recipient(recipient)
    wrong = (
        None if _MAIL.fullmatch(address) else "address"
    ) if way is Way.MAIL else url_problem(address, inside=bool(networks(settings.webhook_networks)))  # fmt: skip
    if wrong:
        raise ChannelRefused(problems=(Problem("/address", wrong, "Nothing can be sent to this address."),))
    row = Channel(recipient=recipient, way=way.value, address_sealed=b"", created_at=clock.now())
    key = keys.blind("notification-channel", row.id.hex)
    row.address_sealed = crypto.seal(key, address.encode(), b"address")
    secret = os.urandom(SECRET_BYTES) if way is Way.WEBHOOK else None
    row.secret_sealed = None if secret is None else crypto.seal(key, secret, b"secret")
    session.add(row)
    session.flush()
    audit.record(session, Event("notification.channel-added", actor, facts={"channel": str(row.id), "recipient": recipient, "way": way.value}))
    return Shown(row.id, recipient, way.value, address, None if secret is None else "whsec_" + base64.b64encode(secret).decode())


def channels(session: Session, keys: Keys, recipient: str) -> list[Shown]:
    """The channels of a recipient, oldest first."""
    rows = session.exec(select(Channel).where(Channel.recipient == recipient).order_by(col(Channel.created_at), col(Channel.id))).all()
    return [
        Shown(row.id, row.recipient, row.way, crypto.unseal(keys.blind("notification-channel", row.id.hex), row.address_sealed, b"address").decode())
        for row in rows
    ]


def remove_channel(session: Session, actor: str, *, recipient: str, channel: UUID) -> None:
    """Remove a channel of a recipient, with whatever still waits for it. Raises NoSuchNotification."""
    row = session.exec(select(Channel).where(Channel.id == channel, Channel.recipient == recipient)).one_or_none()
    if row is None:
        raise NoSuchNotification
    session.delete(row)
    session.flush()
    audit.record(session, Event("notification.channel-removed", actor, facts={"channel": str(channel), "recipient": recipient, "way": row.way}))
