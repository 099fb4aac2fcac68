"""Reading ``Consent.provision`` into typed provisions, element by element. Pure.

Every element ends in the report: enforced, kept, or refused. A value that can't be read never becomes "no condition".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.consent import times
from broker.consent.codes import CONFIDENTIALITY, CONFIDENTIALITY_SYSTEM, PURPOSES, SENSITIVITY
from broker.consent.dialects import Detected, Dialect
from broker.consent.findings import Finding, Outcome
from broker.consent.references import canonical, type_of
from broker.consent.times import Span
from broker.consent.values import ACTIONS, Classes, Conditions, Datum, Effect, Meaning, Provision
from broker.fhir.definitions import resource_types

ACTION_SYSTEM = "http://terminology.hl7.org/CodeSystem/consentaction"
PARTICIPATION_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
#: Roles of somebody who receives: information recipient, primary information recipient.
RECIPIENT_ROLES = frozenset({"IRCP", "PRCP"})
TYPE_SYSTEMS = frozenset({"http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types"})
URI_SYSTEM = "urn:ietf:rfc:3986"
#: Code systems whose codes name kinds of documents.
DOCUMENT_SYSTEMS = frozenset({"http://loinc.org"})
#: ``related`` with one of these means, in PCF, what belongs to it.
CONTAINERS = frozenset({"Encounter", "CarePlan", "EpisodeOfCare"})

MAX_PROVISIONS = 1000

_ELEMENTS_R4 = frozenset({"type", "period", "actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod", "data", "provision"})
_ELEMENTS_R5 = _ELEMENTS_R4 - {"type", "class"} | {"resourceType", "documentType"}
#: Carry no rule wherever they stand in an element.
_HARMLESS = frozenset({"id", "extension"})

#: Whom or what a FHIR Reference names: every reference it stands for (the members of a group), or None if that can't be told.
Resolve = Callable[[Mapping[str, Any]], frozenset[str] | None]
#: Whether a denial of an actor can be enforced, by the reference that it stands for.
Deniable = Callable[[str], bool]


#: Kinds of actors to whom nothing is ever released.
_NEVER_RECEIVE = frozenset({"Patient", "RelatedPerson", "Device"})


def _asked_at_use(named: frozenset[str]) -> str:
    """How an actor is enforced: code of the finding."""
    kinds = {type_of(one) for one in named}
    if kinds & {"Group", "CareTeam"}:
        return "members-at-use"
    return "person-at-use" if kinds & {"Practitioner", "PractitionerRole"} else "enforced"


@dataclass
class Report:
    """The findings so far."""

    findings: list[Finding] = field(default_factory=list)

    def enforced(self, path: str, code: str = "enforced") -> None:
        """The element is a rule and is enforced."""
        self.findings.append(Finding(path, Outcome.ENFORCED, code))

    def kept(self, path: str, code: str = "kept") -> None:
        """The element is no rule."""
        self.findings.append(Finding(path, Outcome.KEPT, code))

    def refused(self, path: str, code: str) -> None:
        """The element can't be enforced."""
        self.findings.append(Finding(path, Outcome.REFUSED, code))

    def known(self, element: Mapping[str, Any], names: frozenset[str], path: str) -> None:
        """Refuse modifier extensions, elements that FHIR doesn't have here, and elements whose value is said by an extension only."""
        for name in sorted(element.keys() - names - _HARMLESS):
            self.refused(
                f"{path}.{name}", "unknown-modifier" if name == "modifierExtension" else "unreadable" if name[:1] == "_" else "unknown-element"
            )


def coding(value: Any) -> tuple[str, str] | None:
    """(system, code) of a Coding; None if either is missing or something else stands in it."""
    if not isinstance(value, dict) or value.keys() - {"system", "version", "code", "display", "userSelected"} - _HARMLESS:
        return None
    system, code = value.get("system"), value.get("code")
    return (system, code) if isinstance(system, str) and isinstance(code, str) and system and code else None


def codings(concept: Any) -> list[tuple[str, str]] | None:
    """Every coding of a CodeableConcept; None if there is none or one can't be read."""
    if not isinstance(concept, dict) or concept.keys() - {"coding", "text"} - _HARMLESS:
        return None
    listed = concept.get("coding")
    found = [coding(one) for one in listed] if isinstance(listed, list) else []
    return [one for one in found if one] if found and all(found) else None


class ProvisionReader:
    """Reads the provisions of one consent. ``provisions`` are in document order; the root is put there by the caller's first call."""

    def __init__(self, detected: Detected, report: Report, *, actor: Resolve, data: Resolve, deniable: Deniable) -> None:
        self.detected = detected
        self.report = report
        self.actor = actor
        self.data = data
        self.deniable = deniable
        self.provisions: list[Provision] = []
        #: Numbers of provisions all of whose actors have the role IRCP, which PCF and FAST use.
        self.information_recipients: set[int] = set()

    def add(self, path: str, effect: Effect, when: Conditions, parent: Provision | None = None) -> Provision:
        """Put a provision into the list."""
        number = len(self.provisions)
        depth = 0 if parent is None else parent.depth + 1
        one = Provision(number, None if parent is None else parent.number, depth, path, effect, when)
        self.provisions.append(one)
        return one

    def nested(self, value: Any, path: str, parent: Provision) -> None:
        """Read the provisions nested in ``parent``."""
        if not isinstance(value, list) or not value:
            self.report.refused(path, "unreadable")
            return
        for index, raw in enumerate(value):
            where = f"{path}[{index}]"
            if len(self.provisions) >= MAX_PROVISIONS:
                self.report.refused(where, "too-many")
                return
            if not isinstance(raw, dict) or not raw:
                self.report.refused(where, "unreadable")
                continue
            one = self.add(where, self._effect(raw, where, parent.effect), Conditions(), parent)
            when = self.conditions(raw, where, one)
            self.provisions[one.number] = Provision(one.number, one.parent, one.depth, one.path, one.effect, when)
            if "provision" in raw:
                self.nested(raw["provision"], f"{where}.provision", one)

    def _effect(self, raw: Mapping[str, Any], path: str, parent: Effect) -> Effect:
        if "type" not in raw or self.detected.dialect is Dialect.DECISION:
            self.report.enforced(path, "alternates")
            return Effect.DENY if parent is Effect.PERMIT else Effect.PERMIT
        return self.effect(raw["type"], f"{path}.type")

    def effect(self, value: Any, path: str) -> Effect:
        """``permit`` or ``deny``; anything else is refused and denies."""
        if value in ("permit", "deny"):
            self.report.enforced(path)
            return Effect(value)
        self.report.refused(path, "unreadable")
        return Effect.DENY

    def conditions(self, raw: Mapping[str, Any], path: str, provision: Provision) -> Conditions:
        """Every condition of one provision."""
        self.report.known(raw, _ELEMENTS_R5 if self.detected.dialect is Dialect.DECISION else _ELEMENTS_R4, path)
        return Conditions(
            period=self._span(raw, "period", path),
            actors=self._actors(raw, path, provision),
            actions=self._concepts(raw, "action", path, self._action),
            purposes=self._each(raw, "purpose", path, self._purpose),
            labels=self._each(raw, "securityLabel", path, self._label),
            classes=self._classes(raw, path),
            codes=self._concepts(raw, "code", path, lambda system, code: f"{system}|{code}"),
            data_period=self._span(raw, "dataPeriod", path),
            data=self._data(raw, path),
        )

    def _span(self, raw: Mapping[str, Any], name: str, path: str) -> Span | None:
        if name not in raw:
            return None
        span = times.read_period(raw[name])
        if span is None:
            self.report.refused(f"{path}.{name}", "bad-date")
        else:
            self.report.enforced(f"{path}.{name}")
        return span

    def _items(self, raw: Mapping[str, Any], name: str, path: str) -> list[tuple[str, Any]] | None:
        """(path, value) of each repeat; None if the element isn't there."""
        if name not in raw:
            return None
        value = raw[name]
        if not isinstance(value, list) or not value:
            self.report.refused(f"{path}.{name}", "unreadable")
            return []
        return [(f"{path}.{name}[{index}]", one) for index, one in enumerate(value)]

    def _each(self, raw: Mapping[str, Any], name: str, path: str, understood: Callable[[str, str], str | None]) -> frozenset[str] | None:
        """A list of Codings as a set of what each is understood as."""
        items = self._items(raw, name, path)
        return None if items is None else frozenset(found for where, one in items for found in self._understood(where, [coding(one)], understood))

    def _concepts(self, raw: Mapping[str, Any], name: str, path: str, understood: Callable[[str, str], str | None]) -> frozenset[str] | None:
        """A list of CodeableConcepts likewise; several codings of one concept say the same in other words."""
        items = self._items(raw, name, path)
        if items is None:
            return None
        return frozenset(found for where, one in items for found in self._understood(where, codings(one) or [None], understood))

    def _understood(self, path: str, given: Any, understood: Callable[[str, str], str | None]) -> list[str]:
        if None in given:
            self.report.refused(path, "unreadable")
            return []
        found = [one for one in (understood(*pair) for pair in given) if one is not None]
        if found:
            self.report.enforced(path)
        else:
            self.report.refused(path, "unknown-code")
        return found

    @staticmethod
    def _action(system: str, code: str) -> str | None:
        return code if system == ACTION_SYSTEM and code in ACTIONS else None

    @staticmethod
    def _purpose(system: str, code: str) -> str | None:
        return code if system == PURPOSES.system and code in PURPOSES else None

    @staticmethod
    def _label(system: str, code: str) -> str | None:
        if system == CONFIDENTIALITY_SYSTEM:
            return code if code in CONFIDENTIALITY else None
        return code if system == SENSITIVITY.system and code in SENSITIVITY else None

    def _actors(self, raw: Mapping[str, Any], path: str, provision: Provision) -> frozenset[str] | None:
        items = self._items(raw, "actor", path)
        if items is None:
            return None
        found: set[str] = set()
        roles: set[str] = set()
        for where, one in items:
            if not isinstance(one, dict):
                self.report.refused(where, "unreadable")
                continue
            self.report.known(one, frozenset({"role", "reference"}), where)
            roles.add(self._role(one, where))
            named = self.actor(one["reference"]) if isinstance(one.get("reference"), dict) else None
            if named is None:
                kind = type_of(canonical(one["reference"].get("reference")) or "/") if isinstance(one.get("reference"), dict) else ""
                self.report.refused(f"{where}.reference", "actor-kind" if kind in _NEVER_RECEIVE else "actor-unresolved")
            elif provision.effect is Effect.DENY and not all(self.deniable(each) for each in named):
                self.report.refused(f"{where}.reference", "not-deniable")
            else:
                self.report.enforced(f"{where}.reference", _asked_at_use(named))
                found |= named
        if roles == {"IRCP"}:
            self.information_recipients.add(provision.number)
        return frozenset(found)

    def _role(self, actor: Mapping[str, Any], path: str) -> str:
        """The recipient role of an actor; no role at all means a recipient."""
        if "role" not in actor:
            return ""
        named = {code for system, code in codings(actor["role"]) or [] if system == PARTICIPATION_SYSTEM} & RECIPIENT_ROLES
        if named:
            self.report.enforced(f"{path}.role")
            return min(named)
        self.report.refused(f"{path}.role", "role-not-recipient")
        return ""

    def _classes(self, raw: Mapping[str, Any], path: str) -> tuple[Classes, ...] | None:
        # R5 splits class in two elements, and between elements both must hold.
        names = ("resourceType", "documentType") if self.detected.dialect is Dialect.DECISION else ("class",)
        found = [self._class(raw, name, path) for name in names if name in raw]
        return tuple(found) if found else None

    def _class(self, raw: Mapping[str, Any], name: str, path: str) -> Classes:
        types: set[str] = set()
        profiles: set[str] = set()
        documents: set[str] = set()

        def understood(system: str, code: str) -> str | None:
            if system in TYPE_SYSTEMS and code in resource_types():
                types.add(code)
            elif system == URI_SYSTEM:
                profiles.add(code)
            elif system in DOCUMENT_SYSTEMS:
                documents.add(f"{system}|{code}")
            else:
                return None
            return code

        self._each(raw, name, path, understood)
        return Classes(frozenset(types), frozenset(profiles), frozenset(documents))

    def _data(self, raw: Mapping[str, Any], path: str) -> tuple[Datum, ...] | None:
        items = self._items(raw, "data", path)
        if items is None:
            return None
        found: list[Datum] = []
        for where, one in items:
            if not isinstance(one, dict):
                self.report.refused(where, "unreadable")
                continue
            self.report.known(one, frozenset({"meaning", "reference"}), where)
            named = self.data(one["reference"]) if isinstance(one.get("reference"), dict) else None
            if named is None:
                self.report.refused(f"{where}.reference", "data-unresolved")
                continue
            self.report.enforced(f"{where}.reference")
            for reference in sorted(named):
                meaning = self._meaning(one.get("meaning"), reference, f"{where}.meaning")
                if meaning is not None:
                    found.append(Datum(meaning, reference))
        return tuple(found)

    def _meaning(self, value: Any, reference: str, path: str) -> Meaning | None:
        if value == "related":
            belongs = self.detected.related_belongs and type_of(reference) in CONTAINERS
            self.report.enforced(path, "related-belongs" if belongs else "related-refers")
            return Meaning.BELONGS_TO if belongs else Meaning.REFERS_TO
        plain = {"instance": Meaning.INSTANCE, "dependents": Meaning.BELONGS_TO, "authoredby": Meaning.AUTHORED_BY}
        if isinstance(value, str) and value in plain:
            self.report.enforced(path)
            return plain[value]
        self.report.refused(path, "unreadable")
        return None
