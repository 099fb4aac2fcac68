"""``make test`` ends by saying what did not run, and ``.ci/run`` can rely on what it wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
import pytest

@pytest.mark.opa
def test_with_opa():
    pass

@pytest.mark.opa
def test_without_opa():
    pytest.skip("no real OPA here: make opa")

def test_that_forgot_its_marker():
    pytest.skip("opa is not there")

@pytest.fixture
def patients():
    pytest.skip("the Synthea patients are not there")

@pytest.mark.synthea
def test_without_patients(patients):
    pass

def test_plain():
    pass
"""


@pytest.fixture
def run(tmp_path):
    def run(tests):
        (tmp_path / "test_it.py").write_text(tests)
        markers = ["-o", "markers=opa: a\nsynthea: b", "-p", "tests.plugins.outcome", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *markers, "test_it.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done, json.loads((tmp_path / "reports" / "tests.json").read_text())

    return run


def test_what_did_not_run_is_said_last(run):
    done, report = run(TESTS)
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-8:]
    assert any("3 TESTS DID NOT RUN HERE" in line for line in last)
    assert any("make opa" in line for line in last)
    assert report["ran"] == 2
    assert report["ran_by_need"]["opa"] == 1
    assert report["skipped_by_need"] == {need: {"opa": 2, "synthea": 1}.get(need, 0) for need in report["ran_by_need"]}
    assert report["failed"] == []


def test_nothing_is_said_where_everything_ran(run):
    done, report = run("def test_plain():\n    pass\n")
    assert "DID NOT RUN" not in done.stdout
    assert report["skipped"] == []


def test_failures_and_unreadable_files_are_told(run):
    _, report = run("def test_wrong():\n    assert False\n")
    assert report["failed"] == ["test_it.py::test_wrong"]
    _, report = run("this is not python\n")
    assert report["failed"] == ["test_it.py"]
