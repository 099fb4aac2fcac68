"""Withdrawals against releases, by several processes on one database: not one release is begun after an acknowledgement (E01, TM-5.2).

``BROKER_TEST_WITHDRAWALS=10000 BROKER_TEST_RELEASES=100000 pytest -s --timeout=0`` makes it the long run; without them it is a short one.
``BROKER_TEST_LOAD_SECONDS`` ends a long run early, with the figures that it came to. A machine that is starved of processor may answer 503,
which releases nothing and is counted apart; whoever asked asks again.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field

import httpx2
import pytest

from broker import clock
from broker.demo.consents import evidence, filing, revocation, sharing_consent
from tests.integration.release.conftest import agree
from tests.live import another_process, hospital

WITHDRAWALS = int(os.environ.get("BROKER_TEST_WITHDRAWALS", "6"))
RELEASES = int(os.environ.get("BROKER_TEST_RELEASES", "60"))
SECONDS = float(os.environ.get("BROKER_TEST_LOAD_SECONDS", "inf"))
PROCESSES, CALLERS = 2, 6
#: Seconds that a token is used for; it lives for 300.
FRESH = 200
PATH = "/fhir/Patient/p1001/$everything"


@dataclass
class Watch:
    """What the callers see. ``closed_since``: when the withdrawal was acknowledged after which no consent holds; None while one does."""

    token: str
    closed_since: float | None = None
    released: int = 0
    refused_since: int = 0
    busy: int = 0
    late: list[float] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)


def call(watch: Watch, base: str) -> None:
    """Ask again and again; an answer of 200 to what was asked after the acknowledgement is what must never be."""
    with httpx2.Client(base_url=base, timeout=120) as http:
        while not watch.stop.is_set():
            asked = time.monotonic()
            answer = http.get(PATH, headers={"Authorization": f"Bearer {watch.token}"})
            with watch.lock:
                closed = watch.closed_since
                if answer.status_code == 200:
                    watch.released += 1
                    if closed is not None and asked > closed:
                        watch.late.append(asked - closed)
                elif answer.status_code in (401, 403):
                    watch.refused_since += closed is not None and asked > closed
                elif answer.status_code == 503:
                    watch.busy += 1
                else:
                    watch.odd.append(answer.status_code)


def post(watch: Watch, http: httpx2.Client, url: str, body: object) -> httpx2.Response:
    """Send, and send again while the server has no room."""
    while (answer := http.post(url, content=json.dumps(body))).status_code == 503:
        with watch.lock:
            watch.busy += 1
        time.sleep(0.5)
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("load")


def test_nothing_is_released_after_a_withdrawal_is_acknowledged(module_database_url, folder):
    with (
        hospital(module_database_url, folder) as story,
        another_process(story, folder, module_database_url) as one,
        another_process(story, folder, module_database_url) as two,
    ):
        agreed = agree(story)
        who = {"username": "deng.li", "password": story.cast.passwords["deng.li"]}
        manager = {"Authorization": f"Bearer {story.http.post('/api/v1/session', json=who).json()['token']}"}
        watch, fresh = Watch(agreed.token), time.monotonic()
        callers = [threading.Thread(target=call, args=(watch, (one, two)[number % PROCESSES]), daemon=True) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        consent, withdrawn, took = agreed.consent, 0, []
        started = time.monotonic()
        until, ending = started + 60 + 2 * RELEASES, started + SECONDS
        with httpx2.Client(timeout=120, headers={**manager, "Content-Type": "application/fhir+json"}) as http:
            while withdrawn < WITHDRAWALS and time.monotonic() < ending:
                enough = (withdrawn + 1) * RELEASES / WITHDRAWALS
                while watch.released < enough:
                    assert time.monotonic() < until, (withdrawn, watch.released, watch.odd)
                    assert not watch.odd
                    time.sleep(0.005)
                began = time.monotonic()
                assert post(watch, http, f"{(one, two)[withdrawn % 2]}/fhir/Consent/$revokeConsent", revocation(consent, "p1001")).status_code == 200
                acknowledged = time.monotonic()
                with watch.lock:
                    watch.closed_since, watch.refused_since = acknowledged, 0
                took.append(acknowledged - began)
                withdrawn += 1
                while watch.refused_since < CALLERS:
                    assert time.monotonic() < until
                    assert not watch.late
                    time.sleep(0.002)
                if time.monotonic() - fresh > FRESH:
                    watch.token, fresh = story.system(agreed.client).token(agreed.number)["access_token"], time.monotonic()
                given = sharing_consent("p1001", "shengli", at=clock.now())
                del given["identifier"]
                with watch.lock:
                    watch.closed_since = None
                answer = post(watch, http, f"{one}/fhir/Consent/$fileConsent", filing(given, evidence("p1001")))
                assert answer.status_code == 201, answer.text
                consent = answer.headers["location"].rsplit("/", 1)[1]
                if withdrawn % 100 == 0:
                    sys.stdout.write(f"{time.monotonic() - started:.0f} s: {withdrawn} withdrawals, {watch.released} releases, {watch.busy} busy\n")
                    sys.stdout.flush()
        watch.stop.set()
        for caller in callers:
            caller.join(120)
        assert watch.late == []
        assert watch.odd == []
        assert watch.released >= RELEASES or time.monotonic() > ending
        sys.stdout.write(
            f"{withdrawn} withdrawals, {watch.released} releases, 0 after; acknowledged after {max(took):.3f} s at most, busy {watch.busy}\n"
        )
