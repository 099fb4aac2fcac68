"""What codes are called on the pages: one table for each kind of code, in the catalogue's language. Every code has its word; a test asks."""

from __future__ import annotations

from types import MappingProxyType

from broker.console import words_after
from broker.console.language import N_, said

STATE = {
    "draft": N_("Draft"),
    "submitted": N_("To be endorsed"),
    "endorsed": N_("To be decided"),
    "approved": N_("Approved"),
    "refused": N_("Refused"),
    "returned": N_("Returned for changes"),
    "withdrawn": N_("Withdrawn"),
}
GRANT = {
    "awaiting": N_("Terms to be accepted"),
    "active": N_("In force"),
    "suspended": N_("Suspended"),
    "revoked": N_("Revoked"),
    "expired": N_("Expired"),
    "closed": N_("Closed"),
}
EFFECT = {
    "permit": N_("Policy permits"),
    "deny": N_("Policy denies"),
    "unavailable": N_("Policy gave no answer"),
}
ACTION = {
    "edit": N_("Edited"),
    "submit": N_("Submitted"),
    "assess": N_("Assessed again"),
    "endorse": N_("Endorsed"),
    "approve": N_("Approved"),
    "narrow": N_("Approved in part"),
    "return": N_("Returned"),
    "refuse": N_("Refused"),
    "withdraw": N_("Withdrawn"),
    "suspend": N_("Grant suspended"),
    "resume": N_("Grant resumed"),
    "revoke": N_("Grant revoked"),
    "close": N_("Grant closed"),
    "expire": N_("Grant expired"),
    "agree": N_("Agreed for the data"),
    "legality": N_("Found lawful"),
    "necessity": N_("Found necessary"),
    "concur": N_("Concurred"),
    "recuse": N_("Recused"),
    "accept": N_("Terms accepted"),
    "replace": N_("Replaced"),
}
CONCERN = {"suggestion": N_("Suggestion"), "complaint": N_("Complaint")}
CONCERN_STATE = {"open": N_("Open"), "answered": N_("Answered"), "closed": N_("Closed")}
VERDICT = {"upheld": N_("Upheld"), "partly": N_("Upheld in part"), "not-upheld": N_("Not upheld"), "taken-up": N_("Taken up")}
#: What the buttons of steps say.
STEP = {
    "endorse": N_("Endorse"),
    "agree": N_("Agree for our data"),
    "legality": N_("Find it lawful"),
    "necessity": N_("Find it necessary"),
    "concur": N_("Concur"),
    "approve": N_("Approve as asked"),
    "recuse": N_("Declare an interest"),
    "return": N_("Return"),
    "refuse": N_("Refuse"),
    "withdraw": N_("Withdraw"),
    "suspend": N_("Suspend"),
    "resume": N_("Resume"),
    "revoke": N_("Revoke"),
    "close": N_("Close: no longer needed"),
}
#: What an application still needs before it can be approved.
NEED = {
    "agree": N_("the agreement of the department that the data belong to"),
    "legality": N_("the review of legality"),
    "necessity": N_("the review of necessity"),
    "quorum": N_("one more who concurs"),
    "concur": N_("one more who concurs"),
}
RELATION = {"renewal": N_("Renewal"), "amendment": N_("Amendment")}
ATTACHMENT = {
    "ethics-approval": N_("Ethics approval"),
    "agreement": N_("Agreement"),
    "impact-assessment": N_("Impact assessment"),
    "consent-form": N_("Signed consent form"),
    "referral": N_("Referral"),
    "transfer-route": N_("Route for a transfer abroad"),
    "other": N_("Other"),
}
URGENCY = {"routine": N_("Routine"), "urgent": N_("Urgent"), "emergency": N_("Emergency")}
CHANNEL = {"api": N_("System to system, when needed"), "bundle": N_("One bundle"), "bulk": N_("Bulk export")}
REASON = {
    "not-lawful": N_("Not lawful"),
    "not-necessary": N_("Not necessary"),
    "no-consent": N_("No consent"),
    "recipient": N_("Wrong recipient"),
    "incomplete": N_("Incomplete"),
    "duplicate": N_("Duplicate"),
    "security": N_("Security"),
    "done": N_("The purpose is met"),
    "moved": N_("The patient is treated elsewhere"),
    "no-longer-needed": N_("No longer needed"),
    "replaced": N_("Replaced by another"),
    "recertification": N_("Not kept at the recertification"),
    "other": N_("Other"),
}
ROLE = {
    "applicant": N_("Applicant"),
    "department_head": N_("Department head"),
    "information_manager": N_("Information manager"),
    "auditor": N_("Auditor"),
    "administrator": N_("Administrator"),
    "regulator": N_("Regulator"),
}
OUTCOME = {
    "sent": N_("Sent"),
    "partial": N_("Sent in part"),
    "failed": N_("Failed, nothing left"),
    "unknown": N_("No outcome, counts as sent"),
}
STATUS = {"active": N_("Active"), "suspended": N_("Suspended")}
RELATIONSHIP = {"internal": N_("Our hospital"), "external": N_("Outside")}
KIND = {
    "hospital": N_("Hospital"),
    "department": N_("Department"),
    "laboratory": N_("Laboratory"),
    "imaging": N_("Imaging"),
    "finance": N_("Finance"),
    "quality": N_("Quality and medical affairs"),
    "research": N_("Research"),
    "pharmacy": N_("Pharmacy"),
    "insurer": N_("Insurer"),
    "authority": N_("Authority"),
    "nursing": N_("Nursing"),
    "infection_control": N_("Infection control"),
}
PURPOSE_MET = {"yes": N_("Yes"), "partly": N_("Partly"), "no": N_("No")}
DATA_PROBLEM = {
    "incomplete": N_("Incomplete"),
    "outdated": N_("Outdated"),
    "wrong-patient": N_("Another patient's"),
    "inconsistent": N_("Contradictory"),
    "unreadable": N_("Unreadable"),
    "too-much": N_("More than was needed"),
    "other": N_("Other"),
}

CONSULTATION = {
    "booked": N_("To be confirmed"),
    "confirmed": N_("Confirmed by the consultant"),
    "open": N_("Under way, data open"),
    "closed": N_("Ended"),
    "followed-up": N_("Followed up"),
    "cancelled": N_("Cancelled"),
    "missed": N_("Missed"),
}
CONSULTATION_STEP = {
    "book": N_("Booked"),
    "confirm": N_("Confirmed by the consultant"),
    "identify": N_("Identity checked"),
    "open": N_("Consultation begun"),
    "record": N_("Records received"),
    "prescribe": N_("Prescription received"),
    "close": N_("Ended"),
    "follow-up": N_("Followed up"),
    "cancel": N_("Cancelled"),
}
IDENTIFIED = {
    "identity-card": N_("Identity card"),
    "insurance-card": N_("Insurance card"),
    "known-to-staff": N_("Known to the staff"),
    "passport": N_("Passport"),
    "video-and-card": N_("By video, with the identity card"),
}
FINDING = {"low": N_("Low"), "medium": N_("Medium"), "high": N_("High")}
CHANGES = {"process": N_("A process"), "policy": N_("A sharing policy"), "training": N_("A training")}
RIGHT = {"role": N_("Role"), "client": N_("System"), "grant": N_("Grant")}
RIGHT_ANSWER = {"open": N_("Not answered yet"), "keep": N_("To be kept"), "revoke": N_("To be revoked")}
RIGHT_OUTCOME = {
    "kept": N_("Kept"),
    "revoked": N_("Revoked"),
    "unanswered": N_("Revoked, since nobody answered"),
    "gone": N_("Was gone already"),
    "last": N_("Kept: the last of its kind"),
}
CREDENTIAL = {
    "in-force": N_("In force"),
    "soon": N_("Runs out soon"),
    "expired": N_("Run out"),
    "suspended": N_("Suspended"),
    "withdrawn": N_("Taken back"),
}
CREDENTIAL_CHANGE = {"active": N_("Restore"), "suspended": N_("Suspend"), "withdrawn": N_("Take back")}
DEMAND = {
    "apply": N_("To apply"),
    "endorse": N_("To endorse as head"),
    "decide": N_("To decide as information manager"),
    "receive": N_("Of an institution that receives"),
}
WAY = {"mail": N_("Mail"), "webhook": N_("Webhook")}
LACKING = {"missing": N_("not entered"), "expired": N_("run out")}

REVISION = {
    "draft": N_("Draft"),
    "tested": N_("Tested"),
    "replayed": N_("Waits for a colleague"),
    "approved": N_("Approved"),
    "withdrawn": N_("Given up"),
}
#: What is done to an element before it leaves.
TRANSFORM = {
    "remove": N_("removed"),
    "keep_first": N_("in part"),
    "pseudonym": N_("pseudonym"),
    "year": N_("year alone"),
    "month": N_("month alone"),
    "age_band": N_("age band"),
    "region": N_("region alone"),
    "bucket": N_("in steps"),
    "shift": N_("dates moved"),
    "drop_text": N_("without free text"),
    "mask": N_("masked"),
}

#: Every table by the name under which pages ask.
TABLES = MappingProxyType(
    {
        "state": STATE,
        "grant": GRANT,
        "effect": EFFECT,
        "action": ACTION,
        "concern": CONCERN,
        "concern_state": CONCERN_STATE,
        "verdict": VERDICT,
        "step": STEP,
        "need": NEED,
        "relation": RELATION,
        "attachment": ATTACHMENT,
        "urgency": URGENCY,
        "channel": CHANNEL,
        "reason": REASON,
        "role": ROLE,
        "outcome": OUTCOME,
        "status": STATUS,
        "relationship": RELATIONSHIP,
        "kind": KIND,
        "purpose_met": PURPOSE_MET,
        "data_problem": DATA_PROBLEM,
        "consultation": CONSULTATION,
        "consultation_step": CONSULTATION_STEP,
        "identified": IDENTIFIED,
        "credential": CREDENTIAL,
        "credential_change": CREDENTIAL_CHANGE,
        "demand": DEMAND,
        "lacking": LACKING,
        "way": WAY,
        "finding": FINDING,
        "changes": CHANGES,
        "right": RIGHT,
        "right_answer": RIGHT_ANSWER,
        "right_outcome": RIGHT_OUTCOME,
        "revision": REVISION,
        "transform": TRANSFORM,
        **words_after.TABLES,
    }
)

#: How a badge looks; the word in it says the same without colour.
TONES = MappingProxyType(
    {
        "tested": "waiting", "replayed": "waiting",
        "draft": "quiet", "withdrawn": "quiet", "expired": "quiet", "closed": "quiet", "routine": "quiet",
        "submitted": "waiting", "endorsed": "waiting", "returned": "waiting", "awaiting": "waiting", "partial": "waiting", "urgent": "waiting",
        "answered": "good", "approved": "good", "active": "good", "permit": "good", "sent": "good",
        "refused": "bad", "revoked": "bad", "suspended": "bad", "deny": "bad", "unavailable": "bad", "unknown": "bad", "emergency": "bad",
        "in-force": "good", "soon": "waiting",
        "failed": "quiet", "booked": "waiting", "confirmed": "good", "open": "good", "followed-up": "good", "cancelled": "quiet", "missed": "bad",
        **words_after.TONES,
    }
)  # fmt: skip


def word(language: str, kind: str, code: str | None) -> str:
    """What a code is called in a language. A code that no table knows is shown as it is."""
    if code is None:
        return "–"
    return said(language, TABLES[kind].get(code, code))
