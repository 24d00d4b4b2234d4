"""The web page: static files, checked again by the browser at each visit, so that an upgrade shows at once."""

from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent / "page" / "static"
ASSETS = "/assets"


def add_page(app: web.Application) -> None:
    """Serve the page at / and its files below /assets."""
    app.router.add_get("/", _index)
    app.router.add_static(ASSETS, STATIC)
    app.on_response_prepare.append(_revalidate)


async def _index(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "index.html")


async def _revalidate(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Cache-Control", "no-cache")
