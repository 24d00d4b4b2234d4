"""The warm parent with real forks, but nothing heavy imported."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.worker.parent import CannotSpawn, Parent, ParentDied, Process
from services.worker.zygote import has_used_cuda
from tests.support.eventually import PATIENCE_S, eventually
from tests.worker.test_agent import is_alive

ENVIRONMENT = {"PATH": os.environ["PATH"], "GREETING": "hello"}


@dataclass
class Run:
    """A process and where its output goes."""

    process: Process
    output: dict[str, Path]

    async def ended(self) -> int | None:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.exited

    def text(self, stream: str = "stdout") -> str:
        return self.output[stream].read_text()

    async def wait_for(self, text: str) -> None:
        await eventually(lambda: text in self.text())


class Warm:
    """A running parent in a directory of its own."""

    def __init__(self, parent: Parent, directory: Path, running: "asyncio.Task[None]") -> None:
        self.parent = parent
        self.running = running
        self.directory = directory
        self._num_runs = 0

    async def run(self, code: str, *argv: str, warm: bool = True) -> Run:
        name = f"main-{self._num_runs}.py" if not argv else argv[0]
        (self.directory / name).write_text(code)
        return await self.spawn(argv or (name,), warm=warm)

    async def spawn(self, argv: tuple[str, ...], *, warm: bool) -> Run:
        self._num_runs += 1
        output = {stream: self.directory / f"{stream}-{self._num_runs}" for stream in ("stdout", "stderr")}
        fds = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in output.values()]
        try:
            process = await self.parent.spawn(
                argv, warm=warm, environment=ENVIRONMENT, directory=self.directory, stdout=fds[0], stderr=fds[1]
            )
        finally:
            for fd in fds:
                os.close(fd)
        return Run(process, output)


@pytest.fixture
async def warm(tmp_path: Path) -> AsyncIterator[Warm]:
    parent = Parent(("json", "no_such_module"), environment=dict(os.environ))
    running = asyncio.create_task(parent.run())
    yield Warm(parent, tmp_path, running)
    running.cancel()
    await asyncio.wait([running])


async def test_a_script_runs_as_main_in_its_own_place(warm: Warm) -> None:
    code = """
import json, os, sys
print(json.dumps([__name__, sys.argv, sys.path[0], os.getcwd(), dict(os.environ), os.getsid(0) == os.getpid(),
    "json" in sys.modules, sys.stdin.read(), os.getppid()]))
"""
    run = await warm.run(code, "main.py", "--flag", "a b")
    assert await run.ended() == 0, run.text("stderr")
    directory = str(warm.directory)
    *seen, _ = json.loads(run.text())
    assert seen == ["__main__", ["main.py", "--flag", "a b"], directory, directory, ENVIRONMENT, True, True, ""]


async def test_a_module_runs_like_python_m(warm: Warm) -> None:
    package = warm.directory / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "train.py").write_text("import sys\nprint(__name__, __package__, sys.argv[1:], sys.path[0])")
    run = await warm.spawn(("-m", "package.train", "x"), warm=True)
    assert await run.ended() == 0, run.text("stderr")
    assert run.text() == f"__main__ package ['x'] {warm.directory}\n"


async def test_another_program_is_executed(warm: Warm) -> None:
    run = await warm.spawn(("sh", "-c", "echo $GREETING; exit 4"), warm=False)
    assert (await run.ended(), run.text()) == (4, "hello\n")


async def test_another_program_ends_when_nobody_reads_what_it_writes(warm: Warm) -> None:
    run = await warm.spawn(("sh", "-c", "while :; do echo y; done | head -n 1"), warm=False)
    assert (await run.ended(), run.text()) == (0, "y\n")
    run = await warm.spawn(("grep", "SigIgn", "/proc/self/status"), warm=False)
    assert (await run.ended(), run.text().split()) == (0, ["SigIgn:", "0" * 16])


async def test_a_program_that_does_not_exist_says_so(warm: Warm) -> None:
    run = await warm.spawn(("no-such-program",), warm=False)
    assert (await run.ended(), run.text("stderr")) == (127, "cannot run no-such-program: No such file or directory\n")


@pytest.mark.parametrize(
    ("code", "status", "stderr"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('no way')", 1, "no way\n"),
        ("raise SystemExit(256)", 0, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
        ("import os; os._exit(9)", 9, ""),
    ],
)
async def test_exit_codes_are_those_of_python(warm: Warm, code: str, status: int, stderr: str) -> None:
    run = await warm.run(code)
    assert (await run.ended(), run.text("stderr")) == (status, stderr)


@pytest.mark.parametrize(
    "code",
    ["def f():\n    return 1 / 0\nf()\n", "if True\n", "import no_such_module_at_all\n", "raise KeyboardInterrupt\n"],
)
async def test_a_traceback_is_the_one_that_python_prints(warm: Warm, code: str) -> None:
    run = await warm.run(code, "main.py")
    assert await run.ended() == 1
    python = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", cwd=warm.directory, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _, expected = await python.communicate()
    assert run.text("stderr").replace(f"{warm.directory}/", "") == expected.decode().replace(f"{warm.directory}/", "")


async def test_the_end_is_orderly(warm: Warm) -> None:
    code = """
import atexit, threading
atexit.register(print, "atexit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
left_open = open("left-open", "w")
left_open.write("written")
print("main", end="")
"""
    run = await warm.run(code)
    assert await run.ended() == 0
    assert run.text() == "mainthread\natexit\n"
    assert (warm.directory / "left-open").read_text() == "written"


async def test_output_comes_line_by_line(warm: Warm) -> None:
    run = await warm.run("import signal\nprint('up')\nsignal.pause()")
    await run.wait_for("up\n")
    run.process.signal(signal.SIGTERM)
    assert await run.ended() == -signal.SIGTERM


async def test_every_rank_draws_its_own_random_numbers(warm: Warm) -> None:
    runs = [await warm.run("import random; print(random.random())") for _ in range(2)]
    assert [await run.ended() for run in runs] == [0, 0]
    assert runs[0].text() != runs[1].text()


async def test_what_a_rank_leaves_in_its_group_dies_with_it(warm: Warm) -> None:
    run = await warm.run("import os, signal\nchild = os.fork()\nif child == 0: signal.pause()\nprint(child)")
    assert await run.ended() == 0
    await eventually(lambda: not is_alive(int(run.text())))


SESSIONS = """
import subprocess, sys, time
waits = "import os, time; print('left', os.getpid(), flush=True); time.sleep(600)"
starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {waits!r}], start_new_session=True)"
# Three: a child in a session of its own, a child of it, and one whose parent has ended.
for code in (f"{starts}; {waits}", starts):
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
time.sleep(600)
"""


async def left_by(run: Run) -> list[int]:
    await eventually(lambda: run.text().count("left") == 3)
    return [int(line.split()[1]) for line in run.text().splitlines()]


@pytest.mark.parametrize("forked", [True, False])
async def test_what_a_rank_leaves_in_other_sessions_dies_with_it_and_with_no_other(warm: Warm, *, forked: bool) -> None:
    stays = await warm.run(SESSIONS)
    goes = await (warm.run(SESSIONS) if forked else warm.spawn((sys.executable, "main-0.py"), warm=False))
    of_others, left = await left_by(stays), await left_by(goes)
    goes.process.signal(signal.SIGKILL)
    await goes.ended()
    await eventually(lambda: not any(map(is_alive, left)))
    assert all(map(is_alive, of_others))


async def test_what_ranks_have_in_other_sessions_dies_when_nobody_needs_the_parent(warm: Warm) -> None:
    run = await warm.run(SESSIONS)
    left = await left_by(run)
    warm.running.cancel()
    await eventually(lambda: not any(map(is_alive, [run.process.pid, *left])))


async def test_a_signal_reaches_the_whole_group(warm: Warm) -> None:
    run = await warm.run("import os, signal\nprint(os.getpid(), os.fork(), flush=True)\nsignal.pause()")
    await eventually(lambda: run.text().count("\n") == 2)
    pids = {int(pid) for line in run.text().splitlines() for pid in line.split()} - {0}
    run.process.signal(signal.SIGKILL)
    assert await run.ended() == -signal.SIGKILL
    await eventually(lambda: not any(map(is_alive, pids)))


async def test_many_processes_end_at_once(warm: Warm) -> None:
    runs = [await warm.run(f"raise SystemExit({code})") for code in range(40)]
    assert [await run.ended() for run in runs] == list(range(40))


async def test_when_the_parent_dies_its_processes_do_and_another_takes_over(warm: Warm) -> None:
    run = await warm.run("import os, signal\nprint(os.getppid(), flush=True)\nsignal.pause()")
    await run.wait_for("\n")
    os.kill(int(run.text()), signal.SIGKILL)
    assert await run.ended() is None
    await eventually(lambda: not is_alive(run.process.pid))
    assert await (await warm.run("pass")).ended() == 0


async def test_too_large_a_request_is_refused(warm: Warm) -> None:
    with pytest.raises(CannotSpawn, match="at most"):
        await warm.spawn(("main.py", "x" * 300_000), warm=True)
    assert await (await warm.run("pass")).ended() == 0


async def test_a_request_to_a_dead_parent_says_so(tmp_path: Path) -> None:
    with pytest.raises(ParentDied):
        Parent((), environment={}).send({"type": "spawn"})


def test_a_process_that_has_used_cuda_is_told_from_one_that_asked_nvml(tmp_path: Path) -> None:
    for number, target in enumerate(("/dev/null", "/dev/nvidiactl", "/dev/nvidia0", "socket:[1]")):
        (tmp_path / str(number)).symlink_to(target)
    assert not has_used_cuda(tmp_path)
    (tmp_path / "9").symlink_to("/dev/nvidia-uvm")
    assert has_used_cuda(tmp_path)
    assert not has_used_cuda()
