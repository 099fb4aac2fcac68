"""What one decision costs in each engine, from facts to a plan that was read strictly, beside a trivial policy in the same engine.

    python benchmarks/policy.py [--rounds 200] [--opa FILE]

`compiled` is what OPA compiled, in this process; `rego-cpp` answers where nothing is compiled; OPA is a real server on loopback, fed with our
bundle. The trivial policy says yes to everything and echoes the hash: what an engine, and the way to it, costs before anything is judged.
All take turns, so that a busy machine is busy for all of them: the median, the tenth part that was quickest (which says more on a machine
that does other things too) and the 99th percentile are printed, and how many times the trivial policy's cost a decision is. Without OPA
(`make opa`) the two in this process are measured, and the compiled one without its trivial policy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2

from broker.policy.compiled import MODULE, CompiledEvaluator, found
from broker.policy.compiling import compiled
from broker.policy.embedded import EmbeddedEvaluator
from broker.policy.engine import Evaluator, PolicyEngine, asked, sent
from broker.policy.facts import CallerFacts, ConsentFacts, Facts, GrantFacts, PatientFacts, RecipientFacts, RequesterFacts, RequestFacts
from broker.policy.opa_server import OpaServerEvaluator
from broker.policy.policy_set import PolicySet, load
from broker.policy.service import archive

ROOT = Path(__file__).resolve().parents[1]
NOW, DAY = 1_795_420_800, 86_400

ONE_CLASS = Facts(
    question="release",
    at=NOW,
    request=RequestFacts("TREAT", "consent", ({"data_class": "clinical.diagnoses"},), retention_days=30, justification=True),
    grant=GrantFacts("grant", "SA-2026-000001", "active", NOW - DAY, NOW + DAY, approved_by=2),
    recipient=RecipientFacts("shengli", "hospital", "external", "active", agreement_until=NOW + 90 * DAY, key_registered=True),
    requester=RequesterFacts("person", ("applicant",)),
    patient=PatientFacts("key", "certain", in_grant=True, age="adult"),
    consent=ConsentFacts("permit", consents=("consent",), epoch=3, givers=("patient",)),
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
TRIVIAL = 'package broker.release\n\ndecision := {"allow": true, "input_hash_echo": input.input_hash}\n'


#: As docker-compose.yml runs it.
_AS_DEPLOYED = ("--optimize-store-for-read-speed",)


@contextmanager
def opa_server(binary: str, policies: PolicySet) -> Iterator[str]:
    """Address of a running OPA with these policies."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        bundle = Path(name) / "broker.tar.gz"
        bundle.write_bytes(archive(policies))
        command = [
            binary,
            "run",
            "--server",
            "--addr",
            address,
            "--log-level",
            "error",
            "--skip-version-check",
            *_AS_DEPLOYED,
            "--bundle",
            str(bundle),
        ]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
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
    """Seconds of each call, sorted; the calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return {name: sorted(each) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--opa", default=os.environ.get("BROKER_TEST_OPA") or _built())
    given = parser.parse_args()
    policies = load(ROOT / "policies")
    nothing = dataclasses.replace(policies, modules={"broker/release/release.rego": TRIVIAL})
    module = found(policies, policies.folder)
    if module is None:
        raise SystemExit("the policies are not compiled: `broker policy compile`")
    real: dict[str, Evaluator] = {"compiled": CompiledEvaluator(policies, module), "rego-cpp": EmbeddedEvaluator(policies)}
    trivial: dict[str, Evaluator] = {"rego-cpp": EmbeddedEvaluator(nothing)}
    with ExitStack() as servers:
        if given.opa:
            trivial["compiled"] = CompiledEvaluator(nothing, compiled(nothing, given.opa)[MODULE])
            for engines, each in ((real, policies), (trivial, nothing)):
                engines["OPA server"] = OpaServerEvaluator(servers.enter_context(opa_server(given.opa, each)), token=None, timeout=5)
        else:
            print("no opa (`make opa`): only the engines in this process are measured")
        _report(given.rounds, {name: PolicyEngine(each, policies) for name, each in real.items()}, trivial)


def _report(rounds: int, engines: dict[str, PolicyEngine], trivial: dict[str, Evaluator]) -> None:
    results: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'ms: median / quickest tenth / p99':36}" + "".join(f"{name:>24}{'× trivial':>11}" for name in engines))
    for case, facts in CASES.items():
        for engine in engines.values():
            if engine.decide(facts).effect.value == "unavailable":
                raise SystemExit(f"{case}: no usable answer")
        calls: dict[str, Callable[[], object]] = {name: lambda engine=engine, facts=facts: engine.decide(facts) for name, engine in engines.items()}
        calls |= {f"{name}, trivial": lambda each=each, facts=facts: each.evaluate(sent(asked(facts)[0])) for name, each in trivial.items()}
        times = measure(rounds, calls)
        row = {
            name: {
                "median_ms": _ms(each[len(each) // 2]),
                "quickest_tenth_ms": _ms(each[len(each) // 10]),
                "p99_ms": _ms(each[len(each) * 99 // 100]),
            }
            for name, each in times.items()
        }
        results[case] = row
        cells = ""
        for name in engines:
            beside = row.get(f"{name}, trivial")
            ratio = "-" if beside is None else f"{row[name]['quickest_tenth_ms'] / beside['quickest_tenth_ms']:.1f}"
            cells += f"{' / '.join(f'{value:.2f}' for value in row[name].values()):>24}{ratio:>11}"
        print(f"{case:36}{cells}")
    target = ROOT / "benchmarks" / "results" / "policy.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)


def _built() -> str | None:
    built = ROOT / ".cache" / "bin" / "opa"
    return str(built) if built.exists() else shutil.which("opa")


if __name__ == "__main__":
    main()
