"""What the log says of a release: its intent, its refusal, its outcome. No patient data, no ids of resources."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import zstandard

from broker.audit.events import Event
from broker.crypto import KeyUnusable, seal, unseal
from broker.fhir import residual
from broker.fhir.plan import ReleasePlan
from broker.identity.access import ReleaseCaller
from broker.policy.decision import Decision
from broker.release.answers import Item, Kind, Ready, Refusal

_ZSTD_LEVEL = 1

INSERT_RELEASE = """
INSERT INTO release
  (patient_key, id, grant_id, application, client_id, intent, sent_at, outcome, items, held_back, body_bytes, digest, plan, policy_revision, manifest,
   signature)
VALUES
  (%(patient_key)s, %(id)s, %(grant_id)s, %(application)s, %(client_id)s, %(intent)s, %(sent_at)s, %(outcome)s, %(items)s, %(held_back)s,
   %(body_bytes)s, %(digest)s, %(plan)s, %(policy_revision)s, %(manifest)s, %(signature)s)
"""


def about(caller: ReleaseCaller, *, patient: UUID | None, subject: str | None, recipient: str | None) -> Event:
    """What every event of one call has in common; ``type`` and ``outcome`` are still to be said."""
    return Event(
        type="release",
        actor=caller.actor,
        application=caller.application,
        grant=str(caller.grant_id),
        recipient=recipient or caller.organization_id,
        purpose=caller.purpose,
        patient=patient,
        subject=subject,
    )


def permitted(common: Event, release: UUID, decision: Decision, *, sender: str, plan: str, epoch: int, types: Sequence[str]) -> Event:
    """The intent: committed before the first resource is read."""
    facts: Mapping[str, str | int | bool | list[str]] = {
        "sender": sender,
        "policy": decision.revision,
        "engine": decision.engine,
        "input": decision.input_hash,
        "plan": plan,
        "epoch": epoch,
        "types": sorted(types),
        # What the recipient must do with what follows, such as DELAU:30 (days): the ledger of obligations reads it here.
        "obligations": sorted(f"{one['code']}:{one['days']}" if "days" in one else str(one["code"]) for one in decision.obligations),
    }
    return replace(common, type="release.permitted", outcome="permit", release=release, facts=facts)


def refused(common: Event, refusal: Refusal) -> Event:
    """A refusal, with the permanent codes of its reasons."""
    decision = refusal.decision
    facts: dict[str, str | int | bool | list[str]] = {"reasons": sorted(set(refusal.reasons))[:20], "kind": refusal.kind.value}
    if decision is not None:
        facts |= {"policy": decision.revision, "engine": decision.engine, "input": decision.input_hash}
    return replace(common, type="release.refused", outcome="unavailable" if refusal.kind is Kind.UNAVAILABLE else "deny", facts=facts)


def sent(common: Event, ready: Ready, plan: ReleasePlan, *, complete: bool, manifest: str) -> Event:
    """What left: how many resources, the digest of the bytes and of the sealed manifest, and how many may tell who the patient is, by what."""
    facts: dict[str, str | int | bool | list[str]] = {
        "items": ready.count,
        "held_back": ready.held_back,
        "bytes": len(ready.body),
        "digest": ready.digest,
        "manifest": manifest,
        "residual": [f"{kind}:{number}" for kind, number in residual.counted(plan, ready.types).items()],
    }
    if ready.answered:
        facts["recognised"] = ready.answered
    return replace(
        common, type="release.sent" if complete else "release.partial", outcome="sent" if complete else "partial", release=ready.release, facts=facts
    )


def failed(common: Event, release: UUID, reason: str) -> Event:
    """Nothing left although it was permitted: why."""
    return replace(common, type="release.failed", outcome="failed", release=release, facts={"reason": reason})


def _associated(patient_key: UUID, release: UUID) -> bytes:
    return b"manifest|" + patient_key.bytes + release.bytes


class _Packer(threading.local):
    """A zstd context of one thread: to make one costs more than to pack a manifest."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress


_packer = _Packer()


def packed_manifest(items: Sequence[Item]) -> bytes:
    """The list of what leaves, compressed."""
    lines = "\n".join([f"{kind} {name} {version} {digest}" for kind, name, version, digest in items])
    return _packer.compress(lines.encode())


def sealed_manifest(data_key: bytes, patient_key: UUID, release: UUID, packed: bytes) -> bytes:
    """The compressed list of what left, sealed under the patient's data key."""
    return seal(data_key, packed, _associated(patient_key, release))


def opened_manifest(data_key: bytes, patient_key: UUID, release: UUID, sealed: bytes) -> list[Item]:
    """The list again. Raises KeyUnusable when it isn't the one that was sealed."""
    try:
        lines = zstandard.ZstdDecompressor().decompress(unseal(data_key, sealed, _associated(patient_key, release))).decode()
    except zstandard.ZstdError as error:
        raise KeyUnusable("the manifest does not open") from error
    parts = (line.split(" ") for line in lines.splitlines())
    return [Item(kind, name, int(version), digest) for kind, name, version, digest in parts]
