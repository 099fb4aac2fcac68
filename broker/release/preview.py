"""Exactly what a grant on an application would release now, for the person who decides on it (RS-5.3.2).

The same judgement, collection, reduction and check as a release; nothing is sent, and the look is on record (applications).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio.from_thread
import orjson
from fastapi import FastAPI
from sqlmodel import Session

from broker import clock
from broker.applications import service as applications
from broker.applications.models import Application
from broker.consent import service as consent
from broker.fhir.plan import ReleasePlan
from broker.identity import service as identity
from broker.records import service as records
from broker.release import collect
from broker.release.consents import bound, consented
from broker.release.query import Wanted
from broker.release.service import Parts


def preview_of(app: FastAPI) -> Callable[[Session, Application], dict[str, Any]]:
    """The preview as applications want it, using what the app holds while it runs."""

    def preview(session: Session, application: Application) -> dict[str, Any]:
        parts: Parts = app.state.parts
        terms = applications.terms_of(application)
        lineage = frozenset(one.id for one in identity.lineage(session, terms.recipient))
        asker = consent.asker_of(session, terms.recipient, application.requester_id, clock.now())
        shown = []
        for number, (patient_key, effect, plan) in enumerate(applications.opinions(session, application)):
            one: dict[str, Any] = {"patient": number + 1, "effect": effect, "resources": [], "counts": {}, "held_back": 0}
            if effect == "permit" and plan is not None:
                page = anyio.from_thread.run(_page, parts, ReleasePlan.from_json(plan), patient_key, terms, lineage, asker)
                if isinstance(page, collect.Unsafe):
                    one["effect"] = "unavailable"
                else:
                    one["counts"] = dict(sorted(Counter(kind for kind, _, _ in page.resources).items()))
                    one["resources"] = [orjson.loads(body) for _, _, body in page.resources]
                    one["held_back"] = page.held_back
            shown.append(one)
        return {"application": application.number, "at": clock.now().isoformat(), "patients": shown}

    return preview


async def _page(
    parts: Parts, plan: ReleasePlan, patient_key: UUID, terms: applications.Terms, lineage: frozenset[str], asker: consent.Asker
) -> collect.Page | collect.Unsafe:
    async with parts.database.release_connection() as connection:
        cursor = connection.cursor(binary=True)
        vault = await records.vault(cursor, parts.keys, patient_key)
        if vault is None:
            return collect.Unsafe("patient.unknown")
        at = clock.epoch(clock.now())
        residuals = await consent.residuals(cursor, vault)
        said = await consented(cursor, parts.keys, vault, residuals, lineage=lineage, purpose=terms.purpose, at=at, asker=asker)
        wanted = Wanted(patient=vault.fhir_id, everything=True, path="preview")
        order = collect.Order(plan, vault, *bound(plan, said.gate), terms.recipient, wanted, None)
        return await collect.page(cursor, parts.keys, order)
