"""A limit on how many bytes go through in a second, shared by all threads that ask."""

import threading
import time
from typing import BinaryIO


class Pace:
    """Lets bytes through at a rate; whoever asks for more waits their turn."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._turn = threading.Lock()
        self._free_at = 0.0

    def take(self, num_bytes: int) -> None:
        """Return when so many more may go through; blocks the thread."""
        with self._turn:
            begin = max(time.monotonic(), self._free_at)
            self._free_at = begin + num_bytes / self._bytes_per_s
        time.sleep(max(0.0, begin - time.monotonic()))


class PacedFile:
    """A file that is read at a pace."""

    def __init__(self, file: BinaryIO, pace: Pace) -> None:
        self._file = file
        self._pace = pace

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, when it is their turn."""
        body = self._file.read(size)
        self._pace.take(len(body))
        return body
