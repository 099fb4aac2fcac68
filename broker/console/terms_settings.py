"""Terms of use and networks of organisations, as whoever keeps the registers publishes them (RS-4, ID-4.2)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import ValidationError
from sqlmodel import Session

from broker.applications import service as applications
from broker.applications.office_schemas import AgreementIn, NetworkIn
from broker.console import pickers
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.pages import Pages, filled, named, to
from broker.console.problems import of_validation
from broker.database import SessionDep
from broker.errors import BrokerError
from broker.identity import service as identity
from broker.identity.access import Action

Reader = Annotated[Visitor, Depends(require(Action.REGISTRY_READ))]
Writer = Annotated[Visitor, Depends(require(Action.ORGANIZATION_WRITE))]


#: What stays in the form when something in it was wrong.
TYPED = ("id", "organization", "network", "title_zh", "title_en", "text_zh", "text_en")


def build_router(_desk: Desk, pages: Pages) -> APIRouter:
    """The page, publishing terms and entering networks."""
    router = APIRouter()

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None, form: Form | None = None) -> Response:
        spoken = pages.language(request)
        known = identity.Directory(session)
        anybody, networks = pickers.organizations(session, spoken, identity.ANY), applications.networks(session)
        names = {row.id: row.name_zh if spoken == "zh" else row.name_en for row, _ in networks}
        return pages.show(
            request,
            "terms_settings.html",
            status=error.status if error else 200,
            error=error,
            draft={name: form.one(name) if form else "" for name in TYPED},
            terms=[
                {"id": row.id, "version": row.version, "title": row.title_zh if spoken == "zh" else row.title_en,
                 "text": row.text_zh if spoken == "zh" else row.text_en, "at": row.published_at,
                 "binds": named(known.get(row.organization_id), spoken) if row.organization_id else names.get(row.network_id or "", "")}
                for row in applications.agreements(session)
            ],
            networks=[
                {"id": row.id, "name": names[row.id], "members": [named(known.get(one), spoken) for one in members]} for row, members in networks
            ],
            network_names=list(names.items()),
            organizations=anybody.picker(filled(request), "organization"), members=anybody.picker(filled(request), "member"),
            may_write=who.caller.may(Action.ORGANIZATION_WRITE),
        )  # fmt: skip

    @router.get("/console/agreements")
    def page(request: Request, who: Reader, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post("/console/agreements")
    def publish(request: Request, form: Posted, who: Writer, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                form = pickers.organizations(session, "zh", identity.ANY).settled(form, "organization")
                given = _read(AgreementIn, _filled(form, *TYPED[1:]), pages.language(request))
                applications.publish(
                    session, who.caller, id=form.one("id"), organization=given.organization, network=given.network,
                    title=(given.title_zh, given.title_en), text=(given.text_zh, given.text_en),
                )  # fmt: skip
        except BrokerError as error:
            return show(request, who, session, error, form)
        return to("/console/agreements", done="published")

    @router.post("/console/networks")
    def network(request: Request, form: Posted, who: Writer, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                pickers.looking(form, "member")
                given = _read(NetworkIn, {**_filled(form, "name_zh", "name_en"), "members": form.all("member")}, pages.language(request))
                applications.set_network(
                    session, who.caller.actor, id=form.one("id"), name_zh=given.name_zh, name_en=given.name_en, members=given.members
                )
        except BrokerError as error:
            return show(request, who, session, error)
        return to("/console/agreements", done="saved")

    return router


def _filled(form: Form, *names: str) -> dict[str, str]:
    """What was filled in of these fields."""
    return {name: form.one(name) for name in names if form.one(name)}


def _read(schema: Any, given: dict[str, Any], spoken: str) -> Any:
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise of_validation(error, spoken) from None
