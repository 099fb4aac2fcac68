"""Keys that a client publishes at an address: fetched safely, kept as long as they may be, and not believed longer (C22, d2 338 to 342)."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.identity import jwks_fetch
from broker.identity.jwks_fetch import Fetched, NotFetched
from tests.factories import identity as make

HOST = "keys.example"
ES, RS = make.private_key("ES384"), make.private_key("RS384")


@dataclass
class Publisher:
    """An https server that answers what it is told to, and counts."""

    port: int
    ca_file: Path
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunk_seconds: float = 0
    asked: list[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"https://{HOST}:{self.port}/jwks.json"

    def publish(self, *keys: dict, **headers: str) -> None:
        self.status, self.body = 200, json.dumps({"keys": [make.public(key) for key in keys]}).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def fetch(self, uri: str | None = None, *, private=(HOST,), addresses=("127.0.0.1",)) -> Fetched | NotFetched:
        return jwks_fetch.fetch(uri or self.uri, private_hosts=private, ca_file=self.ca_file, resolve=lambda _host, _port: list(addresses))


def _certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=2))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    certificate, key = _certificate(tmp_path_factory.mktemp("tls"), HOST)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked.append(self.headers["Host"])
            self.send_response(publisher.status)
            for name, value in publisher.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for start in range(0, len(publisher.body), 2048):
                    self.wfile.write(publisher.body[start : start + 2048])
                    self.wfile.flush()
                    time.sleep(publisher.chunk_seconds)
            except OSError:
                pass  # It was let down.

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    publisher = Publisher(server.server_address[1], certificate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield publisher
    server.shutdown()


@pytest.fixture
def publisher(serving: Publisher) -> Publisher:
    serving.asked.clear()
    serving.chunk_seconds = 0
    serving.publish(ES, RS)
    return serving


def test_keys_are_fetched_by_name_over_tls(publisher):
    found = publisher.fetch()
    assert isinstance(found, Fetched)
    assert [key["kid"] for key in found.jwks["keys"]] == [ES["kid"], RS["kid"]]
    assert publisher.asked == [f"{HOST}:{publisher.port}"]


@pytest.mark.parametrize(
    ("cache", "age"),
    [({}, 300), ({"Cache_Control": "max-age=60"}, 60), ({"Cache_Control": "public, max-age=999999"}, 3600), ({"Cache_Control": "no-store"}, 0),
     ({"Cache_Control": "no-cache, max-age=60"}, 0), ({"Cache_Control": "max-age=0"}, 0)],
)  # fmt: skip
def test_341_they_are_never_kept_longer_than_is_said(publisher, cache, age):
    publisher.publish(ES, **cache)
    found = publisher.fetch()
    assert isinstance(found, Fetched)
    assert found.max_age == age


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1%eth0", "fd00::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "224.0.0.1", "ff02::1", "not-an-address",
     "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "::ffff:0:10.0.0.1",
     "fec0::1",
     "2001:0:7f00:1::", "192.88.99.1", "192.0.0.8", "198.18.0.1", "240.0.0.1", "255.255.255.255", "3fff::1", "5f00::1", "100::1", "2130706433",
     "0x7f.1",
     "0177.0.0.1", ""],
)  # fmt: skip
def test_c22_an_address_that_is_not_public_is_never_asked(publisher, address):
    assert publisher.fetch(private=(), addresses=(address,)) == NotFetched("jwks-private-address")
    assert publisher.fetch(private=(), addresses=("8.8.8.8", address)) == NotFetched("jwks-private-address")  # One of several is enough.
    assert publisher.asked == []


@pytest.mark.parametrize(
    "uri", ["http://keys.example/jwks", "file:///etc/passwd", "https://u@keys.example/jwks", "https:///jwks", "ftp://keys.example/"]
)
def test_c22_other_addresses_are_refused_before_a_name_is_asked(publisher, uri):
    assert publisher.fetch(uri) == NotFetched("jwks-address")


def test_c22_the_connection_goes_to_the_address_that_was_looked_at(publisher, monkeypatch):
    """DNS rebinding: the name is asked once, by us; nothing else asks it again."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def watched(host, *rest, **more):
        asked.append(str(host))
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    assert isinstance(publisher.fetch(), Fetched)
    assert all(ipaddress.ip_address(host) for host in asked)


def test_c22_redirects_are_not_followed(publisher):
    publisher.status, publisher.headers = 302, {"Location": "http://169.254.169.254/latest"}
    assert publisher.fetch() == NotFetched("jwks-status")
    assert len(publisher.asked) == 1


def test_tls_is_checked_against_the_name(publisher):
    elsewhere = f"https://other.example:{publisher.port}/jwks.json"
    assert publisher.fetch(elsewhere, private=("other.example",)) == NotFetched("jwks-unreachable")
    without = jwks_fetch.fetch(publisher.uri, private_hosts=(HOST,), resolve=lambda _host, _port: ["127.0.0.1"])
    assert without == NotFetched("jwks-unreachable")  # Nobody vouches for the certificate.
    assert publisher.asked == []


def test_size_is_bounded(publisher):
    publisher.body = b'{"keys": [' + b" " * 100_000 + b"]}"
    assert publisher.fetch() == NotFetched("jwks-too-large")


def test_time_is_bounded(publisher, monkeypatch):
    monkeypatch.setattr(jwks_fetch, "SECONDS", 0.3)
    publisher.body, publisher.chunk_seconds = b" " * 40_000, 0.1
    assert publisher.fetch() in (NotFetched("jwks-slow"), NotFetched("jwks-unreachable"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": []}', b"<html>", b"\xff", b"[" * 50_000, json.dumps({"keys": [ES]}).encode()])
def test_what_is_no_public_key_set_is_refused(publisher, body):
    publisher.body = body
    assert publisher.fetch() == NotFetched("jwks-unusable")


# -- at the token endpoint --


@pytest.fixture
def published(house, publisher, monkeypatch):
    """A client that registered its address in place of keys, and the server there."""
    with house.database.transaction() as session:
        row, _ = make.client_with_key(session, organization_id="shengli")
        row.jwks, row.jwks_uri = {"keys": []}, publisher.uri
        session.add(row)
        client_id = row.id

    real = jwks_fetch.fetch
    fetch = lambda uri, **_: real(uri, private_hosts=(HOST,), ca_file=publisher.ca_file, resolve=lambda _h, _p: ["127.0.0.1"])  # noqa: E731
    monkeypatch.setattr(jwks_fetch, "fetch", fetch)

    def ask(jwk, **values):
        return house.ask(make.assertion(client_id, jwk, house.token_endpoint, **values))

    return ask


def test_a_client_with_an_address_gets_tokens_and_is_asked_once(published, publisher):
    for key in (ES, RS, ES):
        assert published(key).status_code == 200
    assert len(publisher.asked) == 1
    assert published(ES, header={"jku": publisher.uri}).status_code == 200
    assert published(ES, header={"jku": publisher.uri + "x"}).status_code == 400
    assert len(publisher.asked) == 1


def test_339_a_new_key_works_and_a_removed_one_stops_when_what_was_kept_runs_out(published, publisher, set_clock):
    new = make.private_key("ES384")
    publisher.publish(ES, Cache_Control="max-age=600")
    assert published(ES).status_code == 200
    publisher.publish(new, Cache_Control="max-age=600")
    assert published(new).status_code == 400  # Looked at a moment ago.
    at = {"exp": int(time.time()) + 90 + 200}
    set_clock(dt.timedelta(seconds=90))
    assert published(new, **at).status_code == 200
    assert published(ES, **at).status_code == 400
    assert len(publisher.asked) == 2


def test_342_an_address_that_is_down_is_a_refusal_unless_what_is_kept_is_fresh(published, publisher, set_clock):
    publisher.publish(ES, Cache_Control="max-age=120")
    assert published(ES).status_code == 200
    publisher.status, publisher.body = 500, b""
    assert published(ES).status_code == 200
    set_clock(dt.timedelta(seconds=121))
    assert published(ES, exp=int(time.time()) + 300).status_code == 400
    asked = len(publisher.asked)
    assert published(ES, exp=int(time.time()) + 300).status_code == 400
    assert len(publisher.asked) == asked  # Left alone for a while.


def test_assertions_of_strangers_do_not_make_us_knock_at_the_door(published, publisher):
    assert published(ES).status_code == 200
    for _ in range(10):
        assert published(make.private_key("ES384")).status_code == 400
    assert len(publisher.asked) == 1
