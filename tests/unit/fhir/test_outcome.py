from __future__ import annotations

import pytest

from broker.errors import BrokerError, Invalid, NotFound, Problem
from broker.fhir.errors import KINDS, problem
from broker.fhir.outcome import Issue, operation_outcome, render
from broker.fhir.validate import problems


def test_an_outcome_is_valid_r4():
    outcome = operation_outcome([Issue("error", "structure", "unknown-element", "不行", "Observation.x")])
    assert outcome["resourceType"] == "OperationOutcome"
    assert problems(outcome) == []
    assert outcome["issue"][0]["expression"] == ["Observation.x"]


def test_a_wrong_severity_is_our_own_mistake_and_is_found():
    with pytest.raises(ValueError, match="severity"):
        operation_outcome([Issue("terrible", "structure")])  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    "error", [BrokerError(), NotFound(), *(kind() for kind in BrokerError.__subclasses__() if kind.__module__ == "broker.errors")]
)
def test_every_error_is_rendered_as_valid_r4_in_both_languages(error: BrokerError, language: str):
    outcome = render(error, language, "a1b2")
    assert problems(outcome) == []
    assert outcome["id"] == "a1b2"
    assert error.title(language) in outcome["issue"][0]["details"]["text"]


def test_problems_follow_in_the_readers_language():
    error = Invalid("1 problem", problems=(problem("Observation.status", "missing"), Problem("/body/x", "odd", "odd")))
    english, chinese = render(error, "en", "r"), render(error, "zh", "r")
    assert english["issue"][1]["details"]["text"] == "A mandatory element is missing."
    assert chinese["issue"][1]["details"]["text"] == "缺少必需的元素。"
    assert english["issue"][1]["code"] == "required"
    assert english["issue"][1]["expression"] == ["Observation.status"]
    assert "expression" not in english["issue"][2]


def test_every_kind_of_problem_has_an_issue_type_of_fhir():
    for kind in KINDS.values():
        assert problems(operation_outcome([Issue("error", kind.issue, kind.code, kind.zh)])) == []
        assert kind.en
        assert kind.zh
