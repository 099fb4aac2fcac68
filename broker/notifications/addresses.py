"""Where a webhook may go: never into the hospital's own network unless its operator says so, whatever the name resolves to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from broker.notifications.errors import NotDelivered

Networks = Sequence[IPv4Network | IPv6Network]

#: IPv6 addresses with an IPv4 address inside, which a translator may carry anywhere (RFC 6052, 8215, 3056, 4380).
_TRANSLATED = tuple(ip_network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))

#: Turns a host name and a port into addresses; the system's own resolver unless a test gives another.
Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Target:
    """A webhook whose name was looked up and found allowed: the connection goes to this very address, so that a second look-up can't differ."""

    scheme: str
    host: str
    port: int
    address: str
    path: str

    @property
    def authority(self) -> str:
        """The Host header."""
        standard = (self.scheme, self.port) in (("https", 443), ("http", 80))
        return self.host if standard else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL with the address in the host's place."""
        where = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{where}:{self.port}{self.path}"


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks from a comma-separated list such as ``10.0.0.0/8, 192.168.1.0/24``. Raises ValueError."""
    return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())


def url_problem(url: str, *, inside: bool) -> str | None:
    """What is wrong with a webhook's URL as it is written; None: nothing. ``inside``: plain http is allowed within named networks."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "unreadable"
    if parts.scheme != "https" and not (inside and parts.scheme == "http"):
        return "scheme"
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment or port == 0:
        return "host"
    return "characters" if any(not 33 <= ord(one) <= 126 for one in url) or len(url) > 2000 else None


def allowed(address: IPv4Address | IPv6Address, scheme: str, inside: Networks) -> bool:
    """Whether a webhook may go there: any public address by https; others, and plain http, only within the named networks."""
    plain = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
    if any(plain in network for network in inside if network.version == plain.version):
        return True
    if any(plain in network for network in _TRANSLATED if plain.version == network.version):
        return False
    return scheme == "https" and plain.is_global and not plain.is_multicast


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError where there is none."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def target(url: str, inside: Networks, resolve: Resolve = resolved) -> Target:
    """Look the name up once and choose an address. Every address of the name must be allowed. Raises NotDelivered."""
    if url_problem(url, inside=bool(inside)):
        raise NotDelivered("url", final=True)
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError):
        raise NotDelivered("unknown-host") from None
    if not found or not all(allowed(ip_address(one.partition("%")[0]), parts.scheme, inside) for one in found):
        raise NotDelivered("address-not-allowed", final=True)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, found[0], path)
