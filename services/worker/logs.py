"""What ranks write, line by line, on its way to the LOGS stream.

Lines leave within BATCH_S, in batches, in order a rank, RATE_BYTES_PER_S at most on an agent. While the broker is away,
or more is written than that, they wait in bounded memory; when that is full, the rank that has most waiting loses its
oldest lines, and a line in their place says how many.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from datetime import UTC, datetime

from nats.aio.client import Client

from services.worker import volume
from services.worker.allocation import Allocation
from services.worker.instruments import LOST_LINES
from shared import subjects
from shared import volume as messages
from shared.ids import AgentId
from shared.volume import LogBatch, LogLine

BATCH_S = 0.2
BATCH_LINES = 200
BATCH_BYTES = 256 * 1024
RATE_BYTES_PER_S = 4 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
MAX_WAITING_BYTES = 16 * 1024 * 1024
TAIL_LINES = 60
READ_BYTES = 64 * 1024

_LINE_OVERHEAD_BYTES = 200  # what a short line costs in memory besides its text, and more than in a message


class LineSplitter:
    """Cuts a stream of bytes into lines of text, cuts those longer than MAX_LINE_BYTES, replaces what is not UTF-8."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, body: bytes) -> list[str]:
        """Return the lines that are complete now."""
        *lines, self._rest = (self._rest + body).split(b"\n")
        texts = [text for line in lines for text in _texts(line)]
        while len(self._rest) > MAX_LINE_BYTES:
            texts.append(_text(self._rest[:MAX_LINE_BYTES]))
            self._rest = self._rest[MAX_LINE_BYTES:]
        return texts

    def close(self) -> list[str]:
        """Return the last line if it has no end."""
        rest, self._rest = self._rest, b""
        return _texts(rest) if rest else []


class RankLog:
    """The output of one rank of one allocation."""

    def __init__(self, logs: "Logs", allocation: Allocation, rank: int) -> None:
        self._logs = logs
        self._allocation = allocation
        self._rank = rank
        self._lines: deque[LogLine] = deque()
        self._num_dropped = 0
        self._stderr: deque[str] = deque(maxlen=TAIL_LINES)
        self._empty = asyncio.Event()
        self._empty.set()
        self.waiting_bytes = 0

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of stderr."""
        return tuple(self._stderr)

    def say(self, text: str) -> None:
        """Add a line of the agent's own."""
        for line in text.splitlines():
            for piece in _texts(line.encode(errors="replace")):
                self.write("agent", piece)

    def write(self, stream: str, text: str) -> None:
        """Add a line."""
        if stream == "stderr":
            self._stderr.append(text)
        self._lines.append(LogLine(time=datetime.now(UTC), stream=stream, text=text))
        self._empty.clear()
        self.waiting_bytes += _size(text)
        self._logs.added(self, _size(text))

    async def capture(self, fd: int, stream: str) -> None:
        """Add what comes through a pipe until its end; closes the descriptor."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        lines = LineSplitter()
        try:
            while body := await reader.read(READ_BYTES):
                for text in lines.feed(body):
                    self.write(stream, text)
        finally:
            transport.close()
            for text in lines.close():
                self.write(stream, text)

    async def drained(self) -> None:
        """Wait until every line is in the stream."""
        self._logs.hurry()
        await self._empty.wait()

    def drop_oldest(self) -> int:
        """Drop the oldest line that waits; return its size."""
        dropped_bytes = _size(self._lines.popleft().text)
        self._num_dropped += 1
        LOST_LINES.inc()
        self.waiting_bytes -= dropped_bytes
        return dropped_bytes

    def take_batch(self) -> LogBatch | None:
        """Remove and return the next lines to be stored; None if there are none, and all taken before are stored."""
        if not self._lines:
            self._empty.set()
            return None
        lines: list[LogLine] = []
        if self._num_dropped:
            text = f"[{self._num_dropped} lines were dropped here: the log could not be stored in time]"
            lines.append(LogLine(time=self._lines[0].time, stream="agent", text=text))
            self._num_dropped = 0
        num_bytes = 0
        while self._lines and len(lines) < BATCH_LINES and num_bytes < BATCH_BYTES:
            lines.append(self._lines.popleft())
            num_bytes += _size(lines[-1].text)
        self.waiting_bytes -= num_bytes
        self._logs.removed(num_bytes)
        return LogBatch(
            trial_id=self._allocation.trial_id,
            allocation_id=self._allocation.allocation_id,
            epoch=self._allocation.epoch,
            rank=self._rank,
            lines=tuple(lines),
        )


class Logs:
    """All output on this agent."""

    def __init__(self, client: Client, agent_id: AgentId) -> None:
        self._client = client
        self._agent_id = agent_id
        self._waiting: dict[RankLog, None] = {}  # those with lines
        self._waiting_bytes = 0
        self._filled = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be stored."""
        return self._waiting_bytes

    def open(self, allocation: Allocation, rank: int) -> RankLog:
        """Return a log for one rank's output."""
        return RankLog(self, allocation, rank)

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._filled.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_S):
                    await self._hurry.wait()
            self._filled.clear()
            self._hurry.clear()
            while self._waiting:
                for log in list(self._waiting):  # a batch each in turn: no rank holds up the others
                    due_at = time.monotonic() + await self._store_batch(log) / RATE_BYTES_PER_S
                    await asyncio.sleep(max(0.0, due_at - time.monotonic()))

    async def _store_batch(self, log: RankLog) -> int:
        """Return how many bytes were stored."""
        batch = log.take_batch()
        if batch is None:
            del self._waiting[log]
            return 0
        subject = subjects.logs_subject(self._agent_id, batch.trial_id, batch.rank)
        body = messages.encode(batch)
        await volume.store(self._client, subject, body)
        return len(body)

    def hurry(self) -> None:
        """Do not wait for more lines."""
        self._hurry.set()

    def added(self, log: RankLog, num_bytes: int) -> None:
        """A log has one more line."""
        self._waiting_bytes += num_bytes
        self._waiting[log] = None
        self._filled.set()
        while self._waiting_bytes > MAX_WAITING_BYTES:
            fullest = max(self._waiting, key=lambda waiting: waiting.waiting_bytes)
            self._waiting_bytes -= fullest.drop_oldest()

    def removed(self, num_bytes: int) -> None:
        """Lines were taken out of a log."""
        self._waiting_bytes -= num_bytes


def _texts(line: bytes) -> list[str]:
    pieces = [line[start : start + MAX_LINE_BYTES] for start in range(0, len(line), MAX_LINE_BYTES)] or [b""]
    return [_text(piece) for piece in pieces]


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", errors="replace")


def _size(text: str) -> int:
    return len(text.encode()) + _LINE_OVERHEAD_BYTES
