"""A program is kept running: started again when it dies, stopped when it is asked to."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.support.eventually import eventually
from trainmaster.embedded.child import Child, last_words
from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.program import Program

SLEEPER = (sys.executable, "-S", "-c", "import signal; signal.pause()")
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    signal.pause()
"""
STUBBORN = (sys.executable, "-S", "-c", DEAF)


def _child(directory: Path, argv: tuple[str, ...]) -> Child:
    data = DataDirectory(directory)
    data.create()
    return Child(Program(name="sleeper", argv=argv), data, lambda: None)


async def test_a_killed_program_is_started_again(tmp_path: Path) -> None:
    child = _child(tmp_path, SLEEPER)
    running = asyncio.create_task(child.run())
    first = await eventually(lambda: child.pid)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = await eventually(lambda: child.pid if child.pid != first else None)
    assert child.num_restarts == 1
    await child.stop(5)
    await running
    assert second is not None
    assert not Path("/proc", str(second)).exists()


async def test_a_program_that_will_not_end_is_killed(tmp_path: Path) -> None:
    child = _child(tmp_path, STUBBORN)
    running = asyncio.create_task(child.run())
    await eventually(lambda: b"deaf" in (tmp_path / "logs" / "sleeper.log").read_bytes() if child.pid else False)
    await child.stop(0.1)
    await running
    assert child.pid is None


async def test_a_program_that_keeps_dying_says_why(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.create()
    dying = asyncio.Event()
    argv = (sys.executable, "-S", "-c", "raise SystemExit('the flux is reversed')")
    child = Child(Program(name="sleeper", argv=argv), data, lambda: None, dying.set)
    running = asyncio.create_task(child.run())
    async with asyncio.timeout(30):
        await dying.wait()
    assert child.keeps_dying == "sleeper ended with 1, 3 times in a row: the flux is reversed"
    await child.stop(5)
    await running


def test_last_words_of_a_line_of_json_are_its_message_and_the_error(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text('first\n{"message": "failed", "traceback": "Traceback\\n  File\\nValueError: no"}\n')
    assert last_words(log) == "failed: ValueError: no"
    log.write_text("")
    assert last_words(log) == "it wrote nothing"


async def test_a_program_that_keeps_dying_is_given_up_when_asked_to_stop(tmp_path: Path) -> None:
    child = _child(tmp_path, (sys.executable, "-S", "-c", "raise SystemExit(3)"))
    running = asyncio.create_task(child.run())
    await eventually(lambda: child.num_restarts >= 1)
    await child.stop(5)
    await running
