"""``broker audit`` as an auditor runs it."""

import json

import pytest
from typer.testing import CliRunner

from broker import settings as settings_module
from broker.cli.audit import app
from tests.fakes.full_disk import no_file_beyond


@pytest.fixture
def run(database_url, test_settings, keys, monkeypatch):
    monkeypatch.setenv("BROKER_DATABASE_URL", database_url)
    monkeypatch.setenv("BROKER_VAR", str(test_settings.var))
    monkeypatch.setenv("BROKER_LANGUAGE", "en")
    settings_module.settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))
    settings_module.settings.cache_clear()


@pytest.fixture
def log(record_many, sequencer):
    record_many(300)
    sequencer.seal_once()


def test_a_whole_log(run, log):
    result = run("verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("The log is whole: 300 entries, root ")
    report = json.loads(run("verify", "--json").stdout)
    assert (report["ok"], report["size"], report["root"]) == (True, 300, result.stdout.split()[-1])


def test_a_broken_log(run, log, unguarded):
    unguarded.execute("UPDATE audit_event SET leaf = replace(leaf, '\"number\":299', '\"number\":298')")
    result = run("verify")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("entry 299: ")
    result = run("verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["where"] == "entry 299"


def test_the_checkpoint_this_machine_saw_is_used(run, log, unguarded, test_settings):
    unguarded.execute("DELETE FROM audit_event; DELETE FROM log_entry; DELETE FROM log_checkpoint WHERE size > 0; DELETE FROM log_tile")
    unguarded.execute("UPDATE log_state SET size = 0, root = sha256('')")
    assert run("verify").stderr.startswith("checkpoint: there is no checkpoint")


def test_an_exported_log_is_verified_anywhere(run, log, record_many, sequencer, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    vkey = run("key").stdout.strip()
    assert run("export", folder).exit_code == 0
    saved = tmp_path / "saved"
    saved.write_bytes((folder / "checkpoint").read_bytes())
    record_many(300)
    sequencer.seal_once()
    assert run("export", folder).exit_code == 0
    assert run("verify", "--log", folder, "--from", saved).exit_code == 0

    # On a machine that has none of the broker's keys.
    monkeypatch.setenv("BROKER_VAR", str(tmp_path / "elsewhere"))
    settings_module.settings.cache_clear()
    assert run("verify", "--log", folder).exit_code == 2
    assert not (tmp_path / "elsewhere").exists()
    assert run("verify", "--log", folder, "--key", vkey, "--from", saved).exit_code == 0
    (tmp_path / "vkey").write_text(vkey + "\n")
    assert run("verify", "--log", folder, "--key", tmp_path / "vkey").exit_code == 0

    tile = folder / "tile/0/001"
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    result = run("verify", "--log", folder, "--key", vkey)
    assert (result.exit_code, result.stderr.split(":")[0]) == (1, "entry 256")


def test_an_export_that_finds_no_room_leaves_nothing_half_and_goes_on(run, log, record_many, sequencer, tmp_path):
    """F-07, with a limit of the kernel: no file may grow beyond it. The old checkpoint stays with the old copy, which verifies all the while."""
    folder, vkey = tmp_path / "out", run("key").stdout.strip()
    assert run("export", folder).exit_code == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    record_many(400)
    sequencer.seal_once()
    with no_file_beyond(4096):
        refused = run("export", folder)
    assert refused.exit_code == 1
    assert "too large" in refused.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in folder.rglob(".*") if path.is_file()], "no drafts are left"
    assert run("verify", "--log", folder, "--key", vkey).exit_code == 0
    assert run("export", folder).exit_code == 0
    assert run("verify", "--log", folder, "--key", vkey).stdout.startswith("The log is whole: 700 entries")


def test_an_export_never_overwrites(run, log, tmp_path):
    run("export", tmp_path)
    (tmp_path / "tile/0/000").write_bytes(b"other")
    assert run("export", tmp_path).exit_code == 1
    assert (tmp_path / "tile/0/000").read_bytes() == b"other"


def test_wrong_use(run, log):
    for arguments in [("--from", "nowhere"), ("--log", "nowhere"), ("--key", "a+b+c"), ("--key", "nowhere"), ("--unknown",)]:
        assert run("verify", *arguments).exit_code == 2, arguments


def test_nothing_to_verify_or_export(run, tmp_path):
    assert run("verify").exit_code == 1
    assert run("export", tmp_path / "out").exit_code == 1
    assert not (tmp_path / "out").exists()


def test_in_chinese(run, log, monkeypatch):
    monkeypatch.setenv("BROKER_LANGUAGE", "zh")
    settings_module.settings.cache_clear()
    assert run("verify").stdout.startswith("日志完整：300 条，根 ")
