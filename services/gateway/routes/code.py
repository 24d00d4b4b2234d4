"""The code that an experiment trains with: its files, and what is in them."""

from aiohttp import web

from services.gateway import code
from services.gateway.api import PREFIX, Call, PastQuery, get
from services.gateway.views.experiments import CodeFiles

TEXT = "text/plain"


async def list_files(call: Call[PastQuery]) -> CodeFiles:
    """The files of an experiment's code directory."""
    async with call.reading() as database:
        return await code.files(database, call.parts.store, call.id("experiment"))


async def show_file(call: Call[PastQuery]) -> web.StreamResponse:
    """One file as text; bytes that are no UTF-8 are replaced."""
    async with call.reading() as database:
        content = await code.file(database, call.parts.store, call.id("experiment"), call.request.match_info["path"])
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=content.decode(errors="replace"), content_type=TEXT, charset="utf-8", headers=headers)


ROUTES = (
    get(
        f"{PREFIX}/experiments/{{id}}/code", list_files, PastQuery, CodeFiles, "List the files of an experiment's code"
    ),
    get(f"{PREFIX}/experiments/{{id}}/code/{{path:.+}}", show_file, PastQuery, TEXT, "Show one file of the code"),
)
