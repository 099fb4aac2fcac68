"""What no consent speaks of stays behind where the basis needs one, in a hospital of its own (PIPL 23; RS-4)."""

from __future__ import annotations

from broker import clock
from broker.demo.consents import evidence, filing, sharing_consent
from broker.demo.story import TREATMENT
from tests.integration.release.conftest import Agreed


def test_a_basis_that_needs_consent_outside_releases_no_more_than_the_patient_permitted(story):
    """PIPL 23: the contract of care does not stretch to another institution; what no consent speaks of stays behind (RS-4)."""
    patient = next(name for name in story.cast.patients if name != "p1001")
    given = sharing_consent(patient, "shengli", at=clock.now(), by_guardian=story.is_child(patient))
    given["provision"]["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": "Condition"}]
    story.person("deng.li").call("POST", "/fhir/Consent/$fileConsent", expected=201, body=filing(given, evidence(patient)))
    number = story.apply("gao.min", "shengli-cardiology", patient, "TREAT", "contract", TREATMENT)["number"]
    preview = story.decide(number, "song.yi", "deng.li")
    held = {one["resourceType"] for one in preview["patients"][0]["resources"]}
    token = story.system("shengli-his").token(number)["access_token"]
    sent = Agreed(story, patient, number, "", token, "shengli-his").everything().json()
    assert {one["resource"]["resourceType"] for one in sent["entry"]} == {"Condition"}
    assert held == {"Condition"}
