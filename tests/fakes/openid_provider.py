"""A hospital's login that lies on demand: an OpenID provider whose every answer a test can spoil. It exists for the lies; the honest ones
are asked of a real provider (tests/conformance/test_hospital_login.py)."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet


def _half(token: str) -> str:
    return base64.urlsafe_b64encode(sha256(token.encode()).digest()[:16]).decode().rstrip("=")


def _key() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "kid": secrets.token_hex(8)})


@dataclass
class Provider:
    """What it answers with, and what it was asked."""

    issuer: str = ""
    client_id: str = "broker"
    key: ECKey = field(default_factory=_key)
    published: list[ECKey] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)  #: what to say otherwise of itself
    claims: dict[str, Any] = field(default_factory=dict)  #: what to say otherwise in ID tokens; None leaves a claim out
    header: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.published = [self.key]

    def rotate(self) -> None:
        """Another key from now on."""
        self.key = _key()
        self.published = [self.key]

    def enters(self, url: str, subject: str, **answer: str | None) -> dict[str, str]:
        """Somebody proves at this provider to be ``subject``, after the address that the broker sent them to; what comes back with them."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "subject": subject}
        given = {"code": code, "state": asked["state"], "iss": self.issuer, **answer}
        return {name: value for name, value in given.items() if value is not None}

    def signed(self, claims: dict[str, Any]) -> str:
        """A token of this provider's."""
        header = {"alg": "ES256", "kid": self.key.kid, **self.header}
        if header["alg"] == "none":
            head, body = (base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in (header, claims))
            return f"{head}.{body}."
        return jwt.encode(header, claims, self.key)

    def id_token(self, about: dict[str, str], access_token: str) -> str:
        """The ID token for a code, with what ``claims`` says otherwise."""
        now = int(time.time())
        honest = {"iss": self.issuer, "sub": about["subject"], "aud": self.client_id, "exp": now + 300, "iat": now, "nonce": about.get("nonce"),
                  "at_hash": _half(access_token), "sid": "sid-" + about["subject"]}  # fmt: skip
        return self.signed({name: value for name, value in {**honest, **self.claims}.items() if value is not None})

    def logout_token(self, **changes: Any) -> str:
        """A logout token, honest but for the changes."""
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8),
                  "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}  # fmt: skip
        return self.signed({name: value for name, value in {**honest, **changes}.items() if value is not None})

    def answer(self, method: str, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What it says at one of its addresses."""
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            honest = {"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token",
                      "jwks_uri": f"{self.issuer}/jwks", "authorization_response_iss_parameter_supported": True}  # fmt: skip
            return 200, {**honest, **self.metadata}
        if path == "/jwks":
            return 200, KeySet(self.published).as_dict(private=False)
        if method == "POST" and path == "/token":
            about = self.codes.pop(form.get("code", ""), None)
            if about is None or about.get("code_challenge_method") != "S256":
                return 400, {"error": "invalid_grant"}
            challenge = base64.urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
            if challenge != about["code_challenge"] or form.get("redirect_uri") != about["redirect_uri"]:
                return 400, {"error": "invalid_grant"}
            access = secrets.token_urlsafe(16)
            return 200, {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": self.id_token(about, access)}
        return 404, {}


@contextmanager
def openid_provider() -> Iterator[Provider]:
    """A provider on a socket of its own."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, form: dict[str, str]) -> None:
            status, said = provider.answer(self.command, urlsplit(self.path).path, form)
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            self._answer({name: values[0] for name, values in parse_qs(sent).items()})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    thread.join(10)
