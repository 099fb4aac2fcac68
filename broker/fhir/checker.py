"""A second opinion on what is about to be sent: every path in the plan, the patient, the labels, the period (design §4, step 6).

Independent of the minimiser: another reading of the plan (``fhir.checker_schema``), another parser (orjson), another engine
(jsonschema-rs), and no code in common. A problem here means that the minimiser or the fetch before it is wrong, so the release stops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import inf
from typing import Any

import jsonschema_rs
import orjson

from broker.errors import Problem
from broker.fhir import definitions
from broker.fhir.checker_schema import schema
from broker.fhir.plan import CONFIDENTIALITY, ReleasePlan, TypePlan

#: Code system of the confidentiality labels.
CONFIDENTIALITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"

#: What follows ``Patient/`` or, empty, a plain ``"Patient"``.
_MENTIONS = re.compile(rb'Patient[/"]([^"\\]*"?)').findall
_SAFE_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
_DATE_PARTS = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", re.ASCII)

#: Local times differ from UTC by up to fourteen hours; a date without offset is given the benefit of that.
_ANYWHERE = 14 * 3600

_SENTENCES = {
    "additionalProperties": ("not-in-plan", "the plan does not let this leave"),
    "required": ("missing", "something that every released resource carries is missing"),
}


@lru_cache(maxsize=1024)
def _validator(resource_type: str, plan: TypePlan, *, pseudonymous: bool) -> tuple[jsonschema_rs.Validator, frozenset[str]]:
    """The validator of one type and the names of its properties. Remembered by what the plan says; its period moves with the clock."""
    form = schema(resource_type, plan, pseudonymous=pseudonymous)
    return jsonschema_rs.validator_for(form), frozenset(form["properties"])


class Checker:
    """A plan, ready to judge resources against. Holds no resource; safe to share between threads."""

    def __init__(self, plan: ReleasePlan) -> None:
        self.plan = plan
        self._ceiling = CONFIDENTIALITY.index(plan.ceiling)
        self._valid: dict[str, jsonschema_rs.Validator] = {}
        self._dates: dict[str, _Period] = {}
        self._labels: dict[tuple[str, ...], Problem | None] = {}
        for resource_type, wanted in plan.types.items():
            self._valid[resource_type], shown = _validator(resource_type, wanted.timeless(), pseudonymous=plan.pseudonymous)
            if wanted.period_from is not None or wanted.period_until is not None:
                start = -inf if wanted.period_from is None else wanted.period_from
                self._dates[resource_type] = _Period(start, inf if wanted.period_until is None else wanted.period_until, shown)

    def problems(self, resources: Sequence[bytes], *, patient: str) -> list[Problem]:
        """Everything wrong with resources of one patient, empty if they may be sent.

        ``patient`` is the id under which the recipient knows the patient: the pseudonym in a pseudonymous plan. Paths begin with the
        position in ``resources``; no problem repeats a value.
        """
        found: list[Problem] = []
        own = patient.encode() + b'"'
        for index, body in enumerate(resources):
            try:
                resource = orjson.loads(body)
            except orjson.JSONDecodeError:
                resource = None
            validator = self._valid.get(str(resource.get("resourceType"))) if isinstance(resource, dict) else None
            if validator is None:
                found.append(Problem(f"[{index}]", "not-in-plan", "this is no resource of a type that the plan lets leave"))
            elif not validator.is_valid(resource):
                found += _wrong(validator, resource, index)
            else:
                found += self._judge(resource, body, index, patient, own)
        return found

    def _judge(self, resource: dict[str, Any], body: bytes, index: int, patient: str, own: bytes) -> list[Problem]:
        """What a schema can't say. Only resources of the right form come here."""
        resource_type = resource["resourceType"]
        where = f"[{index}].{resource_type}"
        found = []
        labels = tuple(
            [label["code"] if label["system"] != CONFIDENTIALITY_SYSTEM else f"^{label['code']}" for label in resource["meta"]["security"]]
        )
        wrong = self._labels[labels] if labels in self._labels else self._label_problem(labels)
        if wrong is not None:
            found.append(Problem(f"{where}.{wrong.path}", wrong.code, wrong.message))
        if resource_type == "Patient" and resource["id"] != patient:
            found.append(Problem(f"{where}.id", "other-patient", "this is another patient"))
        # Nearly always every mention of a patient is the one that is meant; then there is nothing to look for. A backslash could hide one.
        mentions = _MENTIONS(body)
        if mentions.count(own) != len(mentions) or 0x5C in body:
            found += _strangers(resource, where, patient)
        period = self._dates.get(resource_type)
        if period is not None and not period.holds(resource):
            found.append(Problem(where, "outside-period", "its dates lie outside the period of the plan"))
        return found

    def _label_problem(self, labels: tuple[str, ...]) -> Problem | None:
        """What is wrong with a set of security labels; confidentiality codes are marked by ``^``. Remembered, since few sets occur."""
        ranks = [label[1:] for label in labels if label.startswith("^")]
        problem = None
        if not self.plan.deny_labels.isdisjoint(label.lstrip("^") for label in labels):
            problem = Problem("meta.security", "denied-label", "it carries a label that the plan denies")
        elif not ranks:
            problem = Problem("meta.security", "no-confidentiality", "it carries no confidentiality label")
        elif any(rank not in CONFIDENTIALITY[: self._ceiling + 1] for rank in ranks):
            problem = Problem("meta.security", "above-ceiling", "it is more confidential than the plan allows")
        if len(self._labels) < 4096:
            self._labels[labels] = problem
        return problem


def _wrong(validator: jsonschema_rs.Validator, resource: Any, index: int) -> list[Problem]:
    """One problem for each breach of the schema, without the values that the library would quote."""
    found = []
    for error in validator.iter_errors(resource):
        path = ".".join([f"[{index}].{resource['resourceType']}", *(_shown(step) for step in error.instance_path)])
        keyword = str(error.schema_path[-1]) if error.schema_path else ""
        code, message = _SENTENCES.get(keyword, ("wrong-form", "it does not have the form that the plan asks for"))
        names = sorted(_shown(name) for name in getattr(error.kind, "unexpected", ()))
        found += [Problem(f"{path}.{name}", code, message) for name in names] or [Problem(path, code, message)]
    return found


def _shown(step: Any) -> str:
    """A name or an index of a path; a name that FHIR would not use could itself be data."""
    return str(step) if isinstance(step, int) or _SAFE_NAME.fullmatch(step) else "?"


def _strangers(resource: dict[str, Any], where: str, patient: str) -> list[Problem]:
    """References by which the resource belongs to a patient (R4 CompartmentDefinition) and that mean another one."""
    found = []
    for path in definitions.table()["compartment"].get(resource["resourceType"], ()):
        for reference in _at(resource, path.split(".")):
            target = reference.get("reference", "") if isinstance(reference, dict) else ""
            means = "Patient/" in target or (isinstance(reference, dict) and reference.get("type") == "Patient" and bool(target))
            if (
                means
                and target.split("/_history/")[0] not in (f"Patient/{patient}", f"urn:uuid:{patient}")
                and not target.endswith(f"/Patient/{patient}")
            ):
                found.append(Problem(f"{where}.{path}", "other-patient", "it refers to another patient"))
    return found


def _at(value: Any, steps: list[str]) -> list[Any]:
    """Every value at a path of JSON names."""
    values = value if isinstance(value, list) else [value]
    if not steps:
        return values
    return [found for each in values if isinstance(each, dict) and steps[0] in each for found in _at(each[steps[0]], steps[1:])]


@dataclass(frozen=True, slots=True)
class _Period:
    """The window of one type in epoch seconds, and the properties that the plan shows."""

    start: float
    until: float
    shown: frozenset[str]

    def holds(self, resource: dict[str, Any]) -> bool:
        """False only if what can be seen lies outside the window for sure; a hidden date can't be judged."""
        resource_type = resource["resourceType"]
        span: Mapping[str, list[str]] | None = definitions.table()["spans"].get(resource_type)
        first = self._reach(resource, definitions.table()["dates"].get(resource_type, ()) if span is None else span["start"])
        last = first if span is None else self._reach(resource, span["end"])
        return (first is None or first[0] <= self.until) and (last is None or last[1] >= self.start)

    def _reach(self, resource: dict[str, Any], paths: Sequence[str]) -> tuple[float, float] | None:
        """Earliest and latest second of the best date that the type has; None if that is hidden or absent."""
        for path in paths:
            name, _, end = path.partition(".")
            if name not in self.shown or f"_{name}" in resource:
                return None
            value = resource.get(name)
            if isinstance(value, str):
                return _bounds(value)
            if end and isinstance(value, dict):
                return _bounds(value.get("start", ""))[0], _bounds(value.get("end", ""))[1]
        return None


def _bounds(text: str) -> tuple[float, float]:
    """First and last second that a FHIR date may mean; all of time for a text that is none."""
    parts = _DATE_PARTS.match(text)
    if parts is None:
        return -inf, inf
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return (moment.timestamp(), moment.timestamp()) if moment.tzinfo is not None else (-inf, inf)
        year, month, day = int(parts[1]), int(parts[2] or 0), int(parts[3] or 0)
        low = datetime(year, month or 1, day or 1, tzinfo=UTC)
        high = low + timedelta(days=1) if day else datetime(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1, tzinfo=UTC)
        return low.timestamp() - _ANYWHERE, high.timestamp() + _ANYWHERE
    except (ValueError, OverflowError):
        return -inf, inf


def checker(plan: ReleasePlan) -> Checker:
    """The plan's checker, put together from schemas made once in this process. Compile the plan first: this asks no questions about its names."""
    return Checker(plan)
