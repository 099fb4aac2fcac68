"""The demo's two kinds of callers: a person with a password, and a hospital's system with its private key."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Unexpected(Exception):
    """A step of the story did not come out as told."""


def expect(response: httpx2.Response, *statuses: int) -> httpx2.Response:
    """The response, if its status is one of these. Raises Unexpected otherwise."""
    if response.status_code not in statuses:
        raise Unexpected(f"{response.request.method} {response.request.url.path}: {response.status_code}, told was {statuses}: {response.text[:400]}")
    return response


@dataclass(frozen=True)
class PersonClient:
    """Somebody at the API, signed in with user name and password."""

    http: httpx2.Client
    username: str
    password: str

    def call(self, method: str, path: str, *, expected: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> httpx2.Response:
        """One call; raises Unexpected for another status."""
        response = self.http.request(
            method,
            path,
            json=body,
            auth=(self.username, self.password),
            headers={"Accept-Language": "en", "Idempotency-Key": secrets.token_hex(8), **(headers or {})},
        )
        return expect(response, expected)


@dataclass(frozen=True)
class SystemClient:
    """A hospital's system: asks for a token with a signed assertion (SMART Backend Services), then fetches."""

    http: httpx2.Client
    base_url: str
    client_id: str
    key: ECKey | RSAKey

    def token(self, application: str, scope: str = "system/*.rs") -> dict[str, Any]:
        """A fresh access token, bound to one application."""
        endpoint = f"{self.base_url}/oauth2/token"
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": endpoint, "exp": now + 240, "jti": secrets.token_hex(32)}
        header = {"alg": self.key.get("alg"), "kid": self.key.get("kid"), "typ": "JWT"}
        form = {
            "grant_type": "client_credentials",
            "scope": f"{scope} application:{application}",
            "client_assertion_type": ASSERTION,
            "client_assertion": jwt.encode(header, claims, self.key, algorithms=["ES384", "RS384"]),
        }
        answer: dict[str, Any] = expect(self.http.post("/oauth2/token", data=form), 200).json()
        return answer

    def fetch(self, method: str, path: str, token: str, body: Any = None) -> httpx2.Response:
        """One call with a token, whatever the answer."""
        return self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {token}", "Accept-Language": "en"})
