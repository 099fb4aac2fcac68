"""What differs between two answers, and between two sets of policies. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from broker.policy.decision import Decision, Effect

_RANKS = ("U", "L", "M", "N", "R", "V")


class Outcome(StrEnum):
    """What a draft would have made of a past decision."""

    SAME = "same"
    NEWLY_ALLOWED = "newly_allowed"
    REFUSED = "refused"
    NARROWED = "narrowed"
    WIDENED = "widened"
    CHANGED = "changed"  #: narrower here and wider there, or with other obligations
    NOT_KNOWN = "not_known"  #: asks for facts that were not kept then, so that it can't be said whether it would have been permitted
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Difference:
    """What became of one decision: ``lost`` and ``gained`` name what may no longer leave, or may now, such as ``Observation.note``."""

    outcome: Outcome
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()


def compared(effect: str, plan: Mapping[str, Any] | None, after: Decision, *, known: bool = True) -> Difference:
    """The recorded answer beside the draft's. ``known``: whether everything that the draft asks for was kept; if not, two refusals are the same
    and nothing else can be said.
    """
    if after.effect is Effect.UNAVAILABLE:
        return Difference(Outcome.UNAVAILABLE)
    before = effect == Effect.PERMIT.value and plan is not None
    if not known:
        return Difference(Outcome.NOT_KNOWN if before or after.allow else Outcome.SAME)
    if not before or not after.allow:
        moved = {(False, False): Outcome.SAME, (False, True): Outcome.NEWLY_ALLOWED, (True, False): Outcome.REFUSED}
        return Difference(moved.get((before, after.allow), Outcome.SAME))
    had, has = _rights(plan or {}), _rights(after.plan or {})
    lost, gained = _named(had - has, plan or {}, after.plan or {}), _named(has - had, after.plan or {}, plan or {})
    if lost and gained:
        return Difference(Outcome.CHANGED, lost, gained)
    if lost or gained:
        return Difference(Outcome.NARROWED if lost else Outcome.WIDENED, lost, gained)
    same = (plan or {}).get("obligations") == (after.plan or {}).get("obligations") and (plan or {}).get("limits") == (after.plan or {}).get("limits")
    return Difference(Outcome.SAME if same else Outcome.CHANGED)


def _rights(plan: Mapping[str, Any]) -> frozenset[str]:
    """Everything that a plan lets leave, one name for each thing that could be taken away by itself."""
    found = set[str]()
    for name, kept in plan.get("types", {}).items():
        found |= {f"{name}.{element}" for element in kept["elements"]}
        for what in ("codes", "categories"):
            found |= {f"{name} {what} {token}" for token in kept[what] or ("any",)}
        plain = {f"{name}.{element} as it is" for element in kept["elements"]}
        found |= plain - {f"{name}.{each['path']} as it is" for each in kept["transforms"]}
        start = kept["period"]["start"]
        # Look-backs move with the day; a longer one has every year of a shorter one and more.
        found |= {f"{name} of year {year}" for year in range(_year(start), 2101)} if start is not None else {f"{name} of any time"}
    found |= {f"label {label}" for label in ("sensitive",) if not plan.get("labels", {}).get("deny")}
    ceiling = plan.get("labels", {}).get("ceiling", "U")
    return frozenset(found | {f"confidentiality {rank}" for rank in _RANKS[: _RANKS.index(ceiling) + 1]})


def _named(rights: frozenset[str], of: Mapping[str, Any], beside: Mapping[str, Any]) -> tuple[str, ...]:
    """The rights for people to read: a type that only one plan has stands for everything in it, and years for themselves."""
    whole = of.get("types", {}).keys() - beside.get("types", {}).keys()
    return tuple(sorted({_plain(right, whole) for right in rights}))


def _plain(right: str, whole: Collection[str]) -> str:
    kind = right.replace(" ", ".").split(".", 1)[0]
    if kind in whole:
        return kind
    return f"{kind} of earlier years" if " of year " in right or right.endswith(" of any time") else right


def _year(epoch: int) -> int:
    return 1970 + epoch // 31_556_952


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What a draft changes in the tables, one plain line each, such as ``treatment-referral: Observation loses note``."""
    lines = []
    for name in sorted(before["profiles"].keys() | after["profiles"].keys()):
        old, new = before["profiles"].get(name), after["profiles"].get(name)
        if old is None or new is None:
            lines.append(f"{name}: {'new profile' if old is None else 'profile taken away'}")
            continue
        lines += [f"{name}: {line}" for line in _profile(old, new)]
    for table in sorted((before.keys() | after.keys()) - {"profiles"}):
        if before.get(table) != after.get(table):
            keys = sorted(_changed(before.get(table), after.get(table)))
            lines.append(f"{table}: {', '.join(keys[:20])}")
    return lines


def _profile(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind in sorted(old["types"].keys() | new["types"].keys()):
        if kind not in new["types"] or kind not in old["types"]:
            lines.append(f"{kind} {'taken away' if kind in old['types'] else 'added'}")
            continue
        had, has = set(old["types"][kind]["elements"].split(" ")), set(new["types"][kind]["elements"].split(" "))
        lines += [f"{kind} loses {' '.join(sorted(had - has))}"] if had - has else []
        lines += [f"{kind} gains {' '.join(sorted(has - had))}"] if has - had else []
        rest = sorted(name for name in old["types"][kind] if name != "elements" and old["types"][kind][name] != new["types"][kind].get(name))
        lines += [f"{kind} changes {', '.join(rest)}"] if rest else []
    rest = sorted(_changed({**old, "types": None}, {**new, "types": None}))
    return lines + ([f"changes {', '.join(rest)}"] if rest else [])


@dataclass(frozen=True)
class Change:
    """What a draft changes at one place of a profile. ``kind``: a resource type, or "" for what holds of all of them."""

    profile: str
    kind: str
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    fields: tuple[tuple[str, Any, Any], ...] = ()  #: name, before, after


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What a draft changes in the profiles that both have, for people to read; :func:`differences` names the rest."""
    found = []
    for name in sorted(before["profiles"].keys() & after["profiles"].keys()):
        old, new = before["profiles"][name], after["profiles"][name]
        for kind in sorted(old["types"].keys() | new["types"].keys()):
            had, has = _elements(old, kind), _elements(new, kind)
            rest = tuple((key, value, new["types"][kind][key]) for key, value in old["types"].get(kind, {}).items() if kind in new["types"])
            fields = tuple(each for each in rest if each[0] != "elements" and each[1] != each[2])
            if had != has or fields:
                found.append(Change(name, kind, tuple(sorted(had - has)), tuple(sorted(has - had)), fields))
        flat, now = _flat(old), _flat(new)
        fields = tuple((key, flat.get(key), now.get(key)) for key in sorted(flat.keys() | now.keys()) if flat.get(key) != now.get(key))
        if fields:
            found.append(Change(name, "", fields=fields))
    return found


def _elements(profile: Mapping[str, Any], kind: str) -> set[str]:
    row = profile["types"].get(kind)
    return set() if row is None else set(row["elements"].split(" "))


def _flat(profile: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in profile.items():
        if key in ("limits", "lookback_days"):
            flat |= {f"{key}.{name}": each for name, each in value.items()}
        elif key != "types":
            flat[key] = value
    return flat


def _changed(old: Any, new: Any) -> set[str]:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return {"all"}
    return {str(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
