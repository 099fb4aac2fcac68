"""When a delivery is tried again, and what may be said in a notification. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from broker.notifications.errors import UndeliverableKind

#: How long after the first, second, … failure a delivery is tried again; after the last it is given up. About three days in all.
AGAIN = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
    timedelta(hours=40),
)

#: A try that nobody finished (its process died) is taken up again after this long.
ABANDONED = timedelta(minutes=5)

_FACT = re.compile(r"[\x21-\x7e]{1,200}")
_RECIPIENT = re.compile(r"(person:[0-9a-f-]{36}|organization:[a-z0-9._-]{1,64}|client:[A-Za-z0-9._-]{1,128})")


def next_try(attempts: int, at: datetime) -> datetime | None:
    """When to try again after so many failed attempts; None: give up."""
    return at + AGAIN[attempts - 1] if attempts <= len(AGAIN) else None


def check_recipient(recipient: str) -> None:
    """Raises UndeliverableKind unless it is ``person:…``, ``organization:…`` or ``client:…``."""
    if not _RECIPIENT.fullmatch(recipient):
        raise UndeliverableKind("recipient")


def check_facts(facts: Mapping[str, str | int], named: Collection[str]) -> None:
    """Raises UndeliverableKind unless these are the facts that the kind names, each a number or a code.

    A code is ASCII without spaces, so that neither a name nor a sentence, where a patient might stand, fits in.
    """
    if set(facts) != set(named):
        raise UndeliverableKind(f"facts: {', '.join(sorted(set(facts) ^ set(named)))}")
    for name, value in facts.items():
        if not (type(value) is int or (isinstance(value, str) and _FACT.fullmatch(value))):
            raise UndeliverableKind(f"facts: {name}")
