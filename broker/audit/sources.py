"""Logs in the C2SP tlog-tiles layout, in a folder or behind a URL. What an outsider needs; no database."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from broker.audit.findings import Broken
from broker.audit.note import Checkpoint, NoteInvalid, decode
from broker.audit.tiles import ENTRIES, MAX_ENTRY_BYTES, Address, BundleMalformed, numbers, split_bundle, width_of
from broker.audit.tree import HASH_BYTES, TILE_WIDTH

#: No checkpoint, tile or bundle is larger.
MAX_RESOURCE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
TIMEOUT_SECONDS = 30.0


class _Tiled(ABC):
    """What folder and URL share: which paths to read. A subclass gives the bytes of a path, or None."""

    @abstractmethod
    def _read(self, path: str) -> bytes | None:
        """The bytes of a path, or None where there is nothing."""

    def checkpoint(self) -> str:
        """The checkpoint."""
        data = self._read("checkpoint")
        if data is None:
            raise Broken("checkpoint-missing", "checkpoint")
        try:
            return decode(data)
        except NoteInvalid as error:
            raise Broken("checkpoint-malformed", "checkpoint", str(error)) from error

    def witnessed(self) -> str | None:
        """The checkpoint under ``checkpoint/witnessed``; None where there is none, as in a folder."""
        data = self._read("checkpoint/witnessed")
        try:
            return None if data is None else decode(data)
        except NoteInvalid as error:
            raise Broken("checkpoint-malformed", "checkpoint/witnessed", str(error)) from error

    def bundles(self, size: int) -> Iterator[Sequence[bytes]]:
        """The entries, bundle by bundle."""
        for number in numbers(ENTRIES, size):
            width = width_of(ENTRIES, number, size)
            address = Address(ENTRIES, number, width)
            data = self._read(address.path)
            full = self._read(address.full.path) if data is None and width < TILE_WIDTH else None
            if data is None and full is None:
                raise Broken("entry-missing", f"entry {number * TILE_WIDTH}", address.path)
            try:
                # A log that has grown may have dropped the partial bundle for the full one.
                yield split_bundle(data, width) if data is not None else split_bundle(full or b"", TILE_WIDTH)[:width]
            except BundleMalformed as error:
                code = "entry-extra" if error.at == width else "bundle-malformed"
                raise Broken(code, f"entry {number * TILE_WIDTH + error.at}", f"{address.path}: {error}") from error

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The hashes of a tile."""
        address = Address(level, number, width)
        data = self._read(address.path)
        length = width * HASH_BYTES
        if data is None and width < TILE_WIDTH:
            full = self._read(address.full.path)
            data = full[:length] if full is not None else None
        if data is None:
            raise Broken("tile-missing", address.path)
        if len(data) != length:
            raise Broken("tile-changed", address.path, f"{len(data)} bytes instead of {length}")
        return data

    def history(self) -> Iterator[tuple[int, str]]:
        """This layout keeps no older checkpoints."""
        return iter(())

    def finish(self, checkpoint: Checkpoint) -> dict[str, int]:  # noqa: ARG002  (a Source says what it has; this layout has no more)
        """Nothing more to check."""
        return {}


class FolderSource(_Tiled):
    """A log in a folder, as ``broker audit export`` writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _read(self, path: str) -> bytes | None:
        try:
            with open(f"{self._folder}/{path}", "rb", buffering=0) as file:  # noqa: PTH123  (a Path for each file takes longer than reading it)
                # One byte beyond what is allowed is enough to be found wrong. What is asked for is set aside first, so no more than there is.
                return file.read(min(os.fstat(file.fileno()).st_size, MAX_RESOURCE_BYTES + 1))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Broken("unreadable", path, error.strerror or "") from error


class UrlSource(_Tiled):
    """A log behind a URL such as ``https://broker.example/log``.

    ``login`` is what entries ask for: name and password of an auditor, or ``Bearer`` and the token of their session.
    """

    def __init__(self, url: str, login: tuple[str, str] | str | None = None) -> None:
        headers = {"Authorization": login} if isinstance(login, str) else {}
        auth = None if isinstance(login, str) else login
        self._client = httpx2.Client(base_url=url.rstrip("/") + "/", auth=auth, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def _read(self, path: str) -> bytes | None:
        data = bytearray()
        try:
            with self._client.stream("GET", path) as response:
                if response.status_code == 404:
                    return None
                if response.status_code != 200:
                    raise Broken("unreadable", path, f"HTTP {response.status_code}")
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > MAX_RESOURCE_BYTES:
                        raise Broken("unreadable", path, "too large")
        except httpx2.HTTPError as error:
            raise Broken("unreadable", path, type(error).__name__) from error
        return bytes(data)
