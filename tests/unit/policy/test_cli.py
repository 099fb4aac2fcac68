"""``broker policy``: exit codes, what is said, and that nothing is passed over in silence."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from broker.cli import policy as command
from tests.policies.conftest import BUILT, ROOT
from tests.policies.examples import changed, release

run = CliRunner().invoke


@pytest.fixture
def facts(tmp_path):
    def write(form):
        path = tmp_path / "facts.json"
        path.write_text(json.dumps(form), encoding="utf-8")
        return str(path)

    return write


def test_check_says_that_all_is_well():
    done = run(command.app, ["check"])
    assert done.exit_code == 0
    assert "17 profiles" in done.stdout
    assert json.loads(run(command.app, ["check", "--json"]).stdout)["problems"] == []


def test_check_names_every_problem(tmp_path):
    folder = shutil.copytree(ROOT / "policies", tmp_path / "policies")
    (folder / "README.md").write_text("old", encoding="utf-8")
    done = run(command.app, ["check", "--policies", str(folder)])
    assert done.exit_code == 1
    assert "README.md: documentation" in done.stderr
    (folder / "data" / "types.json").write_text("{", encoding="utf-8")
    done = run(command.app, ["check", "--policies", str(folder), "--json"])
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert answer["revision"] is None
    assert answer["problems"]


def test_document_mends_the_page(tmp_path):
    folder = shutil.copytree(ROOT / "policies", tmp_path / "policies")
    (folder / "README.md").unlink()
    assert run(command.app, ["document", "--policies", str(folder)]).exit_code == 0
    assert run(command.app, ["check", "--policies", str(folder)]).exit_code == 0


def test_test_says_loudly_that_it_could_not(monkeypatch):
    monkeypatch.setattr(command, "_opa", lambda: None)
    done = run(command.app, ["test"])
    assert done.exit_code == 0
    assert "NOT RUN" in done.stderr


@pytest.mark.opa
@pytest.mark.skipif(not BUILT.exists(), reason="no opa: install Go and run `make opa`")
def test_test_runs_the_rego_tests_and_fails_when_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("BROKER_TEST_OPA", str(BUILT))
    assert run(command.app, ["test"]).exit_code == 0
    folder = shutil.copytree(ROOT / "policies", tmp_path / "policies")
    file = folder / "broker" / "release" / "rules" / "basis" / "basis_test.rego"
    file.write_text(file.read_text(encoding="utf-8") + "\ntest_a_lie if 1 == 2\n", encoding="utf-8")
    done = run(command.app, ["test", "--policies", str(folder)])
    assert done.exit_code == 1
    assert "test_a_lie" in done.stderr


def test_decide(facts):
    done = run(command.app, ["decide", "--input", facts(release()), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["effect"] == "permit"
    done = run(command.app, ["decide", "--input", facts({"facts": changed(release(), {"consent.base": "silent"}), "input_hash": "x"})])
    assert done.exit_code == 1
    assert "consent.missing" in done.stdout
    assert "患者没有覆盖此项使用的现行知情同意" in done.stdout


@pytest.mark.parametrize("form", [{}, {"facts": {}, "input_hash": ""}, {"question": "release"}])
def test_decide_on_facts_that_are_none(facts, form):
    done = run(command.app, ["decide", "--input", facts(form)])
    assert done.exit_code == 1
    assert "policy.unavailable" in done.stdout


def test_decide_on_a_file_that_can_not_be_read(tmp_path, facts):
    assert run(command.app, ["decide", "--input", str(tmp_path / "none")]).exit_code == 2
    assert run(command.app, ["decide", "--input", facts([])]).exit_code == 2


def test_bundle(tmp_path):
    assert run(command.app, ["bundle", "--out", str(tmp_path / "broker.tar.gz")]).exit_code == 0
    assert (tmp_path / "broker.tar.gz").read_bytes()[:2] == b"\x1f\x8b"
