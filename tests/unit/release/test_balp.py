"""Disclosures and decisions claim profiles of IHE BALP, so they are held to them: constraints as tables, each seen to fail when it is broken."""

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


AUTHZ = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.AuthZconsent"
AUTHZ_SUBTYPES = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
TERMS = "http://terminology.hl7.org/CodeSystem/"
SLICES = {
    "client": (DCM, "110150"), "user": (f"{TERMS}v3-ParticipationType", "IRCP"), "userorg": (f"{TERMS}v3-RoleClass", "PROV"),
    "authorizer": (f"{TERMS}extra-security-role-type", "authserver"),
}  # fmt: skip
#: What no slice of an agent may have (0..0).
NEVER = {
    "client": {"role", "altId", "name", "location", "media", "purposeOfUse"},
    "user": {"altId", "location", "media", "network"},
    "userorg": {"role", "altId", "name", "location", "policy", "media", "network"},
    "authorizer": {"role", "altId", "name", "location", "policy", "media", "network", "purposeOfUse"},
}


def sliced(event, name):
    return [one for one in event.get("agent", []) if coded(one.get("type", {}).get("coding", []), *SLICES[name])]


def consented(event):
    return [one for one in event.get("entity", []) if coded([one.get("type", {})], "http://hl7.org/fhir/resource-types", "Consent")]


#: IHE ITI TF BasicAudit, IHE.BasicAudit.AuthZconsent: element, cardinality or fixed value → whether an event keeps it.
AUTHZ_CONSTRAINTS = {
    "meta.profile claims it": lambda e: AUTHZ in e.get("meta", {}).get("profile", []),
    "modifierExtension 0..0": lambda e: "modifierExtension" not in e,
    "type = DCM#110113 Security Alert": lambda e: coded([e["type"]], DCM, "110113"),
    "subtype 1..* of AuthZsubTypeVS": lambda e: (
        bool(e["subtype"]) and all(one["system"] == AUTHZ_SUBTYPES and one["code"] in {"AuthZ-Consent", "AuthZ-Role"} for one in e["subtype"])
    ),
    "action = E": lambda e: e.get("action") == "E",
    "outcome 1..1 of its value set": lambda e: e.get("outcome") in {"0", "4", "8", "12"},
    "agent slices 1..1 each": lambda e: all(len(sliced(e, name)) == 1 for name in SLICES),
    "agent.who 1..1": lambda e: all(bool(sliced(e, name)[0].get("who")) for name in SLICES),
    "agent:client.network 1..1": lambda e: networked(sliced(e, "client")[0]),
    "agent:user.requestor = true": lambda e: sliced(e, "user")[0]["requestor"] is True,
    "agent:userorg, authorizer.requestor = false": lambda e: all(sliced(e, name)[0]["requestor"] is False for name in ("userorg", "authorizer")),
    "agent slices have nothing that is 0..0": lambda e: all(not NEVER[name] & sliced(e, name)[0].keys() for name in SLICES),
    "agent:authorizer is the source (val-audit-source)": lambda e: sliced(e, "authorizer")[0]["who"] == e["source"]["observer"],
    "entity:patient 1..1, named": lambda e: len(entities(e, "1", "1")) == 1 and bool(entities(e, "1", "1")[0].get("what")),
    "entity is closed": lambda e: len(entities(e, "1", "1")) + len(consented(e)) == len(e["entity"]),
    "entity:consent 1..*": lambda e: len(consented(e)) >= 1,
    "entity:consent.what 1..1": lambda e: all(one.get("what") for one in consented(e)),
}


def recorded(kind, outcome):
    facts = {"items": 3, "bytes": 900, "digest": "ab" * 32, "manifest": "cd" * 32, "types": ["Observation", "Patient"], "reasons": ["consent.denied"]}
    return Recorded(UUID(int=1), datetime(2026, 11, 2, 8, tzinfo=UTC), kind, "client:yihe-his", "SA-2026-000001", "yihe", "TREAT", UUID(int=2),
                    UUID(int=3), outcome, facts)  # fmt: skip


def made(kind="release.sent", outcome="sent", patient="p1"):
    return audit_event(recorded(kind, outcome), base_url="https://broker.hospital.example", hospital="renhe", patient=patient)


def decided(kind="release.permitted", consents=("c1",)):
    outcome = "permit" if kind.endswith("permitted") else "deny"
    return audit_event(recorded(kind, outcome), base_url="https://broker.hospital.example", hospital="renhe", patient="p1", consents=consents)


def broken_constraints(event):
    return broken(CONSTRAINTS, event)


def broken(constraints, event):
    found = []
    for name, holds in constraints.items():
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
def test_a_decision_without_a_named_consent_claims_no_profile_and_has_its_codes(kind):
    """AuthZconsent demands the Consent by name, which no log entry holds; the codes say the same without it."""
    event = made(kind, "permit" if kind.endswith("permitted") else "deny")
    AuditEvent.model_validate(event)
    assert "meta" not in event
    assert broken(AUTHZ_CONSTRAINTS, event) == ["meta.profile claims it", "entity is closed", "entity:consent 1..*"]
    assert event["outcome"] == ("0" if kind.endswith("permitted") else "4")
    assert len(entities(event, "2", "4")) == 1


@pytest.mark.parametrize("kind", DECISIONS)
@pytest.mark.parametrize("consents", [["c1"], ["c1", "c2"]])
def test_a_decision_whose_consents_are_named_keeps_the_profile_that_it_claims(kind, consents):
    event = decided(kind, consents)
    AuditEvent.model_validate(event)
    assert broken(AUTHZ_CONSTRAINTS, event) == []
    assert [one["what"]["reference"] for one in consented(event)] == [f"Consent/{one}" for one in consents]
    assert {"application", "log-proof", "release"} <= {one["type"] for one in consented(event)[0]["detail"]}


def test_a_disclosure_names_no_consent():
    event = audit_event(recorded("release.sent", "sent"), base_url="https://b", hospital="renhe", patient="p1", consents=["c1"])
    assert "Consent/" not in str(event)
    assert broken_constraints(event) == []


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


#: One break for each constraint of AuthZconsent, in the order of its table.
AUTHZ_BREAKS = [
    without("meta"), put([{"url": "urn:x"}], "modifierExtension"), put("110106", "type", "code"), put("disclose", "subtype", 0, "code"),
    put("R", "action"), without("outcome"), lambda e: e["agent"].append(copy.deepcopy(e["agent"][2])), without("agent", 1, "who"),
    without("agent", 0, "network"), put(False, "agent", 1, "requestor"), put(True, "agent", 2, "requestor"), put("x", "agent", 3, "name"),
    put({"display": "x"}, "agent", 3, "who"), without("entity", 0, "what"),
    lambda e: e["entity"].append({"what": {"display": "x"}, "type": {"system": f"{TERMS}audit-entity-type", "code": "2"}}),
    lambda e: e["entity"].pop(1), without("entity", 1, "what"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(AUTHZ_CONSTRAINTS)))
def test_each_constraint_of_decisions_can_fail(at):
    event = decided()
    AUTHZ_BREAKS[at](event)
    assert list(AUTHZ_CONSTRAINTS)[at] in broken(AUTHZ_CONSTRAINTS, event)
    assert len(AUTHZ_BREAKS) == len(AUTHZ_CONSTRAINTS)
