"""The answers of the release path, as values: a refusal must not undo the record of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from broker.crypto import digest
from broker.policy.decision import Decision


class Kind(StrEnum):
    """How a refusal looks from outside. Which rule said no stays inside; the record has it."""

    UNAUTHENTICATED = "unauthenticated"  #: 401, no usable token
    REFUSED = "refused"  #: 403, the same for an unknown patient, one outside the grant, no consent, any denial
    NOT_FOUND = "not-found"  #: 404, the same for a resource that doesn't exist, is withheld, or is somebody else's
    BAD_QUERY = "bad-query"  #: 400, a parameter outside the grammar
    NOT_ACCEPTABLE = "not-acceptable"  #: 406, another format than FHIR R4 JSON is asked for
    UNAVAILABLE = "unavailable"  #: 503, no usable answer from policy, or the database was too busy


class Form(StrEnum):
    """What the answer is: a search result, one resource, one collection, the one patient that is meant, or a yes or no about a result."""

    SEARCHSET = "searchset"
    RESOURCE = "resource"
    COLLECTION = "collection"
    MATCH = "match"
    RECOGNITION = "recognition"


@dataclass(frozen=True)
class Refusal:
    """Nothing leaves. ``reasons`` are permanent codes for the record; ``detail`` may be shown, so it names no fact of ours."""

    kind: Kind
    reasons: tuple[str, ...]
    detail: str = ""
    decision: Decision | None = None


class Item(NamedTuple):
    """One resource of a release, as the manifest names it."""

    type: str
    id: str
    version: int
    digest: str  #: SHA-256 of the bytes that were sent, hex


class Listed(NamedTuple):
    """What a body holds whose entries lay prepared: its manifest as a zstd frame, and how many resources of each type."""

    manifest: bytes
    types: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Ready:
    """A checked body whose bytes may leave now."""

    release: UUID
    body: bytes
    items: tuple[Item, ...]
    held_back: int  #: resources of the asked types that were withheld
    digest: str  #: SHA-256 of the body, hex
    etag: str = ""  #: of a single resource
    signature: str = ""  #: detached JWS over the Bundle, of a release that is one
    encrypted: bool = False  #: whether the body is a JWE around the Bundle that digest and signature are about
    media: str = "application/fhir+json; charset=utf-8"
    answered: str = ""  #: of a question about mutual recognition: ``yes`` or ``no``
    unchanged: bool = False  #: the caller has this version already, so that nothing is sent again
    listed: Listed | None = None  #: stands instead of ``items``

    @property
    def types(self) -> dict[str, int]:
        """How many resources of each type it holds."""
        return dict(Counter(item.type for item in self.items)) if self.listed is None else dict(self.listed.types)

    @property
    def count(self) -> int:
        """How many resources it holds."""
        return len(self.items) if self.listed is None else sum(number for _, number in self.listed.types)

    def unless(self, has: str) -> Ready:
        """The same, or nothing but its name where the caller's If-None-Match names this version (R4 http.html#cread)."""
        versions = {one.strip().removeprefix("W/") for one in has.split(",")}
        if not self.etag or (self.etag.removeprefix("W/") not in versions and "*" not in versions):
            return self
        return Ready(self.release, b"", (), self.held_back, digest(b""), self.etag, unchanged=True)
