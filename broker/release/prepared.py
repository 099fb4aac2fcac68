"""What lies prepared for the next release: made by a whole one before under the same grant, used as long as nothing has changed.

Good for one *basis* (grant, recipient, plan without its clock, policies, labels and consents that deny, address, the code itself), one epoch
of the patient's consents, one number of changes of the patient's records, and one state of the shared resources that it rests on. What moves
without any of these is asked at each release: whether all of it lies within the windows of now. All or nothing: what references may lead to is
all that leaves, so that where one resource has fallen out of its window the whole is made anew. Whatever does not open or fit is made anew too.
A page or a search takes of it what it would find itself (``release.slices``): a resource looks the same in every answer under one grant.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg

import broker
from broker import clock
from broker.crypto import Keys
from broker.database import Database
from broker.errors import BrokerError, Problem
from broker.fhir import definitions
from broker.fhir.plan import TypePlan
from broker.records import service as records
from broker.release import outcome, segments, slices
from broker.release.answers import Item, Listed
from broker.release.reducing import Kept, Order, Page, Prepared, Reduced, Reducer, denied, tokens
from broker.release.segments import Contents, Entries, Index, Place, Unreadable
from broker.wire import Statement, run

log = logging.getLogger("broker.release")

Cursor = psycopg.AsyncCursor[Any]

#: Days after which it is not used any more, however little has changed.
DAYS = 7
#: Resources of a release above which nothing is prepared: to unpack them at once would make others wait.
MOST = 5000

#: Of the libraries by which the bytes are written, and of the code: with any change of them everything is prepared anew.
_LIBRARIES = ("msgspec", "orjson", "jsonschema-rs")

_READ = Statement(f"""
SELECT s.body, s.watched, ({records.SHARED_STATE_SQL})
FROM prepared_release s JOIN patient p ON p.patient_key = s.patient_key LEFT JOIN record_changes c ON c.patient_key = s.patient_key
WHERE s.patient_key = %(patient_key)s AND s.grant_id = %(grant)s AND s.basis = %(basis)s AND s.epoch = %(epoch)s AND s.changes = %(changes)s
  AND s.made_at > %(since)s AND p.epoch = s.epoch AND coalesce(c.changes, 0) = s.changes AND p.frozen_at IS NULL
""")
_VAULT = Statement(records.VAULT_SQL)


@cache
def software() -> str:
    """SHA-256 over every file of the broker and the versions of what writes the bytes."""
    found = hashlib.sha256(repr([(name, version(name)) for name in _LIBRARIES]).encode())
    folder = Path(broker.__file__).parent
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and each.suffix != ".pyc"):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def keeps(order: Order, reduce: Reducer) -> bool:
    """Whether what is made now may be kept for the next."""
    return reduce.whole and _place(order) is not None


def _place(order: Order) -> Place | None:
    """Where it belongs; None where nothing is prepared, since it could change without being noticed."""
    under, plan, vault = order.under, order.plan, order.vault
    if under is None or not order.gate.by_kind or order.wanted.elements:
        return None
    if any(name in records.SHARED_TYPES and _bounded(name, kept) for name, kept in plan.types.items()):
        return None
    bounds = [(name, kept.period_from is None, kept.period_until is None) for name, kept in plan.types.items()]
    basis = orjson.dumps([
        software(), under.base_url, under.revision, under.grant.hex, order.recipient, plan.timeless, bounds, sorted(denied(order)),
        order.gate.fingerprint, order.consent_required, clock.now().year,  # Bands of age end with the year (``fhir.transforms``).
    ])  # fmt: skip
    return Place(vault.patient_key, under.grant, hashlib.sha256(basis).digest(), vault.epoch, vault.changes)


def _bounded(name: str, kept: TypePlan) -> bool:
    """Whether rows of the type come and go with the clock."""
    return bool(definitions.clinical_dates(name)) and (kept.period_from is not None or kept.period_until is not None)


async def ready(cursor: Cursor, keys: Keys, order: Order, reduce: Reducer) -> Page | None:
    """What the call asks for, where what lies prepared is what would be made now; else None. Two statements in one round trip."""
    place = _place(order)
    if place is None or not (reduce.whole or slices.serves(order, reduce)):
        return None
    parameters = {
        **place._asdict(), "since": clock.now() - timedelta(days=DAYS), "shared_types": _shared_types(order),
        "shared_deny": tokens(keys, records.SHARED, reduce.denied),
    }  # fmt: skip
    found, vaults = await run(cursor.connection, (_READ, parameters), (_VAULT, (records.SHARED,)))
    if not found:
        return None
    body, watched, state = found[0]
    try:
        contents, packed = segments.opened(keys, order.vault, place, body)
        if contents.shared:
            records.unwrap(keys, records.SHARED, *vaults[0])
        known = contents.state == state and contents.watched == tuple(each.bytes for each in watched)
        if not known or not fits(contents, order, reduce):
            return None
        if not reduce.whole:
            return slices.page(contents, Entries(packed), order, reduce)
        entries = segments.unpacked(packed.frames)
    except (Unreadable, BrokerError, IndexError):
        log.error("what lies prepared does not open; it is made anew")  # noqa: TRY400  (That is all there is to say.)
        return None
    listed = Listed(contents.manifest, contents.types)
    return Page((), contents.labels, (), contents.held_back, None, prepared=Prepared(entries, listed))


def fits(contents: Contents, order: Order, reduce: Reducer) -> bool:
    """Whether the windows of now hold all that it holds, and nothing that it did not look at."""
    for name, kept in order.plan.types.items():
        if _bounded(name, kept):
            then = contents.windows.get(name)
            if then is None or not _within(kept, then) or not _holds(reduce.window(name), contents.extents.get(name)):
                return False
        if name in contents.reaches and not reduce.checker.spans(name, contents.reaches[name]):
            return False
    return True


def _within(kept: TypePlan, then: tuple[int | None, int | None]) -> bool:
    """Whether the window of now lies in the one that was looked through; both are open at the same ends (:func:`_place`)."""
    since, until = then
    begins = kept.period_from is None or (since is not None and kept.period_from >= since)
    return begins and (kept.period_until is None or (until is not None and kept.period_until <= until))


def _holds(window: records.Window, extent: records.Extent | None) -> bool:
    """What ``records.read`` asks in SQL, of all rows of a type at once."""
    if extent is None:
        return True
    if not extent.dated or extent.since is None:
        return False
    return (window.end is None or extent.since <= window.end) and (window.start is None or extent.until is None or extent.until >= window.start)


class Made(NamedTuple):
    """What has to be known of a whole release that was made just now."""

    place: Place
    contents: Contents
    listed: Index


def contents_of(
    order: Order, reduce: Reducer, extents: Mapping[str, records.Extent], found: Sequence[Reduced], items: tuple[Item, ...]
) -> Made | None:
    """What has to be known of a whole release that was made just now, but for what the checker finds; None where it can't be kept."""
    place, witness, ledger = _place(order), reduce.witness, reduce.ledger
    if place is None or witness is None or witness.torn or not 0 < len(found) <= MOST:
        return None
    plan = order.plan
    labels = {one: number for number, one in enumerate(dict.fromkeys([one.labels for one in found]))}
    contents = Contents(
        windows={name: (kept.period_from, kept.period_until) for name, kept in plan.types.items() if _bounded(name, kept)},
        extents={name: extent for name, extent in extents.items() if _bounded(name, plan.types[name])},
        reaches={},
        watched=tuple(sorted(each.bytes for each in witness.asked)),
        state=records.state_of(witness.rows.values()),
        shared=bool(witness.rows),
        types=tuple(Counter(one.type for one in found).items()),
        labels=tuple(labels),
        held_back=reduce.held_back,
        manifest=outcome.packed_manifest(items),
    )
    index = Index(tuple(ledger.types), bytes(ledger.tokens), bytes(ledger.states), tuple([labels[one.labels] for one in found]), ())
    return Made(place, contents, index) if fits(contents, order, reduce) else None


def sealed(
    keys: Keys, order: Order, reduce: Reducer, made: Made, found: Sequence[Reduced], reachable: Collection[str]
) -> tuple[list[Problem], Kept | None]:
    """What the checker has against a release; if it is nothing, what the next one may send."""
    place = made.place
    assert order.under is not None  # noqa: S101  (Else there is no place.)
    problems, body = segments.checked_and_sealed(
        keys, order.vault, place, reduce.checker, made.contents, made.listed, [(one.type, one.id, one.body) for one in found],
        base_url=order.under.base_url, patient=reduce.shown_id("Patient", order.vault.fhir_id), reachable=reachable,
    )  # fmt: skip
    return (problems, None) if problems else ([], Kept(*place, tuple(UUID(bytes=each) for each in made.contents.watched), body))


def _shared_types(order: Order) -> list[str]:
    return [name for name in order.plan.types if name in records.SHARED_TYPES]


_KEEP = Statement("""
INSERT INTO prepared_release (patient_key, grant_id, basis, epoch, changes, made_at, watched, body)
SELECT p.patient_key, %(grant)s::uuid, %(basis)s::bytea, p.epoch, %(changes)s::int8, %(at)s::timestamptz, %(watched)s::uuid[], %(body)s::bytea
FROM patient p LEFT JOIN record_changes c ON c.patient_key = p.patient_key
WHERE p.patient_key = %(patient_key)s AND p.epoch = %(epoch)s AND coalesce(c.changes, 0) = %(changes)s::int8
  AND p.frozen_at IS NULL AND p.wrapped_key <> ''
ON CONFLICT (patient_key, grant_id) DO UPDATE SET basis = excluded.basis, epoch = excluded.epoch, changes = excluded.changes,
  made_at = excluded.made_at, watched = excluded.watched, body = excluded.body
""")


async def keep(database: Database, kept: Kept | None) -> None:
    """Store what was prepared, on a connection of its own, while the release still holds the gate. Never raises: it is only worth time."""
    if kept is None:
        return
    try:
        async with database.release_connection() as connection:
            await run(connection, (_KEEP, {**kept._asdict(), "at": clock.now()}))
    except (psycopg.Error, OSError) as error:
        log.warning("what was prepared was not kept: %s", type(error).__name__)


_CLEAN = """
DELETE FROM prepared_release WHERE (patient_key, grant_id) IN (
  SELECT s.patient_key, s.grant_id
  FROM prepared_release s JOIN patient p ON p.patient_key = s.patient_key LEFT JOIN sharing_grant g ON g.id = s.grant_id
       LEFT JOIN record_changes c ON c.patient_key = s.patient_key
  WHERE s.made_at < %(since)s OR s.epoch <> p.epoch OR s.changes <> coalesce(c.changes, 0)
     OR g.id IS NULL OR g.status <> 'active' OR g.valid_until <= %(now)s LIMIT 500)
"""


def clean(database: Database) -> int:
    """Delete what nothing can use any more; how many rows went."""
    gone = 0
    while True:
        with database.transaction() as session:
            now = clock.now()
            found = session.connection().exec_driver_sql(_CLEAN, {"since": now - timedelta(days=DAYS), "now": now}).rowcount
        gone += found
        if not found:
            return gone
