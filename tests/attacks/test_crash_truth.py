"""Crash truth (G3, F-01): a broker is killed in the middle of releases; whatever a recipient got is on record, every intent has an outcome.

What the recipient received is counted on its own side of the socket; what is on record is read from the database afterwards. Between the
two nothing is believed. ``BROKER_TEST_KILLS`` adds kills at random moments of a release to those at the named places.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx2
import psycopg
import pytest

from broker.audit import orphans
from broker.audit import service as audit
from broker.audit.database_source import open_source
from broker.audit.note import Verifier
from broker.audit.transmissions import OUTCOMES
from broker.audit.verify import verify
from broker.demo.story import TREATMENT
from tests.fakes.dying_broker import PLACES
from tests.live import hospital

ROOT = Path(__file__).resolve().parents[2]
PATIENT = "p1001"

#: Kills at random moments, besides those at named places.
KILLS = int(os.environ.get("BROKER_TEST_KILLS", "1"))
#: Places before the intent is committed: nothing may have left there, and there is nothing to explain.
EARLY = {"before gate", "after gate", "before decision", "after decision", "before intent"}
#: Places that every run of the suite visits; the others come with BROKER_TEST_KILLS above the default.
ALWAYS = ("after intent", "during send", "before outcome", "during outcome")
VISITED = [*(PLACES if KILLS > 1 else ALWAYS), *["within 0.3"] * KILLS]


@pytest.fixture(scope="module")
def story(module_database_url, tmp_path_factory):
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), refusal_step=0) as running:
        yield running


@pytest.fixture(scope="module")
def token(story):
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)
    story.decide(application["number"], "song.yi", "deng.li")
    # The story's own broker stays alive and gives tokens that the dying ones take: same keys, same address in the token.
    return lambda: story.system("shengli-his").token(application["number"])["access_token"]


def free_port():
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def fetched_from_a_dying_broker(story, token, place):
    """How many bytes of a body arrived from a broker that died at this place; the process is gone when this returns."""
    chosen, port = story.installation.settings, free_port()
    environment = {
        **os.environ,
        "BROKER_VAR": str(chosen.var),
        "BROKER_DATABASE_URL": chosen.database_url.get_secret_value(),
        "BROKER_BASE_URL": chosen.base_url,
        "BROKER_HOSPITAL": chosen.hospital,
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen([sys.executable, "-m", "tests.fakes.dying_broker", str(port), place], cwd=ROOT, env=environment) as process:
        try:
            until = time.monotonic() + 120
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert process.poll() is None, "it died before it was asked"
                assert time.monotonic() < until
                time.sleep(0.05)
            received = 0
            headers = {"Authorization": f"Bearer {token()}"}
            try:
                with httpx2.stream("GET", f"http://127.0.0.1:{port}/fhir/Patient/{PATIENT}/$everything", headers=headers, timeout=60) as answer:
                    assert answer.status_code == 200
                    for chunk in answer.iter_raw():
                        received += len(chunk)
            except httpx2.HTTPError:
                pass  # It died; what came before that counts.
            if not place.startswith("within"):
                assert process.wait(60) == -9
        finally:
            process.kill()
    return received


def releases(url):
    """Every release of the log: whether it has an outcome, and whether it counts as disclosed."""
    with psycopg.connect(url) as connection:
        intents = {row[0] for row in connection.execute("SELECT release_id FROM audit_event WHERE type = 'release.permitted'")}
        outcomes = connection.execute("SELECT release_id, count(*) FROM audit_event WHERE type = ANY(%s) GROUP BY 1", (list(OUTCOMES),))
        return intents, dict(outcomes.fetchall())


def test_whatever_left_is_on_record_and_every_intent_has_one_outcome(story, token, monkeypatch):
    monkeypatch.setattr(orphans, "GRACE", 0)
    url = story.installation.settings.database_url.get_secret_value()
    for number, place in enumerate(VISITED):
        before, _ = releases(url)
        received = fetched_from_a_dying_broker(story, token, place)
        after, _ = releases(url)
        new = after - before
        told = f"kill {number}, {place}: {received} bytes arrived"
        assert len(new) == (0 if place in EARLY else 1) or place.startswith("within"), told
        assert received == 0 or new, f"{told} of a release that is on no record"
        # Recovery: the job of any worker. The dead process's locks are gone as soon as PostgreSQL sees its socket closed.
        until = time.monotonic() + 60
        while True:
            audit.close_orphans(story.installation.database)
            intents, outcomes = releases(url)
            if intents == set(outcomes):
                break
            assert time.monotonic() < until, f"{told}; without an outcome: {intents - set(outcomes)}"
            time.sleep(0.2)
        assert set(outcomes.values()) <= {1}, told
        with story.installation.database.transaction() as session:
            sent = [one for one in audit.transmissions(session, limit=1000) if one.release in new]
            assert all(one.disclosed for one in sent) or received == 0, told
            open_ones = {one.release for one in audit.unfinished(session, timedelta(seconds=-60))}
        assert open_ones.issuperset(one.release for one in sent if one.outcome == "unknown"), told

    story.verify_log()
    settings = story.installation.settings
    with open_source(story.installation.database) as source:
        report = verify(source, Verifier.of(settings.log_origin, story.installation.keys.log_signer))
    assert report.ok, report.finding
