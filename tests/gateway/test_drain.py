"""A gateway that is told to stop takes nothing new, answers what it has, and ends its streams."""

import asyncio
import time
from dataclasses import replace

import aiohttp
import pytest

from services.gateway.app import serve
from tests.gateway.conftest import AS_ADMIN, Api
from tests.support.eventually import PATIENCE_S, eventually
from trainmaster.embedded.program import free_port


async def test_what_is_under_way_is_answered_and_streams_end(api: Api) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    gateway = asyncio.create_task(serve(replace(api.settings, port=port)))
    sent = asyncio.Event()

    async def note(*_: object) -> None:
        sent.set()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(note)
    async with (
        aiohttp.ClientSession(headers=AS_ADMIN) as http,
        aiohttp.ClientSession(headers=AS_ADMIN, trace_configs=[trace]) as early,
        aiohttp.ClientSession() as late,
    ):

        async def asked(path: str, http: aiohttp.ClientSession = http) -> int:
            async with http.get(f"{url}{path}") as response:
                await response.read()
                return response.status

        async def serves() -> bool:
            try:
                return await asked("/api/v1/experiments") == 200
            except aiohttp.ClientConnectorError:
                return False

        await eventually(serves)
        async with http.get(f"{url}/api/v1/events/stream") as stream:
            assert stream.status == 200
            waits = asyncio.create_task(asked("/api/v1/experiments?min_seq=1000000000", early))  # for 2 s
            await sent.wait()
            assert await asked("/healthz", late) == 200, "a later connection: the earlier one was accepted"
            began_s = time.monotonic()
            gateway.cancel()
            with pytest.raises((aiohttp.ClientPayloadError, EOFError)):
                await _end(stream)
            with pytest.raises(aiohttp.ClientConnectorError):
                await asked("/healthz")
            assert await waits == 200
        with pytest.raises(asyncio.CancelledError):
            await gateway
        assert time.monotonic() - began_s < PATIENCE_S


async def _end(stream: aiohttp.ClientResponse) -> None:
    """Read to the end of a stream, whichever way it ends."""
    async with asyncio.timeout(PATIENCE_S):
        await stream.content.read()
        raise EOFError
