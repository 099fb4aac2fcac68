"""A hospital's own FHIR server as a source: pulled over a socket, trusted in nothing; what it loses is marked, what is stale stays.

The servers here are a second broker of ours, which gives a bulk export to SMART Backend Services clients, and one that misbehaves on purpose.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from joserfc.jwk import ECKey

from broker import clock
from broker.crypto import Keys
from broker.database import Database
from broker.errors import Invalid
from broker.identity.models import Organization
from broker.records import service as records
from broker.records import upstream, upstream_http, upstream_pull
from broker.records.models import UpstreamServer
from broker.records.relabelling import relabel
from broker.records.upstream_http import UpstreamFailed, Wire
from broker.records.upstream_pull import Connection
from broker.settings import Settings
from tests.factories.records import bundle, condition, observation, opened, patient, practitioner, raw, taken_in

Answer = tuple[int, dict[str, str], bytes]
TYPES = ("Patient", "Practitioner", "Condition", "Observation")


class Hospital:
    """A FHIR server that says what a test tells it to: pages of two, changed by ``tricks``."""

    def __init__(self) -> None:
        self.resources: list[dict[str, Any]] = []
        self.tricks: dict[str, Callable[[Hospital, dict[str, list[str]]], Answer]] = {}
        self.asked: list[str] = []
        self.base = ""

    def answer(self, path: str) -> Answer:
        parts = urlsplit(path)
        self.asked.append(path)
        kind, query = parts.path.removeprefix("/fhir/"), parse_qs(parts.query)
        if kind in self.tricks:
            return self.tricks[kind](self, query)
        since = query.get("_lastUpdated", [""])[0].removeprefix("ge")
        found = [one for one in self.resources if one["resourceType"] == kind and one.get("meta", {}).get("lastUpdated", "9") >= since]
        return self.page(kind, found, int(query.get("page", ["0"])[0]))

    def page(self, kind: str, found: list[dict[str, Any]], number: int = 0, following: str | None = None) -> Answer:
        entries = [{"fullUrl": f"{self.base}/{one['resourceType']}/{one.get('id')}", "resource": one} for one in found[number * 2 : number * 2 + 2]]
        link = [{"relation": "next", "url": following or f"{self.base}/{kind}?page={number + 1}"}] if following or len(found) > number * 2 + 2 else []
        outcome = {"resource": {"resourceType": "OperationOutcome", "issue": []}, "search": {"mode": "outcome"}}
        document = {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": [*entries, outcome]}
        return 200, {"Content-Type": "application/fhir+json"}, json.dumps(document).encode()


@contextmanager
def served(hospital: Hospital) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = hospital.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hospital.base = f"http://127.0.0.1:{server.server_address[1]}/fhir"
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    one = Hospital()
    with served(one):
        one.resources = [
            patient(), practitioner(), condition("c1"),
            *(observation(f"o{n}", subject={"reference": f"{one.base}/Patient/p1"}, performer=[{"reference": "Practitioner/d1"}]) for n in range(5)),
        ]  # fmt: skip
        yield one


@pytest.fixture
def chosen(hospital: Hospital, tmp_path) -> Settings:
    return Settings(var=tmp_path / "var", upstream_hosts="127.0.0.1")


def added(database: Database, chosen: Settings, hospital: Hospital, **more: Any) -> None:
    with database.transaction() as session:
        session.merge(
            Organization(
                id="shengli", name_zh="省立医院", name_en="Provincial Hospital", kind="hospital", relationship="external", created_at=clock.now()
            )
        )
        session.flush()
        given = {"types": TYPES, "client_id": "broker"} | more
        records.add_upstream(session, chosen, "person:x", records.Upstream("his", "shengli", hospital.base, **given))


def stored(database: Database, keys: Keys, patient_id: str = "p1") -> set[str]:
    """What a release could read of the patient."""
    return {f"{one.type}/{one.id}" for one in opened(database, keys, patient_id, deny=["unclassified"])}


def releasable(database: Database, keys: Keys) -> bool:
    async def look(cursor: psycopg.AsyncCursor[Any]) -> bool:
        return await records.vault(cursor, keys, keys.patient_key("p1")) is not None

    return raw(database, look)


def test_a_server_is_pulled_page_by_page_and_twice_changes_nothing(database, keys, chosen, hospital):
    added(database, chosen, hospital)
    row = records.pull(database, keys, chosen, "his")
    assert (row.accepted, row.refused, row.error, row.began_at) == (8, 0, "", None)
    assert stored(database, keys) == {"Patient/p1", "Condition/c1", *(f"Observation/o{n}" for n in range(5))}
    (one,) = [each for each in opened(database, keys) if each.id == "o0"]
    assert b'"Patient/p1"' in one.body  # An address on the server itself is one of ours.
    assert "V" in one.labels or "N" in one.labels or "R" in one.labels
    hospital.asked.clear()
    row = records.pull(database, keys, chosen, "his")
    assert (row.accepted, row.round, row.full) == (8, 2, False)
    assert all("_lastUpdated=ge" in path for path in hospital.asked if "page=" not in path)


def test_a_round_that_breaks_off_goes_on_where_it_was(database, keys, chosen, hospital):
    added(database, chosen, hospital)
    hospital.tricks["Observation"] = lambda one, query: one.page("Observation", one.resources[3:]) if "page" not in query else (200, {}, b'{"resou')
    with pytest.raises(UpstreamFailed, match=r"upstream\.unreadable"):
        records.pull(database, keys, chosen, "his")
    with database.transaction() as session:
        (row,) = records.upstreams(session)
        assert (row.error, row.done, row.succeeded_at) == ("upstream.unreadable", ["Patient", "Practitioner", "Condition"], None)
    assert "Observation/o0" in stored(database, keys)
    hospital.tricks.clear()
    hospital.asked.clear()
    assert records.pull(database, keys, chosen, "his").error == ""
    assert {path.partition("?")[0] for path in hospital.asked} == {"/fhir/Observation"}
    assert len(stored(database, keys)) == 7


def test_what_is_gone_there_is_marked_and_comes_back_with_it(database, keys, chosen, hospital):
    added(database, chosen, hospital)
    records.pull(database, keys, chosen, "his")
    whole, before = list(hospital.resources), stored(database, keys)
    hospital.resources = [one for one in whole if one["id"] != "o3"]
    records.pull(database, keys, chosen, "his")
    assert stored(database, keys) == before  # A round of changes can't see it.
    records.pull(database, keys, chosen, "his", full=True)
    assert before - stored(database, keys) == {"Observation/o3"}
    assert relabel(database, keys, keys.patient_key("p1")) == 0  # Labelled anew, it is still gone.
    assert "Observation/o3" not in stored(database, keys)
    hospital.resources = whole
    records.pull(database, keys, chosen, "his", full=True)
    assert stored(database, keys) == before


def test_a_server_that_has_lost_most_is_not_believed(database, keys, chosen, hospital):
    hospital.resources += [observation(f"more{n}") for n in range(40)]
    added(database, chosen, hospital)
    records.pull(database, keys, chosen, "his")
    before = stored(database, keys)
    hospital.resources = hospital.resources[:2]
    with pytest.raises(UpstreamFailed, match=r"upstream\.lost-most"):
        records.pull(database, keys, chosen, "his", full=True)
    assert stored(database, keys) == before


def test_a_stale_server_s_patients_are_not_released(database, keys, chosen, hospital, monkeypatch):
    taken_in(database, keys, bundle(patient("p2")))
    added(database, chosen, hospital, max_age_hours=2)
    records.pull(database, keys, chosen, "his")
    assert releasable(database, keys)

    def aged(**by: float) -> None:
        with database.transaction() as session:
            session.get_one(UpstreamServer, "his").stale_after = clock.now() - timedelta(**by)

    aged(seconds=1)
    assert not releasable(database, keys)
    with database.transaction() as session:
        assert records.find_patient(session, keys, "p2") is not None
    hospital.tricks["Patient"] = lambda *_: (503, {"Retry-After": "1"}, b"")
    with pytest.raises(UpstreamFailed, match=r"upstream\.status-503"):
        records.pull(database, keys, chosen, "his")
    assert not releasable(database, keys)
    hospital.tricks.clear()
    records.pull(database, keys, chosen, "his")
    assert releasable(database, keys)


def elsewhere(one: Hospital, _query: Any) -> Answer:
    return one.page("Observation", one.resources[3:5], following="http://localhost:1/fhir/Observation?page=1")


FAULTS: dict[str, tuple[Callable[[Hospital, Any], Answer], str]] = {
    "a page of another host": (elsewhere, "upstream.other-host"),
    "a page of another port": (
        lambda one, _: one.page("Observation", one.resources[3:5], following="http://127.0.0.1:1/fhir/Observation"), "upstream.other-host",
    ),
    "a file": (lambda one, _: one.page("Observation", one.resources[3:5], following="file:///etc/passwd"), "upstream.address"),
    "a user in the address": (
        lambda one, _: one.page("Observation", one.resources[3:5], following="http://127.0.0.1@evil.example/fhir"), "upstream.address",
    ),
    "a name that begins alike": (
        lambda one, _: one.page("Observation", one.resources[3:5], following="https://127.0.0.1.evil.example/fhir"), "upstream.other-host",
    ),
    "a loop": (lambda one, _: one.page("Observation", one.resources[3:5], following=f"{one.base}/Observation?again"), "upstream.loop"),
    "a redirect": (lambda one, _: (302, {"Location": f"{one.base}/Patient"}, b""), "upstream.status-302"),
    "no Bundle": (lambda *_: (200, {}, b'{"resourceType":"Patient","id":"p9"}'), "upstream.not-a-page"),
    "half a page": (lambda *_: (200, {"Content-Length": "5000"}, b'{"resourceType":"Bundle","type":"searchset"'), "upstream.broken-off"),
    "a page without end": (lambda *_: (200, {"Content-Length": str(10 * 2**30)}, b" " * 300_000), "upstream.too-large"),
    "a bomb": (lambda *_: (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 50_000_000)), "upstream.too-large"),
    "half a member": (lambda one, _: (200, {"Content-Encoding": "gzip"}, gzip.compress(one.page("Observation", [])[2])[:-9]), "upstream.broken-off"),
    "an unknown packing": (lambda *_: (200, {"Content-Encoding": "br"}, b"x"), "upstream.encoding"),
    "an error": (lambda *_: (500, {}, "王小明 CANARY".encode()), "upstream.status-500"),
    "depth": (lambda *_: (200, {}, b'{"resourceType":"Bundle","type":"searchset","link":' + b"[" * 100_000), "upstream.unreadable"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_c22_a_server_that_misbehaves_is_left_and_it_is_on_record(database, keys, chosen, hospital, monkeypatch, name):
    trick, reason = FAULTS[name]
    monkeypatch.setattr(upstream_pull, "PAGE_BYTES", 200_000)
    hospital.tricks["Observation"] = trick
    added(database, chosen, hospital)
    with pytest.raises(UpstreamFailed) as failed:
        records.pull(database, keys, chosen, "his")
    assert failed.value.reason == reason
    assert not {path for path in stored(database, keys) if path not in {"Patient/p1", "Condition/c1", "Observation/o0", "Observation/o1"}}
    with database.transaction() as session:
        leaves = session.connection().exec_driver_sql("SELECT leaf FROM audit_event WHERE type = 'upstream.failed'").all()
    assert len(leaves) == 1
    assert reason in str(leaves)
    assert "CANARY" not in str(leaves)


def test_each_resource_is_placed_by_us_and_a_server_speaks_for_its_own_alone(database, keys, chosen, hospital):
    assert taken_in(database, keys, bundle(patient("p2"), observation("theirs", "p2"), observation("mine", "p1"))).refused == 0
    hospital.resources = [
        patient(), observation("o0"), observation("o0", valueQuantity={"value": 9}),
        observation("theirs", "p1"), observation("mine", "p1", status="amended"), observation("two", "p1", focus=[{"reference": "Patient/p1"}]),
        observation("both", "p1", performer=[{"reference": "Patient/p2"}]), {"resourceType": "Observation", "id": "nobody", "status": "final"},
    ]  # fmt: skip
    hospital.tricks["Condition"] = lambda one, _: one.page("Condition", [practitioner("sneaked"), condition("ok")])
    added(database, chosen, hospital, types=("Patient", "Observation", "Condition"))
    row = records.pull(database, keys, chosen, "his")
    assert stored(database, keys) == {"Patient/p1", "Observation/o0", "Observation/mine", "Observation/two", "Condition/ok"}
    assert stored(database, keys, "p2") == {"Patient/p2", "Observation/theirs"}
    assert row.refused == 5  # theirs and mine: another source's; both: of two; nobody: of none; sneaked: not asked for.
    (mine,) = [one for one in opened(database, keys) if one.id == "mine"]
    assert b"amended" not in mine.body


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"base_url": "https://elsewhere.example.org/fhir"}, "upstream.other-host"),
        ({"base_url": "http://his.example.org/fhir"}, "upstream.no-tls"),
        ({"token_endpoint": "https://attacker.example.org/token"}, "upstream.other-host"),
        ({"types": ("Patient", "Nonsense")}, "type"),
        ({"export_path": "../Patient/$export"}, "path"),
        ({"mode": "both"}, "mode"),
        ({"scope": "system/*.rs\r\nX: y"}, "scope"),
        ({"max_age_hours": 0}, "number"),
    ],
)
def test_a_server_is_registered_on_hosts_that_were_named_alone(database, tmp_path, change, code):
    chosen = Settings(var=tmp_path / "var", upstream_hosts="his.example.org, 127.0.0.1:8443")
    form = {"name": "his", "organization": "shengli", "base_url": "https://his.example.org/fhir", "client_id": "b", "types": ("Patient",)} | change
    with database.transaction() as session, pytest.raises(Invalid) as wrong:
        records.add_upstream(session, chosen, "person:x", records.Upstream(**form))
    assert [problem.code for problem in wrong.value.problems] == [code]


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"])
def test_c22_a_named_host_that_turns_into_something_else_is_not_asked(address):
    wire = Wire({"his.example.org"}, resolve=lambda *_: [address])
    with pytest.raises(UpstreamFailed, match=r"upstream\.address"), wire.asked("GET", "https://his.example.org/fhir/Patient"):
        pass
    assert upstream_http.origin("https://his.example.org/x") == ("https", "his.example.org", 443)


def test_a_second_broker_gives_its_export_to_a_smart_client_and_withdrawn_patients_are_gone(
    module_database_url, tmp_path_factory, database, keys, monkeypatch
):
    """SMART Backend Services and Bulk Data, end to end: assertion, token, kick-off, state, files, all over a socket."""
    from broker import jobs
    from broker.app import background_jobs
    from tests.integration.release.test_bulk import Exchange
    from tests.live import hospital as running_hospital

    with running_hospital(module_database_url, tmp_path_factory.mktemp("var"), refusal_step=0) as story:
        exchange = Exchange(story, patients=("p1001", "p1002"), silent=())
        (client,) = [one for one in [story.system("shengli-his")] if one]
        key = client.key
        assert isinstance(key, ECKey)
        connection = Connection(
            Wire({"127.0.0.1"}), f"{story.base_url}/fhir", f"{story.base_url}/oauth2/token", client.client_id,
            f"system/*.rs application:{exchange.number}", key,
            sleep=lambda _: jobs.run_until_idle(background_jobs(), story.installation),
        )  # fmt: skip
        monkeypatch.setattr(ECKey, "thumbprint", lambda _: key.get("kid"))  # The demo registered the key under a name of its own.
        other = Hospital()
        other.base = f"{story.base_url}/fhir"
        chosen = Settings(var=tmp_path_factory.mktemp("other") / "var", upstream_hosts="127.0.0.1")
        added(database, chosen, other, types=("Patient", "Condition", "Observation"), mode="bulk", token_endpoint=f"{story.base_url}/oauth2/token")
        row = upstream.pull(database, keys, chosen, "his", connection=connection)
        assert (row.error, row.refused) == ("", 0)
        told = exchange.call("GET", "/fhir/Patient/p1001/$everything").json()["entry"]
        wanted = {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in told}
        mine = {one for one in wanted if one.partition("/")[0] in ("Patient", "Condition", "Observation")}
        assert len(mine) > 10
        assert stored(database, keys, "p1001") == mine
        others = exchange.call("GET", "/fhir/Patient/p1002").json()
        assert others["id"] == "p1002"
        assert "Patient/p1002" in stored(database, keys, "p1002")  # Each patient is a gzip member of the file.
