"""One program kept running: started again when it dies, waiting longer each time it dies young."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.program import Program

MIN_BACKOFF_S = 0.2
MAX_BACKOFF_S = 5.0
HEALTHY_S = 30.0  # a program that lived so long starts over with the shortest wait
NUM_EARLY_DEATHS = 3  # so many in a row are no accident: the program's own last words are said
TAIL_BYTES = 16_384
MAX_WORDS = 500

_log = logging.getLogger(__name__)


class Child:
    """A program, the process that runs it now, and how often it was started again."""

    def __init__(
        self,
        program: Program,
        directory: DataDirectory,
        on_start: Callable[[], None],
        on_dying: Callable[[], None] = lambda: None,
    ) -> None:
        self.program = program
        self.num_restarts = 0
        self.started_at = 0.0
        self.keeps_dying: str | None = None  # how it ended, when it does so again and again
        self._directory = directory
        self._on_start = on_start
        self._on_dying = on_dying
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The pid of the process, None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> None:
        """Keep the program running until `stop`."""
        backoff_s, num_early_deaths = MIN_BACKOFF_S, 0
        while not self._stopping:
            exit_code = await self._run_once()
            if self._stopping:
                return
            if time.time() - self.started_at > HEALTHY_S:
                backoff_s, num_early_deaths = MIN_BACKOFF_S, 0
            self.num_restarts += 1
            num_early_deaths += 1
            reason = f"{self.program.name} ended with {exit_code}"
            if num_early_deaths >= NUM_EARLY_DEATHS:
                reason += f", {num_early_deaths} times in a row: {last_words(self._log_file)}"
                self.keeps_dying = reason
                self._on_dying()
            _log.warning("%s; starting it again in %.1f s", reason, backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def stop(self, grace_s: float) -> None:
        """Ask the program to end; kill it when it has not after `grace_s`."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
            try:
                async with asyncio.timeout(grace_s):
                    await process.wait()
            except TimeoutError:
                _log.warning("%s did not end within %.0f s; killing it", self.program.name, grace_s)
                process.kill()
                await process.wait()

    @property
    def _log_file(self) -> Path:
        return self._directory.log_file(self.program.name)

    async def _run_once(self) -> int:
        if self.program.prepare is not None:
            self.program.prepare()
        with self._directory.open_log(self.program.name) as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env=self.program.environment,
                cwd=self._directory.path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started_at = time.time()
        self._on_start()
        return await self._process.wait()


def last_words(log: Path) -> str:
    """Return the last line of a program's log; of a line of JSON its message and the end of its traceback."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    line = lines[-1] if lines else "it wrote nothing"
    with contextlib.suppress(ValueError, KeyError, TypeError):
        record = json.loads(line)
        line = ": ".join([record["message"], *record.get("traceback", "").splitlines()[-1:]])
    return line[:MAX_WORDS]
