"""Fetching a client's keys from the address that it registered, and from nowhere else (SMART 2.2, attack C22).

The name is resolved once, every address it has must be public (or the host be allowed by name), and the connection goes to the
address that was looked at, so that nothing can be swapped in between. TLS is checked against the name. No redirects, no proxy, no
cookies; bounded in bytes and in time.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from broker.errors import BrokerError
from broker.identity import client_keys
from broker.public_addresses import public

MAX_BYTES = 65_536
SECONDS = 5.0
#: How long keys are kept where the answer doesn't say, and at most, seconds.
DEFAULT_AGE, LONGEST_AGE = 300, 3600
_AGE = re.compile(r"max-age=([0-9]{1,9})")

Resolve = Callable[[str, int], Collection[str]]


@dataclass(frozen=True)
class Fetched:
    """A checked key set and the seconds for which it may be kept."""

    jwks: dict[str, Any]
    max_age: int


@dataclass(frozen=True)
class NotFetched:
    """No keys; ``reason`` is for the record."""

    reason: str


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver says. Raises OSError."""
    return list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def fetch(uri: str, *, private_hosts: Collection[str] = (), ca_file: Path | None = None, resolve: Resolve = resolved) -> Fetched | NotFetched:
    """The key set at ``uri``, an https address. ``private_hosts``: hosts whose addresses need not be public."""
    parts = urlsplit(uri)
    host, port = parts.hostname or "", parts.port or 443
    if parts.scheme != "https" or not host or parts.username is not None:
        return NotFetched("jwks-address")
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError):
        return NotFetched("jwks-name")
    if not addresses or (host not in private_hosts and not all(public(address) for address in addresses)):
        return NotFetched("jwks-private-address")
    address = next(iter(addresses))
    target = httpx2.URL(uri).copy_with(host=address)
    named = host if port == 443 else f"{host}:{port}"
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with httpx2.Client(verify=context, timeout=SECONDS, follow_redirects=False, trust_env=False) as client:
            return _asked(client, target, named, host)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return NotFetched("jwks-unreachable")


def _asked(client: httpx2.Client, target: httpx2.URL, named: str, host: str) -> Fetched | NotFetched:
    until = time.monotonic() + SECONDS
    headers = {"Host": named, "Accept": "application/jwk-set+json, application/json", "User-Agent": "data-sharing-broker"}
    with client.stream("GET", target, headers=headers, extensions={"sni_hostname": host}) as answer:
        if answer.status_code != httpx2.codes.OK:
            return NotFetched("jwks-status")
        body = bytearray()
        for chunk in answer.iter_bytes(8192):
            body += chunk
            if len(body) > MAX_BYTES:
                return NotFetched("jwks-too-large")
            if time.monotonic() > until:
                return NotFetched("jwks-slow")
        cache = answer.headers.get("cache-control", "").lower()
    try:
        return Fetched(client_keys.checked(json.loads(body)), _kept(cache))
    except (BrokerError, ValueError, RecursionError):  # A private key among them, too: whoever published it must make a new one.
        return NotFetched("jwks-unusable")


def _kept(cache: str) -> int:
    """Seconds for which the answer may be kept (RFC 9111 5.2.2); never longer than it says."""
    if "no-store" in cache or "no-cache" in cache:
        return 0
    found = _AGE.search(cache)
    return min(int(found[1]), LONGEST_AGE) if found else DEFAULT_AGE
