"""What a client says in a signed file: a compact JWS with its registered key, whether or not it holds a token (RFC 7515, RFC 7523 3).

A recipient whose grant has ended, or who is suspended, can get no token and must still be able to confirm a deletion or to report an
incident. The file has the form of a client assertion whose claims also hold ``statement``, and is good once, like one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

from sqlmodel import Session

from broker.errors import NotAuthenticated
from broker.identity import access_token, jose, oauth_store, published_keys
from broker.identity.client_assertion import ASSERTION_TYPE, AssertionRefused, authenticate
from broker.settings import Settings


class StatementRefused(NotAuthenticated):
    """The signed file does not prove whose it is."""

    code = "statement-refused"
    zh = "签名文件无法证明其来源。"
    help_en = (
        "Sign it (RS384 or ES384) with the key that is registered: iss and sub are the client id, aud the broker's address, exp within five minutes."
    )
    help_zh = "请用已登记的密钥（RS384 或 ES384）签名：iss 与 sub 为客户端代码，aud 为本系统地址，exp 在五分钟内。"


@dataclass(frozen=True)
class Statement:
    """What was said, and by whom; ``digest`` is the SHA-256 of the file, for the record."""

    client_id: str
    organization_id: str
    said: dict[str, Any]
    digest: str

    @property
    def actor(self) -> str:
        """The client as audit events name it."""
        return f"client:{self.client_id}"


def read_statement(session: Session, settings: Settings, signed: str) -> Statement:
    """The statement of a signed file. Raises StatementRefused; suspension is no reason to refuse it."""

    def find(client_id: str) -> oauth_store.Registered | None:
        found = oauth_store.registered(session, client_id)
        return None if found is None else replace(found, active=True)

    once, published = partial(oauth_store.use_once, session), published_keys.reader(session, settings)
    form = {"client_assertion": signed, "client_assertion_type": ASSERTION_TYPE}
    issuer = access_token.issuer(settings)
    try:
        client = authenticate(form, audiences=(issuer, issuer), find=find, use_once=once, published=published)
        said = jose.read(signed).claims.get("statement")
    except (AssertionRefused, jose.TokenUnreadable) as error:
        raise StatementRefused(str(getattr(error, "description", "") or error)) from error
    if client is None or not isinstance(said, dict):
        raise StatementRefused("The claims hold no statement.")
    return Statement(client.id, client.organization_id, said, sha256(signed.encode()).hexdigest())
