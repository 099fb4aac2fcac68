"""What a worker prepares when a grant comes to life is what the first fetch would make, and nothing where it would be refused (RS-5.2.3, PI-3.2a)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from broker import jobs
from broker.demo.consents import revocation
from broker.errors import Problem
from broker.fhir.checker import Checker
from broker.fhir.minimise import Minimiser
from broker.release import ahead, collect
from tests.factories.records import bundle, observation, taken_in
from tests.integration.release.conftest import Agreed, agree

LABORATORY = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}


@pytest.fixture(scope="module")
def agreed(story) -> Agreed:
    return agree(story, without=("PSY",))


def work(agreed: Agreed) -> None:
    """Do what waits for a worker."""
    jobs.run_until_idle(ahead.background(), agreed.story.installation)


def prepare(agreed: Agreed) -> None:
    ahead.prepare(agreed.story.installation, {"grant": str(grant_of(agreed))})


def grant_of(agreed: Agreed) -> UUID:
    with agreed.story.installation.database.transaction() as session:
        found: UUID = session.connection().exec_driver_sql("SELECT id FROM sharing_grant WHERE number = %s", (agreed.number,)).scalar_one()
    return found


def rows(owner: psycopg.Connection, agreed: Agreed) -> list[Any]:
    query = "SELECT basis, epoch, changes, made_at FROM prepared_release WHERE grant_id = %s"
    return owner.execute(query, (grant_of(agreed),)).fetchall()


@pytest.fixture
def plain(owner: psycopg.Connection) -> Iterator[None]:
    owner.execute("DELETE FROM prepared_release")
    yield
    owner.execute("DELETE FROM prepared_release")


def entries(answer: Any) -> str:
    """All but the number and the moment of the release."""
    assert answer.status_code == 200, answer.text
    form = answer.json()
    return json.dumps([form["meta"], form["total"], form["entry"]])


def test_the_first_fetch_is_of_what_the_worker_prepared_and_equals_what_is_made_anew(agreed, plain, owner, monkeypatch):
    anew = entries(agreed.everything())
    owner.execute("DELETE FROM prepared_release")
    before = agreed.events()
    work(agreed)
    assert len(rows(owner, agreed)) == 1
    # Nothing left, so nothing is on record, neither in the log nor as a release; and no decision stands as if something came of it.
    assert agreed.events() == before

    def broken(*_arguments: Any, **_named: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(Minimiser, "reduce_many", broken)
    assert entries(agreed.everything()) == anew
    page = agreed.get(f"/fhir/Observation?patient={agreed.patient}&_count=20")
    assert len(page.json()["entry"]) == 20
    assert [event["type"] for event in agreed.events()[len(before) :]] == ["release.permitted", "release.sent"] * 2


def test_a_job_waits_as_soon_as_a_grant_lives_and_not_before(story, owner, plain):
    waiting = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'release.prepare' AND args -> 'payload' ->> 'grant' = %s"
    agreed = agree(story, "p1002")
    grant = str(grant_of(agreed))
    assert owner.execute(waiting, (grant,)).fetchone() == (1,)
    work(agreed)
    assert len(rows(owner, agreed)) == 1
    agreed.decide("suspend")
    prepare(agreed)
    assert len(rows(owner, agreed)) == 1  # Of a grant that does not live nothing is touched; nothing of it can be fetched either.
    assert owner.execute(waiting, (grant,)).fetchone() == (0,)
    agreed.decide("resume")
    assert owner.execute(waiting, (grant,)).fetchone() == (1,)


def test_where_consents_refuse_nothing_is_prepared_and_what_lay_there_goes(story, owner, plain):
    agreed = agree(story, "p1004")
    work(agreed)
    assert len(rows(owner, agreed)) == 1
    story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(agreed.consent, agreed.patient))
    ahead.prepare_again(story.installation, {})
    assert rows(owner, agreed) == []
    prepare(agreed)
    assert rows(owner, agreed) == []


def test_where_policy_gives_no_answer_nothing_is_prepared(agreed, plain, owner, monkeypatch):
    monkeypatch.setattr(type(agreed.story.installation.engine), "deaf", property(lambda _: True))
    prepare(agreed)
    assert rows(owner, agreed) == []


def test_what_the_checker_does_not_pass_is_not_prepared(agreed, plain, owner, monkeypatch):
    monkeypatch.setattr(Checker, "examined", lambda *_, **__: ([Problem("x", "x", "x")], {}))
    prepare(agreed)
    assert rows(owner, agreed) == []


def test_a_patient_who_is_frozen_is_not_prepared(agreed, plain, owner):
    key = agreed.story.installation.keys.patient_key(agreed.patient)
    owner.execute("UPDATE patient SET frozen_at = now() WHERE patient_key = %s", (key,))
    try:
        prepare(agreed)
        assert rows(owner, agreed) == []
    finally:
        owner.execute("UPDATE patient SET frozen_at = NULL WHERE patient_key = %s", (key,))


def test_a_grant_of_many_is_not_prepared(agreed, plain, owner, monkeypatch):
    monkeypatch.setattr(ahead, "MOST", 0)
    prepare(agreed)
    assert rows(owner, agreed) == []


def test_what_records_outdate_is_prepared_again_and_what_is_good_is_left(agreed, plain, owner, monkeypatch):
    prepare(agreed)
    ((basis, epoch, changes, made),) = rows(owner, agreed)
    ahead.prepare_again(agreed.story.installation, {})
    assert rows(owner, agreed) == [(basis, epoch, changes, made)]
    installation = agreed.story.installation
    assert taken_in(installation.database, installation.keys, bundle(observation("ahead-1", agreed.patient, category=[LABORATORY]))).refused == 0
    ahead.prepare_again(installation, {})
    ((_, _, later, _),) = rows(owner, agreed)
    assert later > changes
    monkeypatch.setattr(Minimiser, "reduce_many", lambda *_, **__: [])
    assert "ahead-1" in entries(agreed.everything())


def test_what_was_prepared_is_judged_anew_by_whoever_fetches(agreed, plain, owner):
    """A preparation is no permission: the same row, another moment."""
    prepare(agreed)
    agreed.decide("suspend")
    assert agreed.everything().status_code == 403
    agreed.decide("resume")
    assert agreed.everything().status_code == 200


def test_the_order_is_that_of_a_release(agreed, plain, owner, monkeypatch):
    """Whatever a release would ask of what it collects, a preparation asks too: both are made by one function."""
    seen: list[collect.Order] = []
    safely = collect.safely

    async def noted(cursor: Any, keys: Any, order: collect.Order) -> Any:
        seen.append(order)
        return await safely(cursor, keys, order)

    monkeypatch.setattr(collect, "safely", noted)
    agreed.everything()
    prepare(agreed)
    fetched, prepared = seen
    assert replace(prepared, wanted=fetched.wanted, vault=fetched.vault, gate=fetched.gate, plan=fetched.plan) == fetched
    assert (prepared.vault, prepared.gate.fingerprint, prepared.plan.fingerprint) == (
        fetched.vault,
        fetched.gate.fingerprint,
        fetched.plan.fingerprint,
    )
