"""The policies as OPA compiled them: what is run is what the Rego says, and nothing that goes wrong in there permits."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import wasmtime

from broker.policy import compiled, service
from broker.policy.answer import AnswerUnusable
from broker.policy.compiled import MODULE, NOTE, CompiledEvaluator, found
from broker.policy.compiling import compiled as compile_rego
from broker.policy.decision import Effect
from broker.policy.engine import PolicyEngine, question
from broker.policy.errors import PolicyUnusable
from broker.policy.policy_set import load
from broker.settings import Settings
from tests.policies.conftest import ROOT, opa  # noqa: F401  (a fixture)
from tests.policies.examples import as_facts, changed, release

FACTS = as_facts(release())
REVOKED = as_facts(changed(release(), {"grant.status": "revoked"}))


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    return tmp_path / "policies"


@pytest.fixture(scope="module")
def shipped(policies):
    return PolicyEngine(CompiledEvaluator(policies, found(policies, policies.folder)), policies)


def test_what_is_shipped_was_compiled_from_what_is_shipped(policies, shipped):
    assert found(policies, policies.folder), "run `broker policy compile`"
    decision = shipped.decide(FACTS)
    assert decision.effect is Effect.PERMIT
    assert decision.engine == "compiled"


@pytest.mark.opa
def test_opa_makes_the_same_bytes_again(policies, opa):  # noqa: F811
    made = compile_rego(policies, opa)
    assert made[NOTE] == (policies.folder / NOTE).read_bytes()
    assert made[MODULE] == (policies.folder / MODULE).read_bytes()


def test_tables_may_change_without_compiling(folder, monkeypatch):
    table = folder / "data" / "profiles" / "treatment-referral.json"
    profile = json.loads(table.read_text(encoding="utf-8"))
    profile["channels"] = ["bundle"]
    table.write_text(json.dumps(profile), encoding="utf-8")
    engine = service.build_engine(Settings(policies=folder))
    assert engine.name == "compiled"
    assert [reason.code for reason in engine.decide(FACTS).reasons] == ["necessity.channel"]


def test_rego_that_was_not_compiled_is_judged_as_it_stands(folder):
    """Never by the module of yesterday: here the rule on revoked grants says another code."""
    rule = folder / "broker" / "release" / "rules" / "grant" / "grant.rego"
    rule.write_text(rule.read_text(encoding="utf-8").replace('facts.grant.status == "revoked"', 'facts.grant.status == "active"'), encoding="utf-8")
    engine = service.build_engine(Settings(policies=folder))
    assert engine.name == "embedded"
    assert [reason.code for reason in engine.decide(FACTS).reasons] == ["grant.revoked"]
    (folder / "README.md").write_text(service.readme(load(folder)), encoding="utf-8")
    assert [problem.code for problem in service.checked(folder)[1]] == ["compiled"]


@pytest.mark.parametrize("spoil", ["module", "note", "note is no JSON", "note is a list", "module is gone"])
def test_a_module_that_is_not_what_its_note_says_is_not_run(folder, spoil):
    module, note = folder / MODULE, folder / NOTE
    if spoil == "module":
        module.write_bytes(module.read_bytes()[:-1] + b"\x00\x00")
    elif spoil == "module is gone":
        module.unlink()
    else:
        note.write_text({"note": '{"rego": "", "wasm": ""}', "note is no JSON": "{", "note is a list": "[]"}[spoil], encoding="utf-8")
    assert found(load(folder), folder) is None


@pytest.mark.parametrize(
    "module",
    [
        b"",
        b"<html>",
        wasmtime.wat2wasm("(module)"),
        wasmtime.wat2wasm('(module (import "env" "opa_abort" (func (param i32))))'),
        wasmtime.wat2wasm('(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))'),
        wasmtime.wat2wasm('(module (import "env" "memory" (memory 1)) (func (export "builtins") (result i32) unreachable))'),
    ],
    ids=["nothing", "a page", "empty", "no ABI", "wants files", "traps"],
)
def test_what_is_no_policy_is_refused_at_start(policies, module):
    with pytest.raises(PolicyUnusable):
        CompiledEvaluator(policies, bytes(module))


def test_threads_do_not_answer_each_others_questions(shipped):
    barrier = threading.Barrier(4)

    def ask(which):
        barrier.wait()
        return [shipped.decide(FACTS if which else REVOKED).allow for _ in range(100)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, (True, False, True, False))) == [[True] * 100, [False] * 100, [True] * 100, [False] * 100]


def test_a_thousand_questions_leave_nothing_behind(shipped):
    """The same answers, whatever was asked in between, in the same memory."""
    instance = shipped._evaluator._instance()
    first, size = shipped.decide(FACTS), instance._memory.data_len(instance._store)
    for _ in range(500):
        assert shipped.decide(REVOKED).effect is Effect.DENY
        assert shipped.decide(FACTS) == first
    assert instance._memory.data_len(instance._store) == size


def test_a_rule_that_would_run_for_ever_is_stopped_and_the_next_question_is_answered(shipped, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "_FUEL", 10_000)
        assert shipped.decide(FACTS).effect is Effect.UNAVAILABLE
    assert shipped.decide(FACTS).effect is Effect.PERMIT


def test_the_fuel_is_ten_times_what_the_longest_question_takes(shipped):
    """Facts of nearly as many bytes as are taken, every entry a different one."""
    codes = [f"http://loinc.org|{number}-{'0' * 20}" for number in range(480)]
    entries = [{"resource_type": name, "elements": ["code", "value", "effective"], "codes": codes} for name in ("Observation", "Procedure")]
    classes = [{"data_class": code} for code in shipped.policies.data["data_classes"]] * 3
    facts = as_facts(changed(release(), {"request.data": [*entries, *classes], "question": "release"}))
    assert shipped.decide(facts).effect is not Effect.UNAVAILABLE
    instance = shipped._evaluator._instance()
    used = compiled._FUEL - instance._store.get_fuel()
    assert used < compiled._FUEL // 10


@pytest.mark.opa
@pytest.mark.parametrize(
    ("source", "raised"),
    [
        ("package broker.release\n\nimport rego.v1\n\ndecision := input.nothing\n", AnswerUnusable),
        ("package broker.release\n\nimport rego.v1\n\ndecision := 1 if input.facts\n\ndecision := 2 if input.facts\n", AnswerUnusable),
    ],
    ids=["undefined", "two answers"],
)
def test_policies_without_one_answer_deny(policies, opa, source, raised):  # noqa: F811
    alone = dataclasses.replace(policies, modules={"broker/release/release.rego": source})
    evaluator = CompiledEvaluator(alone, compile_rego(alone, opa)[MODULE])
    with pytest.raises(raised):
        evaluator.evaluate(question(FACTS)[0])
    assert PolicyEngine(evaluator, alone).decide(FACTS).effect is Effect.UNAVAILABLE


@pytest.mark.opa
def test_rego_that_opa_does_not_take_is_not_compiled(policies, opa):  # noqa: F811
    with pytest.raises(PolicyUnusable, match="cannot compile"):
        compile_rego(dataclasses.replace(policies, modules={"broker/x.rego": "package x\n\ny := ["}), opa)


def test_the_command_compiles(folder, tmp_path, monkeypatch):
    """Without OPA it says so and changes nothing."""
    from typer.testing import CliRunner

    from broker.cli.policy import app

    monkeypatch.setattr("broker.cli.policy._opa", lambda: None)
    before = (folder / MODULE).read_bytes()
    assert CliRunner().invoke(app, ["compile", "--policies", str(folder)]).exit_code == 1
    assert (folder / MODULE).read_bytes() == before
    if shutil.which("false"):
        monkeypatch.setattr("broker.cli.policy._opa", lambda: shutil.which("false"))
        assert CliRunner().invoke(app, ["compile", "--policies", str(folder)]).exit_code == 1
        assert (folder / MODULE).read_bytes() == before
