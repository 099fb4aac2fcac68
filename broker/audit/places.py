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
    restored_seq: int  #: the last event that came with a restore and has a transaction id that this server has not given out; 0: none

    @property
    def left_over(self) -> bool:
        """Whether events came with a restore that this reader has not looked through yet. They are read first, and are all committed."""
        return self.restored_seq > self.done_seq

    @property
    def parameters(self) -> dict[str, str | int]:
        """For a query."""
        return {"xid": self.xid, "seq": self.seq, "done_seq": self.done_seq, "restored_seq": self.restored_seq}


BEGINNING = Standing("0", 0, 0, 0)

#: Events of alias ``e`` behind a place, each once whatever was restored. Not those of transactions that may still grow: an older one
#: that is open would otherwise be passed by.
BEHIND = "(e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.seq > %(done_seq)s AND e.xid < pg_snapshot_xmin(pg_current_snapshot())"
#: The same for what is left over: numbers that were given out before the restore.
LEFT_OVER = "(e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.seq > %(done_seq)s AND e.seq <= %(restored_seq)s"

# A thousand rows, since neighbours may have taken their numbers in another order than their transaction ids. Mostly there is none. What the
# caller's own transaction recorded is beyond what the server has completed as well.
_STANDING = """
SELECT f.xid::text, f.seq, f.done_seq, coalesce((SELECT max(seq) FROM (
  SELECT e.seq FROM audit_event e
  WHERE e.xid >= pg_snapshot_xmax(pg_current_snapshot()) AND e.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
  ORDER BY e.xid DESC, e.seq DESC LIMIT 1000) last), 0)
FROM log_follower f WHERE f.name = %s
"""


def begin(connection: Connection, name: str) -> None:
    """Make the reader known, at the beginning of the log, unless it is."""
    connection.execute("INSERT INTO log_follower (name, xid, seq) VALUES (%s, '0', 0) ON CONFLICT DO NOTHING", (name,))


def standing(connection: Connection, name: str, *, alone: bool = False) -> Standing:
    """Where the reader stands; at the beginning when nobody knows it. ``alone``: nobody else moves it until this transaction ends."""
    row = connection.execute(_STANDING + ("FOR UPDATE OF f" if alone else ""), (name,)).fetchone()
    return BEGINNING if row is None else Standing(*row)


def move(connection: Connection, name: str, seen: Standing, xid: str, seq: int) -> None:
    """The reader, who stood there, has come further; never back, and not across what another did with a restore meanwhile."""
    connection.execute(
        "UPDATE log_follower SET xid = %(to_xid)s::xid8, seq = %(to_seq)s"
        " WHERE name = %(name)s AND done_seq = %(done_seq)s AND (xid, seq) < (%(to_xid)s::xid8, %(to_seq)s)",
        {**seen.parameters, "name": name, "to_xid": xid, "to_seq": seq},
    )


def rebase(connection: Connection, name: str, seen: Standing) -> None:
    """The reader has read all that came with the restore: go on from this server's first transaction, with what was recorded since."""
    connection.execute(
        "UPDATE log_follower SET xid = '0', seq = 0, done_seq = %(restored_seq)s WHERE name = %(name)s AND done_seq = %(done_seq)s",
        {**seen.parameters, "name": name},
    )
