"""Asking one hospital's FHIR server, and nobody else: what comes back decides nothing about where the next question goes.

Every address must have the scheme, host and port that an operator named (``BROKER_UPSTREAM_HOSTS``), compared exactly; a ``next`` link, a status
address, a file or a token endpoint elsewhere is refused. The name is resolved once and the connection goes to the address that was looked at; TLS is
checked against the name. No redirects, no proxies, no cookies. Bounded in bytes and in seconds (attack C22).
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from broker.public_addresses import meant

#: Seconds until a connection stands, between two pieces of an answer, and for one answer as a whole.
CONNECT_SECONDS, SILENT_SECONDS, ANSWER_SECONDS = 10.0, 60.0, 900.0
#: Bytes of one page of a search, of a manifest or a token answer, and of one file of an export (uncompressed).
PAGE_BYTES, SMALL_BYTES, FILE_BYTES = 64_000_000, 1_000_000, 4_000_000_000

Resolve = Callable[[str, int], Collection[str]]


class UpstreamFailed(Exception):
    """The upstream server did not give what was asked. ``reason`` is a code for the record; no word of the server's own is kept."""

    def __init__(self, reason: str, *, later: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.later = later  #: seconds after which the server wants to be asked again


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver says. Raises OSError."""
    return list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address. Raises UpstreamFailed for one that is no plain http address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        raise UpstreamFailed("upstream.address") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None or not port:
        raise UpstreamFailed("upstream.address")
    return parts.scheme, parts.hostname, port


@dataclass(frozen=True)
class Wire:
    """How upstream servers are reached. ``hosts``: ``host`` or ``host:port`` that an operator named, in lower case."""

    hosts: Collection[str]
    ca_file: Path | None = None
    resolve: Resolve = field(default=resolved)

    def checked(self, url: str) -> tuple[str, str, int]:
        """The origin of an address that may be asked. Raises UpstreamFailed for every other one."""
        scheme, host, port = found = origin(url)
        if host not in self.hosts and f"{host}:{port}" not in self.hosts:
            raise UpstreamFailed("upstream.other-host")
        if scheme == "http" and not _loopback(host):
            raise UpstreamFailed("upstream.no-tls")
        return found

    @contextmanager
    def asked(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> Iterator[httpx2.Response]:
        """One request; its answer is read by :func:`pieces`. Raises UpstreamFailed where no answer comes."""
        scheme, host, port = self.checked(url)
        try:
            addresses = list(self.resolve(host, port))
        except (OSError, UnicodeError):
            raise UpstreamFailed("upstream.name") from None
        if not addresses or not all(_usable(address) for address in addresses):
            raise UpstreamFailed("upstream.address")
        named = host if port == {"https": 443, "http": 80}[scheme] else f"{host}:{port}"
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        try:
            target = httpx2.URL(url).copy_with(host=addresses[0], fragment=None)
            with (
                httpx2.Client(verify=context, timeout=timeout, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    method, target, data=form, extensions={"sni_hostname": host},
                    headers={"Host": named, "User-Agent": "data-sharing-broker", "Accept-Encoding": "gzip", **(headers or {})},
                ) as answer,
            ):  # fmt: skip
                yield answer
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise UpstreamFailed("upstream.unreachable" if isinstance(error, httpx2.ConnectError) else "upstream.broken-off") from None


def pieces(answer: httpx2.Response, limit: int) -> Iterator[bytes]:
    """The body of an answer, piece by piece, unpacked. Raises UpstreamFailed for one that is too long, comes too slowly or ends too early.

    gzip is unpacked here: a file may consist of several members (RFC 1952 2.2), of which an HTTP library reads the first and drops the rest.
    """
    packed = answer.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("identity", "gzip", "x-gzip"):
        raise UpstreamFailed("upstream.encoding")
    unpack = (lambda piece: (piece,)) if packed == "identity" else _Members()
    size, until = 0, time.monotonic() + ANSWER_SECONDS
    for raw in answer.iter_raw(65_536):
        for piece in unpack(raw):
            size += len(piece)
            if size > limit:
                raise UpstreamFailed("upstream.too-large")
            yield piece
        if time.monotonic() > until:
            raise UpstreamFailed("upstream.slow")
    if isinstance(unpack, _Members) and not unpack.ended:
        raise UpstreamFailed("upstream.broken-off")


class _Members:
    """Unpacks gzip members that follow each other, a bounded piece at a time."""

    def __init__(self) -> None:
        self._open = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._begun = False

    @property
    def ended(self) -> bool:
        """Whether nothing is missing."""
        return not self._begun or self._open.eof

    def __call__(self, packed: bytes) -> Iterator[bytes]:
        try:
            while packed:
                if self._open.eof:
                    self._open = zlib.decompressobj(zlib.MAX_WBITS | 16)
                self._begun = True
                yield self._open.decompress(packed, 1_000_000)
                packed = self._open.unused_data if self._open.eof else self._open.unconsumed_tail
        except zlib.error:
            raise UpstreamFailed("upstream.encoding") from None


def whole(answer: httpx2.Response, limit: int) -> bytes:
    """The body of an answer as one, if its status is 200."""
    if answer.status_code != httpx2.codes.OK:
        raise UpstreamFailed(f"upstream.status-{answer.status_code}", later=retry_after(answer))
    return b"".join(pieces(answer, limit))


def retry_after(answer: httpx2.Response) -> float | None:
    """Seconds that an answer asks for (RFC 9110 10.2.3, the form in seconds), at most ten minutes."""
    value = answer.headers.get("retry-after", "")
    return min(float(value), 600.0) if value.isascii() and value.isdigit() and len(value) < 9 else None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _usable(address: str) -> bool:
    """A named host may well be private; it is never a link-local address (a cloud's metadata service) or a group of them."""
    try:
        found = meant(address)
    except ValueError:
        return False
    return not (found.is_link_local or found.is_multicast or found.is_unspecified)
