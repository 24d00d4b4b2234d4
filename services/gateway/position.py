"""How far the read model is: what a reader waits for who wants to see an event that they know of."""

import asyncio
import logging

import asyncpg

from shared import postgres

MAX_WAIT_S = 2.0
_CHANNEL = "projection"  # NOTIFY payload: "<projection> <position>"

_log = logging.getLogger(__name__)


class Position:
    """Hears of each commit of the tracker: how far it has folded a stream, `events` or `metrics`."""

    def __init__(self, projection: str = "events") -> None:
        self._projection = projection
        self.value = 0
        self._appended = 0
        self._version = 0
        self._hears = False
        self._changed = asyncio.Event()

    @property
    def version(self) -> int | None:
        """A number that changes with every commit of the tracker; None while nobody would tell."""
        return self._version if self._hears else None

    @property
    def is_behind(self) -> bool:
        """Whether something is not shown yet that was appended here: what is not found may well be there."""
        return self.value < self._appended

    async def run(self, url: str) -> None:
        """Listen for ever."""
        while True:
            try:
                await self._listen(url)
            except (asyncpg.UndefinedTableError, *postgres.UNREACHABLE) as error:
                _log.warning("cannot hear the tracker", extra={"error": repr(error)})
            await asyncio.sleep(postgres.RETRY_S)

    async def wait(self, seq: int, timeout_s: float = MAX_WAIT_S) -> bool:
        """Return whether the read model shows the event at `seq`, having waited for it at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.value < seq:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def shown(self, seq: int) -> bool:
        """Wait for an event that was appended here; see `wait`. When it is late, the answer is made of the event."""
        self._appended = max(self._appended, seq)
        return await self.wait(seq)

    async def _listen(self, url: str) -> None:
        connection = await asyncpg.connect(
            url, timeout=postgres.CONNECT_TIMEOUT_S, command_timeout=postgres.COMMAND_TIMEOUT_S
        )
        gone = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: gone.set())
            await connection.add_listener(_CHANNEL, self._hear)
            self._version += 1
            self._hears = True
            self._set(await connection.fetchval("SELECT position FROM projections WHERE name = $1", self._projection))
            await gone.wait()
        finally:
            self._hears = False
            connection.terminate()

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        name, position = str(payload).split()
        self._version += 1
        if name == self._projection:
            self._set(int(position))

    def _set(self, value: int) -> None:
        self.value = value
        self._changed.set()
        self._changed = asyncio.Event()
