"""Steps 4 to 6: fetch what the plan names, reduce each resource, have an independent checker look at the result.

Denied labels and dates are decided in SQL, so that an excluded body is never decrypted. A resource that can't be reduced
safely is withheld and counted; a checker that finds anything stops the release whole. What was made so before, and would be
made so again, is taken from where it lies prepared (``release.prepared``).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg

from broker.crypto import Keys, digest
from broker.errors import BrokerError
from broker.fhir.references import mentioned
from broker.records import service as records
from broker.release import prepared, reaching
from broker.release.answers import Item
from broker.release.reducing import DEFAULT_COUNT, Order, Page, Reduced, Reducer, Unsafe, names_shared, pseudonym
from broker.release.shaping import shaped

__all__ = ["DEFAULT_COUNT", "Order", "Page", "Unsafe", "names_shared", "page", "pseudonym", "safely"]

log = logging.getLogger("broker.release")

Cursor = psycopg.AsyncCursor[Any]


async def safely(cursor: Cursor, keys: Keys, order: Order) -> Page | Unsafe:
    """What :func:`page` gives, or why nothing leaves: a row that was changed, or a mistake of ours, is an outcome like any other."""
    try:
        return await page(cursor, keys, order)
    except psycopg.Error:
        raise  # Nothing more can be recorded on this connection; the intent stands.
    except BrokerError as error:
        return Unsafe(error.code)
    except Exception as error:  # noqa: BLE001  (its message may hold data)
        log.error("unexpected %s while a release was collected", type(error).__name__)  # noqa: TRY400
        return Unsafe("release.broken")


async def page(cursor: Cursor, keys: Keys, order: Order) -> Page | Unsafe:
    """One page, or the whole, of what may leave. Where shared resources are asked for by type there are no pages."""
    reduce = Reducer(keys, order)
    if (ready := await prepared.ready(cursor, keys, order, reduce)) is not None:
        return ready
    open_ways = reaching.Reaching(cursor, keys, reduce)
    count, counting = reduce.count, reduce.counting
    found: list[Reduced] = []
    after, more = order.after, True
    one = None if reduce.through_others or order.wanted.everything or order.wanted.id is None else (order.wanted.types[0], order.wanted.id)
    whose, types, deny = order.vault.patient_key, reduce.windows, reduce.deny_tokens
    extents: dict[str, records.Extent] | None = None
    while more and (count is None or counting or len(found) <= count):
        if one is not None:
            rows = await records.read_named(cursor, patient_key=whose, types=types, deny_tokens=deny, named=[records.id_token(keys, *one)])
        elif after is None and prepared.keeps(order, reduce):
            rows, extents = await records.read_with_extents(cursor, patient_key=whose, types=types, deny_tokens=deny, limit=reduce.batch(count))
        else:
            rows = await records.read(cursor, patient_key=whose, types=types, deny_tokens=deny, after=after, limit=reduce.batch(count))
        read = reduce.each(order.vault, rows, reduce.ledger)
        if not reduce.whole:  # Before anything is asked of them: what a reference says can't be searched where the reference can't leave.
            read = [each for each in await open_ways.cut(read) if reduce.fits(each)]
        found.extend(read)
        more = one is None and len(rows) == reduce.batch(count)
        if more:
            after = rows[-1].place
            await asyncio.sleep(0)
    following, total = None, len(found) if counting else None
    if count is not None and len(found) > count:
        found = found[:count]
        following = found[-1].place
    if reduce.whole:
        open_ways.all_of(found)
        found = await open_ways.cut(found)
    if order.wanted.everything or reduce.through_others:
        found.extend(each for each in await open_ways.cut(await _shared(cursor, keys, order, reduce, found)) if reduce.fits(each))
    if reduce.through_others:
        found = [one for one in found if one.type in order.wanted.types]
    if order.wanted.id is not None and not order.wanted.everything:
        found = [one for one in found if (one.type, one.id) == (order.wanted.types[0], reduce.shown_id(order.wanted.types[0], order.wanted.id))]
    if order.wanted.elements:
        found = [one._replace(body=shaped(one.type, one.body, order.wanted.elements)) for one in found]
    items = tuple(Item(one.type, one.id, one.version, digest(one.body)) for one in found)
    patient, keep = reduce.shown_id("Patient", order.vault.fhir_id), None
    if extents is None or (made := prepared.contents_of(order, reduce, extents, found, items)) is None:
        problems = reduce.checker.problems([one.body for one in found], patient=patient, reachable=open_ways.known)
    else:
        problems, keep = prepared.sealed(keys, order, reduce, made, found, open_ways.known)
    if problems:
        log.error("checker: %s", ", ".join(sorted({f"{problem.code} at {problem.path}" for problem in problems}))[:500])
        return Unsafe("release.check-failed")
    return Page(
        resources=tuple((one.type, one.id, one.body) for one in found),
        labels=tuple(one.labels for one in found),
        items=items,
        held_back=reduce.held_back,
        following=following,
        total=None if total is None else total if following is not None else len(found),
        keep=keep,
    )


async def _shared(cursor: Cursor, keys: Keys, order: Order, reduce: Reducer, found: list[Reduced]) -> list[Reduced]:
    """Staff, organisations and the like that what leaves visibly refers to, of the types in the plan."""
    types = [name for name in reduce.order.plan.types if name in records.SHARED_TYPES and (not order.wanted.types or name in order.wanted.types)]
    if not types or not found:
        return []
    sources, whose = [one.place for one in found], order.vault.patient_key
    linked = await records.read_linked(cursor, keys, patient_key=whose, types=types, sources=sources, deny=sorted(reduce.denied))
    if reduce.witness is not None:
        reduce.witness.saw(linked.asked, linked.rows)
    if not linked.rows or linked.vault is None:
        return []
    visible = mentioned([one.body for one in found])
    return [one for one in reduce.each(linked.vault, linked.rows) if f"{one.type}/{one.id}".encode() in visible]
