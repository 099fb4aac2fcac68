"""How plain columns name ids, identifiers and labels without saying them: HMACs under the blinding key."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from uuid import UUID

from broker.crypto import Keys


def id_token(keys: Keys, resource_type: str, resource_id: str) -> UUID:
    """The blinded type and id of a resource; the same for every patient, so that an id is found without knowing whose it is."""
    return UUID(bytes=keys.blind("id", resource_type, resource_id)[:16])


def label_tokens(keys: Keys, patient_key: UUID, labels: Iterable[str]) -> list[int]:
    """Label codes of one patient's resources as numbers, ordered, each once. The same label has another number for each patient."""
    return sorted({keys.label_token(patient_key, label) for label in labels})


def identifier_token(keys: Keys, resource_type: str, system: str, value: str) -> bytes:
    """A blinded business identifier. Full-width digits and the case of letters make no difference, since people type them."""
    return keys.blind("identifier", resource_type, system.strip(), unicodedata.normalize("NFKC", value).strip().casefold())[:16]


def person_token(keys: Keys, name: str, birth_date: str) -> bytes:
    """A blinded name (normalised by ``matching.name_key``) with a birth date: finds people who come without an identifier."""
    return keys.blind("person", name, birth_date)[:16]
