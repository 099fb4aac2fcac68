"""The broker as OPA's control plane: the bundle, the decision log, the status.

The bundle holds policies and no data about anybody, so whoever reaches it may read it. Log and status are for the OPA that knows the token.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from broker.database import SessionDep
from broker.errors import NotFound
from broker.policy import bundle, control
from broker.policy.policy_set import PolicySet
from broker.settings import Settings

#: Seconds for which a caller may wait for another revision, and between two looks.
LONGEST_WAIT, PAUSE = 60, 0.25
#: Tells OPA that it may wait (OPA documentation, "Bundles", HTTP long polling).
LONG_POLL_TYPE = "application/vnd.openpolicyagent.bundles"

_WAIT = re.compile(r"\bwait=([0-9]{1,4})\b", re.ASCII)


async def said(request: Request) -> bytes:
    """The body, if the caller is the OPA that knows the token. Without a token there is no such address."""
    settings: Settings = request.app.state.settings
    expected, given = settings.opa_control_token, request.headers.get("authorization", "")
    if expected is None or not hmac.compare_digest(given.encode(), f"Bearer {expected.get_secret_value()}".encode()):
        raise NotFound
    return control.unzipped(await request.body(), request.headers.get("content-encoding", ""))


Said = Annotated[bytes, Depends(said)]


def build_router(current: Callable[[], PolicySet], settings: Settings) -> APIRouter:
    """The routes. ``current``: the policies that decide now."""
    key = settings.bundle_signing_key.get_secret_value() if settings.bundle_signing_key else None
    router = APIRouter(prefix="/opa", tags=["policy"])
    packed = lru_cache(maxsize=4)(lambda policies: bundle.archive(policies, key))

    @router.get("/bundles/broker.tar.gz", response_class=Response, summary="The policies as an OPA bundle")
    async def broker_bundle(if_none_match: Annotated[str | None, Header()] = None, prefer: Annotated[str | None, Header()] = None) -> Response:
        """The bundle, or 304 when the caller has this revision already. ETag: the revision. With ``Prefer: wait=N`` the answer waits for another."""
        policies = current()
        given = if_none_match or ""
        asked = _WAIT.search(prefer or "")
        left = min(int(asked[1]), LONGEST_WAIT) / PAUSE if asked else 0
        while left > 0 and _names(given, _tag(policies)):
            await asyncio.sleep(PAUSE)
            policies, left = current(), left - 1
        headers = {"ETag": _tag(policies), "Cache-Control": "no-cache", "Vary": "Prefer"}
        media_type = LONG_POLL_TYPE if asked else "application/gzip"
        if given and _names(given, _tag(policies)):
            return Response(status_code=304, headers=headers, media_type=media_type)
        return Response(await run_in_threadpool(packed, policies), media_type=media_type, headers=headers)

    @router.post("/logs", status_code=204, response_class=Response, summary="OPA's decision log")
    def logs(content: Said, session: SessionDep) -> Response:
        """Kept beside the broker's own record of decisions, to be compared with it."""
        control.take_log(session, content)
        return Response(status_code=204)

    @router.post("/status", status_code=204, response_class=Response, summary="OPA's status")
    def status(content: Said, session: SessionDep) -> Response:
        """Which revision an OPA holds, and what went wrong."""
        control.take_status(session, content)
        return Response(status_code=204)

    return router


def _tag(policies: PolicySet) -> str:
    return f'"{policies.revision}"'


def _names(if_none_match: str, tag: str) -> bool:
    """Whether the header names the tag (RFC 9110 13.1.2: weak comparison, ``*`` for any)."""
    return if_none_match.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
