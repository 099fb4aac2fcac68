"""What comes in and goes out over HTTP, as FHIR: Parameters of the operations, Bundles, the report as an OperationOutcome."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from broker.consent.enforceability import Report
from broker.consent.errors import NotTheOperation
from broker.consent.findings import Outcome
from broker.consent.references import canonical
from broker.consent.register import Shown
from broker.errors import Problem
from broker.fhir.outcome import Issue, operation_outcome

#: Types of the document that proves a filing or a withdrawal (HL7 FAST FileConsentParameters).
DOCUMENTS = ("DocumentReference", "QuestionnaireResponse")


@dataclass(frozen=True)
class Filing:
    """``$fileConsent``: the consent with its bytes, and the bytes of the document."""

    consent: dict[str, Any]
    raw: bytes
    document: bytes


@dataclass(frozen=True)
class Withdrawal:
    """``$revokeConsent``."""

    consent: str  #: id
    patient: dict[str, Any]  #: Reference
    document: bytes | None


class _Parameter(msgspec.Struct):
    name: str
    resource: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Parameters(msgspec.Struct):
    parameter: list[_Parameter]


_raw = msgspec.json.Decoder(_Parameters)


def _wrong(path: str, code: str, message: str) -> NotTheOperation:
    return NotTheOperation(problems=(Problem(path, code, message),))


def _parameters(value: Any, names: frozenset[str]) -> dict[str, tuple[int, dict[str, Any]]]:
    """The parameters by name with their places: each of ``names`` at most once and no other."""
    if not isinstance(value, dict) or value.get("resourceType") != "Parameters" or not isinstance(value.get("parameter"), list):
        raise _wrong("Parameters", "not-parameters", "The body must be a FHIR Parameters resource.")
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for index, one in enumerate(value["parameter"]):
        path = f"Parameters.parameter[{index}]"
        name = one.get("name") if isinstance(one, dict) else None
        if name not in names:
            raise _wrong(path, "unknown-parameter", "This operation has no such parameter.")
        if name in found:
            raise _wrong(path, "repeated-parameter", "This parameter stands twice.")
        found[name] = (index, one)
    return found


def _resource(found: dict[str, tuple[int, dict[str, Any]]], name: str, types: tuple[str, ...], body: bytes) -> tuple[dict[str, Any], bytes] | None:
    """A parameter's resource and its bytes as they were given."""
    if name not in found:
        return None
    index, parameter = found[name]
    resource = parameter.get("resource")
    if not isinstance(resource, dict) or resource.get("resourceType") not in types:
        raise _wrong(f"Parameters.parameter[{index}].resource", "wrong-resource", f"It must be a {' or '.join(types)}.")
    raw = _raw.decode(body.removeprefix(codecs.BOM_UTF8)).parameter[index].resource
    assert isinstance(raw, msgspec.Raw)  # noqa: S101  (read_json has read the same bytes, and found an object here)
    return resource, bytes(raw)


def filing(value: Any, body: bytes) -> Filing:
    """Parameters of ``$fileConsent`` (both 1..1). ``body`` are the bytes that ``value`` was read from."""
    found = _parameters(value, frozenset({"consent", "document"}))
    consent, document = _resource(found, "consent", ("Consent",), body), _resource(found, "document", DOCUMENTS, body)
    if consent is None or document is None:
        raise _wrong("Parameters.parameter", "missing-parameter", "consent and document are required.")
    return Filing(consent[0], consent[1], document[1])


def withdrawal(value: Any, body: bytes) -> Withdrawal:
    """Parameters of ``$revokeConsent``: ``consent`` and ``patient`` 1..1 as References, ``document`` 0..1."""
    found = _parameters(value, frozenset({"consent", "patient", "document"}))
    consent, patient = _reference(found, "consent"), _reference(found, "patient")
    name = _consent_id(found, consent)
    document = _resource(found, "document", DOCUMENTS, body)
    return Withdrawal(name, patient, None if document is None else document[1])


@dataclass(frozen=True)
class Consulted:
    """``$recordDisclosure``: the AuditEvent with its bytes, and the consent."""

    event: dict[str, Any]
    raw: bytes
    consent: str  #: id


def consulted(value: Any, body: bytes) -> Consulted:
    """Parameters of ``$recordDisclosure``: ``disclosure`` 1..1 as AuditEvent and ``consent`` 1..1 as Reference."""
    found = _parameters(value, frozenset({"disclosure", "consent"}))
    disclosure = _resource(found, "disclosure", ("AuditEvent",), body)
    if disclosure is None:
        raise _wrong("Parameters.parameter", "missing-parameter", "disclosure is required.")
    return Consulted(*disclosure, _consent_id(found, _reference(found, "consent")))


def _reference(found: dict[str, tuple[int, dict[str, Any]]], name: str) -> dict[str, Any]:
    index, parameter = found.get(name, (0, {}))
    reference = parameter.get("valueReference")
    if not isinstance(reference, dict):
        path = f"Parameters.parameter[{index}]" if name in found else "Parameters.parameter"
        raise _wrong(path, "missing-parameter", f"{name} must be a valueReference.")
    return reference


def _consent_id(found: dict[str, tuple[int, dict[str, Any]]], reference: dict[str, Any]) -> str:
    named = canonical(reference.get("reference"))
    if named is None or named.split("/")[-2] != "Consent":
        raise _wrong(f"Parameters.parameter[{found['consent'][0]}].valueReference.reference", "wrong-reference", "It must be Consent/{id}.")
    return named.rsplit("/", 1)[-1]


def report(found: Report, language: str, headline: str) -> bytes:
    """The enforceability report as an OperationOutcome: first what was done, then each element that carries a rule or a caution."""
    dialect = f"{found.detected}"
    issues = [Issue("information", "informational", "consent-dialect", f"{headline} ({dialect})")]
    for one in found.findings:
        severity = "warning" if one.issue == "business-rule" else "information"
        if one.outcome is Outcome.KEPT and one.code == "kept":
            continue
        issues.append(Issue(severity, one.issue, one.code, one.sentence(language), one.path))  # type: ignore[arg-type]
    return msgspec.json.encode(operation_outcome(issues))


def said(text: str, code: str) -> bytes:
    """An OperationOutcome with one piece of information."""
    return msgspec.json.encode(operation_outcome([Issue("information", "informational", code, text)]))


def searchset(resources: Sequence[tuple[str, bytes]], *, base: str, here: str) -> bytes:
    """A searchset of other resources: (``Type/id``, JSON)."""
    entries = [{"fullUrl": f"{base}/fhir/{name}", "resource": msgspec.Raw(body), "search": {"mode": "match"}} for name, body in resources]
    content = {"resourceType": "Bundle", "type": "searchset", "total": len(resources), "link": [{"relation": "self", "url": here}]}
    return msgspec.json.encode(content | ({"entry": entries} if entries else {}))


def bundle(kind: str, shown: tuple[Shown, ...], *, base: str, total: int, links: dict[str, str]) -> bytes:
    """A searchset or history Bundle of consents."""
    entries = [
        {
            "fullUrl": f"{base}/fhir/Consent/{one.id}",
            "resource": msgspec.Raw(one.body),
            **({"search": {"mode": "match"}} if kind == "searchset" else _change(one)),
        }
        for one in shown
    ]
    content = {
        "resourceType": "Bundle",
        "type": kind,
        "total": total,
        "link": [{"relation": relation, "url": url} for relation, url in links.items()],
        **({"entry": entries} if entries else {}),
    }
    return msgspec.json.encode(content)


def _change(one: Shown) -> dict[str, Any]:
    method, url, status = ("POST", "Consent", "201") if one.version == 1 else ("PUT", f"Consent/{one.id}", "200")
    at = one.updated_at.isoformat(timespec="milliseconds")
    return {"request": {"method": method, "url": url}, "response": {"status": status, "etag": one.etag, "lastModified": at}}
