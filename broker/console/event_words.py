"""What events of the log are called: what it is about, and what happened to it. The code of an event is the two with a full stop between."""

from __future__ import annotations

from types import MappingProxyType

from broker.console.language import N_, said

ABOUT = MappingProxyType(
    {
        "adverse-event": N_("Adverse event"), "agreement": N_("Terms of use"), "application": N_("Application"), "client": N_("System"),
        "concern": N_("Suggestion or complaint"), "consent": N_("Consent"), "consultation": N_("Consultation"),
        "corrective-action": N_("Corrective action"), "data-owners": N_("Owners of data"), "delegation": N_("Standing in"),
        "destruction": N_("Destruction"), "emergency": N_("Emergency access"), "export": N_("Bulk export"), "feedback": N_("Feedback on the use"),
        "grant": N_("Grant"), "incident": N_("Incident"), "key": N_("Key"), "login": N_("Login"), "network": N_("Network"),
        "notification": N_("Messages"), "obligation": N_("Obligation"), "organization": N_("Organisation"), "patient": N_("Patient"),
        "person": N_("Person"), "policy": N_("Policy"), "recall": N_("Recall"), "recertification": N_("Access rights"),
        "record": N_("Record"), "records": N_("Records"), "release": N_("Sending of data"), "request": N_("Request of a patient"),
        "retention": N_("Retention"), "review": N_("Quarterly review"), "risk": N_("Risk"), "second-factor": N_("Second factor"),
        "session": N_("Session"), "sso": N_("Hospital login"), "token": N_("Token"), "transmissions": N_("Transmission log"),
        "violation": N_("Violation"), "workforce": N_("Qualifications and training"), "working-year": N_("Working days"),
        "upstream": N_("Other server"), "guardian": N_("Guardian"), "transfer": N_("Transfer abroad"),
    }
)  # fmt: skip
HAPPENED = MappingProxyType(
    {
        "accepted": N_("accepted"), "added": N_("added"), "analysed": N_("analysed"), "answered": N_("answered"), "approved": N_("approved"),
        "approve": N_("approved"), "asked": N_("asked"), "assessed": N_("assessed"), "assess": N_("assessed"), "barred": N_("barred"),
        "begun": N_("begun"), "brought-back": N_("brought back"), "cancelled": N_("cancelled"), "changed": N_("changed"), "closed": N_("closed"),
        "code-given": N_("code given"), "consulted": N_("asked about"), "contact-told": N_("contact told"), "contained": N_("contained"),
        "copied": N_("seems to be copied"), "corrected": N_("corrected"), "demands-set": N_("demands set"), "done": N_("done"),
        "endorsed": N_("endorsed"), "ended": N_("ended"), "entered": N_("entered"), "executed": N_("carried out"), "explained": N_("explained"),
        "failed": N_("failed"), "filed": N_("filed"), "finding": N_("finding written down"), "frozen": N_("frozen"), "given": N_("given"),
        "held": N_("held"), "ingested": N_("taken in"), "introduced": N_("introduced"), "issued": N_("issued"), "judged": N_("judged"),
        "keys-changed": N_("keys changed"), "lift-asked": N_("lifting asked for"), "lifted": N_("lifted"), "linked": N_("linked"),
        "let-act": N_("allowed to fetch for somebody"), "not-let-act": N_("not allowed to fetch for somebody"),
        "logged-out": N_("signed out"), "narrowed": N_("approved in part"), "notice-added": N_("notice added"), "notified": N_("told"),
        "opened": N_("opened"), "overdue": N_("overdue"), "password-link": N_("link for a password made"), "password-set": N_("password set"),
        "permitted": N_("permitted"), "prepared": N_("prepared"), "proposed": N_("proposed"), "proved": N_("proved anew"),
        "published": N_("published"), "raised": N_("raised"), "reconciled": N_("reconciled"), "recovery-code-used": N_("recovery code used"),
        "recovery-codes": N_("recovery codes made"), "refused": N_("refused"), "registered": N_("registered"), "relabelled": N_("labelled anew"),
        "released": N_("let go"), "removed": N_("removed"), "reported": N_("reported"), "requested": N_("asked for"), "reset": N_("taken away"),
        "reset-asked": N_("taking away asked for"), "reset-dropped": N_("not taken away after all"), "retired": N_("retired"),
        "returned": N_("returned"), "reviewed": N_("reviewed"), "revoked": N_("revoked"), "roles-set": N_("roles set"),
        "resumed": N_("resumed"), "scrubbed": N_("scrubbed"), "searched": N_("searched"), "sent": N_("sent"), "set": N_("set"),
        "shredded": N_("key destroyed"), "shredded-again": N_("key destroyed once more"), "signed": N_("signed"), "submitted": N_("submitted"),
        "subscribed": N_("subscribed"), "suspended": N_("suspended"), "thawed": N_("let go"), "unbarred": N_("let in again"),
        "unknown": N_("outcome unknown"), "unlinked": N_("unlinked"), "unsubscribed": N_("unsubscribed"), "withdrawn": N_("withdrawn"),
        "withdrawal-acknowledged": N_("withdrawal acknowledged"), "wrapped-anew": N_("wrapped anew"), "written": N_("written down"),
        "expired": N_("expired"), "partial": N_("sent in part"), "channel-added": N_("channel added"), "channel-removed": N_("channel removed"),
        "drafted": N_("drafted"), "attached": N_("document attached"), "detached": N_("document removed"), "recused": N_("stood aside"),
        "agreed": N_("agreed"), "concurred": N_("concurred"), "activated": N_("in force"), "revived": N_("revived"), "booked": N_("booked"),
        "confirmed": N_("confirmed"), "read": N_("read"), "lent": N_("lent"), "taken-back": N_("taken back"), "reminded": N_("reminded"),
        "subject-linked": N_("subject linked"), "destroyed": N_("destroyed"), "forgotten": N_("forgotten"), "renewed": N_("renewed"),
        "previewed": N_("previewed"), "acknowledged": N_("acknowledged"), "extended": N_("time extended"), "evidence-read": N_("evidence read"),
    }
)  # fmt: skip


def event(language: str, code: str) -> str:
    """An event in words; a part that no table knows is shown as it is."""
    about, _, happened = code.partition(".")
    words = [said(language, ABOUT[about]) if about in ABOUT else about, said(language, HAPPENED[happened]) if happened in HAPPENED else happened]
    return said(language, N_(": ")).join(word for word in words if word)


def actor(language: str, code: str, names: dict[str, str]) -> str:
    """Who did it: a person by name, a system by its identifier, the house itself."""
    if code in names:
        return names[code]
    kind, _, name = code.partition(":")
    kinds = {"client": N_("System %(name)s"), "system": N_("The broker itself"), "patient": N_("The patient"), "person": N_("Somebody")}
    return said(language, kinds[kind]) % {"name": name} if kind in kinds else code
