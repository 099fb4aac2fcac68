"""What is asked of one release, and steps 5: what of its rows may leave, reduced. As values; ``collect`` says in what order."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import orjson

from broker.consent import service as consent
from broker.consent.residual import ResourceFacts, ResourceGate
from broker.crypto import Keys
from broker.fhir.checker import Checker, checker
from broker.fhir.minimise import Item, Minimiser, Withheld, compiled
from broker.fhir.plan import CONFIDENTIALITY, ReleasePlan, TypePlan
from broker.records import service as records
from broker.release.answers import Item as Listing
from broker.release.answers import Listed
from broker.release.bundle import security
from broker.release.filters import matcher
from broker.release.query import Wanted

log = logging.getLogger("broker.release")

#: Rows read at once; between two batches other calls of this process get their turn.
BATCH = 500
#: Sizes of a search page where the caller names none. ``$everything`` without ``_count`` is whole.
DEFAULT_COUNT = 100
#: What became of a row that was read: it leaves, it was withheld, or the plan's codes don't ask for it.
KEPT, HELD, UNASKED = 1, 2, 3


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
    under: Under | None = None  #: None: nothing that lies prepared is used, and nothing is prepared


class Under(NamedTuple):
    """What the bytes of a release depend on beside plan, consents and records."""

    grant: UUID
    revision: str  #: of the policies that gave the plan
    base_url: str


class Prepared(NamedTuple):
    """The entries of a whole searchset, joined by commas, and what the record says of them."""

    entries: bytes
    listed: Listed


class Kept(NamedTuple):
    """What the next release of the same may send, sealed, and where it belongs (``release.segments.Place``)."""

    patient_key: UUID
    grant: UUID
    basis: bytes
    epoch: int
    changes: int
    watched: tuple[UUID, ...]
    body: bytes


@dataclass(frozen=True)
class Page:
    """Checked resources, in order, and where the next page starts; None where this is the last."""

    resources: tuple[tuple[str, str, bytes], ...]  #: type, id, JSON
    labels: tuple[tuple[str, ...], ...]
    items: tuple[Listing, ...]
    held_back: int
    following: tuple[str, UUID] | None
    total: int | None = None  #: of all that may leave and fits, where it was counted
    prepared: Prepared | None = None  #: stands instead of ``resources`` and ``items``
    keep: Kept | None = None  #: what the next release may send, to be stored

    @property
    def count(self) -> int:
        """How many resources it holds."""
        return len(self.resources) if self.prepared is None else sum(number for _, number in self.prepared.listed.types)


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


class _Verdict(NamedTuple):
    """Whether a resource with these labels may leave, and its labels as codes and as they are written."""

    lets: bool
    labels: tuple[str, ...]
    security: bytes


class Ledger:
    """What became of each of the patient's rows that a whole release has read, in their order (``segments.Index``)."""

    def __init__(self) -> None:
        self.types: list[tuple[str, int]] = []
        self.tokens = bytearray()
        self.states = bytearray()

    def add(self, kind: str, places: Sequence[UUID], states: bytes | bytearray) -> None:
        """These rows of one type came next."""
        before = self.types.pop()[1] if self.types and self.types[-1][0] == kind else 0
        self.types.append((kind, before + len(places)))
        self.tokens += b"".join([place.bytes for place in places])
        self.states += states


class Witness:
    """What a release looked for among the shared resources, and what it found: as long as that is the same, it would find the same again."""

    def __init__(self) -> None:
        self.asked: set[UUID] = set()
        self.rows: dict[tuple[str, UUID], records.Row] = {}
        self.torn = False  #: whether something changed while it was looked at

    def saw(self, asked: Iterable[UUID], rows: Iterable[records.Row]) -> None:
        """These blinded ids were asked for, and these rows came."""
        now, tokens_now = {row.place: row for row in rows}, set(asked)
        came_late = any(place not in self.rows and place[1] in self.asked for place in now)
        went = any(place not in now and place[1] in tokens_now for place in self.rows)
        changed = any(self.rows.get(place, row) != row for place, row in now.items())
        self.torn = self.torn or came_late or went or changed
        self.rows.update(now)
        self.asked |= tokens_now


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What only the plan decides."""

    minimiser: Minimiser
    checker: Checker
    free_text: bool
    windows: dict[str, records.Window]


class _Same:
    """A plan, told apart by being that very object: the plan of a remembered decision is asked again and again."""

    __slots__ = ("plan",)

    def __init__(self, plan: ReleasePlan) -> None:
        self.plan = plan

    def __hash__(self) -> int:
        return id(self.plan)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.plan is self.plan


@lru_cache(maxsize=256)
def _fixed(same: _Same) -> _Fixed:
    plan = same.plan
    return _Fixed(
        compiled(plan),
        checker(plan),
        any(part in records.FREE_TEXT for kept in plan.types.values() for path in kept.elements for part in path.split(".")),
        {name: _window(one) for name, one in plan.types.items()},
    )


@lru_cache(maxsize=1024)
def _denied(same: _Same, by_consent: frozenset[str]) -> frozenset[str]:
    plan = same.plan
    above = CONFIDENTIALITY[CONFIDENTIALITY.index(plan.ceiling) + 1 :]
    return frozenset(records.denied({*plan.deny_labels, *above, *by_consent}, free_text=_fixed(same).free_text))


def denied(order: Order) -> frozenset[str]:
    """Every label with which a resource stays behind, by plan or by consent."""
    return _denied(_Same(order.plan), order.gate.denied_labels)


class Reducer:
    """Reduces the rows of one release; holds the compiled plan and counts what it withholds."""

    def __init__(self, keys: Keys, order: Order) -> None:
        wanted, plan = order.wanted, order.plan
        self.order = order
        fixed = _fixed(_Same(plan))
        self.minimiser, self.checker, self.free_text = fixed.minimiser, fixed.checker, fixed.free_text
        self.matches = matcher(wanted.filters, wanted.within)
        self.held_back = 0
        self._verdicts: dict[tuple[str, bytes], _Verdict] = {}
        # A resource of no patient is reached through the patient's, so that those are looked at first.
        self.through_others = names_shared(wanted)
        several = bool(wanted.types) and not self.through_others
        self.windows = {name: window for name, window in fixed.windows.items() if not several or name in wanted.types}
        self.denied = denied(order)
        self.deny_tokens = tokens(keys, order.vault.patient_key, self.denied)
        recipient, blinding = order.recipient, keys.blinding
        self.originals: dict[tuple[str, str], str] = {}

        def replaced(kind: str, name: str) -> str:
            shown = pseudonym(blinding, recipient, kind, name or order.vault.fhir_id)
            self.originals[kind, shown] = name
            return shown

        self.pseudonym: Callable[[str, str], str] | None = replaced if self.minimiser.pseudonymous else None
        #: Whether the call is for everything of the patient, so that what it finds is all that may be fetched.
        self.whole = wanted.everything and not wanted.types and self.matches is None and wanted.count is None and order.after is None
        self.witness = None if order.under is None else Witness()
        self.ledger = Ledger()

    def shown_id(self, resource_type: str, resource_id: str) -> str:
        """The id under which the recipient knows a resource."""
        return self.pseudonym(resource_type, resource_id) if self.pseudonym else resource_id

    def original_id(self, resource_type: str, shown: str) -> str:
        """The id of a resource that what was reduced names so."""
        return self.originals.get((resource_type, shown), shown)

    def window(self, resource_type: str) -> records.Window:
        """The dates that the plan lets leave of a type, asked for or not."""
        return _fixed(_Same(self.order.plan)).windows[resource_type]

    @property
    def count(self) -> int | None:
        """How many resources a page holds at most; None where there are no pages."""
        wanted = self.order.wanted
        return None if self.through_others else wanted.count if wanted.everything else wanted.count or DEFAULT_COUNT

    @property
    def counting(self) -> bool:
        """Whether all that fit are counted."""
        return self.order.wanted.total and self.order.after is None

    def batch(self, count: int | None) -> int:
        """How many rows to read at once."""
        return BATCH if count is None or self.matches is not None or not self.order.gate.trivial else min(BATCH, count + 1)

    def consented(self, opened: records.Opened) -> bool:
        """Whether the patient's consents let this resource go."""
        gate = self.order.gate
        # A denial with conditions is not among the labels denied in SQL: where notes leave, what only they say is asked about here.
        labels = (*opened.labels, *opened.in_text) if self.free_text else opened.labels
        facts = consent.facts_of(orjson.loads(opened.body), labels) if gate.needs else ResourceFacts(opened.type, opened.id, labels)
        return gate.allows(facts, consent_required=self.order.consent_required)

    def each(self, vault: records.Vault, rows: Sequence[records.Row], ledger: Ledger | None = None) -> list[Reduced]:
        """The rows that may leave, reduced, in their order. Rows of one type are reduced together. ``ledger`` is told what became of each."""
        found: list[Reduced] = []
        opened = records.unseal_rows(vault, rows)
        for kind, group in groupby(range(len(rows)), key=[row.type for row in rows].__getitem__):
            places = list(group)
            states = bytearray(b"%c" % HELD) * len(places)
            let: list[tuple[int, records.Row, str, _Verdict]] = []
            items: list[Item] = []
            for at, place in enumerate(places):
                row, (own, labels, body) = rows[place], opened[place]
                verdict = self._verdict(kind, own, labels, row, body)
                if verdict.lets:
                    let.append((at, row, own, verdict))
                    items.append((body, verdict.security, row.version, _instant(row.last_updated)))
            for (at, row, own, verdict), reduced in zip(let, self.minimiser.reduce_many(kind, items, pseudonym=self.pseudonym), strict=True):
                if isinstance(reduced, Withheld):
                    log.warning("withheld: %s", reduced.reason_code)
                elif reduced is None:
                    states[at] = UNASKED
                else:
                    states[at] = KEPT
                    found.append(Reduced(kind, self.shown_id(kind, own), row.version, verdict.labels, reduced, (kind, row.id_token)))
            self.held_back += states.count(HELD)
            if ledger is not None:
                ledger.add(kind, [rows[place].id_token for place in places], states)
        return found

    def _verdict(self, kind: str, own: str, labels: bytes, row: records.Row, body: bytes) -> _Verdict:
        """What labels and consents say of a resource. Where they look at nothing but type and labels, the same of all that are equal in these."""
        known = self._verdicts.get((kind, labels))
        if known is None:
            codes, in_text = records.codes_of(labels)
            opened = records.Opened(own, kind, row.version, row.last_updated, codes, body, in_text)
            known = _Verdict(self.lets(opened), codes, security(codes))
            if self.order.gate.by_kind:
                self._verdicts[kind, labels] = known
        return known

    def fits(self, one: Reduced) -> bool:
        """Whether a resource as it would leave is what the call asks for."""
        looked_through = self.through_others and not self.order.wanted.everything and one.type not in self.order.wanted.types
        return self.matches is None or looked_through or self.matches(orjson.loads(one.body))

    def lets(self, opened: records.Opened) -> bool:
        """Whether labels and consents let the resource go."""
        # SQL has left these out already, by columns that whoever writes to the database could change; what is sealed counts.
        kept_out = not (self.denied.isdisjoint(opened.labels) and self.denied.isdisjoint(opened.in_text))
        return bool(opened.labels) and not kept_out and self.consented(opened)


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


def tokens(keys: Keys, patient_key: UUID, labels: frozenset[str]) -> tuple[int, ...]:
    """The numbers of these labels of one patient, remembered."""
    return _cached_tokens(keys.blinding, keys, patient_key, labels)


@lru_cache(maxsize=65_536)
def pseudonym(key: bytes, recipient: str, kind: str, name: str) -> str:
    """The id of a resource as one recipient sees it: keyed, so that two recipients can't join theirs and none can go back."""
    return hmac.digest(key, f"pseudonym\x1f{recipient}\x1f{kind}\x1f{name}".encode(), "sha256")[:16].hex()
