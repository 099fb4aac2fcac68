"""What waits on everybody's desk when the story is over, so that each finds work at the console: to finish, to endorse, to decide."""

from __future__ import annotations

from typing import Any

from broker.demo.story import TREATMENT, Story


def leave_waiting(story: Story) -> None:
    """Applications in every state, each with its reason to be there."""
    parts = story.cast.story
    mine, place = parts["applicant"], parts["recipient"]
    laboratory = [{"data_class": "clinical.laboratory"}, {"data_class": "clinical.medications"}]

    def handed_in(patient: str, *, applicant: str = mine, recipient: str = place, purpose: str = "TREAT", basis: str = "consent",
                  data: list[dict[str, Any]] = laboratory) -> str:  # fmt: skip
        return str(story.apply(applicant, recipient, patient, purpose, basis, data)["number"])

    story.file_consent("p1005", "shengli")
    story.file_consent("p1007", "shengli", without=("PSY", "HIV"))
    handed_in("p1005")
    _step(story, "endorser", handed_in("p1007", data=TREATMENT), "endorse", {"reason": "本科随访患者，确需既往检验与用药。"})
    # Nobody asked this patient: policy says no, and a person decides what to do about it.
    _step(story, "endorser", handed_in("p1003"), "endorse")
    back = handed_in("p1006", applicant="yu.fang", recipient="renhe-finance", purpose="HPAYMT", basis="contract", data=[{"data_class": "financial"}])
    _step(story, "hu.bin", back, "return", {"code": "incomplete", "reason": "请注明对应的住院号与结算期间。"})
    no = handed_in("p1008")
    _step(story, "endorser", no, "refuse", {"code": "duplicate", "reason": "与上月申请重复，请使用现有授权。"})
    head = story.person("he.wenbo")
    head.call(
        "POST", "/api/v1/applications", expected=201,
        body={
            "purpose": "TREAT", "recipient": "renhe-cardiology", "justification": "会诊前了解外科手术经过。",
            "data": [{"data_class": "clinical.procedures"}],
        },
    )  # fmt: skip


def _step(story: Story, part: str, number: str, step: str, body: dict[str, Any] | None = None) -> None:
    """One step by somebody on an application as it stands."""
    path = f"/api/v1/applications/{number}"
    person = story.person(part)
    person.call("POST", f"{path}/{step}", headers={"If-Match": person.call("GET", path).headers["etag"]}, body=body or {})
