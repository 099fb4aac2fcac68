"""Finding the unmistakable words of the code lists in names and notes. Pure.

A phrase is written as it stands in a text, small letters, with four signs: ``(a|b)`` one of several, nothing included; ``$`` at the end:
no letter may follow; ``=`` at the beginning: exactly these capitals; ``!`` something that must not follow; ``...`` a gap within a line.
A phrase in Latin letters begins where a word begins and may go on (``schizophreni`` finds schizophrenia); a Chinese one stands anywhere.

Looking at each place of a text once costs a tenth of searching it for one regular expression after another, and notes are long.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

#: Letters by which a phrase is found; every phrase has at least so many.
KEY = 2

#: Widest gap that ``...`` stands for.
GAP = 60

_GROUP = re.compile(r"\(([^()]*)\)")
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"(?<![a-z])[a-z][a-z]")
_OTHER = re.compile(r"[^\x00-\x7f](?=\S)")


class Phrase(NamedTuple):
    """One phrase without alternatives."""

    rule: str
    parts: tuple[str, ...]  #: what stands there, with gaps between
    ends: bool  #: no letter may follow
    exact: str  #: these capitals, or empty
    never: str  #: must not follow, or empty


def expanded(written: str) -> Iterator[str]:
    """Every phrase that a phrase with ``(a|b)`` groups stands for."""
    pieces = _GROUP.split(written)
    choices = [piece.split("|") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    for chosen in product(*choices):
        yield "".join(chosen)


def normal(text: str) -> str:
    """A text as phrases are written: small letters, usual width, single spaces."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).lower())


def _phrase(rule: str, plain: str) -> Phrase:
    exact = plain.startswith("=")
    body, _, never = plain.removeprefix("=").partition("!")
    ends = body.endswith("$")
    body = body.removesuffix("$")
    return Phrase(rule, tuple(part.lower() for part in body.split("...")), ends, body if exact else "", never)


@dataclass
class Wording:
    """The phrases of all rules, by their first letters."""

    _by_key: dict[str, list[Phrase]] = field(default_factory=dict)

    def add(self, rule: str, phrases: Iterable[str]) -> None:
        """Take in a rule's phrases."""
        for written in phrases:
            for plain in expanded(written):
                phrase = _phrase(rule, plain)
                if len(phrase.parts[0]) < KEY:
                    raise ValueError(f"{rule}: {written} is too short")
                self._by_key.setdefault(phrase.parts[0][:KEY], []).append(phrase)

    def found(self, text: str) -> tuple[str, ...]:
        """Rules of which a phrase stands in the text, each once, in the order of the text."""
        plain = normal(text)
        rules: dict[str, None] = {}
        for start, key in _keys(plain):
            for phrase in self._by_key.get(key, ()):
                if phrase.rule not in rules and _stands(phrase, plain, start, text):
                    rules[phrase.rule] = None
        return tuple(rules)


def _keys(plain: str) -> Iterator[tuple[int, str]]:
    """Where a phrase may begin: at each Latin word, and at each other letter."""
    for match in _WORD.finditer(plain):
        yield match.start(), match.group()
    if not plain.isascii():
        for match in _OTHER.finditer(plain):
            start = match.start()
            yield start, plain[start : start + KEY]


def _stands(phrase: Phrase, plain: str, start: int, text: str) -> bool:
    """Whether the phrase stands here."""
    end = start
    for index, part in enumerate(phrase.parts):
        at = start if index == 0 else plain.find(part, end, end + GAP + len(part))
        if at < 0 or not plain.startswith(part, at):
            return False
        end = at + len(part)
    if phrase.ends and "a" <= plain[end : end + 1] <= "z":
        return False
    if phrase.never and plain.startswith(phrase.never, end):
        return False
    return not phrase.exact or re.search(rf"(?<![A-Za-z]){re.escape(phrase.exact)}(?![A-Za-z])", text) is not None
