"""The log over HTTP, in the paths of C2SP tlog-tiles: checkpoint and tiles for everybody, entries for auditors, receipts.

Checkpoints and tiles hold hashes alone. A receipt needs the event's id, which has 74 random bits and is told to those whom
the event concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response

from broker.audit import receipt, service, store
from broker.audit.tiles import Address, bundle, parse_path, width_of
from broker.database import SessionDep
from broker.errors import NotFound

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"

#: A path of the log never changes its bytes.
FOR_EVER = "public, max-age=31536000, immutable"

_TILE_PATH = Annotated[str, Path(description="Tile number in groups of three digits, all but the last behind an x; `.p/W` for a partial tile.")]


def build_router(require_auditor: Callable[..., Any]) -> APIRouter:
    """The routes under ``/log``. ``require_auditor`` is a dependency that raises unless the caller is an auditor."""
    router = APIRouter(prefix="/log", tags=["log"])

    @router.get("/checkpoint", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def checkpoint(session: SessionDep) -> Response:
        """The newest signed checkpoint (C2SP tlog-checkpoint), with what witnesses have said of it so far."""
        return _checkpoint(service.published_checkpoint(session))

    @router.get("/checkpoint/witnessed", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def witnessed_checkpoint(session: SessionDep) -> Response:
        """The newest checkpoint that a witness has cosigned, with the cosignatures (C2SP tlog-cosignature)."""
        return _checkpoint(service.witnessed_checkpoint(session))

    @router.get("/keys")
    def log_keys_ever(session: SessionDep) -> list[dict[str, Any]]:
        """Every verifier key (C2SP signed-note) that signed this log, from which size to which, oldest first. Compare it with what you were given."""
        return [one.to_json() for one in service.signed_by(session)]

    # Declared before the tiles: the first route that fits is taken.
    @router.get(
        "/tile/entries/{path:path}",
        response_class=Response,
        dependencies=[Depends(require_auditor)],
        responses={200: {"content": {BINARY: {}}}},
    )
    def entries(path: _TILE_PATH, session: SessionDep) -> Response:
        """An entry bundle: what was recorded, for auditors."""
        address = _within(session, f"tile/entries/{path}")
        data = bundle(store.entries(store.raw(session), address.number, address.width))
        return Response(data, media_type=BINARY, headers={"Cache-Control": "no-store"})

    @router.get("/tile/{level}/{path:path}", response_class=Response, responses={200: {"content": {BINARY: {}}}})
    def tile(level: str, path: _TILE_PATH, session: SessionDep) -> Response:
        """A tile of tree hashes, full or partial."""
        address = _within(session, f"tile/{level}/{path}")
        if isinstance(address.level, str):
            raise NotFound("there is no such tile")
        data = store.hashes(store.raw(session), address.level, address.number, address.width)
        return Response(data, media_type=BINARY, headers={"Cache-Control": FOR_EVER})

    @router.get("/proof/{event_id}", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def proof(event_id: UUID, session: SessionDep) -> Response:
        """The receipt (C2SP tlog-proof) of one event: proof, without trusting this server, that the log holds it."""
        text = service.proof(session, event_id)
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{event_id}.tlog-proof"'}
        return Response(text, media_type=receipt.MEDIA_TYPE, headers=headers)

    return router


def _checkpoint(note: str | None) -> Response:
    if note is None:
        raise NotFound("no checkpoint has been published yet", headers={"Retry-After": "1"})
    return Response(note, media_type=TEXT, headers={"Cache-Control": "no-cache"})


def _within(session: SessionDep, path: str) -> Address:
    """The address of a path, if the published tree has that many hashes or entries there. Raises NotFound."""
    address = parse_path(path)
    published = store.latest(store.raw(session))
    if address is None or published is None or width_of(address.level, address.number, published.size) < address.width:
        raise NotFound("the published tree has no such tile")
    return address
