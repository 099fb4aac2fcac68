"""One plain good case of each kind, and how to change it: what the decision table and the random facts start from."""

from __future__ import annotations

import copy
from typing import Any

from broker.policy.facts import (
    CallerFacts,
    ConsentFacts,
    Facts,
    GrantFacts,
    PatientFacts,
    RecipientFacts,
    RequesterFacts,
    RequestFacts,
    ResidencyFacts,
    WorkforceFacts,
)

DAY = 86_400
#: 2026-11-23T08:00:00Z
NOW = 1_795_420_800
TODAY = NOW - NOW % DAY


def release() -> dict[str, Any]:
    """A referral hospital fetches laboratory results and diagnoses of a patient who consented."""
    return {
        "question": "release",
        "at": NOW,
        "request": {
            "purpose": "TREAT",
            "lawful_basis": "consent",
            "data": [{"data_class": "clinical.laboratory"}, {"data_class": "clinical.diagnoses"}],
            "period_from": None,
            "period_until": None,
            "channel": "api",
            "urgency": "routine",
            "emergency": False,
            "retention_days": 30,
            "justification": True,
        },
        "grant": {
            "id": "grant-1",
            "application": "SA-2026-000001",
            "status": "active",
            "valid_from": NOW - 10 * DAY,
            "valid_until": NOW + 10 * DAY,
            "releases_used": 0,
            "releases_limit": None,
            "approved_by": 2,
        },
        "recipient": {
            "id": "shengli",
            "kind": "hospital",
            "relationship": "external",
            "status": "active",
            "jurisdiction": "CN",
            "agreement_until": NOW + 300 * DAY,
            "key_registered": True,
        },
        "requester": {"id": "person-1", "roles": ["applicant"], "active": True},
        "patient": {"key": "ab12", "match": "certain", "in_grant": True, "age": "adult"},
        "consent": {
            "base": "permit",
            "refused": False,
            "unenforceable": False,
            "epoch": 1,
            "consents": ["Consent/1"],
            "valid_until": None,
            "givers": ["patient"],
            "separate": ["other-processor", "sensitive"],
        },
        "caller": {
            "client": "shengli-emr",
            "organization": "shengli",
            "status": "active",
            "token_grant": "grant-1",
            "token_purpose": "TREAT",
            "types": ["*"],
        },
        "wanted_types": [],
        "workforce": None,
        "residency": None,
    }


def assessment() -> dict[str, Any]:
    """The same before approval."""
    return changed(
        release(),
        {"question": "assess", "caller": None, "grant.status": "proposed", "grant.approved_by": 0, "patient.in_grant": False},
    )


def emergency() -> dict[str, Any]:
    """Break-glass for four hours, nobody asked beforehand."""
    return changed(
        release(),
        {
            "request.purpose": "BTG",
            "request.lawful_basis": "vital_interests",
            "request.urgency": "emergency",
            "request.emergency": True,
            "consent.base": "silent",
            "caller.token_purpose": "BTG",
            "grant.approved_by": 0,
            "grant.valid_from": NOW - 60,
            "grant.valid_until": NOW + 3 * 3600,
        },
    )


STARTS = {"release": release, "assess": assessment, "emergency": emergency}


def changed(facts: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The facts with other values at dotted paths."""
    result = copy.deepcopy(facts)
    for path, value in changes.items():
        *above, last = path.split(".")
        place = result
        for step in above:
            place = place[step]
        place[last] = copy.deepcopy(value)
    return result


def _tuples(form: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in form.items()}


def as_facts(form: dict[str, Any]) -> Facts:
    """The JSON form as the value that an engine takes."""
    request = {**form["request"], "data": tuple(form["request"]["data"])}
    return Facts(
        question=form["question"],
        at=form["at"],
        request=RequestFacts(**request),
        grant=GrantFacts(**form["grant"]),
        recipient=RecipientFacts(**form["recipient"]),
        requester=RequesterFacts(**{**form["requester"], "roles": tuple(form["requester"]["roles"])}),
        patient=PatientFacts(**form["patient"]),
        consent=ConsentFacts(**_tuples(form["consent"])),
        caller=None if form["caller"] is None else CallerFacts(**{**form["caller"], "types": tuple(form["caller"]["types"])}),
        wanted_types=tuple(form["wanted_types"]),
        workforce=None if form["workforce"] is None else WorkforceFacts(**_tuples(form["workforce"])),
        residency=None if form["residency"] is None else ResidencyFacts(**_tuples(form["residency"])),
    )
