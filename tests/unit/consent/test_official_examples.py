"""HL7's own twelve Consent examples of R4: each is named by its dialect, and enforced or refused for a stated reason.

They contradict each other and R4 (docs/decisions/0008-consent-rules.md), so what is asked is that none lets out what its narrative
withholds. ``None`` in place of refusals: it can be filed.
"""

from __future__ import annotations

import json

import pytest

from broker.consent.enforceability import examine
from tests.conftest import SHARED
from tests.factories.consent import observation
from tests.unit.consent.asking import effect

EXAMPLES = SHARED / "fhir" / "consent-examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="HL7's examples are not on this machine")

UNTYPED = "r4-policy-rule"
#: name → (dialect, nesting, codes of what is refused)
EXPECTED = {
    # "An overall deny, with an exception permit of ETREAT": the root is the exception here, and the frame in the next ones.
    "Emergency": (UNTYPED, "explicit", {"role-not-recipient", "ambiguous-root"}),
    "Out": (UNTYPED, "none", {"role-not-recipient", "ambiguous-root"}),
    "basic": (UNTYPED, "none", None),
    "grantor": (UNTYPED, "none", {"role-not-recipient", "ambiguous-root"}),
    # "… restricted from disclosure to every provider", written as an opt-in whose root names a custodian.
    "notAuthor": (UNTYPED, "none", {"role-not-recipient", "ambiguous-root"}),
    "notOrg": ("typed-root", "none", None),
    "notThem": (UNTYPED, "none", {"ambiguous-root"}),
    "notThis": (UNTYPED, "none", {"ambiguous-root"}),
    # "Withhold … published during a timeframe", written as the period within which the opt-in holds. It ended in 2015.
    "notTime": (UNTYPED, "none", None),
    "pkb": (UNTYPED, "alternating", {"ambiguous-root"}),
    "signature": (UNTYPED, "explicit", {"role-not-recipient", "unknown-code", "ambiguous-root"}),
    "smartonfhir": (UNTYPED, "explicit", None),
}

#: By whom each example is meant to be used, where it says so.
ACTORS = ("Organization/f001", "Practitioner/f204", "Practitioner/13", "Practitioner/xcda-author", "Patient/example", "Organization/elsewhere")


@pytest.fixture(params=sorted(EXPECTED))
def example(request):
    return request.param, json.loads((EXAMPLES / f"{request.param}.json").read_text())


def test_each_is_named_and_enforced_or_refused_for_a_reason(example):
    name, consent = example
    report = examine(consent)
    dialect, nesting, refused = EXPECTED[name]
    assert (report.detected.dialect, report.detected.nesting) == (dialect, nesting)
    assert {one.code for one in report.refused} == (refused or set())
    assert report.structure == ()
    assert report.enforceable == (refused is None)


def test_none_is_missing():
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("at", ["2015-11-18T12:00:00Z", "2026-11-01T12:00:00Z"])
def test_none_lets_out_what_its_narrative_withholds(example, at):
    name, consent = example
    patient = consent["patient"]["reference"].removeprefix("Patient/")
    for label in (("N",), ("R", "PSY"), ("V", "SEX")):
        resource = observation(label=label, patient=patient, basedOn=[{"reference": "Task/example3"}])
        for actor in ACTORS:
            for purpose in ("TREAT", "ETREAT", "HRESCH"):
                given = effect(consent, resource, actor=actor, purpose=purpose, at=at)
                # "All of the PHI … available for normal treatment use", until 2016.
                allowed = name == "basic" and at < "2016"
                assert given != "permit" or allowed, (name, actor, purpose, label)


def test_the_task_that_was_to_be_withheld_is():
    consent = json.loads((EXAMPLES / "notThis.json").read_text())
    task = {"resourceType": "Task", "id": "example3", "for": {"reference": "Patient/f001"}, "meta": observation()["meta"]}
    assert effect(consent, task) != "permit"


def test_the_organisation_that_was_to_be_kept_out_is():
    consent = json.loads((EXAMPLES / "notOrg.json").read_text())
    assert effect(consent, observation(patient="f001"), actor="Organization/f001") == "deny"
    assert effect(consent, observation(patient="f001"), actor="Organization/other") == "silent"


def test_within_its_half_hour_the_smart_authorisation_speaks():
    consent = json.loads((EXAMPLES / "smartonfhir.json").read_text())
    request = {"resourceType": "MedicationRequest", "id": "m", "subject": {"reference": "Patient/xcda"}, "meta": observation()["meta"]}
    assert effect(consent, request, at="2016-06-23T17:10:00+10:00") == "permit"
    assert effect(consent, request, at="2016-06-23T17:33:00+10:00") == "silent"
