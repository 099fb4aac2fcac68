"""The front door of the register of transfer routes: propose, confirm by a second person, end; and what policy is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Problem
from broker.identity import service as identity
from broker.policy import service as policy
from broker.policy.service import PolicySet
from broker.transfers.errors import NoSuchRoute, NotThisRoute, OwnRoute, RouteInvalid
from broker.transfers.models import TransferRoute
from broker.transfers.rules import Route, told

__all__ = ["Proposal", "TransferRoute", "confirm", "end", "many", "propose", "route_from", "routes", "told"]


@dataclass(frozen=True)
class Proposal:
    """A route as it is entered. ``valid_until`` is its last day."""

    recipient: str
    route: str
    reference: str
    valid_from: date
    valid_until: date | None
    purposes: tuple[str, ...]
    classes: tuple[str, ...]
    impact_assessment: str
    persons_limit: int | None = None
    foreign_authority: bool = False
    authority_approval: str | None = None


def routes(policies: PolicySet | None = None) -> Mapping[str, policy.Text]:
    """Codes of the legal routes → name."""
    return policy.transfer_routes(policies)


def propose(session: Session, actor: str, person: str, given: Proposal) -> TransferRoute:
    """Enter a route, which counts for nothing yet. ``person``: the human being who enters it.

    Raises UnknownOrganization, RouteInvalid with every field that is wrong.
    """
    recipient = identity.organization(session, given.recipient)
    catalogue = policy.catalogue()
    below = sorted({code for code in catalogue.codes for named in given.classes if code == named or code.startswith(f"{named}.")})
    checks = (
        (recipient.jurisdiction == "CN", "/recipient", "at-home", "The recipient is in the mainland, where no route is needed."),
        (given.route not in routes(), "/route", "unknown", "There is no such route."),
        (given.valid_until is not None and given.valid_until < given.valid_from, "/valid_until", "order", "It ends before it begins."),
        (not given.purposes or not {*given.purposes} <= policy.purposes().keys(), "/purposes", "unknown", "Purposes for which data are shared."),
        (not given.classes or not {*given.classes} <= catalogue.codes, "/classes", "unknown", "Data classes of the catalogue."),
        (
            given.foreign_authority and not given.authority_approval,
            "/authority_approval",
            "missing",
            "It needs an approval (PIPL 41).",
        ),
    )
    found = tuple(Problem(path, code, message) for wrong, path, code, message in checks if wrong)
    if found:
        raise RouteInvalid(problems=found)
    row = TransferRoute(
        recipient_id=recipient.id,
        route=given.route,
        reference=given.reference,
        valid_from=_morning(given.valid_from),
        valid_until=None if given.valid_until is None else _morning(given.valid_until + timedelta(days=1)),
        purposes=sorted(set(given.purposes)),
        classes=below,
        persons_limit=given.persons_limit,
        impact_assessment=given.impact_assessment,
        foreign_authority=given.foreign_authority,
        authority_approval=given.authority_approval,
        proposed_by=person,
        proposed_at=clock.now(),
    )
    return _recorded(session, actor, "transfer.route-proposed", row)


def confirm(session: Session, actor: str, person: str, route: UUID) -> TransferRoute:
    """Let a route count from now on, as another human being than the one who entered it. Raises NoSuchRoute, NotThisRoute, OwnRoute."""
    row = _locked(session, route)
    if row.state != "proposed":
        raise NotThisRoute
    if row.proposed_by == person:
        raise OwnRoute
    row.state, row.confirmed_by, row.confirmed_at = "confirmed", person, clock.now()
    return _recorded(session, actor, "transfer.route-confirmed", row)


def end(session: Session, actor: str, route: UUID) -> TransferRoute:
    """Let a route count no more; one person is enough, and nobody brings it back. Raises NoSuchRoute, NotThisRoute."""
    row = _locked(session, route)
    if row.state == "ended":
        raise NotThisRoute
    row.state, row.ended_at = "ended", clock.now()
    return _recorded(session, actor, "transfer.route-ended", row)


def many(session: Session, *, recipient: str | None = None, limit: int = 100, offset: int = 0) -> list[TransferRoute]:
    """The register, the newest entry first."""
    query = select(TransferRoute).order_by(col(TransferRoute.proposed_at).desc(), col(TransferRoute.id))
    if recipient is not None:
        query = query.where(TransferRoute.recipient_id == recipient)
    return list(session.exec(query.limit(limit).offset(offset)).all())


def route_from(row: Mapping[str, Any]) -> Route:
    """A confirmed route as ``applications.abroad`` reads it with the number of persons."""
    until = row["until"]
    return Route(
        row["route"], row["from"], None if until is None else until - 1, frozenset(row["purposes"]), frozenset(row["classes"]), row["persons"],
        row["limit"], row["year"], row["assessed"], row["foreign"], row["approved"],
    )  # fmt: skip


def _morning(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), tzinfo=clock.now().tzinfo)


def _locked(session: Session, route: UUID) -> TransferRoute:
    row = session.exec(select(TransferRoute).where(TransferRoute.id == route).with_for_update()).one_or_none()
    if row is None:
        raise NoSuchRoute
    return row


def _recorded(session: Session, actor: str, kind: str, row: TransferRoute) -> TransferRoute:
    session.add(row)
    session.flush()
    facts: dict[str, str | int | bool | list[str]] = {"transfer_route": str(row.id), "route": row.route, "purposes": _list(row.purposes)}
    audit.record(session, Event(kind, actor, recipient=row.recipient_id, facts=facts))
    return row


def _list(values: Iterable[str]) -> list[str]:
    return sorted(values)
