"""Asking a local HTTP server whether it is there, with nothing but a socket."""

import asyncio

from trainmaster.embedded.program import HOST

PROBE_TIMEOUT_S = 3.0


async def http_status(port: int, path: str) -> int:
    """Return the status of a GET without credentials. Raises OSError or TimeoutError when no HTTP server answers."""
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
            words = (await reader.readline()).split(maxsplit=2)
        finally:
            writer.close()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError(f"what listens on port {port} does not speak HTTP")
    return int(words[1])
