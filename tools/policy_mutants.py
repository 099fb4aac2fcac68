"""Breaks the rules on purpose and counts what the tests catch: ``python -m tools.policy_mutants [--opa FILE]``.

One mutant for each line of a rule's body: the condition left out, and, where it compares or names a truth, turned round. Each is asked, with
the real OPA, first by the Rego tests and then, where they pass, by the decision table. Prints every survivor and the figure; changes no file.
A line whose loss leaves nothing that could be told apart (an index's hint, a guard against what the schema keeps out) survives by right.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.policy.bundle import archive, unpack
from broker.policy.policy_set import PolicySet, load

ROOT = Path(__file__).resolve().parents[1]
_TURNED = (("==", "!="), ("!=", "=="), (" <= ", " > "), (" >= ", " < "), (" < ", " >= "), (" > ", " <= "))


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, what was done, and the module as it would be."""
    lines = source.split("\n")
    for number, line in enumerate(lines):
        condition = line.strip()
        if (
            not line.startswith("\t")
            or condition.startswith(("#", '"', "}", "]", ")", "some ", "{"))
            or condition.endswith(("{", "[", "(", ",", "|"))
        ):
            one_line = re.match(r"(.*\S) if (\S.*[^{])$", line)
            if not one_line or line.startswith("#"):
                continue
            yield number + 1, "never", "\n".join([*lines[:number], f"{one_line[1]} if 1 == 2", *lines[number + 1 :]])
            yield number + 1, "always", "\n".join([*lines[:number], f"{one_line[1]} if 1 == 1", *lines[number + 1 :]])
            continue
        if ":=" not in condition:
            yield number + 1, "left out", "\n".join([*lines[:number], *lines[number + 1 :]])
        for was, would in _TURNED:
            if was in condition:
                turned = condition.replace(was, would, 1)
                yield number + 1, f"{was.strip()} → {would.strip()}", "\n".join([*lines[:number], f"\t{turned}", *lines[number + 1 :]])
                break


def caught(opa: str, policies: PolicySet, path: str, source: str, rows: Any) -> str:
    """Who caught it: the compiler, the Rego tests, the table; "" for nobody."""
    changed = dataclasses.replace(policies, modules={**policies.modules, path: source})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(changed, folder)
        tested = _run([opa, "test", "--bundle", name])
        if tested.returncode:
            return "compiler" if "rego_" in tested.stderr and "error" in tested.stderr else "tests"
        bundle = folder / "b.tar.gz"
        bundle.write_bytes(archive(changed))
        asked = folder / "rows.json"
        asked.write_text(json.dumps([{"facts": row["facts"], "input_hash": "h"} for row in rows]))
        query = "[d | some x in input; d := data.broker.release.decision with input as x]"
        given = _run([opa, "eval", "-b", str(bundle), "-i", str(asked), "--format", "raw", query])
        answers = [] if given.returncode else json.loads(given.stdout)
    same = len(answers) == len(rows) and all(_said(answer) == row["said"] for answer, row in zip(answers, rows, strict=True))
    return "" if same else "table"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)  # noqa: S603  (Our own OPA.)


def _said(answer: Any) -> Any:
    return {**answer, "revision": ""}


def main() -> int:
    """Print the survivors and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opa", default=str(ROOT / ".cache" / "bin" / "opa"))
    parser.add_argument("--only", default="", help="part of a path")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.policies import test_decision_table as table

    policies = load(ROOT / "policies")
    rows = [{"facts": table.facts_of(row).to_json()} for row in table.ROWS]  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as name:
        bundle, asked = Path(name) / "b.tar.gz", Path(name) / "rows.json"
        bundle.write_bytes(archive(policies))
        asked.write_text(json.dumps([{"facts": row["facts"], "input_hash": "h"} for row in rows]))
        query = "[d | some x in input; d := data.broker.release.decision with input as x]"
        told = _run([given.opa, "eval", "-b", str(bundle), "-i", str(asked), "--format", "raw", query])
    for row, answer in zip(rows, json.loads(told.stdout), strict=True):
        row["said"] = _said(answer)
    counts: dict[str, int] = {"compiler": 0, "tests": 0, "table": 0, "": 0}
    for path, source in sorted(policies.modules.items()):
        if given.only not in path:
            continue
        for line, what, changed in mutants(source):
            by = caught(given.opa, policies, path, changed, rows)
            counts[by] += 1
            if not by:
                sys.stdout.write(f"survived: {path}:{line} {what}: {source.split(chr(10))[line - 1].strip()}" + "\n")
    real = counts["tests"] + counts["table"] + counts[""]
    sys.stdout.write(
        f"{real} mutants that compile: {counts['tests']} caught by the Rego tests, {counts['table']} by the decision table, {counts['']} survived\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
