"""What comes piece by piece on the event loop, as a file for a thread that reads it."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future


class Source:
    """Chunks that are asked for one by one: no more than one, and what is asked for at once, is in memory."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks = chunks
        self._loop = loop
        self._rest = b""
        self._is_over = False
        self._awaited: Future[bytes] | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return this many bytes, fewer at the end; all with -1. Raises what they raise. Not for the event loop."""
        pieces, num_bytes = [self._rest], len(self._rest)
        while (size < 0 or num_bytes < size) and not self._is_over:
            self._awaited = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            pieces.append(self._awaited.result())
            self._is_over = not pieces[-1]
            num_bytes += len(pieces[-1])
        whole = b"".join(pieces)
        end = len(whole) if size < 0 else size
        self._rest = whole[end:]
        return whole[:end]

    def close(self) -> None:
        """Let nobody wait for more."""
        if self._awaited is not None:
            self._awaited.cancel()

    async def _next(self) -> bytes:
        async for chunk in self._chunks:
            if chunk:
                return chunk
        return b""
