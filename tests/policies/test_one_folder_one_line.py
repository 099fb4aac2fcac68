"""A policy engineer adds a rule by one folder and one line (issue: least-necessary policies): done here, in a copy, exactly so."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from broker.cli.policy import app
from broker.policy import service
from broker.policy.policy_set import load
from broker.policy.service import problems
from broker.settings import Settings
from tests.policies.conftest import ROOT
from tests.policies.examples import as_facts, changed, release

RULE = """\
# METADATA
# title: Quiet hours
# description: >-
#   Nothing but urgent requests is answered on bulk channels.
# custom:
#   law: RS-5.2.4
package broker.release.rules.quiet

import data.broker.lib.facts

default satisfied := false

# METADATA
# title: The request does not come in bulk
satisfied if facts.request.channel != "bulk"

# METADATA
# title: The request is urgent
satisfied if facts.request.urgency == "urgent"

# METADATA
# title: Bulk requests must be urgent
# custom:
#   code: quiet.not-urgent
deny contains "quiet.not-urgent" if {
	facts.request.channel == "bulk"
	facts.request.urgency != "urgent"
}
"""
TEST = """\
package broker.release.rules.quiet_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.quiet

test_what_does_not_come_in_bulk_passes if {
	quiet.satisfied with input as examples.release({})
	count(quiet.deny) == 0 with input as examples.release({})
}

test_bulk_must_be_urgent if {
	quiet.deny == {"quiet.not-urgent"} with input as examples.release({"/request/channel": "bulk", "/request/urgency": "routine"})
	quiet.satisfied with input as examples.release({"/request/channel": "bulk", "/request/urgency": "urgent"})
}
"""
SENTENCES = {
    "quiet.not-urgent": {
        "zh": "批量请求须为紧急。", "en": "Bulk requests must be urgent.",
        "help_zh": "请改用其他方式，或标明紧急。", "help_en": "Use another channel, or mark it as urgent.",
    },
    "quiet.undetermined": {
        "zh": "无法判断。", "en": "It could not be determined.",
        "help_zh": "请联系信息管理员。", "help_en": "Ask the information manager.",
    },
}  # fmt: skip
LINE = '\t"quiet": {"yes": rules.quiet.satisfied, "no": rules.quiet.deny},\n'


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    shutil.rmtree(folder / "compiled")
    return folder


def add_folder(folder):
    rule = folder / "broker" / "release" / "rules" / "quiet"
    rule.mkdir()
    (rule / "quiet.rego").write_text(RULE, encoding="utf-8")
    (rule / "quiet_test.rego").write_text(TEST, encoding="utf-8")
    (rule / "reasons.json").write_text(json.dumps(SENTENCES, ensure_ascii=False), encoding="utf-8")


def add_line(folder):
    file = folder / "broker" / "release" / "release.rego"
    source = file.read_text(encoding="utf-8")
    anchor = '\t"recipient": {'
    assert source.count(anchor) == 1
    file.write_text(source.replace(anchor, LINE + anchor), encoding="utf-8")


def judged(folder):
    engine = service.build_engine(Settings(policies=folder), load(folder))
    bulk = {"request.channel": "bulk"}
    return {
        urgency: [reason.code for reason in engine.decide(as_facts(changed(release(), {**bulk, "request.urgency": urgency}))).reasons]
        for urgency in ("routine", "urgent")
    }


def test_one_folder_and_one_line_are_a_rule(copy):
    assert judged(copy) == {"routine": [], "urgent": []}
    add_folder(copy)
    add_line(copy)
    assert problems(load(copy)) == ()
    assert judged(copy) == {"routine": ["quiet.not-urgent"], "urgent": []}
    # The page is written, not edited.
    assert CliRunner().invoke(app, ["document", "--policies", str(copy)]).exit_code == 0
    assert CliRunner().invoke(app, ["check", "--policies", str(copy)]).exit_code == 0
    assert "`quiet.not-urgent`" in (copy / "README.md").read_text(encoding="utf-8")
    # A draft over the API carries the same files.
    drafted = service.policy_set_of(service.files_of(copy))
    assert drafted.revision == load(copy).revision


def test_the_folder_alone_is_not_forgotten(copy):
    add_folder(copy)
    assert "rule" in {problem.code for problem in problems(load(copy))}


def test_the_line_alone_permits_nothing(copy):
    """A rule that is asked and is not there leaves the verdicts undefined, which allows nobody."""
    from broker.policy.decision import Effect
    from broker.policy.embedded import EmbeddedEvaluator
    from broker.policy.engine import PolicyEngine

    add_line(copy)
    policies = load(copy)
    try:
        engine = PolicyEngine(EmbeddedEvaluator(policies), policies)
    except Exception:  # noqa: BLE001  (Policies that do not compile decide nothing, whatever the engine raises.)
        return
    assert engine.decide(as_facts(release())).effect is Effect.UNAVAILABLE


def test_a_code_has_its_sentences_in_one_place(copy):
    from broker.policy.errors import PolicyUnusable

    add_folder(copy)
    add_line(copy)
    told = {**SENTENCES, "grant.revoked": SENTENCES["quiet.not-urgent"]}
    (copy / "broker" / "release" / "rules" / "quiet" / "reasons.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(PolicyUnusable):
        load(copy)


@pytest.mark.opa
def test_opa_formats_checks_tests_and_compiles_it(copy, opa):
    add_folder(copy)
    add_line(copy)
    policies = load(copy)
    service.unpack(policies, copy.parent / "bundle")
    for command in (["fmt", "--fail", "--list", copy / "broker"], ["check", "--strict", "--bundle", copy.parent / "bundle"],
                    ["test", "--bundle", copy.parent / "bundle", "--run", "quiet_test"]):  # fmt: skip
        done = subprocess.run([opa, *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for path, content in service.compiled(policies, opa).items():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_bytes(content)
    assert service.build_engine(Settings(policies=copy), load(copy)).name == "compiled"
    assert judged(copy) == {"routine": ["quiet.not-urgent"], "urgent": []}
