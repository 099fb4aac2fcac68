"""Page links that only their receiver can follow, and only while nothing has changed.

A link seals where the page ends together with who may ask for it: client, grant, query, plan and consent epoch. Anything
else that presents it, or the same client after a withdrawal, gets what a link that never was would get.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from broker.crypto import Keys, KeyUnusable, digest, seal, unseal


@dataclass(frozen=True)
class Bound:
    """What a page link is bound to."""

    client: str
    grant: UUID
    query: str
    epoch: int
    plan: str

    @property
    def associated(self) -> bytes:
        """The bytes that the seal covers without storing them."""
        return digest("\x1f".join((self.client, self.grant.hex, self.query, str(self.epoch), self.plan)).encode()).encode()


def link(keys: Keys, bound: Bound, after: tuple[str, UUID]) -> str:
    """The value of ``_page``: URL-safe, without padding."""
    sealed = seal(keys.sealing, f"{after[0]} {after[1].hex}".encode(), bound.associated)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def opened(keys: Keys, bound: Bound, value: str) -> tuple[str, UUID] | None:
    """Where the page before ended; None for any link that wasn't made for exactly this."""
    try:
        sealed = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
        kind, _, token = unseal(keys.sealing, sealed, bound.associated).decode().partition(" ")
        return kind, UUID(hex=token)
    except (KeyUnusable, binascii.Error, ValueError):
        return None
