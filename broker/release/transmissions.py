"""The transmission log over HTTP (PI-3.3): time, sender, receiver, content of each transmission, for those who look back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from broker.audit import service as audit
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT, Moment
from broker.identity.access import Action, PersonCaller, require

Reader = Annotated[PersonCaller, Depends(require(Action.TRANSMISSION_READ))]


def build_router(keys: Keys) -> APIRouter:
    """``GET /api/v1/transmissions``. A patient is asked for by FHIR id and never named in the answer."""
    router = APIRouter(prefix="/api/v1", tags=["log"], dependencies=[STRICT])

    @router.get("/transmissions")
    def transmissions(
        caller: Reader,
        session: SessionDep,
        patient: Annotated[str | None, Query(max_length=64, description="FHIR id")] = None,
        recipient: Annotated[str | None, Query(max_length=64, description="organisation id")] = None,
        application: Annotated[str | None, Query(max_length=20, description="SA-YYYY-NNNNNN")] = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """Newest first. What has no outcome yet counts as disclosed."""
        key = None if patient is None else keys.patient_key(patient)
        audit.record_search(session, caller.actor, key)
        found = audit.transmissions(
            session,
            patient=key,
            recipient=recipient,
            application=application,
            since=since,
            until=until,
            limit=limit,
        )
        return [{name: value for name, value in asdict(one).items() if name != "patient"} for one in found]

    return router
