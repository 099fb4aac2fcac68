"""The bytes that the log commits to: one event as canonical JSON (RFC 8785), at most 2 KB, without patient data.

What may stand in a leaf is kept narrow on purpose. Strings are printable ASCII without spaces, so that codes, hashes and
record numbers fit and names, diagnoses and free text do not; numbers are whole and below 2^53, so that every JSON reader
sees the same ones. For such values sorted keys and minimal escapes are RFC 8785 already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from broker.audit.errors import NotRecordable
from broker.audit.events import Event

VERSION = 1
MAX_LEAF_BYTES = 2048

#: Largest whole number that every JSON reader keeps (RFC 8785 section 3.2.2.3, I-JSON).
MAX_INTEGER = 2**53 - 1
MAX_STRING = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"[\x21-\x7e]+")
_TYPE = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

#: Leaf member → attribute of the event, for the members that are left out when the event does not say.
OPTIONAL_TEXT = {
    "app": "application",
    "grant": "grant",
    "recipient": "recipient",
    "purpose": "purpose",
    "subject": "subject",
    "outcome": "outcome",
}


def timestamp(moment: datetime) -> str:
    """A moment in UTC with milliseconds, such as ``2026-11-23T06:44:50.123Z``; what is finer is cut off."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def uuid7(moment: datetime) -> UUID:
    """An id that sorts by time and cannot be guessed: 48 bits of milliseconds, 74 random bits (RFC 9562 section 5.7)."""
    value = _milliseconds(moment) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # Version 7.
    value = value & ~(0x3 << 62) | 0x2 << 62  # Variant of RFC 9562.
    return UUID(int=value)


def first_id(moment: datetime) -> UUID:
    """The smallest id of its millisecond: ids from here on are of events at or after ``moment``. Before 1970 there are none."""
    return UUID(int=max(0, -(-_microseconds(moment) // 1000)) << 80)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _milliseconds(moment: datetime) -> int:
    return _microseconds(moment) // 1000


def _text(member: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_STRING or not _TEXT.fullmatch(value):
        raise NotRecordable(f"{member}: only a code, hash or number of printable ASCII without spaces, at most {MAX_STRING} long")
    return value


def _fact(name: str, value: object) -> str | int | bool | list[str]:
    if not _NAME.fullmatch(name):
        raise NotRecordable("facts: a name is ASCII letters, digits and underscores")
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotRecordable(f"facts.{name}: a whole number stays below 2^53")
        return value
    if isinstance(value, list | tuple):
        return [_text(f"facts.{name}", item) for item in value]
    return _text(f"facts.{name}", value)


def leaf(event: Event, event_id: UUID, at: datetime) -> str:
    """The leaf of an event. Raises NotRecordable, which names the member and never its value."""
    if not _TYPE.fullmatch(event.type):
        raise NotRecordable("type: `thing.happened` in lower case")
    document: dict[str, Any] = {"v": VERSION, "seq": str(event_id), "t": timestamp(at), "type": event.type, "actor": _text("actor", event.actor)}
    for member, attribute in OPTIONAL_TEXT.items():
        value = getattr(event, attribute)
        if value is not None:
            document[member] = _text(member, value)
    if event.release is not None:
        document["release"] = str(event.release)
    if event.facts:
        document["facts"] = {name: _fact(name, value) for name, value in event.facts.items()}
    encoded = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    if len(encoded) > MAX_LEAF_BYTES:
        raise NotRecordable(f"facts: the event takes {len(encoded)} bytes; {MAX_LEAF_BYTES} are allowed. Put a hash instead of a list")
    return encoded.decode("ascii")


def read_leaf(text: str) -> Mapping[str, Any]:
    """The members of a leaf. Raises ValueError when it is not a JSON object."""
    document = orjson.loads(text)
    if not isinstance(document, dict):
        raise ValueError("a leaf is a JSON object")  # noqa: TRY004  (one kind of error for a leaf that can't be read)
    return document
