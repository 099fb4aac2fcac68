"""What a recipient checks before it believes a release, without the server: decrypt, signature, digest, manifest, log. Pure.

Each check says what it found; what was not given to check with is said to be unchecked, never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import msgspec

from broker.audit import receipt
from broker.audit.note import Checkpoint, NoteInvalid, SignatureInvalid, Verifier
from broker.audit.tree import ProofInvalid
from broker.release import packaging
from broker.release.packaging import PackageInvalid

Verdict = Literal["good", "bad", "unchecked"]


@dataclass(frozen=True)
class Found:
    """One check: its name, how it came out, and in words."""

    check: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Given:
    """What the recipient has: the answer's bytes, and whatever it brought or was pinned beforehand."""

    body: bytes
    decryption_key: Mapping[str, Any] | None = None
    signature: str | None = None  #: header ``Release-Signature``
    manifest: Mapping[str, Any] | None = None  #: of ``GET /releases/{id}``
    keys: Mapping[str, Any] | None = None  #: the hospital's JWK Set, from a time when it was trusted
    log_key: Verifier | None = None
    checkpoint: str | None = None  #: a checkpoint from somewhere else, such as a witness


@dataclass(frozen=True)
class Received:
    """The Bundle's bytes, if they could be read, and what was found."""

    bundle: bytes | None
    found: tuple[Found, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is bad and the signature was checked: without that nothing is proven."""
        verdicts = {one.check: one.verdict for one in self.found}
        return self.bundle is not None and "bad" not in verdicts.values() and verdicts["signature"] == "good"


class _Entry(msgspec.Struct):
    resource: msgspec.Raw


class _Bundle(msgspec.Struct):
    resourceType: str  # noqa: N815  (FHIR's name.)
    id: str
    entry: list[_Entry] = []


def receive(given: Given) -> Received:
    """Steps: 1 decrypt, 2 signature over the Bundle, 3 digest, 4 each resource against the manifest, 5 the log."""
    found: list[Found] = []
    body = given.body
    if body.lstrip()[:1] != b"{":
        if given.decryption_key is None:
            return Received(None, (Found("decryption", "bad", "It is encrypted, and no key was given."), Found("signature", "unchecked", "")))
        try:
            body = packaging.decrypted(body, given.decryption_key)
        except PackageInvalid as error:
            return Received(None, (Found("decryption", "bad", str(error)), Found("signature", "unchecked", "")))
        found.append(Found("decryption", "good", "It was encrypted to this key."))
    manifest = given.manifest or {}
    found.append(_signature(given, body))
    digest = f"sha-256={sha256(body).hexdigest()}"
    found.append(_digest(manifest, digest))
    found.append(_resources(manifest, body))
    found.extend(_log(given, manifest, digest))
    return Received(body, tuple(found))


def _signature(given: Given, body: bytes) -> Found:
    told = given.signature or (given.manifest or {}).get("signature")
    if not isinstance(told, str) or given.keys is None:
        return Found("signature", "unchecked", "A signature and the hospital's keys are needed.")
    try:
        kid = packaging.check_signature(told, body, given.keys)
    except PackageInvalid as error:
        return Found("signature", "bad", str(error))
    return Found("signature", "good", f"Signed with the hospital's key {kid}.")


def _digest(manifest: Mapping[str, Any], digest: str) -> Found:
    if "digest" not in manifest:
        return Found("digest", "unchecked", digest)
    same = manifest["digest"] == digest
    return Found("digest", "good" if same else "bad", digest if same else "These are not the bytes that the manifest is about.")


def _resources(manifest: Mapping[str, Any], body: bytes) -> Found:
    try:
        bundle = msgspec.json.decode(body, type=_Bundle)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return Found("resources", "bad", "It is not a FHIR Bundle.")
    here = sorted(sha256(bytes(entry.resource)).hexdigest() for entry in bundle.entry)
    if bundle.resourceType != "Bundle":
        return Found("resources", "bad", "It is not a FHIR Bundle.")
    if "resources" not in manifest:
        return Found("resources", "unchecked", f"{len(here)} resources")
    told = sorted(str(one.get("sha256")) for one in manifest["resources"])
    if told != here or manifest.get("id") != bundle.id:
        return Found("resources", "bad", "The resources are not those of the manifest.")
    return Found("resources", "good", f"{len(here)} resources, each as in the manifest")


def _log(given: Given, manifest: Mapping[str, Any], digest: str) -> list[Found]:
    entries = manifest.get("log")
    if not entries or given.log_key is None or given.keys is None or not isinstance(manifest.get("statement"), str):
        return [Found("log", "unchecked", "The manifest, the hospital's keys and the log's key are needed.")]
    try:
        said = packaging.read_statement(manifest["statement"], given.keys)
        if said.get("digest") != digest or said.get("entries") != [one["leaf_hash"] for one in entries] or said.get("release") != manifest.get("id"):
            return [Found("log", "bad", "The hospital's statement is about another release.")]
        if any(one["receipt"] is None for one in entries):
            return [Found("log", "unchecked", "Not every entry was sealed yet; fetch the manifest again.")]
        points = [receipt.check_hash(one["receipt"], bytes.fromhex(one["leaf_hash"]), given.log_key) for one in entries]
        other = None if given.checkpoint is None else Checkpoint.opened(given.checkpoint, given.log_key)
    except (PackageInvalid, NoteInvalid, SignatureInvalid, ProofInvalid, ValueError, KeyError, TypeError) as error:
        return [Found("log", "bad", f"A receipt does not hold: {type(error).__name__}.")]
    if other is not None and any(one.size == other.size and one.root != other.root for one in points):
        return [Found("log", "bad", "The log shows another tree of the same size elsewhere.")]
    return [Found("log", "good", f"{len(points)} entries in the log of {points[-1].size} entries")]


def receipt_file(received: Received, given: Given, at: str) -> bytes:
    """What the recipient keeps and may give back: which release, which bytes, when, and how each check came out."""
    manifest = given.manifest or {}
    body = received.bundle or b""
    content = {
        "kind": "broker.release.receipt/1",
        "release": manifest.get("id"),
        "application": manifest.get("application"),
        "digest": f"sha-256={sha256(body).hexdigest()}",
        "bytes": len(body),
        "received_at": at,
        "entries": [one.get("leaf_hash") for one in manifest.get("log", [])],
        "checks": {one.check: one.verdict for one in received.found},
        "ok": received.ok,
    }
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"
