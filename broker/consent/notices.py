"""What a patient is told before being asked, as the law wants it told. Pure.

Texts are data, in Chinese and English, with versions. Which of them may not be missing is law: PIPL article 17 for every notice, 30 for
sensitive information, which all health data are (28), 23 for a recipient who is another processor, 39 for one abroad.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from broker.errors import Problem

#: Separate consents (单独同意) that a notice asks for.
KINDS = ("other-processor", "sensitive", "abroad")
LANGUAGES = ("zh", "en")
_ALWAYS = ("title", "handler", "contact", "purpose", "method", "types", "retention", "rights")
#: What each kind adds; the articles of PIPL stand beside.
_FOR = {
    "other-processor": ("recipient", "recipient_contact"),
    "sensitive": ("necessity", "impact"),
    "abroad": ("recipient", "recipient_contact", "abroad"),
}
_ARTICLE = {"other-processor": "23", "sensitive": "30", "abroad": "39"}
#: Words that are filled in when a patient is asked.
BLANKS = frozenset({"hospital", "hospital_contact", "recipient", "recipient_contact", "purpose", "data", "retention_days", "until"})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
LONGEST = 4000


@dataclass(frozen=True)
class Text:
    """A notice in one language as a patient reads it: heading and paragraphs in their order."""

    language: str
    parts: tuple[tuple[str, str], ...]

    @property
    def whole(self) -> str:
        """All of it, as it is kept with the answer."""
        return "\n\n".join(text for _, text in self.parts)


def required(kinds: tuple[str, ...]) -> dict[str, str]:
    """The parts that a notice of these kinds must have, each with the article that says so."""
    found = dict.fromkeys(_ALWAYS, "PIPL 17")
    for kind in kinds:
        found |= {name: f"PIPL {_ARTICLE[kind]}" for name in _FOR[kind] if name not in found}
    return found


def problems(content: Any) -> list[Problem]:
    """What is wrong with a notice: ``name``, ``kinds``, ``texts`` by language and part."""
    if not isinstance(content, dict) or content.keys() != {"name", "kinds", "texts"}:
        return [Problem("/", "shape", "A notice has name, kinds and texts.")]
    found: list[Problem] = []
    if not isinstance(content["name"], str) or not _NAME.fullmatch(content["name"]):
        found.append(Problem("/name", "name", "Small letters, digits and hyphens, at most 64."))
    kinds, texts = content["kinds"], content["texts"]
    if not isinstance(kinds, list) or any(kind not in KINDS for kind in kinds) or len(set(kinds)) != len(kinds):
        return [*found, Problem("/kinds", "kinds", f"Each of {', '.join(KINDS)} at most once.")]
    if not isinstance(texts, dict) or texts.keys() != set(LANGUAGES):
        return [*found, Problem("/texts", "languages", "Texts in zh and en.")]
    needed = required(tuple(kinds))
    for language in LANGUAGES:
        parts = texts[language]
        if not isinstance(parts, dict):
            found.append(Problem(f"/texts/{language}", "shape", "Parts by name."))
            continue
        found += [
            Problem(f"/texts/{language}/{name}", "missing", f"Required by {law}.") for name, law in needed.items() if not _told(parts.get(name))
        ]
        allowed = {*_ALWAYS, *(name for names in _FOR.values() for name in names)}
        found += [Problem(f"/texts/{language}/{name}", "unknown-part", "No such part.") for name in sorted(parts.keys() - allowed)]
        found += [
            Problem(f"/texts/{language}/{name}", "blank", "A word in braces that nothing fills in.") for name in sorted(parts) if _odd(parts[name])
        ]
    return found


def _told(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip()) and len(text) <= LONGEST


def _odd(text: Any) -> bool:
    if not isinstance(text, str):
        return True
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None]
    except ValueError:
        return True
    return any(name not in BLANKS or spec or conversion for name, spec, conversion in fields)


def rendered(content: Mapping[str, Any], blanks: Mapping[str, str], language: str) -> Text:
    """The notice as the patient reads it. Every blank is filled in; one that has nothing shows a dash."""
    filled = {name: blanks.get(name) or "—" for name in BLANKS}
    parts = content["texts"][language]
    order = [name for name in (*_ALWAYS, *(name for names in _FOR.values() for name in names)) if name in parts]
    return Text(language, tuple((name, parts[name].format_map(filled)) for name in dict.fromkeys(order)))


def given() -> tuple[dict[str, Any], ...]:
    """The notices that come with the broker."""
    found = json.loads((Path(__file__).parent / "codes" / "notices.json").read_text(encoding="utf-8"))
    return tuple(found["notices"])
