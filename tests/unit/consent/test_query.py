"""Searching consents: parameters that are served, and what they find."""

from __future__ import annotations

import pytest

from broker.consent.query import MAX_COUNT, BadQuery, Query, identifiers, meets, read
from tests.factories.consent import actors, consent, labels, provision, r5

EXTENSION = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent."


def asked(**values):
    found = read([("patient", "p1"), *((name.replace("__", "."), value) for name, value in values.items())])
    assert isinstance(found, Query), found
    return found


def test_names_of_the_three_sources_mean_the_same():
    assert read([("patientId", "urn:x|1")]).values == read([("patient:identifier", "urn:x|1")]).values == {"patient.identifier": ("urn:x|1",)}
    assert asked(grantee="x").values == asked(actor="x").values
    assert asked(_count="100000").count == MAX_COUNT
    assert asked(_count="0").count == 0
    assert asked(status="active,inactive").values["status"] == ("active", "inactive")


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("status", "active")],
        [("patient", "a"), ("patient", "b")],
        [("patient", "")],
        [("patient", "a\x00")],
        [("patient", "x" * 1001)],
        [("patient", "a"), ("unknown", "b")],
        [("patient", "a"), ("date", "soon")],
        [("patient", "a"), ("date", "sa2020")],
        [("patient", "a"), ("_count", "1.5")],
        [("patient", "a"), ("_offset", "-1")],
        [("patient", "a"), ("_format", "xml")],
    ],
)
def test_refused(pairs):
    assert isinstance(read(pairs), BadQuery)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-01-02", True),
        ("eq2026-01", True),
        ("2026-01-03", False),
        ("ge2026-01-02", True),
        ("ge2026-01-03", False),
        ("le2026-01-02", True),
        ("le2026-01-01", False),
        ("gt2026-01-01", True),
        ("gt2026-01-02", False),
        ("lt2026-01-03", True),
        ("lt2026-01-02", False),
    ],
)
def test_dates(date, expected):
    assert meets(consent(dateTime="2026-01-02"), asked(date=date)) == expected
    assert meets(r5("permit", date="2026-01-02"), asked(date=date)) == expected
    assert not meets(consent(dateTime=None), asked(date=date))


def test_codes_and_parties():
    nested = provision("permit", nested=[provision("deny", actors("Organization/a"), labels("R"))])
    given = consent(
        nested,
        organization=[{"reference": "Organization/o", "identifier": {"system": "urn:o", "value": "1"}}],
        extension=[
            {"url": EXTENSION + "controller", "valueReference": {"reference": "Organization/c", "identifier": {"value": "2"}}},
            {"url": "urn:other"},
        ],
    )
    for name, value, expected in (
        ("scope", "patient-privacy", True),
        ("scope", "http://terminology.hl7.org/CodeSystem/consentscope|patient-privacy", True),
        ("scope", "|patient-privacy", False),
        ("scope", "research,patient-privacy", True),
        ("category", "http://loinc.org|59284-0", True),
        ("category", "urn:x|59284-0", False),
        ("actor", "Organization/a", True),
        ("actor", "a", True),
        ("actor", "Organization/b", False),
        ("controller", "Organization/c", True),
        ("manager", "Organization/c", False),
        ("organization", "o", True),
        ("organizationId", "urn:o|1", True),
        ("organizationId", "2", True),
        ("organizationId", "urn:x|1", False),
    ):
        assert meets(given, asked(**{name: value})) == expected, (name, value)
    assert meets(r5("permit", manager=[{"reference": "Organization/m"}]), asked(manager="Organization/m"))
    assert meets(r5("permit", actors("Organization/a")), asked(actor="Organization/a"))
    assert not meets({"scope": "x", "category": "y", "provision": "z", "extension": 1}, asked(scope="x", category="y", actor="z", controller="1"))


def test_tokens():
    assert identifiers(["urn:x|1", "2", "|3"]) == {"urn:x|1", "|2", "|3"}
