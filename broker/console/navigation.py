"""The menu: one table of pages with who sees them, in the order in which their work comes. The first is where somebody begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from broker.console.language import N_
from broker.identity.access import Action, PersonCaller, Role


@dataclass(frozen=True)
class Entry:
    """A line of the menu. Seen by whoever may do ``action``, or holds one of ``roles``; by everybody where both are empty.

    ``group``: the heading that begins with this line; a line without one stands under the heading before it.
    """

    path: str
    title: str
    roles: Collection[Role] = ()
    action: Action | None = None
    group: str = ""


ENTRIES: tuple[Entry, ...] = (
    Entry("/console/decide", N_("To decide"), action=Action.APPLICATION_DECIDE, group=N_("Work")),
    Entry("/console/endorse", N_("To endorse"), action=Action.APPLICATION_ENDORSE),
    Entry("/console/applications", N_("My applications"), action=Action.APPLICATION_WRITE),
    Entry("/console/exchanges", N_("Exchanges"), roles=(Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.AUDITOR)),
    Entry("/console/consultations", N_("Consultations"), roles=(Role.APPLICANT, Role.DEPARTMENT_HEAD, Role.AUDITOR)),
    Entry("/console/consent", N_("Ask a patient"), action=Action.CONSENT_WRITE),
    Entry("/console/patient-code", N_("Code for a patient"), action=Action.CONSENT_WRITE),
    Entry("/console/explain", N_("Consents explained"), action=Action.CONSENT_READ),
    Entry("/console/withdrawals", N_("Withdrawals"), roles=(Role.APPLICANT, Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.AUDITOR)),
    Entry("/console/requests", N_("Requests of patients"), action=Action.REQUEST_READ),
    Entry("/console/emergencies", N_("Emergency access"), roles=(Role.APPLICANT, Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.AUDITOR)),
    Entry("/console/incidents", N_("Incidents"), group=N_("After sending")),
    Entry("/console/obligations", N_("Obligations"), roles=(Role.APPLICANT, Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.AUDITOR)),
    Entry("/console/recalls", N_("Recalls"), roles=(Role.APPLICANT, Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.AUDITOR)),
    Entry("/console/destruction", N_("Destruction"), action=Action.INCIDENT_READ),
    Entry("/console/violations", N_("Violations")),
    Entry("/console/improvement", N_("Improvement")),
    Entry("/console/transmissions", N_("Transmission log"), action=Action.TRANSMISSION_READ, group=N_("Look back")),
    Entry("/console/events", N_("Events"), action=Action.LOG_READ),
    Entry("/console/reconciliation", N_("Reconciliation"), action=Action.TRANSMISSION_READ),
    Entry("/console/reviews", N_("Quarterly review"), action=Action.REVIEW_READ),
    Entry("/console/supervision", N_("Supervision"), action=Action.SUPERVISION_READ),
    Entry("/console/access", N_("Access rights"), roles=(Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.AUDITOR)),
    Entry("/console/people", N_("People"), action=Action.REGISTRY_READ, group=N_("Registers")),
    Entry("/console/organizations", N_("Organisations"), action=Action.REGISTRY_READ),
    Entry("/console/clients", N_("Systems"), action=Action.REGISTRY_READ),
    Entry("/console/sources", N_("Sources of records"), action=Action.REGISTRY_READ),
    Entry("/console/keys", N_("Keys"), action=Action.KEY_READ),
    Entry("/console/qualifications", N_("Qualifications"), action=Action.WORKFORCE_READ),
    Entry("/console/training", N_("Training"), action=Action.WORKFORCE_READ),
    Entry("/console/agreements", N_("Agreements and networks"), action=Action.REGISTRY_READ),
    Entry("/console/transfers", N_("Transfers abroad"), action=Action.REGISTRY_READ),
    Entry("/console/working-days", N_("Working days"), action=Action.REGISTRY_READ),
    Entry("/console/policies", N_("Least-necessary lists"), action=Action.POLICY_READ),
    Entry("/console/terms", N_("Terms of use"), roles=(Role.DEPARTMENT_HEAD,)),
    Entry("/console/inbox", N_("Messages to me"), group=N_("For me")),
    Entry("/console/concerns", N_("Suggestions and complaints")),
    Entry("/console/standing-in", N_("Standing in"), roles=(Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER, Role.ADMINISTRATOR)),
    Entry("/console/credentials", N_("My licences and training")),
    Entry("/console/account", N_("My account")),
)


#: What whoever stands in for a colleague sees besides their own lines.
LENT: Mapping[Role, Collection[str]] = {
    Role.DEPARTMENT_HEAD: ("/console/endorse", "/console/exchanges"),
    Role.INFORMATION_MANAGER: ("/console/decide", "/console/exchanges"),
}


def entries(caller: PersonCaller, lent: Collection[Role] = ()) -> list[Entry]:
    """The lines that somebody sees, each with its heading. ``lent``: offices that they hold for a colleague who is away."""

    def sees(entry: Entry) -> bool:
        if any(entry.path in LENT.get(role, ()) for role in lent):
            return True
        if entry.action is None and not entry.roles:
            return True
        return (entry.action is not None and caller.may(entry.action)) or not caller.roles.isdisjoint(entry.roles)

    found, group = [], ""
    for entry in ENTRIES:
        group = entry.group or group
        if sees(entry):
            found.append(replace(entry, group=group))
    return found


def start(caller: PersonCaller) -> str:
    """Where somebody begins: at their own work, which is the first line that not everybody sees."""
    seen = entries(caller)
    return next((entry for entry in seen if entry.action or entry.roles), seen[0]).path


def standing(path: str, listed: Collection[str], *, own: bool) -> str:
    """The line of the menu under which a page stands: the longest that its address begins with; "" for none.

    An application stands under the list to which it belongs for whoever looks: their own, those to decide, or all exchanges.
    """
    if path.startswith("/console/applications/") and not own:
        wanted = "/console/decide" if path.endswith("/decide") else "/console/exchanges"
        return wanted if wanted in listed else ""
    return max((one for one in listed if path == one or path.startswith(f"{one}/")), key=len, default="")
