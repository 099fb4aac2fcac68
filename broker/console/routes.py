"""All pages, in the order in which addresses are matched, and the form of errors under ``/console``."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.console import (
    agreeing,
    agreements,
    applying,
    asking,
    cases,
    channels,
    concerns,
    consents,
    consultations,
    corrections,
    credentials,
    deciding,
    destruction,
    duties,
    emergencies,
    entrance,
    evidence,
    exchange,
    improvement,
    inbox,
    incidents,
    journal,
    keys,
    lists,
    own_requests,
    patient,
    persons,
    policies,
    proving,
    recertifying,
    reconciliation,
    registry,
    requests,
    reviewing,
    security,
    sources,
    sso_pages,
    standing_in,
    supervision,
    terms_settings,
    transfers,
    working_days,
)
from broker.console.desk import Desk
from broker.console.pages import Pages
from broker.errors import BrokerError

#: The pages, each file with its own; the first address that fits is taken.
BUILDERS: tuple[Callable[[Desk, Pages], APIRouter], ...] = (
    lists.build_router,
    agreements.build_router,
    applying.build_router,
    deciding.build_router,
    exchange.build_router,
    consultations.build_router,
    corrections.build_router,
    journal.build_router,
    reconciliation.build_router,
    reviewing.build_router,
    recertifying.build_router,
    registry.build_router,
    keys.build_router,
    sources.build_router,
    credentials.build_router,
    policies.build_router,
    inbox.build_router,
    channels.build_router,
    standing_in.build_router,
    terms_settings.build_router,
    transfers.build_router,
    working_days.build_router,
    patient.build_router,
    asking.build_router,
    consents.build_router,
    concerns.build_router,
    proving.build_router,
    agreeing.build_router,
    security.build_router,
    sso_pages.build_router,
    supervision.build_router,
    persons.build_router,
    emergencies.build_router,
    incidents.build_router,
    duties.build_router,
    destruction.build_router,
    evidence.build_router,  # Before the page of one case, whose address it looks like.
    cases.build_router,
    improvement.build_router,
    requests.build_router,
    own_requests.build_router,
)

#: Errors under this path are pages.
PREFIX = "/console"


class Console:
    """The console: its routes, and how it shows an error."""

    def __init__(self, desk: Desk) -> None:
        self.pages = Pages(desk)
        self.router = APIRouter(include_in_schema=False)
        for build_router in BUILDERS:
            self.router.include_router(build_router(desk, self.pages))
        self.router.include_router(entrance.build_router(desk, self.pages))  # Last: it answers for whatever is not there.

    def error(self, request: Request, error: BrokerError) -> Response:
        """An error as a page."""
        return entrance.error_page(self.pages, request, error)


def build(desk: Desk) -> Console:
    """The console for ``broker/app.py`` to include."""
    return Console(desk)
