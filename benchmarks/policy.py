"""What one decision costs in each engine, from facts to a plan that was read strictly, all in one run.

    python benchmarks/policy.py [--rounds 300] [--opa FILE]

The engines and a yardstick take turns, so that a busy machine is busy for all of them; the middle of the rounds is printed, and the
tenth part that was quickest, which says more on a machine that does other things too. Trust the ratios more than the milliseconds.
The 99th percentile stands beside them. The yardstick is the reading of 100 kB of JSON; `trivial` is a policy in the embedded engine that says
yes to everything. OPA is a real server on loopback, fed with our bundle; without it only the embedded
engine is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
from regopy import Input, Interpreter

from broker.policy.engine import question
from broker.policy.facts import CallerFacts, ConsentFacts, Facts, GrantFacts, PatientFacts, RecipientFacts, RequesterFacts, RequestFacts
from broker.policy.opa_server import OpaServerEvaluator
from broker.policy.policy_set import load
from broker.policy.service import PolicyEngine, archive, build_engine
from broker.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NOW, DAY = 1_795_420_800, 86_400

ONE_CLASS = Facts(
    question="release",
    at=NOW,
    request=RequestFacts("TREAT", "consent", ({"data_class": "clinical.diagnoses"},), retention_days=30, justification=True),
    grant=GrantFacts("grant", "SA-2026-000001", "active", NOW - DAY, NOW + DAY, approved_by=2),
    recipient=RecipientFacts("shengli", "hospital", "external", "active", agreement_until=NOW + 90 * DAY, key_registered=True),
    requester=RequesterFacts("person", ("applicant",)),
    patient=PatientFacts("key", "certain", in_grant=True),
    consent=ConsentFacts("permit", consents=("consent",), epoch=3),
    caller=CallerFacts("client", "shengli", "active", "grant", "TREAT", ("*",)),
)


def _asking(*data: dict[str, object]) -> Facts:
    return replace(ONE_CLASS, request=replace(ONE_CLASS.request, data=data))


FIVE = ("clinical.demographics", "clinical.diagnoses", "clinical.medications", "clinical.laboratory", "clinical.encounters")
NAMED = {"resource_type": "Observation", "elements": ["effective", "value"], "codes": ["http://loinc.org|2339-0"]}
CASES = {
    "one class": ONE_CLASS,
    "five classes, as a referral asks": _asking(*({"data_class": code} for code in FIVE)),
    "the same, one type wanted": replace(_asking(*({"data_class": code} for code in FIVE)), wanted_types=("Observation",)),
    "all clinical data, 22 types": _asking({"data_class": "clinical"}),
    "named elements and codes": _asking(NAMED, {"resource_type": "Patient", "elements": ["gender", "birthDate"]}),
    "refused: grant revoked": replace(ONE_CLASS, grant=replace(ONE_CLASS.grant, status="revoked")),
    "assessed: five classes": replace(
        _asking(*({"data_class": code} for code in FIVE)),
        question="assess",
        caller=None,
        grant=replace(ONE_CLASS.grant, status="proposed", approved_by=0),
    ),
}
#: Consents in force and provisions in them, which the registry compiles into the facts before policy is asked: to policy they are names.
CASES |= {
    f"five classes, {number} provisions": replace(
        CASES["five classes, as a referral asks"],
        consent=replace(ONE_CLASS.consent, consents=tuple(f"Consent/{index:04d}" for index in range(number))),
    )
    for number in (1, 10, 100, 1000)
}
#: Says yes to everything: what an engine costs before it judges anything.
TRIVIAL = 'package broker.trivial\n\ndecision := {"allow": true, "input_hash_echo": input.input_hash}\n'
YARDSTICK = json.dumps([{"number": index, "text": "x" * 80} for index in range(900)])


@contextmanager
def opa_server(binary: str) -> Iterator[str]:
    """Address of a running OPA with our bundle."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        bundle = Path(name) / "broker.tar.gz"
        bundle.write_bytes(archive(load(ROOT / "policies")))
        server = subprocess.Popen([binary, "run", "--server", "--addr", address, "--log-level", "error", "--bundle", str(bundle)])
        try:
            for _ in range(200):
                try:
                    if httpx2.get(f"http://{address}/health?bundles").status_code == 200:
                        break
                except httpx2.HTTPError:
                    time.sleep(0.05)
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(10)


def measure(rounds: int, calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each call, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--opa", default=os.environ.get("BROKER_TEST_OPA") or _built())
    given = parser.parse_args()
    engines = {"embedded": build_engine(Settings(policies=ROOT / "policies"))}
    if not given.opa:
        print("no opa (`make opa`): the embedded engine alone is measured")
        return _report(given.rounds, engines)
    with opa_server(given.opa) as url:
        policies = load(ROOT / "policies")
        engines["OPA server"] = PolicyEngine(OpaServerEvaluator(url, token=None, timeout=5), policies)
        return _report(given.rounds, engines)


def _report(rounds: int, engines: dict[str, PolicyEngine]) -> None:
    results, trivial = {}, _trivial()
    print(
        f"{'ms for each decision':36}"
        + "".join(f"{name + ' median':>18}{'quickest tenth':>16}{'p99':>8}" for name in [*engines, "trivial", "yardstick"])
    )
    for case, facts in CASES.items():
        for engine in engines.values():
            if engine.decide(facts).effect.value == "unavailable":
                raise SystemExit(f"{case}: no usable answer")
        calls: dict[str, Callable[[], object]] = {name: lambda engine=engine, facts=facts: engine.decide(facts) for name, engine in engines.items()}
        calls["trivial"] = lambda document=question(facts)[0]: trivial(document)
        calls["yardstick"] = lambda: json.loads(YARDSTICK)
        times = measure(rounds, calls)
        row = {
            name: (statistics.median(each) * 1e3, sorted(each)[len(each) // 10] * 1e3, sorted(each)[len(each) * 99 // 100] * 1e3)
            for name, each in times.items()
        }
        results[case] = {
            name: {"median_ms": round(middle, 3), "quickest_tenth_ms": round(quick, 3), "p99_ms": round(slow, 3)}
            for name, (middle, quick, slow) in row.items()
        }
        print(f"{case:36}" + "".join(f"{middle:18.2f}{quick:16.2f}{slow:8.2f}" for middle, quick, slow in row.values()))
    target = ROOT / "benchmarks" / "results" / "policy.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _trivial() -> Callable[[dict[str, object]], object]:
    interpreter = Interpreter()
    interpreter.add_module("trivial.rego", TRIVIAL)
    compiled = interpreter.build(None, ["broker/trivial/decision"])

    def ask(document: dict[str, object]) -> object:
        interpreter.set_input(Input(document))
        return interpreter.query_bundle_entrypoint(compiled, "broker/trivial/decision").results[0].expressions[0]

    return ask


def _built() -> str | None:
    built = ROOT / ".cache" / "bin" / "opa"
    return str(built) if built.exists() else shutil.which("opa")


if __name__ == "__main__":
    main()
