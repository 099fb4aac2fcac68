"""Applications over HTTP: what goes in, what comes out, ETags, repeated requests, errors that name the field and never the value."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from broker import clock, edge
from broker.applications import service
from broker.applications.routes import build_router
from broker.settings import Settings
from tests.factories import applications as make
from tests.factories import identity

BASE = "/api/v1/applications"


@dataclass
class Desk:
    """The app of applications alone, and everybody's headers."""

    http: TestClient
    engine: make.StubEngine
    headers: dict[Any, dict[str, str]]
    held: list[str] = field(default_factory=list)

    def post(self, who, path="", body=None, **headers):
        """POST as somebody; ``if_match`` and ``idempotency_key`` are headers."""
        return self.send("POST", who, path, body, **headers)

    def send(self, method, who, path="", body=None, **headers):
        extra = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return self.http.request(method, BASE + path, json=body, headers={**self.headers[who], **extra})

    def get(self, who, path=""):
        return self.http.get(BASE + path, headers=self.headers[who])

    def step(self, who, answer, verb, body=None, **headers):
        """The next step on what an earlier answer showed."""
        return self.post(who, f"/{answer.json()['id']}/{verb}", body, if_match=answer.headers["etag"], **headers)

    def submitted(self, people, *numbers, **changes):
        return self.step(people.applicant, self.post(people.applicant, body=make.form(*numbers, **changes)), "submit")

    def endorsed(self, people, *numbers, **changes):
        return self.step(people.head, self.submitted(people, *numbers, **changes), "endorse")


@pytest.fixture
def desk(database, keys, people, patients):
    app = FastAPI()
    edge.install(app)
    app.state.database, app.state.keys, app.state.settings = database, keys, Settings()
    with database.transaction() as session:
        headers = {one: identity.signed_in(session, session.get(identity.models.Person, one)) for one in vars(people).values()}
    engine = make.StubEngine()
    desk = Desk(TestClient(app, raise_server_exceptions=False), engine, headers)
    app.include_router(
        build_router(
            keys=keys,
            engine=engine,
            consent_facts=make.StubConsents(),
            data_classes=make.TYPES_OF,
            preview=lambda _session, application: {"of": application.number, "types": ["Observation"]},
            holds=lambda _session, _person: tuple(desk.held),
        )
    )
    return desk


def paths(answer):
    return [(problem["path"], problem["code"]) for problem in answer.json()["errors"]]


# --- The way through -------------------------------------------------------------------------------------------------


def test_from_draft_to_grant(desk, people):
    draft = desk.post(people.applicant, body=make.form())
    assert draft.status_code == 201
    assert draft.headers["etag"] == '"1"'
    assert draft.headers["location"] == f"{BASE}/{draft.json()['id']}"
    assert draft.json()["status"] == "draft"
    assert draft.json()["patients"] == [{"position": 1, **make.typed(1)}]
    assert draft.json()["actions"] == ["edit", "submit", "withdraw"]

    submitted = desk.step(people.applicant, draft, "submit")
    assert submitted.status_code == 200, submitted.text
    number = submitted.json()["number"]
    assert number == submitted.json()["id"] == f"SA-{clock.now().year}-000001"
    assert (submitted.json()["status"], submitted.json()["assessed"]) == ("submitted", "permit")
    assert submitted.headers["etag"] == '"2"'

    assert desk.get(people.head, f"/{number}").json()["actions"] == ["assess", "endorse", "recuse", "return", "refuse"]
    endorsed = desk.step(people.head, submitted, "endorse")
    assert endorsed.json()["status"] == "endorsed"

    approved = desk.step(people.manager, endorsed, "approve", {"releases_limit": 5})
    assert approved.status_code == 200, approved.text
    grant = approved.json()["grant"]
    assert (grant["status"], grant["releases_limit"], grant["patients"], grant["recipient"]) == ("active", 5, [1], make.RECIPIENT)
    assert grant["actions"] == ["suspend", "revoke"]
    assert approved.json()["actions"] == []

    # The draft's own address stays good.
    assert desk.get(people.applicant, f"/{draft.json()['id']}").json()["number"] == number

    thread = desk.get(people.auditor, f"/{number}/exchange").json()
    assert [one["action"] for one in thread["decisions"]] == ["submit", "endorse", "approve"]
    assert [one["ordinal"] for one in thread["assessments"]] == [1, 2]
    assert thread["grant"]["id"] == grant["id"]
    assert thread["transmissions"] == []

    revoked = desk.step(people.manager, approved, "revoke", {"reason": "患者撤回同意。", "code": "no-consent"})
    assert revoked.json()["grant"]["status"] == "revoked"
    last = desk.get(people.manager, f"/{number}/exchange").json()["decisions"][-1]
    assert (last["action"], last["code"], last["reason"]) == ("revoke", "no-consent", "患者撤回同意。")


def test_narrow_return_refuse_withdraw(desk, people):
    narrowed = desk.step(
        people.manager,
        desk.endorsed(people, 1, 2),
        "narrow",
        {"data": [{"resource_type": "Observation", "elements": ["code"]}], "patients": [2], "reason": "只需检验项目。", "code": "not-necessary"},
    )
    assert narrowed.json()["grant"]["data"] == [{"resource_type": "Observation", "elements": ["code"]}]
    assert narrowed.json()["grant"]["patients"] == [2]
    assert desk.step(people.head, desk.submitted(people), "return", {"reason": "请补充"}).json()["status"] == "returned"
    assert desk.step(people.manager, desk.endorsed(people), "refuse", {"reason": "不必要"}).json()["status"] == "refused"
    number = desk.submitted(people).json()["number"]
    assert desk.post(people.applicant, f"/{number}/withdraw").json()["status"] == "withdrawn"


def test_assessment_and_preview(desk, people, patients):
    desk.engine.denied = {patients[2].hex}
    number = desk.submitted(people, 1, 2).json()["number"]
    shown = desk.get(people.applicant, f"/{number}/assessment").json()
    assert (shown["effect"], shown["current"], shown["policy_revision"]) == ("deny", True, "test-1")
    assert [(one["position"], one["effect"]) for one in shown["patients"]] == [(1, "permit"), (2, "deny")]
    assert shown["patients"][1]["reasons"] == [{"code": "consent.refused", "message": "The patient refused this use."}]
    desk.engine.denied = set()
    again = desk.post(people.manager, f"/{number}/assessment")
    assert (again.status_code, again.json()["effect"], again.json()["ordinal"]) == (200, "permit", 2)
    assert desk.get(people.manager, f"/{number}/preview").json() == {"of": number, "types": ["Observation"]}
    # A preview shows a patient's data, and nobody but who decides needs it.
    for who, status in ((people.applicant, 403), (people.head, 403), (people.auditor, 403), (people.stranger, 404)):
        assert desk.get(who, f"/{number}/preview").status_code == status


def test_a_draft_has_no_assessment(desk, people):
    draft = desk.post(people.applicant, body={})
    assert desk.get(people.applicant, f"/{draft.json()['id']}/assessment").status_code == 404


# --- Versions --------------------------------------------------------------------------------------------------------


def test_changing_needs_if_match(desk, people):
    draft = desk.post(people.applicant, body=make.form())
    path = f"/{draft.json()['id']}"
    for method in ("PUT", "PATCH"):
        missing = desk.send(method, people.applicant, path, {"purpose": "TREAT"})
        assert (missing.status_code, missing.json()["code"]) == (428, "precondition-required")
        for stale in ('"9"', 'W/"1"', "1", '"x"', '"' + "9" * 5000 + '"'):
            answer = desk.send(method, people.applicant, path, {"purpose": "TREAT"}, if_match=stale)
            assert answer.status_code in (412, 422), stale
        assert desk.send(method, people.applicant, path, {"purpose": "TREAT"}, if_match="*").status_code == 428
    stale = desk.send("PATCH", people.applicant, path, {"purpose": "TREAT"}, if_match='"9"')
    assert (stale.status_code, stale.headers["etag"]) == (412, '"1"')


def test_put_replaces_and_patch_changes(desk, people):
    draft = desk.post(people.applicant, body=make.form())
    path = f"/{draft.json()['id']}"
    changed = desk.send("PATCH", people.applicant, path, {"urgency": "urgent", "retention_days": None}, if_match='"1"')
    assert (changed.json()["urgency"], changed.json()["retention_days"], changed.json()["purpose"]) == ("urgent", None, "TREAT")
    assert changed.headers["etag"] == '"2"'
    replaced = desk.send("PUT", people.applicant, path, {"purpose": "HRESCH"}, if_match='"2"')
    assert (replaced.json()["purpose"], replaced.json()["recipient"], replaced.json()["patients"]) == ("HRESCH", None, [])


@pytest.mark.parametrize("verb", ["submit", "endorse", "approve", "narrow", "return", "refuse"])
def test_deciding_needs_if_match(desk, people, verb):
    who, answer = {
        "submit": (people.applicant, lambda: desk.post(people.applicant, body=make.form())),
        "endorse": (people.head, lambda: desk.submitted(people)),
    }.get(verb, (people.manager, lambda: desk.endorsed(people)))
    path = f"/{answer().json()['id']}/{verb}"
    body = None if verb == "submit" else {"reason": "理由"}
    assert desk.post(who, path, body).status_code == 428
    assert desk.post(who, path, body, if_match='"99"').status_code == 412


# --- Repeated requests -----------------------------------------------------------------------------------------------


def test_a_repeated_draft_is_one_draft(desk, people):
    first = desk.post(people.applicant, body=make.form(), idempotency_key="k1")
    again = desk.post(people.applicant, body=make.form(), idempotency_key='"k1"')
    assert again.json() == first.json()
    assert (again.status_code, again.headers["idempotency-replayed"], again.headers["etag"]) == (201, "true", '"1"')
    assert len(desk.get(people.applicant).json()["items"]) == 1
    other = desk.post(people.applicant, body=make.form(urgency="urgent"), idempotency_key="k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    # Another person's key is another key.
    assert desk.post(people.head, body={}, idempotency_key="k1").status_code == 201


def test_a_repeated_step_gets_the_first_answer(desk, people):
    draft = desk.post(people.applicant, body=make.form())
    first = desk.step(people.applicant, draft, "submit", idempotency_key="s1")
    again = desk.step(people.applicant, draft, "submit", idempotency_key="s1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert desk.step(people.applicant, draft, "submit").status_code == 409
    # The same key for another step is another request.
    assert desk.step(people.applicant, first, "withdraw", idempotency_key="s1").status_code == 422


def test_a_failed_request_leaves_its_key_free(desk, people):
    desk.held = ["SA-2026-000001"]
    draft = desk.post(people.applicant, body=make.form())
    assert desk.step(people.applicant, draft, "submit", idempotency_key="s1").status_code == 409
    desk.held = []
    assert desk.step(people.applicant, draft, "submit", idempotency_key="s1").status_code == 200


def test_two_keys_are_none(desk, people):
    headers = [*desk.headers[people.applicant].items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = desk.http.post(BASE, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key")


# --- Who sees what ---------------------------------------------------------------------------------------------------


def test_lists_hold_what_one_may_see_newest_first(desk, people):
    mine = [desk.submitted(people).json()["number"] for _ in range(3)]
    draft = desk.post(people.applicant, body={}).json()["id"]
    other = desk.post(people.stranger, body={}).json()["id"]

    def listed(who, query=""):
        return [one["id"] for one in desk.get(who, query).json()["items"]]

    assert listed(people.applicant) == [draft, *reversed(mine)]
    assert listed(people.stranger) == [other]
    for who in (people.head, people.manager, people.auditor):
        assert listed(who) == list(reversed(mine))
    assert listed(people.inside_head) == []
    assert listed(people.applicant, "?status=draft") == [draft]
    assert listed(people.manager, "?recipient=qingyuan") == []
    first = desk.get(people.manager, "?limit=2").json()
    assert [one["id"] for one in first["items"]] == [mine[2], mine[1]]
    second = desk.get(people.manager, f"?limit=2&after={first['next']}").json()
    assert ([one["id"] for one in second["items"]], second["next"]) == ([mine[0]], None)
    assert desk.get(people.manager, f"?after={uuid4()}").json() == {"items": [], "next": None}


def test_what_is_not_yours_looks_like_what_is_not_there(desk, people):
    number = desk.submitted(people).json()["number"]
    answers = [
        desk.get(people.stranger, path)
        for path in (
            f"/{number}",
            "/SA-2026-999999",
            f"/{uuid4()}",
            "/nonsense",
            f"/{number}/exchange",
            f"/{number}/assessment",
            f"/{number}/preview",
        )
    ]
    answers += [desk.post(people.stranger, f"/{ref}/revoke", {"reason": "x"}) for ref in (number, "SA-2026-999999")]
    without = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert {answer.status_code for answer in answers} == {404}
    assert all(one == without[0] for one in without)


def test_nobody_without_a_login(desk):
    for method, path in (("GET", BASE), ("POST", BASE), ("GET", f"{BASE}/SA-2026-000001"), ("POST", f"{BASE}/SA-2026-000001/approve")):
        answer = desk.http.request(method, path, json={})
        assert (answer.status_code, "www-authenticate" in answer.headers) == (401, True)


# --- Bad input -------------------------------------------------------------------------------------------------------

CANARY = "CANARY-7f3a"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"purpose": "TREAT " + CANARY}, "/body/purpose"),
        ({"unknown_" + CANARY: 1}, None),
        ({"data": [{}]}, "/body/data/0"),
        ({"data": [{"data_class": "clinical", "resource_type": "Observation"}]}, "/body/data/0"),
        ({"data": [{"resource_type": "Observation", "elements": []}]}, "/body/data/0/elements"),
        ({"data": [{"resource_type": "Observation", "codes": [CANARY]}]}, "/body/data/0/codes/0"),
        ({"data": [{"data_class": "clinical", "elements": ["code"]}]}, "/body/data/0"),
        ({"patients": [{"name": CANARY}]}, "/body/patients/0/identifier"),
        ({"patients": [{"identifier": {"system": "s", "value": CANARY + "\x00"}}]}, "/body/patients/0/identifier/value"),
        ({"patients": [{"identifier": {"system": "s", "value": "v"}, "birthDate": CANARY}]}, "/body/patients/0/birthDate"),
        ({"period": {"start": "0001-01-01"}}, "/body/period/start"),
        ({"valid_until": "9999-12-31"}, "/body/valid_until"),
        ({"retention_days": -1}, "/body/retention_days"),
        ({"retention_days": True}, "/body/retention_days"),
        ({"retention_days": "7"}, "/body/retention_days"),
        ({"valid_until": 1798675200}, "/body/valid_until"),
        ({"valid_until": "2026-12-31T00:00:00Z"}, "/body/valid_until"),
        ({"valid_until": "2026-02-30"}, "/body/valid_until"),
        ({"urgency": CANARY}, "/body/urgency"),
        ({"justification": " \n "}, "/body/justification"),
        ({"justification": "x" * 4001}, "/body/justification"),
        ([CANARY], None),
    ],
)
def test_bad_fields_are_named_and_never_repeated(desk, people, body, path):
    answer = desk.post(people.applicant, body=body)
    assert answer.status_code == 422
    assert path is None or path in [problem for problem, _ in paths(answer)]
    if not isinstance(body, dict) or "unknown_" + CANARY not in body:
        assert CANARY not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_can_not_be_submitted_says_why(desk, people):
    draft = desk.post(people.applicant, body=make.form(patients=[make.typed(1), make.typed(9)], lawful_basis=None))
    answer = desk.step(people.applicant, draft, "submit")
    assert (answer.status_code, paths(answer)) == (422, [("/lawful_basis", "required")])
    draft = desk.post(people.applicant, body=make.form(patients=[make.typed(1), make.typed(9)]))
    answer = desk.step(people.applicant, draft, "submit")
    assert (answer.status_code, paths(answer)) == (422, [("/patients/1", "not-matched")])
    assert make.typed(9)["name"] not in answer.text
    desk.held = ["SA-2026-000001"]
    held = desk.step(people.applicant, draft, "submit")
    assert (held.status_code, held.json()["code"], paths(held)) == (409, "feedback-overdue", [("/applications/SA-2026-000001/feedback", "overdue")])


def test_errors_speak_both_languages(desk, people):
    draft = desk.post(people.applicant, body=make.form())
    path = f"{BASE}/{draft.json()['id']}/submit"
    titles = {
        language: desk.http.post(path, headers={**desk.headers[people.applicant], "Accept-Language": language}).json()["title"]
        for language in ("zh-CN", "en")
    }
    assert titles == {"zh-CN": "缺少 If-Match 请求头。", "en": "If-Match is required."}


def test_answers_are_as_declared(desk, people):
    """Every path and answer of the module is in the OpenAPI document, and the verbs that interface.md names are there."""
    spec = desk.http.get("/openapi.json").json()
    verbs = {path.rsplit("/", 1)[-1] for path in spec["paths"] if path.startswith(BASE + "/{ref}/")}
    assert verbs >= {"submit", "endorse", "approve", "narrow", "return", "refuse", "withdraw", "revoke", "assessment", "preview", "exchange"}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert {"401", "403", "404", "409", "412", "422", "428"} <= operation["responses"].keys()


def test_service_names_what_it_exports():
    assert sorted(service.__all__) == sorted(set(service.__all__))
    assert all(hasattr(service, name) for name in service.__all__)
