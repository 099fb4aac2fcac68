"""What of a consent is sealed with the patient's data key, and to which place it is bound."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from broker.crypto import seal, unseal
from broker.records.service import Vault

Part = Literal["body", "residual", "evidence", "disclosure", "asking"]


def _place(vault: Vault, consent: UUID, version: int, part: Part) -> bytes:
    return f"consent|{vault.patient_key.hex}|{consent.hex}|{version}|{part}".encode()


def sealed(vault: Vault, consent: UUID, version: int, part: Part, content: bytes) -> bytes:
    """The bytes to store for this part of this version."""
    return seal(vault.data_key, content, _place(vault, consent, version, part))


def opened(vault: Vault, consent: UUID, version: int, part: Part, stored: bytes) -> bytes:
    """What was sealed at this very place. Raises crypto.KeyUnusable for any other bytes or place."""
    return unseal(vault.data_key, stored, _place(vault, consent, version, part))
