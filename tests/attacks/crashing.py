"""What crash tests share: a log with its checker, and processes that die. Nothing of the product knows of it."""

import os
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx2
import psycopg
import sqlalchemy as sa

from broker.audit import service
from broker.audit.database_source import open_source
from broker.audit.note import Verifier
from broker.audit.sequencer import Sequencer
from broker.audit.transmissions import INTENT
from broker.audit.verify import verify
from broker.crypto import load_keys
from broker.database import Database
from tests import outside_verifier
from tests.factories.audit import event, intent, outcome

ROOT = Path(__file__).resolve().parents[2]

#: How a database says that it is not there, or may not be written to.
AWAY = (sa.exc.DBAPIError, psycopg.Error)


class Log:
    """One log, who writes to it, and what anybody has seen of it."""

    def __init__(self, url, settings):
        self.url, self.settings, self.keys = url, settings, load_keys(settings)
        self.database = Database(url, "broker_web", pool=2)
        self.sequencer = Sequencer(Database(url, "broker_log"), settings, self.keys)
        self.verifier = Verifier.of(settings.log_origin, self.keys.log_signer)
        self.acknowledged, self.seen = set(), []
        self.sent, self.told, self.place = {}, [], None

    def record(self, count=1):
        """Events whose commit was acknowledged; each must be in the log for ever."""
        with self.database.transaction() as session:
            made = [service.record(session, event(facts={"number": number})) for number in range(count)]
        self.acknowledged.update(made)

    def send(self):
        """A release: its intent, committed first, and its outcome. What is remembered is what was acknowledged."""
        begun = intent()
        for each in (begun, outcome(begun)):
            with self.database.transaction() as session:
                made = service.record(session, each)
            self.acknowledged.add(made)
            self.sent[begun.release] = each.type

    def follow(self):
        """What a supervisor is told, who asks again from where they were (ID-3.2)."""
        while True:
            with self.database.transaction() as session:
                found = service.onwards(session, self.place, ("%",), limit=100)
            assert not found.restarted
            self.told += [one.id for one in found.events]
            self.place = found.place
            if not found.more:
                return

    def record_until_refused(self, times, count):
        for _ in range(times):
            self.record(count)

    def look(self):
        with self.database.transaction() as session:
            note = service.published_checkpoint(session)
        if note is not None and note not in self.seen:
            self.seen.append(note)

    def check(self):
        """Whole, one entry for each event, and a continuation of everything that was ever seen."""
        self.look()
        with open_source(self.database) as source:
            report = verify(source, self.verifier, older=self.seen)
        assert report.ok, report.finding
        with psycopg.connect(self.url) as connection:
            entries = dict(connection.execute("SELECT event_id, count(*) FROM log_entry GROUP BY 1").fetchall())
            order = connection.execute("SELECT index, event_id FROM log_entry ORDER BY index").fetchall()
        assert [index for index, _ in order] == list(range(len(order)))
        assert set(entries.values()) <= {1}
        assert entries.keys() >= self.acknowledged
        self.follow()
        assert self.told == [event_id for _, event_id in order[: report.size]], "the feed: no gap, nothing twice"
        self.check_releases()
        for event_id in [*self.told[:1], *self.told[-3:]]:
            self.check_receipt(event_id)
        return report

    def check_releases(self):
        """The accounting: each acknowledged intent once, with the outcome that was acknowledged, and without one it counts as disclosed."""
        with self.database.transaction() as session:
            found = service.transmissions(session, limit=100_000)
            waiting = {one.release for one in service.unfinished(session, timedelta(days=-10_000))}
        releases = {one.release: one for one in found}
        assert len(releases) == len(found)
        assert releases.keys() >= self.sent.keys()
        for release, known in self.sent.items():
            assert releases[release].disclosed
            assert known == INTENT or releases[release].outcome == "sent"
        assert waiting == {one.release for one in found if one.outcome == "unknown"}

    def check_receipt(self, event_id):
        """A receipt that was given proves the entry to somebody who shares no code with us."""
        with self.database.transaction() as session:
            receipt = service.proof(session, event_id)
            (leaf,) = session.connection().exec_driver_sql("SELECT leaf FROM audit_event WHERE id = %s", (event_id,)).one()
        assert outside_verifier.check_receipt(receipt, leaf.encode(), self.verifier.vkey).size > 0

    def sealed(self):
        """Whether everything that was recorded is under the newest checkpoint."""
        with psycopg.connect(self.url) as connection:
            query = "SELECT s.size = (SELECT count(*) FROM audit_event) AND s.size = (SELECT max(size) FROM log_checkpoint) FROM log_state s"
            return connection.execute(query).fetchone()[0]

    def bury(self):
        """Wait until PostgreSQL has seen that the dead sequencer is dead: whoever comes sooner finds its lock, and takes other steps."""
        until = time.monotonic() + 60
        with psycopg.connect(self.url, autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'broker broker_log%'"
            while connection.execute(query).fetchone()[0]:
                assert time.monotonic() < until, "the dead sequencer is still connected"
                time.sleep(0.005)

    def recover(self, told):
        """Recovery: whoever comes next. The dead one's lock is free as soon as PostgreSQL sees its socket closed."""
        until = time.monotonic() + 60
        while self.sequencer.seal_once() or not self.sealed():
            assert time.monotonic() < until, f"{told}: the log stands still"
            time.sleep(0.02)


class Dying:
    """A program of ``tests.fakes`` that forks a process for each line it is told and says how that ended."""

    def __init__(self, module, *arguments, environment=None):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def begin(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def number(self):
        """The next number it tells: of a process, or how one ended."""
        return int(self._process.stdout.readline())

    def ended(self, line):
        """How a process ended that was told this: 0, or the negative number of the signal that killed it."""
        self.begin(line)
        return self.number()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def dying_brokers(story):
    """Brokers of this story's hospital, with its keys; the story's own stays alive and gives tokens that these take."""
    chosen = story.installation.settings
    environment = {
        **os.environ,
        "BROKER_VAR": str(chosen.var),
        "BROKER_DATABASE_URL": chosen.database_url.get_secret_value(),
        "BROKER_BASE_URL": chosen.base_url,
        "BROKER_HOSPITAL": chosen.hospital,
        "PYTHONPATH": str(ROOT),
    }
    return Dying("tests.fakes.dying_broker", environment=environment)


def free_port():
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def a_dying_broker(brokers, place, *, surely=False):
    """Its ``process`` and ``port``, once it serves; how it ``ended`` stands there after the block.

    ``surely``: it must have died by itself; otherwise it is killed when the block ends, and ``ended`` is not -9 then.
    """
    broker = SimpleNamespace(port=free_port(), process=None, ended=None)
    brokers.begin(f"{broker.port} {place}")
    broker.process = brokers.number()
    try:
        until = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", broker.port)):
            assert time.monotonic() < until, "it does not serve"
            time.sleep(0.05)
        yield broker
    finally:
        broker.ended = brokers.ended("surely" if surely else "perhaps")
    assert broker.ended == -9 or not surely, f"{place}: it did not die there"


def fetched(port, patient, token):
    """How many bytes of a body arrived before the broker died, or until all had."""
    received = 0
    try:
        with httpx2.stream(
            "GET", f"http://127.0.0.1:{port}/fhir/Patient/{patient}/$everything", headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as answer:
            assert answer.status_code == 200
            for chunk in answer.iter_raw():
                received += len(chunk)
    except httpx2.HTTPError:
        pass  # It died; what came before that counts.
    return received
