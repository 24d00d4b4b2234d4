"""Asking a local HTTP server whether it is there, with nothing but a socket."""

import asyncio
import json
from typing import Any

from trainmaster.embedded.program import HOST

PROBE_TIMEOUT_S = 3.0


async def http_status(port: int, path: str) -> int:
    """Return the status of a GET without credentials. Raises OSError or TimeoutError when no HTTP server answers."""
    status, _ = await _get(port, path, None)
    return status


async def http_json(port: int, path: str, token: str) -> Any:
    """Return the JSON that a GET with a token brings. Raises OSError or TimeoutError when that is not to be had."""
    status, body = await _get(port, path, token)
    if status != 200:
        raise ConnectionError(f"port {port} answered {status}")
    return json.loads(body)


async def _get(port: int, path: str, token: str | None) -> tuple[int, bytes]:
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            bearer = f"Authorization: Bearer {token}\r\n" if token else ""
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n{bearer}\r\n".encode())
            words = (await reader.readline()).split(maxsplit=2)
            _, _, rest = (await reader.read()).partition(b"\r\n\r\n") if token else (b"", b"", b"")
        finally:
            writer.close()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError(f"what listens on port {port} does not speak HTTP")
    return int(words[1]), rest
