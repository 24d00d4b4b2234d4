"""Bytes that tell how far they are sent."""

import io
from collections.abc import Callable


class Upload(io.BytesIO):
    """The body of a part of a request; `on_sent` is told how many bytes were taken, and how many there are."""

    def __init__(self, body: bytes, on_sent: Callable[[int, int], None] | None = None) -> None:
        super().__init__(body)
        self._num_bytes = len(body)
        self._on_sent = on_sent

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        chunk = super().read(size)
        if self._on_sent is not None:
            self._on_sent(self.tell(), self._num_bytes)
        return chunk
