"""The hospital's own login, by OpenID Connect: authorization code with PKCE, Authlib as the client.

Numbered as OpenID Connect Core 3.1.3.7 and RFC 9207 have it: 1. ``state`` is one that this browser set out with, once. 2. ``iss`` of the
answer is the issuer that was asked (mix-up). 3. The code is exchanged with the verifier that only we can make. 4. The ID token is signed
by a key that the issuer publishes now. 5. ``iss``, ``aud``, ``azp``, ``exp``, ``iat``, ``nonce``, ``at_hash``. 6. The subject is linked to an
account, by an administrator and beforehand: a name or an e-mail address links nothing.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import sqlalchemy as sa
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlmodel import Session, col, select

from broker import clock
from broker.crypto import Keys
from broker.identity.models import SsoAttempt
from broker.identity.sessions import secret_hash
from broker.settings import Settings

#: How long somebody may take at the hospital's login.
ATTEMPT_LIFE = timedelta(minutes=10)
#: Signatures that are taken. ``none`` and those by a shared secret are not among them.
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "RS384", "RS512", "EdDSA"]
#: Seconds for which what the issuer says of itself is kept, between two looks for a key that wasn't there, and for one call.
KEPT, KEY_PAUSE, SECONDS = 600.0, 10.0, 10.0
LEEWAY = 60
MAX_BYTES = 200_000


class Unreachable(Exception):
    """The hospital's login does not answer, or says something else of itself than the settings do."""


@dataclass(frozen=True)
class SsoRefused:
    """Nobody is signed in; ``reason`` is for the record. To the person all but the link that is missing looks alike."""

    reason: str  #: state, issuer, provider, code, token, unlinked, account, roles


@dataclass(frozen=True)
class Departure:
    """Where to send the browser, and what it keeps until it comes back."""

    url: str
    browser: str = field(repr=False)


@dataclass(frozen=True)
class Told:
    """What a verified ID token says."""

    issuer: str
    subject: str
    claims: dict[str, Any]
    onward: str


def reachable(uri: object) -> str:
    """An address that may be asked: https, or this very machine. Raises Unreachable."""
    parts = urlsplit(uri) if isinstance(uri, str) else urlsplit("")
    local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not isinstance(uri, str) or not parts.hostname or not (parts.scheme == "https" or local):
        raise Unreachable("address")
    return uri


class Provider:
    """The hospital's login as it describes itself, and its keys; both are kept for a while, and keys looked for anew when one is missing."""

    def __init__(self, settings: Settings) -> None:
        if settings.sso_issuer is None or settings.sso_client_id is None:
            raise ValueError("BROKER_SSO_ISSUER and BROKER_SSO_CLIENT_ID belong together")
        self.settings = settings
        self.issuer, self.client_id = settings.sso_issuer, settings.sso_client_id
        self._lock = threading.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def _verify(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=None if self.settings.sso_ca_file is None else str(self.settings.sso_ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _json(self, uri: object) -> dict[str, Any]:
        try:
            with httpx2.Client(verify=self._verify(), timeout=SECONDS, follow_redirects=False, trust_env=False) as client:
                answer = client.get(reachable(uri))
            said = answer.json() if answer.status_code == httpx2.codes.OK and len(answer.content) <= MAX_BYTES else None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
            raise Unreachable("no answer") from error
        if not isinstance(said, dict):
            raise Unreachable("no answer")
        return said

    @property
    def metadata(self) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0, 3 and 4.3: what names another issuer than the one that was asked is not believed."""
        with self._lock:
            if self._metadata is None or time.monotonic() - self._metadata[0] > KEPT:
                said = self._json(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if said.get("issuer") != self.issuer:
                    raise Unreachable("issuer")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    reachable(said.get(name))
                self._metadata = time.monotonic(), said
            return self._metadata[1]

    def keys(self, *, anew: bool = False) -> KeySet:
        """The keys that the issuer publishes. ``anew``: one was missing; asked at most once in KEY_PAUSE seconds."""
        uri = self.metadata["jwks_uri"]
        with self._lock:
            age = KEPT + 1 if self._keys is None else time.monotonic() - self._keys[0]
            if self._keys is None or age > KEPT or (anew and age > KEY_PAUSE):
                try:
                    found = KeySet.import_key_set(self._json(uri))  # type: ignore[arg-type]
                except (JoseError, ValueError, TypeError, KeyError) as error:
                    raise Unreachable("keys") from error
                self._keys = time.monotonic(), found
            return self._keys[1]

    def _signed(self, token: str, *, anew: bool) -> jwt.Token:
        usable = [key for key in self.keys(anew=anew).keys if key.get("use", "sig") == "sig" and key.key_type != "oct"]
        return jwt.decode(token, KeySet(usable), algorithms=ALGORITHMS)

    def verified(self, token: str) -> jwt.Token:
        """A token that one of the issuer's keys signed. Raises JoseError, ValueError, Unreachable."""
        try:
            return self._signed(token, anew=False)
        except (JoseError, ValueError):
            return self._signed(token, anew=True)  # The issuer may have another key by now.

    def client(self, redirect_uri: str) -> OAuth2Client:
        """Authlib's client."""
        secret = self.settings.sso_client_secret
        return OAuth2Client(
            client_id=self.client_id,
            client_secret=None if secret is None else secret.get_secret_value(),
            token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
            scope="openid",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            verify=self._verify(),
            timeout=SECONDS,
            follow_redirects=False,
            trust_env=False,
        )


def provider(settings: Settings) -> Provider | None:
    """The hospital's login, where there is one."""
    return None if settings.sso_issuer is None else Provider(settings)


def redirect_uri(settings: Settings) -> str:
    """Where the hospital's login sends the browser back to."""
    return f"{settings.base_url}/console/sso/callback"


def _derived(keys: Keys, purpose: str, state: str) -> str:
    return base64.urlsafe_b64encode(keys.blind(purpose, state)).decode().rstrip("=")


def depart(session: Session, keys: Keys, provider: Provider, onward: str) -> Departure:
    """Set out for the hospital's login. ``onward``: where to go after it. Raises Unreachable.

    The verifier and the nonce are made from ``state`` and our key, so that they are kept nowhere.
    """
    state, browser, now = secrets.token_urlsafe(32), secrets.token_urlsafe(32), clock.now()
    session.execute(sa.delete(SsoAttempt).where(col(SsoAttempt.expires_at) < now))
    session.add(SsoAttempt(state_hash=secret_hash(state), browser_hash=secret_hash(browser), onward=onward, expires_at=now + ATTEMPT_LIFE))
    session.flush()
    endpoint = provider.metadata["authorization_endpoint"]
    with provider.client(redirect_uri(provider.settings)) as client:
        url, _ = client.create_authorization_url(
            endpoint, state=state, nonce=_derived(keys, "sso-nonce", state), code_verifier=_derived(keys, "sso-verifier", state)
        )
    return Departure(url, browser)


def attempt(session: Session, state: str, browser: str) -> SsoAttempt | None:
    """The attempt of this state and browser, which is used up; None where there is none. One of another browser stays as it is."""
    query = select(SsoAttempt).where(SsoAttempt.state_hash == secret_hash(state)).with_for_update()
    row = session.exec(query).one_or_none()
    if row is None or not secrets.compare_digest(row.browser_hash, secret_hash(browser)):
        return None
    session.delete(row)
    session.flush()
    return row if row.expires_at > clock.now() else None


def told(keys: Keys, provider: Provider, answer: dict[str, str], onward: str) -> Told | SsoRefused:
    """What the hospital's login says of who came back with ``answer``, the parameters of the address. ``state`` was looked at already."""
    try:
        needs_issuer = provider.metadata.get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", provider.issuer) != provider.issuer or (needs_issuer and "iss" not in answer):
            return SsoRefused("issuer")
        if "error" in answer or not answer.get("code"):
            return SsoRefused("provider")
        state = answer["state"]
        with provider.client(redirect_uri(provider.settings)) as client:
            token = client.fetch_token(
                reachable(provider.metadata["token_endpoint"]), code=answer["code"], code_verifier=_derived(keys, "sso-verifier", state)
            )
        signed = provider.verified(str(token.get("id_token", "")))
        options = {"iss": {"essential": True, "value": provider.issuer}, "aud": {"essential": True, "value": provider.client_id}}
        params = {"nonce": _derived(keys, "sso-nonce", state), "client_id": provider.client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(signed.claims, signed.header, options, params)
        claims.validate(now=int(clock.now().timestamp()), leeway=LEEWAY)
    except Unreachable:
        return SsoRefused("unreachable")
    except (httpx2.HTTPError, OSError):
        return SsoRefused("unreachable")
    except (AuthlibBaseError, JoseError, ValueError, TypeError, KeyError, RecursionError):
        return SsoRefused("token")
    subject = signed.claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        return SsoRefused("token")
    return Told(provider.issuer, subject, dict(signed.claims), onward)
