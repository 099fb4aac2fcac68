"""The enforceability report: what becomes of every element of a consent, before anybody files it. Pure.

A consent is filed only if nothing in its report is refused, so that nothing that is stored as active is partly ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.consent.dialects import Detected, Dialect
from broker.consent.findings import Finding, Outcome
from broker.consent.labelled import fit
from broker.consent.provisions import Deniable, Resolve
from broker.consent.reading import anybody, literal, literal_data, read
from broker.consent.values import Statement
from broker.fhir.validate import problems


@dataclass(frozen=True)
class Report:
    """What becomes of every element of a consent."""

    detected: Detected
    findings: tuple[Finding, ...]
    statement: Statement
    patient: Mapping[str, Any] | None  #: the Reference that names the patient
    structure: tuple[tuple[str, str], ...] = ()  #: what is not FHIR R4: (path, sentence)

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Elements that can't be enforced."""
        return tuple(one for one in self.findings if one.outcome is Outcome.REFUSED)

    @property
    def enforceable(self) -> bool:
        """Whether the consent may be filed."""
        return not self.refused and not self.structure

    def to_json(self, language: str = "en") -> dict[str, Any]:
        """The report for machines: dialect, verdict, one entry for each element."""
        structure = [{"path": path, "outcome": "refused", "code": "structure", "reason": sentence} for path, sentence in self.structure]
        return {
            "enforceable": self.enforceable,
            "dialect": self.detected.dialect.value,
            "nesting": self.detected.nesting.value,
            "profile": self.detected.profile or None,
            "elements": structure
            + [{"path": one.path, "outcome": one.outcome.value, "code": one.code, "reason": one.sentence(language)} for one in self.findings],
        }


def examine(consent: Mapping[str, Any], *, actor: Resolve = literal, data: Resolve = literal_data, deniable: Deniable = anybody) -> Report:
    """The report on a consent. R4 is also held against R4's own structure; R5 is kept as it was given.

    ``actor`` and ``data`` tell whom and what references name, ``deniable`` whether a denial of an actor can be enforced, as in
    :func:`broker.consent.reading.read`.
    """
    reading = read(consent, actor=actor, data=data, deniable=deniable)
    statement, more = fit(reading.statement)
    findings = [*reading.findings, *more]
    if reading.patient is None:
        findings.append(
            Finding("Consent.subject" if reading.detected.dialect is Dialect.DECISION else "Consent.patient", Outcome.REFUSED, "patient-unresolved")
        )
    structure = () if reading.detected.dialect is Dialect.DECISION else tuple((one.path, one.message) for one in problems(dict(consent)))
    return Report(reading.detected, tuple(findings), statement, reading.patient, structure)
