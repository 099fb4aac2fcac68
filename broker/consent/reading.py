"""Reading a FHIR Consent (R4 or R5 JSON) into a :class:`~broker.consent.values.Statement`, and reporting on every element. Pure.

Whatever is not understood is refused in the report, and makes the statement one that can only deny (rules 2 and 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.consent import codes, givers, times
from broker.consent.dialects import Detected, Dialect, detect
from broker.consent.findings import Finding, Outcome
from broker.consent.provisions import Deniable, ProvisionReader, Report, Resolve, codings
from broker.consent.references import canonical, token, tokens, type_of
from broker.consent.times import Span
from broker.consent.values import OPEN, Conditions, Effect, Provision, Scope, Statement

SCOPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/consentscope"
_SCOPES = {"patient-privacy": Scope.PRIVACY, "research": Scope.RESEARCH, "adr": Scope.OTHER, "treatment": Scope.OTHER}

#: Elements that say who, when and on what paper, and set no rule.
_KEPT = frozenset(
    {"resourceType", "id", "meta", "language", "text", "contained", "extension", "identifier", "category", "sourceAttachment", "sourceReference"}
)
_KEPT_R4 = _KEPT | {"dateTime", "performer", "organization"}
_KEPT_R5 = _KEPT | {"date", "grantor", "grantee", "manager", "controller", "regulatoryBasis", "policyText"}
#: Elements that are looked at one by one.
_READ = frozenset({"status", "provision", "modifierExtension", "implicitRules", "verification"})
_READ_R4 = _READ | {"scope", "patient", "policy", "policyRule"}
_READ_R5 = _READ | {"subject", "period", "decision", "policyBasis"}
#: Extensions and references by which a consent says that it takes another's place.
_REPLACING = ("replaces", "supersedes")


@dataclass(frozen=True)
class Reading:
    """A consent as it was understood, with the report."""

    detected: Detected
    statement: Statement
    findings: tuple[Finding, ...]
    patient: Mapping[str, Any] | None  #: the Reference that names the patient

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Why it can't be enforced; empty if it can."""
        return tuple(one for one in self.findings if one.outcome is Outcome.REFUSED)


def literal(reference: Mapping[str, Any]) -> frozenset[str] | None:
    """A reference that stands for itself. Groups and teams don't: whom they name is not said."""
    found = canonical(reference.get("reference"))
    return None if found is None or type_of(found) in ("Group", "CareTeam") else frozenset({found})


def literal_data(reference: Mapping[str, Any]) -> frozenset[str] | None:
    """A resource named by its own reference."""
    found = canonical(reference.get("reference"))
    return None if found is None else frozenset({found})


def anybody(_: str) -> bool:
    """A denial of any actor can be enforced."""
    return True


def read(
    consent: Mapping[str, Any], *, name: str = "", actor: Resolve = literal, data: Resolve = literal_data, deniable: Deniable = anybody
) -> Reading:
    """What the consent says, and the report. ``name`` is the id it goes by; ``actor`` and ``data`` tell whom references name.

    Any JSON object may be given; nothing is raised.
    """
    detected = detect(consent)
    report = Report()
    if consent.get("resourceType") != "Consent":
        report.refused("Consent", "not-a-consent")
    later = detected.dialect is Dialect.DECISION
    _elements(consent, report, later=later)
    scope = Scope.PRIVACY if later else _scope(consent, report)
    if consent.get("status") == "active":
        report.enforced("Consent.status")
    else:
        report.refused("Consent.status", "not-active")
    reader = ProvisionReader(detected, report, actor=actor, data=data, deniable=deniable)
    span = _root(consent, detected, reader, report)
    _cautions(reader.provisions, report)
    patient = consent.get("subject", consent.get("patient")) if later else consent.get("patient", consent.get("subject"))
    if isinstance(patient, Mapping):
        report.enforced("Consent.subject" if later else "Consent.patient")
    issued = _issued(consent, "date" if later else "dateTime", report)
    findings = tuple(report.findings)
    statement = Statement(
        consent=name or str(consent.get("id", "")),
        active=consent.get("status") == "active",
        scope=scope,
        span=span,
        provisions=tuple(reader.provisions),
        unenforceable=any(one.outcome is Outcome.REFUSED for one in findings),
        issued=issued,
        identifiers=tokens(consent.get("identifier")),
        replaces=_replaces(consent),
        giver=givers.giver(consent),
        separate=givers.separate(consent),
    )
    return Reading(detected, statement, findings, patient if isinstance(patient, Mapping) else None)


def _elements(consent: Mapping[str, Any], report: Report, *, later: bool) -> None:
    """Every element outside the provisions."""
    kept, looked_at = (_KEPT_R5, _READ_R5) if later else (_KEPT_R4, _READ_R4)
    for name in sorted(consent):
        base = name.removeprefix("_")
        path = f"Consent.{name}"
        if name == "modifierExtension":
            report.refused(path, "unknown-modifier")
        elif name == "implicitRules" or (name != base and base in looked_at):
            report.refused(path, "unreadable")
        elif base in kept:
            report.kept(path)
        elif name not in looked_at:
            report.refused(path, "unknown-element")
    for name in sorted({"policy", "policyBasis", "verification"} & consent.keys() & looked_at):
        _backbone(consent[name], f"Consent.{name}", report)


def _backbone(value: Any, path: str, report: Report) -> None:
    """An element that sets no rule, unless a modifier extension changes it or it says that nobody verified the consent."""
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            report.refused(path, "unreadable")
        elif "modifierExtension" in one:
            report.refused(f"{path}.modifierExtension", "unknown-modifier")
        elif path == "Consent.verification" and one.get("verified") is not True:
            report.refused(f"{path}.verified", "not-verified")
        else:
            report.kept(path)


def _scope(consent: Mapping[str, Any], report: Report) -> Scope:
    if "scope" not in consent:
        report.kept("Consent.scope", "scope-absent")
        return Scope.PRIVACY
    found = {_SCOPES[code] for system, code in codings(consent["scope"]) or [] if system == SCOPE_SYSTEM and code in _SCOPES}
    scope = next((one for one in (Scope.PRIVACY, Scope.RESEARCH, Scope.OTHER) if one in found), None)
    if scope is None:
        report.refused("Consent.scope", "unknown-scope")
        return Scope.PRIVACY
    if scope is Scope.OTHER:
        report.refused("Consent.scope", "other-scope")
    else:
        report.enforced("Consent.scope")
    return scope


def _root(consent: Mapping[str, Any], detected: Detected, reader: ProvisionReader, report: Report) -> Span:
    """Put the root and everything below it into the reader; the seconds within which the whole consent speaks (rules 1 to 3)."""
    if detected.dialect is Dialect.DECISION:
        root = reader.add("Consent.decision", reader.effect(consent["decision"], "Consent.decision"), Conditions())
        if "provision" in consent:
            reader.nested(consent["provision"], "Consent.provision", root)
        return _period(consent, "Consent.period", report)
    raw = consent.get("provision", {})
    if not isinstance(raw, dict) or ("provision" in consent and not raw):
        report.refused("Consent.provision", "unreadable")
        raw = {}
    if detected.dialect is Dialect.TYPED_ROOT:
        effect = reader.effect(raw["type"], "Consent.provision.type")
        if "policyRule" in consent:
            report.kept("Consent.policyRule")
    else:
        effect = _policy_rule(consent, report)
    root = reader.add("Consent.provision" if raw else "Consent.policyRule", effect, Conditions())
    # The root's period bounds the whole consent, its other elements only the base (rule 3).
    when = reader.conditions({key: value for key, value in raw.items() if key != "period"}, "Consent.provision", root)
    reader.provisions[0] = replace(root, when=when)
    if "provision" in raw:
        reader.nested(raw["provision"], "Consent.provision.provision", reader.provisions[0])
    if detected.dialect is Dialect.POLICY_RULE:
        _untyped(consent, raw, reader, report)
    return _period(raw, "Consent.provision.period", report)


def _period(raw: Mapping[str, Any], path: str, report: Report) -> Span:
    if "period" not in raw:
        return OPEN
    span = times.read_period(raw["period"])
    if span is None:
        report.refused(path, "bad-date")
        return OPEN
    report.enforced(path)
    return span


def _issued(consent: Mapping[str, Any], name: str, report: Report) -> Span:
    """When the consent was given: which of two is newer depends on it (rule 7)."""
    if name not in consent:
        return OPEN
    span = times.read(consent[name])
    if span is None:
        report.refused(f"Consent.{name}", "bad-date")
    return span or OPEN


def _policy_rule(consent: Mapping[str, Any], report: Report) -> Effect:
    stated = {codes.DIRECTIVES[code] for code in _directives(consent)}
    if len(stated) == 1:
        report.enforced("Consent.policyRule", "base")
        return Effect(min(stated))
    report.refused("Consent.policyRule" if "policyRule" in consent else "Consent.provision.type", "no-base")
    return Effect.DENY


def _directives(consent: Mapping[str, Any]) -> set[str]:
    """The directives of ``policyRule`` that state a base."""
    return {code for system, code in codings(consent.get("policyRule")) or [] if system == codes.DIRECTIVE_SYSTEM and code in codes.DIRECTIVES}


def _untyped(consent: Mapping[str, Any], raw: Mapping[str, Any], reader: ProvisionReader, report: Report) -> None:
    """Refuse an untyped root that may be read in two ways (docs/decisions/0008-consent-rules.md, "Untyped roots").

    R4 calls a provision "an exception to the base policy", and several official examples write what they withhold into the root
    of an opt-in; others write the frame there. It is the frame for sure where a nested provision explicitly does the opposite
    of the base, or where the actors have the role that PCF and FAST give to recipients.
    """
    root = reader.provisions[0]
    bounded = root.when != Conditions()
    opposite = any(one.depth == 1 and one.effect is not root.effect for one in _explicit(raw, reader.provisions))
    if bounded and not opposite and 0 not in reader.information_recipients:
        report.refused("Consent.provision", "ambiguous-root")
    if not bounded and len(reader.provisions) == 1 and _directives(consent) & codes.NEEDS_TERMS:
        report.refused("Consent.policyRule", "needs-terms")


def _explicit(raw: Mapping[str, Any], provisions: list[Provision]) -> list[Provision]:
    """First-level provisions that state their type."""
    listed = raw.get("provision")
    typed = {
        f"Consent.provision.provision[{index}]"
        for index, one in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and "type" in one
    }
    return [one for one in provisions if one.path in typed]


def _cautions(provisions: list[Provision], report: Report) -> None:
    """Say where an exception holds for more people or purposes than the root (rule 3)."""
    for one in provisions:
        if one.depth == 1 and one.effect is Effect.PERMIT:
            root = provisions[0].when
            if root.actors is not None and one.when.actors is None:
                report.kept(one.path, "open-actors")
            if root.purposes is not None and one.when.purposes is None:
                report.kept(one.path, "open-purposes")


def _replaces(consent: Mapping[str, Any]) -> frozenset[str]:
    """The consents that this one says it replaces, as references or as ``system|value``."""
    sources = consent.get("sourceReference")
    named = [
        one
        for one in (sources if isinstance(sources, list) else [sources])
        if isinstance(one, dict) and str(one.get("reference", "")).startswith("Consent/")
    ]
    extensions = consent.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, dict) and str(extension.get("url", "")).rsplit("/", 1)[-1].lower() in _REPLACING:
            value = next((extension[key] for key in ("valueReference", "valueUri", "valueCanonical") if key in extension), None)
            named.append(value if isinstance(value, dict) else {"reference": value})
    found = {canonical(one.get("reference")) for one in named} | {token(one.get("identifier")) for one in named}
    return frozenset(one for one in found if one)
