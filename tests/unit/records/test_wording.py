from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.records.wording import Wording, expanded


def _finds(phrase: str, text: str) -> bool:
    wording = Wording()
    wording.add("rule", [phrase])
    return wording.found(text) == ("rule",)


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [
        ("hiv$", "HIV 1+2 Ab", True),
        ("hiv$", "抗HIV抗体", True),
        ("hiv$", "anti-HIV", True),
        ("hiv$", "HIV1抗体", True),
        ("hiv$", "ＨＩＶ", True),
        ("hiv$", "shiver", False),
        ("hiv$", "hives", False),
        ("=AIDS$", "AIDS", True),
        ("=AIDS$", "Hearing aids", False),
        ("=AIDS$", "Hearing AIDSY", False),
        ("schizophreni", "Paranoid schizophrenia", True),
        ("rape(d|)$", "was raped", True),
        ("rape(d|)$", "rapeseed oil", False),
        ("rape(d|)$", "drape", False),
        ("self(-| )harm", "Self  harm", True),
        ("大麻!仁", "吸食大麻", True),
        ("大麻!仁", "火麻仁、大麻仁", False),
        ("buprenorphine...naloxone", "buprenorphine 8 MG / naloxone 2 MG", True),
        ("buprenorphine...naloxone", "buprenorphine patch", False),
        ("buprenorphine...naloxone", "buprenorphine " + "x" * 200 + " naloxone", False),
        ("抑郁(症|发作)", "考虑抑郁发作", True),
        ("抑郁(症|发作)", "ST段抑郁", False),
    ],
)
def test_a_phrase_stands_where_it_should(phrase: str, text: str, expected: bool):
    assert _finds(phrase, text) is expected


def test_groups_are_every_combination():
    assert list(expanded("(a|b) c(d|)")) == ["a cd", "a c", "b cd", "b c"]


def test_a_phrase_of_one_letter_is_refused():
    with pytest.raises(ValueError, match="too short"):
        _finds("孕", "x")


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_chinese_phrase_is_found_in_any_surroundings(before: str, after: str):
    assert _finds("精神分裂", f"{before}精神分裂{after}")


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_latin_phrase_is_found_as_a_word_in_any_surroundings(before: str, after: str):
    assert _finds("suicid", f"{before} suicide {after}")
