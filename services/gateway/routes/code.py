"""The code that an experiment trains with: its files, and what is in them."""

from aiohttp import web

from services.gateway import code
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, Call, PastQuery, get
from services.gateway.turns import Turns
from services.gateway.views.experiments import CodeFiles

TEXT = "text/plain"
MAX_READS = 4  # archives in memory, each of up to shared.archive.MAX_ARCHIVE_BYTES
MAX_READS_EACH = 2  # of one user
CODE_READS = web.AppKey("code reads", Turns)


async def list_files(call: Call[PastQuery]) -> CodeFiles:
    """The files of an experiment's code directory."""
    sha256 = await _archive_of(call)
    async with call.request.app[CODE_READS].place(principal.get().user_id):
        return await code.files(call.parts.store, sha256)


async def show_file(call: Call[PastQuery]) -> web.StreamResponse:
    """One file as text; bytes that are no UTF-8 are replaced."""
    sha256 = await _archive_of(call)
    async with call.request.app[CODE_READS].place(principal.get().user_id):
        content = await code.file(call.parts.store, sha256, call.request.match_info["path"])
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=content.decode(errors="replace"), content_type=TEXT, charset="utf-8", headers=headers)


async def _archive_of(call: Call[PastQuery]) -> str:
    """Return which archive it is: who waits for a turn holds no connection to the read model."""
    async with call.reading() as database:
        return await code.archive_of(database, call.id("experiment"))


ROUTES = (
    get(
        f"{PREFIX}/experiments/{{id}}/code", list_files, PastQuery, CodeFiles, "List the files of an experiment's code"
    ),
    get(f"{PREFIX}/experiments/{{id}}/code/{{path:.+}}", show_file, PastQuery, TEXT, "Show one file of the code"),
)
