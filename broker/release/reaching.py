"""Where references of what leaves may lead: only to what the same grant lets the same recipient fetch (``fhir.references``).

A target counts as within reach if it would leave itself: its type is in the plan, its labels, dates, codes and the patient's consents let it go, and
it can be reduced. So it is read, opened and reduced like everything that leaves, unless it is among that already. What the call asked
for makes no difference: the same resource looks the same in every answer under one grant and token.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import psycopg

from broker.crypto import Keys
from broker.fhir.references import Target, mentions, target_of, tells_nothing
from broker.records import service as records

if TYPE_CHECKING:
    from broker.release.reducing import Reduced, Reducer


class Reaching:
    """What is known of one release so far; asks the database once for each batch, and for each target once."""

    def __init__(self, cursor: psycopg.AsyncCursor[Any], keys: Keys, reduce: Reducer) -> None:
        self._cursor, self._keys, self._reduce = cursor, keys, reduce
        order = reduce.order
        self._own = Target("Patient", reduce.shown_id("Patient", order.vault.fhir_id))
        self._asked: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._complete = False
        self.known: set[str] = {"/".join(self._own)}  #: ``Type/id`` within reach, in the recipient's ids

    def all_of(self, found: Sequence[Reduced]) -> None:
        """These are all of the patient's that the recipient may fetch, so that nothing has to be looked for."""
        self.known.update([f"{one.type}/{one.id}" for one in found])
        self._complete = True

    async def cut(self, found: list[Reduced]) -> list[Reduced]:
        """The same resources without references that lead out of reach."""
        said = [mentions(one.body) for one in found]
        fresh = {*chain.from_iterable(said)} - self._asked
        if fresh:
            if not self._complete:
                self.known.update([f"{one.type}/{one.id}" for one in found])
            await self._look(fresh)
        gone = frozenset(self._gone)
        if not gone:
            return found
        without = self._reduce.minimiser.without
        return [
            one if gone.isdisjoint(names) else one._replace(body=without(one.type, one.body, gone)) for one, names in zip(found, said, strict=True)
        ]

    async def _look(self, fresh: set[bytes]) -> None:
        targets = {reference: target_of(reference) for reference in fresh if not tells_nothing(reference)}
        unknown = {target for target in targets.values() if target is not None and "/".join(target) not in self.known}
        if self._complete:  # Devices and groups may be nobody's, and then they are not among what is the patient's.
            unknown = {target for target in unknown if target.type in records.SHARED_TYPES}
        if unknown:
            self.known.update(await self._reachable(unknown))
        self._gone.update(reference for reference, target in targets.items() if target is None or "/".join(target) not in self.known)
        self._asked |= fresh

    async def _reachable(self, targets: set[Target]) -> set[str]:
        reduce, order = self._reduce, self._reduce.order
        named = {(kind, reduce.original_id(kind, shown)) for kind, shown in targets if kind in order.plan.types}
        if not named:
            return set()
        tokens = [records.id_token(self._keys, *one) for one in named]
        windows = {kind: reduce.window(kind) for kind, _ in named}
        rows = await records.read_named(
            self._cursor, patient_key=order.vault.patient_key, types=windows, deny_tokens=reduce.deny_tokens, named=tokens
        )
        held_back = reduce.held_back  # Of what was asked for, not of this.
        found = {f"{one.type}/{one.id}" for one in reduce.each(order.vault, rows)}
        shared = {kind: window for kind, window in windows.items() if kind in records.SHARED_TYPES}
        if shared:
            deny = records.label_tokens(self._keys, records.SHARED, reduce.denied)
            rows = await records.read_named(self._cursor, patient_key=records.SHARED, types=shared, deny_tokens=deny, named=tokens)
            if reduce.witness is not None:
                reduce.witness.saw(tokens, rows)
            vault = await records.vault(self._cursor, self._keys, records.SHARED) if rows else None
            if vault is not None:
                found.update(f"{one.type}/{one.id}" for one in reduce.each(vault, rows))
        reduce.held_back = held_back
        return found
