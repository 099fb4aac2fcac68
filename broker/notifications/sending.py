"""Sending one message: mail by SMTP, webhooks as Standard Webhooks writes them (standardwebhooks.com, specification 1.0.0)."""

from __future__ import annotations

import base64
import hmac
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import httpx2

from broker import clock
from broker.notifications.addresses import Resolve, networks, resolved, target
from broker.notifications.errors import NotDelivered
from broker.settings import Settings

#: Seconds that a server may take for each step.
PATIENCE = 15.0

#: SMTP replies that won't become a yes (RFC 5321 4.2.1: 5yz is permanent).
_PERMANENT = 500


@dataclass(frozen=True)
class Message:
    """What is sent: ``number`` is the same at every try, so that a receiver can drop what it has already."""

    number: str
    subject: str
    text: str
    body: bytes  #: of a webhook, JSON


def mail(settings: Settings, address: str, message: Message) -> None:
    """Hand a message to the mail server. Raises NotDelivered."""
    if settings.smtp_host is None:
        raise NotDelivered("mail-not-set-up")
    written = EmailMessage()
    written["From"] = Address(display_name="Data-sharing broker", addr_spec=settings.mail_from)
    written["To"] = Address(addr_spec=address)
    written["Subject"] = message.subject
    written["Date"] = format_datetime(clock.now())
    written["Message-ID"] = f"<{message.number}@{settings.mail_from.rpartition('@')[2]}>"
    written["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it.
    written.set_content(message.text)
    try:
        context = ssl.create_default_context()
        opened: smtplib.SMTP = (
            smtplib.SMTP_SSL(settings.smtp_host, settings.smtp_port, timeout=PATIENCE, context=context)
            if settings.smtp_security == "tls"
            else smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=PATIENCE)
        )
        with opened as server:
            if settings.smtp_security == "starttls":
                server.starttls(context=context)
            if settings.smtp_user is not None and settings.smtp_password is not None:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            server.send_message(written)
    except smtplib.SMTPRecipientsRefused as error:
        code = max((reply[0] for reply in error.recipients.values()), default=_PERMANENT)
        raise NotDelivered(f"smtp-{code}", final=code >= _PERMANENT) from None
    except smtplib.SMTPResponseException as error:
        raise NotDelivered(f"smtp-{error.smtp_code}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotDelivered(f"smtp-{type(error).__name__}") from None


def signature(secret: bytes, number: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and the base64 of HMAC-SHA256 over ``number.timestamp.body`` (Standard Webhooks, "Signature scheme")."""
    signed = hmac.digest(secret, f"{number}.{timestamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(signed).decode()


def webhook(settings: Settings, url: str, secret: bytes, message: Message, resolve: Resolve = resolved) -> None:
    """Post a message to a webhook, signed. Raises NotDelivered."""
    now = clock.epoch(clock.now())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message.number,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secret, message.number, now, message.body),
    }
    post(settings, url, message.body, headers, resolve)


def post(settings: Settings, url: str, body: bytes, headers: Mapping[str, str], resolve: Resolve = resolved) -> None:
    """Post bytes to where a webhook may go. Redirects are not followed and the answer's body is not read. Raises NotDelivered."""
    where = target(url, networks(settings.webhook_networks), resolve)
    told = {"Host": where.authority, "User-Agent": "data-sharing-broker", **headers}
    try:
        with (
            httpx2.Client(timeout=PATIENCE, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", where.url, content=body, headers=told, extensions={"sni_hostname": where.host}) as answer,
        ):
            status = answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise NotDelivered(f"webhook-{type(error).__name__}") from None
    if status == 410:  # Standard Webhooks: the receiver wants no more.
        raise NotDelivered("http-410", final=True)
    if not 200 <= status < 300:
        raise NotDelivered(f"http-{status}")
