"""A hospital that serves, exchanges agreed upon in it, its log, and sockets without any client in between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from broker.demo.story import TREATMENT, Story
from tests.live import hospital

#: Seconds that a recipient of these tests may take nothing.
GATE_TIMEOUT = 1.0


@pytest.fixture(scope="module")
def story(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The demo's hospital. The operating system holds a few kilobytes of an answer, so that a recipient who doesn't read is felt."""
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), gate_timeout=GATE_TIMEOUT, send_buffer=4096) as running:
        yield running


@dataclass(frozen=True)
class Agreed:
    """A consent, an application that was approved on it, and a token."""

    story: Story
    patient: str
    number: str
    consent: str
    token: str
    client: str

    def get(self, path: str, **headers: str):
        return self.story.http.get(path, headers={"Authorization": f"Bearer {self.token}", **headers})

    def everything(self):
        return self.get(f"/fhir/Patient/{self.patient}/$everything")

    def events(self) -> list[dict[str, Any]]:
        """What the log says of releases of this application, in order, once every intent has its outcome.

        A recipient has its last byte a moment before that is on record.
        """
        query = "SELECT type, outcome, leaf FROM audit_event WHERE application = %s AND type LIKE 'release.%%' ORDER BY xid, seq"
        until = time.monotonic() + 10
        while True:
            with self.story.installation.database.transaction() as session:
                rows = session.connection().exec_driver_sql(query, (self.number,)).all()
            told = [row[0] for row in rows]
            if told.count("release.permitted") == sum(kind in ("release.sent", "release.partial", "release.failed") for kind in told):
                return [{"type": kind, "outcome": outcome, **json.loads(leaf)["facts"]} for kind, outcome, leaf in rows]
            assert time.monotonic() < until, "an intent has no outcome"
            time.sleep(0.02)

    def decide(self, verb: str) -> None:
        self.story.person("deng.li").call("POST", f"/api/v1/applications/{self.number}/{verb}", body={"reason": "a test"})


def agree(story: Story, patient: str = "p1001", *, data: list[dict] | None = None, limit: int | None = None, without: tuple[str, ...] = ()) -> Agreed:
    """File a consent, apply, endorse, approve, get a token."""
    consent = story.file_consent(patient, "shengli", without=without)
    number = story.apply("gao.min", "shengli-cardiology", patient, "TREAT", "consent", data or TREATMENT)["number"]
    path = f"/api/v1/applications/{number}"
    for who, verb, body in (("song.yi", "endorse", {}), ("deng.li", "approve", {"releases_limit": limit} if limit else {})):
        person = story.person(who)
        person.call("POST", f"{path}/{verb}", headers={"If-Match": person.call("GET", path).headers["etag"]}, body=body)
    token = story.system("shengli-his").token(number)["access_token"]
    return Agreed(story, patient, number, consent, token, "shengli-his")


@pytest.fixture
def owner(module_database_url: str) -> Iterator[psycopg.Connection]:
    """Somebody who can write to the tables behind the broker's back."""
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        yield connection
