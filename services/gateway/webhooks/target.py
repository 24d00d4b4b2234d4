"""Where a webhook may post to: public addresses, and networks that TM_WEBHOOK_NETWORKS allows.

Somebody who may name an address could otherwise have the gateway ask servers that only it can reach: on loopback,
of the cluster, of a cloud's metadata. What counts is the address that is connected to, so names are looked up, and
what they stand for is looked at, with each connection; redirections are not followed.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from shared.errors import Problem, Rejected

MAX_URL = 2000
RESOLVE_TIMEOUT_S = 5.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class Forbidden(Exception):
    """An address that may not be posted to."""


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks in a setting: CIDR, separated by commas. Raises ValueError."""
    return tuple(ipaddress.ip_network(word) for word in text.replace(",", " ").split())


def check_address(address: str, allowed: Sequence[Network]) -> None:
    """Raise Forbidden unless an address is public, or in a network that is allowed."""
    parsed = _meant(ipaddress.ip_address(address.partition("%")[0]))
    is_public = parsed.is_global and not parsed.is_multicast and not getattr(parsed, "is_site_local", False)
    if not is_public and not any(parsed in network for network in allowed):
        raise Forbidden(f"{address} is not a public address; TM_WEBHOOK_NETWORKS does not allow it")


def _meant(address: Address) -> Address:
    """The IPv4 address that a translated or a tunnelled one reaches (RFC 4291, 6052, 3056, 4380)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def check_literal(url: str, allowed: Sequence[Network]) -> None:
    """Raise Forbidden for a URL whose host is an address in numbers that is not allowed; names are looked up later."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    check_address(host, allowed)


async def check_url(url: str, allowed: Sequence[Network]) -> None:
    """Raise Rejected unless this can be posted to."""
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
        raise _wrong(url, "is not http(s)://HOST/…, without a password")
    if len(url) > MAX_URL or not url.isascii() or any(character.isspace() for character in url):
        raise _wrong(url, f"must be at most {MAX_URL} characters of ASCII, without spaces")
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            check_literal(url, allowed)
            await PublicResolver(allowed).resolve(parts.hostname, port)
    except (Forbidden, OSError, UnicodeError) as error:  # the latter: a name that no DNS server could have
        raise _wrong(url, str(error) or "does not resolve") from error


def _wrong(url: str, message: str) -> Rejected:
    mistake = Problem("url", message, "use an address that this gateway can reach and may post to")
    return Rejected(f"{url[:100]!r} cannot be a webhook's address", (mistake,))


class PublicResolver(AbstractResolver):
    """Looks names up, and refuses those that stand for any address that may not be posted to."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return a name's addresses. Raises Forbidden, OSError."""
        found = await self._names.resolve(host, port, family)
        for result in found:
            check_address(result["host"], self._allowed)
        return found

    async def close(self) -> None:
        """Nothing is held."""
