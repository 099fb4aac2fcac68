"""Every sentence of the console is there in Chinese: none left out, none left over, none with another placeholder than its source."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import broker
from broker.applications import lifecycle
from broker.applications.service import AttachmentKind, ReasonCode, Relation
from broker.console import language, navigation, pages, problems, vocabulary, words
from broker.feedback.models import DataProblem, PurposeMet
from broker.identity import models
from broker.identity.access import Role
from broker.policy import service as policy
from broker.policy.decision import Effect
from tools import catalogue

PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}|%[sd]")
#: Names that are the same in Chinese.
SAME = {"CSV", "Excel", "FHIR", "English", "TOTP"}


def held() -> dict[str, str]:
    return {message.id: str(message.string) for found in catalogue.catalogues().values() for message in found if message.id}


def test_nothing_is_untranslated_and_nothing_is_left_over():
    assert catalogue.marked() - held().keys() == set(), "python -m tools.catalogue adds them"
    assert held().keys() - catalogue.marked() == set(), "python -m tools.catalogue takes them out"
    assert sorted(sentence for sentence, chinese in held().items() if not chinese) == []


def test_a_sentence_stands_in_one_catalogue():
    seen = [message.id for found in catalogue.catalogues().values() for message in found if message.id]
    assert len(seen) == len(set(seen))


def test_a_translation_has_the_placeholders_of_its_source():
    wrong = {
        sentence: chinese for sentence, chinese in held().items() if sorted(PLACEHOLDER.findall(sentence)) != sorted(PLACEHOLDER.findall(chinese))
    }
    assert wrong == {}


def test_a_translation_is_chinese_and_its_source_is_not():
    han = re.compile(r"[\u4e00-\u9fff]|^\W+$")
    assert [sentence for sentence, chinese in held().items() if not han.search(chinese) and sentence not in SAME] == []
    assert [sentence for sentence in held() if re.search(r"[\u4e00-\u9fff]", sentence)] == []


def test_nothing_is_unsure_or_old():
    for found in catalogue.catalogues().values():
        assert [message.id for message in found if message.fuzzy] == []
        assert not found.obsolete


@pytest.mark.parametrize("name", words.TABLES)
def test_every_code_has_its_word_in_both_languages(name):
    for code in words.TABLES[name]:
        assert words.word("zh", name, code) != words.word("en", name, code)


def test_tables_of_words_that_pages_choose_from_are_translated_when_shown():
    for sentence in [
        *pages.DONE.values(),
        *problems.SENTENCES.values(),
        *problems.FIELDS.values(),
        *(said for entry in navigation.ENTRIES for said in (entry.title, entry.group) if said),
    ]:
        assert language.said("zh", sentence) != sentence
        assert language.said("en", sentence) == sentence


def test_the_files_are_as_the_tool_writes_them():
    for file, found in catalogue.catalogues().items():
        assert file.read_bytes() == catalogue.written({message.id: str(message.string) for message in found if message.id}), file.name


@pytest.mark.parametrize(("name", "codes"), [
    ("state", lifecycle.State), ("grant", lifecycle.GrantState), ("action", [*lifecycle.Action, *lifecycle.GrantAction]), ("reason", ReasonCode),
    ("relation", Relation), ("attachment", AttachmentKind), ("need", ("agree", "legality", "necessity", "concur")),
    ("role", Role), ("effect", Effect), ("kind", models.KINDS), ("relationship", models.RELATIONSHIPS), ("status", models.STATUSES),
    ("purpose_met", PurposeMet), ("data_problem", DataProblem), ("outcome", ("sent", "partial", "failed", "unknown")),
])  # fmt: skip
def test_every_code_that_there_is_has_a_word(name, codes):
    assert {str(getattr(code, "value", code)) for code in codes} <= words.TABLES[name].keys()


def test_every_type_and_label_that_may_leave_has_a_word():
    catalogue = policy.catalogue()
    assert {name for name in catalogue.types if name not in vocabulary.TYPES} == set()
    plans = [
        json.loads(file.read_text(encoding="utf-8")) for file in (Path(broker.__file__).parents[1] / "policies/data/profiles").glob("[a-z]*-*.json")
    ]
    kept = {element.partition(".")[0] for plan in plans for one in plan["types"].values() for element in _elements(one)}
    assert len(plans) > 5
    assert len(kept & vocabulary.ELEMENTS.keys()) > len(kept) * 0.6


def _elements(one):
    given = one.get("elements", [])
    return given.split() if isinstance(given, str) else given
