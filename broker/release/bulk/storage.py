"""Where the sealed bytes of an export lie: in PostgreSQL, or in objects of a folder or an S3-compatible store.

Everything is sealed under the patient's data key before it comes here, so that the store sees nothing and destroying the key
destroys its copies too. One object holds what one patient has in one export.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import obstore
from obstore.store import ObjectStore, from_url

from broker.settings import Settings


class ObjectGone(Exception):
    """The store doesn't have what was put there."""


class Storage:
    """One store of objects; ``None`` as ``url`` means that bytes stay in PostgreSQL."""

    def __init__(self, url: str | None, **options: Any) -> None:
        self._store: ObjectStore | None = None if url is None else from_url(url, **options)

    @property
    def outside(self) -> bool:
        """Whether bytes lie outside PostgreSQL."""
        return self._store is not None

    async def put(self, export: UUID, pieces: Sequence[bytes]) -> str:
        """Write one object; its name, which was never used before."""
        assert self._store is not None  # noqa: S101  (asked for by ``outside`` alone)
        name = f"exports/{export}/{uuid4()}"
        await obstore.put_async(self._store, name, b"".join(pieces))
        return name

    async def get(self, name: str, start: int, length: int) -> bytes:
        """Part of an object. Raises ObjectGone where it isn't there."""
        assert self._store is not None  # noqa: S101
        try:
            found = await obstore.get_range_async(self._store, name, start=start, length=length)
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise ObjectGone from error
        return bytes(found)

    async def remove(self, names: Sequence[str]) -> None:
        """Delete objects; one that is gone already is none the less gone."""
        assert self._store is not None  # noqa: S101
        for name in names:
            try:
                await obstore.delete_async(self._store, name)
            except FileNotFoundError:
                continue

    async def remove_export(self, export: UUID) -> None:
        """Delete every object of an export, also those that a worker wrote and was killed before it could note them."""
        assert self._store is not None  # noqa: S101
        async for batch in obstore.list(self._store, prefix=f"exports/{export}/"):
            await self.remove([one["path"] for one in batch])


@lru_cache(maxsize=4)
def _opened(url: str | None, key: str | None, secret: str | None, region: str | None, endpoint: str | None) -> Storage:
    if url is None:
        return Storage(None)
    if not url.startswith("s3://"):
        return Storage(url, mkdir=True)
    plain = bool(endpoint and endpoint.startswith("http://"))
    options = {"access_key_id": key, "secret_access_key": secret, "region": region, "endpoint": endpoint}
    return Storage(url, **{name: value for name, value in options.items() if value}, **({"client_options": {"allow_http": True}} if plain else {}))


def storage_of(settings: Settings) -> Storage:
    """The store that the settings name; opened once in a process."""
    secret = settings.export_store_secret
    return _opened(
        settings.export_store,
        settings.export_store_key,
        None if secret is None else secret.get_secret_value(),
        settings.export_store_region,
        settings.export_store_endpoint,
    )
