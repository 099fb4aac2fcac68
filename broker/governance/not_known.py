"""Facts that a kept question does not have, since nobody kept them then: filled for a replay with what permits least. Pure.

Policies learn to ask for more as years go by. A question of before can't be asked of them as it is; asked with a value that says "not known
then" it can, and the answer tells something, but never that the release would have been permitted (``rules.Outcome.NOT_KNOWN``).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

#: Path of a fact → what is put in its place. Nothing else is ever filled: a question that lacks anything besides could not be judged.
NOT_KNOWN: Mapping[tuple[str, ...], Any] = {
    ("workforce",): None,  # No register was asked.
    ("residency",): None,  # Nothing was shown for a transfer abroad.
    ("wanted_types",): [],
    ("patient", "age"): "unknown",  # Counts as a child.
    ("consent", "givers"): [],  # Nobody who could have answered for a child.
    ("consent", "separate"): [],
    ("residency", "route_from"): None,  # In force since nobody knows when, which is not.
    ("residency", "purposes"): [],
    ("residency", "classes"): [],
    ("residency", "persons"): 9_007_199_254_740_991,
    ("residency", "persons_limit"): 1,
    ("residency", "year_persons"): None,  # Not counted.
}


def filled(facts: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The facts with what was not known then, and the paths of it, such as ``patient.age``."""
    whole: dict[str, Any] = copy.deepcopy(dict(facts))
    absent = []
    for path, value in NOT_KNOWN.items():
        within: Any = whole
        for step in path[:-1]:
            within = within.get(step) if isinstance(within, dict) else None
        if isinstance(within, dict) and path[-1] not in within:
            within[path[-1]] = copy.deepcopy(value)
            absent.append(".".join(path))
    return whole, tuple(absent)
