"""Words that speak of one patient, sealed under that patient's data key: they go when the key is destroyed, wherever they lie."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import Session

from broker.crypto import Keys, seal, unseal
from broker.records.patients import open_vault
from broker.records.shredding import is_shredded

#: Opens what is sealed so. AES-GCM's nonce stands first in what other keys seal, and is these bytes once in 2**48.
_MARK = b"\x00word\x01"


def seal_words(session: Session, keys: Keys, patient_key: UUID, place: str, text: str | None) -> bytes | None:
    """A text sealed for one place; None stays None. Raises UnknownPatient, RecordUnreadable where the key is gone."""
    if text is None:
        return None
    return _MARK + seal(open_vault(session, keys, patient_key).data_key, text.encode(), _bound(place))


def open_words(session: Session, keys: Keys, patient_key: UUID, place: str, sealed: bytes | None) -> str | None:
    """The text again; None where there is none, or the patient's key was destroyed. Raises KeyUnusable for another place."""
    if sealed is None or is_shredded(session, patient_key):
        return None
    return unseal(open_vault(session, keys, patient_key).data_key, sealed.removeprefix(_MARK), _bound(place)).decode()


def under_patient(sealed: bytes | None) -> bool:
    """Whether something was sealed here, and not under a key of the house."""
    return sealed is not None and sealed.startswith(_MARK)


def _bound(place: str) -> bytes:
    return f"words|{place}".encode()
