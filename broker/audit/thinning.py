"""Old checkpoints are thinned to the last of each hour, so that verifying the log costs its entries and not the seconds it was busy.

A busy log publishes five checkpoints a second; each costs its verifier a signature. What makes the log believed is not that it keeps all of
them: entries and tiles give every one again but for its signature, whoever kept one outside still sees it continued, and receipts carry
their own. What a witness cosigned stays for ever. The database holds the rule itself (trigger ``thins_by_rule``): nothing younger than the
age below goes, whoever asks (docs/decisions/0033).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from broker import clock
from broker.audit.store import Connection

#: A day more than the trigger demands, so that clocks need not agree.
KEPT_WHOLE = timedelta(days=8)
#: Checkpoints looked at in one turn, which takes a few milliseconds of the sequencer's time.
BATCH = 2000

_NEXT = """
SELECT c.size, c.at, EXISTS (SELECT FROM log_cosignature w WHERE w.size = c.size)
FROM log_checkpoint c WHERE c.size >= %s ORDER BY c.size LIMIT %s
"""


@dataclass(frozen=True)
class Thinned:
    """How many were taken out, and from which size to look on; ``more``: there are further old ones."""

    gone: int
    onwards: int
    more: bool


def thin(connection: Connection, start: int) -> Thinned:
    """Look at old checkpoints from a size on, and take out those that are followed by another of the same hour."""
    rows: Sequence[tuple[int, datetime, bool]] = connection.execute(_NEXT, (start, BATCH + 1)).fetchall()
    oldest = clock.now() - KEPT_WHOLE
    gone: list[int] = []
    onwards = start
    for (size, at, cosigned), (following, later, _) in pairwise(rows):
        if later >= oldest:
            break
        if not cosigned and _hour(at) == _hour(later):
            gone.append(size)
        onwards = following
    if gone:
        connection.execute("DELETE FROM log_checkpoint WHERE size = ANY(%s)", (gone,))
    return Thinned(len(gone), onwards, onwards != start and len(rows) > BATCH)


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
