"""Answers the search methods' slow questions: a process that computes, started on first need, stopped when idle.

One question at a time, first come first served. The process may crash or hang, or not start at all: it is killed and
asked again after a pause, during which other experiments' questions are answered. What the machine lacks costs a search
nothing but time. Only the process's own word that it cannot compute ends one, or that it dies of the very same question
again and again: MAX_DEATHS times, which takes a quarter of an hour at least.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from services.searcher.decide import About
from services.searcher.instruments import ANSWER_SECONDS, FAILED_ANSWERS
from services.searcher.method import Answer, Question
from shared.ids import ExperimentId
from shared.instruments import timed

COMMAND = (sys.executable, "-m", "services.searcher.gaussian_process")
ANSWER_TIMEOUT_S = 120.0
IDLE_S = 60.0
MAX_DEATHS = 20  # of one question
FIRST_PAUSE_S = 1.0  # doubled with every further try
MAX_PAUSE_S = 60.0
MAX_ATTEMPTS = 3  # for those who wait for the answer and nothing else

#: The computation must not take the cores that training needs.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

_log = logging.getLogger(__name__)


class NotStarted(Exception):
    """There is no process to ask: no fault of the question's."""


class Died(Exception):
    """The process died of a question, was killed for it took too long, or made no sense."""


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A question that is not answered yet, and what came of asking."""

    about: About
    question: Question
    num_tries: int = 0
    num_deaths: int = 0
    not_before: float = 0.0  # seconds of the monotonic clock


class Suggestions:
    """For each experiment a question at most, and the answers that nothing was decided from yet."""

    def __init__(self, announce: Callable[[ExperimentId], None], *, command: tuple[str, ...] = COMMAND) -> None:
        self.answers: dict[ExperimentId, dict[About, Answer | str]] = {}
        self._announce = announce
        self._command = command
        self._asked: dict[ExperimentId, _Asked] = {}
        self._wake = asyncio.Event()

    @property
    def num_waiting(self) -> int:
        """How many experiments wait for an answer."""
        return len(self._asked)

    @property
    def num_troubled(self) -> int:
        """How many of them because there was none when the process was asked."""
        return sum(asked.num_tries > 0 for asked in self._asked.values())

    def ask(self, experiment_id: ExperimentId, about: About, question: Question) -> None:
        """Have a question answered, unless the same one is being answered; a newer one replaces an older one."""
        asked = self._asked.get(experiment_id)
        if asked is None or asked.about != about:
            self._asked[experiment_id] = _Asked(about=about, question=question)
            self._wake.set()

    def keep(self, is_wanted: Callable[[ExperimentId, About], bool]) -> None:
        """Forget what was asked and answered and is not wanted any more."""
        for experiment_id, answers in list(self.answers.items()):
            kept = {about: answers[about] for about in answers if is_wanted(experiment_id, about)}
            self.answers[experiment_id] = kept
            if not kept:
                del self.answers[experiment_id]
        for experiment_id, asked in list(self._asked.items()):
            if not is_wanted(experiment_id, asked.about):
                del self._asked[experiment_id]

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._wake.wait()
            async with _process(self._command) as process:
                await self._answer_until_idle(process)

    async def _answer_until_idle(self, process: "_Process") -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            while due := next(((key, asked) for key, asked in self._asked.items() if asked.not_before <= now), None):
                await self._answer(process, *due)
                now = time.monotonic()
            pause_s = min((asked.not_before - now for asked in self._asked.values()), default=IDLE_S)
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                if not self._asked:
                    return

    async def _answer(self, process: "_Process", experiment_id: ExperimentId, asked: _Asked) -> None:
        try:
            with timed(ANSWER_SECONDS):
                outcome = await process.ask(asked.question)
        except (NotStarted, Died) as error:
            asked.num_tries += 1
            asked.num_deaths += isinstance(error, Died)
            if asked.num_deaths < MAX_DEATHS:
                self._put_off(experiment_id, asked, error)
                return
            outcome = f"the process that computes suggestions did not survive a question {MAX_DEATHS} times: {error}"
        FAILED_ANSWERS.inc(isinstance(outcome, str))
        if self._asked.get(experiment_id) is asked:
            del self._asked[experiment_id]
            self.answers.setdefault(experiment_id, {})[asked.about] = outcome
            self._announce(experiment_id)

    def _put_off(self, experiment_id: ExperimentId, asked: _Asked, error: Exception) -> None:
        """Ask again later, and let others be asked first."""
        pause_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(asked.num_tries - 1, 10))
        asked.not_before = time.monotonic() + pause_s
        details = {"experiment": experiment_id, "tries": asked.num_tries, "pause_s": pause_s, "error": str(error)}
        _log.warning("no suggestion, asking again after a pause", extra=details)
        if self._asked.get(experiment_id) is asked:
            self._asked[experiment_id] = self._asked.pop(experiment_id)


class _Process:
    """A child that answers a line of JSON with another; restarted when it has died."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._child: asyncio.subprocess.Process | None = None

    async def ask(self, question: Question) -> Answer | str:
        """Return the answer in the reply, or the error in it.

        Raises NotStarted and Died. The child is killed then, for what it may still say must not pass for the answer to
        the next question.
        """
        try:
            child = await self._started()
        except OSError as error:
            raise NotStarted(f"the process that computes suggestions cannot be started: {error!r}") from error
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reply = await _reply(child, question)
            return str(reply["error"]) if "error" in reply else question.answer(reply)
        except TimeoutError as error:
            await self.stop()
            raise Died(f"no answer within {ANSWER_TIMEOUT_S:g} s") from error
        except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
            await self.stop()
            raise Died(repr(error)) from error
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


async def _reply(child: asyncio.subprocess.Process, question: Question) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(question.request).encode() + b"\n")
    await child.stdin.drain()
    line = await child.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError("it ended in the middle of its work")
    reply: dict[str, Any] = json.loads(line)
    return reply


@contextlib.asynccontextmanager
async def _process(command: tuple[str, ...]) -> AsyncIterator[_Process]:
    process = _Process(command)
    try:
        yield process
    finally:
        await process.stop()


@contextlib.contextmanager
def computing(command: tuple[str, ...] = COMMAND) -> Iterator[Callable[[Question], Answer | str]]:
    """Give a function that has a question answered like Suggestions, for those who wait for it and nothing else."""
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
        except (NotStarted, Died) as error:
            reason = f"the process that computes suggestions did not answer: {error}"
            _log.warning("suggestion failed", extra={"attempt": attempt, "error": str(error)})
    return reason
