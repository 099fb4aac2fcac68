"""The report: every element has an outcome, cautions are given, dialects are named."""

from __future__ import annotations

import json

import pytest

from broker.consent.dialects import detect
from broker.consent.enforceability import examine
from broker.consent.findings import SENTENCES, Outcome
from tests.factories.consent import actors, classes, consent, data, identifier, labels, provision, purposes, r5

EXTENSION = [{"url": "urn:x", "valueString": "y"}]


def outcomes(given, **more):
    return {(one.path, one.code) for one in examine(given, **more).findings}


def test_every_element_has_its_line():
    given = consent(
        provision(
            "permit",
            actors("Organization/a"),
            purposes("TREAT"),
            labels("N"),
            period={"start": "2026"},
            nested=[provision("deny", data("related", "Encounter/e"))],
        ),
        identifier=identifier(),
        extension=EXTENSION,
        verification=[{"verified": True}],
        policyRule={"text": "our policy"},
    )
    report = examine(given)
    assert report.enforceable
    assert {one.path for one in report.findings if one.outcome is Outcome.ENFORCED} == {
        "Consent.status",
        "Consent.scope",
        "Consent.provision.type",
        "Consent.provision.period",
        "Consent.provision.actor[0].role",
        "Consent.provision.actor[0].reference",
        "Consent.provision.purpose[0]",
        "Consent.provision.securityLabel[0]",
        "Consent.provision.provision[0].type",
        "Consent.provision.provision[0].data[0].reference",
        "Consent.provision.provision[0].data[0].meaning",
        "Consent.patient",
    }
    assert {one.path.split(".")[1] for one in report.findings} == given.keys()


def test_both_readings_of_related_are_named():
    nested = [provision("deny", data("related", "Encounter/e", "DiagnosticReport/r"))]
    place = "Consent.provision.provision[0].data[{}].meaning".format
    typed = outcomes(consent(provision("permit", nested=nested)))
    assert {(place(0), "related-belongs"), (place(1), "related-refers")} <= typed
    untyped = outcomes(consent(provision(None, nested=nested), directive="OPTIN"))
    assert {(place(0), "related-refers"), (place(1), "related-refers")} <= untyped


def test_an_exception_that_holds_for_more_people_than_the_root_is_pointed_out():
    given = consent(
        provision("permit", actors("Organization/a"), purposes("TREAT"), nested=[provision("permit", labels("R")), provision("deny", labels("HIV"))])
    )
    found = {one.code for one in examine(given).findings if one.path == "Consent.provision.provision[0]"}
    assert found == {"open-actors", "open-purposes"}
    assert not {one for one in examine(given).findings if one.path == "Consent.provision.provision[1]"}
    assert examine(given).enforceable
    same = consent(provision("permit", actors("Organization/a"), nested=[provision("permit", actors("Organization/a"), labels("R"))]))
    assert "open-actors" not in {one.code for one in examine(same).findings}


def test_what_is_not_r4_is_refused_with_it_and_r5_is_kept():
    assert examine(consent(category=None)).structure
    assert not examine(consent(category=None)).enforceable
    assert examine(r5("permit")).enforceable
    assert ("Consent.subject", "patient-unresolved") in outcomes(r5("permit") | {"subject": None})
    assert ("Consent.patient", "patient-unresolved") in outcomes(consent(provision("permit"), patient=None) | {"patient": "p1"})


def test_a_scope_that_is_absent_is_read_as_privacy_but_r4_asks_for_it():
    report = examine(
        consent(provision("permit")) | {"scope": None}
        if False
        else {key: value for key, value in consent(provision("permit")).items() if key != "scope"}
    )
    assert ("Consent.scope", "scope-absent") in {(one.path, one.code) for one in report.findings}
    assert [path for path, _ in report.structure] == ["Consent.scope"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"resourceType": "Patient"},
        {"resourceType": "Consent", "provision": None},
        {"provision": [[[]]]},
        {
            "resourceType": "Consent",
            "scope": [],
            "status": {},
            "policyRule": 1,
            "identifier": "x",
            "extension": [1],
            "meta": [],
            "verification": 3,
            "dateTime": 4,
            "sourceReference": 5,
        },
    ],
)
def test_anything_can_be_examined(given):
    report = examine(given)
    assert not report.enforceable
    json.dumps(report.to_json("zh"))


def test_a_denial_of_what_nothing_is_labelled_with():
    assert ("Consent.provision.securityLabel", "label-not-assigned") in outcomes(consent(provision("deny", labels("DIA"))))
    assert ("Consent.provision.securityLabel", "label-found-under") in outcomes(consent(provision("deny", labels("ETH", "R"))))
    assert not {code for _, code in outcomes(consent(provision("permit", labels("DIA"))))} & {"label-not-assigned"}
    assert not {code for _, code in outcomes(consent(provision("deny", labels("SPI", "HIV", "R"))))} & {"label-not-assigned", "label-found-under"}
    widened = examine(consent(provision("deny", labels("ETH")))).statement.provisions[0].when.labels
    assert widened == {"ETH", "SUD"}


def test_dialects():
    def named(given):
        found = detect(given)
        return found.dialect.value, found.nesting.value, found.profile

    assert named(consent(provision("permit"), meta={"profile": ["https://profiles.ihe.net/ITI/PCF/StructureDefinition/x"]})) == (
        "typed-root",
        "none",
        "IHE PCF",
    )
    assert named(
        consent(provision("permit", nested=[provision("deny", labels("R"))]), meta={"profile": [1, "http://hl7.org/fhir/us/consent-management/x"]})
    ) == ("typed-root", "explicit", "HL7 FAST")
    assert named(consent(provision(None, nested=[provision(None, labels("R"))]), directive="OPTIN")) == ("r4-policy-rule", "alternating", "")
    mixed = [provision("deny", labels("R"), nested=[provision(None, classes("Observation"))])]
    assert named(consent(provision("permit", nested=mixed))) == ("typed-root", "mixed", "")
    assert named(r5("permit", labels("R"))) == ("r5-decision", "alternating", "")
    assert named(consent()) == ("no-base", "none", "")
    assert named(consent([labels("R")])) == ("no-base", "alternating", "")
    assert str(detect(r5("deny"))) == "r5-decision, none nesting"


def test_every_sentence_is_there_in_both_languages():
    for english, chinese, issue in SENTENCES.values():
        assert english.endswith(".")
        assert chinese.endswith("。")
        assert issue
    used = {one.code for given in (consent(provision("permit")), consent(), r5("deny")) for one in examine(given).findings}
    assert used <= set(SENTENCES)
