"""Asking a local HTTP server whether it is there, with nothing but a socket."""

import asyncio
import json
from typing import Any

from trainmaster.embedded.program import HOST

PROBE_TIMEOUT_S = 3.0


async def http_status(port: int, path: str) -> int:
    """Return the status of a GET without credentials. Raises OSError or TimeoutError when no HTTP server answers."""
    status, _ = await _get(port, path, body=False)
    return status


async def http_json(port: int, path: str) -> Any:
    """Return the JSON that a GET brings. Raises OSError or TimeoutError when that is not to be had."""
    status, body = await _get(port, path, body=True)
    if status != 200:
        raise ConnectionError(f"port {port} answered {status}")
    return json.loads(body)


async def _get(port: int, path: str, *, body: bool) -> tuple[int, bytes]:
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
            words = (await reader.readline()).split(maxsplit=2)
            _, _, rest = (await reader.read()).partition(b"\r\n\r\n") if body else (b"", b"", b"")
        finally:
            writer.close()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError(f"what listens on port {port} does not speak HTTP")
    return int(words[1]), rest
