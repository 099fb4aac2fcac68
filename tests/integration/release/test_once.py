"""Idempotency-Key on POST /releases: one request is one disclosure, whatever the network does (E13, F-12)."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.asking import JSON
from tests.integration.release.conftest import Agreed, agree


@pytest.fixture(scope="module")
def agreed(story) -> Agreed:
    return agree(story)


def ask(agreed: Agreed, key: str | None, *, patient: str | None = None, token: str | None = None, types: list[str] | None = None):
    headers = {"Authorization": f"Bearer {token or agreed.token}", "Content-Type": JSON, "Accept-Language": "en"}
    if key is not None:
        headers["Idempotency-Key"] = key
    body = {"application": agreed.number, "patient": patient or agreed.patient} | ({"types": types} if types else {})
    return agreed.story.http.post("/releases", content=json.dumps(body), headers=headers)


def sent(agreed: Agreed) -> int:
    return sum(event["type"] == "release.sent" for event in agreed.events())


def test_a_repeat_is_a_409_that_names_the_release_and_sends_nothing(agreed):
    key, before = secrets.token_hex(8), sent(agreed)
    first = ask(agreed, key)
    assert first.status_code == 200
    for name in (key, f'"{key}"'):
        again = ask(agreed, name)
        assert (again.status_code, again.json()["code"]) == (409, "released-already")
        assert again.headers["release-id"] == first.headers["release-id"]
        assert agreed.patient not in again.text
    assert sent(agreed) == before + 1
    assert ask(agreed, secrets.token_hex(8)).status_code == 200


def test_the_key_with_another_request_is_a_422(agreed):
    key = secrets.token_hex(8)
    assert ask(agreed, key).status_code == 200
    answer = ask(agreed, key, types=["Patient"])
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


def test_of_many_at_once_one_is_released(agreed):
    key, before = secrets.token_hex(8), sent(agreed)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(agreed, key).status_code, range(12)))
    assert sorted(set(answers)) == [200, 409]
    assert answers.count(200) == 1
    assert sent(agreed) == before + 1


def test_a_refused_request_leaves_the_key_free(agreed):
    key = secrets.token_hex(8)
    for _ in range(2):
        assert ask(agreed, key, patient="p1006").status_code == 403
    assert ask(agreed, key, token="x.y.z").status_code == 401
    assert ask(agreed, key).status_code == 200


def test_keys_are_each_client_s_own(agreed):
    key = secrets.token_hex(8)
    assert ask(agreed, key).status_code == 200
    with agreed.story.installation.database.transaction() as session:
        rows = session.connection().exec_driver_sql("SELECT actor FROM idempotency_key WHERE key = %s", (key,)).all()
    assert [row[0] for row in rows] == [f"client:{agreed.client}"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
def test_a_key_that_is_none(agreed, key):
    answer = ask(agreed, key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key")
