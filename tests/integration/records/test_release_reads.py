from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from broker.crypto import Keys
from broker.database import Database
from broker.records import service as records
from broker.records.errors import RecordUnreadable, UnknownPatient
from broker.records.models import SHARED
from tests.factories.records import bundle, concept, condition, observation, opened, patient, raw, taken_in


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.fixture
def filled(database: Database, keys: Keys) -> Database:
    resources = [observation(f"o{year}", effectiveDateTime=f"{year}-06-01") for year in range(2015, 2026)]
    undated = {name: value for name, value in observation("undated").items() if name != "effectiveDateTime"}
    asthma = condition("asthma", onsetDateTime="2001", clinicalStatus=concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"))
    measles = condition("measles", onsetDateTime="2001", abatementDateTime="2002")
    report = taken_in(database, keys, bundle(patient(), *resources, undated, asthma, measles, patient("p2"), observation("other", "p2")))
    assert report.refused == 0
    return database


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (records.Window(_at(2024, 1, 1), None), {"o2024", "o2025"}),
        (records.Window(None, _at(2016, 1, 1)), {"o2015"}),
        (records.Window(_at(2020, 6, 1, 12), _at(2020, 6, 1, 13)), {"o2020"}),
        (records.Window(_at(2020, 6, 2), _at(2021, 5, 30)), set()),
    ],
)
def test_a_window_takes_what_overlaps_it_and_nothing_undated(filled: Database, keys: Keys, window: records.Window, expected: set[str]):
    assert {one.id for one in opened(filled, keys, Observation=window)} == expected


def test_without_a_window_the_undated_is_there(filled: Database, keys: Keys):
    assert "undated" in {one.id for one in opened(filled, keys, Observation=records.Window())}


def test_a_state_that_goes_on_is_in_every_later_window(filled: Database, keys: Keys):
    assert {one.id for one in opened(filled, keys, Condition=records.Window(_at(2024, 1, 1)))} == {"asthma"}


def test_a_type_without_clinical_dates_knows_no_window(filled: Database, keys: Keys):
    assert {one.id for one in opened(filled, keys, Patient=records.Window(_at(2024, 1, 1)))} == {"p1"}


def test_only_the_types_that_are_asked_for_and_never_another_patients(filled: Database, keys: Keys):
    assert {one.type for one in opened(filled, keys, Condition=records.Window())} == {"Condition"}
    assert "other" not in {one.id for one in opened(filled, keys)}

    async def nothing(cursor: psycopg.AsyncCursor) -> list[records.Row]:
        return await records.read(cursor, patient_key=keys.patient_key("p1"), types={}, deny_tokens=[])

    assert raw(filled, nothing) == []


@pytest.mark.parametrize("windowed", [False, True])
def test_pages_follow_each_other_without_gap_or_repeat(filled: Database, keys: Keys, windowed: bool):
    async def paged(cursor: psycopg.AsyncCursor) -> list[tuple[str, UUID]]:
        types = {"Observation": records.Window(_at(2000, 1, 1) if windowed else None), "Condition": records.Window(), "Patient": records.Window()}
        places: list[tuple[str, UUID]] = []
        while page := await records.read(
            cursor, patient_key=keys.patient_key("p1"), types=types, deny_tokens=[], after=places[-1] if places else None, limit=4
        ):
            assert len(page) == 4 or len(places) + len(page) == (14 if windowed else 15)
            places += [row.place for row in page]
        return places

    places = raw(filled, paged)
    assert len(places) == len(set(places)) == (14 if windowed else 15)
    assert places == sorted(places)


def test_denied_labels_hold_with_and_without_a_window(filled: Database, keys: Keys):
    report = taken_in(filled, keys, bundle(observation("hiv", code=concept("http://loinc.org", "56888-1"), effectiveDateTime="2025-05-05")))
    assert report.accepted == 1
    for window in (records.Window(), records.Window(_at(2025, 1, 1))):
        assert "hiv" in {one.id for one in opened(filled, keys, Observation=window)}
        assert "hiv" not in {one.id for one in opened(filled, keys, deny=["HIV"], Observation=window)}


def test_one_by_type_and_id(filled: Database, keys: Keys):
    async def one(cursor: psycopg.AsyncCursor) -> tuple[records.Row | None, records.Row | None, records.Row | None]:
        return (
            await records.read_one(cursor, keys, "Observation", "o2020"),
            await records.read_one(cursor, keys, "Condition", "o2020"),
            await records.read_one(cursor, keys, "Observation", "unknown"),
        )

    found, wrong_type, unknown = raw(filled, one)
    assert found is not None
    assert found.patient_key == keys.patient_key("p1")
    assert wrong_type is unknown is None


def test_an_id_of_two_patients_is_nobodys(filled: Database, database_url: str, keys: Keys):
    """It can't come in by ingest; where a database was tampered with, neither is given out."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO resource SELECT %s, type, id_token, version, last_updated, clinical_from, clinical_until, labels, links, content_hash,"
            " superseded, body FROM resource WHERE id_token = %s",
            (keys.patient_key("p2"), records.id_token(keys, "Observation", "o2020")),
        )

    async def one(cursor: psycopg.AsyncCursor) -> records.Row | None:
        return await records.read_one(cursor, keys, "Observation", "o2020")

    assert raw(filled, one) is None


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE resource a SET body = b.body FROM resource b WHERE a.id_token = %(one)s AND b.id_token = %(two)s",
        "UPDATE resource SET version = version + 1 WHERE id_token = %(one)s",
        "UPDATE resource SET body = set_byte(body, 30, get_byte(body, 30) # 1) WHERE id_token = %(one)s",
        "UPDATE resource SET body = '' WHERE id_token = %(one)s",
        "UPDATE resource SET type = 'Media' WHERE id_token = %(one)s",
    ],
)
def test_a_tampered_row_does_not_open(filled: Database, database_url: str, keys: Keys, tampering: str):
    names = {"one": records.id_token(keys, "Observation", "o2020"), "two": records.id_token(keys, "Observation", "o2021")}
    with psycopg.connect(database_url) as connection:
        connection.execute(tampering, names)
    with pytest.raises(RecordUnreadable):
        opened(filled, keys)


def test_a_row_moved_to_another_patient_does_not_open(filled: Database, database_url: str, keys: Keys):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE resource SET patient_key = %s WHERE id_token = %s", (keys.patient_key("p2"), records.id_token(keys, "Observation", "o2020"))
        )
    with pytest.raises(RecordUnreadable):
        opened(filled, keys, "p2")


def test_swapped_wrapped_keys_do_not_open(filled: Database, database_url: str, keys: Keys):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE patient a SET wrapped_key = b.wrapped_key FROM patient b WHERE a.patient_key = %s AND b.patient_key = %s",
            (keys.patient_key("p1"), keys.patient_key("p2")),
        )
    with pytest.raises(RecordUnreadable):
        opened(filled, keys)


def test_vaults_and_epochs(filled: Database, keys: Keys):
    key = keys.patient_key("p1")
    with filled.transaction() as session:
        assert records.find_patient(session, keys, "p1") == key
        assert records.find_patient(session, keys, "nobody") is None
        assert records.open_vault(session, keys, key).fhir_id == "p1"
        assert [records.bump_epoch(session, key), records.bump_epoch(session, key)] == [1, 2]
        for verb in (lambda: records.open_vault(session, keys, UUID(int=3)), lambda: records.bump_epoch(session, UUID(int=3))):
            with pytest.raises(UnknownPatient):
                verb()

    async def vault(cursor: psycopg.AsyncCursor) -> tuple[records.Vault | None, records.Vault | None]:
        return await records.vault(cursor, keys, key), await records.vault(cursor, keys, SHARED)

    found, shared = raw(filled, vault)
    assert found is not None
    assert (found.fhir_id, found.epoch) == ("p1", 2)
    assert shared is None  # Nothing shared was stored.


def test_reading_a_patient_uses_the_index_whatever_else_is_stored(filled: Database, database_url: str, keys: Keys):
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO patient SELECT gen_random_uuid(), '', '', 0, now() FROM generate_series(1, 2000)")
        connection.execute(
            "INSERT INTO resource SELECT patient_key, 'Observation', gen_random_uuid(), 1, now(), NULL, NULL, '{}', '{}', '', '{}', ''"
            " FROM patient, generate_series(1, 5)"
        )
        connection.execute("ANALYZE resource")
        plan = "\n".join(
            row[0]
            for row in connection.execute(
                "EXPLAIN (ANALYZE, BUFFERS) SELECT body FROM resource WHERE patient_key = %s AND type = ANY(%s) ORDER BY type, id_token",
                (keys.patient_key("p1"), ["Observation", "Condition"]),
            )
        )
    assert "Seq Scan" not in plan
