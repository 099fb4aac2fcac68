"""Taking tokens away: what is revoked is revoked at once, for releases on their way too."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.database import close_gate
from broker.identity.models import Client, Token


def close_gates(session: Session, *, organizations: Collection[str] = (), clients: Collection[str] = ()) -> None:
    """Close the gate of every grant for which one of these clients, or a client of these organisations, holds a live token.

    Always in the same order, so that two who close several don't wait for each other.
    """
    mine = sa.or_(col(Client.organization_id).in_(list(organizations)), col(Client.id).in_(list(clients)))
    live = (
        sa.select(col(Token.grant_id))
        .join(Client, col(Client.id) == col(Token.client_id))
        .where(mine, col(Token.expires_at) > clock.now())
        .distinct()
    )
    for grant_id in sorted(session.execute(live).scalars(), key=str):
        close_gate(session, "grant", str(grant_id))


def revoke_token(session: Session, actor: str, *, jti: str, grant_id: UUID) -> bool:
    """Revoke a token; false where there is none or it is revoked already. Waits for a release under it that is on its way."""
    close_gate(session, "grant", str(grant_id))
    statement = sa.update(Token).where(col(Token.jti) == jti, col(Token.revoked_at).is_(None)).values(revoked_at=clock.now())
    revoked = session.execute(statement.returning(col(Token.jti))).first() is not None
    if revoked:
        audit.record(session, Event("token.revoked", actor, grant=str(grant_id), facts={"jti": jti}))
    return revoked
