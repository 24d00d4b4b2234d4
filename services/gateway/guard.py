"""Who may talk to the gateway at all, before anybody is asked who they are: programs, and pages that it served itself.

A page of another site can make a browser send requests here. It is recognised by its Origin; and when its name was
made to point at this machine (DNS rebinding), by the Host header, which then carries that name. An address in
numbers is no name that somebody could have rebound.
"""

import ipaddress
import socket
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from services.gateway.problems import problem

_PORTS = {"http": 80, "https": 443}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def complaint(method: str, headers: Mapping[str, str], own_names: frozenset[str]) -> str | None:
    """Return why a request is refused, or None."""
    host = headers.get("Host", "")
    name = _host_name(host)
    if name is None or not (name in own_names or _is_address(name)):
        return f"the Host header is {host!r}, which is not this server; use its address, or localhost on its machine"
    if method in SAFE_METHODS:
        return None
    origin = headers.get("Origin")
    if origin is not None and not names_same(origin, host):
        return f"a page of {origin} may not change anything here"
    if headers.get("Sec-Fetch-Site") == "cross-site":
        return "a page of another site may not change anything here"
    return None


def names_same(origin: str, host: str) -> bool:
    """Say whether an Origin is of the server that a Host header names; a port left out is the scheme's."""
    try:
        page, server = urlsplit(origin), urlsplit(f"//{host}")
        default = _PORTS.get(page.scheme)
        ports = (page.port or default, server.port or default)
    except ValueError:
        return False
    return page.hostname is not None and page.hostname == server.hostname and ports[0] == ports[1]


def own_names(host: str, published: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names under which a gateway that listens on `host`, and is published as others, is addressed."""
    return frozenset({"localhost", host.lower(), socket.gethostname().lower(), *published})


def guard(names: frozenset[str]) -> Middleware:
    """Return the middleware that refuses what `complaint` complains about."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = complaint(request.method, request.headers, names)
        return problem(HTTPStatus.FORBIDDEN, reason) if reason else await handler(request)

    return refuse


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Tell browsers to trust nothing but what we serve."""
    response.headers.update(HEADERS)


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
