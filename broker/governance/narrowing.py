"""A narrower profile, made without Rego: what somebody keeps of one, and nothing that it did not have. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

#: Days, by where they stand in a profile.
DAYS = (("limits", "retention_days"), ("lookback_days", "recent"), ("lookback_days", "latest"))


@dataclass(frozen=True)
class Kept:
    """What is to stay of a profile. ``elements``: such as ``Observation.note``; a type of which none is named goes altogether."""

    elements: Collection[str]
    channels: Collection[str]
    days: Mapping[tuple[str, str], int]  #: by :data:`DAYS`; more than the profile has counts as what it has
    requires: Collection[tuple[str, ...]] = ()  #: what whoever applies must hold besides: of each line one code


def needed(types: Mapping[str, Any], kind: str) -> frozenset[str]:
    """What a type can't do without: what R4 makes mandatory, and whom it is about. ``types``: the table ``types``."""
    return frozenset(types[kind]["always"].split(" "))


def narrowed(data: Mapping[str, Any], name: str, kept: Kept) -> dict[str, str]:
    """The profile's file as it would be, by its path; empty where nothing changes. It has nothing that the profile has not."""
    before = data["profiles"][name]
    profile: dict[str, Any] = json.loads(json.dumps(before))
    for kind in sorted(profile["types"]):
        row = profile["types"][kind]
        has = row["elements"].split(" ")
        stay = [element for element in has if f"{kind}.{element}" in kept.elements]
        if not stay:
            del profile["types"][kind]
            continue
        must = needed(data["types"], kind)
        row["elements"] = " ".join(element for element in has if element in stay or any(touch(element, each) for each in must))
        row["transforms"] = [each for each in row["transforms"] if any(touch(element, each["path"]) for element in row["elements"].split(" "))]
    profile["channels"] = [each for each in profile["channels"] if each in kept.channels]
    for group, field in DAYS:
        profile[group][field] = max(0, min(profile[group][field], kept.days.get((group, field), profile[group][field])))
    profile["lookback_days"]["latest"] = min(profile["lookback_days"].values())
    profile["workforce"] += [list(line) for line in kept.requires if line and list(line) not in profile["workforce"]]
    return {} if profile == before else {f"data/profiles/{name}.json": json.dumps(profile, ensure_ascii=False, indent=2) + "\n"}


def touch(element: str, path: str) -> bool:
    """Whether one is the other, or a part of it."""
    return f"{element}.".startswith(f"{path}.") or f"{path}.".startswith(f"{element}.")
