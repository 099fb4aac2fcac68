"""Every engine on thousands of inputs over every profile, question by question: not one disagreement (QA-3.3, ecosystem.md 4).

Hypothesis draws the seeds and the size of a change; each seed is a batch of inputs, which OPA answers in one call. ``BROKER_TEST_DIFFERENTIAL``
sets how many inputs there are, ``BROKER_TEST_DIFFERENTIAL_SHARE`` of how many rego-cpp is asked one.
"""

from __future__ import annotations

import os
import random
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.identity.models import KINDS
from broker.policy.answer import AnswerUnusable, read
from broker.policy.engine import question
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT
from tests.policies.examples import DAY, NOW, STARTS, changed

POLICIES = load(ROOT / "policies")
DATA = POLICIES.data
BATCH = 250
INPUTS = int(os.environ.get("BROKER_TEST_DIFFERENTIAL", "4000"))
#: rego-cpp, which only answers where nothing is compiled, is asked one in so many: it takes twenty times as long.
SHARE = int(os.environ.get("BROKER_TEST_DIFFERENTIAL_SHARE", "2"))
QUERY = "answers = [answer | some one in input.batch; answer := data.broker.release.decision with input as one]"

MOMENTS = (0, NOW - DAY, NOW - 1, NOW, NOW + 1, NOW + DAY, NOW + 400 * DAY)
ELEMENTS = (
    "code",
    "value",
    "effective",
    "component",
    "component.code",
    "code.coding",
    "name",
    "telecom",
    "note",
    "id",
    "address",
    "birthDate",
    "series",
)
CODES = ("http://loinc.org|2339-0", "http://loinc.org|8302-2", "x|y")


def some(draw: random.Random, values, most: int) -> list[Any]:
    return [draw.choice(values) for _ in range(draw.randint(0, most))]


def entry(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.6:
        return {"data_class": draw.choice((*DATA["data_classes"], "clinical.gossip"))}
    named = {"resource_type": draw.choice((*DATA["types"], "Consent", "Rumour"))}
    if draw.random() < 0.7:
        named["elements"] = some(draw, ELEMENTS, 4)
    if draw.random() < 0.4:
        named["codes"] = some(draw, CODES, 3)
    return named


def register(draw: random.Random) -> dict[str, Any] | None:
    codes = tuple(DATA["workforce"])
    groups = {name: sorted(set(some(draw, codes, 9))) for name in ("required", "held", "expired")}
    return None if draw.random() < 0.3 else {**groups, "valid_until": draw.choice((None, *MOMENTS))}


def abroad(draw: random.Random) -> dict[str, Any] | None:
    if draw.random() < 0.3:
        return None
    flags = {name: draw.random() < 0.7 for name in ("impact_assessed", "separate_consent", "foreign_authority", "authority_approved")}
    return {
        "route": draw.choice((None, "courier", *DATA["transfer_routes"])), "route_until": draw.choice((None, *MOMENTS)), **flags,
        "route_from": draw.choice((None, *MOMENTS)), "purposes": draw.choice(([*DATA["profile_index"]], [], ["TREAT", "HPAYMT"])),
        "classes": draw.choice(([*DATA["data_classes"]], [], ["clinical.diagnoses", "clinical.laboratory"])),
        "persons": draw.randint(0, 3), "year_persons": draw.choice((None, 1, 9_999, 10_000)), "persons_limit": draw.choice((None, 1, 2, 3)),
    }  # fmt: skip


#: Path → what it may become. Every fact that a rule looks at is here.
CHANGES = {
    "question": lambda draw: draw.choice(("assess", "release")),
    "request.purpose": lambda draw: draw.choice((*DATA["purposes"], "CURIOSITY")),
    "request.lawful_basis": lambda draw: draw.choice((*DATA["lawful_bases"], "habit")),
    "request.data": lambda draw: [entry(draw) for _ in range(draw.randint(0, 6))],
    "request.period_from": lambda draw: draw.choice((None, *MOMENTS)),
    "request.period_until": lambda draw: draw.choice((None, *MOMENTS)),
    "request.channel": lambda draw: draw.choice(("api", "bulk", "bundle", "fax")),
    "request.urgency": lambda draw: draw.choice(("routine", "urgent", "emergency")),
    "request.emergency": lambda draw: draw.random() < 0.5,
    "request.retention_days": lambda draw: draw.choice((None, 0, 30, 31, 366, 3000)),
    "request.justification": lambda draw: draw.random() < 0.5,
    "grant.status": lambda draw: draw.choice(("proposed", "active", "suspended", "revoked", "expired", "closed")),
    "grant.valid_from": lambda draw: draw.choice(MOMENTS),
    "grant.valid_until": lambda draw: draw.choice(MOMENTS),
    "grant.releases_used": lambda draw: draw.randint(0, 25),
    "grant.releases_limit": lambda draw: draw.choice((None, 0, 3, 20, 100)),
    "grant.approved_by": lambda draw: draw.randint(0, 3),
    "recipient.kind": lambda draw: draw.choice((*KINDS, "astrologer")),
    "recipient.relationship": lambda draw: draw.choice(("internal", "external")),
    "recipient.status": lambda draw: draw.choice(("active", "suspended")),
    "recipient.jurisdiction": lambda draw: draw.choice(("CN", "HK", "US")),
    "recipient.agreement_until": lambda draw: draw.choice((None, *MOMENTS)),
    "recipient.key_registered": lambda draw: draw.random() < 0.5,
    "requester.active": lambda draw: draw.random() < 0.5,
    "patient.match": lambda draw: draw.choice(("certain", "probable", "possible", "none")),
    "patient.age": lambda draw: draw.choice(("under_14", "14_to_17", "adult", "unknown")),
    "consent.givers": lambda draw: sorted(set(some(draw, ("patient", "guardian", "guardian-no-capacity", "both", "unknown"), 2))),
    "consent.separate": lambda draw: sorted(set(some(draw, ("abroad", "other-processor", "sensitive"), 4))),
    "patient.in_grant": lambda draw: draw.random() < 0.5,
    "consent.base": lambda draw: draw.choice(("permit", "deny", "silent")),
    "consent.refused": lambda draw: draw.random() < 0.5,
    "consent.unenforceable": lambda draw: draw.random() < 0.5,
    "consent.valid_until": lambda draw: draw.choice((None, *MOMENTS)),
    "workforce": register,
    "residency": abroad,
    "wanted_types": lambda draw: some(draw, tuple(DATA["types"]), 3),
}
USES = [
    (purpose, kind, relationship)
    for purpose, kinds in DATA["profile_index"].items()
    for kind, relationships in kinds.items()
    for relationship in relationships
]


def form(draw: random.Random, most: int) -> dict[str, Any]:
    """A good case for one of the uses that the policies open, with a few facts changed, so that permits are not drowned in denials."""
    start = draw.choice([*STARTS])
    changes: dict[str, Any] = {}
    if start != "emergency":
        purpose, kind, relationship = draw.choice(USES)
        bases = [code for code, row in DATA["lawful_bases"].items() if DATA["purposes"][purpose]["judged_as"] in row["purposes"]]
        profile = DATA["profiles"][DATA["profile_index"][purpose][kind][relationship]]
        changes = {
            "request.purpose": purpose, "recipient.kind": kind, "recipient.relationship": relationship, "request.lawful_basis": draw.choice(bases),
            "request.channel": draw.choice(profile["channels"]), "request.data": [entry(draw) for _ in range(draw.randint(1, 4))],
            "workforce": {"required": [], "held": [*DATA["workforce"]], "expired": [], "valid_until": None},
        }  # fmt: skip
        if start == "release":
            changes["caller.token_purpose"] = purpose
    for path in draw.sample([*CHANGES], draw.randint(0, most)):
        changes[path] = CHANGES[path](draw)
    return changed(STARTS[start](), changes)


def settled(document: Any, input_hash: str, revision: str) -> Any:
    """What the broker makes of an engine's answer; the same where two answers differ in the order of a set."""
    try:
        decision = read(document, input_hash=input_hash, revision=revision, engine="")
    except AnswerUnusable as error:
        return str(error)
    return decision.effect, decision.reasons, decision.plan, decision.obligations, decision.necessity


class _Engines(tuple):
    """The engines, with a name that is short enough for Hypothesis to print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "every engine"


@pytest.fixture
def engines(embedded, compiled, opa_url):
    """rego-cpp, OPA's compilation, and the address of the real OPA."""
    return _Engines((embedded, compiled, opa_url))


@pytest.mark.opa
# A slow machine takes long over 20,000; a test that is cut off looks to Hypothesis like one that fails by chance.
@pytest.mark.timeout(600 + INPUTS // 2)
@settings(max_examples=max(1, INPUTS // BATCH), deadline=None, database=None, suppress_health_check=[*HealthCheck])
@given(st.integers(0, 2**32), st.integers(0, 6))
def test_not_one_disagreement(engines, seed, most):
    embedded, compiled, opa_url = engines
    draw = random.Random(seed)
    asked = [question(form(draw, most)) for _ in range(BATCH)]
    answer = httpx2.post(f"{opa_url}/v1/query", json={"query": QUERY, "input": {"batch": [document for document, _ in asked]}}, timeout=600)
    there = answer.json()["result"][0]["answers"]
    assert len(there) == BATCH
    permits = 0
    for number, ((document, input_hash), other) in enumerate(zip(asked, there, strict=True)):
        meant = settled(other, input_hash, POLICIES.revision)
        assert settled(compiled._evaluator.evaluate(document), input_hash, POLICIES.revision) == meant, document["facts"]
        if number % SHARE == 0:
            assert settled(embedded._evaluator.evaluate(document), input_hash, POLICIES.revision) == meant, document["facts"]
        permits += meant[0] == "permit"
    assert most > 0 or permits > 0, "permits are asked as well as denials"
