"""The web page: static files, checked again by the browser at each visit, so that an upgrade shows at once."""

import asyncio
import gzip
import mimetypes
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

STATIC = (Path(__file__).parent / "page" / "static").resolve()
ASSETS = "/assets"
MAX_FILES = 256  # kept compressed; there are about ninety

mimetypes.add_type("text/javascript", ".js")


def add_page(app: web.Application) -> None:
    """Serve the page at / and its files below /assets."""
    app.router.add_get("/", _index)
    app.router.add_get(ASSETS + "/{path:.+}", _asset)
    app.on_response_prepare.append(_revalidate)


async def _index(request: web.Request) -> web.StreamResponse:
    return await _file(request, STATIC / "index.html")


async def _asset(request: web.Request) -> web.StreamResponse:
    return await _file(request, STATIC / request.match_info["path"])


async def _file(request: web.Request, path: Path) -> web.StreamResponse:
    if "\0" in str(path):
        raise web.HTTPNotFound
    found = path.resolve()
    if STATIC not in found.parents or not found.is_file():
        raise web.HTTPNotFound
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return web.FileResponse(found)
    facts = found.stat()
    tag = f"{facts.st_mtime_ns:x}-{facts.st_size:x}-gzip"
    headers = {"ETag": f'"{tag}"', "Vary": "Accept-Encoding"}
    if any(given.value == tag for given in request.if_none_match or ()):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    body = await asyncio.to_thread(_compressed, found, facts.st_mtime_ns)
    kind, _ = mimetypes.guess_type(found.name)
    headers |= {"Content-Encoding": "gzip", "Content-Type": kind or "application/octet-stream"}
    return web.Response(body=body, headers=headers)


@lru_cache(maxsize=MAX_FILES)
def _compressed(path: Path, _changed_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)


async def _revalidate(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Cache-Control", "no-cache")
