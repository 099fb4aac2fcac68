"""The shipped policies as a whole: static checks, schemas, the page about them, Rego's own tests."""

import json
import subprocess

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from broker.policy.documentation import readme
from broker.policy.embedded import EmbeddedEvaluator
from broker.policy.engine import PolicyEngine, question
from broker.policy.policy_set import DECISION
from broker.policy.static_checks import given_codes, problems
from tests.policies.conftest import ROOT
from tests.policies.examples import STARTS, as_facts, changed, emergency, release
from tests.policies.test_random_facts import forms

FOLDER = ROOT / "policies"
RULES = ("grant", "purpose", "basis", "consent", "recipient", "residency", "minors", "necessity", "sensitive", "workforce", "emergency")


def test_the_static_checks_find_nothing(policies):
    assert problems(policies) == ()


def test_every_rule_has_its_folder_and_its_test():
    folder = FOLDER / "broker" / "release" / "rules"
    assert {each.name for each in folder.iterdir()} == {*RULES}
    for rule in RULES:
        assert {each.name for each in (folder / rule).iterdir()} == {f"{rule}.rego", f"{rule}_test.rego"}


def test_every_table_has_a_schema_that_says_what_it_is():
    tables = [path for path in (FOLDER / "data").glob("*.json") if not path.name.endswith(".schema.json")]
    schemas = [path.with_name(f"{path.stem}.schema.json") for path in tables] + [FOLDER / "data" / "profiles" / "profile.schema.json"]
    assert len(schemas) == 16
    for path in [*schemas, FOLDER / "input.schema.json"]:
        schema = json.loads(path.read_text(encoding="utf-8"))
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["title"]
        assert schema["description"]
        jsonschema_rs.meta.validate(schema)


def test_every_reason_is_said_in_both_languages_with_what_to_do(policies):
    for code, words in policies.data["reasons"].items():
        assert {"zh", "en", "help_zh", "help_en"} <= words.keys(), code
        assert all(words.values()), code
        assert words["en"].endswith("."), code
        assert words["zh"].endswith("。"), code


@pytest.mark.parametrize("start", STARTS)
def test_the_input_schema_takes_the_facts(policies, start):
    schema = jsonschema_rs.validator_for(policies.input_schema)
    document, _ = question(as_facts(STARTS[start]()))
    assert [error.message for error in schema.iter_errors(document)] == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms())
def test_the_input_schema_takes_whatever_facts_are_made_of(policies, form):
    document, _ = question(as_facts(form))
    assert jsonschema_rs.validator_for(policies.input_schema).is_valid(document)


@pytest.mark.parametrize(
    "change",
    [
        {"at": 1.5},
        {"at": "2026-11-23"},
        {"at": 10**15},
        {"question": "guess"},
        {"request.emergency": "true"},
        {"request.emergency": 1},
        {"request.data": [{}]},
        {"request.data": [{"data_class": "clinical", "resource_type": "Patient"}]},
        {"request.data": [{"resource_type": "Patient", "elements": ["name telecom"]}]},
        {"request.data": [{"resource_type": "Patient", "elements": ["name."]}]},
        {"request.data": [{"resource_type": "Patient", "elements": None}]},
        {"request.data": [{"resource_type": "patient"}]},
        {"request.data": [{"data_class": "clinical"}] * 201},
        {"grant.status": "whatever"},
        {"grant.valid_until": None},
        {"grant.releases_used": -1},
        {"recipient.relationship": "friend"},
        {"consent.base": None},
        {"consent.refused": None},
        {"patient.match": "CERTAIN"},
        {"caller.types": ["**"]},
        {"wanted_types": ["*"]},
    ],
    ids=str,
)
def test_the_input_schema_refuses(policies, embedded, change):
    """And then no engine is asked: what Rego was not written for is UNAVAILABLE."""
    form = changed(release(), change)
    document, _ = question(form)
    assert not jsonschema_rs.validator_for(policies.input_schema).is_valid(document)
    assert embedded.decide_form(form).effect == "unavailable"


@pytest.mark.parametrize("document", [{}, {"facts": {}}, {"facts": None}, {"facts": [], "input_hash": "x"}, {"input_hash": "x"}, [], "", None, 1])
def test_the_empty_input_is_refused_with_reasons(embedded, document):
    """Asked behind the schema's back."""
    answer = embedded._evaluator.evaluate(document)
    assert answer["allow"] is False
    assert answer["plan"] is None
    assert {reason["code"] for reason in answer["reasons"]} >= {f"{rule}.undetermined" for rule in RULES if rule != "emergency"}


@pytest.mark.opa
@pytest.mark.parametrize("document", [{}, {"facts": {}}, {"facts": None}, {"input_hash": "x"}, [], "", None, 1])
def test_opa_refuses_the_empty_input_in_the_same_words(embedded, opa_server, document):
    assert embedded._evaluator.evaluate(document) == opa_server._evaluator.evaluate(document)


def test_a_rule_taken_away_leaves_nothing_to_permit(policies):
    """Undefined, not allowed: the decision names every rule."""
    for rule in RULES:
        crippled = {path: source for path, source in policies.modules.items() if f"/rules/{rule}/" not in path}
        engine = PolicyEngine(_uncompiled(policies, crippled), policies)
        start = emergency() if rule == "emergency" else release()
        assert not engine.decide(as_facts(start)).allow, rule


def _uncompiled(policies, modules):
    class Crippled:
        name, blocking = "embedded", False

        def evaluate(self, document):
            import dataclasses

            return EmbeddedEvaluator(dataclasses.replace(policies, modules=modules)).evaluate(document)

    return Crippled()


def test_a_rule_that_is_silent_permits_nothing(policies):
    """Each rule's `satisfied` in turn never true: the decision is no, and says which rule could not be determined."""
    for rule in RULES:
        if rule == "emergency":
            continue
        path = f"broker/release/rules/{rule}/{rule}.rego"
        silent = {
            **policies.modules,
            path: policies.modules[path]
            .replace("\nsatisfied if {", "\nsatisfied if {\n\t1 == 2")
            .replace("\nsatisfied if input.", "\nsatisfied if 1 == input.")
            .replace("\nsatisfied if facts.", "\nsatisfied if 1 == facts."),
        }
        decision = PolicyEngine(_uncompiled(policies, silent), policies).decide(as_facts(release()))
        assert [reason.code for reason in decision.reasons] == [f"{rule}.undetermined"]


def test_readme_is_up_to_date(policies):
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == readme(policies), "run `broker policy document`"


def test_readme_names_every_code_that_a_rule_gives(policies):
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for code, path in given_codes(policies).items():
        assert "/rules/" not in path or code.endswith(".undetermined") or f"`{code}`" in page, code


@pytest.mark.opa
def test_rego_is_formatted_strict_and_tested_completely(opa, tmp_path, policies):
    from broker.policy.bundle import unpack

    unpack(policies, tmp_path / "bundle")
    for command in (
        ["fmt", "--fail", "--list", FOLDER / "broker"],
        ["check", "--strict", "--bundle", tmp_path / "bundle"],
        ["test", "--bundle", tmp_path / "bundle", "--coverage", "--threshold", "100"],
    ):
        done = subprocess.run([opa, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.opa
def test_opa_finds_the_decision_where_the_broker_asks_for_it(opa, tmp_path, policies):
    from broker.policy.bundle import archive

    (tmp_path / "broker.tar.gz").write_bytes(archive(policies))
    path = "data." + DECISION.replace("/", ".")
    command = [opa, "eval", "--bundle", tmp_path / "broker.tar.gz", "--stdin-input", "--format", "raw", path]
    done = subprocess.run(command, input="{}", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["allow"] is False
