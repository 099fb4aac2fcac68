"""Telling somebody who has no account, once, at an address that nothing of ours keeps: the contact of a patient (TM-5.5, PIPL 18).

Mail goes by SMTP; a telephone number goes to the hospital's own message gateway, as a signed webhook that names the number and the words.
The words are of ``kinds``, without anything clinical.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from broker.notifications import sending
from broker.notifications.addresses import Resolve, resolved
from broker.notifications.channels import is_mail_address
from broker.notifications.errors import NotDelivered, UndeliverableKind
from broker.notifications.fact_words import worded
from broker.notifications.kinds import KINDS
from broker.notifications.rules import check_facts
from broker.notifications.sending import Message
from broker.settings import Settings


def tell_outsider(
    settings: Settings,
    way: Literal["email", "phone"],
    address: str,
    *,
    kind: str,
    facts: Mapping[str, str | int],
    number: str,
    resolve: Resolve = resolved,
) -> None:
    """Say it now, in both languages. ``number`` is the same at every try. Raises NotDelivered, and UndeliverableKind for a mistake of ours."""
    found = KINDS.get(kind)
    if found is None:
        raise UndeliverableKind(kind)
    check_facts(facts, found.facts)
    zh, en = (worded(facts, language, settings.time_zone) for language in ("zh", "en"))
    subject = f"{found.subject_zh.format_map(zh)} · {found.subject_en.format_map(en)}"
    texts = {"zh": found.body_zh.format_map(zh), "en": found.body_en.format_map(en)}
    if way == "email":
        if not is_mail_address(address):
            raise NotDelivered("address", final=True)
        sending.mail(settings, address, Message(number, subject, "\n\n".join(texts.values()) + "\n", b""))
        return
    if settings.message_gateway is None or settings.message_gateway_secret is None:
        raise NotDelivered("gateway-not-set-up", final=True)
    body = {"type": kind, "data": {"to": address, **texts}}
    message = Message(number, subject, "", json.dumps(body, ensure_ascii=True, sort_keys=True).encode())
    sending.webhook(settings, settings.message_gateway, settings.message_gateway_secret.get_secret_value().encode(), message, resolve)
