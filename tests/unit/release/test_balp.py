"""Disclosures claim a profile of IHE BALP, so they are held to it: its constraints as a table, each of which is seen to fail when it is broken."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from broker.audit.service import Recorded
from broker.release.balp import DECISIONS, DISCLOSURES, audit_event

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SOURCE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"


def coded(codings, system, code):
    return any(one.get("system") == system and one.get("code") == code for one in codings)


def agents(event, code):
    return [one for one in event.get("agent", []) if coded(one.get("type", {}).get("coding", []), DCM, code)]


def entities(event, type_, role):
    system = "http://terminology.hl7.org/CodeSystem/"
    return [
        one
        for one in event.get("entity", [])
        if coded([one.get("type", {})], f"{system}audit-entity-type", type_) and coded([one.get("role", {})], f"{system}object-role", role)
    ]


def networked(agent):
    return bool(agent.get("network", {}).get("address")) and agent["network"].get("type") in {"1", "2", "3", "4", "5"}


#: IHE ITI TF BasicAudit, IHE.BasicAudit.PrivacyDisclosure.Source: element, cardinality or fixed value → whether an event keeps it.
CONSTRAINTS = {
    "meta.profile claims it": lambda e: SOURCE in e.get("meta", {}).get("profile", []),
    "type = DCM#110106 Export": lambda e: coded([e["type"]], DCM, "110106"),
    "subtype includes iso-21089-lifecycle#disclose": lambda e: coded(
        e.get("subtype", []), "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "disclose"
    ),
    "action = R": lambda e: e.get("action") == "R",
    "recorded is an instant with a zone": lambda e: bool(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", e.get("recorded", ""))
    ),
    "outcome 1..1 of its value set": lambda e: e.get("outcome") in {"0", "4", "8", "12"},
    "agent:source 1..1": lambda e: len(agents(e, "110153")) == 1,
    "agent:source.who = source.observer": lambda e: agents(e, "110153")[0]["who"] == e["source"]["observer"],
    "agent:source.network 1..1": lambda e: networked(agents(e, "110153")[0]),
    "agent:recipient 1..1": lambda e: len(agents(e, "110152")) == 1,
    "agent:recipient.who 1..1": lambda e: bool(agents(e, "110152")[0].get("who")),
    "agent:recipient.network 1..1": lambda e: networked(agents(e, "110152")[0]),
    "agent.requestor 1..1": lambda e: all(isinstance(one.get("requestor"), bool) for one in e["agent"]),
    "entity:patient 1..1": lambda e: len(entities(e, "1", "1")) == 1,
    "entity:patient.what 1..1": lambda e: bool(entities(e, "1", "1")[0].get("what")),
    "entity:data 1..*": lambda e: len(entities(e, "2", "4")) >= 1,
    "entity:data.what 1..1": lambda e: all(one.get("what") for one in entities(e, "2", "4")),
    "purposeOfEvent of PurposeOfUse": lambda e: all(
        one["coding"][0]["system"] == "http://terminology.hl7.org/CodeSystem/v3-ActReason" for one in e.get("purposeOfEvent", [])
    ),
}


def recorded(kind, outcome):
    facts = {"items": 3, "bytes": 900, "digest": "ab" * 32, "manifest": "cd" * 32, "types": ["Observation", "Patient"], "reasons": ["consent.denied"]}
    return Recorded(UUID(int=1), datetime(2026, 11, 2, 8, tzinfo=UTC), kind, "client:yihe-his", "SA-2026-000001", "yihe", "TREAT", UUID(int=2),
                    UUID(int=3), outcome, facts)  # fmt: skip


def made(kind="release.sent", outcome="sent", patient="p1"):
    return audit_event(recorded(kind, outcome), base_url="https://broker.hospital.example", hospital="renhe", patient=patient)


def broken_constraints(event):
    found = []
    for name, holds in CONSTRAINTS.items():
        try:
            kept = holds(event)
        except (KeyError, IndexError):
            kept = False
        if not kept:
            found.append(name)
    return found


@pytest.mark.parametrize("kind", DISCLOSURES)
@pytest.mark.parametrize("patient", ["p1", None])
def test_every_disclosure_keeps_the_profile_that_it_claims(kind, patient):
    event = made(kind, kind.removeprefix("release."), patient)
    AuditEvent.model_validate(event)
    assert broken_constraints(event) == []


@pytest.mark.parametrize("kind", DECISIONS)
def test_a_decision_claims_no_profile_and_has_its_codes(kind):
    """AuthZconsent demands the Consent by name, which no log entry holds; the codes say the same without it."""
    event = made(kind, "permit" if kind.endswith("permitted") else "deny")
    AuditEvent.model_validate(event)
    assert "meta" not in event
    assert coded([event["type"]], DCM, "110113")
    assert coded(event["subtype"], "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType", "AuthZ-Consent")
    assert event["action"] == "E"
    assert event["outcome"] == ("0" if kind.endswith("permitted") else "4")
    assert event["agent"][1]["who"] == event["source"]["observer"]
    assert len(entities(event, "1", "1")) == 1


def without(*path):
    def change(event):
        for part in path[:-1]:
            event = event[part]
        del event[path[-1]]

    return change


def put(value, *path):
    def change(event):
        for part in path[:-1]:
            event = event[part]
        event[path[-1]] = value

    return change


#: One break for each constraint, in the order of the table.
BREAKS = [
    without("meta"), put("110107", "type", "code"), put("access", "subtype", 0, "code"), put("C", "action"), put("2026-11-02", "recorded"),
    without("outcome"),
    lambda e: e["agent"].append(copy.deepcopy(e["agent"][0])), put({"display": "x"}, "agent", 0, "who"), without("agent", 0, "network"),
    lambda e: e["agent"].pop(1), without("agent", 1, "who"), without("agent", 1, "network"), without("agent", 1, "requestor"),
    lambda e: e["entity"].append(copy.deepcopy(e["entity"][0])), without("entity", 0, "what"), lambda e: e["entity"].pop(1),
    without("entity", 1, "what"),
    put("urn:x", "purposeOfEvent", 0, "coding", 0, "system"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(CONSTRAINTS)))
def test_each_constraint_can_fail(at):
    event = made()
    BREAKS[at](event)
    assert list(CONSTRAINTS)[at] in broken_constraints(event)
    assert len(BREAKS) == len(CONSTRAINTS)
