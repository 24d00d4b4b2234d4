"""Answers the search methods' slow questions: a process that computes, started on first need, stopped when idle.

One question at a time, first come first served. The process may crash or hang: it is killed and asked again a few
times, and then the answer is the reason.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from services.searcher.decide import About
from services.searcher.instruments import ANSWER_SECONDS, FAILED_ANSWERS
from services.searcher.method import Answer, Question
from shared.ids import ExperimentId
from shared.instruments import timed

COMMAND = (sys.executable, "-m", "services.searcher.gaussian_process")
ANSWER_TIMEOUT_S = 120.0
IDLE_S = 60.0
MAX_ATTEMPTS = 3

#: No process, no answer in time, or one that makes no sense.
UNANSWERED = (OSError, TimeoutError, ValueError, LookupError, TypeError)

#: The computation must not take the cores that training needs.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_log = logging.getLogger(__name__)


class Suggestions:
    """For each experiment a question at most, and the answers that nothing was decided from yet."""

    def __init__(self, announce: Callable[[ExperimentId], None], *, command: tuple[str, ...] = COMMAND) -> None:
        self.answers: dict[ExperimentId, dict[About, Answer | str]] = {}
        self._announce = announce
        self._command = command
        self._asked: dict[ExperimentId, tuple[About, Question]] = {}
        self._wake = asyncio.Event()

    @property
    def num_waiting(self) -> int:
        """How many experiments wait for an answer."""
        return len(self._asked)

    def ask(self, experiment_id: ExperimentId, about: About, question: Question) -> None:
        """Have a question answered, unless the same one is being answered; a newer one replaces an older one."""
        if self._asked.get(experiment_id, (None,))[0] != about:
            self._asked[experiment_id] = (about, question)
            self._wake.set()

    def keep(self, is_wanted: Callable[[ExperimentId, About], bool]) -> None:
        """Forget what was asked and answered and is not wanted any more."""
        for experiment_id, answers in list(self.answers.items()):
            kept = {about: answers[about] for about in answers if is_wanted(experiment_id, about)}
            self.answers[experiment_id] = kept
            if not kept:
                del self.answers[experiment_id]
        for experiment_id, (about, _) in list(self._asked.items()):
            if not is_wanted(experiment_id, about):
                del self._asked[experiment_id]

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._wake.wait()
            async with _process(self._command) as process:
                await self._answer_until_idle(process)

    async def _answer_until_idle(self, process: "_Process") -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()
            while self._asked:
                experiment_id, (about, question) = next(iter(self._asked.items()))
                with timed(ANSWER_SECONDS):
                    outcome = await _outcome(process, question)
                FAILED_ANSWERS.inc(isinstance(outcome, str))
                if self._asked.get(experiment_id, (None,))[0] == about:
                    del self._asked[experiment_id]
                    self.answers.setdefault(experiment_id, {})[about] = outcome
                    self._announce(experiment_id)


class _Process:
    """A child that answers a line of JSON with another; restarted when it has died."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._child: asyncio.subprocess.Process | None = None

    async def ask(self, question: Question) -> Answer | str:
        """Return the answer in the reply, or the error in it.

        Raises UNANSWERED when the child is no good. It is killed then, for what it may still say must not pass for the
        answer to the next question.
        """
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                child = await self._started()
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.write(json.dumps(question.request).encode() + b"\n")
                await child.stdin.drain()
                reply: dict[str, Any] = json.loads(await child.stdout.readline())
            return str(reply["error"]) if "error" in reply else question.answer(reply)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Kill the child if it lives."""
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None:
            self._child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | _ENVIRONMENT,
            )
        return self._child


@contextlib.asynccontextmanager
async def _process(command: tuple[str, ...]) -> AsyncIterator[_Process]:
    process = _Process(command)
    try:
        yield process
    finally:
        await process.stop()


@contextlib.contextmanager
def computing(command: tuple[str, ...] = COMMAND) -> Iterator[Callable[[Question], Answer | str]]:
    """Give a function that has a question answered like Suggestions, for those who have time to wait."""
    process = _Process(command)
    with asyncio.Runner() as runner:
        try:
            yield lambda question: runner.run(_outcome(process, question))
        finally:
            runner.run(process.stop())


async def _outcome(process: _Process, question: Question) -> Answer | str:
    """Return the answer, or the reason why there is none."""
    reason = ""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return await process.ask(question)
        except UNANSWERED as error:
            reason = f"the process that computes suggestions did not answer: {error!r}"
            _log.warning("suggestion failed", extra={"attempt": attempt, "error": repr(error)})
    return reason
