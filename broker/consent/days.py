"""Days of a consent that name no zone are days of the hospital's. Pure.

R4 lets a date stand without a zone (datatypes.html#dateTime), and whoever writes "until 31 December" means the end of that day where they
live. Read as UTC, a permit would last eight hours longer in Shanghai than the patient was told. So the days of every ``period`` are turned
into moments before the consent is read; what the consent's author sent is kept as it was. ``dataPeriod`` is left alone: it is compared with
the records' own dates, which name no zone either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

_DAY = re.compile(r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d))?)?", re.ASCII)
#: What nests provisions or, in contained groups and roles, memberships with a period. Where else a period stands, no rule reads it.
_NESTS = ("provision", "contained", "member", "participant")
_LAST_MONTH = 12


def placed(consent: Mapping[str, Any], zone: tzinfo) -> dict[str, Any]:
    """The consent with moments in place of days. Whatever isn't a day is left for the reader to judge; any JSON object may be given."""
    found = dict(consent)
    for name in _NESTS:
        if name in found:
            found[name] = _nested(found[name], zone)
    period = found.get("period")
    if isinstance(period, dict):
        found["period"] = {end: _moment(value, zone, last=end == "end") if end in ("start", "end") else value for end, value in period.items()}
    return found


def _nested(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, list):
        return [placed(one, zone) if isinstance(one, dict) else one for one in value]
    return placed(value, zone) if isinstance(value, dict) else value


def _moment(value: Any, zone: tzinfo, *, last: bool) -> Any:
    """The first or the last second of a day, month or year in the zone; anything else as it is."""
    found = _DAY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    year, month, day = (None if found[name] is None else int(found[name]) for name in ("year", "month", "day"))
    try:
        first = date(year or 0, month or 1, day or 1)  # There is no year 0: an error, as for the 30th of February.
        if not last:
            return datetime.combine(first, datetime.min.time(), zone).isoformat()
        if day is not None:
            after = first + timedelta(days=1)
        elif month is None or month == _LAST_MONTH:
            after = date(first.year + 1, 1, 1)
        else:
            after = date(first.year, first.month + 1, 1)
        # Reckoned from the next midnight, since a day on which clocks change is not 24 hours long.
        return datetime.fromtimestamp(datetime.combine(after, datetime.min.time(), zone).timestamp() - 1, zone).isoformat()
    except (ValueError, OverflowError):
        return value
