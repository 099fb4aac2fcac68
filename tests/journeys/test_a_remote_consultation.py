"""A remote consultation (TM-5.1, TM-5.4, TM-7): data open when it begins, close on the minute, and come back with their author."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from fhir.resources.R4B.bundle import Bundle

from broker import clock
from broker.demo.client import Unexpected
from broker.demo.story import TREATMENT, Story
from broker.telemedicine import service as telemedicine

PATIENT = "p1001"
PATH = "/api/v1/consultations"


@pytest.fixture(scope="module")
def people(story: Story) -> dict[str, str]:
    """Ids of the demo's people; the consultant holds a licence, and not yet the training."""
    found = {one["username"]: one["id"] for one in story.person("peng.bo").call("GET", "/api/v1/people").json()}
    licence = {
        "person": found["song.yi"],
        "code": "licence.practice",
        "number": "110440000012345",
        "issued_on": "2020-01-01",
        "scope": ["cardiology"],
    }
    story.person("deng.li").call("POST", "/api/v1/qualifications", expected=201, body=licence)
    return found


def approved(story: Story) -> str:
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)["number"]
    story.decide(number, "song.yi", "deng.li")
    return number


def booked(story: Story, people: dict[str, str], application: str, *, minutes: int = 30, starts: int = -1) -> str:
    now = clock.now()
    body = {
        "application": application, "consultant": people["song.yi"],
        "starts_at": (now + timedelta(minutes=starts)).isoformat(), "ends_at": (now + timedelta(minutes=minutes)).isoformat(),
    }  # fmt: skip
    return story.person("gao.min").call("POST", PATH, expected=201, body=body).json()["number"]


def step(story: Story, who: str, number: str, verb: str, expected: int = 200, **body):
    return story.person(who).call("POST", f"{PATH}/{number}/{verb}", expected=expected, body=body)


def fetch(story: Story, token: str):
    return story.http.get(f"/fhir/Patient/{PATIENT}/$everything", headers={"Authorization": f"Bearer {token}"})


def no_token(story: Story, application: str) -> None:
    with pytest.raises(Unexpected):
        story.system("shengli-his").token(application)


NOTE = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:6d7d3f6a-0d4e-4a52-9a2f-6f6a4e0c1a01",
            "resource": {
                "resourceType": "Observation", "id": "tc-observation-1", "status": "final", "code": {"text": "血压（视频指导自测）"},
                "subject": {"reference": f"Patient/{PATIENT}"}, "effectiveDateTime": "2026-11-23T10:00:00+08:00",
                "valueQuantity": {"value": 134, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
            },
            "request": {"method": "PUT", "url": "Observation/tc-observation-1"},
        },
        {
            "fullUrl": "urn:uuid:6d7d3f6a-0d4e-4a52-9a2f-6f6a4e0c1a02",
            "resource": {
                "resourceType": "MedicationRequest", "id": "tc-prescription-1", "status": "active", "intent": "order",
                "medicationCodeableConcept": {"text": "氨氯地平 5 mg"}, "subject": {"reference": f"Patient/{PATIENT}"},
                "authoredOn": "2026-11-23T10:10:00+08:00",
            },
            "request": {"method": "PUT", "url": "MedicationRequest/tc-prescription-1"},
        },
    ],
}  # fmt: skip


def test_five_steps_and_the_door_between_them(story, people):
    application = approved(story)
    token = story.system("shengli-his").token(application)["access_token"]
    assert fetch(story, token).status_code == 200  # An approved application, not yet tied to a meeting.
    number = booked(story, people, application)
    assert number.startswith("TC-")
    assert fetch(story, token).status_code in (401, 403)  # From the booking on, nothing leaves outside of the consultation.
    no_token(story, application)
    told = story.person("song.yi").call("GET", "/api/v1/notifications").json()
    assert number in json.dumps(told)

    step(story, "gao.min", number, "confirm", 403)  # Not theirs to confirm.
    step(story, "song.yi", number, "open", 409)
    step(story, "song.yi", number, "confirm")
    step(story, "song.yi", number, "open", 409)  # Who the patient is has not been made sure of.
    step(story, "gao.min", number, "identify", method="video-and-card")
    refused = step(story, "song.yi", number, "open", 403).json()
    assert "/training.telemedicine" in {one["path"] for one in refused["errors"]}
    training = {"person": people["song.yi"], "code": "training.telemedicine", "number": "T-1", "issued_on": "2026-01-01"}
    story.person("deng.li").call("POST", "/api/v1/training", expected=201, body=training)
    no_token(story, application)
    assert step(story, "song.yi", number, "open").json()["status"] == "open"

    token = story.system("shengli-his").token(application)["access_token"]
    left = fetch(story, token)
    assert left.status_code == 200
    assert len(left.json()["entry"]) > 20

    assert step(story, "song.yi", number, "records", **NOTE).json() == {"number": number, "taken": 2}
    assert step(story, "song.yi", number, "records", **NOTE).json()["taken"] == 0  # Once.
    again = fetch(story, token).json()
    assert "tc-prescription-1" in {one["resource"]["id"] for one in again["entry"]}  # It is in the patient's record.
    database, keys = story.installation.database, story.installation.keys
    with database.transaction() as session:
        made = session.connection().exec_driver_sql(
            "SELECT count(*) FROM resource WHERE type = 'Provenance' AND patient_key = %s", (keys.patient_key(PATIENT),)
        )
        assert made.scalar_one() == 1

    closed = step(story, "song.yi", number, "close", follow_up_due=(clock.today() + timedelta(days=14)).isoformat(), note="继续监测血压。").json()
    assert closed["status"] == "closed"
    assert fetch(story, token).status_code in (401, 403)
    no_token(story, application)
    step(story, "song.yi", number, "open", 409)
    whole = step(story, "gao.min", number, "follow-up").json()
    assert whole["status"] == "followed-up"
    assert [one["step"] for one in whole["steps"]] == ["book", "confirm", "identify", "open", "prescribe", "close", "follow-up"]
    assert [one["note"] for one in whole["steps"] if one["note"]] == ["继续监测血压。"]

    looked = story.person("cao.yan").call("GET", f"{PATH}/{number}").json()
    assert [one["note"] for one in looked["steps"]] == [None] * 7  # An auditor sees what was done and not what was said.
    shown = story.person("cao.yan").call("GET", f"{PATH}/{number}/fhir")
    document = Bundle.model_validate_json(shown.content)
    kinds = [entry.resource.get_resource_type() for entry in document.entry]
    assert kinds == ["Appointment", "Encounter", *["Provenance"] * 7]
    assert (document.entry[0].resource.status, document.entry[1].resource.status) == ("fulfilled", "finished")

    with database.transaction() as session:
        logged = [
            row[0] for row in session.connection().exec_driver_sql("SELECT type FROM audit_event WHERE type LIKE 'consultation.%%' ORDER BY xid, seq")
        ]
        figures = telemedicine.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))
    assert logged == [f"consultation.{one['step']}" for one in whole["steps"]]
    assert (figures["held"], figures["with_prescription"], figures["followed_up"]) == (1, 1, 1)


def test_it_closes_on_the_minute_whoever_forgets_to(story, people, set_clock):
    application = approved(story)
    number = booked(story, people, application, minutes=2)
    step(story, "song.yi", number, "confirm")
    step(story, "song.yi", number, "identify", method="known-to-staff")
    opened = step(story, "song.yi", number, "open").json()
    token = story.system("shengli-his").token(application)["access_token"]
    ends = clock.datetime.fromisoformat(opened["ends_at"])
    set_clock(ends - timedelta(seconds=1))
    assert fetch(story, token).status_code == 200
    set_clock(ends)
    assert fetch(story, token).status_code in (401, 403)
    no_token(story, application)
    one = story.person("song.yi").call("GET", f"{PATH}/{number}").json()
    assert one["status"] == "closed"  # By the clock, before any job ran.
    with story.installation.database.transaction() as session:
        assert telemedicine.close_due(session, story.installation.keys) == 1
        assert telemedicine.close_due(session, story.installation.keys) == 0
    one = story.person("song.yi").call("GET", f"{PATH}/{number}").json()
    assert one["closed_at"] == one["ends_at"]
    assert one["steps"][-1]["person"] is None


def test_what_is_missed_or_cancelled_never_opens(story, people, set_clock):
    application = approved(story)
    number = booked(story, people, application, minutes=2)
    step(story, "song.yi", number, "confirm")
    set_clock(timedelta(minutes=3))
    assert story.person("gao.min").call("GET", f"{PATH}/{number}").json()["status"] == "missed"
    step(story, "song.yi", number, "identify", 409, method="passport")
    no_token(story, application)
    other = approved(story)
    number = booked(story, people, other)
    assert step(story, "gao.min", number, "cancel").json()["status"] == "cancelled"
    no_token(story, other)


def test_before_its_time_it_does_not_open(story, people):
    application = approved(story)
    number = booked(story, people, application, starts=30, minutes=60)
    step(story, "song.yi", number, "confirm")
    step(story, "song.yi", number, "identify", method="passport")
    assert step(story, "song.yi", number, "open", 409).json()["code"] == "consultation-not-the-time"


@pytest.fixture(scope="module")
def free(story: Story) -> str:
    """An approved application that is tied to nothing."""
    return approved(story)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"consultant": "gao.min"}, "/consultant"),
        ({"consultant": "he.wenbo"}, "/consultant"),  # of another hospital
        ({"ends": 6 * 60}, "/ends_at"),
        ({"ends": -5}, "/ends_at"),
        ({"starts": 60 * 24 * 400, "ends": 60 * 24 * 400 + 30}, "/starts_at"),
    ],
)
def test_what_can_not_be_booked(story, people, free, change, path):
    application, now = free, clock.now()
    body = {
        "application": application, "consultant": people[change.get("consultant", "song.yi")],
        "starts_at": (now + timedelta(minutes=change.get("starts", -10))).isoformat(),
        "ends_at": (now + timedelta(minutes=change.get("ends", 30))).isoformat(),
    }  # fmt: skip
    refused = story.person("gao.min").call("POST", PATH, expected=422, body=body).json()
    assert path in {one["path"] for one in refused["errors"]}


def test_nobody_else_sees_or_books_it(story, people):
    application = approved(story)
    number = booked(story, people, application)
    for who in ("yu.fang", "lu.xin"):
        story.person(who).call("GET", f"{PATH}/{number}", expected=404)
        assert number not in {one["number"] for one in story.person(who).call("GET", PATH).json()}
        step(story, who, number, "confirm", 404)
    step(story, "deng.li", number, "confirm", 404)  # Looking at it is not taking part in it.
    assert story.person("deng.li").call("GET", f"{PATH}/{number}").json()["possible"] == []
    body = {"application": application, "consultant": people["song.yi"], "starts_at": clock.now().isoformat(), "ends_at": clock.now().isoformat()}
    story.person("song.yi").call("POST", PATH, expected=403, body=body)


SPOILT = [
    lambda one: one.update(subject={"reference": "Patient/p1006"}),  # somebody else's record
    lambda one: one.pop("subject"),
    lambda one: one.update(resourceType="Consent"),
    lambda one: one.update(resourceType="Patient"),
    lambda one: one.update(status="no-such-status"),
    lambda one: one.update(subject="Patient/p1001"),
]


def test_records_that_are_not_of_this_consultation_are_refused_whole(story, people):
    number = booked(story, people, approved(story))
    step(story, "song.yi", number, "confirm")
    step(story, "song.yi", number, "identify", method="passport")
    step(story, "song.yi", number, "records", 409, **NOTE)  # Not begun.
    step(story, "song.yi", number, "open")
    for spoil in SPOILT:
        bad = json.loads(json.dumps(NOTE))
        spoil(bad["entry"][0]["resource"])
        assert step(story, "song.yi", number, "records", 422, **bad).json()["errors"]
    step(story, "song.yi", number, "records", 422, resourceType="Bundle")
    step(story, "gao.min", number, "records", 403, **NOTE)
    taken = [one["step"] for one in story.person("song.yi").call("GET", f"{PATH}/{number}").json()["steps"]]
    assert taken == ["book", "confirm", "identify", "open"]
