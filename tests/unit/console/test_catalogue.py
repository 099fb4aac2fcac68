"""Every sentence of the console is there in Chinese: none left out, none left over, none with another placeholder than its source."""

from __future__ import annotations

import re

import pytest

from broker.console import language, navigation, pages, problems, words
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
    for sentence in [*pages.DONE.values(), *problems.SENTENCES.values(), *problems.FIELDS.values(), *(entry.title for entry in navigation.ENTRIES)]:
        assert language.said("zh", sentence) != sentence
        assert language.said("en", sentence) == sentence


def test_the_files_are_as_the_tool_writes_them():
    for file, found in catalogue.catalogues().items():
        assert file.read_bytes() == catalogue.written({message.id: str(message.string) for message in found if message.id}), file.name
