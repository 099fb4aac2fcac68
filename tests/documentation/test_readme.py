"""What README and the guides tell one to type and to open is there."""

import ast
import re
import subprocess
from pathlib import Path

import click
import pytest
from typer.main import get_command

from broker.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "tests" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]


def code(text):
    """Everything on the page that is set as code: fenced lines and inline spans."""
    fenced = re.findall(r"(?ms)^```\w*\n(.*?)^```", text)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    return [line.split("#")[0].strip() for block in fenced for line in block.splitlines()] + inline


def commands():
    """``broker x`` and ``broker x y`` on any page, with the page."""
    return sorted(
        {
            (page, tuple(words.split()))
            for page, text in TEXTS.items()
            for span in code(text)
            for words in re.findall(r"^broker ([a-z]+(?: [a-z]+\b(?!/))?)", span)
        }
    )


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else "-".join(value))
def test_every_broker_command_exists(page, words):
    command = get_command(app)
    for word in words:
        if not isinstance(command, click.Group):
            break  # What follows a command is an argument.
        assert word in command.commands, f"{page}: broker {' '.join(words)}"
        command = command.commands[word]


def targets():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?m)^  make (\w+)", listed))


def test_every_make_target_exists():
    named = {target for text in TEXTS.values() for span in code(text) for target in re.findall(r"^make ([a-z]+)", span)}
    assert {"demo", "test"} <= named
    assert named <= targets()


def test_the_promised_targets_are_there():
    assert targets() >= {"help", "setup", "opa", "demo", "run", "test", "check", "bench", "lock", "clean"}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)", TEXTS[page]):
        if "://" not in link:
            assert ((ROOT / page).parent / link).exists(), link


@pytest.mark.parametrize("page", TEXTS)
def test_files_and_folders_that_are_named_exist(page):
    for span in code(TEXTS[page]):
        for path in re.findall(r"^((?:broker|policies|tests|docs|deploy|tools|migrations|benchmarks|fhir_profiles)/[\w./-]*)$", span):
            assert (ROOT / path).exists(), path


def test_the_map_names_every_slice_and_no_other():
    there = {path.parent.name for path in (ROOT / "broker").glob("*/__init__.py")} - {"cli", "demo", "demo_data"}
    section = README.split("## The map")[1].split("\n## ")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", section)) == there


def test_the_sections_come_in_their_order():
    wanted = [
        "Two commands",
        "What the demo shows",
        "One release, step by step",
        "The map",
        "Where to change what",
        "Operations in short",
        "What it does not do",
        "Licence",
    ]
    assert re.findall(r"(?m)^## (.+)$", README) == wanted


def test_the_opening_speaks_both_languages():
    opening = README.split("\n## ")[0]
    assert "**中文**" in opening
    assert "**English**" in opening


def test_the_eight_steps_are_those_of_the_code():
    service = (ROOT / "broker" / "release" / "service.py").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^   (\d) (\w+) ", README) == re.findall(r"(?m)^([1-8]) (\w+) ", service)


def test_the_story_is_told_as_the_demo_plays_it():
    source = ast.parse((ROOT / "broker" / "demo" / "story.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.step"]
    played = [ast.literal_eval(call.args[1]) for call in sorted(calls, key=lambda call: call.lineno)]
    told = re.findall(r"(?m)^\d\. (.+)$", README.split("## What the demo shows")[1].split("\n## ")[0])
    assert len(told) == len(played)
    for sentence, step in zip(told, played, strict=True):
        assert sentence.startswith(step), sentence


def test_ci_runs_the_command_that_readme_gives():
    assert re.search(r"(?m)^make test\b", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
