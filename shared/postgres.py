"""The connection to PostgreSQL. The only place that opens one."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

import asyncpg
from asyncpg.exceptions._base import DataError as UnencodableError  # its public namesake is the server's

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
RETRY_S = 0.2

#: What a query raises while the server is away.
#: A value that a column or a parameter cannot have; the first is the server's, the second, which is also one of
#: UNREACHABLE, that of asyncpg, which found it before it asked.
BAD_VALUE = (asyncpg.DataError, UnencodableError)

UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a query on a connection that is just dying
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    TimeoutError,
)

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def pool(
    url: str, *, max_size: int, min_size: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A pool for as long as the context lasts, its sessions with these settings; waits until the server answers."""
    while True:
        try:
            created = await asyncpg.create_pool(
                url,
                min_size=min_size,
                max_size=max_size,
                server_settings=dict(settings or {}),
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
            )
            break
        except UNREACHABLE as error:
            _log.warning("waiting for postgres", extra={"error": repr(error)})
            await asyncio.sleep(RETRY_S)
    try:
        yield created
    finally:
        created.terminate()
