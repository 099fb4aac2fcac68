"""From checked resources to the body that leaves: one resource, a search result with its links, a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from broker import clock
from broker.crypto import Keys, digest
from broker.release import bundle, packaging, paging
from broker.release.answers import Form, Ready
from broker.release.query import Wanted
from broker.release.reducing import Page
from broker.settings import Settings


def made_ready(
    settings: Settings,
    keys: Keys,
    form: Form,
    wanted: Wanted,
    page: Page,
    *,
    release: UUID,
    bound: paging.Bound,
    obligations: Sequence[Mapping[str, object]],
    encrypt_to: Mapping[str, Any] | None = None,
) -> Ready:
    """The body, what is in it, and its digest. ``bound``: what a link to the next page is sealed to.

    A release that is one Bundle is signed and, where the recipient has a pinned key, encrypted to it (``packaging``).
    """
    if form is Form.RESOURCE:
        item = page.items[0]
        # What _elements left of it is another representation, which a cache must not take for the whole.
        etag = "" if wanted.elements else f'W/"{item.version}"'
        return Ready(release, page.resources[0][2], page.items[:1], page.held_back, item.digest, etag)
    links: dict[str, str] = {}
    total = page.total
    if form is Form.SEARCHSET:
        here = f"{settings.base_url}/fhir/{wanted.path}"
        links["self"] = here + (f"?{urlencode(wanted.shown)}" if wanted.shown else "")
        if page.following is not None:
            links["next"] = f"{here}?{urlencode((*wanted.shown, ('_page', paging.link(keys, bound, page.following))))}"
        elif wanted.after is None:
            total = page.count
    elif form is Form.MATCH:
        total = len(page.resources)
    body = bundle.assemble(
        release=release, kind="collection" if form is Form.COLLECTION else "searchset", base_url=settings.base_url, at=clock.now(),
        resources=page.resources, labels=page.labels, obligations=obligations, links=links, total=total, certain=form is Form.MATCH,
        prepared=None if page.prepared is None else page.prepared.entries,
    )  # fmt: skip
    listed = None if page.prepared is None else page.prepared.listed
    ready = Ready(release, body, page.items, page.held_back, digest(body), listed=listed)
    if form is not Form.COLLECTION:
        return ready
    sealed = body if encrypt_to is None else packaging.encrypted(encrypt_to, body)
    return replace(ready, body=sealed, signature=packaging.signature(keys, body), encrypted=encrypt_to is not None)
