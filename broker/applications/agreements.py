"""Terms of use: versioned texts that bind an organisation, a network or every outside organisation, accepted before a grant lives."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import people, steps
from broker.applications.errors import AgreementInvalid, NoSuchAgreement
from broker.applications.grants import accept
from broker.applications.lifecycle import GrantState
from broker.applications.models import Agreement, AgreementAcceptance, Application, Grant, Network, NetworkMember
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden, Problem
from broker.identity import service as identity
from broker.identity.access import PersonCaller
from broker.notifications import service as notifications

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def set_network(session: Session, actor: str, *, id: str, name_zh: str, name_en: str, members: Sequence[str]) -> Network:  # noqa: A002  (As organisations.)
    """Enter a network or change its names and members. Raises AgreementInvalid, UnknownOrganization."""
    if not _ID.fullmatch(id) or len(id) > 64:
        raise AgreementInvalid(problems=(Problem("/id", "id", "Lower-case words and digits joined by hyphens."),))
    for member in members:
        identity.organization(session, member)
    row = session.get(Network, id) or Network(id=id, name_zh=name_zh, name_en=name_en)
    row.name_zh, row.name_en = name_zh, name_en
    session.add(row)
    session.flush()
    session.execute(sa.delete(NetworkMember).where(col(NetworkMember.network_id) == id))
    session.add_all(NetworkMember(network_id=id, organization_id=member) for member in sorted(set(members)))
    session.flush()
    audit.record(session, Event("network.set", actor, facts={"network": id, "members": sorted(set(members))}))
    return row


def networks(session: Session) -> list[tuple[Network, list[str]]]:
    """Every network with its members, by id."""
    members: dict[str, list[str]] = {}
    for row in session.exec(select(NetworkMember).order_by(col(NetworkMember.organization_id))).all():
        members.setdefault(row.network_id, []).append(row.organization_id)
    return [(row, members.get(row.id, [])) for row in session.exec(select(Network).order_by(col(Network.id))).all()]


def publish(
    session: Session,
    caller: PersonCaller,
    *,
    id: str,  # noqa: A002  (As organisations.)
    organization: str | None,
    network: str | None,
    title: tuple[str, str],
    text: tuple[str, str],
) -> Agreement:
    """Publish an agreement, or its next version, in Chinese and English. Raises AgreementInvalid, UnknownOrganization.

    It binds an organisation, a network, or, where neither is named, every outside organisation. Grants that live already go on;
    what is approved from now on waits until the newest version is accepted.
    """
    if not _ID.fullmatch(id) or len(id) > 64 or (organization is not None and network is not None):
        raise AgreementInvalid(problems=(Problem("/id", "id", "An id of lower-case words, and one that it binds."),))
    if organization is not None:
        identity.organization(session, organization)
    if network is not None and session.get(Network, network) is None:
        raise AgreementInvalid(problems=(Problem("/network", "unknown", "There is no such network."),))
    before = session.exec(select(sa.func.max(Agreement.version)).where(Agreement.id == id)).one()
    digest = sha256(json.dumps([id, *title, *text], ensure_ascii=False).encode()).hexdigest()
    row = Agreement(
        id=id, version=(before or 0) + 1, organization_id=organization, network_id=network, title_zh=title[0], title_en=title[1], text_zh=text[0],
        text_en=text[1], digest=digest, published_at=clock.now(), published_by=caller.person_id,
    )  # fmt: skip
    session.add(row)
    session.flush()
    facts: dict[str, str | int | bool | list[str]] = {"agreement": id, "version": row.version, "digest": digest}
    audit.record(session, Event("agreement.published", caller.actor, recipient=organization, facts=facts))
    return row


def newest(session: Session) -> list[Agreement]:
    """The version of each agreement that binds now, by id."""
    last = select(Agreement.id, sa.func.max(Agreement.version).label("version")).group_by(col(Agreement.id)).subquery()
    query = select(Agreement).join(last, sa.and_(col(Agreement.id) == last.c.id, col(Agreement.version) == last.c.version))
    return list(session.exec(query.order_by(col(Agreement.id))).all())


def versions(session: Session, agreement: str) -> list[Agreement]:
    """Every version of an agreement, newest first. Raises NoSuchAgreement."""
    rows = list(session.exec(select(Agreement).where(Agreement.id == agreement).order_by(col(Agreement.version).desc())).all())
    if not rows:
        raise NoSuchAgreement
    return rows


def outstanding(session: Session, recipient: str) -> list[Agreement]:
    """The agreements that bind a recipient and that neither it nor what it belongs to has accepted in the newest version."""
    place = people.places(session, [recipient])[recipient]
    mine = set(session.exec(select(NetworkMember.network_id).where(col(NetworkMember.organization_id).in_(place.lineage))).all())
    accepted = {
        (row.agreement_id, row.version)
        for row in session.exec(select(AgreementAcceptance).where(col(AgreementAcceptance.organization_id).in_(place.lineage))).all()
    }

    def binds(row: Agreement) -> bool:
        if row.organization_id is not None:
            return row.organization_id in place.lineage
        return row.network_id in mine if row.network_id is not None else place.relationship == "external"

    return [row for row in newest(session) if binds(row) and (row.id, row.version) not in accepted]


def ask(session: Session, keys: Keys, recipient: str, agreements: Sequence[Agreement]) -> None:
    """Tell a recipient that terms are to be accepted."""
    for row in agreements:
        facts: dict[str, str | int] = {"agreement": row.id, "version": row.version}
        once = f"terms|{row.id}|{row.version}|{recipient}"
        notifications.notify(session, keys, to=f"organization:{recipient}", kind="terms.to-accept", facts=facts, once=once)


def accept_terms(session: Session, keys: Keys, caller: PersonCaller, agreement: str, version: int, organization: str) -> AgreementAcceptance:
    """Accept the newest version for an organisation, as its head; whatever waited for this alone begins to live.

    Raises NoSuchAgreement for another version, Forbidden for anybody but a head of the organisation or of what it belongs to.
    """
    row = versions(session, agreement)[0]
    if row.version != version:
        raise NoSuchAgreement("Another version binds now.")
    who = people.actor(session, caller.person_id)
    place = people.places(session, [organization]).get(organization)
    if place is None or who.head_of.isdisjoint(place.lineage):
        raise Forbidden("Terms of use are accepted by a head of the organisation that they bind.")
    found = session.get(AgreementAcceptance, (agreement, version, organization))
    if found is None:
        found = AgreementAcceptance(agreement_id=agreement, version=version, organization_id=organization, person_id=caller.person_id, at=clock.now())
        session.add(found)
        session.flush()
        facts: dict[str, str | int | bool | list[str]] = {"agreement": agreement, "version": version, "digest": row.digest}
        audit.record(session, Event("agreement.accepted", caller.actor, recipient=organization, facts=facts))
    waiting = session.exec(
        select(Grant.application_id)
        .where(Grant.status == GrantState.AWAITING.value, col(Grant.recipient_id).in_(people.below(session, [organization])))
        .order_by(col(Grant.number))
    ).all()
    for application_id in waiting:
        application: Application = steps.find(session, str(application_id), lock=True)
        if application.recipient_id is not None and not outstanding(session, application.recipient_id):
            accept(session, keys, application, who)
    return found
