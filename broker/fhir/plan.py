"""A release plan: what of each resource type may leave, reduced how, under which labels. Pure values, no names of FHIR checked here.

A plan is policy's answer (``policy.decision.Decision.plan``). :func:`broker.fhir.minimise.compiled` turns it into code and refuses a
plan that names an unknown type, element or transform; this file only knows its shape. Anything that a plan does not name stays behind,
so a plan can be too narrow by mistake, but never too wide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any

import orjson

from broker.errors import Invalid, Problem

#: What each resource needs of the patient's consents: one that permits it, that none denies it, or nothing (the law overrides a refusal).
CONSENTS = ("required", "unless-refused", "overridden")

#: HL7 v3 Confidentiality, least confidential first. A ceiling lets through its own rank and those before it.
CONFIDENTIALITY = ("U", "L", "M", "N", "R", "V")

#: Types of staff, organisations, places, products and knowledge. That one of them is referred to tells nothing of what else is kept of a
#: patient; a reference to any other type stays only if the recipient may fetch what it leads to (docs/decisions/0020).
NOBODYS_TYPES = frozenset(
    {
        "ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem", "ConceptMap", "DeviceDefinition", "Endpoint",
        "HealthcareService", "InsurancePlan", "Library", "Location", "Measure", "Medication", "MedicationKnowledge", "NamingSystem",
        "ObservationDefinition", "Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner", "PractitionerRole",
        "Questionnaire", "ResearchStudy", "Schedule", "Slot", "SpecimenDefinition", "StructureDefinition", "Substance", "ValueSet",
    }
)  # fmt: skip


class PlanInvalid(Invalid):
    """The release plan is not valid."""

    code = "plan-invalid"
    zh = "释放方案不合规范。"
    help_en = "Nothing was released. Correct the named parts of the least-necessary profile or of the plan."
    help_zh = "未发送任何数据。请更正最小必要清单或释放方案中所列之处。"


@dataclass(frozen=True, slots=True)
class Transform:
    """One change to a value that stays: ``do`` is a name of ``fhir.transforms.TRANSFORMS``, ``path`` an element as in ``TypePlan.elements``."""

    path: str
    do: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.path, self.do))


@dataclass(frozen=True, slots=True)
class TypePlan:
    """What may leave of one resource type.

    ``elements`` are names (``status``), dotted paths (``component.code``), choice elements by base name (``value``) or by one of
    their JSON names (``valueString``). ``codes`` and ``categories`` are tokens ``system|code``, ``|code`` (no system), ``system|``
    (any code of it) or ``code`` (any system); empty means no filter. The period is in epoch seconds, both ends included.
    """

    elements: tuple[str, ...] = ()
    period_from: int | None = None
    period_until: int | None = None
    codes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    transforms: tuple[Transform, ...] = ()

    def timeless(self) -> TypePlan:
        """The same without its period, which moves with the clock: what a compiled form depends on, and may be remembered by."""
        return TypePlan(self.elements, None, None, self.codes, self.categories, self.transforms)

    def to_json(self) -> dict[str, Any]:
        """The JSON form; ``period`` only if an end is set."""
        form: dict[str, Any] = {"elements": list(self.elements), "codes": list(self.codes), "categories": list(self.categories)}
        if self.period_from is not None or self.period_until is not None:
            form["period"] = {"start": self.period_from, "end": self.period_until}
        form["transforms"] = [{"path": each.path, "do": each.do, "options": dict(each.options)} for each in self.transforms]
        return form


@dataclass(frozen=True)
class ReleasePlan:
    """What may leave of one patient in one release, and under which obligations."""

    types: Mapping[str, TypePlan]
    deny_labels: frozenset[str]
    ceiling: str
    obligations: tuple[dict[str, Any], ...] = ()
    limits: dict[str, Any] = field(default_factory=dict)
    profile: str = ""
    #: Residual consent rules that a plan may carry along. Whoever applies the plan must apply them to each resource (``consent.residual``).
    consent: tuple[dict[str, Any], ...] = ()
    consents: str = CONSENTS[0]

    @classmethod
    def from_json(cls, form: Any) -> ReleasePlan:
        """Read the JSON form (interface.md, "A release plan"); raises :class:`PlanInvalid` with every problem of shape."""
        return _Reader().plan(form)

    def to_json(self) -> dict[str, Any]:
        """The JSON form; ``from_json`` of it is an equal plan."""
        return {
            "types": {name: each.to_json() for name, each in self.types.items()},
            "labels": {"deny": sorted(self.deny_labels), "ceiling": self.ceiling},
            "consent": list(self.consent),
            "consents": self.consents,
            "obligations": list(self.obligations),
            "limits": self.limits,
            "profile": self.profile,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over the JSON form with sorted keys and no spaces: equal plans, equal fingerprints, in every process."""
        return hashlib.sha256(orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def timeless(self) -> str:
        """The fingerprint of the same plan without its periods, which move with the clock."""
        return replace(self, types={name: each.timeless() for name, each in self.types.items()}).fingerprint

    @cached_property
    def shifted(self) -> bool:
        """Whether dates are shifted: every date of every type then moves by the same days, since one that stays would give the days away."""
        return any(each.do == "shift" for kept in self.types.values() for each in kept.transforms)

    @cached_property
    def pseudonymous(self) -> bool:
        """Whether ids and references are replaced, which holds for the whole plan as soon as one transform asks for it.

        An id replaced here and left in a reference there would join the two again, so one ``pseudonym`` covers every type.
        Dates that are shifted beside ids that are not would be shifted back by whoever knows one of them.
        """
        return self.shifted or any(each.do == "pseudonym" for kept in self.types.values() for each in kept.transforms)


#: Epoch seconds of the years 1 and 9999, beyond which there are no dates.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799


def _moment(value: str, *, end: bool) -> int:
    """Epoch seconds of a date (UTC; its first or its last second) or of a date with time and offset."""
    if len(value) == len("2025-01-01"):
        day = date.fromisoformat(value)
        return int(datetime.combine(day, time(23, 59, 59) if end else time(), UTC).timestamp())
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    return int(moment.timestamp())


class _Reader:
    """Reads the JSON form and holds the problems found so far, so that a writer of profiles sees all of them at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def plan(self, form: Any) -> ReleasePlan:
        known = ("types", "labels", "consent", "consents", "obligations", "limits", "profile")
        top = self._object(form, "", known)
        labels = self._object(top.get("labels"), "labels", ("deny", "ceiling"))
        ceiling = labels.get("ceiling")
        if ceiling not in CONFIDENTIALITY:
            self._add("labels.ceiling", "ceiling", f"must be one of {', '.join(CONFIDENTIALITY)}")
        consents = top.get("consents", CONSENTS[0])
        if consents not in CONSENTS:
            self._add("consents", "consents", f"must be one of {', '.join(CONSENTS)}")
        limits = top.get("limits", {})
        if not isinstance(limits, dict):
            self._add("limits", "type", "must be an object")
        profile = top.get("profile", "")
        if not isinstance(profile, str):
            self._add("profile", "type", "must be a string")
        types = {name: self._type(each, f"types.{name}") for name, each in self._object(top.get("types"), "types", None).items()}
        deny = frozenset(self._strings(labels.get("deny", []), "labels.deny"))
        obligations = tuple(each for _, each in self._objects(top.get("obligations", []), "obligations"))
        consent = tuple(each for _, each in self._objects(top.get("consent", []), "consent"))
        plan = None if self.problems else ReleasePlan(types, deny, str(ceiling), obligations, limits, profile, consent, str(consents))
        if plan is None or not self._writable(plan):
            raise PlanInvalid("The release plan has the wrong shape.", problems=tuple(self.problems))
        return plan

    def _writable(self, plan: ReleasePlan) -> bool:
        """Whether the plan can be written down again, so that its fingerprint can go on record."""
        try:
            return bool(plan.fingerprint)
        except TypeError:
            self._add("", "json", "holds a text or a number that does not go into JSON")
        return False

    def _type(self, form: Any, path: str) -> TypePlan:
        given = self._object(form, path, ("elements", "period", "codes", "categories", "transforms"))
        if "elements" not in given and isinstance(form, dict):
            self._add(f"{path}.elements", "required", "is missing; an empty list releases the bare existence of the resource")
        period = self._object(given.get("period") or {}, f"{path}.period", ("start", "end"))
        start = self._when(period.get("start"), f"{path}.period.start", end=False)
        until = self._when(period.get("end"), f"{path}.period.end", end=True)
        if start is not None and until is not None and start > until:
            self._add(f"{path}.period", "period", "ends before it starts")
        transforms = tuple(self._transform(each, place) for place, each in self._objects(given.get("transforms", []), f"{path}.transforms"))
        return TypePlan(
            self._strings(given.get("elements", []), f"{path}.elements"),
            start,
            until,
            self._tokens(given.get("codes", []), f"{path}.codes"),
            self._tokens(given.get("categories", []), f"{path}.categories"),
            transforms,
        )

    def _transform(self, form: dict[str, Any], path: str) -> Transform:
        given = self._object(form, path, ("path", "do", "options"))
        element, do = given.get("path"), given.get("do")
        if not isinstance(element, str) or not isinstance(do, str):
            self._add(path, "type", "needs `path` and `do`, both strings")
        options = given.get("options", {})
        if not isinstance(options, dict):
            self._add(f"{path}.options", "type", "must be an object")
            options = {}
        return Transform(str(element), str(do), options)

    def _when(self, value: Any, path: str, *, end: bool) -> int | None:
        if value is None or (type(value) is int and _FIRST <= value <= _LAST):
            return value
        try:
            return _moment(value, end=end)
        except (TypeError, ValueError):
            self._add(path, "date", "must be a date, a date with time and offset, or epoch seconds")
            return None

    def _tokens(self, value: Any, path: str) -> tuple[str, ...]:
        tokens = self._strings(value, path)
        for index, token in enumerate(tokens):
            if token.count("|") > 1 or not token.strip("|"):
                self._add(f"{path}[{index}]", "token", "must be `system|code`, `|code`, `system|` or `code`")
        return tokens

    def _strings(self, value: Any, path: str) -> tuple[str, ...]:
        if not isinstance(value, list):
            self._add(path, "type", "must be a list of strings")
            return ()
        wrong = [index for index, each in enumerate(value) if not (isinstance(each, str) and each)]
        for index in wrong:
            self._add(f"{path}[{index}]", "type", "must be a string that is not empty")
        return () if wrong else tuple(value)

    def _objects(self, value: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
        """The objects of a list, each with its place."""
        if not isinstance(value, list):
            self._add(path, "type", "must be a list of objects")
            return []
        found = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
        for place, each in found:
            if not isinstance(each, dict):
                self._add(place, "type", "must be an object")
        return [(place, each) for place, each in found if isinstance(each, dict)]

    def _object(self, value: Any, path: str, known: tuple[str, ...] | None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._add(path, "type", "must be an object")
            return {}
        if known is not None:
            for name in sorted(value.keys() - known):
                self._add(f"{path}.{name}".lstrip("."), "unknown", "is not part of a plan")
        return value

    def _add(self, path: str, code: str, message: str) -> None:
        self.problems.append(Problem(path, code, message))
