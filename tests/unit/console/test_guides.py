"""The guides show pictures that the browser tests take, and nothing that is too large; every role has a page in both languages."""

from __future__ import annotations

import re
from pathlib import Path

from tools import guide_pictures

ROOT = Path(__file__).resolve().parents[3]
GUIDES = ROOT / "docs" / "guide"
NAMES = {".".join(one) + ".png" for one in guide_pictures.SHOWN}


def test_every_role_has_its_page_in_both_languages():
    roles = {"README", "applicant", "head", "information-manager", "privacy-officer", "auditor", "administrator", "patient"}
    assert {page.stem for page in (GUIDES / "zh").glob("*.md")} == {page.stem for page in (GUIDES / "en").glob("*.md")} == roles


def test_pictures_are_those_that_are_shown_and_small():
    files = {file.name: file.stat().st_size for file in (GUIDES / "pictures").glob("*.png")}
    named = {
        Path(name).name
        for page in [*GUIDES.rglob("*.md"), ROOT / "README.zh-CN.md"]
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text("utf-8"))
    }
    assert named == files.keys() == NAMES
    assert len(files) <= 16
    assert {name: size for name, size in files.items() if size > guide_pictures.LARGEST} == {}


def test_each_is_taken_by_a_browser_test():
    looked = {
        name for file in (ROOT / "tests" / "browser").glob("test_*.py") for name in re.findall(r'desk\.look\("([a-z-]+)"\)', file.read_text("utf-8"))
    }
    assert {name for name, _, _ in guide_pictures.SHOWN} <= looked
