"""When did it happen? The clinical dates of a resource as moments, by the definitions' order of preference. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from broker.fhir import definitions

_MICROSECOND = timedelta(microseconds=1)

#: Codes of clinicalStatus that mean a state is over even where no end is given.
OVER = frozenset({"inactive", "remission", "resolved"})

#: First and last moment that the database and Python both hold.
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _clamped(moment: datetime) -> datetime:
    try:
        return min(max(moment.astimezone(UTC), _FIRST), _LAST)
    except OverflowError:
        return _FIRST if moment.year < 5000 else _LAST


@lru_cache(maxsize=4096)
def span(text: str) -> tuple[datetime, datetime] | None:
    """First and last moment of a FHIR date, dateTime or instant, both included; days without a time are days in UTC.

    ``2026-03`` is the whole month. None for a text that is no such date.
    """
    try:
        if len(text) == 4:
            start, end = datetime(int(text), 1, 1, tzinfo=UTC), datetime(int(text), 12, 31, tzinfo=UTC) + timedelta(days=1)
        elif len(text) == 7:
            year, month = int(text[:4]), int(text[5:7])
            start = datetime(year, month, 1, tzinfo=UTC)
            end = (start + timedelta(days=31)).replace(day=1)
        elif len(text) == 10:
            start = datetime.fromisoformat(text).replace(tzinfo=UTC)
            end = start + timedelta(days=1)
        elif text[4:5] != "-":
            return None
        else:
            # A leap second is the second before it; digits beyond a microsecond don't matter here.
            moment = _clamped(datetime.fromisoformat(text.replace(":60", ":59", 1) if text[17:19] == "60" else text))
            return moment, moment
    except OverflowError:
        return _LAST, _LAST
    except ValueError:
        return None
    return _clamped(start), _clamped(end - _MICROSECOND)


def _value(resource: Mapping[str, Any], path: str) -> str | None:
    node: Any = resource
    for name in path.split("."):
        node = node.get(name) if type(node) is dict else None
    return node if type(node) is str else None


def _first(resource: Mapping[str, Any], paths: tuple[str, ...]) -> tuple[datetime, datetime | None] | None:
    """From when until when, by the first of these paths that is given; the end of a period that is going on is None."""
    for path in paths:
        text = _value(resource, path)
        if text is None:
            continue
        moment = span(text)
        if moment is None:
            return None  # An unreadable date is no date: the next best may say something else.
        holder, _, name = path.rpartition(".")
        if name == "start":
            end = _value(resource, f"{holder}.end" if holder else "end")
            until = span(end) if end is not None else None
            return moment[0], until[1] if until else None
        if name == "end":
            return _FIRST, moment[1]  # A period without a start may have begun at any time.
        return moment
    return None


def clinical_dates(resource: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """From when until when a resource speaks about the patient; (None, None) if nothing says so; an open end is None.

    A state that lasts (Condition, AllergyIntolerance) goes on from its onset until its abatement; without one, until now if it is
    active, else until it was last known.
    """
    lasting = definitions.lasting(resource["resourceType"])
    if lasting is None:
        return _first(resource, definitions.clinical_dates(resource["resourceType"])) or (None, None)
    starts, ends = lasting
    began = _first(resource, starts)
    recorded = _first(resource, ("recordedDate",))
    ended = _first(resource, ends)
    first = began or recorded
    if first is None:
        return (None, None) if ended is None else (_FIRST, ended[1])
    if ended is not None:
        return first[0], ended[1]
    codings = resource.get("clinicalStatus", {}).get("coding", ())
    if any(coding.get("code") in OVER for coding in codings):
        known = [moment[1] for moment in (began, recorded) if moment is not None and moment[1] is not None]
        return first[0], max(known) if known else None
    return first[0], None
