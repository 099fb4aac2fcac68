"""Attacks on the release path, black box, over a socket: nothing forbidden comes out, and no answer tells what is there.

The numbers are those of the list of attacks that the project keeps. C1 is the provincial hospital with an approved application for p1001 only; p1006
is somebody else's patient; p1004 has consented but is in another grant.
"""

from __future__ import annotations

import json

import pytest

from broker.demo.client import expect
from broker.demo.story import Story
from broker.release import pacing

PATIENT = "p1001"
DATA = [{"data_class": "clinical.demographics"}, {"data_class": "clinical.laboratory"}, {"data_class": "clinical.diagnoses"}]


@pytest.fixture(scope="module")
def c1(story: Story) -> tuple[str, str]:
    """Application number and access token of C1."""
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", DATA)
    story.decide(application["number"], "song.yi", "deng.li")
    return application["number"], story.system("shengli-his").token(application["number"])["access_token"]


def get(story: Story, token: str, path: str, **headers: str):
    return story.http.get(path, headers={"Authorization": f"Bearer {token}", **headers})


def shape(answer) -> tuple:
    """What an outsider can compare: status, body without the request number, length of the headers that could differ."""
    body = answer.json()
    body.pop("id", None)
    for issue in body.get("issue", []):
        issue.pop("diagnostics", None)
    return answer.status_code, json.dumps(body, sort_keys=True), answer.headers.get("content-type"), answer.headers.get("etag")


@pytest.mark.parametrize(
    "query",
    [
        "_include=Observation:performer", "_revinclude=Provenance:target", "_include=*", "_has:Observation:patient:code=1", "subject:Patient.name=Z",
        "_filter=code%20eq%201", "code:contains=2", "_total=all", "_summary=count", "_elements=telecom", "_sort=date", "_text=HIV",
        "_content=HIV", "_lastUpdated=ap2020", "patient=p1006", "PATIENT=p1006", "value-quantity=gt5",
    ],
)  # fmt: skip
def test_a01_to_a26_what_is_not_in_the_grammar_is_refused(story, c1, query):
    answer = get(story, c1[1], f"/fhir/Observation?patient={PATIENT}&{query}", Prefer="handling=lenient")
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a27_no_patient_is_nobody(story, c1):
    assert get(story, c1[1], "/fhir/Observation").status_code == 400
    assert get(story, c1[1], "/fhir/Patient").status_code == 400


def test_a21_a_forbidden_id_beside_an_allowed_one(story, c1):
    assert get(story, c1[1], "/fhir/Patient?_id=p1001,p1006").status_code == 400


def test_b03_a_page_link_of_another_client_or_query(story, c1):
    page = json.loads(expect(get(story, c1[1], f"/fhir/Observation?patient={PATIENT}&_count=3"), 200).content)
    following = next(link["url"] for link in page["link"] if link["relation"] == "next").removeprefix(story.base_url)
    assert get(story, c1[1], following).status_code == 200
    assert story.http.get(following).status_code == 401  # B04
    assert get(story, c1[1], following.replace("_count=3", "_count=4")).status_code == 404
    assert get(story, c1[1], following[:-3] + "AAA").status_code == 404


def test_b13_missing_forbidden_and_withheld_look_the_same(story, c1):
    never = shape(get(story, c1[1], "/fhir/Observation/never-was"))
    others = shape(get(story, c1[1], "/fhir/Patient/p1006"))
    assert never[0] == others[0] == 404
    assert never == others
    patients = {shape(get(story, c1[1], f"/fhir/Patient/{name}/$everything")) for name in ("p1006", "p1004", "never-was")}
    assert len(patients) == 1
    assert patients.pop()[0] == 403


def test_a_type_outside_the_grant_is_a_failure_not_an_empty_success(story, c1):
    assert get(story, c1[1], f"/fhir/Claim?patient={PATIENT}").status_code == 403
    assert get(story, c1[1], f"/fhir/Patient/{PATIENT}/$everything?_type=Claim").status_code == 403


@pytest.mark.parametrize("kind", ["Consent", "AuditEvent", "Provenance", "Binary", "Bundle", "Nonsense", "$export", "$graphql", "metadata/x"])
def test_c20_d17_what_is_never_served(story, c1, kind):
    assert get(story, c1[1], f"/fhir/{kind}/1").status_code in (401, 403, 404)
    assert "entry" not in get(story, c1[1], f"/fhir/{kind}?patient={PATIENT}").text


@pytest.mark.parametrize(
    "path",
    [
        "/fhir/Patient/p1001/_history",
        "/fhir/Patient/p1001/_history/1",
        "/fhir/$graphql",
        "/fhir/Patient/p1001/$export",
        "/fhir/Composition/1/$document",
    ],
)
def test_b11_c03_c04_c20_unlisted_operations(story, c1, path):
    assert get(story, c1[1], path).status_code in (400, 404, 405)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_b20_c12_other_methods(story, c1, method):
    answer = story.http.request(method, f"/fhir/Patient/{PATIENT}", headers={"Authorization": f"Bearer {c1[1]}", "X-HTTP-Method-Override": "GET"})
    assert answer.status_code == 405
    assert "张" not in answer.text


@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/turtle", "application/fhir+json; fhirVersion=3.0"])
def test_b19_one_serializer(story, c1, accept):
    answer = get(story, c1[1], f"/fhir/Patient/{PATIENT}", Accept=accept)
    assert answer.status_code == 406
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert get(story, c1[1], f"/fhir/Patient/{PATIENT}?_format=json", Accept=accept).status_code == 200  # _format goes before Accept.


def test_b21_answers_are_not_for_caches(story, c1):
    answer = get(story, c1[1], f"/fhir/Patient/{PATIENT}")
    assert answer.headers["cache-control"] == "no-store"
    assert "Authorization" in answer.headers["vary"]


def test_a23_post_search_and_url_are_one_query(story, c1):
    both = story.http.post(f"/fhir/Observation/_search?patient={PATIENT}", headers={"Authorization": f"Bearer {c1[1]}"}, data={"patient": "p1006"})
    assert both.status_code == 400
    one = story.http.post("/fhir/Observation/_search", headers={"Authorization": f"Bearer {c1[1]}"}, data={"patient": PATIENT})
    assert one.status_code == 200


def test_e07_the_purpose_comes_from_the_application(story, c1):
    answer = story.system("shengli-his").http.post("/oauth2/token", data={"grant_type": "client_credentials", "purpose": "HMARKT"})
    assert answer.status_code in (400, 401)


def test_e02_a_token_from_before_the_revocation_is_no_good_after_it(story):
    story.file_consent("p1009", "shengli")
    application = story.apply("gao.min", "shengli-cardiology", "p1009", "TREAT", "consent", DATA)
    story.decide(application["number"], "song.yi", "deng.li")
    token = story.system("shengli-his").token(application["number"])["access_token"]
    assert get(story, token, "/fhir/Patient/p1009").status_code == 200
    story.person("deng.li").call("POST", f"/api/v1/applications/{application['number']}/revoke", body={"reason": "not needed any more"})
    assert get(story, token, "/fhir/Patient/p1009").status_code in (401, 403, 404)
    assert get(story, token, "/fhir/Patient/p1009/$everything").status_code in (401, 403)


def test_every_call_leaves_exactly_one_record_of_its_decision(story, c1):
    def decisions() -> list[str]:
        with story.installation.database.transaction() as session:
            rows = session.connection().exec_driver_sql(
                "SELECT type FROM audit_event WHERE type IN ('release.permitted', 'release.refused') ORDER BY xid, seq"
            )
            return [row[0] for row in rows]

    for path, told in (
        (f"/fhir/Patient/{PATIENT}", "release.permitted"),
        ("/fhir/Patient/p1006/$everything", "release.refused"),
        ("/fhir/Observation/never-was", "release.permitted"),  # As one that is withheld; test_same_work.py.
        (f"/fhir/Observation?patient={PATIENT}&_include=*", "release.refused"),
    ):
        before = decisions()
        get(story, c1[1], path)
        after = decisions()
        assert after[len(before) :] == [told], path


def test_b15_g13_every_refusal_behind_which_something_may_be_waits_for_the_same_step(story, c1, monkeypatch):
    """Unknown, somebody else's, withheld and outside the plan are answered after one and the same wait; what the query alone decides is not."""
    waited: list[float] = []

    async def even(_began: float, step: float) -> None:
        waited.append(step)

    monkeypatch.setattr(pacing, "even", even)
    paths = [
        "/fhir/Patient/never-was", "/fhir/Patient/p1006", "/fhir/Observation/never-was", "/fhir/Patient/p1006/$everything",
        "/fhir/Patient/never-was/$everything", "/fhir/Observation?patient=p1006", "/fhir/Observation?patient=never-was",
        f"/fhir/Claim?patient={PATIENT}",
    ]  # fmt: skip
    for number, path in enumerate(paths, 1):
        assert get(story, c1[1], path).status_code in (403, 404), path
        assert waited == [story.installation.settings.refusal_step] * number, path
    assert get(story, c1[1], f"/fhir/Observation?patient={PATIENT}&_include=*").status_code == 400
    assert len(waited) == len(paths)
