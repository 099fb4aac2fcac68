"""Documents of an application over HTTP, what its newest submission changed, and asking again."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel

from broker.applications import service
from broker.applications.attachments import AttachmentKind
from broker.applications.means import Means
from broker.applications.schemas import AttachmentOut
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity.access import Person

Ref = Annotated[str, Path(max_length=64, description="The number (SA-YYYY-NNNNNN), or a draft's uuid.")]
Content = Annotated[bytes, Body(media_type="application/octet-stream", description="The document itself: PDF, PNG or JPEG.")]


class DifferenceOut(BaseModel):
    """One field that is not what it was; of patients, only how many came and went."""

    path: str
    before: Any
    after: Any


class DifferencesOut(BaseModel):
    """What the newest submission changed of the one before."""

    round: int
    items: list[DifferenceOut]


def build_router(means: Means, max_bytes: int) -> APIRouter:
    """The routes. ``max_bytes``: largest document."""
    router = APIRouter(prefix="/api/v1/applications", tags=["applications"], dependencies=[STRICT])
    keys: Keys = means.keys

    @router.post("/{ref}/attachments", status_code=201, response_model=AttachmentOut)
    def attach(
        request: Request,
        ref: Ref,
        content: Content,
        session: SessionDep,
        caller: Person,
        kind: AttachmentKind = AttachmentKind.OTHER,
        name: Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]+$")] = "document",
    ) -> AttachmentOut:
        """Add a document to a draft or a returned application: PDF, PNG or JPEG, named by Content-Type."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        row = service.attach(session, keys, caller.person_id, ref, kind=kind, name=name, media_type=media_type, content=content, max_bytes=max_bytes)
        return AttachmentOut(id=row.id, kind=row.kind, name=name, media_type=row.media_type, size=row.size, added_at=row.added_at)

    @router.get("/{ref}/attachments/{attachment}", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}})
    def opened(ref: Ref, attachment: UUID, session: SessionDep, caller: Person) -> Response:
        """A document. Who opened it is recorded."""
        application = service.look(session, caller.person_id, ref).application
        row, body = service.opened(session, keys, application, attachment, caller.actor)
        name = quote(service.attachment_name(keys, row), safe="")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Security-Policy": "sandbox; default-src 'none'"}
        return Response(body, media_type=row.media_type, headers=headers)

    @router.delete("/{ref}/attachments/{attachment}", status_code=204)
    def detach(ref: Ref, attachment: UUID, session: SessionDep, caller: Person) -> None:
        """Remove a document while the application may still be changed."""
        service.detach(session, caller.person_id, ref, attachment)

    @router.get("/{ref}/differences", response_model=DifferencesOut)
    def differences(ref: Ref, session: SessionDep, caller: Person) -> DifferencesOut:
        """What the newest submission changed of the one before."""
        application = service.look(session, caller.person_id, ref).application
        found = service.differences(session, keys, application)
        return DifferencesOut(round=application.round, items=[DifferenceOut(**vars(one)) for one in found])

    return router
