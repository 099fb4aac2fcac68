"""What is kept of applications, of what was decided on them, and of the grants that came out of it.

Who a patient is stands in no plain column: what the applicant typed is sealed, under the application's own key while it is
being written and under the patient's data key once submitted, so that shredding that key destroys it. Free text, which may
name a patient too, is sealed under the application's key (``sealing``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker.applications.lifecycle import Action, GrantAction, GrantState, State

_TIME = sa.DateTime(timezone=True)

#: Steps after which nobody may take another one in the same round: who asked, who endorsed, who let it pass.
EYES = (Action.SUBMIT, Action.ENDORSE, Action.AGREE, Action.CONCUR, Action.APPROVE, Action.NARROW)


def _quoted(values: Any) -> str:
    return ", ".join(f"'{value.value}'" for value in values)


class Application(SQLModel, table=True):
    """One request to share. ``version`` counts every change and is the ETag; ``round`` counts submissions."""

    __tablename__ = "application"
    __table_args__ = (
        sa.CheckConstraint(f"status IN ({_quoted(State)})", name="status"),
        sa.CheckConstraint("(number IS NULL) = (submitted_at IS NULL)", name="numbered"),
        sa.Index("ix_application_created_at_id", "created_at", "id"),
        sa.Index("ix_application_recipient_id_created_at", "recipient_id", "created_at"),
        sa.Index("ix_application_requester_id_created_at", "requester_id", "created_at"),
        sa.Index("ix_application_organization_id_created_at", "organization_id", "created_at"),
        sa.Index("ix_application_submitted_at_id", "submitted_at", "id"),
        sa.Index("ix_application_changed_at_id", "changed_at", "id"),
        sa.Index("ix_application_status_submitted_at_id", "status", "submitted_at", "id"),
        sa.Index("ix_application_purpose_submitted_at_id", "purpose", "submitted_at", "id"),
        sa.Index("ix_application_urgency_submitted_at_id", sa.text("(form ->> 'urgency')"), "submitted_at", "id"),
        sa.Index("ix_application_number_prefix", "number", postgresql_ops={"number": "text_pattern_ops"}),
        sa.Index("ix_application_needs", "needs", postgresql_using="gin"),
        sa.Index("ix_application_due_at", "due_at", postgresql_where=sa.text("status IN ('submitted', 'endorsed')")),
        sa.Index("ix_application_parent_id", "parent_id"),
        sa.CheckConstraint("(parent_id IS NULL) = (relation IS NULL)", name="parent"),
        sa.CheckConstraint("relation IN ('renewal', 'amendment')", name="relation"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str | None = Field(default=None, sa_type=sa.Text, unique=True)  #: SA-YYYY-NNNNNN, from the first submission on
    requester_id: UUID = Field(foreign_key="person.id")
    organization_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")  #: the requester's, when the draft was made
    recipient_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="organization.id")
    on_behalf: bool = False  #: entered by the information manager for an outside organisation
    status: str = Field(default=State.DRAFT.value, sa_type=sa.Text)
    version: int = 1
    round: int = 0
    purpose: str | None = Field(default=None, sa_type=sa.Text)
    form: dict[str, Any] = Field(sa_type=JSONB)  #: as posted, without patients and justification
    patients_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)  #: as typed; None once submitted
    justification_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    parent_id: UUID | None = Field(default=None, foreign_key="application.id")  #: what it renews or amends
    relation: str | None = Field(default=None, sa_type=sa.Text)  #: renewal or amendment
    needs: list[str] = Field(
        default_factory=list, sa_type=JSONB, sa_column_kwargs={"server_default": "[]"}
    )  #: steps besides endorsement (``steps_needed``)
    due_at: datetime | None = Field(default=None, sa_type=_TIME)  #: by when the step that it waits for is to be taken
    content_hash: str | None = Field(default=None, sa_type=sa.Text)  #: of what was submitted (``terms.content_hash``)
    created_at: datetime = Field(sa_type=_TIME)
    changed_at: datetime = Field(sa_type=_TIME)
    submitted_at: datetime | None = Field(default=None, sa_type=_TIME)  #: the newest submission
    decided_at: datetime | None = Field(default=None, sa_type=_TIME)  #: approved, refused or withdrawn


class ApplicationPatient(SQLModel, table=True):
    """A patient of a submitted application, matched with certainty."""

    __tablename__ = "application_patient"
    __table_args__ = (sa.Index("ix_application_patient_application_id_position", "application_id", "position", unique=True),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    application_id: UUID = Field(primary_key=True, foreign_key="application.id")
    position: int  #: place in the form, from 1
    typed_sealed: bytes = Field(sa_type=sa.LargeBinary)  #: what the applicant typed, under the patient's data key


class Assessment(SQLModel, table=True):
    """The machine's opinion on one submitted content at one moment. Written once."""

    __tablename__ = "application_assessment"
    __table_args__ = (sa.UniqueConstraint("application_id", "ordinal"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    application_id: UUID = Field(foreign_key="application.id")
    ordinal: int  #: counts the assessments of an application, from 1
    round: int
    content_hash: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)
    effect: str = Field(sa_type=sa.Text)  #: permit if every patient's is, unavailable if one is, else deny
    revision: str = Field(sa_type=sa.Text)  #: of the policies
    engine: str = Field(sa_type=sa.Text)


class PatientAssessment(SQLModel, table=True):
    """What policy and consent said about one patient of an assessment. Written once."""

    __tablename__ = "application_assessment_patient"
    __table_args__ = (sa.Index("ix_application_assessment_patient_assessment_id_position", "assessment_id", "position"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    assessment_id: UUID = Field(primary_key=True, foreign_key="application_assessment.id")
    position: int
    effect: str = Field(sa_type=sa.Text)
    reasons: list[dict[str, str]] = Field(sa_type=JSONB)
    plan: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    obligations: list[dict[str, Any]] = Field(sa_type=JSONB)
    necessity: dict[str, Any] = Field(sa_type=JSONB)
    consents: list[str] = Field(sa_type=JSONB)
    consent_epoch: int = Field(sa_type=sa.BigInteger)


class Decision(SQLModel, table=True):
    """One step that somebody took, from submission on. Written once.

    The unique index lets the database itself hold the four eyes: two steps of one round by one natural person can't commit.
    """

    __tablename__ = "application_decision"
    __table_args__ = (
        sa.Index("ix_application_decision_application_id_version", "application_id", "version"),
        sa.Index("ix_application_decision_at", "at"),
        sa.Index(
            "uq_application_decision_four_eyes",
            "application_id",
            "round",
            "natural_person",
            unique=True,
            postgresql_where=sa.text(f"action IN ({_quoted(EYES)})"),
        ),
        sa.CheckConstraint(f"action IN ({_quoted((*Action, *GrantAction))})", name="action"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    application_id: UUID = Field(foreign_key="application.id")
    round: int
    action: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)
    person_id: UUID | None = Field(default=None, foreign_key="person.id")  #: None: the clock
    natural_person: str | None = Field(default=None, sa_type=sa.Text)
    on_behalf_of: UUID | None = Field(default=None, foreign_key="person.id")  #: whose office the person held by delegation
    place: str | None = Field(default=None, sa_type=sa.Text)  #: the departments to which the data belong, by spaces, of ``agree``
    version: int  #: of the application, after this step
    content_hash: str = Field(sa_type=sa.Text)
    assessment_id: UUID | None = Field(default=None, foreign_key="application_assessment.id")  #: what the step rests on
    assessed: str | None = Field(default=None, sa_type=sa.Text)  #: effect of the assessment that lay on the table
    reason_code: str | None = Field(default=None, sa_type=sa.Text)
    reason_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class Grant(SQLModel, table=True):
    """The agreed terms. The web process may change its status and count its releases, and nothing else of it."""

    __tablename__ = "sharing_grant"
    __table_args__ = (
        sa.CheckConstraint(f"status IN ({_quoted(GrantState)})", name="status"),
        sa.CheckConstraint("(frequency_limit IS NULL) = (frequency_seconds IS NULL)", name="frequency"),
        sa.CheckConstraint("frequency_used >= 0 AND (frequency_limit IS NULL OR frequency_used <= frequency_limit)", name="frequency_used"),
        sa.CheckConstraint("releases_used >= 0 AND (releases_limit IS NULL OR releases_used <= releases_limit)", name="releases"),
        sa.Index("ix_sharing_grant_requester_id_first_released_at", "requester_id", "first_released_at"),
        sa.Index("ix_sharing_grant_valid_until", "valid_until", postgresql_where=sa.text("status IN ('awaiting', 'active', 'suspended')")),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    application_id: UUID = Field(foreign_key="application.id", unique=True)
    number: str = Field(sa_type=sa.Text, unique=True)  #: the application's
    requester_id: UUID = Field(foreign_key="person.id")
    recipient_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")
    purpose: str = Field(sa_type=sa.Text)
    lawful_basis: str = Field(sa_type=sa.Text)
    terms: dict[str, Any] = Field(sa_type=JSONB)  #: ``terms.Terms.to_json``
    patients_digest: str = Field(sa_type=sa.Text)
    content_hash: str = Field(sa_type=sa.Text)  #: of terms and patients, recomputed at every release
    consents: list[str] = Field(sa_type=JSONB)  #: ids of the consents that spoke when it was approved
    approved_by: int  #: how many people decided for it, the applicant not counted
    approved_at: datetime = Field(sa_type=_TIME)
    valid_from: datetime = Field(sa_type=_TIME)
    valid_until: datetime = Field(sa_type=_TIME)  #: the first moment at which it is no longer valid
    status: str = Field(default=GrantState.ACTIVE.value, sa_type=sa.Text)
    status_at: datetime = Field(sa_type=_TIME)
    releases_limit: int | None = None
    releases_used: int = 0
    first_released_at: datetime | None = Field(default=None, sa_type=_TIME)
    frequency_limit: int | None = None  #: so many releases within each window of ``frequency_seconds``
    frequency_seconds: int | None = None
    frequency_used: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  #: in the window that began at ``frequency_since``
    frequency_since: datetime | None = Field(default=None, sa_type=_TIME)


class Submission(SQLModel, table=True):
    """What was handed in at each submission, so that what was changed since can be shown. Written once."""

    __tablename__ = "application_submission"

    application_id: UUID = Field(primary_key=True, foreign_key="application.id")
    round: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=_TIME)
    form: dict[str, Any] = Field(sa_type=JSONB)
    patients: list[str] = Field(sa_type=JSONB)  #: blinded keys in hex, in the form's order
    attachments: list[str] = Field(sa_type=JSONB)  #: SHA-256 of each, sorted
    justification_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class Attachment(SQLModel, table=True):
    """A document that belongs to an application, sealed under its key. Removed while it may still be changed, it is gone."""

    __tablename__ = "application_attachment"
    __table_args__ = (sa.Index("ix_application_attachment_application_id", "application_id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    application_id: UUID = Field(foreign_key="application.id")
    kind: str = Field(sa_type=sa.Text)
    media_type: str = Field(sa_type=sa.Text)
    size: int  #: in bytes
    digest: str = Field(sa_type=sa.Text)  #: HMAC-SHA256 of the content under the application's key, hex
    added_by: UUID = Field(foreign_key="person.id")
    added_at: datetime = Field(sa_type=_TIME)
    name_sealed: bytes = Field(sa_type=sa.LargeBinary)
    body_sealed: bytes = Field(sa_type=sa.LargeBinary)


class Delegation(SQLModel, table=True):
    """Somebody stands in for somebody else in one office for a while. Ended early, ``until`` is moved back."""

    __tablename__ = "delegation"
    __table_args__ = (
        sa.CheckConstraint("since < until", name="order"),
        sa.CheckConstraint("delegate_id <> person_id", name="other"),
        sa.CheckConstraint("role IN ('department_head', 'information_manager')", name="role"),
        sa.Index("ix_delegation_delegate_id_until", "delegate_id", "until"),
        sa.Index("ix_delegation_person_id_until", "person_id", "until"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    person_id: UUID = Field(foreign_key="person.id")
    delegate_id: UUID = Field(foreign_key="person.id")
    role: str = Field(sa_type=sa.Text)
    organization_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")
    since: datetime = Field(sa_type=_TIME)
    until: datetime = Field(sa_type=_TIME)
    created_at: datetime = Field(sa_type=_TIME)
    created_by: UUID = Field(foreign_key="person.id")


class DataOwner(SQLModel, table=True):
    """The department to which a data class, and what lies below it, belongs; its head agrees before such data leave."""

    __tablename__ = "data_owner"

    data_class: str = Field(sa_type=sa.Text, primary_key=True)
    organization_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")


class Network(SQLModel, table=True):
    """Organisations that share data under common terms, such as a medical consortium (医联体)."""

    __tablename__ = "network"

    id: str = Field(sa_type=sa.Text, primary_key=True)
    name_zh: str = Field(sa_type=sa.Text)
    name_en: str = Field(sa_type=sa.Text)


class NetworkMember(SQLModel, table=True):
    """An organisation of a network, with everything that belongs to it."""

    __tablename__ = "network_member"

    network_id: str = Field(sa_type=sa.Text, primary_key=True, foreign_key="network.id")
    organization_id: str = Field(sa_type=sa.Text, primary_key=True, foreign_key="organization.id")


class Agreement(SQLModel, table=True):
    """Terms of use that bind an organisation or a network. Each version is written once; the newest binds."""

    __tablename__ = "agreement"
    __table_args__ = (sa.CheckConstraint("organization_id IS NULL OR network_id IS NULL", name="binds"),)

    id: str = Field(sa_type=sa.Text, primary_key=True)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    organization_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="organization.id")
    network_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="network.id")  #: neither: every outside organisation
    title_zh: str = Field(sa_type=sa.Text)
    title_en: str = Field(sa_type=sa.Text)
    text_zh: str = Field(sa_type=sa.Text)
    text_en: str = Field(sa_type=sa.Text)
    digest: str = Field(sa_type=sa.Text)  #: SHA-256 of what was published, hex
    published_at: datetime = Field(sa_type=_TIME)
    published_by: UUID = Field(foreign_key="person.id")


class AgreementAcceptance(SQLModel, table=True):
    """An organisation accepted one version. Written once."""

    __tablename__ = "agreement_acceptance"
    __table_args__ = (sa.ForeignKeyConstraint(["agreement_id", "version"], ["agreement.id", "agreement.version"]),)

    agreement_id: str = Field(sa_type=sa.Text, primary_key=True)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    organization_id: str = Field(sa_type=sa.Text, primary_key=True, foreign_key="organization.id")
    person_id: UUID = Field(foreign_key="person.id")
    at: datetime = Field(sa_type=_TIME)


class GrantPatient(SQLModel, table=True):
    """A patient whose data may leave under a grant."""

    __tablename__ = "grant_patient"
    __table_args__ = (sa.Index("ix_grant_patient_grant_id_patient_key", "grant_id", "patient_key"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    grant_id: UUID = Field(primary_key=True, foreign_key="sharing_grant.id")


class GrantWindow(SQLModel, table=True):
    """The time to which a grant is tied (``windows``): nothing leaves before it is opened, nor once it is shut or over."""

    __tablename__ = "grant_window"
    __table_args__ = (sa.CheckConstraint("opens_at < closes_at", name="span"),)

    grant_id: UUID = Field(primary_key=True, foreign_key="sharing_grant.id")
    opens_at: datetime = Field(sa_type=_TIME)
    closes_at: datetime = Field(sa_type=_TIME)  #: the first moment after it
    opened_at: datetime | None = Field(default=None, sa_type=_TIME)
    closed_at: datetime | None = Field(default=None, sa_type=_TIME)


class ApplicationNumber(SQLModel, table=True):
    """The last number of a year. Its row is locked until the number's transaction ends, so that there is no gap."""

    __tablename__ = "application_number"

    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last: int


class IdempotencyKey(SQLModel, table=True):
    """An answer that was given under an Idempotency-Key, to be given again (draft-ietf-httpapi-idempotency-key-header-07)."""

    __tablename__ = "idempotency_key"
    __table_args__ = (sa.Index("ix_idempotency_key_created_at", "created_at"),)

    actor: str = Field(sa_type=sa.Text, primary_key=True)
    key: str = Field(sa_type=sa.Text, primary_key=True)
    request_hash: bytes = Field(sa_type=sa.LargeBinary)
    created_at: datetime = Field(sa_type=_TIME)
    answer_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
