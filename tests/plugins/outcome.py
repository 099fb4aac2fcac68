"""Says at the very end, and loudly, which tests did not run here and why; writes it to ``reports/tests.json`` for ``.ci/run``, with the
seconds that each file took, so that whoever adds a slow one sees it.

Loaded by ``make test`` with ``-p tests.plugins.outcome``.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

REPORT = Path("reports/tests.json")

#: What a machine may lack. A test says with a marker that it needs it.
NEEDS = {
    "opa": "a real OPA server: install Go, then `make opa`",
    "peers": "the log's outside verifiers: install Go, then `make peers`",
    "synthea": "the Synthea patients in ../shared/data",
    "browser": "a Chromium",
    "strace": "strace, and leave to trace processes (ptrace)",
    "keycloak": "a real hospital login: install Java 17 and Maven, then `make keycloak`",
    "upstreampeers": "FHIR servers that we did not write (HAPI among them, with Java 17 and Maven): `make upstreampeers`",
    "node": "openid-client from npm: install Node 20 with npm",
}


def skip_reason(longrepr: Any) -> str:
    """The reason of a skipped report, which is ``(file, line, "Skipped: reason")``."""
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


class Outcome:
    """What ran, what was skipped, what failed."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()  #: by need; "" counts all
        self.skipped: list[dict[str, Any]] = []
        self.failed: list[str] = []
        self.seconds: dict[str, float] = {}  #: by file: set-up, calls and tearing down together

    def note(self, report: Any) -> None:
        """Take one report of one phase of one test."""
        needs = [need for need in NEEDS if need in getattr(report, "keywords", ())]
        file = report.nodeid.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0.0) + getattr(report, "duration", 0.0)
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = skip_reason(report.longrepr)
            # A test that skips itself for want of something it has no marker for is still told by its words.
            needs = [need for need in NEEDS if need in needs or re.search(rf"\b{need}\b", reason, re.IGNORECASE)]
            self.skipped.append({"test": report.nodeid, "needs": needs, "reason": reason})
        elif report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call":
            self.ran[""] += 1
            self.ran.update(needs)

    def to_json(self) -> dict[str, Any]:
        """The report that ``.ci/run`` reads."""
        return {
            "ran": self.ran[""],
            "ran_by_need": {need: self.ran[need] for need in NEEDS},
            "skipped": self.skipped,
            "skipped_by_need": {need: sum(need in skipped["needs"] for skipped in self.skipped) for need in NEEDS},
            "failed": self.failed,
            "seconds_by_file": {file: round(seconds, 1) for file, seconds in sorted(self.seconds.items(), key=itemgetter(1), reverse=True)},
        }

    def lines(self) -> list[str]:
        """The words at the end; none where everything ran."""
        if not self.skipped:
            return []
        reasons = Counter(skipped["reason"] for skipped in self.skipped)
        told = [f"  {count:4} × {reason}" for reason, count in reasons.most_common()]
        missing = [f"  To run them: {words}." for need, words in NEEDS.items() if any(need in skipped["needs"] for skipped in self.skipped)]
        return [f"{len(self.skipped)} TESTS DID NOT RUN HERE", *told, *missing]


_outcome = Outcome()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called for each phase of each test."""
    _outcome.note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that skips itself whole, or that can't be read, is told too."""
    if report.skipped or report.failed:
        _outcome.note(report)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """After pytest's own summary, so that nobody overlooks it; by the process that heard of every test."""
    if hasattr(config, "workerinput"):
        return
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(_outcome.to_json(), ensure_ascii=False, indent=1), encoding="utf-8")
    lines = _outcome.lines()
    if lines:
        width = max(map(len, lines)) + 2
        sys.stdout.write("\n" + "\n".join(["!" * width, *lines, "!" * width]) + "\n")
