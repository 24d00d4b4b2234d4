"""The process beside the searcher: it may crash, hang or talk nonsense, and the search gets an answer all the same."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.searcher import suggestions
from services.searcher.method import Answer, Proposal
from services.searcher.suggestions import COMMAND, Suggestions
from shared.events import Origin, OriginKind
from shared.ids import ExperimentId
from tests.support.eventually import eventually

ONE, TWO = ExperimentId("one"), ExperimentId("two")

#: Answers each request with its own pid; `{}` runs first, for each request.
SCRIPT = """
import sys, os, json, pathlib
for line in sys.stdin:
    {}
    print(json.dumps({{'point': [os.getpid()]}}), flush=True)
"""


@dataclass(frozen=True)
class Question:
    """Asks nothing much."""

    request: dict[str, Any] = field(default_factory=dict)

    def answer(self, reply: Mapping[str, Any]) -> Proposal:
        return Proposal(hyperparameters={"point": reply["point"]}, origin="test", chosen=Origin(kind=OriginKind.MODEL))


def script(line: str = "pass") -> tuple[str, ...]:
    return (sys.executable, "-c", SCRIPT.format(line))


@contextlib.asynccontextmanager
async def running(command: tuple[str, ...]) -> AsyncIterator[tuple[Suggestions, list[ExperimentId]]]:
    announced: list[ExperimentId] = []
    answering = Suggestions(announced.append, command=command)
    task = asyncio.create_task(answering.run(), name="suggestions")
    try:
        yield answering, announced
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def answer(answering: Suggestions, announced: list[ExperimentId], index: int = 1) -> Answer | str:
    num_announced = len(announced)
    answering.ask(ONE, (index, 1), Question())
    await eventually(lambda: len(announced) > num_announced)
    return answering.answers[ONE][index, 1]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_real_process_answers() -> None:
    request = {
        "axes": [{"type": "real", "low": 0, "high": 1}],
        "points": [[0.0], [1.0], [0.5]],
        "costs": [1.0, 1.0, 0.2],
        "num_fitted": 3,
        "context": [[], [], []],
        "pending_context": [],
        "proposed_context": [],
        "pending": [],
        "acquisition_function": "EI",
        "seed": 1,
    }
    async with running(COMMAND) as (answering, announced):
        answering.ask(ONE, (4, 1), Question(request))
        answering.ask(TWO, (4, 1), Question({"axes": []}))
        await eventually(lambda: len(announced) == 2, timeout_s=30)
    outcome = answering.answers[ONE][4, 1]
    assert isinstance(outcome, Proposal)
    assert 0 <= outcome.hyperparameters["point"][0] <= 1
    assert "Error" in str(answering.answers[TWO][4, 1])


async def test_one_process_answers_question_after_question_and_ends_with_the_service() -> None:
    async with running(script()) as (answering, announced):
        first = await answer(answering, announced, 1)
        second = await answer(answering, announced, 2)
    assert isinstance(first, Proposal)
    assert first == second
    assert not is_running(first.hyperparameters["point"][0])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for, and fewer deaths."""
    monkeypatch.setattr(suggestions, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(suggestions, "MAX_PAUSE_S", 0.02)
    monkeypatch.setattr(suggestions, "MAX_DEATHS", 5)


@pytest.mark.usefixtures("quick")
async def test_a_process_that_dies_is_asked_again_and_again(tmp_path: Path) -> None:
    """It died four times: more than three, and less often than what is never answered."""
    deaths = tmp_path / "deaths"
    die = f"p = pathlib.Path({str(deaths)!r}); open(p, 'a').write('x'); p.stat().st_size < 5 and os._exit(1)"
    async with running(script(die)) as (answering, announced):
        assert isinstance(await answer(answering, announced), Proposal)
    assert deaths.stat().st_size == 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "line",
    ["os._exit(1)", "print('nonsense', flush=True)", "print('{}', flush=True)", "print('{', 'x' * 100000, flush=True)"],
)
async def test_a_question_that_kills_every_process_is_given_up_in_the_end(line: str) -> None:
    async with running(script(line)) as (answering, announced):
        assert "did not survive a question 5 times" in str(await answer(answering, announced))


@pytest.mark.usefixtures("quick")
async def test_a_program_that_cannot_be_started_yet_is_waited_for(tmp_path: Path) -> None:
    """However often: the machine is at fault, and the search none the worse for it."""
    program = tmp_path / "program"
    async with running((str(program),)) as (answering, announced):
        answering.ask(ONE, (1, 1), Question())
        await eventually(lambda: answering.num_troubled == 1 and answering._asked[ONE].num_tries > 8)
        assert not announced
        program.write_text(f"#!{sys.executable}\n" + SCRIPT.format("pass").strip())
        program.chmod(0o755)
        await eventually(lambda: bool(announced))
        assert answering.num_troubled == 0
    assert isinstance(answering.answers[ONE][1, 1], Proposal)


async def test_while_one_question_waits_to_be_asked_again_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "FIRST_PAUSE_S", 600.0)
    async with running(script("'die' in line and os._exit(1)")) as (answering, announced):
        answering.ask(ONE, (1, 1), Question({"die": 1}))
        await eventually(lambda: answering.num_troubled == 1)
        answering.ask(TWO, (1, 1), Question())
        await eventually(lambda: announced == [TWO])
        assert answering.num_waiting == 1


@pytest.mark.usefixtures("quick")
async def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suggestions, "ANSWER_TIMEOUT_S", 1.5)
    pids = tmp_path / "pids"
    hang = f"print(os.getpid(), file=open({str(pids)!r}, 'a'), flush=True); sys.stdin.read()"
    async with running(script(hang)) as (answering, announced):
        assert "no answer within 1.5 s" in str(await answer(answering, announced))
        tried = [int(pid) for pid in pids.read_text().split()]
        assert tried
        assert not any(map(is_running, tried))


async def test_an_idle_process_is_stopped_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "IDLE_S", 0.1)
    async with running(script()) as (answering, announced):
        first = await answer(answering, announced)
        assert isinstance(first, Proposal)
        await eventually(lambda: not is_running(first.hyperparameters["point"][0]))
        assert isinstance(await answer(answering, announced, 2), Proposal)


async def test_what_is_no_longer_open_is_forgotten() -> None:
    async with running(script()) as (answering, announced):
        await answer(answering, announced)
        answering.keep(lambda _, about: about[0] > 1)
        assert answering.answers == {}
