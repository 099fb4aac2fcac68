"""Schemathesis over every operation of /openapi.json, as a person and as a client: it finds no 5xx."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as hypothesis_given
from schemathesis.checks import not_a_server_error

from broker.demo.story import Story

EXAMPLES = 8


@pytest.fixture(scope="module")
def token(story: Story) -> str:
    story.file_consent("p1001", "shengli")
    application = story.apply("gao.min", "shengli-cardiology", "p1001", "TREAT", "consent", [{"data_class": "clinical.laboratory"}])
    story.decide(application["number"], "song.yi", "deng.li")
    return story.system("shengli-his").token(application["number"])["access_token"]


@pytest.mark.timeout(280)
@pytest.mark.parametrize("who", ["nobody", "manager", "client"])
def test_no_operation_answers_with_a_server_error(story, token, who):
    schema = schemathesis.openapi.from_url(f"{story.base_url}/openapi.json")
    given = {
        "nobody": {},
        "manager": {},
        "client": {"headers": {"Authorization": f"Bearer {token}"}},
    }[who]
    # Each Basic login costs what argon2 is meant to cost; a session token spares that.
    if who == "manager":
        opened = story.http.post("/api/v1/session", json={"username": "deng.li", "password": story.cast.passwords["deng.li"]})
        given = {"headers": {"Authorization": f"Bearer {opened.json()['token']}"}}
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/api/v1/session" and operation.method.upper() == "DELETE":
            continue  # It would end the session that the test uses.
        count += 1

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @hypothesis_given(case=operation.as_strategy())
        def attack(case):
            case.call_and_validate(base_url=story.base_url, checks=[not_a_server_error], timeout=30, **given)

        attack()
    assert count > 40
