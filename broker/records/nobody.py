"""The patient who is nobody: work is done on them where there is no such patient, as it would be on one whose data stay here (attacks B15, G13)."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from broker.crypto import Keys
from broker.records.vault import Vault, new_vault, unwrap

#: Stands for the patient whom a call names and nobody is. No row of a patient, resource or grant has it.
NOBODY = UUID(int=1)


@lru_cache(maxsize=4)
def _row(keys: Keys) -> tuple[bytes, bytes]:
    _, wrapped_key, fhir_id_sealed = new_vault(keys, NOBODY, "")
    return wrapped_key, fhir_id_sealed


def nobody(keys: Keys) -> Vault:
    """A vault that opens nothing, unwrapped as a patient's is. What is sealed with it no other process can read."""
    return unwrap(keys, NOBODY, *_row(keys), 0)
