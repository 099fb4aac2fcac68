"""A second opinion on what is about to be sent: every path in the plan, the patient, the labels, the period (design §4, step 6).

Independent of the minimiser: another reading of the plan (``fhir.checker_schema``), another parser (orjson), another engine
(jsonschema-rs), and no code in common. A problem here means that the minimiser or the fetch before it is wrong, so the release stops.

Resources are looked at twice. :meth:`Checker._doubtful` looks at many at once, and lets a resource go only if nothing can be wrong with
it; whatever it has a doubt about is judged alone and as a whole by :meth:`Checker._judge`, which names what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from broker.errors import Problem
from broker.fhir import definitions
from broker.fhir.checker_period import Period
from broker.fhir.checker_references import Ways, may_lead_astray, ways
from broker.fhir.checker_schema import OPENING, schema
from broker.fhir.plan import CONFIDENTIALITY, ReleasePlan, TypePlan

#: Code system of the confidentiality labels.
CONFIDENTIALITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"

#: What follows ``Patient/`` or, empty, a plain ``"Patient"``.
_MENTIONS = re.compile(rb'Patient[/"]([^"\\]*"?)').findall
_SAFE_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
#: Where ``meta`` ends in what the broker writes. Only a guess: what it finds is judged.
_AFTER_META = b'},"id":"'

_SENTENCES = {
    "additionalProperties": ("not-in-plan", "the plan does not let this leave"),
    "required": ("missing", "something that every released resource carries is missing"),
}


#: Seconds by which a date may have been moved where the plan shifts dates: half a year and a day.
_FARTHEST_SHIFT = 183 * 86_400

#: Resources of one type that are read and validated together: few enough to stay in the processor's cache.
_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class _Form:
    """What may leave of one type."""

    whole: jsonschema_rs.Validator  #: of a resource
    rests: jsonschema_rs.Validator  #: of an array of resources without ``resourceType`` and ``meta``, which have no place there
    shown: frozenset[str]  #: names of the properties


@lru_cache(maxsize=1024)
def _form(resource_type: str, plan: TypePlan, *, pseudonymous: bool) -> _Form:
    """The form of one type. Remembered by what the plan says; its period moves with the clock."""
    whole = schema(resource_type, plan, pseudonymous=pseudonymous)
    rest = {
        "type": "object",
        "properties": {name: each for name, each in whole["properties"].items() if name not in ("resourceType", "meta")},
        "required": ["id"],
        "additionalProperties": False,
    }
    rests = {"$schema": whole["$schema"], "$defs": whole["$defs"], "type": "array", "items": rest}
    return _Form(jsonschema_rs.validator_for(whole), jsonschema_rs.validator_for(rests), frozenset(whole["properties"]))


_is_opening = jsonschema_rs.validator_for(OPENING).is_valid


class Checker:
    """A plan, ready to judge resources against. Holds no resource; safe to share between threads."""

    def __init__(self, plan: ReleasePlan) -> None:
        self.plan = plan
        self._ceiling = CONFIDENTIALITY.index(plan.ceiling)
        self._forms: dict[str, _Form] = {}
        self._dates: dict[str, Period] = {}
        self._labels: dict[tuple[str, ...], Problem | None] = {}
        for resource_type, wanted in plan.types.items():
            form = self._forms[resource_type] = _form(resource_type, wanted.timeless(), pseudonymous=plan.pseudonymous)
            if wanted.period_from is not None or wanted.period_until is not None:
                start, until = wanted.period_from, wanted.period_until
                if plan.shifted:
                    start, until = start and start - _FARTHEST_SHIFT, until and until + _FARTHEST_SHIFT
                self._dates[resource_type] = Period(resource_type, start, until, form.shown)

    def problems(self, resources: Sequence[bytes], *, patient: str, reachable: Collection[str] | None = None) -> list[Problem]:
        """Everything wrong with resources of one patient, empty if they may be sent.

        ``patient`` is the id under which the recipient knows the patient: the pseudonym in a pseudonymous plan. ``reachable`` is what of
        the patient the recipient may fetch, as ``Type/id`` in the recipient's ids: a reference to anything else of a patient is wrong. None
        asks nothing of references: what is sent was asked when it was prepared. Paths begin with the position in ``resources``; no problem
        repeats a value.
        """
        own = patient.encode() + b'"'
        way = ways(reachable, patient)
        return [problem for index in self._doubtful(resources, own, way) for problem in self._judge(resources[index], index, patient, own, way)]

    def examined(
        self, resources: Sequence[bytes], *, patient: str, reachable: Collection[str] | None = None
    ) -> tuple[list[Problem], dict[str, tuple[float, float]]]:
        """What :meth:`problems` gives; if that is nothing, also how far the dates reach that resources show, of each type with a period in the
        plan: the latest of their first seconds and the earliest of their last.
        """
        own = patient.encode() + b'"'
        way = ways(reachable, patient)
        reaches: dict[str, tuple[float, float]] = {}
        doubtful = self._doubtful(resources, own, way, reaches)
        if problems := [problem for index in doubtful for problem in self._judge(resources[index], index, patient, own, way)]:
            return problems, {}
        for index in doubtful:
            resource = orjson.loads(resources[index])
            self._reach(resource["resourceType"], [resource], reaches)
        return [], reaches

    def _reach(self, resource_type: str, resources: Sequence[dict[str, Any]], reaches: dict[str, tuple[float, float]]) -> None:
        """Widen what is known of how far the dates of a type reach."""
        period = self._dates.get(resource_type)
        if period is not None:
            latest, earliest = period.reach(resources)
            before = reaches.get(resource_type, (latest, earliest))
            reaches[resource_type] = max(latest, before[0]), min(earliest, before[1])

    def spans(self, resource_type: str, reach: tuple[float, float] | None) -> bool:
        """Whether all that :meth:`examined` read of a type, under this plan or one with another period, lies in this plan's period."""
        period = self._dates.get(resource_type)
        return period is None or (reach is not None and reach[0] <= period.until and reach[1] >= period.start)

    def _doubtful(
        self, resources: Sequence[bytes], own: bytes, way: Ways | None = None, reaches: dict[str, tuple[float, float]] | None = None
    ) -> list[int]:
        """Positions of all resources but those with which nothing can be wrong. ``reaches`` is filled with what it reads.

        A body ``{A},"id":B}`` where ``{A}}`` and ``{"id":B}`` are JSON is JSON with the properties of both. The first, type and ``meta``,
        is the same for many resources of a release, so it is judged once; the second may hold no ``resourceType`` or ``meta`` again.
        """
        doubtful: list[int] = []
        openings: dict[bytes, str | None] = {}
        places: dict[str, list[int]] = {}
        rests: dict[str, list[bytes]] = {}
        for index, body in enumerate(resources):
            end = body.find(_AFTER_META) + 1
            opening = body[:end]
            if opening in openings:
                resource_type = openings[opening]
            else:
                resource_type = openings[opening] = self._opened(opening)
            if resource_type is None:
                doubtful.append(index)
            elif resource_type in places:
                places[resource_type].append(index)
                rests[resource_type].append(b"{" + body[end + 1 :])
            else:
                places[resource_type] = [index]
                rests[resource_type] = [b"{" + body[end + 1 :]]
        for resource_type, found in places.items():
            given = rests[resource_type]
            is_valid = self._forms[resource_type].rests.is_valid
            period = self._dates.get(resource_type)
            for start in range(0, len(found), _TOGETHER):
                chunk = given[start : start + _TOGETHER]
                try:
                    values = [orjson.loads(rest) for rest in chunk]
                except orjson.JSONDecodeError:
                    values = None
                if values is None or not is_valid(values) or (period is not None and not all(period.holds(each) for each in values)):
                    doubtful += found[start : start + _TOGETHER]
                elif self._may_mean_another(chunk, own) or may_lead_astray(way, chunk):
                    pairs = zip(found[start:], chunk, strict=False)
                    doubtful += [index for index, rest in pairs if self._may_mean_another([rest], own) or may_lead_astray(way, [rest])]
                if reaches is not None and values is not None:
                    self._reach(resource_type, values, reaches)
        doubtful.sort()
        return doubtful

    def _opened(self, opening: bytes) -> str | None:
        """The type of a resource that begins so, if its ``meta`` and its labels are as the plan wants them; else None."""
        try:
            resource = orjson.loads(opening + b"}")
        except orjson.JSONDecodeError:
            return None
        # A Patient is no other patient's: that is looked at as a whole.
        if not _is_opening(resource) or resource["resourceType"] not in self._forms or resource["resourceType"] == "Patient":
            return None
        return None if self._labelled(resource) is not None else resource["resourceType"]

    @staticmethod
    def _may_mean_another(bodies: Sequence[bytes], own: bytes) -> bool:
        """Whether a patient may be meant who is not the one of the release: any mention but of that one, or a backslash, which could hide one."""
        joined = b"\n".join(bodies)
        mentions = _MENTIONS(joined)
        return 0x5C in joined or mentions.count(own) != len(mentions)

    def _judge(self, body: bytes, index: int, patient: str, own: bytes, way: Ways | None = None) -> list[Problem]:
        """Everything wrong with one resource."""
        try:
            resource = orjson.loads(body)
        except orjson.JSONDecodeError:
            resource = None
        form = self._forms.get(str(resource.get("resourceType"))) if isinstance(resource, dict) else None
        if form is None:
            return [Problem(f"[{index}]", "not-in-plan", "this is no resource of a type that the plan lets leave")]
        if not form.whole.is_valid(resource):
            return _wrong(form.whole, resource, index)
        resource_type = resource["resourceType"]
        where = f"[{index}].{resource_type}"
        found = []
        wrong = self._labelled(resource)
        if wrong is not None:
            found.append(Problem(f"{where}.{wrong.path}", wrong.code, wrong.message))
        if resource_type == "Patient" and resource["id"] != patient:
            found.append(Problem(f"{where}.id", "other-patient", "this is another patient"))
        if self._may_mean_another([body], own):
            found += _strangers(resource, where, patient)
        if way is not None:
            found += way.problems(resource, where)
        period = self._dates.get(resource_type)
        if period is not None and not period.holds(resource):
            found.append(Problem(where, "outside-period", "its dates lie outside the period of the plan"))
        return found

    def _labelled(self, resource: dict[str, Any]) -> Problem | None:
        """What is wrong with the labels of a resource of the right form."""
        given = resource["meta"]["security"]
        labels = tuple([label["code"] if label["system"] != CONFIDENTIALITY_SYSTEM else f"^{label['code']}" for label in given])
        return self._labels[labels] if labels in self._labels else self._label_problem(labels)

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


def checker(plan: ReleasePlan) -> Checker:
    """The plan's checker, put together from schemas made once in this process. Compile the plan first: this asks no questions about its names."""
    return Checker(plan)
