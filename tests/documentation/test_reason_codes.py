"""Every code that the broker says has its sentence and its way out in both languages, and stands in the published code system."""

import json
import re

import pytest
from fhir.resources.R4B.codesystem import CodeSystem

from tools.fhir_profiles import FILE, code_system, errors, text

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_the_published_code_system_is_that_of_the_code():
    assert FILE.read_text(encoding="utf-8") == text(), "run `python -m tools.fhir_profiles`"


def test_it_is_valid():
    CodeSystem.model_validate(json.loads(text()))


@pytest.mark.parametrize("concept", code_system()["concept"], ids=lambda concept: concept["code"])
def test_a_code_speaks_both_languages(concept):
    assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", concept["code"])
    for english in (concept["display"], concept["definition"]):
        assert english
        assert not CHINESE.search(english)
    for designation in concept["designation"]:
        assert CHINESE.search(designation["value"])


def test_every_error_has_words_of_its_own():
    """An inherited docstring would tell of something else."""
    for kind in errors():
        assert kind.__doc__, kind
        assert kind.__module__.startswith("broker."), kind
