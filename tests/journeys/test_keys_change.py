"""All three keys of a hospital are changed while recipients fetch (F-23, QA-5): not one read fails, no entry loses its proof.

Brokers are started anew between the steps, as an operator does it. Afterwards the old keys open nothing any more.
"""

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from uuid import UUID

import httpx2
import psycopg
import pytest
import uvicorn
from rich.console import Console
from typer.testing import CliRunner

from broker import settings as settings_module
from broker.app import open_installation
from broker.audit import receipt
from broker.audit import service as audit
from broker.audit.database_source import open_source
from broker.audit.note import Checkpoint, Verifier
from broker.audit.verify import verify
from broker.cli import app
from broker.crypto import KeyUnusable
from broker.demo.seed import seed
from broker.demo.story import TREATMENT, Story
from broker.identity.service import public_jwks
from broker.keyring.errors import KeyMissing
from broker.records import service as records
from broker.records.patients import vaults_for
from broker.records.vault import unwrapped
from broker.settings import Settings
from tests.live import serving

PATIENT = "p1001"
KINDS = ("key-encryption", "token-signing", "log-signing")


class House:
    """A hospital whose broker is started anew: calls go to the new one, as a proxy sends them, before the old one ends."""

    def __init__(self, url, folder):
        listener, address = place()
        self.calling = threading.Lock()
        self.chosen = Settings(var=folder, database_url=url, base_url=address, hospital="renhe", refusal_step=0)
        self.running = ExitStack()
        self.installation = open_installation(self.chosen)
        cast = seed(self.installation)
        self.running.enter_context(serving(self.installation, listener))
        self.story = Story(self.installation, cast, address, Console(file=StringIO()))

    def restart(self):
        following, (listener, address) = ExitStack(), place()
        self.installation = self.story.installation = open_installation(self.chosen)
        following.enter_context(serving(self.installation, listener))
        with self.calling:  # What was sent to the old one is answered.
            self.story.http.base_url = address
        self.running.close()
        self.running = following

    def get(self, path, **headers):
        with self.calling:
            return self.story.http.get(path, headers=headers)

    def close(self):
        self.running.close()
        self.story.close()


def place():
    """A socket to serve on, and its address."""
    listener = uvicorn.Config("unused", host="127.0.0.1", port=0).bind_socket()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def house(database_url, tmp_path):
    house = House(database_url, tmp_path / "var")
    yield house
    house.close()


class Recipient(threading.Thread):
    """Fetches without a pause, with a token that is renewed now and then; keeps every answer that was not as it should be."""

    def __init__(self, house, number):
        super().__init__(daemon=True)
        self.house, self.number = house, number
        self.stop, self.fetched, self.wrong = threading.Event(), 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                with self.house.calling:
                    token = self.house.story.system("shengli-his").token(self.number)["access_token"]
                for _ in range(5):
                    answer = self.house.get(f"/fhir/Patient/{PATIENT}", Authorization=f"Bearer {token}")
                    self.fetched += 1
                    if answer.status_code != 200:
                        self.wrong.append((answer.status_code, answer.text))
                    time.sleep(0.05)
            except (httpx2.HTTPError, AssertionError, RuntimeError, KeyError) as error:
                self.wrong.append(repr(error))


def test_keys_are_changed_while_recipients_fetch(house, database_url, monkeypatch):
    story, chosen = house.story, house.chosen
    environment = {"DATABASE_URL": database_url, "VAR": chosen.var, "BASE_URL": chosen.base_url, "HOSPITAL": chosen.hospital, "LANGUAGE": "en"}
    for name, value in environment.items():
        monkeypatch.setenv(f"BROKER_{name}", str(value))

    def keys(*arguments):
        settings_module.settings.cache_clear()
        return CliRunner().invoke(app, ["keys", *arguments])

    def held(kind):
        name = {"key-encryption": "key-encryption.hex"}.get(kind, f"{kind}.pem")
        text = (chosen.var / "keys" / name).read_text()
        return max(len(text.split()) if kind == "key-encryption" else 0, text.count("BEGIN"))

    story.file_consent(PATIENT, "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)
    story.decide(application["number"], "song.yi", "deng.li")
    before, old = house.installation.keys, Verifier.of(chosen.log_origin, house.installation.keys.log_signer)
    story.verify_log()
    with house.installation.database.transaction() as session:
        event, leaf = session.connection().exec_driver_sql("SELECT id, leaf FROM audit_event ORDER BY xid, seq LIMIT 1").one()
        early, kept = audit.proof(session, event), audit.published_checkpoint(session)

    recipient = Recipient(house, application["number"])
    recipient.start()
    try:
        # What would be done is told, and not done.
        assert keys("rotate", "key-encryption", "--dry-run").exit_code == 0
        assert held("key-encryption") == 1
        for kind in KINDS:
            assert keys("rotate", kind).exit_code == 0, kind
            assert held(kind) == 2
        # The broker that runs holds the old keys alone: nothing is wrapped, or signed, with one that it does not know.
        for kind in KINDS[:2]:
            assert keys("rotate", kind).exit_code == 1, kind
        house.restart()
        published = {one["kid"] for one in house.get("/oauth2/jwks").json()["keys"]}
        assert len(published) == 2, "both keys of tokens are published before the new one signs"

        story.verify_log()
        for kind in KINDS:
            done = keys("rotate", kind, *(["--batch", "2"] if kind == "key-encryption" else []))
            assert done.exit_code == 0, (kind, done.output)
        house.restart()
        again = keys("rotate", "key-encryption")
        assert again.exit_code == 0, again.output
        listed = keys("list")
        assert listed.exit_code == 0, listed.output
        assert "in use" in listed.output
        for kind, kid in old_names(before, old).items():
            assert keys("retire", kind, kid, "--dry-run").exit_code == 0, kind
            for _ in range(5):  # A table that releases are reading is waited for five seconds only.
                done = keys("retire", kind, kid)
                if "in use; run this again" not in done.output:
                    break
            assert done.exit_code == 0, (kind, done.output)
            assert held(kind) == 1
        house.restart()
        time.sleep(1)
    finally:
        recipient.stop.set()
        recipient.join(120)
    assert recipient.wrong == []
    assert recipient.fetched > 10

    # The old key-encryption key opens nothing, and nobody starts with it; the new one opens all.
    after = house.installation.keys
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT patient_key, wrapped_key FROM patient WHERE wrapped_key <> ''").fetchall()
    assert rows
    for patient_key, wrapped_key in rows:
        assert unwrapped(after, patient_key, wrapped_key)
        with pytest.raises(KeyUnusable):
            unwrapped(before, patient_key, wrapped_key)
    assert not set(before.keks) & set(after.keks)
    with pytest.raises(KeyMissing):
        open_installation(chosen.model_copy(update=given(before)))

    # Whatever the old key of the log signed is still believed by whoever holds it, and the new log continues it.
    story.verify_log()
    new = Verifier.of(chosen.log_origin, after.log_signer)
    receipt.check(early, leaf.encode(), old)
    with open_source(house.installation.database) as source:
        report = verify(source, new, former=source.former(), older=[kept])
    assert report.ok, report.finding
    with house.installation.database.transaction() as session:
        Checkpoint.opened(audit.published_checkpoint(session), new)
        told = {one for (one,) in session.connection().exec_driver_sql("SELECT type FROM audit_event WHERE type LIKE 'key.%%'")}
    assert {"key.introduced", "key.wrapped-anew", "key.retired"} <= told


def old_names(keys, vkey):
    return {"key-encryption": next(iter(keys.keks)).hex(), "token-signing": public_jwks(keys)["keys"][0]["kid"], "log-signing": vkey.vkey}


def given(keys):
    """Settings that give a process these keys."""
    values = {
        "key_encryption_key": keys.kek.hex(), "blinding_key": keys.blinding_secret.hex(),
        "token_signing_key": keys.token_signing_pem.decode(), "log_signing_key": keys.log_signing_pem.decode(),
    }  # fmt: skip
    return {name: getattr(Settings.model_validate({name: value}), name) for name, value in values.items()}


def test_a_change_that_was_broken_off_goes_on_and_finds_what_does_not_open(database, database_url, keys):
    """Every batch stands by itself; one key that opens with nothing at hand is named and stops nobody else's (F-23)."""
    with database.transaction() as session:
        vaults_for(session, keys, [f"p{number}" for number in range(12)], shared=True)
    new = replace(keys, kek=b"n" * 32, former_keks=(keys.kek,))
    with psycopg.connect(database_url) as connection:
        total = connection.execute("SELECT count(*) FROM patient").fetchone()[0]
        connection.execute("UPDATE patient SET wrapped_key = '' WHERE patient_key = (SELECT max(patient_key::text)::uuid FROM patient)")
        broken = connection.execute(
            "UPDATE patient SET wrapped_key = set_byte(wrapped_key, 30, get_byte(wrapped_key, 30) # 1)"
            " WHERE patient_key = (SELECT min(patient_key::text)::uuid FROM patient WHERE patient_key <> %s) RETURNING patient_key",
            (UUID(int=0),),
        ).fetchone()[0]
        first = records.rewrap(connection, new, limit=1)
        connection.commit()
        assert (first.wrapped, first.unreadable) == (1, ())
        records.rewrap(connection, new, start=first.onwards, limit=3)
        connection.rollback()  # Its process died.
        start, wrapped, unreadable = records.FIRST_PATIENT, 0, []
        while start is not None:
            step = records.rewrap(connection, new, start=start, limit=3)
            connection.commit()
            wrapped, unreadable, start = wrapped + step.wrapped, [*unreadable, *step.unreadable], step.onwards
        counts = records.wrapped_with(connection)
    assert unreadable == [broken]
    assert wrapped == total - 3  # One was done before, one is destroyed, one does not open.
    assert counts == {next(iter(new.keks)).hex(): total - 2, next(iter(keys.keks)).hex(): 1, "destroyed": 1}
