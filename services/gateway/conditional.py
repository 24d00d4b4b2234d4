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


def tagged(request: web.Request, response: web.Response, seq: int) -> web.Response:
    """Return the answer with its tag; without its body (304) if the client has it."""
    body = response.body
    assert isinstance(body, bytes), "views are encoded"
    tag = f'"{seq}-{zlib.crc32(body):08x}"'
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    if tag in _known(request):
        headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return response


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
