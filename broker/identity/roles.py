"""Which role may press which button: one table, and which roles one person may not hold together.

Whether data may leave is not decided here but by policy; this says who may ask, decide, look back and administer.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person is in the sharing process (RS-5.3, RS-6.1). Chinese names: :data:`NAMES_ZH`."""

    APPLICANT = "applicant"
    DEPARTMENT_HEAD = "department_head"
    INFORMATION_MANAGER = "information_manager"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    REGULATOR = "regulator"


NAMES_ZH = {
    Role.APPLICANT: "申请人",
    Role.DEPARTMENT_HEAD: "科室负责人",
    Role.INFORMATION_MANAGER: "信息管理员",
    Role.AUDITOR: "审计员",
    Role.ADMINISTRATOR: "系统管理员",
    Role.REGULATOR: "监管人员",
}


class Action(StrEnum):
    """A button. Verbs that concern one record also ask whose record it is; that is their own rule, not this table's."""

    APPLICATION_WRITE = "application.write"  #: draft, change, submit, withdraw one's own applications
    APPLICATION_ENDORSE = "application.endorse"  #: endorse or return for one's own department
    APPLICATION_DECIDE = "application.decide"  #: approve, narrow, return, refuse
    APPLICATION_READ_ALL = "application.read-all"  #: see applications of every department
    GRANT_REVOKE = "grant.revoke"  #: suspend or revoke a grant
    CONSENT_WRITE = "consent.write"  #: file and revoke consents on a patient's behalf
    CONSENT_READ = "consent.read"
    PATIENT_MATCH = "patient.match"  #: look a patient up to apply for their data
    RECORDS_WRITE = "records.write"  #: ingest resources
    FEEDBACK_WRITE = "feedback.write"  #: report on the use of data received
    FEEDBACK_READ_ALL = "feedback.read-all"
    CONCERN_ANSWER = "concern.answer"  #: answer suggestions and complaints
    TRANSMISSION_READ = "transmission.read"  #: the transmission log: who sent what to whom
    POLICY_READ = "policy.read"  #: which policies decide, their drafts, tests and replays
    POLICY_WRITE = "policy.write"  #: draft, test, replay, approve and bring back policies
    LOG_READ = "log.read"  #: entries of the tamper-evident log
    REVIEW_READ = "review.read"  #: the quarterly review
    REVIEW_WRITE = "review.write"  #: findings, corrective actions, sign-off
    REGISTRY_READ = "registry.read"  #: organisations, people and clients
    KEY_READ = "key.read"  #: which keys the house has, how old they are, how far a change is; never a key
    WORKFORCE_READ = "workforce.read"  #: the registers of qualifications and training
    WORKFORCE_WRITE = "workforce.write"  #: enter and end certificates, say what each step demands
    ORGANIZATION_WRITE = "organization.write"
    PERSON_WRITE = "person.write"
    CLIENT_WRITE = "client.write"  #: register, suspend, change the keys of clients
    DESTRUCTION_ORDER = "destruction.order"  #: hold, propose and approve the destruction of data
    REQUEST_READ = "request.read"  #: patients' requests about their data: which, how far, by when
    REQUEST_HANDLE = "request.handle"  #: take them at the desk and answer them
    INCIDENT_READ = "incident.read"  #: incidents, violations, risks, corrective actions; whoever is signed in may report one
    INCIDENT_HANDLE = "incident.handle"  #: assess, contain, notify, investigate, close
    SUPERVISION_READ = "supervision.read"  #: what an authority is shown: figures and reports, and nothing of one patient


PERMISSIONS: dict[Role, frozenset[Action]] = {
    Role.APPLICANT: frozenset({Action.APPLICATION_WRITE, Action.PATIENT_MATCH, Action.FEEDBACK_WRITE}),
    Role.DEPARTMENT_HEAD: frozenset({Action.APPLICATION_WRITE, Action.APPLICATION_ENDORSE, Action.PATIENT_MATCH, Action.FEEDBACK_WRITE}),
    Role.INFORMATION_MANAGER: frozenset(
        {
            Action.APPLICATION_DECIDE,
            Action.APPLICATION_READ_ALL,
            Action.GRANT_REVOKE,
            Action.CONSENT_WRITE,
            Action.CONSENT_READ,
            Action.PATIENT_MATCH,
            Action.RECORDS_WRITE,
            Action.FEEDBACK_READ_ALL,
            Action.CONCERN_ANSWER,
            Action.TRANSMISSION_READ,
            Action.REVIEW_READ,
            Action.POLICY_READ,
            Action.POLICY_WRITE,
            Action.REGISTRY_READ,
            Action.ORGANIZATION_WRITE,
            Action.CLIENT_WRITE,
            Action.WORKFORCE_READ,
            Action.WORKFORCE_WRITE,
            Action.INCIDENT_READ,
            Action.INCIDENT_HANDLE,
            Action.DESTRUCTION_ORDER,
            Action.REQUEST_READ,
            Action.REQUEST_HANDLE,
        }
    ),
    Role.AUDITOR: frozenset(
        {
            Action.INCIDENT_READ,
            Action.REQUEST_READ,
            Action.APPLICATION_READ_ALL,
            Action.CONSENT_READ,
            Action.FEEDBACK_READ_ALL,
            Action.TRANSMISSION_READ,
            Action.LOG_READ,
            Action.POLICY_READ,
            Action.REVIEW_READ,
            Action.REVIEW_WRITE,
            Action.REGISTRY_READ,
            Action.KEY_READ,
            Action.WORKFORCE_READ,
            Action.SUPERVISION_READ,
        }
    ),
    Role.ADMINISTRATOR: frozenset(
        {
            Action.REGISTRY_READ,
            Action.KEY_READ,
            Action.ORGANIZATION_WRITE,
            Action.PERSON_WRITE,
            Action.CLIENT_WRITE,
            Action.WORKFORCE_READ,
            Action.WORKFORCE_WRITE,
        }
    ),
    Role.REGULATOR: frozenset({Action.SUPERVISION_READ}),
}

#: One person may not both run the system, decide on releases and audit them (GB/T 22239-2019 8.1.4.2, three roles apart).
#: Whoever decides on applications doesn't apply, and an auditor takes no part in what is audited.
APART: frozenset[frozenset[Role]] = frozenset(
    frozenset(pair)
    for pair in (
        (Role.ADMINISTRATOR, Role.INFORMATION_MANAGER),
        (Role.ADMINISTRATOR, Role.AUDITOR),
        (Role.INFORMATION_MANAGER, Role.AUDITOR),
        (Role.AUDITOR, Role.APPLICANT),
        (Role.AUDITOR, Role.DEPARTMENT_HEAD),
        *((Role.REGULATOR, role) for role in Role if role is not Role.REGULATOR),
    )
)


def permitted(roles: frozenset[Role]) -> frozenset[Action]:
    """Everything that somebody with these roles may do. No role: nothing."""
    return frozenset[Action]().union(*(PERMISSIONS[role] for role in roles))
