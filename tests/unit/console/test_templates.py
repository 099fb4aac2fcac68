"""Templates hold nothing that the content security policy would have to let through, and nothing that escapes the escaping."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker import console
from broker.console import navigation

TEMPLATES = sorted((Path(console.__file__).parent / "templates").glob("*.html"))
#: Attributes for number fields, written in the templates themselves.
SAFE = re.compile(r"""extra='(min|max|pattern|inputmode)="[^"']*"( (min|max|step|pattern|inputmode)="[^"']*")*' \| safe""")


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_template_has_nothing_inline_and_nothing_unescaped(file):
    text = SAFE.sub("", file.read_text(encoding="utf-8"))
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! src=)", text) == []
    assert re.findall(r"\|\s*safe|autoescape|Markup", text) == []
    assert re.findall(r"(?:href|src|action)=\"(?!/console/|/log/|#|\{\{)[^\"]*", text) == []


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_form_that_posts_carries_its_sessions_token(file):
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", file.read_text(encoding="utf-8"), flags=re.DOTALL):
        # Forms of those who have no session yet: a password, a passkey, a link in hand.
        door = any(f'action="{path}"' in form for path in ("/console/language", "/console/login", "/console/patient/login", "/console/login/key"))
        assert "token()" in form or 'name="csrf"' in form or door or file.name == "password_link.html", form[:120]


def test_every_line_of_the_menu_stands_under_a_heading():
    assert navigation.ENTRIES[0].group
    assert len({entry.path for entry in navigation.ENTRIES}) == len(navigation.ENTRIES)
