"""What the schemas of policies/data can't say: that the tables agree with one another, and that no profile forgets what R4 demands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from broker.errors import Problem
from broker.policy.policy_set import PolicySet

Data = dict[str, Any]
Found = Iterator[tuple[str, str]]


def problems(policies: PolicySet) -> tuple[Problem, ...]:
    """Everything on which the tables disagree."""
    data = dict(policies.data)
    return tuple(Problem(f"data/{path}", "data", message) for check in _CHECKS for path, message in check(data))


def _purposes(data: Data) -> Found:
    purposes = data["purposes"]
    judged = {row["judged_as"] for row in purposes.values()} - {None}
    for code, row in purposes.items():
        target = purposes.get(row["judged_as"])
        if row["judged_as"] and (target is None or target["judged_as"] != row["judged_as"]):
            yield f"purposes.json#/{code}", "must be judged as a purpose that is judged as itself"
        if row["judged_as"] and bool(row["emergency_seconds"]) != bool(purposes[row["judged_as"]]["emergency_seconds"]):
            yield f"purposes.json#/{code}", "an emergency must be judged as one, and nothing else may"
        if not {*row["ancestors"]} <= {*purposes, "PurposeOfUse"}:
            yield f"purposes.json#/{code}", "names an ancestor that is not listed"
    for code, row in data["lawful_bases"].items():
        if not {*row["purposes"]} <= judged:
            yield f"lawful_bases.json#/{code}", "carries a purpose that nothing is judged as"
    for code in data["profile_index"].keys() ^ judged:
        yield f"profile_index.json#/{code}", "purposes that are judged and purposes with profiles must be the same"


def _implied(data: Data) -> Found:
    implied = data["implied_consent"]
    judged = {row["judged_as"] for row in data["purposes"].values()}
    for name, row in implied["policies"].items():
        if not {*row["purposes"]} <= judged:
            yield f"implied_consent.json#/policies/{name}", "carries a purpose that nothing is judged as"
    for table in ("relationships", "kinds", "organizations"):
        for key, name in implied[table].items():
            if name not in implied["policies"]:
                yield f"implied_consent.json#/{table}/{key}", "names a policy that is not listed"


def _residency(data: Data) -> Found:
    judged = {row["judged_as"] for row in data["purposes"].values()}
    for code, row in data["transfer_routes"].items():
        if not {*row["purposes"]} <= judged:
            yield f"transfer_routes.json#/{code}", "carries a purpose that nothing is judged as"


def _index(data: Data) -> Found:
    named = {name for kinds in data["profile_index"].values() for each in kinds.values() for name in each.values()}
    for name in sorted(named ^ data["profiles"].keys()):
        yield f"profiles/{name}.json", "every profile must be in the index, and every name of the index a profile"


def _classes(data: Data) -> Found:
    classes, kinds = data["data_classes"], {"categories": set[str](), "elements": set[str]()}
    for code, row in classes.items():
        where = f"data_classes.json#/{code}"
        reached = {*row["types"], *(part["type"] for part in row["parts"])}
        if not reached <= data["types"].keys():
            yield where, "reaches a type that is not in types.json"
        below = [child for name, child in classes.items() if name.startswith(f"{code}.")]
        if below and {*row["types"]} != {name for child in below for name in (*child["types"], *(part["type"] for part in child["parts"]))}:
            yield where, "must bring the types of the classes below it, whole"
        for part in row["parts"]:
            kinds["categories" if "categories" in part else "elements"].add(part["type"])
        for category, sensitive in data["sensitive"]["categories"].items():
            if (row["lifts"] == category) != (sensitive["data_class"] == code):
                yield where, "must lift the sensitive category that names this class, and no other"
    for name in sorted(kinds["categories"] & kinds["elements"]):
        yield "data_classes.json", f"{name} is cut by categories in one class and by elements in another; together that can't be said"


def home(rows: dict[str, str], path: str) -> str:
    """The class of elements.json that an element belongs to: that of the longest name above it. Raises KeyError for one that has none."""
    named = {name: data_class for data_class, names in rows.items() for name in names.split(" ")}
    steps = path.split(".")
    for length in range(len(steps), 0, -1):
        if ".".join(steps[:length]) in named:
            return named[".".join(steps[:length])]
    raise KeyError(path)


def _elements(data: Data) -> Found:
    for name in sorted(data["elements"].keys() ^ data["types"].keys()):
        yield "elements.json", f"{name} must be in types.json and here"
    for resource, rows in data["elements"].items():
        names = [name for each in rows.values() for name in each.split(" ")]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"elements.json#/{resource}", f"{name} is in more than one class"
        for code in sorted(rows.keys() - data["data_classes"].keys() - {"by-category", "never", "technical"}):
            yield f"elements.json#/{resource}", f"there is no class {code}"
    for name, profile in data["profiles"].items():
        for resource, kept in profile["types"].items():
            rows = data["elements"].get(resource, {})
            never = [each for each in kept["elements"].split(" ") if each != "id" and _home(rows, each) in ("", "never")]
            if never:
                yield f"profiles/{name}.json#/types/{resource}", f"names what is never released: {', '.join(never)}"
    for code, row in data["data_classes"].items():
        for part in row["parts"]:
            for element in part.get("elements", ()):
                if _home(data["elements"].get(part["type"], {}), element) in ("", "never"):
                    yield f"data_classes.json#/{code}", f"brings {part['type']}.{element}, which is never released"


def _home(rows: dict[str, str], path: str) -> str:
    """The same, or nothing."""
    try:
        return home(rows, path)
    except KeyError:
        return ""


def _sensitive(data: Data) -> Found:
    sensitive = data["sensitive"]
    judged = {row["judged_as"] for row in data["purposes"].values()}
    for code, row in sensitive["categories"].items():
        if not {*row["pack"]["purposes"]} <= judged:
            yield f"sensitive.json#/categories/{code}", "is lifted for a purpose that nothing is judged as"
    if sensitive["deny"] != sorted({label for row in sensitive["categories"].values() for label in row["labels"]}):
        yield "sensitive.json#/deny", "must be all labels of all categories, sorted"


def _profiles(data: Data) -> Found:
    lifting = {row["data_class"] for row in data["sensitive"]["categories"].values()}
    for name, profile in data["profiles"].items():
        where = f"profiles/{name}.json"
        if not {*profile["may_lift"]} <= lifting:
            yield where, "may lift only sensitive classes"
        if not {code for line in profile["workforce"] for code in line} <= data["workforce"].keys():
            yield where, "requires a qualification that workforce.json does not list"
        if profile["lookback_days"]["latest"] > profile["lookback_days"]["recent"]:
            yield where, "`latest` must not reach further back than `recent`"
        for resource, kept in profile["types"].items():
            for message in _type(data, resource, kept):
                yield f"{where}#/types/{resource}", message


def _type(data: Data, resource: str, kept: dict[str, Any]) -> Iterator[str]:
    elements = kept["elements"].split(" ")
    known = data["types"].get(resource)
    if known is None:
        yield "is not in types.json"
        return
    if elements != sorted(set(elements)):
        yield "elements must be sorted, each once"
    if not {*known["always"].split(" ")} <= {*elements}:
        yield "elements must hold what the type always needs (types.json)"
    for element in elements:
        if any(other.startswith(f"{element}.") for other in elements):
            yield f"{element} stands beside a part of itself"
    if known["dated"] == (kept["window"] == "undated"):
        yield "the window must be `undated` for types without a clinical date, and only for them"
    for transform in kept["transforms"]:
        path = transform["path"]
        if not any(path == each or path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in elements):
            yield f"the transform of {path} touches nothing that is kept"


_CHECKS: tuple[Callable[[Data], Found], ...] = (_purposes, _implied, _residency, _index, _classes, _elements, _sensitive, _profiles)
