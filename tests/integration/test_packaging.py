"""The wheel holds what the broker needs to run away from its checkout, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def inside(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("broker", "broker"),
        ("migrations", "broker/_migrations"),
        ("policies", "broker/_policies"),
        ("fhir_profiles", "broker/_fhir_profiles"),
    ],
)
def test_everything_that_is_read_at_run_time_is_there(wheel, folder, place):
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert files
    missing = {f"{place}/{path.relative_to(ROOT / folder).as_posix()}" for path in files} - inside(wheel)
    assert missing == set()


def test_nothing_else_is_there(wheel):
    assert {name.split("/")[0] for name in inside(wheel) if ".dist-info/" not in name} == {"broker"}


def test_it_runs_away_from_the_checkout(wheel, tmp_path):
    """The demo's patients, the migrations and the policies are found inside the wheel."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "from broker import demo_data; from broker.migrate import MIGRATIONS; from broker import __file__ as here;"
        "print(len(demo_data.bundles()), MIGRATIONS.name, here.startswith(__import__('sys').argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert run.stdout.split() == ["10", "_migrations", "True"], run.stderr
