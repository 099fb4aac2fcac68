"""The demo's researcher holds what the research list asks for: an ethics approval, entered in the register (RS-5.2.3, TM-5.1)."""

from __future__ import annotations

from sqlmodel import select

from broker.workforce import service as workforce
from broker.workforce.models import Credential
from tests.live import hospital


def test_the_institute_s_researcher_is_not_turned_away_for_want_of_an_approval(database_url, tmp_path):
    with hospital(database_url, tmp_path) as story:

        def told(applicant: str, recipient: str) -> set[str]:
            """Why policy refuses a request for research, as the applicant is told."""
            story.file_consent("p1001", recipient, purpose="HRESCH")
            number = story.apply(applicant, recipient, "p1001", "HRESCH", "consent", [{"data_class": "clinical.laboratory"}])["number"]
            assessed = story.person(applicant).call("GET", f"/api/v1/applications/{number}/assessment").json()
            return {reason["code"] for patient in assessed["patients"] for reason in patient["reasons"]}

        assert told("lu.xin", "qingyuan-institute") == {"necessity.channel"}  # Research is given files; the story's form asks for the interface.
        with story.installation.database.transaction() as session:
            (held,) = session.exec(select(Credential)).all()
            workforce.change(session, "system", workforce.Register.QUALIFICATION, held.id, "suspended")
        assert "workforce.expired" in told("lu.xin", "qingyuan-institute")
