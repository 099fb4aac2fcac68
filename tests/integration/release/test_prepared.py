"""What lies prepared gives byte for byte what would be made anew; nothing out of date, changed or swapped leaves (RS-5.2.3, RS-5.3.3, C16)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import clock, demo_data
from broker.consent.compiled import compile_statement
from broker.consent.reading import read
from broker.consent.residual import Use, gate_for
from broker.crypto import Keys, load_keys, seal
from broker.database import Database
from broker.fhir.minimise import Minimiser
from broker.fhir.plan import ReleasePlan, Transform, TypePlan
from broker.records import service as records
from broker.release import collect, outcome, paging, prepared, segments
from broker.release.answers import Form
from broker.release.bundle import high_water
from broker.release.query import Wanted
from broker.release.ready import made_ready
from broker.release.reducing import Reducer, Under
from broker.settings import Settings
from tests.factories.consent import classes, consent, labels, provision
from tests.factories.records import bundle, observation, patient, practitioner, taken_in

PATIENT = "p1001"
BASE = "https://broker.example.org"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
USE = Use(frozenset({"Organization/shengli"}), "TREAT", int(NOW.timestamp()))
GRANT, OTHER_GRANT = UUID(int=41), UUID(int=42)


@dataclass
class World:
    """A database with the demo's patients, and releases of them."""

    database: Database
    keys: Keys

    def vault(self, fhir_id: str = PATIENT) -> records.Vault:
        with self.database.transaction() as session:
            return records.open_vault(session, self.keys, self.keys.patient_key(fhir_id))

    def order(self, plan: ReleasePlan, *denials: dict[str, Any], fhir_id: str = PATIENT, **more: Any) -> collect.Order:
        given = consent(provision("permit", nested=list(denials)))
        gate = gate_for([compile_statement(read(given).statement, "c", 1)], USE)
        wanted = Wanted(patient=fhir_id, everything=True, path="x")
        under = Under(GRANT, "r1", BASE)
        order = collect.Order(plan, self.vault(fhir_id), gate, consent_required=True, recipient="shengli", wanted=wanted, after=None, under=under)
        return replace(order, **more)

    def page(self, order: collect.Order, *, keep: bool = False) -> collect.Page | collect.Unsafe:
        async def found() -> collect.Page | collect.Unsafe:
            async with await psycopg.AsyncConnection.connect(self.database.conninfo, autocommit=True) as connection:
                page = await collect.safely(connection.cursor(binary=True), self.keys, order)
            if keep and isinstance(page, collect.Page):
                stored = Database(self.database.url, "broker_web", pool=1)
                await prepared.keep(stored, page.keep)
                await stored.close()
            return page

        return asyncio.run(found())

    def shown(self, order: collect.Order, page: collect.Page | collect.Unsafe) -> Any:
        """All that anybody sees of it, and what the record says."""
        if isinstance(page, collect.Unsafe):
            return page
        bound = paging.Bound("client", GRANT, "query", 0, "plan")
        page, settings = replace(page, following=None), Settings(base_url=BASE)  # A link is sealed anew each time.
        ready = made_ready(settings, self.keys, Form.SEARCHSET, order.wanted, page, release=UUID(int=2), bound=bound, obligations=[])
        packed = outcome.packed_manifest(ready.items) if ready.listed is None else ready.listed.manifest
        return ready.body, zstandard.ZstdDecompressor().decompress(packed), ready.count, ready.types, ready.held_back

    def anew(self, order: collect.Order) -> Any:
        """What is shown where nothing is prepared."""
        order = replace(order, under=None)
        return self.shown(order, self.page(order))

    def used(self, order: collect.Order) -> bool:
        """Whether what lies prepared is used; whether or not, the bytes are those that would be made anew."""
        page = self.page(order)
        assert self.shown(order, page) == self.anew(order)
        assert isinstance(page, collect.Page)
        return page.prepared is not None


@pytest.fixture(scope="module")
def world(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = Database(module_database_url, "broker_web")
    keys = load_keys(Settings(var=tmp_path_factory.mktemp("var")))
    for one in demo_data.bundles(NOW.date()):  # The first are staff, places and devices.
        if b'"Patient"' in one and not any(b'"%b"' % name in one for name in (b"p1001", b"p1003", b"p1009")):
            continue
        records.ingest_bundle(database, keys, one, source="test")
    yield World(database, keys)
    database.dispose()


@pytest.fixture
def owner(module_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def plain(owner: psycopg.Connection) -> None:
    """Nothing lies prepared."""
    owner.execute("DELETE FROM prepared_release")


ELEMENTS = {
    "Patient": ("id", "name", "gender", "birthDate", "generalPractitioner", "managingOrganization"),
    "Condition": ("id", "subject", "code", "onset", "recordedDate", "clinicalStatus", "recorder", "encounter"),
    "Observation": ("id", "subject", "status", "code", "value", "effective", "performer", "category", "encounter", "device", "hasMember"),
    "Encounter": ("id", "subject", "status", "class", "period", "serviceProvider", "participant", "diagnosis"),
    "MedicationRequest": ("id", "subject", "status", "intent", "authoredOn", "medication", "requester", "encounter", "reasonReference"),
    "Immunization": ("id", "patient", "status", "vaccineCode", "occurrence", "encounter"),
    "DiagnosticReport": ("id", "subject", "status", "code", "effective", "result", "encounter"),
    "Organization": ("id", "name", "active"),
    "Practitioner": ("id", "name", "active"),
    "Device": ("id", "status", "patient"),
}
TYPES = {name: TypePlan(kept) for name, kept in ELEMENTS.items()}
ALL = ReleasePlan(TYPES, frozenset({"PSY"}), "R")


def _second(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def windowed(plan: ReleasePlan, since: int | None, until: int | None = None, *names: str) -> ReleasePlan:
    """The same plan with a window for these types (all with dates, where none is named)."""
    dated = names or ("Condition", "Observation", "Encounter", "MedicationRequest", "Immunization", "DiagnosticReport")
    return replace(plan, types=plan.types | {name: replace(plan.types[name], period_from=since, period_until=until) for name in dated})


@st.composite
def cases(draw: Any) -> tuple[ReleasePlan, list[ReleasePlan], list[dict[str, Any]]]:
    """A plan, the same with windows that have moved since, and what a consent denies."""
    now, later, back = {}, {}, {}
    pseudonymous = draw(st.integers(0, 4)) == 0
    for name in draw(st.sets(st.sampled_from(sorted(ELEMENTS)), min_size=2)):
        start = draw(st.sampled_from([None, None, 2015, 2020, 2023]))
        end = draw(st.sampled_from([None, None, 2025, 2027]))
        kept = TypePlan(
            ELEMENTS[name], start and _second(start), end and _second(end),
            transforms=(Transform("id", "pseudonym", {}),) if pseudonymous else (),
        )  # fmt: skip
        now[name] = kept
        later[name] = replace(kept, period_from=start and _second(start) + draw(st.sampled_from([0, 1, 86_400, 40_000_000])))
        back[name] = replace(kept, period_from=start and _second(start) - draw(st.sampled_from([0, 86_400])))
    deny = frozenset(draw(st.sets(st.sampled_from(["PSY", "HIV", "ETH"]))))
    ceiling = draw(st.sampled_from(["N", "R", "V"]))
    denials = draw(st.lists(st.sampled_from([
        provision("deny", labels("PSY")), provision("deny", labels("R")), provision("deny", classes("Encounter")),
        provision("deny", labels("N"), classes("Immunization")),
        provision("deny", labels("PSY"), nested=[provision("permit", labels("PSY"), classes("Condition"))]),
    ]), max_size=2))  # fmt: skip
    return ReleasePlan(now, deny, ceiling), [ReleasePlan(each, deny, ceiling) for each in (later, back)], denials


@given(cases(), st.sampled_from([PATIENT, "p1003"]))
@settings(
    max_examples=int(os.environ.get("BROKER_PREPARED_EXAMPLES", "15")), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_what_lies_prepared_is_byte_for_byte_what_would_be_made_anew(world: World, case: Any, fhir_id: str):
    plan, others, denials = case
    order = world.order(plan, *denials, fhir_id=fhir_id)
    expected = world.anew(order)
    assert world.shown(order, world.page(order, keep=True)) == expected  # Made now.
    assert world.shown(order, world.page(order)) == expected  # Made before.
    for moved in others:
        later = world.order(moved, *denials, fhir_id=fhir_id)
        assert world.shown(later, world.page(later)) == world.anew(later)


# -- what it is for, and when it is used --


@pytest.fixture
def kept(world: World, plain: None) -> collect.Order:
    """An order for which the whole lies prepared."""
    order = world.order(ALL)
    page = world.page(order, keep=True)
    assert isinstance(page, collect.Page)
    assert len(page.resources) > 50
    return order


def test_the_second_release_is_what_the_first_prepared_and_nothing_is_reduced(world: World, kept: collect.Order, monkeypatch: pytest.MonkeyPatch):
    expected = world.anew(kept)

    def broken(*_arguments: Any, **_named: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(Minimiser, "reduce_many", broken)
    page = world.page(kept)
    assert world.shown(kept, page) == expected


def _with_type(plan: ReleasePlan, name: str, **changes: Any) -> ReleasePlan:
    return replace(plan, types={**plan.types, name: replace(plan.types[name], **changes)})


CHANGES: dict[str, Callable[[World], collect.Order]] = {
    "the grant": lambda world: world.order(ALL, under=Under(OTHER_GRANT, "r1", BASE)),
    "the recipient": lambda world: world.order(ALL, recipient="another"),
    "an element more": lambda world: world.order(_with_type(ALL, "Patient", elements=(*ELEMENTS["Patient"], "maritalStatus"))),
    "an element less": lambda world: world.order(_with_type(ALL, "Patient", elements=("id", "name"))),
    "a type less": lambda world: world.order(replace(ALL, types={name: kept for name, kept in TYPES.items() if name != "Encounter"})),
    "a code filter": lambda world: world.order(_with_type(ALL, "Observation", codes=("http://loinc.org|718-7",))),
    "a transform": lambda world: world.order(_with_type(ALL, "Patient", transforms=(Transform("birthDate", "year", {}),))),
    "a window": lambda world: world.order(windowed(ALL, _second(2025))),
    "a denied label": lambda world: world.order(replace(ALL, deny_labels=frozenset({"PSY", "HIV"}))),
    "a label less denied": lambda world: world.order(replace(ALL, deny_labels=frozenset())),
    "the ceiling": lambda world: world.order(replace(ALL, ceiling="N")),
    "a consent": lambda world: world.order(ALL, provision("deny", classes("Condition"))),
    "the policies": lambda world: world.order(ALL, under=Under(GRANT, "r2", BASE)),
    "whether consent is needed": lambda world: world.order(ALL, consent_required=False),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_the_bytes_rest_on_makes_them_anew(world: World, kept: collect.Order, change: Callable[[World], collect.Order]):
    assert not world.used(change(world))
    assert world.used(kept)


def test_another_address_makes_them_anew(world: World, kept: collect.Order):
    page = world.page(world.order(ALL, under=Under(GRANT, "r1", "https://other.example.org")))
    assert isinstance(page, collect.Page)
    assert page.prepared is None


def test_other_code_makes_them_anew(world: World, kept: collect.Order, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prepared, "software", lambda: "another build")
    assert not world.used(kept)


@pytest.mark.parametrize("days", [prepared.DAYS, 365])
def test_time_makes_them_anew(world: World, kept: collect.Order, monkeypatch: pytest.MonkeyPatch, days: int):
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(days=days))
    page = world.page(kept)
    assert isinstance(page, collect.Page)
    assert page.prepared is None


PARTS = [
    {"types": ("Observation",)}, {"types": ("Observation", "Encounter")}, {"count": 7}, {"filters": (("_since", "2020-01-01T00:00:00Z"),)},
    {"filters": (("start", "2022-01-01"),)}, {"within": (("Observation", ((("category", "laboratory"),),)),)},
    {"filters": (("start", "2024-01-01"),), "count": 9}, {"types": ("Condition", "MedicationRequest"), "count": 3, "total": True},
    {"count": 500, "total": True}, {"count": 40, "within": (("Practitioner", ((("_lastUpdated", "lt2000-01-01"),),)),)},
    {"everything": False, "types": ("Patient",)}, {"everything": False, "types": ("Observation",)},
    {"everything": False, "types": ("Observation",), "count": 5}, {"everything": False, "types": ("Observation",), "count": 5, "total": True},
    {"everything": False, "types": ("Observation",), "filters": (("category", "laboratory"),), "count": 4, "total": True},
    {"everything": False, "types": ("Observation",), "filters": (("date", "ge2025-01-01"),), "count": 2},
    {"everything": False, "types": ("Observation",), "filters": (("code", "no-such-code"),)}, {"everything": False, "types": ("Claim",)},
    {"everything": False, "types": ("Observation",), "within": (("Observation", ((("category", "vital-signs"),),)),), "count": 6},
]  # fmt: skip
ANEW = [
    {"everything": False, "types": ("Practitioner",)}, {"types": ("Observation", "Practitioner")}, {"everything": False, "types": ("Device",)},
    {"everything": False, "types": ("Observation",), "elements": ("code",)}, {"everything": False, "types": ("Patient",), "id": PATIENT},
]  # fmt: skip


def followed(world: World, order: collect.Order, *, used: bool) -> int:
    """All pages of a call, each as it would be made anew; how many. ``used``: whether they come of what lies prepared."""
    number = 0
    while True:
        page, expected = world.page(order), world.page(replace(order, under=None))
        assert isinstance(page, collect.Page)
        assert isinstance(expected, collect.Page)
        assert (page.prepared is not None) == used
        assert (page.following, page.total, high_water(page.labels)) == (expected.following, expected.total, high_water(expected.labels))
        assert world.shown(order, page) == world.shown(order, expected)
        number += 1
        if page.following is None:
            return number
        order = replace(order, after=page.following)


@pytest.mark.parametrize("query", PARTS, ids=str)
def test_a_part_is_taken_of_the_whole_page_for_page_byte_for_byte(world: World, kept: collect.Order, query: dict[str, Any]):
    assert followed(world, replace(kept, wanted=replace(kept.wanted, **query)), used=True) > (query.get("count", 500) < 100)


def test_what_the_plan_s_codes_do_not_ask_for_is_on_no_page_and_counts_where_it_is_read(world: World, plain: None):
    some = _with_type(ALL, "Observation", codes=("http://loinc.org|8480-6", "http://loinc.org|8867-4", "http://loinc.org|29463-7"))
    order = world.order(some, provision("deny", classes("Encounter")))
    page = world.page(order, keep=True)
    assert isinstance(page, collect.Page)
    assert page.held_back > 0
    assert sum(kind == "Observation" for kind, _, _ in page.resources) in range(1, 60)
    assert world.used(order)
    for query in ({"count": 6}, {"everything": False, "types": ("Observation",), "count": 2}, {"everything": False, "types": ("Encounter",)}):
        followed(world, replace(order, wanted=replace(order.wanted, **query)), used=True)


@pytest.mark.parametrize("query", ANEW, ids=str)
def test_what_the_whole_does_not_tell_is_made_anew(world: World, kept: collect.Order, query: dict[str, Any]):
    followed(world, replace(kept, wanted=replace(kept.wanted, **query)), used=False)


def test_a_part_is_as_good_as_the_whole_and_no_longer(world: World, kept: collect.Order, owner: psycopg.Connection):
    """Every condition of the whole is one of a part: what it leads to may have gone although itself it has not changed."""
    wanted = replace(kept.wanted, everything=False, types=("Condition",), count=3)
    part = replace(kept, wanted=wanted)
    assert world.used(part)
    for change in CHANGES.values():
        assert not world.used(replace(change(world), wanted=wanted))
    owner.execute("UPDATE resource SET version = version WHERE patient_key = %s AND type = 'Patient'", (kept.vault.patient_key,))
    assert not world.used(part)
    assert not world.used(replace(world.order(ALL), wanted=wanted))


def test_a_page_that_ended_at_what_is_gone_is_made_anew(world: World, kept: collect.Order):
    gone = replace(kept, wanted=replace(kept.wanted, everything=False, types=("Observation",), count=5), after=("Observation", UUID(int=7)))
    assert not world.used(gone)


def test_staff_that_is_withheld_makes_pages_of_everything_anew(world: World, plain: None, monkeypatch: pytest.MonkeyPatch):
    """Which page would have counted it is not written down."""
    order = world.order(ALL)
    each = Reducer.each

    def one_less(self: Reducer, vault: records.Vault, rows: Any, ledger: Any = None) -> Any:
        found = each(self, vault, rows, ledger)
        if vault.patient_key == records.SHARED and found:
            self.held_back += 1
            return found[1:]
        return found

    monkeypatch.setattr(Reducer, "each", one_less)
    assert isinstance(world.page(order, keep=True), collect.Page)
    assert world.used(order)
    followed(world, replace(order, wanted=replace(order.wanted, count=40)), used=False)
    followed(world, replace(order, wanted=replace(order.wanted, types=("Observation",), count=40)), used=True)


@given(cases(), st.sampled_from([PATIENT, "p1003"]), st.data())
@settings(
    max_examples=int(os.environ.get("BROKER_PREPARED_EXAMPLES", "10")), deadline=None, derandomize="BROKER_PREPARED_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_each_page_is_byte_for_byte_what_would_be_made_anew(world: World, case: Any, fhir_id: str, data: st.DataObject):
    plan, others, denials = case
    kinds = sorted(set(plan.types) - records.SHARED_TYPES) or ["Patient"]
    query = {
        "everything": data.draw(st.booleans()), "types": tuple(data.draw(st.sets(st.sampled_from(kinds), min_size=1, max_size=2))),
        "count": data.draw(st.sampled_from([None, 1, 7, 60])), "total": data.draw(st.booleans()),
        "filters": data.draw(st.sampled_from([(), (), (("_lastUpdated", "ge2020-01-01"),), (("_since", "2020-01-01T00:00:00Z"),)])),
    }  # fmt: skip
    if query["everything"] and data.draw(st.booleans()):
        query["types"] = ()
    if query["count"] == 1:
        query["types"] = query["types"][:1] if query["types"] else ("Patient",)
    follow = data.draw(st.booleans())  # Before anything has run: what is drawn may not hang on what was found.
    order = world.order(plan, *denials, fhir_id=fhir_id)
    page = world.page(order, keep=True)
    for one in (order, *(world.order(moved, *denials, fhir_id=fhir_id) for moved in others)):
        part = replace(one, wanted=replace(one.wanted, **query))
        if one is order and isinstance(page, collect.Page) and page.keep is not None and follow:
            followed(world, part, used=world.used(part))
        else:
            assert world.shown(part, world.page(part)) == world.anew(part)


def test_where_consents_look_at_more_than_type_and_labels_nothing_is_prepared(world: World, plain: None):
    dated = provision("deny", {"dataPeriod": {"start": "2024-01-01", "end": "2024-12-31"}})
    order = world.order(ALL, dated)
    page = world.page(order, keep=True)
    assert isinstance(page, collect.Page)
    assert page.keep is None


# -- windows --


def test_a_window_that_moved_on_is_used_until_the_first_resource_has_fallen_out_of_it(world: World, plain: None):
    """A reference may lead to what may be fetched now: where a target has gone, the whole is made anew."""
    name = "windowed"
    visit = {"resourceType": "Encounter", "id": "w-e", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": f"Patient/{name}"},
             "period": {"start": "2024-03-01T08:00:00Z", "end": "2024-03-01T09:00:00Z"}}  # fmt: skip
    result = observation("w-o", name, encounter={"reference": "Encounter/w-e"})
    small(world, name, visit, result)
    plan = windowed(ALL, _second(2024), None, "Encounter")
    world.page(world.order(plan, fhir_id=name), keep=True)
    moment = int(datetime(2024, 3, 1, 9, tzinfo=UTC).timestamp())
    assert world.used(world.order(windowed(ALL, moment, None, "Encounter"), fhir_id=name))
    gone = world.order(windowed(ALL, moment + 1, None, "Encounter"), fhir_id=name)
    assert not world.used(gone)
    page = world.page(gone)
    assert isinstance(page, collect.Page)
    assert not [body for _, _, body in page.resources if b"Encounter/w-e" in body]
    # A wider window holds what was not looked at.
    assert not world.used(world.order(windowed(ALL, _second(2024) - 1, None, "Encounter"), fhir_id=name))
    assert not world.used(world.order(windowed(ALL, _second(2024), _second(2027), "Encounter"), fhir_id=name))


# -- what changes --


def small(world: World, fhir_id: str, *resources: dict[str, Any]) -> None:
    report = taken_in(world.database, world.keys, bundle(patient(fhir_id), *resources))
    assert report.refused == 0, report


PSY = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "F33.1"}]}


def ids(page: collect.Page | collect.Unsafe) -> list[str]:
    assert isinstance(page, collect.Page)
    if page.prepared is None:
        return sorted(name for _, name, _ in page.resources)
    lines = zstandard.ZstdDecompressor().decompress(page.prepared.listed.manifest).decode().splitlines()
    return sorted(line.split(" ")[1] for line in lines)


def test_c16_what_comes_changes_goes_or_becomes_sensitive_is_seen_at_once(world: World, plain: None, owner: psycopg.Connection):
    name = "c16"
    small(world, name, observation("c16-a", name), observation("c16-b", name))

    def release() -> list[str]:
        order = world.order(ALL, fhir_id=name)
        page = world.page(order, keep=True)
        assert world.shown(order, page) == world.anew(order)
        return ids(page)

    assert release() == release() == sorted([name, "c16-a", "c16-b"])
    small(world, name, observation("c16-c", name))
    assert release() == release() == sorted([name, "c16-a", "c16-b", "c16-c"])
    small(world, name, observation("c16-b", name, code=PSY))
    assert release() == release() == sorted([name, "c16-a", "c16-c"])
    token = records.id_token(world.keys, "Observation", "c16-c")
    assert owner.execute("DELETE FROM resource WHERE id_token = %s", (token,)).rowcount == 1
    assert release() == release() == sorted([name, "c16-a"])


def test_a_label_that_changes_is_seen_at_once(world: World, plain: None, owner: psycopg.Connection):
    """Even where whoever writes to the database changes nothing but the column."""
    name = "relabelled"
    small(world, name, observation("rl-a", name))
    order = world.order(ALL, fhir_id=name)
    world.page(order, keep=True)
    assert world.used(order)
    psy = records.label_tokens(world.keys, order.vault.patient_key, ["PSY"])
    owner.execute(
        "UPDATE resource SET labels = labels || %s::bigint[] WHERE id_token = %s", (psy, records.id_token(world.keys, "Observation", "rl-a"))
    )
    assert not world.used(world.order(ALL, fhir_id=name))
    assert ids(world.page(world.order(ALL, fhir_id=name))) == [name]
    # A release that read the numbers before does not get it either.
    page = world.page(order)
    assert isinstance(page, collect.Page)
    assert page.prepared is None


def test_an_epoch_that_moved_outdates_also_for_who_read_it_before(world: World, kept: collect.Order):
    with world.database.transaction() as session:
        records.bump_epoch(session, kept.vault.patient_key)
    assert not world.used(world.order(ALL))
    assert not world.used(kept)


def test_an_epoch_that_moves_while_it_is_prepared_is_not_kept(world: World, plain: None, owner: psycopg.Connection):
    page = world.page(world.order(ALL))
    assert isinstance(page, collect.Page)
    with world.database.transaction() as session:
        records.bump_epoch(session, world.vault().patient_key)

    async def stored() -> None:
        database = Database(world.database.url, "broker_web", pool=1)
        await prepared.keep(database, page.keep)
        await database.close()

    asyncio.run(stored())
    assert owner.execute("SELECT count(*) FROM prepared_release").fetchone() == (0,)


def test_a_frozen_patient_s_is_gone(world: World, kept: collect.Order, owner: psycopg.Connection):
    with world.database.transaction() as session:
        records.freeze(session, world.keys, "test", kept.vault.patient_key, frozen=True)
        assert session.connection().exec_driver_sql("SELECT count(*) FROM prepared_release").scalar_one() == 0
        session.rollback()


def test_staff_that_comes_changes_or_goes_is_seen_at_once(world: World, plain: None, owner: psycopg.Connection):
    name = "staffed"
    small(world, name, observation("st-a", name, performer=[{"reference": "Practitioner/surgeon"}], device={"reference": "Device/scanner"}))

    def said() -> bytes:
        order = world.order(ALL, fhir_id=name)
        page = world.page(order, keep=True)
        assert world.shown(order, page) == world.anew(order)
        assert world.used(order)
        return bytes(world.shown(order, page)[0])

    surgeon = practitioner("surgeon", active=True, name=[{"family": "欧阳"}])
    assert "欧阳".encode() not in said()
    small(world, name, surgeon)
    assert "欧阳".encode() in said()
    small(world, name, surgeon | {"name": [{"family": "司徒"}]})
    assert "欧阳".encode() not in said()
    assert "司徒".encode() in said()
    # A device of nobody's: a reference to it stays as soon as it is there, and goes with it.
    assert b"Device/scanner" not in said()
    small(world, name, {"resourceType": "Device", "id": "scanner", "status": "active"})
    assert b"Device/scanner" in said()
    owner.execute("DELETE FROM resource WHERE id_token = %s", (records.id_token(world.keys, "Device", "scanner"),))
    assert b"Device/scanner" not in said()
    token = records.id_token(world.keys, "Practitioner", "surgeon")
    denied = records.label_tokens(world.keys, records.SHARED, ["PSY"])
    owner.execute("UPDATE resource SET labels = labels || %s::bigint[] WHERE id_token = %s", (denied, token))
    assert "司徒".encode() not in said()


def test_the_web_role_can_not_turn_the_number_of_changes_back(world: World):
    with pytest.raises(psycopg.errors.InsufficientPrivilege), psycopg.connect(world.database.conninfo) as connection:
        connection.execute("UPDATE record_changes SET changes = 0")


def test_pi_3_5_with_the_key_goes_all_that_was_prepared_and_nothing_opens_a_copy(world: World, plain: None, owner: psycopg.Connection):
    name = "shredded"
    small(world, name, observation("sh-a", name))
    order = world.order(ALL, fhir_id=name)
    world.page(order, keep=True)
    copy = "SELECT patient_key, grant_id, basis, epoch, changes, made_at, watched, body FROM prepared_release WHERE patient_key = %s"
    (row,) = owner.execute(copy, (order.vault.patient_key,)).fetchall()
    destroyed = "UPDATE patient SET wrapped_key = '', fhir_id_sealed = '', epoch = epoch + 1, frozen_at = now() WHERE patient_key = %s"
    owner.execute(destroyed, (order.vault.patient_key,))
    assert owner.execute(copy, (order.vault.patient_key,)).fetchall() == []
    # A backup brings it back: whoever has every key that is left can't open it.
    owner.execute("INSERT INTO prepared_release VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
    with pytest.raises(records.RecordUnreadable):
        world.vault(name)
    place = segments.Place(*row[:5])
    with pytest.raises(segments.Unreadable):
        segments.opened(world.keys, replace(order.vault, data_key=world.vault().data_key), place, row[-1])
    assert prepared.clean(world.database) > 0


def test_keys_that_are_wrapped_anew_let_go_of_what_was_prepared(world: World, kept: collect.Order, owner: psycopg.Connection):
    owner.execute("UPDATE patient SET wrapped_key = wrapped_key WHERE patient_key = %s", (kept.vault.patient_key,))
    assert not world.used(kept)


def test_what_lies_there_says_nothing_in_clear(world: World, kept: collect.Order, owner: psycopg.Connection):
    (body,) = owner.execute("SELECT body FROM prepared_release").fetchone()
    assert len(body) > 1000
    assert not any(word in body for word in (b"resourceType", b"versionId", b"lastUpdated", b"p1001-", "张秀英".encode()))


# -- attacks by whoever can write to the database --


def _set(owner: psycopg.Connection, order: collect.Order, **values: Any) -> None:
    changes = ", ".join(f"{name} = %s" for name in values)
    done = owner.execute(
        f"UPDATE prepared_release SET {changes} WHERE patient_key = %s AND grant_id = %s", (*values.values(), order.vault.patient_key, GRANT)
    )
    assert done.rowcount == 1


def _row(owner: psycopg.Connection, key: UUID, grant: UUID = GRANT) -> Any:
    return owner.execute(
        "SELECT basis, epoch, changes, watched, body FROM prepared_release WHERE patient_key = %s AND grant_id = %s", (key, grant)
    ).fetchone()


def flipped(place: int) -> Any:
    def attack(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
        body = bytearray(_row(owner, order.vault.patient_key)[-1])
        body[place] ^= 1
        _set(owner, order, body=bytes(body))

    return attack


def cut_short(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    _set(owner, order, body=_row(owner, order.vault.patient_key)[-1][:-1])


def emptied(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    _set(owner, order, body=b"")


def another_patient(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    stranger = world.order(ALL, fhir_id="p1009")
    world.page(stranger, keep=True)
    *_, watched, body = _row(owner, stranger.vault.patient_key)
    _set(owner, order, watched=watched, body=body)


def another_grant(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    """What another grant lets leave, by a wider plan, put in the place of this one's."""
    wider = world.order(replace(ALL, deny_labels=frozenset(), ceiling="V"), under=Under(OTHER_GRANT, "r1", BASE))
    world.page(wider, keep=True)
    *_, watched, body = _row(owner, order.vault.patient_key, OTHER_GRANT)
    _set(owner, order, watched=watched, body=body)


def another_plan(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    """What the same grant let leave by a wider plan, renamed."""
    mine = _row(owner, order.vault.patient_key)[0]
    world.page(world.order(replace(ALL, deny_labels=frozenset(), ceiling="V")), keep=True)
    assert _row(owner, order.vault.patient_key)[0] != mine
    _set(owner, order, basis=mine)


def an_older_epoch(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    with world.database.transaction() as session:
        epoch = records.bump_epoch(session, order.vault.patient_key)
    _set(owner, order, epoch=epoch)


def older_records(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    owner.execute("UPDATE resource SET version = version WHERE patient_key = %s AND type = 'Patient'", (order.vault.patient_key,))
    _set(owner, order, changes=world.vault().changes)


def nothing_watched(world: World, owner: psycopg.Connection, order: collect.Order) -> None:
    """So that a change of the staff would not be seen."""
    assert _row(owner, order.vault.patient_key)[3]
    _set(owner, order, watched=[])


ATTACKS = {
    "the first byte": flipped(0), "a byte in the middle": flipped(60), "the last byte": flipped(-1), "cut short": cut_short, "emptied": emptied,
    "another patient's": another_patient, "another grant's": another_grant, "another plan's": another_plan, "an older epoch": an_older_epoch,
    "older records": older_records, "nothing watched": nothing_watched,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_was_changed_or_swapped_is_made_anew_and_never_leaves(world: World, kept: collect.Order, owner: psycopg.Connection, attack: Any):
    assert world.used(world.order(ALL))
    attack(world, owner, kept)
    assert not world.used(world.order(ALL))


def test_what_the_checker_did_not_pass_can_not_be_sealed(world: World, kept: collect.Order):
    reduce = Reducer(world.keys, kept)
    place = segments.Place(kept.vault.patient_key, GRANT, b"b", 0, 0)
    contents = segments.Contents({}, {}, {}, (), b"", shared=False, types=(), labels=(), held_back=0, manifest=b"")
    index = segments.Index((), b"", b"", (), ())
    problems, body = segments.checked_and_sealed(
        world.keys, kept.vault, place, reduce.checker, contents, index, [("Basic", "x", b'{"resourceType":"Basic","id":"x"}')],
        base_url=BASE, patient=PATIENT, reachable=(),
    )  # fmt: skip
    assert problems
    assert body == b""


def test_the_patient_s_key_alone_makes_no_seal(world: World, kept: collect.Order, owner: psycopg.Connection):
    """Whoever has the data key but not the checker's, as anything else that seals for the patient, can't make what opens as checked."""
    basis, epoch, changes, _, body = _row(owner, kept.vault.patient_key)
    place = segments.Place(kept.vault.patient_key, GRANT, basis, epoch, changes)
    assert segments.opened(world.keys, kept.vault, place, body)[0].types
    with pytest.raises(segments.Unreadable):
        segments.opened(world.keys, kept.vault, place, seal(kept.vault.data_key, body, place.associated))


def test_a_database_that_takes_nothing_costs_time_and_no_release(
    world: World, plain: None, caplog: pytest.LogCaptureFixture, owner: psycopg.Connection
):
    owner.execute("REVOKE INSERT ON prepared_release FROM broker_web")
    try:
        with caplog.at_level(logging.WARNING):
            assert isinstance(world.page(world.order(ALL), keep=True), collect.Page)
    finally:
        owner.execute("GRANT INSERT ON prepared_release TO broker_web")
    assert "was not kept" in caplog.text
