"""OperationOutcome: how FHIR says that something went wrong.

Built through ``fhir.resources`` (R4B, whose OperationOutcome is R4's), so that what we send is checked by code that isn't ours.
Texts are ours and never repeat a value that was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from broker.errors import BrokerError
from broker.fhir.errors import issue_type, sentence
from broker.fhir.validate import problems

#: System of the broker's own codes in ``issue.details``.
CODES = "urn:broker:problem"

#: HTTP status → FHIR issue type; others are ``processing`` below 500 and ``exception`` above.
ISSUE_TYPES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    409: "conflict",
    410: "deleted",
    412: "conflict",
    413: "too-long",
    422: "processing",
    428: "required",
    429: "throttled",
    503: "transient",
    504: "timeout",
}


_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}(?:\[[0-9]{1,9}\])?"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,60}}(?=$|\.)")


@dataclass(frozen=True)
class Issue:
    """One issue of an OperationOutcome."""

    severity: Literal["fatal", "error", "warning", "information"]
    code: str  #: http://hl7.org/fhir/issue-type
    details_code: str = ""  #: the broker's permanent code
    text: str = ""
    expression: str = ""  #: FHIRPath of the element, if it is one


def operation_outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    """The resource as JSON-ready dict. Raises ValueError if an issue is not FHIR, which is a mistake of the caller."""
    from fhir.resources.R4B.operationoutcome import OperationOutcome  # Half a second of imports that a command without errors never needs.

    listed = []
    for issue in issues:
        entry: dict[str, Any] = {"severity": issue.severity, "code": issue.code}
        details: dict[str, Any] = {}
        if issue.details_code:
            details["coding"] = [{"system": CODES, "code": issue.details_code}]
        if issue.text:
            details["text"] = issue.text
        if details:
            entry["details"] = details
        if issue.expression:
            entry["expression"] = [issue.expression]
        listed.append(entry)
    checked = OperationOutcome.model_validate({"resourceType": "OperationOutcome", "issue": listed})
    outcome: dict[str, Any] = json.loads(checked.model_dump_json(exclude_none=True))
    if wrong := problems(outcome):  # The models let any severity and code pass.
        raise ValueError(f"{wrong[0].path}: {wrong[0].message}")
    return outcome


def _expression(path: str) -> str:
    """A FHIRPath as far as it can be read, since names in it may be anything; nothing where the path is a JSON pointer or no place."""
    found = _PATH.match(path)
    return found[0] if found else ""


def issues_of(error: BrokerError, language: str) -> list[Issue]:
    """An error as issues: itself with what to do next, then each of its problems."""
    fallback = "exception" if error.status >= 500 else "processing"
    severity: Literal["fatal", "error"] = "fatal" if error.status >= 500 else "error"
    # Details are in English; where problems follow, they say the same in the reader's language.
    spoken = error.detail != error.title("en") and (language == "en" or not error.problems)
    text = " ".join(part for part in (error.title(language), error.detail if spoken else "", error.help(language)) if part)
    first = Issue(severity, ISSUE_TYPES.get(error.status, fallback), error.code, text)
    return [
        first,
        *(Issue("error", issue_type(found), found.code, sentence(found, language), _expression(found.path)) for found in error.problems),
    ]


def render(error: BrokerError, language: str, request_id: str) -> dict[str, Any]:
    """The OperationOutcome that answers a request under ``/fhir``; ``id`` is the request number, to be told to the administrator."""
    outcome = operation_outcome(issues_of(error, language))
    return outcome | {"id": request_id} if request_id else outcome
