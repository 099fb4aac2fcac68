"""An independent judge of what left: which words of a patient's record may appear in an answer, and which may not.

It shares no code with the broker: it reads the stored bundles and the plan's element names, and searches bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

#: Words that say nothing of a patient: shorter ones appear everywhere.
SHORTEST = 6


def words(value: Any) -> Iterator[str]:
    """Every string in a JSON value that is long enough to search for."""
    if isinstance(value, dict):
        for one in value.values():
            yield from words(one)
    elif isinstance(value, list):
        for one in value:
            yield from words(one)
    elif isinstance(value, str) and len(value) >= SHORTEST:
        yield value


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def names(value: Any) -> Iterator[str]:
    """Every property name in a JSON value."""
    if isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from names(one)
    elif isinstance(value, list):
        for one in value:
            yield from names(one)


def forbidden_words(stored: Iterable[dict[str, Any]], released: Iterable[dict[str, Any]]) -> set[str]:
    """Words of the stored record that are not, as whole strings, part of what was released.

    What a released string says itself may be there; any other word of the record must not be hidden in the answer, whether
    in narrative, in an extension, in a display or in a link.
    """
    shown = set()
    for resource in released:
        shown |= set(strings(resource)) | set(names(resource)) | {f"{resource['resourceType']}/{resource['id']}"}
    everything = set()
    for resource in stored:
        everything |= set(words(resource))
    # A word that is a piece of a string that may be shown is there by right.
    joined = "\x00".join(shown)
    return {word for word in everything if word not in joined}


def leaks(answer: bytes, forbidden: set[str]) -> list[str]:
    """Forbidden words that stand in an answer's bytes, as they are or as JSON writes them."""
    text = answer.decode("utf-8")
    return sorted(word for word in forbidden if word in text or json.dumps(word, ensure_ascii=True)[1:-1] in text)
