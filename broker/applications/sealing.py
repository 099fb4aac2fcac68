"""What people type about patients, kept so that a reader of the database learns nothing from it.

The key of an application is an HMAC of its id under the installation's blinding key: no two applications share one. Each
sealed value is bound to its application and its field, so that it opens nowhere else.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from broker import crypto
from broker.crypto import Keys


def _key(keys: Keys, application: UUID) -> bytes:
    return keys.blind("application", application.hex)


def _bound(application: UUID, field: str) -> bytes:
    return f"application|{application}|{field}".encode()


def seal_text(keys: Keys, application: UUID, field: str, text: str | None) -> bytes | None:
    """A text sealed for one field of one application; None stays None."""
    return None if text is None else crypto.seal(_key(keys, application), text.encode(), _bound(application, field))


def unseal_text(keys: Keys, application: UUID, field: str, sealed: bytes | None) -> str | None:
    """The text again. Raises crypto.KeyUnusable where it was sealed for another place."""
    return None if sealed is None else crypto.unseal(_key(keys, application), sealed, _bound(application, field)).decode()


def seal_json(keys: Keys, application: UUID, field: str, value: Any) -> bytes:
    """Any JSON value, sealed as :func:`seal_text` does."""
    return crypto.seal(_key(keys, application), json.dumps(value, ensure_ascii=False).encode(), _bound(application, field))


def unseal_json(keys: Keys, application: UUID, field: str, sealed: bytes) -> Any:
    """The JSON value again."""
    return json.loads(crypto.unseal(_key(keys, application), sealed, _bound(application, field)))


def seal_typed(data_key: bytes, patient_key: UUID, application: UUID, typed: dict[str, Any]) -> bytes:
    """What was typed about a matched patient, under the patient's own data key: it goes when that key is shredded."""
    return crypto.seal(data_key, json.dumps(typed, ensure_ascii=False).encode(), _bound(application, f"typed|{patient_key}"))


def unseal_typed(data_key: bytes, patient_key: UUID, application: UUID, sealed: bytes) -> dict[str, Any]:
    """What was typed, again."""
    typed: dict[str, Any] = json.loads(crypto.unseal(data_key, sealed, _bound(application, f"typed|{patient_key}")))
    return typed
