"""Obligations and recalls as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from broker.obligations.ledger import Answer
from broker.obligations.lifecycle import Done


def _printable(text: str) -> str:
    if any(ord(character) < 32 and character not in "\n\r\t" for character in text):
        raise PydanticCustomError("control_character", "Control characters are not allowed.")
    return text


Words = Annotated[str, AfterValidator(_printable), Field(max_length=4000)]
Code = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
Number = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Z]{2}-[0-9]{4}-[0-9]{6,}$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AnswerIn(_In):
    """What was done (``kept``: by which law), how (a code such as wiped, shredded, destroyed-media), and where that can be seen."""

    application: Number
    codes: Annotated[tuple[Code, ...], Field(max_length=50, description="None named: all that are open")] = ()
    done: Done
    method: Code
    evidence: Words

    def answer(self, digest: str | None = None) -> Answer:
        """As the verb takes it."""
        return Answer(self.done, self.method, self.evidence, digest)


class AcknowledgeIn(_In):
    """What was done about a recall under one application."""

    application: Number
    done: Done
    method: Code
    evidence: Words

    def answer(self, digest: str | None = None) -> Answer:
        """As the verb takes it."""
        return Answer(self.done, self.method, self.evidence, digest)


class SignedRecallIn(AcknowledgeIn):
    """The same in a signed file, which also names the recall."""

    recall: Number


class SignedIn(_In):
    """A signed file of a recipient's system: a compact JWS (see ``docs/operations.md``)."""

    statement: Annotated[str, Field(min_length=10, max_length=9000, pattern=r"^[A-Za-z0-9_.-]+$")]


class TextIn(_In):
    """Words that say why."""

    text: Annotated[str, AfterValidator(_printable), Field(min_length=1, max_length=4000)]


class ObligationOut(BaseModel):
    """One obligation: who owes what for how many releases, until when, and what was answered."""

    id: UUID
    application: str
    recipient: str
    code: str
    due_on: date
    overdue: bool
    status: str
    releases: int
    first_release: UUID
    first_at: datetime
    last_at: datetime
    method: str | None
    evidence: str | None
    evidence_digest: str | None
    answered_at: datetime | None
    answered_by: str | None


class ReleaseOut(BaseModel):
    """A release that a recall is about."""

    release: UUID
    at: datetime
    items: int | None
    manifest: str | None


class RecallOut(BaseModel):
    """What one recipient is asked under one application, and what it did."""

    recall: str
    reason: str
    application: str
    recipient: str
    releases: int
    issued_at: datetime
    due_on: date
    overdue: bool
    done: str | None
    method: str | None
    evidence: str | None
    evidence_digest: str | None
    answered_at: datetime | None
