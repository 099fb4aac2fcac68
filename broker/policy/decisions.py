"""What is kept of a decision, so that it can be asked again: question and plan, sealed under the patient's data key.

A question that was answered from memory has its row already (``RememberingEngine``), so that a row is written about once a minute for
each patient, caller and set of terms. Shredding the patient's key takes question and plan along; what is in the log stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import zstandard

from broker.crypto import KeyUnusable, seal, unseal
from broker.policy.decision import Decision

INSERT_DECISION = """
INSERT INTO policy_decision
  (patient_key, input_hash, revision, at, question, effect, reasons, engine, purpose, recipient, profile, sealed)
VALUES
  (%(patient_key)s, %(input_hash)s, %(revision)s, %(at)s, %(question)s, %(effect)s, %(reasons)s, %(engine)s, %(purpose)s, %(recipient)s,
   %(profile)s, %(sealed)s)
ON CONFLICT DO NOTHING
"""


def row_of(decision: Decision, *, patient_key: UUID, data_key: bytes) -> dict[str, Any]:
    """The row of a decision that carries its question, for :data:`INSERT_DECISION`."""
    facts = orjson.loads(decision.facts)
    content = orjson.dumps({"facts": facts, "plan": decision.plan})
    return {
        "patient_key": patient_key,
        "input_hash": decision.input_hash,
        "revision": decision.revision,
        "at": datetime.fromtimestamp(facts["at"], UTC),
        "question": facts["question"],
        "effect": decision.effect.value,
        "reasons": sorted({reason.code for reason in decision.reasons}),
        "engine": decision.engine,
        "purpose": facts["request"]["purpose"],
        "recipient": facts["recipient"]["id"],
        "profile": (decision.plan or {}).get("profile", ""),
        "sealed": seal(data_key, zstandard.ZstdCompressor(level=3).compress(content), _associated(patient_key, decision.input_hash)),
    }


def opened(sealed: bytes, *, patient_key: UUID, input_hash: str, data_key: bytes) -> Mapping[str, Any]:
    """``{"facts", "plan"}`` again. Raises KeyUnusable if it isn't what was sealed."""
    try:
        content = zstandard.ZstdDecompressor().decompress(unseal(data_key, sealed, _associated(patient_key, input_hash)))
        found: Mapping[str, Any] = orjson.loads(content)
    except (zstandard.ZstdError, ValueError) as error:
        raise KeyUnusable("a kept decision does not open") from error
    return found


def _associated(patient_key: UUID, input_hash: str) -> bytes:
    return b"decision|" + patient_key.bytes + input_hash.encode()
