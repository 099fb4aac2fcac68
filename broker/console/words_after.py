"""What codes are called that come up after data have left: incidents, duties of recipients, destruction, cases, requests of patients."""

from __future__ import annotations

from types import MappingProxyType

from broker.console.language import N_

INCIDENT_KIND = {
    "key-stolen": N_("Key stolen"),
    "unauthorised-access": N_("Unauthorised access"),
    "wrong-recipient": N_("Sent to the wrong place"),
    "over-disclosure": N_("More disclosed than allowed"),
    "check-failed": N_("A release failed its check"),
    "loss": N_("Loss of data"),
    "availability": N_("Out of service"),
    "emergency-unreviewed": N_("Emergency access not reviewed"),
    "policy-breach": N_("Breach of a rule"),
    "other": N_("Other"),
}
INCIDENT_STATE = {
    "reported": N_("Reported"),
    "assessed": N_("Assessed"),
    "investigating": N_("Under investigation"),
    "closed": N_("Closed"),
    "dismissed": N_("Dismissed"),
}
INCIDENT_STEP = {
    "report": N_("Reported"),
    "assess": N_("Assessed"),
    "contain": N_("Contained"),
    "ask-to-lift": N_("Lifting asked for"),
    "lift": N_("Containment lifted"),
    "notify": N_("Told or waived"),
    "investigate": N_("Investigation begun"),
    "close": N_("Closed"),
    "dismiss": N_("Dismissed"),
    "reopen": N_("Reopened"),
}
SEVERITY = {"low": N_("Low"), "moderate": N_("Moderate"), "high": N_("High"), "critical": N_("Critical")}
AUDIENCE = {"authority": N_("Authority"), "patients": N_("Patients"), "partner": N_("Partner")}
TARGET = {
    "organization": N_("Organisation"),
    "client": N_("System"),
    "grant": N_("Grant"),
    "token": N_("Token"),
    "person": N_("Person"),
    "patient": N_("Patient"),
}
TOLD_HOW = {
    "letter": N_("Letter"),
    "mail": N_("E-mail"),
    "telephone": N_("Telephone"),
    "in-person": N_("In person"),
    "portal": N_("Reporting portal"),
}
DUTY_STATE = {"open": N_("To be answered"), "fulfilled": N_("Fulfilled"), "kept": N_("Kept by law"), "waived": N_("Waived")}
DONE = {
    "deleted": N_("Copies deleted"),
    "corrected": N_("Corrected"),
    "kept": N_("Kept, since a law requires it"),
    "nothing-held": N_("Nothing held any more"),
}
DONE_METHOD = {
    "wiped": N_("Overwritten or erased"),
    "shredded": N_("Paper shredded"),
    "destroyed-media": N_("Medium destroyed"),
    "corrected": N_("Replaced by the corrected data"),
    "kept-by-law": N_("Kept by law"),
    "complied": N_("Kept to it"),
}
RECALL = {"withdrawn": N_("Consent withdrawn"), "corrected": N_("Data corrected"), "erased": N_("Data destroyed")}
DESTROYED = {"shred": N_("Data of patients"), "paper": N_("Paper records"), "media": N_("Media")}
DESTRUCTION_REASON = {
    "retention": N_("End of its time"),
    "request": N_("The patient's request"),
    "error": N_("Collected by mistake"),
    "end-of-agreement": N_("End of an agreement"),
    "restored": N_("Came back with a backup"),
}
ORDER_STATE = {"proposed": N_("Waits for two people"), "executed": N_("Carried out"), "cancelled": N_("Taken back")}
DESTRUCTION_METHOD = {
    "crypto-shredding": N_("Key destroyed"),
    "cross-cut": N_("Shredded (cross-cut)"),
    "burnt": N_("Burnt"),
    "degaussed": N_("Degaussed"),
    "crushed": N_("Crushed"),
}
HOLD = {"legal": N_("Legal dispute"), "incident": N_("Incident"), "request": N_("The patient's wish")}
EMERGENCY_VERDICT = {"justified": N_("Justified"), "misuse": N_("Misuse")}
CASE_STATE = {
    "opened": N_("Opened, to be heard"),
    "heard": N_("Heard"),
    "proposed": N_("Sanction proposed"),
    "decided": N_("Decided"),
    "appealed": N_("Appealed"),
    "upheld": N_("Upheld"),
    "ended": N_("Ended"),
    "dismissed": N_("Dismissed"),
}
SANCTION = {
    "warning": N_("Warning"),
    "retraining": N_("Retraining before anything else"),
    "suspended": N_("Suspended for a time"),
    "closed": N_("Closed for good"),
}
CASE_GROUNDS = {
    "emergency-misuse": N_("Emergency access misused"),
    "purpose-breach": N_("Used for something else"),
    "re-disclosure": N_("Passed on without leave"),
    "obligation-breach": N_("Obligations not kept"),
    "unauthorised-access": N_("Unauthorised access"),
    "credentials-shared": N_("Password or key shared"),
}
CASE_WORDS = {"told": N_("Grounds"), "heard": N_("What the accused says"), "reasons": N_("Reasons of the decision"), "appeal": N_("Appeal")}
ACTION_SOURCE = {
    "incident": N_("Incident"),
    "adverse-event": N_("Adverse event"),
    "finding": N_("Finding of the review"),
    "complaint": N_("Complaint"),
    "suggestion": N_("Suggestion"),
    "violation": N_("Violation"),
}
ACTION_CHANGES = {"policy": N_("Policy"), "training": N_("Training"), "process": N_("Process")}
RISK_STATE = {"open": N_("Not closed"), "accepted": N_("Accepted"), "closed": N_("Closed")}
SERIOUSNESS = {
    "Non-serious": N_("Not serious"),
    "Serious": N_("Serious"),
    "SeriousIsLifeThreatening": N_("Life-threatening"),
    "SeriousResultsInDeath": N_("Led to death"),
}
ADVERSE_CATEGORY = {
    "product-problem": N_("Problem with a product"),
    "product-quality": N_("Quality of a product"),
    "product-use-error": N_("Product used wrongly"),
    "wrong-dose": N_("Wrong dose"),
    "incorrect-prescribing-information": N_("Wrong information when prescribing"),
    "wrong-technique": N_("Wrong technique"),
    "wrong-duration": N_("Wrong duration"),
    "wrong-rate": N_("Wrong rate"),
    "expired-drug": N_("Expired drug"),
    "medical-device-use-error": N_("Device used wrongly"),
    "problem-different-manufacturer": N_("Another manufacturer's product"),
    "unsafe-physical-environment": N_("Unsafe surroundings"),
    "medication-mishap": N_("Mishap with medication"),
    "wrong-patient": N_("Wrong patient"),
    "data-missing": N_("Data that were shared were missing or wrong"),
}
REQUEST_KIND = {
    "copy": N_("A copy of my data"),
    "portability": N_("My data, for another institution"),
    "correction": N_("Correct something"),
    "restriction": N_("Share nothing more"),
    "deletion": N_("Delete my data"),
    "explanation": N_("Explain a decision or a rule"),
}
REQUEST_BY = {"self": N_("The patient"), "guardian": N_("A guardian"), "next-of-kin": N_("Next of kin")}
REQUEST_STATE = {
    "to-identify": N_("To be identified"),
    "received": N_("Taken in"),
    "ordered": N_("Destruction ordered"),
    "fulfilled": N_("Fulfilled"),
    "refused": N_("Refused"),
    "appealed": N_("Appealed"),
    "upheld": N_("Refusal upheld"),
    "withdrawn": N_("Withdrawn"),
}
REQUEST_STEP = {
    "correction-proposed": N_("Correction proposed"),
    "correction-returned": N_("Correction sent back"),
    "received": N_("Taken in"),
    "identified": N_("Identity and right checked"),
    "extended": N_("Time extended"),
    "fulfilled": N_("Fulfilled"),
    "ordered": N_("Destruction ordered"),
    "refused": N_("Refused"),
    "appealed": N_("Appealed"),
    "upheld": N_("Refusal upheld"),
    "withdrawn": N_("Withdrawn"),
    "lifted": N_("Restriction ended"),
}
REQUEST_GROUND = {
    "not-identified": N_("Who asks could not be made sure of (PIPL 50)"),
    "not-entitled": N_("Who asks has no right to it (PIPL 49)"),
    "kept-by-law": N_("A period of law has not run out (PIPL 47)"),
    "secret-by-law": N_("A law keeps it secret (PIPL 18, 35)"),
    "not-held": N_("The hospital holds nothing of it"),
    "not-wrong": N_("It was verified and is right (PIPL 46)"),
    "rights-of-others": N_("It would reveal somebody else's data"),
    "conditions-not-met": N_("The law's conditions are not met"),
}
TABLES = MappingProxyType(
    {
        "incident_kind": INCIDENT_KIND, "incident_state": INCIDENT_STATE, "incident_step": INCIDENT_STEP, "severity": SEVERITY, "audience": AUDIENCE,
        "target": TARGET, "told_how": TOLD_HOW, "duty_state": DUTY_STATE, "done": DONE, "done_method": DONE_METHOD, "recall": RECALL,
        "destroyed": DESTROYED, "destruction_reason": DESTRUCTION_REASON, "order_state": ORDER_STATE, "destruction_method": DESTRUCTION_METHOD,
        "hold": HOLD, "emergency_verdict": EMERGENCY_VERDICT, "case_state": CASE_STATE, "sanction": SANCTION, "case_grounds": CASE_GROUNDS,
        "case_words": CASE_WORDS, "action_source": ACTION_SOURCE, "action_changes": ACTION_CHANGES, "risk_state": RISK_STATE,
        "seriousness": SERIOUSNESS, "adverse_category": ADVERSE_CATEGORY, "request_kind": REQUEST_KIND, "request_by": REQUEST_BY,
        "request_state": REQUEST_STATE, "request_step": REQUEST_STEP, "request_ground": REQUEST_GROUND,
    }
)  # fmt: skip

#: Tones of codes that no other table has.
TONES = MappingProxyType(
    {
        "reported": "bad", "assessed": "waiting", "investigating": "waiting", "dismissed": "quiet", "low": "quiet", "moderate": "waiting",
        "high": "bad", "critical": "bad", "fulfilled": "good", "kept": "good", "waived": "quiet", "deleted": "good", "corrected": "good",
        "nothing-held": "good", "proposed": "waiting", "executed": "good", "justified": "good", "misuse": "bad", "opened": "waiting",
        "heard": "waiting", "decided": "bad", "appealed": "waiting", "upheld": "bad", "ended": "quiet", "to-identify": "waiting",
        "received": "waiting", "ordered": "waiting",
    }
)  # fmt: skip
