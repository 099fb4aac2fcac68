"""The habits of the house that no linter knows: names of files, where time and transactions come from, what a table must have."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker.tables import metadata

ROOT = Path(__file__).resolve().parents[2]
BROKER = ROOT / "broker"
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")

#: Names that say nothing about what is in the file.
EMPTY_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "base",
    "core",
    "manager",
    "managers",
    "handlers",
    "tools",
    "types",
    "constants",
}

#: Words that must not stay in the tree. Taken apart, so that this file does not hold them itself.
LEFT_OPEN = re.compile("|".join(("TO" + "DO", "FIX" + "ME", r"\bXX" + r"X\b", "Not" + "ImplementedError")))
HOSTS = re.compile(
    "|".join(
        re.escape(one + two)
        for one, two in (("pypi", ".org"), ("python", "hosted.org"), ("registry", ".npmjs"), ("proxy.go", "lang.org"), ("crates", ".io"))
    )
)
PLACES = re.compile("(^|[^A-Za-z0-9_.])/(wo" + "rk|fa" + "rm)/")


def modules():
    return [(file, ast.parse(file.read_text(encoding="utf-8"))) for file in sorted(BROKER.rglob("*.py"))]


def tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_files_are_named_for_what_they_hold():
    found = [
        str(file.relative_to(ROOT))
        for file in BROKER.rglob("*.py")
        if file.stem in EMPTY_NAMES or not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*|__(init|main)__", file.stem)
    ]
    assert found == []


def test_a_file_holds_one_idea():
    """A file that grows past this holds two: cut it where they meet."""
    long = {
        str(file.relative_to(ROOT)): lines for file in BROKER.rglob("*.py") if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def test_every_slice_says_what_it_is_about():
    silent = [str(file.relative_to(ROOT)) for file, tree in modules() if not ast.get_docstring(tree)]
    assert silent == []


def test_time_comes_from_the_clock_alone():
    """Else a test that sets the clock proves nothing, and neither does a record of when something happened."""
    asked = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"), ("time", "time_ns")}
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, tree in modules()
        if file.name != "clock.py" and file.parent.name != "demo"  # The demo plays outsiders, who have clocks of their own.
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (ast.unparse(node.value).rsplit(".", 1)[-1], node.attr) in asked
    ]
    assert found == []


def test_now_is_not_held_on_to():
    """``from broker.clock import now`` keeps the real clock where a test has set another."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "broker.clock" and {alias.name for alias in node.names} & {"now", "today"}
    ]
    assert found == []


def test_transactions_end_at_the_edge():
    """Verbs never commit: what they did and the record of it stand or fall together."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"commit", "rollback"}
        and "session" in ast.unparse(node.func.value)
    ]
    assert found == []


#: Who else reads the environment, and what.
ENVIRONMENT = {
    "broker/settings.py": "every setting",
    "broker/metrics.py": "where processes count together, by the name that the Prometheus client knows",
    "broker/policy/opa_server.py": "certificate authorities, by the names that every program knows",
    "broker/cli/policy.py": "where a developer's OPA lies",
}


def test_settings_come_from_one_place():
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file, tree in modules()
        if file.relative_to(ROOT).as_posix() not in ENVIRONMENT
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    ]
    assert found == []


#: Tables that name a patient and yet are not the patient's: the log is one sequence of all that happened, in its own order.
NOT_BOUND = {"audit_event"}


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_tables(table: sa.Table):
    """Patient-bound tables open with the patient's key, in their primary and in their foreign keys, so that they can be partitioned and spread."""
    assert table.primary_key.columns, "a table has a primary key"
    for column in table.columns:
        if isinstance(column.type, sa.DateTime):
            assert column.type.timezone, f"{column.name} has no time zone"
    if table.name in NOT_BOUND:
        return
    keys = [column.name for column in table.columns if column.name.startswith("patient") and isinstance(column.type, sa.Uuid)]
    assert set(keys) <= {"patient_key"}, "one name for one thing"
    if keys:
        assert next(iter(table.primary_key.columns)).name == "patient_key"
    for constraint in table.foreign_key_constraints:
        if "patient_key" in constraint.referred_table.columns:
            assert constraint.column_keys[0] == "patient_key", constraint.name


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin_every_package_by_hash_and_name_no_index(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if not re.match(r"[A-Za-z0-9._-]+==\S+", entry) or "--hash=sha256:" not in entry] == []


def test_what_is_installed_to_build_is_what_is_installed_to_develop():
    dev, build = ((ROOT / lock).read_text(encoding="utf-8") for lock in (LOCKS[1], LOCKS[2]))
    assert set(re.findall(r"(?m)^(\S+==\S+)", build)) <= set(re.findall(r"(?m)^(\S+==\S+)", dev))


def test_nothing_is_left_open_and_no_machine_is_named():
    found = []
    for file in tracked():
        if file.suffix in {".json", ".lock", ".sum"} and file.name not in LOCKS:
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if LEFT_OPEN.search(line) or HOSTS.search(line) or PLACES.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []
