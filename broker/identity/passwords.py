"""Passwords: argon2id, with the parameters of OWASP's Password Storage Cheat Sheet (19 MiB, two passes, one lane)."""

from __future__ import annotations

from functools import cache
from threading import BoundedSemaphore

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

_HASHES = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))
#: Each check takes 19 MiB and a core; more than a few at once would let strangers take all of both.
_AT_ONCE = BoundedSemaphore(4)


def hashed(password: str) -> str:
    """The argon2id hash of a password, with its own salt."""
    with _AT_ONCE:
        return _HASHES.hash(password)


@cache
def _nobodys() -> str:
    return hashed("a password that nobody has")


def matches(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash to store where the parameters have grown since.

    Where there is no hash, because there is no such user, the same work is done and the answer is no.
    """
    stored = password_hash or _nobodys()
    with _AT_ONCE:
        right, renewed = _HASHES.verify_and_update(password, stored)
    return (right, renewed) if password_hash is not None else (False, None)
