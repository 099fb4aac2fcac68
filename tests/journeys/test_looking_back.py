"""Who looks back: the patient's accounting, the auditor's FHIR AuditEvents, the supervisor's feed (RS-6.2.3, PI-3.3, ID-3.2).

A system fetches twice, once what it may and once what it may not. Afterwards three people see it, each in the form that is theirs.
"""

from __future__ import annotations

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle

from broker.audit.note import Verifier
from broker.demo.client import expect
from broker.demo.story import TREATMENT, Story
from tests import outside_verifier

PATIENT = "p1001"


@pytest.fixture(scope="module")
def exchange(story: Story) -> str:
    story.file_consent(PATIENT, "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)
    story.decide(application["number"], "song.yi", "deng.li")
    token = story.system("shengli-his").token(application["number"])["access_token"]
    expect(story.system("shengli-his").fetch("GET", f"/fhir/Patient/{PATIENT}/$everything", token), 200)
    assert story.system("shengli-his").fetch("GET", "/fhir/Patient/p1002/$everything", token).status_code == 403
    story.verify_log()  # Seals what was recorded.
    return application["number"]


def ask(story: Story, who: str, path: str, **query):
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    return story.person(who).call("GET", f"{path}?{pairs}" if pairs else path)


AUDITOR = "cao.yan"


def test_the_accounting_names_each_disclosure_with_its_proof(story, exchange):
    told = expect(ask(story, "deng.li", "/api/v1/disclosures", patient=PATIENT), 200).json()
    (row,) = [one for one in told["disclosures"] if one["application"] == exchange]
    assert (row["outcome"], row["purpose"], bool(row["items"]), bool(row["recipient_name"])) == ("sent", "TREAT", True, True)
    assert sum(row["kinds"].values()) == row["items"]
    assert told["by_recipient"][row["recipient"]] >= 1
    assert told["complete"]
    # Each proof is checked by a verifier that is not ours, and holds the entry that it names.
    settings, keys = story.installation.settings, story.installation.keys
    vkey = Verifier.of(settings.log_origin, keys.log_signer).vkey
    for address in row["proofs"]:
        path = address.removeprefix(settings.base_url)
        receipt = expect(story.person("deng.li").call("GET", path), 200).text
        with story.installation.database.transaction() as session:
            (leaf,) = session.connection().exec_driver_sql("SELECT leaf FROM audit_event WHERE id = %s", (path.rpartition("/")[2],)).one()
        assert outside_verifier.check_receipt(receipt, leaf.encode(), vkey).size > 0
    assert expect(ask(story, "deng.li", "/api/v1/disclosures", patient="p1009"), 200).json()["disclosures"] == []


def test_the_accounting_is_handed_over_with_its_receipts_and_on_paper(story, exchange):
    """Page, JSON with receipts, PDF (QA-4.2): what is handed over proves itself without asking the hospital again."""
    told = expect(ask(story, "deng.li", "/api/v1/disclosures", patient=PATIENT, receipts="true"), 200).json()
    (row,) = [one for one in told["disclosures"] if one["application"] == exchange]
    settings, keys = story.installation.settings, story.installation.keys
    vkey = Verifier.of(settings.log_origin, keys.log_signer).vkey
    assert len(row["receipts"]) == len(row["proofs"]) == 2
    for address, receipt in zip(row["proofs"], row["receipts"], strict=True):
        with story.installation.database.transaction() as session:
            (leaf,) = session.connection().exec_driver_sql("SELECT leaf FROM audit_event WHERE id = %s", (address.rpartition("/")[2],)).one()
        assert outside_verifier.check_receipt(receipt, leaf.encode(), vkey).size > 0
    for language in ("zh", "en"):
        answer = expect(ask(story, "deng.li", "/api/v1/disclosures/file", patient=PATIENT, language=language), 200)
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.content.startswith(b"%PDF-")
        assert b"pdfaid" in answer.content, "PDF/A says so"
    story.person("gao.min").call("GET", f"/api/v1/disclosures/file?patient={PATIENT}", expected=403)


def test_asking_about_one_patient_is_on_record_whichever_view_answers(story, exchange):
    def searches() -> list[str]:
        with story.installation.database.transaction() as session:
            query = "SELECT actor FROM audit_event WHERE type = 'transmissions.searched' AND patient_key = %s ORDER BY xid, seq"
            return [row[0] for row in session.connection().exec_driver_sql(query, (story.installation.keys.patient_key("p1008"),))]

    for number, (who, path) in enumerate(
        [
            ("deng.li", "/api/v1/disclosures"),
            ("deng.li", "/api/v1/disclosures/file"),
            ("deng.li", "/api/v1/transmissions"),
            (AUDITOR, "/log/fhir/AuditEvent"),
        ],
        1,
    ):
        ask(story, who, path, patient="p1008")
        assert len(searches()) == number
    ask(story, "deng.li", "/api/v1/transmissions", recipient="shengli")
    assert len(searches()) == 4


def test_decisions_and_disclosures_are_fhir_audit_events(story, exchange):
    bundle = expect(ask(story, AUDITOR, "/log/fhir/AuditEvent", patient=PATIENT), 200).json()
    Bundle.model_validate(bundle)
    found = [entry["resource"] for entry in bundle["entry"]]
    for one in found:
        AuditEvent.model_validate(one)
    told = {(one["type"]["code"], one["outcome"]) for one in found}
    assert {("110113", "0"), ("110106", "0")} <= told
    disclosure = next(one for one in found if one["type"]["code"] == "110106")
    # IHE BALP PrivacyDisclosure.Source: who disclosed, when, to whom, which patient, which data, why.
    assert disclosure["meta"]["profile"] == ["https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"]
    assert [agent["type"]["coding"][0]["code"] for agent in disclosure["agent"]] == ["110153", "110152"]
    assert all("network" in agent for agent in disclosure["agent"])
    assert disclosure["entity"][0]["what"] == {"reference": f"Patient/{PATIENT}"}
    assert disclosure["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    assert {"digest", "manifest", "items", "log-proof"} <= {one["type"] for one in disclosure["entity"][1]["detail"]}
    # IHE BALP AuthZconsent: who decided, for whom, about whom, by which consents. Who does not name the patient is not told the consents either.
    decision = next(one for one in found if one["type"]["code"] == "110113" and one["outcome"] == "0")
    assert decision["meta"]["profile"] == ["https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.AuthZconsent"]
    named = [one["what"]["reference"] for one in decision["entity"] if one["type"]["code"] == "Consent"]
    with story.installation.database.transaction() as session:
        key = story.installation.keys.patient_key(PATIENT)
        filed = session.connection().exec_driver_sql("SELECT id FROM consent WHERE patient_key = %s", (key,)).scalars().all()
    assert named
    assert set(named) <= {f"Consent/{one}" for one in filed}
    assert "Consent/" not in expect(ask(story, AUDITOR, "/log/fhir/AuditEvent"), 200).text


def test_a_refusal_is_told_too_and_pages_lead_on_without_loss(story, exchange):
    who = AUDITOR
    whole = [entry["resource"]["id"] for entry in expect(ask(story, who, "/log/fhir/AuditEvent", _count=500), 200).json()["entry"]]
    pages, path = [], "/log/fhir/AuditEvent?_count=1"
    while path:
        bundle = expect(story.person(who).call("GET", path), 200).json()
        pages += [entry["resource"]["id"] for entry in bundle.get("entry", [])]
        following = {link["relation"]: link["url"] for link in bundle["link"]}.get("next")
        path = following and following.removeprefix(story.installation.settings.base_url)
    assert pages == whole
    refused = [entry["resource"] for entry in expect(ask(story, who, "/log/fhir/AuditEvent"), 200).json()["entry"]]
    assert any(one["outcome"] == "4" and one.get("outcomeDesc") for one in refused)
    assert all("p100" not in str(one) for one in refused), "who did not name the patient is not told the patient"


def test_the_supervisor_follows_from_where_they_were(story, exchange):
    who, seen, place = AUDITOR, [], None
    while True:
        query = {"limit": 2, "subject": "disclosures"} | ({"after": place} if place else {})
        answer = expect(ask(story, who, "/api/v1/supervision", **query), 200).json()
        seen += [one["id"] for one in answer["events"]]
        place = answer["next"]
        assert all(one["type"].startswith("release.") and "patient" not in one for one in answer["events"])
        if not answer["more"]:
            break
    assert len(seen) == len(set(seen)) >= 1
    assert expect(ask(story, who, "/api/v1/supervision", after=place, subject="disclosures"), 200).json()["events"] == []
    decisions = expect(ask(story, who, "/api/v1/supervision", subject="decisions"), 200).json()["events"]
    assert {"release.permitted", "release.refused"} <= {one["type"] for one in decisions}
    for wrong in ("x", "1", "1-", "-1", "1-2-3", "0-" + "0" * 32, "9" * 30 + "-" + "0" * 32):
        story.person(who).call("GET", f"/api/v1/supervision?after={wrong}", expected=422)


def test_nobody_else_looks_back(story, exchange):
    for path in ("/log/fhir/AuditEvent", "/api/v1/supervision", f"/api/v1/disclosures?patient={PATIENT}"):
        story.person("gao.min").call("GET", path, expected=403)
