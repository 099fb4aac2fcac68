"""Network addresses that are somebody else's: where a name that others chose may lead us (attack C22).

An IPv6 address may carry an IPv4 address that a translator at the edge of the network takes it to, so that it is judged by what it carries.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: Global unicast as IANA has assigned it; everything else in IPv6 is local, reserved or a translation.
_ASSIGNED = IPv6Network("2000::/3")
#: 6to4 (RFC 3056), documentation (RFC 9637).
_UNFIT = (IPv6Network("2002::/16"), IPv6Network("3fff::/20"))
#: Special purposes (RFC 6890), and the anycast relay of 6to4 (RFC 7526); Python calls parts of them global.
_UNFIT_4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
#: The well-known prefix of NAT64 (RFC 6052): the last 32 bits are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


def meant(address: str) -> IPv4Address | IPv6Address:
    """The address that is reached in the end. Raises ValueError for what is none."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _NAT64:
            return IPv4Address(int(found) & 0xFFFF_FFFF)
    return found


def public(address: str) -> bool:
    """Whether an address is in the public Internet and of one machine."""
    try:
        found = meant(address)
    except ValueError:
        return False
    if not found.is_global or found.is_multicast:
        return False
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _UNFIT_4)
    return found in _ASSIGNED and not any(found in network for network in _UNFIT)
