"""How well times tell a withheld resource from one that never was, with and without even steps (attacks B15, G13).

Pairs of refusals are asked in turn; of each pair the chance is printed that an answer to the one takes longer than an answer to the other (the
area under the curve, Mann–Whitney's U over the number of pairs: 0.5 tells nothing, 0 or 1 everything), with p of "they are the same". No limit: it
prints what it finds. ``refusals.py [rounds]``. That a type is outside the plan is no secret: the token and the grant say so, and it is refused with
less work; its pair shows what a difference looks like. That the others do the same work is held by tests/attacks/test_same_work.py.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from math import erfc, sqrt
from pathlib import Path

from broker.database import EmbeddedServer
from broker.migrate import migrate
from broker.records import service as records
from tests.live import hospital

PATIENT = "p1001"
DATA = [{"data_class": "clinical.demographics"}, {"data_class": "clinical.laboratory"}, {"data_class": "clinical.diagnoses"}]
RESULTS = Path(__file__).parent / "results"


def told_apart(one: list[float], other: list[float]) -> tuple[float, float]:
    """Area under the curve, and p by the normal approximation, ties counted half."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks, at = [0.0, 0.0], 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        for _, which in ranked[at:end]:
            ranks[which] += (at + 1 + end) / 2
        at = end
    u = ranks[0] - len(one) * (len(one) + 1) / 2
    spread = sqrt(len(one) * len(other) * (len(one) + len(other) + 1) / 12)
    return u / (len(one) * len(other)), erfc(abs(u - len(one) * len(other) / 2) / spread / sqrt(2))


def measured(step: float, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of refusal, asked in an order of chance."""
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    try:
        migrate(server.url)
        with hospital(server.url, folder / "var", refusal_step=step, second_factor_roles="none") as story:
            return asked(story, rounds)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def asked(story, rounds: int) -> dict[str, list[float]]:
    """The same for a hospital that serves."""
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", DATA)["number"]
    story.decide(number, "song.yi", "deng.li")
    paths = {
        "never was": "/fhir/Condition/never-was",
        "withheld": f"/fhir/Condition/{hidden(story)}",
        "outside the plan": f"/fhir/Claim?patient={PATIENT}",
        "another's": "/fhir/Patient/p1006",
        "nobody": "/fhir/Patient/never-was",
    }
    found: dict[str, list[float]] = {name: [] for name in paths}
    token, until = "", 0.0
    for _ in range(rounds):
        if time.monotonic() > until:
            token, until = story.system("shengli-his").token(number)["access_token"], time.monotonic() + 120
        for name in random.sample(sorted(paths), len(paths)):
            start = time.perf_counter()
            answer = story.http.get(paths[name], headers={"Authorization": f"Bearer {token}"})
            found[name].append((time.perf_counter() - start) * 1000)
            if answer.status_code not in (403, 404):
                raise SystemExit(f"{name}: {answer.status_code}")
    return found


def hidden(story) -> str:
    """A Condition of the patient that the consent withholds, in the store."""
    condition = {
        "resourceType": "Condition", "id": "hidden", "subject": {"reference": f"Patient/{PATIENT}"}, "recordedDate": "2026-05-01",
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "F33.1"}]},
    }  # fmt: skip
    report = records.ingest_bundle(story.installation.database, story.installation.keys, json.dumps(condition).encode(), source="demo")
    if report.accepted != 1:
        raise SystemExit(f"not stored: {report}")
    return "hidden"


def main() -> None:
    rounds = next((int(one) for one in sys.argv[1:] if one.isdigit()), 200)
    document = {}
    for step in (0.0, 0.025):
        found = measured(step, rounds)
        print(f"step {step * 1000:.0f} ms, {rounds} rounds: median (p95) in ms")
        for name, times in found.items():
            print(f"  {name:18} {statistics.median(times):7.2f} ({statistics.quantiles(times, n=20)[18]:.2f})")
        pairs = [("never was", "withheld"), ("nobody", "another's"), ("withheld", "outside the plan")]
        for one, other in pairs:
            area, p = told_apart(found[one], found[other])
            print(f"  {one} / {other}: area {area:.3f}, p {p:.3g}")
            document[f"{step} {one} / {other}"] = {"area": area, "p": p, "medians": [statistics.median(found[one]), statistics.median(found[other])]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "refusals.json").write_text(json.dumps({"rounds": rounds, "pairs": document}, indent=1))


if __name__ == "__main__":
    main()
