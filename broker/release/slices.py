"""A page or a search out of a whole release that lies prepared: the same resources in the same order as if each were read and reduced anew.

What ``collect.page`` does with rows of the database is done here with the list of what became of them. It rests on this: under one grant a
resource looks the same whatever a call asks for, since references are cut by what the grant lets leave and not by what is asked
(``release.reaching``). Single resources, ``_elements``, and shared resources that are asked for by type are made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from uuid import UUID

import orjson
import zstandard

from broker.fhir.references import mentioned
from broker.records import service as records
from broker.release import outcome
from broker.release.answers import Item, Listed
from broker.release.reducing import HELD, KEPT, Order, Page, Prepared, Reducer
from broker.release.segments import Contents, Entries, Index, Unreadable

_TOKEN = 16


def serves(order: Order, reduce: Reducer) -> bool:
    """Whether calls of this kind are answered from here."""
    wanted = order.wanted
    return not reduce.through_others and not wanted.elements and (wanted.everything or (wanted.id is None and bool(wanted.types)))


def page(contents: Contents, entries: Entries, order: Order, reduce: Reducer) -> Page | None:
    """What ``collect.page`` would give; None where that can't be told from here. Raises Unreadable."""
    index, lines = entries.index, _lines(contents.manifest)
    if not len(index.sizes) == len(index.labels) == len(lines):
        raise Unreadable
    shared = order.wanted.everything and not order.wanted.types and not records.SHARED_TYPES.isdisjoint(order.plan.types)
    if shared and contents.held_back != index.states.count(HELD):  # By which resources those are reached that were withheld is not written down.
        return None
    begins = 0 if order.after is None else _following(index, order.after)
    if begins is None:
        return None
    count, counting = reduce.count, reduce.counting
    rows, batch, more = _rows(index, reduce, begins), reduce.batch(count), True
    found: list[tuple[int, int]] = []
    held = 0
    while more and (count is None or counting or len(found) <= count):
        some = list(islice(rows, batch))
        held += sum([state == HELD for _, _, state in some])
        found += [(row, number) for row, number, state in some if state == KEPT and _fits(entries, number, reduce)]
        more = len(some) == batch
    total, following = len(found) if counting else None, None
    if count is not None and len(found) > count:
        found = found[:count]
        following = _place(index, found[-1][0])
    numbers = [number for _, number in found]
    if shared and numbers:
        visible = mentioned([entries[number] for number in numbers])
        others = range(index.states.count(KEPT), len(lines))
        numbers += [number for number in others if _named(lines[number]) in visible and _fits(entries, number, reduce)]
    items = [Item(kind, name, int(version), digest) for kind, name, version, digest in [lines[number].split(" ") for number in numbers]]
    listed = Listed(outcome.packed_manifest(items), tuple(Counter([item.type for item in items]).items()))
    labels = tuple({contents.labels[index.labels[number]] for number in numbers})
    ready = Prepared(b",".join([entries[number] for number in numbers]), listed)
    total = None if total is None else total if following is not None else len(numbers)
    return Page((), labels, (), held, following, total=total, prepared=ready)


def _lines(manifest: bytes) -> list[str]:
    try:
        return zstandard.ZstdDecompressor().decompress(manifest).decode().splitlines()
    except zstandard.ZstdError as error:
        raise Unreadable from error


def _named(line: str) -> bytes:
    """The resource of a line of the manifest, as a reference to it is written."""
    kind, name, _ = line.split(" ", maxsplit=2)
    return f"{kind}/{name}".encode()


def _fits(entries: Entries, number: int, reduce: Reducer) -> bool:
    """Whether a resource as it leaves is what the call asks for."""
    return reduce.matches is None or reduce.matches(orjson.loads(entries[number])["resource"])


def _rows(index: Index, reduce: Reducer, begins: int) -> Iterator[tuple[int, int, int]]:
    """The rows of the types that the call reads, from one on: its number, the number of its entry if it has one, what became of it."""
    first = number = 0
    for kind, many in index.types:
        last = first + many
        if kind in reduce.windows and last > begins:
            start = max(first, begins)
            at = number + index.states.count(KEPT, first, start)
            for row in range(start, last):
                state = index.states[row]
                yield row, at, state
                at += state == KEPT
        number += index.states.count(KEPT, first, last)
        first = last


def _place(index: Index, row: int) -> tuple[str, UUID]:
    last = 0
    for kind, many in index.types:
        last += many
        if row < last:
            return kind, UUID(bytes=index.tokens[row * _TOKEN : (row + 1) * _TOKEN])
    raise Unreadable


def _following(index: Index, place: tuple[str, UUID]) -> int | None:
    """The number of the row after this one; None where it is not there."""
    first = 0
    for kind, many in index.types:
        last = first + many
        if kind == place[0]:
            at = index.tokens.find(place[1].bytes, first * _TOKEN, last * _TOKEN)
            while at >= 0 and at % _TOKEN:
                at = index.tokens.find(place[1].bytes, at + 1, last * _TOKEN)
            return None if at < 0 else at // _TOKEN + 1
        first = last
    return None
