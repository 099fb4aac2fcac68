"""B15, G13: what was never there costs the same work as what stays here: each statement, policy call and entry of the log, counted one by one.

Even steps of time (``release.pacing``) hide small differences; on a busy machine a call that does less still comes sooner. So the two kinds of
call do the same: written down here is every statement that reaches PostgreSQL, in its order, every question to policy, and every event.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar

import psycopg
import pytest

from broker import wire
from broker.database import plain_url
from broker.demo.story import Story
from broker.policy import memo
from broker.policy.engine import PolicyEngine
from broker.policy.service import LiveEngine
from broker.records import service as records
from tests import live
from tests.attacks.asking import FHIR, JSON, Caller, caller

_noting: ContextVar[list[str] | None] = ContextVar("noting", default=None)


def note(line: str) -> None:
    noted = _noting.get()
    if noted is not None:
        noted.append(line)


@pytest.fixture(scope="module")
def noted(module_database_url, tmp_path_factory) -> Iterator[tuple[Story, list[list[str]]]]:
    """A hospital that serves, and what each request to it did."""
    requests: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        watched(patch)
        made = live.create_app

        def app_of(installation):
            inner = made(installation)

            async def app(scope, receive, send):
                if scope["type"] == "http":
                    requests.append([])
                    _noting.set(requests[-1])
                await inner(scope, receive, send)

            return app

        patch.setattr(live, "create_app", app_of)
        with live.hospital(module_database_url, tmp_path_factory.mktemp("var"), refusal_step=0) as story:
            yield story, requests


def watched(patch: pytest.MonkeyPatch) -> None:
    """Note statements where the three ways to PostgreSQL meet, and questions to policy whether they are remembered or not."""
    run, execute, execute_here = wire.run, psycopg.AsyncCursor.execute, psycopg.Cursor.execute

    async def running(connection, *calls):
        note(f"round trip of {len(calls)}")
        for statement, _ in calls:
            note(statement.command.decode())
        return await run(connection, *calls)

    async def executing(self, query, *args, **kwargs):
        note(str(query))
        return await execute(self, query, *args, **kwargs)

    def executing_here(self, query, *args, **kwargs):
        note(str(query))
        return execute_here(self, query, *args, **kwargs)

    def asked(kind, decide):
        def deciding(self, facts):
            note(f"policy: {kind}")
            return decide(self, facts)

        return deciding

    for name, module in list(sys.modules.items()):
        if name.startswith("broker.") and getattr(module, "run", None) is run:
            patch.setattr(module, "run", running)
    patch.setattr(psycopg.AsyncCursor, "execute", executing)
    patch.setattr(psycopg.Cursor, "execute", executing_here)
    # Whether an answer is still remembered is a matter of the minute, and whether it was kept of the second.
    patch.setattr(memo, "LONGEST", 86_400)
    patch.setattr(LiveEngine, "unkept", lambda self, decision: bool(decision.facts))
    patch.setattr(LiveEngine, "decide", asked("asked", LiveEngine.decide))
    patch.setattr(PolicyEngine, "decide", asked("worked out", PolicyEngine.decide))


def condition(name: str, patient: str) -> dict:
    """One that a consent without PSY withholds."""
    return {
        "resourceType": "Condition", "id": name, "subject": {"reference": f"Patient/{patient}"}, "recordedDate": "2026-05-01",
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "F33.1"}]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def its(noted) -> Caller:
    story = noted[0]
    asking = caller(story, "management.staff")
    store = story.installation
    encounter = {
        "resourceType": "Encounter", "id": "e-hidden", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1001"},
        "period": {"start": "2026-05-01", "end": "2026-05-01"},
        "participant": [{"individual": {"reference": "Practitioner/psychiatrist"}}],
        "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "F33.1"}]}],
    }  # fmt: skip
    staff = [{"resourceType": "Practitioner", "id": name, "name": [{"text": name}]} for name in ("psychiatrist", "elsewhere")]
    for each in (condition("hidden", "p1001"), condition("of-another", "p1004"), *staff, encounter):
        report = records.ingest_bundle(store.database, store.keys, json.dumps(each).encode(), source="demo")
        assert report.accepted == 1, report
    asking.well()  # What the first release of a grant does besides is done.
    time.sleep(1.1)  # Nothing is remembered in the very second in which a grant begins.
    return asking


def told(noted, its: Caller, method: str, path: str, body: dict | None = None, media: str = JSON) -> tuple[list[str], list[tuple], int]:
    """What one call did, the events it left, and its status."""
    story, requests = noted

    def events() -> list[tuple]:
        query = "SELECT type, outcome FROM audit_event ORDER BY xid, seq"
        with story.installation.database.transaction() as session:
            return [tuple(row) for row in session.connection().exec_driver_sql(query)]

    its.credentials["client"]
    del requests[:]
    before = len(events())
    raw = json.dumps(body).encode() if body is not None else b""
    answer = its.call(method, path, *([("Content-Type", media)] if body is not None else []), ("Accept-Language", "en"), who="client", body=raw)
    (did,) = requests
    return list(did), events()[before:], answer.status


def named(its: Caller, patient: str) -> dict:
    one = its.story.cast.patients[patient]
    return meant(one.identifier, one.name)


def meant(identifier: dict, name: str) -> dict:
    patient = {"resourceType": "Patient", "identifier": [identifier], "name": [{"text": name}]}
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]}


HBA1C = "code=http://loinc.org%7C4548-4"

#: Of each kind: a call about what stays here, and one about what never was.
PAIRS = {
    "read, withheld": ("/fhir/Condition/hidden", "/fhir/Condition/never-was-1"),
    "read, another's": ("/fhir/Condition/of-another", "/fhir/Condition/never-was-2"),
    "read, with elements": ("/fhir/Condition/of-another?_elements=code", "/fhir/Condition/never-was-3?_elements=code"),
    "read, another patient": ("/fhir/Patient/p1002", "/fhir/Patient/never-was-4"),
    "read, staff of a withheld visit": ("/fhir/Practitioner/psychiatrist", "/fhir/Practitioner/never-was-5"),
    "read, staff of others": ("/fhir/Practitioner/elsewhere", "/fhir/Practitioner/never-was-6"),
    "search": ("/fhir/Observation?patient=p1003", "/fhir/Observation?patient=never-was-7"),
    "search, filtered and counted": (
        "/fhir/Observation?patient=p1004&code=http://loinc.org%7C4548-4&_total=accurate",
        "/fhir/Observation?patient=never-was-8&code=http://loinc.org%7C4548-4&_total=accurate",
    ),
    "search for the patient": ("/fhir/Patient?_id=p1005", "/fhir/Patient?_id=never-was-9"),
    "$everything": ("/fhir/Patient/p1006/$everything", "/fhir/Patient/never-was-10/$everything"),
    "mutual recognition": (f"/api/v1/recognition?patient=p1007&{HBA1C}", f"/api/v1/recognition?patient=never-was-11&{HBA1C}"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_b15_what_never_was_costs_what_staying_here_costs(noted, its, pair, monkeypatch):
    """Whether policy has to work out its answer, as for a patient who is asked for the first time, or remembers it."""
    known = [told(noted, its, "GET", path) for path in pair] and [told(noted, its, "GET", path) for path in pair]
    assert known[0] == known[1]
    assert [line for line in known[0][0] if line.startswith("policy")] == ["policy: asked"]
    monkeypatch.setattr(memo.RememberingEngine, "remembered", lambda *_: None)
    here, never = (told(noted, its, "GET", path) for path in pair)
    assert here == never
    assert here[2] == (404 if pair[0].count("/") == 3 else 403)
    assert here[1] == (
        [("release.permitted", "permit"), ("release.failed", "failed")]
        if "/fhir/Condition/" in pair[0] or "/fhir/Pract" in pair[0]
        else [("release.refused", "deny")]
    )
    assert [line for line in here[0] if line.startswith("policy")] == ["policy: asked", "policy: worked out"]


def test_b15_one_release(noted, its, monkeypatch):
    monkeypatch.setattr(memo.RememberingEngine, "remembered", lambda *_: None)
    here, never = (told(noted, its, "POST", "/releases", {"application": its.number, "patient": one}) for one in ("p1008", "never-was-12"))
    assert here == never
    assert here[2] == 403
    other, unknown = (
        told(noted, its, "POST", "/releases", {"application": number, "patient": "p1001"}) for number in ("SA-2026-000099", "no-such-number")
    )
    assert other == unknown
    assert other[2] == 403


def test_b15_match(noted, its, monkeypatch):
    """By an identifier that is nobody's, and by that of somebody else's patient."""
    monkeypatch.setattr(memo.RememberingEngine, "remembered", lambda *_: None)
    here = told(noted, its, "POST", "/fhir/Patient/$match", named(its, "p1009"), FHIR)
    never = told(noted, its, "POST", "/fhir/Patient/$match", meant({"system": "urn:x", "value": "nobody"}, "某某"), FHIR)
    assert here == never
    assert here[2] == 200


def other_grant(its: Caller, limit: int | None = None) -> str:
    """Authorization under a grant of its own for the same patient, and of the same client."""
    story = its.story
    number = story.apply("gao.min", "shengli-cardiology", "p1001", "TREAT", "consent", [{"data_class": "clinical.diagnoses"}])["number"]
    story.decide(number, "song.yi", "deng.li")
    if limit is not None:
        with psycopg.connect(plain_url(story.installation.settings.database_url.get_secret_value())) as owner:
            owner.execute("UPDATE sharing_grant SET releases_limit = %s WHERE number = %s", (limit, number))
    return f"Bearer {story.system('shengli-his').token(number)['access_token']}"


def test_b15_releases_and_exports_of_another_grant(noted, its):
    body = json.dumps({"application": its.number, "patient": "p1001"}).encode()
    release = its.call("POST", "/releases", ("Content-Type", JSON), who="client", body=body)
    begun = its.call("GET", "/fhir/Patient/$export", ("Prefer", "respond-async"), ("Accept", FHIR), who="client")
    assert (release.status, begun.status) == (200, 202), begun.text
    export = begun.headers["content-location"].rpartition("/")[2]
    never = "00000000-0000-4000-8000-000000000000"
    its.credentials.held["client"] = (float("inf"), other_grant(its))
    try:
        pairs = [(f"/releases/{{}}{rest}", release.headers["release-id"]) for rest in ("", "/receipt", "/provenance")]
        pairs += [(f"/fhir/$export/{{}}{rest}", export) for rest in ("", "/outcome.ndjson", "/patient-1.ndjson")]
        for path, there in pairs:
            here = told(noted, its, "GET", path.format(there))
            assert here == told(noted, its, "GET", path.format(never)), path
            assert here[2] == 404, path
    finally:
        del its.credentials.held["client"]


def test_b15_a_limit_counts_what_never_was_as_what_is_withheld(its):
    """A grant for two releases is used up as fast by asking for what never was as for what stays here."""
    found = its.call("GET", "/fhir/Condition?patient=p1001", who="client").json()
    shown = f"/fhir/Condition/{found['entry'][0]['resource']['id']}"
    for kind in ("hidden", "never-was", "of-another"):
        headers = {"Authorization": other_grant(its, limit=2)}
        paths = [f"/fhir/Condition/{kind}", shown, f"/fhir/Condition/{kind}", shown]
        assert [its.story.http.get(path, headers=headers).status_code for path in paths] == [404, 200, 404, 404], kind
