"""Crash truth (G3, F-01): a broker is killed in the middle of releases; whatever a recipient got is on record, every intent has an outcome.

What the recipient received is counted on its own side of the socket; what is on record is read from the database afterwards. Between the
two nothing is believed. ``BROKER_TEST_KILLS`` adds kills at random moments of a release to those at the named places, and says how many
system calls of a release a broker is killed at (F-02).
"""

import os
import random
import sys
import time
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from broker.audit import orphans
from broker.audit import service as audit
from broker.audit.database_source import open_source
from broker.audit.note import Verifier
from broker.audit.transmissions import OUTCOMES
from broker.audit.verify import verify
from broker.demo.story import TREATMENT
from tests.attacks.crashing import a_dying_broker, dying_brokers, fetched
from tests.fakes import system_calls
from tests.fakes.dying_broker import PLACES
from tests.live import hospital

PATIENT = "p1001"

#: Kills at random moments, besides those at named places.
KILLS = int(os.environ.get("BROKER_TEST_KILLS", "1"))
#: Places before the intent is committed: nothing may have left there, and there is nothing to explain.
EARLY = {"before gate", "after gate", "before decision", "after decision", "before intent"}
#: Places that every run of the suite visits; the others come with BROKER_TEST_KILLS above the default.
ALWAYS = ("after intent", "during send", "before outcome", "during outcome")
#: System calls of a release at which a broker is killed.
CALLED = max(6, KILLS)
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


def releases(url):
    """Every release of the log: whether it has an outcome, and whether it counts as disclosed."""
    with psycopg.connect(url) as connection:
        intents = {row[0] for row in connection.execute("SELECT release_id FROM audit_event WHERE type = 'release.permitted'")}
        outcomes = connection.execute("SELECT release_id, count(*) FROM audit_event WHERE type = ANY(%s) GROUP BY 1", (list(OUTCOMES),))
        return intents, dict(outcomes.fetchall())


def check(story, before, told, received, expected=(0, 1)):
    """What arrived is on record, and every intent gets its one outcome. ``expected``: how many intents there may be more than before."""
    url = story.installation.settings.database_url.get_secret_value()
    after, _ = releases(url)
    new = after - before
    told = f"{told}: {received} bytes arrived"
    assert len(new) in expected, told
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


def check_log(story):
    story.verify_log()
    settings = story.installation.settings
    with open_source(story.installation.database) as source:
        report = verify(source, Verifier.of(settings.log_origin, story.installation.keys.log_signer))
    assert report.ok, report.finding


@pytest.fixture
def intents(story, monkeypatch):
    """The intents on record so far; what was cut off is closed at once."""
    monkeypatch.setattr(orphans, "GRACE", 0)
    return lambda: releases(story.installation.settings.database_url.get_secret_value())[0]


@pytest.mark.timeout(300 + 10 * KILLS)
def test_whatever_left_is_on_record_and_every_intent_has_one_outcome(story, token, intents):
    with dying_brokers(story) as brokers:
        for number, place in enumerate(VISITED):
            before, named = intents(), not place.startswith("within")
            with a_dying_broker(brokers, place, surely=named) as broker:
                received = fetched(broker.port, PATIENT, token())
            check(story, before, f"kill {number}, {place}", received, (0, 1) if not named else (0,) if place in EARLY else (1,))
    check_log(story)


@pytest.mark.strace
@pytest.mark.timeout(300 + 10 * CALLED)
def test_a_broker_killed_at_any_system_call_of_a_release(story, token, intents, tmp_path):
    """F-02: the calls of one release are counted, and others die as they enter one of them; what was sent before that is on record."""
    if system_calls.hindrance() is not None:
        pytest.skip(system_calls.hindrance())
    with dying_brokers(story) as brokers:
        with a_dying_broker(brokers, "nowhere") as broker:
            tracer = system_calls.counting(broker.process, tmp_path / "calls")
            whole = fetched(broker.port, PATIENT, token())
            tracer.end()
        assert whole > 0
        calls = system_calls.counted(tmp_path / "calls")
        assert calls["sendto"] > 0
        chance, died, arrived = random.Random(20261123), 0, set()
        points = system_calls.points(calls, chance)
        for number in range(CALLED):
            call, at = points[number % len(points)]
            before = intents()
            with a_dying_broker(brokers, "nowhere") as broker:
                tracer = system_calls.killing(broker.process, call, at)
                received = fetched(broker.port, PATIENT, token())
                tracer.end()
            died += broker.ended == -9
            arrived.add(received)
            check(story, before, f"kill {number}, at {call} {at}", received)
        assert died > CALLED // 2
    check_log(story)
    sys.stdout.write(f"{died} kills in {CALLED} attempts at {len(points)} system calls; {len(arrived)} different lengths arrived\n")


def test_a_database_that_may_only_be_read_releases_nothing_and_still_proves(story, token, intents):
    """F-07: a standby, or a server that was made read-only. What can't be recorded is not done; what was published is there."""
    settings, given = story.installation.settings, token()
    url, base = settings.database_url.get_secret_value(), settings.base_url
    patient = f"/fhir/Patient/{PATIENT}/$everything"
    system = story.system("shengli-his")
    assert system.fetch("GET", patient, given).status_code == 200
    story.verify_log()
    before = intents()
    accounted = story.person("deng.li").call("GET", f"/api/v1/disclosures?patient={PATIENT}").json()["disclosures"]
    proof = accounted[0]["proofs"][0].removeprefix(base)
    receipt = story.person("deng.li").call("GET", proof).text

    def read_only(value):
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("SET default_transaction_read_only = off")
            (name,) = owner.execute("SELECT current_database()").fetchone()
            owner.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(sql.Identifier(name), value))
            (since,) = owner.execute("SELECT clock_timestamp()").fetchone()
            older = "FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND backend_start < %s"
            # A connection ends a while after it was told to, and until then goes on under the old setting.
            while owner.execute(f"SELECT count(pg_terminate_backend(pid)) {older}", (name, since)).fetchone() != (0,):
                time.sleep(0.05)

    read_only("on")
    try:
        for _ in range(8):  # The first find connections that were cut, the others a database that refuses.
            answer = system.fetch("GET", patient, given)
            assert answer.status_code == 503, answer.text
            assert "Bundle" not in answer.text
        # Looking at what was sent of a patient is itself recorded, or not answered.
        story.person("deng.li").call("GET", f"/api/v1/disclosures?patient={PATIENT}", expected=503)
        # The entry's place and proof; a younger checkpoint may stand below, since looking was recorded and sealed meanwhile.
        assert story.person("deng.li").call("GET", proof).text.splitlines()[:2] == receipt.splitlines()[:2]
    finally:
        read_only("off")
    assert intents() == before
    until = time.monotonic() + 60
    while system.fetch("GET", patient, given).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    check_log(story)
