"""What the engine asks, and what it makes of its own evaluator: one interpreter a thread, no zero bytes, nothing raised."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from broker.policy import service
from broker.policy.decision import Effect
from broker.policy.embedded import EmbeddedEvaluator
from broker.policy.engine import MAX_FACTS_BYTES, PolicyEngine, question
from broker.policy.errors import PolicyUnusable
from broker.settings import Settings
from tests.policies.conftest import ROOT
from tests.policies.examples import as_facts, changed, release

FACTS = as_facts(release())


def test_the_question_is_the_facts_and_their_hash():
    document, input_hash = question(FACTS)
    canonical = json.dumps(release(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert document == {"facts": release(), "input_hash": hashlib.sha256(canonical).hexdigest()}
    assert input_hash == document["input_hash"]


def test_the_hash_does_not_depend_on_the_order_of_keys():
    form = release()
    turned = {name: form[name] for name in reversed(form)}
    assert question(form)[1] == question(turned)[1]


@pytest.mark.parametrize(
    "change",
    [
        {"grant.id": "grant-1\x00evil"},
        {"request.purpose": "TREAT\x00"},
        {"grant.id": "\ud800"},
        {"grant.valid_until": 2**63 + 1},
        {"grant.valid_until": 2**80},
        {"request.data": ({"data_class": "x" * MAX_FACTS_BYTES},)},
        {"request.data": ({1: "x"},)},
        {"request.data": (object(),)},
        {"patient.key": None},
    ],
    ids=[
        "zero byte",
        "zero byte at the end",
        "surrogate",
        "above 64 bits",
        "far above",
        "too large",
        "a key that is a number",
        "an object",
        "nothing",
    ],
)
def test_facts_that_an_engine_would_misread_are_not_asked(policies, change):
    """The embedded engine ends a text at a zero byte and cuts whole numbers to 64 bits."""
    asked = []

    class Ear:
        name, blocking = "ear", False

        def evaluate(self, document):
            asked.append(document)

    decision = PolicyEngine(Ear(), policies).decide(as_facts(changed(release(), change)))
    assert decision.effect is Effect.UNAVAILABLE
    assert asked == []


class Panic(BaseException):
    """What bindings of engines in Rust raise; `except Exception` misses it."""


@pytest.mark.parametrize("error", [ValueError("x"), Panic("x"), TimeoutError(), MemoryError(), RecursionError(), GeneratorExit()], ids=repr)
def test_whatever_an_evaluator_raises_denies(policies, error):
    class Broken:
        name, blocking = "broken", False

        def evaluate(self, document):
            raise error

    decision = PolicyEngine(Broken(), policies).decide(FACTS)
    assert (decision.effect, decision.plan, decision.engine) == (Effect.UNAVAILABLE, None, "broken")
    assert len(decision.input_hash) == 64


def test_the_end_of_the_process_is_not_held_up(policies):
    class Ending:
        name, blocking = "ending", False

        def evaluate(self, document):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PolicyEngine(Ending(), policies).decide(FACTS)


def test_threads_do_not_answer_each_others_questions(embedded):
    """A shared interpreter does: a permit for a request that must be refused."""
    good, bad = FACTS, as_facts(changed(release(), {"grant.status": "revoked"}))
    barrier = threading.Barrier(4)

    def ask(which):
        barrier.wait()
        return [embedded.decide(good if which else bad).allow for _ in range(40)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, (True, False, True, False)))
    assert answers == [[True] * 40, [False] * 40, [True] * 40, [False] * 40]


def test_the_same_question_the_same_answer(embedded):
    assert embedded.decide(FACTS) == embedded.decide(FACTS)


def test_a_plan_stays_the_same_for_a_day(embedded):
    """Page links are bound to the plan's fingerprint; it must not change from second to second."""
    now = release()["at"]
    plans = [embedded.decide(as_facts(changed(release(), {"at": now + seconds}))).plan for seconds in (0, 1, 3600)]
    assert plans[0] == plans[1] == plans[2]
    assert embedded.decide(as_facts(changed(release(), {"at": now + 86_400}))).plan != plans[0]


def test_policies_that_end_in_an_error_or_are_undefined_deny(policies):
    import dataclasses

    for source in ("package broker.release\n\ndecision := 1 / input.nothing\n", "package broker.release\n\ndecision := input.nothing\n"):
        alone = dataclasses.replace(policies, modules={"broker/release/release.rego": source})
        assert PolicyEngine(EmbeddedEvaluator(alone), alone).decide(FACTS).effect is Effect.UNAVAILABLE


def test_policies_that_can_not_be_compiled_fail_at_start(policies, capfd):
    import dataclasses

    with pytest.raises(Exception, match="error"):
        EmbeddedEvaluator(dataclasses.replace(policies, modules={"x.rego": "package x\n\ny := ["}))


def test_the_engine_that_the_settings_name():
    embedded = service.build_engine(Settings())
    assert (embedded.name, embedded.blocking) == ("compiled", False)
    server = service.build_engine(Settings(policy_engine="opa", opa_token=SecretStr("t")))
    assert (server.name, server.blocking) == ("opa", True)
    assert embedded.revision == server.revision == service.loaded(ROOT / "policies").revision


def test_policies_that_break_their_own_rules_make_no_engine(tmp_path):
    import shutil

    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    file = tmp_path / "policies" / "broker" / "release" / "release.rego"
    file.write_text(file.read_text(encoding="utf-8").replace("rules.consent.deny", "rules.grant.deny"), encoding="utf-8")
    with pytest.raises(PolicyUnusable) as raised:
        service.build_engine(Settings(policies=tmp_path / "policies"))
    assert [problem.code for problem in raised.value.problems] == ["rule"]


def test_catalogues():
    catalogue = service.catalogue()
    assert {"clinical", "clinical.laboratory", "financial", "management", "sensitive.hiv"} <= catalogue.codes
    assert catalogue.types_of["clinical.laboratory"] == ("DiagnosticReport", "Observation", "Specimen")
    assert catalogue.types_of["sensitive.hiv"] == ()
    assert catalogue.classes["sensitive.hiv"].lifts == "HIV"
    assert catalogue.classes["clinical.laboratory"].name.zh == "检验"
    assert "Patient" in catalogue.types
    assert not {"Consent", "AuditEvent", "Provenance", "Binary"} & {*catalogue.types}
    assert service.reasons()["consent.missing"].help_zh
    assert service.purposes()["TREAT"].zh == "诊疗"
    assert "HMARKT" not in service.purposes()
    assert service.lawful_bases()["consent"].en
