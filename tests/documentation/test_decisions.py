"""Decisions are numbered, listed, and each says its price and what guards it."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
PAGES = sorted(path for path in FOLDER.glob("[0-9]*.md") if not path.name.startswith("0000"))
HEADINGS = re.findall(r"(?m)^## .+$", (FOLDER / "0000-template.md").read_text(encoding="utf-8"))
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")


def status(text):
    return re.search(r"(?m)^Status: (.+?) · Date: \d{4}-\d\d-\d\d · Requirements: .+$", text)


def test_numbers_are_used_once():
    numbers = [page.name[:4] for page in PAGES]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_follows_the_template(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]} · ")
    assert re.findall(r"(?m)^## .+$", text) == HEADINGS
    assert status(text), "Status: … · Date: … · Requirements: …"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_index_has_the_page_with_its_title_and_status(page):
    text = page.read_text(encoding="utf-8")
    title = text.splitlines()[0].split(" · ", 1)[1]
    assert f"| [{page.name[:4]}]({page.name}) | {title} | {status(text)[1]} |" in INDEX


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_checks_that_are_named_exist(page):
    """Tests and modules that a decision points to."""
    root = FOLDER.parents[1]
    for path in re.findall(r"`((?:tests|broker|policies|tools|deploy|docs)/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (root / path).exists(), path


def test_the_index_lists_nothing_else():
    assert set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", INDEX)) == {page.name for page in PAGES} | {"0000-template.md"}


def test_decisions_that_code_points_to_exist():
    """``docs/decisions/0002`` in a comment leads to a page."""
    root = FOLDER.parents[1]
    files = [
        path
        for folder in ("broker", "migrations", "policies", "tests", "tools")
        for path in (root / folder).rglob("*")
        if path.suffix in {".py", ".rego", ".md"}
    ]
    cited = {
        (str(path.relative_to(root)), number) for path in files for number in re.findall(r"docs/decisions/(\d{4})", path.read_text(encoding="utf-8"))
    }
    missing = {(path, number) for path, number in cited if not list(FOLDER.glob(f"{number}-*.md"))}
    assert missing == set()
