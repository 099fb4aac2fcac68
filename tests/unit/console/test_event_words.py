"""Every event that the house records has a name in both languages, so that no auditor reads codes (RS-6.2.3)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.console import event_words, language

CODE = re.compile(r"Event\(\s*\"([a-z-]+\.[a-z-]+)\"|type=\"([a-z-]+\.[a-z-]+)\"")
BROKER = Path(event_words.__file__).resolve().parents[1]
RECORDED = sorted({one[0] or one[1] for file in BROKER.rglob("*.py") for one in CODE.findall(file.read_text(encoding="utf-8"))})


def test_events_were_found():
    assert {"release.sent", "session.opened", "key.retired"} <= set(RECORDED)


@pytest.mark.parametrize("spoken", language.LANGUAGES)
def test_each_event_has_words(spoken):
    lacking = [code for code in RECORDED if code.partition(".")[0] not in event_words.ABOUT or code.partition(".")[2] not in event_words.HAPPENED]
    assert lacking == []
    if spoken == "zh":
        assert [code for code in RECORDED if re.search("[A-Za-z]", event_words.event(spoken, code))] == []


def test_what_is_not_known_is_shown_as_it_is():
    assert event_words.event("en", "comet.seen") == "comet: seen"
    assert event_words.actor("en", "client:his", {}) == "System his"
    assert event_words.actor("en", "person:1", {"person:1": "Gao Min (gao.min)"}) == "Gao Min (gao.min)"
