"""What operators watch: counted by routes and outcomes, by all processes together, and shown to nobody without the token."""

import os
import re
import subprocess
import sys
import urllib.request

import pytest

from broker.demo.story import TREATMENT
from tests.integration.test_stopping import answers, free_port, wait_until
from tests.live import hospital

TOKEN = "watchful"
PATIENT = "p1001"


@pytest.fixture
def story(database_url, tmp_path):
    with hospital(database_url, tmp_path, metrics_token=TOKEN) as running:
        yield running


def shown(story) -> str:
    return story.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer é"}])
def test_nobody_else_learns_that_it_is_there(story, header):
    asked = [story.http.get(path, headers={name: one.encode() for name, one in header.items()}) for path in ("/metrics", "/nowhere")]
    assert [one.status_code for one in asked] == [404, 404]
    assert asked[0].json()["code"] == asked[1].json()["code"]


def test_releases_and_requests_are_counted_without_naming_anybody(story):
    before = shown(story)
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)["number"]
    story.decide(number, "song.yi", "deng.li")
    system = story.system("shengli-his")
    token = system.token(number)["access_token"]
    left = system.fetch("GET", f"/fhir/Patient/{PATIENT}/$everything", token)
    system.fetch("GET", "/fhir/Patient/p1006/$everything", token)
    story.http.get("/no-such-place-as-p1001")
    after = shown(story)

    def more(name: str) -> float:
        return value(after, name) - value(before, name)

    assert more('broker_releases_total{outcome="sent"}') == 1
    assert more('broker_releases_total{outcome="refused"}') == 1
    assert more("broker_released_resources_total") == len(left.json()["entry"])
    assert more("broker_released_bytes_total") == len(left.content)
    route = 'route="/fhir/Patient/{patient}/$everything"'
    assert more(f'broker_requests_total{{method="GET",{route},status="200"}}') == 1
    assert more(f'broker_requests_total{{method="GET",{route},status="403"}}') == 1
    assert more(f"broker_request_seconds_count{{{route}}}") == 2
    assert more('broker_requests_total{method="GET",route="none",status="404"}') == 1
    for name in (PATIENT, "p1006", number, "shengli", "gao.min"):
        assert name not in after


def test_processes_behind_one_address_add_up(tmp_path, database_url):
    port = free_port()
    environment = {key: one for key, one in os.environ.items() if not key.startswith("BROKER_")} | {
        "BROKER_VAR": str(tmp_path), "BROKER_DATABASE_URL": database_url, "BROKER_METRICS_TOKEN": TOKEN,
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", "broker.cli", "serve", "--port", str(port), "--workers", "2"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), 180, "it never answered")
        asked = 1 + sum(answers(port) for _ in range(40))
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        text = urllib.request.urlopen(request, timeout=10).read().decode()
        assert value(text, 'broker_requests_total{method="GET",route="/livez",status="200"}') == asked > 20
    finally:
        process.terminate()
        process.wait(30)
