"""Whatever goes wrong behind a release, nothing leaves and the log says so: policy, checker, stored rows, limits, time."""

from __future__ import annotations

import json
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest

from broker import clock
from broker.fhir.checker import Checker
from broker.fhir.minimise import Minimiser
from broker.policy.engine import PolicyEngine
from broker.records.tokens import id_token
from tests.integration.release.conftest import Agreed, agree

CANARY = "CANARY-4c1d"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


@pytest.fixture(scope="module")
def agreed(story) -> Agreed:
    return agree(story, without=("PSY",))


@pytest.fixture
def entries(agreed):
    """What the log said since the test began, after it is called."""
    before = len(agreed.events())
    return lambda: agreed.events()[before:]


def kinds(entries) -> list[str]:
    return [entry["type"] for entry in entries()]


def nothing_left(answer, status: int) -> None:
    """A refusal of the right form, and not a byte of the record."""
    assert answer.status_code == status
    assert "release-id" not in answer.headers
    document = answer.json()
    assert document["resourceType"] == "OperationOutcome" if "fhir" in str(answer.request.url) else document["code"]
    assert not any(word in answer.text for word in ("张秀英", "p1001", '"subject"', CANARY))


# -- policy --


def raising(_):
    raise RuntimeError(CANARY)


def panicking(_):
    raise BaseException(CANARY)  # noqa: TRY002  (as bindings of other languages do)


ANSWERS = {
    "raises": raising,
    "panics": panicking,
    "undefined": lambda _: None,
    "empty": lambda _: {},
    "true": lambda _: True,
    "the word true": lambda _: "true",
    "allow alone": lambda _: {"allow": True, "effect": "permit"},
    "an answer to something else": lambda document: {
        "effect": "permit", "allow": True, "reasons": [], "obligations": [], "necessity": {},
        "plan": {"types": {}}, "input_hash": "0" * 64, "revision": document["input_hash"],
    },
}  # fmt: skip


@pytest.mark.parametrize("evaluate", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("blocking", [False, True], ids=["embedded", "server"])
def test_no_usable_answer_of_policy_releases_nothing(story, agreed, entries, monkeypatch, evaluate, blocking):
    engine = story.installation.engine._shipped_engine
    stub = SimpleNamespace(name="stub", blocking=blocking, evaluate=evaluate)
    monkeypatch.setattr(engine, "_engine", PolicyEngine(stub, engine._engine.policies))
    monkeypatch.setattr(engine, "_kept", OrderedDict())
    answer = agreed.everything()
    nothing_left(answer, 503)
    assert answer.headers["retry-after"]
    body = {"application": agreed.number, "patient": agreed.patient}
    nothing_left(story.system(agreed.client).fetch("POST", "/releases", agreed.token, body), 503)
    assert [(entry["type"], entry["outcome"], entry["reasons"]) for entry in entries()] == [
        ("release.refused", "unavailable", ["policy.unavailable"])
    ] * 2
    monkeypatch.undo()
    assert agreed.everything().status_code == 200


# -- checker --


def leaking(change):
    """The minimiser, but its first result of each call is changed."""
    right = Minimiser.reduce_many

    def wrong(self, resource_type, items, *, pseudonym):
        found = list(right(self, resource_type, items, pseudonym=pseudonym))
        for place, body in enumerate(found):
            if isinstance(body, bytes):
                found[place] = json.dumps(change(json.loads(body)), ensure_ascii=False).encode()
                break
        return found

    return wrong


LEAKS = {
    "an element outside the plan": lambda one: {**one, "telecom": [{"value": CANARY}], "note": [{"text": CANARY}]},
    "narrative": lambda one: {**one, "text": {"status": "generated", "div": f"<div>{CANARY}</div>"}},
    "a contained resource": lambda one: {**one, "contained": [{"resourceType": "Basic", "id": CANARY}]},
    "an extension": lambda one: {**one, "extension": [{"url": "urn:x", "valueString": CANARY}]},
    "another patient": lambda one: {**one, "id": "p1006"} if one["resourceType"] == "Patient" else {**one, "subject": {"reference": "Patient/p1006"}},
    "a label that was refused": lambda one: {**one, "meta": {**one["meta"], "security": [{"system": ACT_CODE, "code": "PSY"}]}},
    "a type outside the plan": lambda one: {**one, "resourceType": "Basic"},
}  # fmt: skip


@pytest.mark.parametrize("change", LEAKS.values(), ids=LEAKS.keys())
def test_what_the_minimiser_lets_slip_the_checker_stops(agreed, entries, owner, monkeypatch, change):
    owner.execute("DELETE FROM prepared_release")  # Else nothing would be minimised.
    monkeypatch.setattr(Minimiser, "reduce_many", leaking(change))
    nothing_left(agreed.everything(), 503)
    assert kinds(entries) == ["release.permitted", "release.failed"]
    assert entries()[-1]["reason"] == "release.check-failed"
    assert owner.execute("SELECT count(*) FROM prepared_release").fetchone() == (0,)
    monkeypatch.undo()
    assert agreed.everything().status_code == 200


@pytest.mark.parametrize("place", [(Minimiser, "reduce_many"), (Checker, "_doubtful")], ids=["minimiser", "checker"])
def test_a_mistake_of_ours_releases_nothing_and_tells_the_log_nothing_of_the_data(agreed, entries, owner, monkeypatch, capfd, place):
    owner.execute("DELETE FROM prepared_release")

    def broken(*_args, **_options):
        raise KeyError(CANARY)

    monkeypatch.setattr(*place, broken)
    nothing_left(agreed.everything(), 503)
    assert kinds(entries) == ["release.permitted", "release.failed"]
    out, err = capfd.readouterr()
    assert CANARY not in out + err


# -- stored rows that somebody changed --


def flipped(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


A_CONDITION = "SELECT body FROM resource WHERE patient_key = %s AND type = 'Condition' AND id_token = %s"
CHANGE = "UPDATE resource SET body = %s WHERE patient_key = %s AND type = 'Condition' AND id_token = %s"


def a_body(owner, keys, key, names):
    token = id_token(keys, "Condition", names[0])
    was = owner.execute(A_CONDITION, (key, token)).fetchone()[0]
    return (CHANGE, (flipped(was), key, token)), (CHANGE, (was, key, token))


def a_version(owner, keys, key, names):
    change = "UPDATE resource SET version = version + %s WHERE patient_key = %s AND type = 'Patient'"
    return (change, (1, key)), (change, (-1, key))


def a_place(owner, keys, key, names):
    """The body of one resource under the id of another."""
    one, other = (id_token(keys, "Condition", name) for name in names[:2])
    was, another = (owner.execute(A_CONDITION, (key, token)).fetchone()[0] for token in (one, other))
    return (CHANGE, (another, key, one)), (CHANGE, (was, key, one))


def a_data_key(owner, keys, key, names):
    was = owner.execute("SELECT wrapped_key FROM patient WHERE patient_key = %s", (key,)).fetchone()[0]
    change = "UPDATE patient SET wrapped_key = %s WHERE patient_key = %s"
    return (change, (flipped(was), key)), (change, (was, key))


def a_grant(owner, keys, key, names):
    """Terms that name a type more than was approved."""
    grant, was = owner.execute(
        "SELECT g.id, g.terms::text FROM sharing_grant g JOIN grant_patient m ON m.grant_id = g.id WHERE m.patient_key = %s", (key,)
    ).fetchone()
    change = "UPDATE sharing_grant SET terms = %s::json WHERE id = %s"
    wider = json.loads(was)
    wider["data"] = [*wider["data"], {"resource_type": "Claim"}]
    return (change, (json.dumps(wider), grant)), (change, (was, grant))


@pytest.mark.parametrize(
    ("damage", "recorded", "reason"),
    [
        (a_body, ["release.permitted", "release.failed"], "record-unreadable"),
        (a_version, ["release.refused"], "record-unreadable"),  # The Patient among them, of which policy asks the age.
        (a_place, ["release.permitted", "release.failed"], "record-unreadable"),
        (a_data_key, ["release.refused"], "record-unreadable"),
        (a_grant, ["release.refused"], "grant-damaged"),
    ],
)
def test_a_changed_row_releases_nothing(story, agreed, owner, damage, recorded, reason):
    keys = story.installation.keys
    released = [entry["resource"] for entry in agreed.everything().json()["entry"]]
    names = [one["id"] for one in released if one["resourceType"] == "Condition"]
    before = len(agreed.events())
    harm, undo = damage(owner, keys, keys.patient_key(agreed.patient), names)
    assert owner.execute(*harm).rowcount == 1
    try:
        nothing_left(agreed.everything(), 503)
        told = agreed.events()[before:]
        assert [one["type"] for one in told] == recorded
        assert told[-1].get("reason", *told[-1].get("reasons", [])) == reason
        assert told[-1]["outcome"] in ("failed", "unavailable")
    finally:
        owner.execute(*undo)
    assert agreed.everything().status_code == 200


def test_labels_taken_from_a_row_open_nothing(story, agreed, owner):
    """The plain columns are for speed; what counts is inside the seal."""
    key = story.installation.keys.patient_key(agreed.patient)
    before = agreed.everything().json()
    rows = owner.execute("SELECT type, id_token, labels FROM resource WHERE patient_key = %s", (key,)).fetchall()
    assert owner.execute("UPDATE resource SET labels = '{}' WHERE patient_key = %s", (key,)).rowcount > 100
    try:
        after = agreed.everything().json()
    finally:
        with owner.cursor() as cursor:
            cursor.executemany(
                "UPDATE resource SET labels = %s WHERE patient_key = %s AND type = %s AND id_token = %s", [(row[2], key, *row[:2]) for row in rows]
            )
    assert [entry["resource"]["id"] for entry in after["entry"]] == [entry["resource"]["id"] for entry in before["entry"]]


def test_a_consent_that_does_not_open_denies(story, owner):
    its = agree(story, "p1002")
    assert its.everything().status_code == 200
    was = owner.execute("SELECT residual FROM consent WHERE id = %s", (its.consent,)).fetchone()[0]
    owner.execute("UPDATE consent SET residual = %s WHERE id = %s", (flipped(was), its.consent))
    nothing_left(its.everything(), 403)
    assert "consent.unenforceable" in its.events()[-1]["reasons"] or "consent.refused" in its.events()[-1]["reasons"]


def test_a_manifest_that_does_not_open_is_no_500(story, agreed, owner):
    release = agreed.everything().headers["release-id"]
    assert agreed.events()[-1]["type"] == "release.sent"  # A moment after the last byte.
    assert agreed.get(f"/releases/{release}").status_code == 200
    owner.execute("UPDATE release SET manifest = %s WHERE id = %s", (b"x" * 60, release))
    answer = agreed.get(f"/releases/{release}")
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"


# -- limits, shared resources, time --


def test_a_limit_is_spent_once_for_each_release_however_many_ask_at_once(story, owner):
    its = agree(story, "p1003", limit=10)
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: its.get("/fhir/Patient/p1003").status_code, range(30)))
    assert sorted(set(answers)) == [200, 404]
    assert answers.count(200) == 10
    assert [entry["type"] for entry in its.events()].count("release.permitted") == 10
    assert [entry["type"] for entry in its.events()].count("release.sent") == 10
    assert [entry.get("reasons") for entry in its.events() if entry["type"] == "release.refused"].count(None) == 0
    assert owner.execute("SELECT releases_used FROM sharing_grant WHERE number = %s", (its.number,)).fetchone() == (10,)
    nothing_left(its.everything(), 403)


def test_a_shared_resource_is_read_only_where_a_released_one_visibly_names_it(story):
    classes = ("clinical.demographics", "clinical.diagnoses", "clinical.encounters", "clinical.procedures", "management.staff")
    its = agree(story, without=("PSY",), data=[{"data_class": one} for one in classes])
    bundle = its.everything().json()
    text = json.dumps(bundle)
    shown = {entry["resource"]["id"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Practitioner"}
    assert "dr-he" in shown
    assert "dr-shen" not in text  # The psychiatrist, whom nothing names but what is held back.
    assert its.get("/fhir/Practitioner/dr-he").json()["id"] == "dr-he"
    for path in ("/fhir/Practitioner?patient=p1001", "/fhir/Patient/p1001/$everything?_type=Practitioner"):
        found = its.get(path).json()["entry"]
        assert {(entry["resource"]["resourceType"], entry["resource"]["id"]) for entry in found} == {("Practitioner", name) for name in shown}
    others = [its.get(f"/fhir/Practitioner/{name}") for name in ("dr-shen", "dr-luo", "never-was")]
    told = [{**answer.json(), "id": ""} for answer in others]
    assert [answer.status_code for answer in others] == [404, 404, 404]
    assert told[0] == told[1] == told[2]


def test_with_the_grant_ends_everything_under_it(story, owner, monkeypatch):
    its = agree(story, "p1009")
    assert its.everything().status_code == 200
    end = owner.execute("SELECT valid_until FROM sharing_grant WHERE number = %s", (its.number,)).fetchone()[0]
    moment = [end - timedelta(seconds=60)]
    monkeypatch.setattr(clock, "now", lambda: moment[0])
    monkeypatch.setattr("broker.demo.client.time", SimpleNamespace(time=lambda: clock.now().timestamp()))
    story.file_consent("p1009", "shengli")  # The one of today has run out by then.
    given = story.system(its.client).token(its.number)
    assert given["expires_in"] == 60
    late = Agreed(story, its.patient, its.number, its.consent, given["access_token"], its.client)
    assert late.everything().status_code in (200, 403)
    moment[0] = end
    nothing_left(late.everything(), 401)


def test_a_grant_that_ran_out_is_refused_whatever_the_token_says(story, owner):
    its = agree(story, "p1005")
    assert its.everything().status_code == 200
    owner.execute("UPDATE sharing_grant SET valid_until = now() - interval '1 second' WHERE number = %s", (its.number,))
    nothing_left(its.everything(), 403)
    assert any(reason.startswith("grant.") for reason in its.events()[-1]["reasons"])
