"""How far a reader of the log has come, kept in the database: a place in the order ``(xid, seq)``, which survives a restore.

A restored database keeps the transaction ids of the server it came from. Where the new server's are younger, a place kept before the
restore lies ahead of everything that will be recorded for a long time, and its reader would see nothing more without anybody noticing.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.audit.store import Connection


@dataclass(frozen=True)
class Standing:
    """The last event that was read, or passed by, and what was read before a restore: every event up to ``done_seq``."""

    xid: str
    seq: int
    done_seq: int
    ahead: bool  #: of this server's transaction ids: what lies behind the place came with a restore, and is committed

    @property
    def parameters(self) -> dict[str, str | int]:
        """For a query."""
        return {"xid": self.xid, "seq": self.seq, "done_seq": self.done_seq}


BEGINNING = Standing("0", 0, 0, ahead=False)

#: Events of alias ``e`` behind a place, each once whatever was restored. Not those of transactions that may still grow: an older one
#: that is open would otherwise be passed by.
BEHIND = "(e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.seq > %(done_seq)s AND e.xid < pg_snapshot_xmin(pg_current_snapshot())"
#: The same for a place that lies ahead: what came with the restore and was not read yet.
LEFT_OVER = "(e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.seq > %(done_seq)s"

_STANDING = "SELECT xid::text, seq, done_seq, xid >= pg_snapshot_xmax(pg_current_snapshot()) FROM log_follower WHERE name = %s"

# What came with the restore has numbers below those that are given out since; all of it was read, or it was left over and is read now.
_REBASE = """
UPDATE log_follower SET xid = '0', seq = 0, done_seq = greatest(done_seq, coalesce(
  (SELECT max(e.seq) FROM audit_event e WHERE e.xid >= pg_snapshot_xmax(pg_current_snapshot())), 0))
WHERE name = %s AND xid >= pg_snapshot_xmax(pg_current_snapshot())
"""


def begin(connection: Connection, name: str) -> None:
    """Make the reader known, at the beginning of the log, unless it is."""
    connection.execute("INSERT INTO log_follower (name, xid, seq) VALUES (%s, '0', 0) ON CONFLICT DO NOTHING", (name,))


def standing(connection: Connection, name: str, *, alone: bool = False) -> Standing:
    """Where the reader stands; at the beginning when nobody knows it. ``alone``: nobody else moves it until this transaction ends."""
    row = connection.execute(_STANDING + (" FOR UPDATE" if alone else ""), (name,)).fetchone()
    return BEGINNING if row is None else Standing(*row)


def move(connection: Connection, name: str, xid: str, seq: int) -> None:
    """The reader has come further; never back."""
    connection.execute(
        "UPDATE log_follower SET xid = %(xid)s::xid8, seq = %(seq)s WHERE name = %(name)s AND (xid, seq) < (%(xid)s::xid8, %(seq)s)",
        {"name": name, "xid": xid, "seq": seq},
    )


def rebase(connection: Connection, name: str) -> None:
    """A reader whose place lies ahead has read all that came with the restore: go on from this server's first transaction."""
    connection.execute(_REBASE, (name,))
