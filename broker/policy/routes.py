"""The broker as OPA's control plane: the bundle. It holds policies and no data about anybody, so whoever reaches it may read it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from broker.policy import bundle
from broker.policy.policy_set import PolicySet, policies
from broker.settings import settings


def build_router(served: PolicySet | None = None) -> APIRouter:
    """The routes. ``served``: other policies than those that the settings name."""
    chosen = served or policies(settings())
    packed = bundle.archive(chosen)
    tag = f'"{chosen.revision}"'
    router = APIRouter(prefix="/opa", tags=["policy"])

    @router.get("/bundles/broker.tar.gz", response_class=Response, summary="The policies as an OPA bundle")
    def broker_bundle(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The bundle, or 304 when the caller has this revision already. ETag: the revision."""
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if if_none_match is not None and _names(if_none_match, tag):
            return Response(status_code=304, headers=headers)
        return Response(packed, media_type="application/gzip", headers=headers)

    return router


def _names(if_none_match: str, tag: str) -> bool:
    """Whether the header names the tag (RFC 9110 13.1.2: weak comparison, ``*`` for any)."""
    return if_none_match.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
