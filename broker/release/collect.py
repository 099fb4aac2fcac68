"""Steps 4 to 6: fetch what the plan names, reduce each resource, have an independent checker look at the result.

Denied labels and dates are decided in SQL, so that an excluded body is never decrypted. A resource that can't be reduced
safely is withheld and counted; a checker that finds anything stops the release whole.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg

from broker.consent import service as consent
from broker.consent.residual import ResourceFacts, ResourceGate
from broker.crypto import Keys, digest
from broker.errors import BrokerError
from broker.fhir.checker import checker
from broker.fhir.minimise import Withheld, compiled
from broker.fhir.plan import CONFIDENTIALITY, ReleasePlan, TypePlan
from broker.records import service as records
from broker.release import reaching
from broker.release.answers import Item
from broker.release.bundle import security
from broker.release.filters import matcher
from broker.release.query import Wanted
from broker.release.shaping import shaped

log = logging.getLogger("broker.release")

Cursor = psycopg.AsyncCursor[Any]

#: Rows read at once; between two batches other calls of this process get their turn.
BATCH = 500
#: Sizes of a search page where the caller names none. ``$everything`` without ``_count`` is whole.
DEFAULT_COUNT = 100

_REFERENCE = re.compile(rb'"reference":"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})"')


@dataclass(frozen=True)
class Order:
    """What to collect: the plan, the opened vault, what consent lets through, for whom, which page."""

    plan: ReleasePlan
    vault: records.Vault
    gate: ResourceGate
    consent_required: bool  #: whether the release stands on consent, so that silence withholds
    recipient: str
    wanted: Wanted
    after: tuple[str, UUID] | None


@dataclass(frozen=True)
class Page:
    """Checked resources, in order, and where the next page starts; None where this is the last."""

    resources: tuple[tuple[str, str, bytes], ...]  #: type, id, JSON
    labels: tuple[tuple[str, ...], ...]
    items: tuple[Item, ...]
    held_back: int
    following: tuple[str, UUID] | None
    total: int | None = None  #: of all that may leave and fits, where it was counted


@dataclass(frozen=True)
class Unsafe:
    """Nothing leaves: the checker found something, a row does not open, or something of ours broke."""

    reason: str


class Reduced(NamedTuple):
    """A resource that may leave; a tuple, since a frozen dataclass costs more than reducing a small resource."""

    type: str
    id: str
    version: int
    labels: tuple[str, ...]
    body: bytes
    place: tuple[str, UUID]


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
    open_ways = reaching.Reaching(cursor, keys, reduce)
    count = None if reduce.through_others else order.wanted.count if order.wanted.everything else order.wanted.count or DEFAULT_COUNT
    counting = order.wanted.total and order.after is None
    found: list[Reduced] = []
    after, more = order.after, True
    one = None if reduce.through_others or order.wanted.everything or order.wanted.id is None else (order.wanted.types[0], order.wanted.id)
    whose, types, deny = order.vault.patient_key, reduce.windows, reduce.deny_tokens
    while more and (count is None or counting or len(found) <= count):
        if one is not None:
            rows = await records.read_named(cursor, patient_key=whose, types=types, deny_tokens=deny, named=[records.id_token(keys, *one)])
        else:
            rows = await records.read(cursor, patient_key=whose, types=types, deny_tokens=deny, after=after, limit=reduce.batch(count))
        read = reduce.each(order.vault, rows)
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
    patient = reduce.shown_id("Patient", order.vault.fhir_id)
    problems = checker(order.plan).problems([one.body for one in found], patient=patient, reachable=open_ways.known)
    if problems:
        log.error("checker: %s", ", ".join(sorted({f"{problem.code} at {problem.path}" for problem in problems}))[:500])
        return Unsafe("release.check-failed")
    return Page(
        resources=tuple((one.type, one.id, one.body) for one in found),
        labels=tuple(one.labels for one in found),
        items=tuple(Item(one.type, one.id, one.version, digest(one.body)) for one in found),
        held_back=reduce.held_back,
        following=following,
        total=None if total is None else total if following is not None else len(found),
    )


class Reducer:
    """Reduces the rows of one release; holds the compiled plan and counts what it withholds."""

    def __init__(self, keys: Keys, order: Order) -> None:
        wanted, plan = order.wanted, order.plan
        self.order = order
        self.minimiser = compiled(plan)
        self.matches = matcher(wanted.filters, wanted.within)
        self.held_back = 0
        self.verdicts: dict[tuple[str, tuple[str, ...]], bool] = {}
        # A resource of no patient is reached through the patient's, so that those are looked at first.
        self.through_others = names_shared(wanted)
        named = plan.types if not wanted.types or self.through_others else {name: one for name, one in plan.types.items() if name in wanted.types}
        self.windows = {name: _window(one) for name, one in named.items()}
        above = CONFIDENTIALITY[CONFIDENTIALITY.index(plan.ceiling) + 1 :]
        self.free_text = any(part in records.FREE_TEXT for kept in plan.types.values() for path in kept.elements for part in path.split("."))
        self.denied = frozenset(records.denied({*plan.deny_labels, *above, *order.gate.denied_labels}, free_text=self.free_text))
        self.deny_tokens = _tokens(keys, order.vault.patient_key, self.denied)
        recipient, blinding = order.recipient, keys.blinding
        self.originals: dict[tuple[str, str], str] = {}

        def replaced(kind: str, name: str) -> str:
            shown = pseudonym(blinding, recipient, kind, name or order.vault.fhir_id)
            self.originals[kind, shown] = name
            return shown

        self.pseudonym: Callable[[str, str], str] | None = replaced if self.minimiser.pseudonymous else None
        #: Whether the call is for everything of the patient, so that what it finds is all that may be fetched.
        self.whole = wanted.everything and not wanted.types and self.matches is None and wanted.count is None and order.after is None

    def shown_id(self, resource_type: str, resource_id: str) -> str:
        """The id under which the recipient knows a resource."""
        return self.pseudonym(resource_type, resource_id) if self.pseudonym else resource_id

    def original_id(self, resource_type: str, shown: str) -> str:
        """The id of a resource that what was reduced names so."""
        return self.originals.get((resource_type, shown), shown)

    def window(self, resource_type: str) -> records.Window:
        """The dates that the plan lets leave of a type, asked for or not."""
        return _window(self.order.plan.types[resource_type])

    def batch(self, count: int | None) -> int:
        """How many rows to read at once."""
        return BATCH if count is None or self.matches is not None or not self.order.gate.trivial else min(BATCH, count + 1)

    def consented(self, opened: records.Opened) -> bool:
        """Whether the patient's consents let this resource go. Where they look at nothing but type and labels, once for each pair."""
        gate = self.order.gate
        # A denial with conditions is not among the labels denied in SQL: where notes leave, what only they say is asked about here.
        labels = (*opened.labels, *opened.in_text) if self.free_text else opened.labels
        if gate.by_kind:
            kind = (opened.type, labels)
            if kind not in self.verdicts:
                facts = ResourceFacts(opened.type, opened.id, labels)
                self.verdicts[kind] = gate.allows(facts, consent_required=self.order.consent_required)
            return self.verdicts[kind]
        facts = consent.facts_of(orjson.loads(opened.body), labels) if gate.needs else ResourceFacts(opened.type, opened.id, labels)
        return gate.allows(facts, consent_required=self.order.consent_required)

    def each(self, vault: records.Vault, rows: Sequence[records.Row]) -> list[Reduced]:
        """The rows that may leave, reduced, in their order. Rows of one type are reduced together."""
        found: list[Reduced] = []
        for kind, group in groupby(zip(records.open_rows(vault, rows), rows, strict=True), key=lambda pair: pair[0].type):
            let = [(opened, row) for opened, row in group if self.lets(opened)]
            items = [(opened.body, security(opened.labels), opened.version, _instant(opened.last_updated)) for opened, _ in let]
            for (opened, row), body in zip(let, self.minimiser.reduce_many(kind, items, pseudonym=self.pseudonym), strict=True):
                if isinstance(body, Withheld):
                    log.warning("withheld: %s", body.reason_code)
                    self.held_back += 1
                elif body is not None:
                    found.append(Reduced(kind, self.shown_id(kind, opened.id), opened.version, opened.labels, body, row.place))
        return found

    def fits(self, one: Reduced) -> bool:
        """Whether a resource as it would leave is what the call asks for."""
        looked_through = self.through_others and not self.order.wanted.everything and one.type not in self.order.wanted.types
        return self.matches is None or looked_through or self.matches(orjson.loads(one.body))

    def lets(self, opened: records.Opened) -> bool:
        """Whether labels and consents let the resource go; counts it where they don't."""
        # SQL has left these out already, by columns that whoever writes to the database could change; what is sealed counts.
        kept_out = not (self.denied.isdisjoint(opened.labels) and self.denied.isdisjoint(opened.in_text))
        if opened.labels and not kept_out and self.consented(opened):
            return True
        self.held_back += 1
        return False


async def _shared(cursor: Cursor, keys: Keys, order: Order, reduce: Reducer, found: list[Reduced]) -> list[Reduced]:
    """Staff, organisations and the like that what leaves visibly refers to, of the types in the plan."""
    types = [name for name in reduce.order.plan.types if name in records.SHARED_TYPES and (not order.wanted.types or name in order.wanted.types)]
    if not types or not found:
        return []
    visible = frozenset(reference.decode() for one in found for reference in _REFERENCE.findall(one.body))
    rows = await records.read_linked(
        cursor, keys, patient_key=order.vault.patient_key, types=types, sources=[one.place for one in found], deny=sorted(reduce.denied)
    )
    if not rows:
        return []
    vault = await records.vault(cursor, keys, records.SHARED)
    return [] if vault is None else [one for one in reduce.each(vault, rows) if f"{one.type}/{one.id}" in visible]


def names_shared(wanted: Wanted) -> bool:
    """Whether a type is asked for whose resources may belong to no patient."""
    return not records.SHARED_TYPES.isdisjoint(wanted.types)


def _window(plan: TypePlan) -> records.Window:
    return records.Window(_moment(plan.period_from), _moment(plan.period_until))


def _moment(epoch: int | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


@lru_cache(maxsize=4096)
def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=1024)
def _cached_tokens(blinding: bytes, keys: Keys, patient_key: UUID, labels: frozenset[str]) -> tuple[int, ...]:  # noqa: ARG001
    return tuple(records.label_tokens(keys, patient_key, labels))


def _tokens(keys: Keys, patient_key: UUID, labels: frozenset[str]) -> tuple[int, ...]:
    return _cached_tokens(keys.blinding, keys, patient_key, labels)


@lru_cache(maxsize=65_536)
def pseudonym(key: bytes, recipient: str, kind: str, name: str) -> str:
    """The id of a resource as one recipient sees it: keyed, so that two recipients can't join theirs and none can go back."""
    return hmac.digest(key, f"pseudonym\x1f{recipient}\x1f{kind}\x1f{name}".encode(), "sha256")[:16].hex()
