"""What is recorded: one frozen value for each thing that happened, named ``thing.happened``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class Event:
    """Something that happened. Everything in it goes into the log's leaf, so nothing in it may say who the patient is.

    ``facts`` holds codes, counts, hashes and numbers that name records (such as ``SA-2026-000001``), never clinical content,
    names or patient ids. Low-entropy secrets are salted before they are hashed into it. Every string is printable ASCII without
    spaces, at most 512 long; whole numbers are below 2^53; the whole leaf is at most 2 KB (``audit.leaf`` refuses the rest).

    The transmission log reads these facts of ``release.permitted`` and its outcome: ``sender`` (organisation id), ``items``
    (how many resources), ``manifest`` (SHA-256 of the manifest), ``bytes`` (how many were sent).
    """

    type: str  #: ``application.submitted``, ``release.permitted``, ``release.sent``, ``release.refused``, ``consent.filed``, ``key.created`` …
    actor: str  #: ``person:<id>``, ``client:<id>`` or ``system``
    application: str | None = None  #: SA-YYYY-NNNNNN
    grant: str | None = None
    recipient: str | None = None  #: organisation id
    purpose: str | None = None
    patient: UUID | None = None  #: blinded key; a plain column for queries, never in the leaf
    subject: str | None = None  #: hex HMAC under the patient's own log key (records.service.Vault.subject); this is in the leaf
    release: UUID | None = None  #: joins an intent with its outcome
    outcome: str | None = None  #: permit, deny, unavailable, sent, partial, failed
    facts: Mapping[str, str | int | bool | list[str]] = field(default_factory=dict)
