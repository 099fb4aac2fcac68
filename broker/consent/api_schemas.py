"""What the console sends and is shown of consents, over ``/api/v1/consents``."""

from __future__ import annotations

import base64
import binascii
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from broker.consent.asking_rules import Answerer, Scope
from broker.consent.capture import Answer, Needed, Proof
from broker.consent.explaining import Change, Explained, Foreseen, Judged, Seer, counts
from broker.consent.models import Asking, Evidence, Notice
from broker.consent.withdrawals import Told

#: Resources that one answer lists one by one; the counts are of all.
LISTED = 1000


def _decoded(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "It must be base64.") from None
    return text


def _printable(text: str) -> str:
    if not text.strip() or any(ord(character) < 32 for character in text):
        raise PydanticCustomError("text", "It must not be blank and hold no control characters.")
    return text


Code = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9.-]{0,63}$")]
Name = Annotated[str, AfterValidator(_printable), Field(min_length=1, max_length=200)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ScopeIn(_In):
    """What is asked for."""

    recipient: Annotated[str, Field(max_length=64)]
    purpose: Code
    method: Code = "fhir-api"
    data: Annotated[tuple[Code, ...], Field(min_length=1, max_length=50)]
    sensitive: Annotated[tuple[Code, ...], Field(max_length=50)] = ()
    until: date

    def scope(self) -> Scope:
        """As the rules take it."""
        return Scope(self.recipient, self.purpose, self.method, frozenset(self.data), frozenset(self.sensitive), self.until)


class EvidenceIn(_In):
    """One piece of evidence, in base64."""

    kind: Literal["document", "image", "questionnaire-response", "witness"]
    content_type: Annotated[str, Field(pattern=r"^[a-z]+/[A-Za-z0-9.+-]{1,80}$")]
    data: Annotated[str, AfterValidator(_decoded), Field(min_length=4, max_length=4_000_000)]


class GrantorIn(_In):
    """Who answers."""

    capacity: Literal["self", "guardian"] = "self"
    relationship: Literal["", "parent", "spouse", "child", "other-kin", "court-appointed", "institution"] = ""
    reason: Literal["", "no-capacity"] = ""
    name: Annotated[str, Field(max_length=200)] = ""


class AskIn(_In):
    """A patient was shown a notice and answered (PI-3.1)."""

    patient: Annotated[str, Field(max_length=64, description="FHIR id")]
    notice: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    scope: ScopeIn
    retention_days: Annotated[int, Field(strict=True, ge=1, le=3650)] = 30
    answer: Literal["given", "refused"]
    separate: Annotated[tuple[Literal["other-processor", "sensitive", "abroad"], ...], Field(max_length=3)] = ()
    grantor: GrantorIn = GrantorIn()
    language: Literal["zh", "en"] = "zh"
    evidence: Annotated[tuple[EvidenceIn, ...], Field(max_length=10)] = ()
    by_patient: StrictBool = False
    denies: StrictBool = False

    def taken(self) -> Answer:
        """As the verb takes it."""
        return Answer(
            patient={"reference": f"Patient/{self.patient}"}, notice=self.notice, version=self.version, scope=self.scope.scope(),
            retention_days=self.retention_days, given=self.answer == "given", separate=frozenset(self.separate),
            answerer=Answerer(self.grantor.capacity, self.grantor.relationship, self.grantor.reason), language=self.language,
            evidence=tuple(Proof(one.kind, one.content_type, base64.b64decode(one.data)) for one in self.evidence),
            by_patient=self.by_patient, denies=self.denies, name=self.grantor.name,
        )  # fmt: skip


class NeededIn(_In):
    """Whether a patient must be asked."""

    patient: Annotated[str, Field(max_length=64)]
    scope: ScopeIn


class PreviewIn(_In):
    """A notice as a patient would be shown it."""

    notice: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    scope: ScopeIn
    retention_days: Annotated[int, Field(strict=True, ge=1, le=3650)] = 30


class ForeseeIn(_In):
    """A consent before it is signed."""

    consent: dict[str, Any]
    recipients: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(min_length=1, max_length=20)]
    purposes: Annotated[tuple[Code, ...], Field(min_length=1, max_length=20)]


class AcknowledgeIn(_In):
    """A past recipient acknowledges a withdrawal."""

    destroyed: StrictBool


def notice_shown(row: Notice) -> dict[str, Any]:
    """A version of a notice."""
    return {"name": row.name, "version": row.version, "content": row.content, "made_at": row.made_at.isoformat(), "in_use": row.retired_at is None}


def asking_shown(row: Asking, record: dict[str, Any], proofs: list[Evidence]) -> dict[str, Any]:
    """One asking with its answer; evidence by number, to be fetched one by one."""
    kept = {name: record[name] for name in ("scope", "retention_days", "separate", "language", "capacity", "relationship", "reason", "name", "shown")}
    listed = [{"number": one.number, "kind": one.kind, "content_type": record["types"][one.number - 1]} for one in proofs]
    consent = None if row.consent_id is None else str(row.consent_id)
    return {"id": str(row.id), "notice": row.notice, "version": row.notice_version, "answer": row.answer, "at": row.at.isoformat(),
            "by": row.actor, "consent": consent, "evidence": listed, **kept}  # fmt: skip


def needed_shown(found: Needed) -> dict[str, Any]:
    """Whether a patient must be asked, and why."""
    moment = None if found.not_before is None else found.not_before.isoformat(timespec="seconds")
    consent = None if found.carried_by is None else str(found.carried_by)
    return {"needed": found.carried_by is None, "carried_by": consent, "reasons": list(found.reasons), "not_before": moment}


def judged_shown(one: Judged) -> dict[str, Any]:
    """What the consents say of one resource."""
    return {
        "resource": one.resource,
        "date": one.date,
        "effect": one.effect.value,
        "reason": one.reason,
        "consent": one.consent or None,
        "provision": one.provision or None,
        "notes_withheld": one.notes,
    }


def explained_shown(found: Explained) -> dict[str, Any]:
    """For a patient, recipient and purpose."""
    listed = [judged_shown(one) for one in found.judged[:LISTED]]
    whole = found.whole and len(found.judged) <= LISTED
    return {"base": found.base.value, "consents": list(found.consents), "counts": counts(found.judged), "resources": listed, "whole": whole}


def seers_shown(found: tuple[Seer, ...]) -> dict[str, Any]:
    """For one resource: who could see it."""
    return {"organizations": [{"organization": one.organization, **judged_shown(one.judged)} for one in found]}


def foreseen_shown(found: Foreseen, language: str) -> dict[str, Any]:
    """For a consent before it is signed."""

    def change(one: Change) -> dict[str, Any]:
        listed = [{"before": judged_shown(before), "after": judged_shown(after)} for before, after in one.changed[:LISTED]]
        return {"recipient": one.recipient, "purpose": one.purpose, "unchanged": one.unchanged, "changed": len(one.changed), "resources": listed}

    return {
        "report": found.report.to_json(language),
        "replaces": [str(one) for one in found.replaces],
        "changes": [change(one) for one in found.changes],
        "whole": found.whole,
    }


def told_shown(one: Told) -> dict[str, Any]:
    """A past recipient's notice."""

    def moment(value: datetime | None) -> str | None:
        return None if value is None else value.isoformat(timespec="seconds")

    return {"consent": str(one.consent), "recipient": one.recipient, "releases": one.releases, "at": moment(one.at),
            "acknowledged_at": moment(one.acknowledged_at), "acknowledged_by": one.acknowledged_by, "destroyed": one.destroyed}  # fmt: skip
