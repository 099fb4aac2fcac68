"""Each least-necessary profile as a story on a patient of the demo: what goes, of how many, by which elements, and what is cut.

A row of ``stories.json``: who asks (``start`` and ``change``, as in the decision table), ``patient``, and of the answer ``sent`` (type →
how many of how many, elements that leave, elements that stay behind), ``stays`` (types that stay behind whole) and ``never`` (texts
that the record holds and no byte of the answer may). The plan is carried out by ``broker minimise``, labels and period included.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from broker import demo_data
from broker.cli import minimise
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT
from tests.policies.examples import STARTS, as_facts, changed

STORIES = json.loads(Path(__file__).with_name("stories.json").read_text(encoding="utf-8"))


def record(patient):
    """The patient's record as it stands on the day of the examples."""
    bodies = {json.loads(body)["entry"][0]["resource"]["id"]: body for body in demo_data.patients()}
    return next(body for body in bodies.values() if f'"{patient}'.encode() in body)


def told(decision, body, folder):
    """What leaves of a record, as a row tells it, and the bytes themselves."""
    app = typer.Typer()
    app.callback()(lambda: None)
    minimise.register(app)
    for name, content in (("plan.json", json.dumps(decision.plan)), ("bundle.json", body.decode()), ("key", "k" * 32)):
        (folder / name).write_text(content, encoding="utf-8")
    arguments = ["minimise", "--plan", str(folder / "plan.json"), "--key", str(folder / "key"), str(folder / "bundle.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    before, after = ([entry["resource"] for entry in bundle.get("entry", [])] for bundle in (json.loads(body), json.loads(result.stdout)))
    on_file, left = (Counter(each["resourceType"] for each in resources) for resources in (before, after))
    sent = {}
    for kind in sorted(left):
        shown, had = (
            {name for each in resources if each["resourceType"] == kind for name in each} - {"resourceType", "id", "meta"}
            for resources in (after, before)
        )
        sent[kind] = {"of": f"{left[kind]} of {on_file[kind]}", "leave": " ".join(sorted(shown)), "cut": " ".join(sorted(had - shown))}
    return {"sent": sent, "stays": sorted(on_file.keys() - left.keys())}, result.stdout


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["profile"])
def test_a_story(embedded, story, tmp_path):
    decision = embedded.decide(as_facts(changed(STARTS[story["start"]](), story["change"])))
    assert decision.reasons == ()
    assert decision.plan["profile"] == story["profile"]
    body = record(story["patient"])
    said, text = told(decision, body, tmp_path)
    assert said == {"sent": story["sent"], "stays": story["stays"]}
    for secret in story["never"]:
        assert secret in body.decode(), "the record holds what must not leave"
        assert secret not in text


def test_every_profile_has_a_story():
    assert {story["profile"] for story in STORIES} == {*load(ROOT / "policies").data["profiles"]}
    assert all(story["story"]["zh"] and story["story"]["en"] for story in STORIES)
