"""ETags and compression: an answer that the client has already is not sent again, and a large one is sent small.

A tag is the sequence of the newest event that the answer shows, and a checksum of its body, as progress moves without
events. Compressed, the tag ends in -gzip, since it names these bytes; both are understood.
"""

import zlib
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

MIN_COMPRESSED_BYTES = 1024
JSON_TYPES = frozenset({"application/json", "application/problem+json"})
_GZIP = '-gzip"'


def tag_of(body: bytes, seq: int) -> str:
    """Return the tag of a body that shows a thing as the event `seq` left it."""
    return f'"{seq}-{checksum(body)}"'


def checksum(body: bytes) -> str:
    """Return what of a body's tag says that it is this one."""
    return f"{zlib.crc32(body):08x}"


def answer(request: web.Request, body: bytes, tag: str, headers: dict[str, str]) -> web.Response:
    """Return JSON with its tag; without its body (304) if the client has it."""
    headers |= {"ETag": tag, "Cache-Control": "private, no-cache"}
    if "If-None-Match" in request.headers and tag in _known(request):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


def _known(request: web.Request) -> set[str]:
    tags = request.headers.get("If-None-Match", "").split(",")
    return {tag.strip().removeprefix("W/").replace(_GZIP, '"') for tag in tags}


@web.middleware
async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send large JSON compressed to those who take it so."""
    response = await handler(request)
    if (
        isinstance(response, web.Response)
        and response.content_type in JSON_TYPES
        and isinstance(response.body, bytes)
        and len(response.body) >= MIN_COMPRESSED_BYTES
    ):
        response.headers["Vary"] = "Accept-Encoding"
        if _takes_gzip(request):
            response.enable_compression(web.ContentCoding.gzip)
            if tag := response.headers.get("ETag"):
                response.headers["ETag"] = tag[:-1] + _GZIP
    return response


def _takes_gzip(request: web.Request) -> bool:
    for coding in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, parameters = coding.partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
