"""The policies as one value: Rego modules, their data, and a revision that names exactly this content.

The folder is the one that ``BROKER_POLICIES`` names, or the one that the broker ships: ``policies/`` in a checkout,
``broker/_policies`` in an installed wheel. Layout: ``broker/**/*.rego`` (folder path = package path, tests end in
``_test.rego``), ``data/*.json`` and ``data/profiles/*.json`` (they become ``data.broker.<name>``), a JSON Schema beside each. A rule may
bring the sentences of its codes along, in ``reasons.json`` in its own folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema_rs

from broker.errors import Problem
from broker.policy.errors import PolicyUnusable
from broker.settings import Settings

#: The package path of the one document that the broker asks for.
DECISION = "broker/release/decision"


#: What tables say to people.
_WORDS = frozenset({"name", "why", "law", "level", "ancestors"})
#: Tables that no rule asks: one holds the profiles to the catalogue when policies are checked, one says who answers in an emergency.
_UNSEEN = frozenset({"elements", "emergency"})


@dataclass(frozen=True, eq=False)
class PolicySet:
    """Policies that were read and whose data fit their schemas."""

    folder: Path
    modules: Mapping[str, str]  #: Path within the folder → Rego source; no tests.
    tests: Mapping[str, str]  #: The same for the files ``*_test.rego``.
    data: Mapping[str, Any]  #: Name → document; Rego sees it as ``data.broker.<name>``.
    input_schema: dict[str, Any]
    revision: str  #: SHA-256 in hex over modules and data; every answer must carry it.

    @property
    def documents(self) -> dict[str, Any]:
        """The whole ``data`` document, with the revision in it, so that an answer can name what it stands on.

        Names, laws and the like are left out, since the embedded engine copies what a rule looks at; each type of a profile stands in it as
        one text as well (``whole``), which is a single value to copy.
        """
        seen = {name: _seen(table) for name, table in self.data.items() if name not in _UNSEEN}
        profiles = {name: {**profile, "whole": _whole(profile)} for name, profile in seen["profiles"].items()}
        reasons = {code: {"en": words["en"]} for code, words in self.data["reasons"].items()}
        return {"broker": {**seen, "profiles": profiles, "reasons": reasons, "policy_set": {"revision": self.revision}}}


def _seen(table: Any) -> Any:
    """A table without what it says to people."""
    return {key: {name: value for name, value in row.items() if name not in _WORDS} if isinstance(row, dict) else row for key, row in table.items()}


def _whole(profile: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) for name, row in profile["types"].items()}


def _shipped() -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / "_policies"
    return installed if installed.is_dir() else package.parent / "policies"


#: The folder of policies that comes with the broker.
SHIPPED = _shipped()


def folder_of(settings: Settings) -> Path:
    """The folder that holds the policies."""
    return settings.policies if settings.policies is not None else SHIPPED


def load(folder: Path) -> PolicySet:
    """Read the policies. Raises PolicyUnusable with every problem of the files and their schemas."""
    problems: list[Problem] = []
    sources = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.glob("broker/**/*.rego"))}
    modules = {path: source for path, source in sources.items() if not path.endswith("_test.rego")}
    if not modules:
        problems.append(Problem(str(folder), "policy.missing", "there are no Rego modules in this folder"))
    data: dict[str, Any] = {}
    for name, path, schema in _data_files(folder):
        document = _read(path, problems)
        problems.extend(_misfits(path.relative_to(folder).as_posix(), document, _read(schema, problems)))
        if path.parent.name == "profiles":
            data.setdefault("profiles", {})[name] = document
        else:
            data[name] = document
    for path in sorted(folder.glob("broker/release/rules/*/reasons.json")):
        _tell(path, data, folder, problems)
    input_schema = _read(folder / "input.schema.json", problems)
    if problems:
        raise PolicyUnusable("the policies in this folder cannot be used", problems=tuple(problems))
    return PolicySet(
        folder=folder,
        modules=modules,
        tests={path: source for path, source in sources.items() if path.endswith("_test.rego")},
        data=data,
        input_schema=input_schema,
        revision=_revision(modules, data),
    )


@cache
def _loaded(folder: Path) -> PolicySet:
    return load(folder)


def policies(settings: Settings) -> PolicySet:
    """The policies that these settings name, read once in this process."""
    return _loaded(folder_of(settings))


def _data_files(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Name, path and schema of each data file."""
    for path in sorted((folder / "data").glob("*.json")):
        if not path.name.endswith(".schema.json"):
            yield path.stem, path, path.with_name(f"{path.stem}.schema.json")
    for path in sorted((folder / "data" / "profiles").glob("*.json")):
        if not path.name.endswith(".schema.json"):
            yield path.stem, path, path.with_name("profile.schema.json")


def _tell(path: Path, data: dict[str, Any], folder: Path, problems: list[Problem]) -> None:
    """Add the sentences that stand in a rule's own folder to those of the house; a code has its sentences in one place."""
    told, name = _read(path, problems), path.relative_to(folder).as_posix()
    problems.extend(_misfits(name, told, _read(folder / "data" / "reasons.schema.json", problems)))
    reasons = data.get("reasons")
    if isinstance(told, dict) and isinstance(reasons, dict):
        problems.extend(Problem(name, "policy.schema", f"{code} has its sentences elsewhere, too") for code in sorted(told.keys() & reasons.keys()))
        data["reasons"] = {**reasons, **told}


def _read(path: Path, problems: list[Problem]) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError) as error:
        problems.append(Problem(path.name, "policy.unreadable", f"cannot be read: {type(error).__name__}: {error}"))
        return {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different; a second row of the same name would silently hide the first."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("an object names a key twice")
    return document


def _misfits(name: str, document: Any, schema: Any) -> list[Problem]:
    try:
        validator = jsonschema_rs.validator_for(schema)
    except ValueError as error:
        return [Problem(name, "policy.schema", f"its schema cannot be used: {error}")]
    return [
        Problem(f"{name}#/{'/'.join(str(step) for step in error.instance_path)}", "policy.schema", error.message)
        for error in validator.iter_errors(document)
    ]


def _revision(modules: Mapping[str, str], data: Mapping[str, Any]) -> str:
    canonical = json.dumps({"modules": modules, "data": data}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(canonical.encode()).hexdigest()
