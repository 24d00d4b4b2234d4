"""The processes of one allocation on this agent, as a whole: when one fails, the others are ended."""

import asyncio
import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from services.worker.endings import RankExit
from services.worker.logs import RankLog
from services.worker.parent import Process

TERM_GRACE_S = 2.0
KILL_TIMEOUT_S = 10.0  # for the kernel, and for the warm parent to tell us
DUMP_S = 2.0  # for stacks to be written and read
OUTPUT_GRACE_S = 1.0  # a process that a rank has left elsewhere may hold its output open for ever


class Ranks:
    """Running ranks, by number."""

    def __init__(self, processes: Mapping[int, Process], logs: Mapping[int, RankLog]) -> None:
        self._processes = dict(processes)
        self._logs = logs
        self._signalled: set[int] = set()
        self._exits: list[RankExit] = []
        self._oom_kills = num_oom_kills()

    @property
    def are_running(self) -> bool:
        """Whether any rank still runs."""
        return any(not process.exited.done() for process in self._processes.values())

    @property
    def group_ids(self) -> list[int]:
        """The process groups that the ranks lead."""
        return [process.pid for process in self._processes.values()]

    def on_exit(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called with the number of each rank when its process has ended."""
        for rank, process in self._processes.items():
            process.exited.add_done_callback(lambda _, rank=rank: tell(rank))  # type: ignore[misc]

    async def join(self, captures: Mapping[int, "asyncio.Task[None]"]) -> list[RankExit]:
        """Return how all ranks ended, in the order they did; the first failure ends the others.

        `captures` are done when a rank's output is read to its end.
        """
        waiting = {process.exited: rank for rank, process in self._processes.items()}
        terminated: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as tasks:
            while waiting:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for exited in sorted(done, key=waiting.__getitem__):
                    rank = waiting.pop(exited)
                    await asyncio.wait([captures[rank]], timeout=OUTPUT_GRACE_S)
                    if self._note(rank, exited.result()) and terminated is None and waiting:
                        terminated = tasks.create_task(self.terminate(), name="terminate ranks")
            if terminated:
                terminated.cancel()
        return self._exits

    async def terminate(self) -> None:
        """Ask all ranks to end, and kill those that have not after TERM_GRACE_S."""
        self.signal(signal.SIGTERM)
        await asyncio.sleep(TERM_GRACE_S)
        self.kill()

    async def end(self) -> None:
        """Leave no rank running."""
        await end(self._processes.values())

    def kill(self) -> None:
        """Kill all ranks that still run."""
        self.signal(signal.SIGKILL)

    def dump_stacks(self, ranks: Iterable[int]) -> None:
        """Have ranks that use the SDK write to stderr where they are."""
        for rank in ranks:
            self._processes[rank].signal(signal.SIGQUIT)

    async def dismiss(self, ranks: Collection[int]) -> None:
        """Kill ranks that have nothing more to say, once they have written where they are; return when they ended."""
        self.signal(signal.SIGQUIT, ranks)  # which ends one that no longer listens to it
        await asyncio.sleep(DUMP_S)
        self.signal(signal.SIGKILL, ranks)
        await asyncio.wait([self._processes[rank].exited for rank in ranks])

    def signal(self, number: signal.Signals, ranks: Collection[int] | None = None) -> None:
        """Signal those of the ranks, or of all, that still run."""
        for rank, process in self._processes.items():
            if (ranks is None or rank in ranks) and not process.exited.done():
                self._signalled.add(rank)
                process.signal(number)

    def _note(self, rank: int, code: int | None) -> bool:
        """Record an exit; return whether it was a failure of the rank's own."""
        self._exits.append(
            RankExit(
                rank=rank,
                code=code,
                signalled=rank in self._signalled,
                stderr=self._logs[rank].stderr_tail,
                out_of_memory=num_oom_kills() > self._oom_kills,
            )
        )
        return code != 0 and rank not in self._signalled


async def end(processes: Iterable[Process]) -> None:
    """Kill those that still run, and return when they have ended."""
    running = [process for process in processes if not process.exited.done()]
    for process in running:
        process.signal(signal.SIGKILL)
    if running:
        await asyncio.wait([process.exited for process in running], timeout=KILL_TIMEOUT_S)


def num_oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory, 0 if it does not tell."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))
