"""The file in which a key lies, where the broker itself may change it: a new key is added, put first, or taken out, in one step.

A key that came from the environment or from a provider is changed there, by whoever put it there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from broker import crypto
from broker.settings import Settings, came_from

#: Setting and file name under BROKER_VAR/keys of each kind that can be changed.
PLACES = {
    "key-encryption": ("key_encryption_key", crypto.KEY_ENCRYPTION),
    "token-signing": ("token_signing_key", crypto.TOKEN_SIGNING),
    "log-signing": ("log_signing_key", crypto.LOG_SIGNING),
}


@dataclass(frozen=True)
class KeyFile:
    """The file of one kind of key."""

    path: Path

    def read(self) -> list[bytes]:
        """Its keys, in order; each with its line end."""
        text = self.path.read_bytes()
        if text.lstrip().startswith(b"-----BEGIN"):
            return [pem if pem.endswith(b"\n") else pem + b"\n" for pem in crypto.split_pems(text)]
        return [line + b"\n" for line in text.split()]

    def write(self, keys: list[bytes]) -> None:
        """Replace them; content and name are on disk before this returns. Raises OSError."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"".join(keys))
                file.flush()
                os.fchmod(file.fileno(), self.path.stat().st_mode & 0o777)
                os.fsync(file.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)


def file_of(settings: Settings, kind: str, environment: Mapping[str, str] | None = None) -> KeyFile | None:
    """Where this process's keys of a kind lie, if that is a file; None when they came from the environment or a provider."""
    setting, name = PLACES[kind]
    place = came_from(setting, environment)
    if isinstance(place, Path):
        return KeyFile(place)
    own = settings.var / "keys" / name
    return KeyFile(own) if place == "nowhere" and settings.key_provider is None and own.exists() else None
