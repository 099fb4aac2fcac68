"""The published examples as a table: every consent of IHE PCF and the worked example of HL7's Consent notes (PI-3.1, TM-5.2).

``examples/*.json`` say for each consent who asks for what, what comes out, and why. No agreed outcome is published with them; the
reasons are those of the eight rules (docs/decisions/0008). Each is asked twice: offline, and by the compiled residual that a release asks.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.consent import times
from broker.consent.compiled import compile_statement
from broker.consent.enforceability import examine
from broker.consent.offline import Offline
from broker.consent.related import Related
from broker.consent.residual import Residual, gate_for
from broker.consent.resources import facts_of, labels_of
from broker.consent.values import Use
from broker.records import service as records
from tests.factories.consent import actors, classes, coding, concept, consent, labels, provision, purposes
from tests.unit.consent.asking import NOW

EXAMPLES = Path(__file__).parent / "examples"
PCF = json.loads((EXAMPLES / "pcf.json").read_text())
HL7 = json.loads((EXAMPLES / "hl7-notes.json").read_text())
#: IHE PCF 1.1 has 21 example consents over its versions; one was renamed when the code for sexual violence was corrected.
COUNT = 22


def written(one: dict) -> dict:
    """A provision as FHIR JSON."""
    made: dict = {}
    if "actor" in one:
        made |= actors(*one["actor"])
    if "purpose" in one:
        made |= {"purpose": [purposes(code)["purpose"][0] if "|" not in code else coding(*code.split("|")) for code in one["purpose"]]}
    if "securityLabel" in one:
        made |= labels(*one["securityLabel"])
    if "class" in one:
        made |= classes(*one["class"])
    if "data" in one:
        made |= {"data": [{"meaning": meaning, "reference": {"reference": reference}} for meaning, reference in one["data"]]}
    made |= {name: one[name] for name in ("period", "dataPeriod") if name in one}
    return provision(one.get("type"), made, nested=[written(nested) for nested in one.get("nested", ())])


def resource(given: dict) -> dict:
    made = {"resourceType": given["type"], "id": given["id"], "subject": {"reference": "Patient/p1"}}
    if given["labels"]:
        made["meta"] = {"security": labels(*given["labels"])["securityLabel"]}
    if "code" in given:
        made |= {"status": "final", "code": concept(*given["code"])}
    if "effective" in given:
        made["effectiveDateTime"] = given["effective"]
    if "encounter" in given:
        made["encounter"] = {"reference": f"Encounter/{given['encounter']}"}
    if "performer" in given:
        made["performer"] = [{"reference": given["performer"]}]
    return made


RESOURCES = {name: resource(one) for name, one in PCF["resources"].items() if name != "note"}
GROUP = {
    "resourceType": "Group",
    "id": "ex-privilegedUsers",
    "type": "practitioner",
    "actual": True,
    "member": [{"entity": {"reference": "Practitioner/ex-practitioner"}}],
}


def labelled(given):
    return tuple(one.code for one in records.labels_for(given))


def both_answers(given, asked, *, actor, purpose, at):
    """Offline, and by the residual as it is stored."""
    second = times.read(at).start
    everything = Related([GROUP, *RESOURCES.values(), asked], at=second)
    use = Use(frozenset({actor}), purpose, second)
    offline = Offline([given], use, everything, labelled)
    report = examine(given, actor=everything.actor, data=everything.data)
    stored = Residual.from_json("c", 1, json.loads(json.dumps(compile_statement(report.statement, "c", 1).to_json())))
    facts = facts_of(asked, labels_of(asked) or labelled(asked), everything)
    return {offline.verdict(asked).effect.value, gate_for([stored], use, everything.referred).verdict(facts).effect.value}


def full(root: dict) -> dict:
    return consent(
        written(root),
        meta={"profile": ["https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced"]},
        dateTime="2022-06-13",
        performer=[{"reference": "Patient/p1"}],
        organization=[{"reference": "Organization/ex-organization"}],
        sourceReference={"reference": "DocumentReference/ex-documentreference"},
    )


ROWS = [
    pytest.param(one["root"], row, id=f"{one['name']}-{number}-{row['purpose']}") for one in PCF["examples"] for number, row in enumerate(one["rows"])
]


@pytest.mark.parametrize("example", PCF["examples"], ids=lambda one: one["name"])
def test_each_pcf_example_is_read_named_and_enforced_or_refused_for_its_reason(example):
    report = examine(full(example["root"]), actor=Related([GROUP], at=times.read(NOW).start).actor)
    assert {one.code for one in report.refused} == set(example["refused"])
    assert (report.detected.dialect, report.detected.nesting, report.detected.profile) == ("typed-root", example["nesting"], "IHE PCF")
    assert report.structure == ()
    assert example["why"]
    assert all(row["why"] for row in example["rows"])


@pytest.mark.parametrize(("root", "row"), ROWS)
def test_each_row_comes_out_as_written(root, row):
    given, asked = full(root), {"actor": row["actor"], "purpose": row["purpose"], "at": row.get("at", NOW)}
    expected = {name: {outcome} for outcome in ("permit", "deny", "silent") for name in row.get(outcome, ())}
    assert {name: both_answers(given, RESOURCES[name], **asked) for name in expected} == expected, row["why"]


def test_none_of_the_examples_is_missing():
    assert len({one["name"] for one in PCF["examples"]}) == COUNT == len(PCF["examples"])
    asked = {name for one in PCF["examples"] for row in one["rows"] for outcome in ("permit", "deny", "silent") for name in row.get(outcome, ())}
    assert asked == set(RESOURCES)


@pytest.mark.parametrize("row", HL7["rows"], ids=lambda row: f"{row['purpose']}-{row['type']}-{'-'.join(row['labels'])}-{row['at'][:4]}")
def test_the_worked_example_of_the_consent_notes(row):
    given = consent(written(HL7["root"]))
    report = examine(given)
    assert (report.detected.dialect, report.detected.nesting, report.refused) == ("typed-root", "alternating", ())
    subject = "patient" if row["type"] in ("Claim", "ClaimResponse") else "subject"
    reference = {"reference": "Patient/p1"}
    asked = {"resourceType": row["type"], "id": "x", subject: [reference] if row["type"] == "Account" else reference}
    asked["meta"] = {"security": labels(*row["labels"])["securityLabel"]}
    assert both_answers(given, asked, actor=row["actor"], purpose=row["purpose"], at=row["at"]) == {row["outcome"]}, row["why"]
