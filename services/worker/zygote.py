"""The warm parent: a resident process that has imported what training needs, and forks one child a rank.

`python -m services.worker.zygote SOCKET_FD AGENT_PID MODULE…`, started by services.worker.parent and talking to it in
msgpack packets over a SOCK_SEQPACKET pair. To us: spawn, store, signal. From us: ready, spawned, refused, exited.

* It has one thread whenever it forks, and never touches CUDA: forking is safe then. If an import does all the same, it
  says so, and ranks on GPUs are executed anew. The imports run at low
  priority in a thread of their own (on Linux niceness belongs to a thread), which is gone before the first fork.
* A rank leads a session and a process group of its own. When the rank ends, what is left of its group is killed before
  its pid is given back; so no signal ever meets a stranger who was given the same number.
* What a rank has started, also in a session of its own, is the kernel's orphan when its parent ends, and goes to the
  nearest "child subreaper" (prctl(2)): the rank while it lives, then this process. So a child of this process that it
  has not forked is what an ended rank has left, and is killed; what that has started comes next.
* Nobody outlives the agent: the socket's end, or the kernel's death signal, makes this process kill all that are left;
  and the ranks ask the kernel to be killed when this process dies. Only if agent and warm parent are both killed in one
  instant is nobody left to end processes in sessions of their own.
* The module imports nothing of ours, so that nothing of ours is in the way of a user's module of the same name.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import os
import resource
import runpy
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgpack

#: What `deepspeed.initialize` needs; without the last one it pulls in torch._dynamo and inductor at its first call.
TRAINING_MODULES = (
    "numpy",
    "torch",
    "deepspeed",
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "sklearn.datasets",  # small data sets and metrics, a second to import; it is here for the searcher anyway
    "trainmaster.sdk.agent",
    "trainmaster.sdk.deepspeed",
)

MAX_PACKET_BYTES = 256 * 1024
EXIT_NOT_FOUND = 127

_BACKGROUND_NICENESS = 10
_END_TIMEOUT_S = 2.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)

Request = dict[str, Any]
Job = Callable[[], None]


class Zygote:
    """Serves an agent: forks, signals, reaps, reports."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pid = os.getpid()
        self._children: set[int] = set()
        self._imported = _children_of(self._pid)  # started by an import
        _adopt_orphans()
        self._wakeup, wakeup = socket.socketpair()
        for end in (self._wakeup, wakeup):
            end.setblocking(False)
        self._wakeup_writer = wakeup
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end())

    def serve(self) -> Job:
        """Serve until the agent is gone. Returns in the children only, with what each of them is to do."""
        self._tell({"type": "ready", "has_used_cuda": has_used_cuda()})
        while True:
            readable, _, _ = select.select([self._connection, self._wakeup], [], [])
            if self._wakeup in readable:
                self._wakeup.recv(4096)
                self._reap()
            if self._connection in readable and (job := self._receive()):
                return job

    def _receive(self) -> Job | None:
        try:
            body, fds, _, _ = socket.recv_fds(self._connection, MAX_PACKET_BYTES, 8)
        except ConnectionError:
            self._end()
        if not body:
            self._end()
        request: Request = msgpack.unpackb(body)
        try:
            match request["type"]:
                case "spawn":
                    return self._fork(request, lambda: _run_rank(request, fds))
                case "store":
                    return self._fork(request, lambda: _serve_store(request["address"], request["port"], fds[0]))
                case "signal" if request["pid"] in self._children:
                    _signal_group(request["pid"], request["signal"])
        finally:
            if os.getpid() == self._pid:
                for fd in fds:
                    os.close(fd)
        return None

    def _fork(self, request: Request, job: Job) -> Job | None:
        sys.stdout.flush()
        sys.stderr.flush()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGTERM))
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            self._tell({"type": "refused", "id": request["id"], "error": str(error)})
            return None
        if pid == 0:
            self._become_child()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            return job
        self._children.add(pid)
        self._tell({"type": "spawned", "id": request["id"], "pid": pid})
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return None

    def _become_child(self) -> None:
        """Let go of everything of the parent's, and die with it."""
        os.setsid()
        _die_with(self._pid, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        for end in (self._connection, self._wakeup, self._wakeup_writer):
            end.close()

    def _reap(self) -> None:
        has_any_ended = False
        while (pid := _next_ended()) is not None:
            has_any_ended = True
            if pid in self._children:
                _signal_group(pid, signal.SIGKILL)
                self._kill_what_is_left()
            _, status = os.waitpid(pid, 0)
            if pid in self._children:
                self._children.discard(pid)
                self._tell({"type": "exited", "pid": pid, "code": os.waitstatus_to_exitcode(status)})
        if has_any_ended:  # what was left may have left something, too
            self._kill_what_is_left()

    def _kill_what_is_left(self) -> None:
        """Kill what ended ranks have left. They are our children, so that nobody else has their numbers."""
        for pid in _children_of(self._pid) - self._children - self._imported:
            _kill(pid)

    def _tell(self, report: Request) -> None:
        try:
            self._connection.send(msgpack.packb(report))
        except OSError:
            self._end()

    def _end(self) -> NoReturn:
        """Kill all that are left, and what comes to us of them, until there is nobody."""
        for pid in self._children:
            _signal_group(pid, signal.SIGKILL)
        deadline = time.monotonic() + _END_TIMEOUT_S
        while time.monotonic() < deadline and (left := _children_of(self._pid) - self._imported):
            for pid in left:
                _kill(pid)
            for pid in left:
                _wait_until(pid, deadline)
        os._exit(0)


def preload(modules: list[str]) -> None:
    """Import the modules without getting in anybody's way. One that fails is said and left out."""
    loader = threading.Thread(target=_import_all, args=(modules,))
    loader.start()
    loader.join()
    gc.collect()
    gc.freeze()  # a child's collector need not touch, and so copy, what it inherits


def _import_all(modules: list[str]) -> None:
    os.nice(_BACKGROUND_NICENESS)
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 # whatever an import does wrong, the scripts that need it will say
            sys.stderr.write(f"cannot preload {module}:\n")
            traceback.print_exc()
    if deepspeed_ops := sys.modules.get("deepspeed.ops"):
        # Otherwise DeepSpeed compiles this op at its first use, which takes half a minute and a compiler.
        deepspeed_ops.__compatible_ops__["deepspeed_shm_comm"] = False


def has_used_cuda(descriptors: Path = Path("/proc/self/fd")) -> bool:
    """Say whether this process has begun to use CUDA: then it has NVIDIA's unified memory device open. NVML has not."""
    opened = [descriptor.readlink() for descriptor in descriptors.iterdir() if descriptor.is_symlink()]
    return any(path.name.startswith("nvidia-uvm") for path in opened)


def _run_rank(request: Request, fds: list[int]) -> None:
    """Become the rank's program: the interpreter that we are, or another one."""
    stdout, stderr = fds
    argv: list[str] = request["argv"]
    _adopt_orphans()
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if (limit := request["memory_bytes"]) is not None:  # not of addresses: CUDA reserves far more than there is
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if (cpus := request["cpus"]) is not None:
        os.sched_setaffinity(0, cpus)
    if request["warm"]:
        _run_python(argv)
    else:
        _exec(argv)


def _exec(argv: list[str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which our interpreter ignores, and exec would hand that on
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, dict(os.environ))  # noqa: S606 # running the user's program is the purpose
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(EXIT_NOT_FOUND)


def _run_python(argv: list[str]) -> NoReturn:
    """Do what `python ARGV…` does: `-m MODULE …` or `SCRIPT …`."""
    _refresh_interpreter()
    code = 0
    try:
        if argv[0] == "-m":
            sys.argv, sys.path[0] = argv[1:], str(Path.cwd())
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = argv, str(Path(argv[0]).absolute().parent)
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        code = _exit_code(end.code)
    except BaseException as error:  # noqa: BLE001 # the user's program is over, as at the interpreter's top level
        error.__traceback__ = _beyond_us(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    _end_interpreter(code)


def _exit_code(code: object) -> int:
    """Return what the interpreter would exit with."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _end_interpreter(code: int) -> NoReturn:
    """End as the interpreter does, but without taking every module apart first: with torch that takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 # joins the threads that are not daemons
    atexit._run_exitfuncs()  # noqa: SLF001
    for kind in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
        for opened in (sys.stdout, sys.stderr, *gc.get_objects()):  # files left open are written out, too
            if issubclass(type(opened), kind):
                with contextlib.suppress(OSError, ValueError):
                    opened.flush()
    os._exit(code)


def _refresh_interpreter() -> None:
    """Give the rank what a new interpreter would have: its own random state, line-buffered output."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("services", "shared")]:
        del sys.modules[name]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # both are TextIOWrapper
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _beyond_us(trace: Any) -> Any:
    """Return the traceback from the user's first frame on."""
    ours = (__file__, "<frozen runpy>")
    beyond = trace
    while beyond is not None and beyond.tb_frame.f_code.co_filename in ours:
        beyond = beyond.tb_next
    return beyond


def _serve_store(address: str, port: int, listening_fd: int) -> NoReturn:
    """Host a gang's rendezvous store on a socket that already listens."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # missing from its __all__

    store = TCPStore(address, port, is_master=True, wait_for_workers=False, master_listen_fd=listening_fd)
    while True:
        signal.pause()
        assert store


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # forked a moment ago, and not yet the leader of its group
            os.kill(pid, number)


def _next_ended() -> int | None:
    """Return a child that has ended and is not waited for yet, None if there is none."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended and ended.si_pid


def _kill(pid: int) -> None:
    with contextlib.suppress(PermissionError):  # a program that has become another user
        os.kill(pid, signal.SIGKILL)


def _wait_until(pid: int, deadline: float) -> None:
    """Wait for a child that was killed; one that the kernel holds up is left to it."""
    while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.001)


def _children_of(pid: int) -> set[int]:
    """Return the children of a process."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                after_name = Path(entry.path, "stat").read_bytes().rpartition(b") ")[2]
                if int(after_name.split()[1]) == pid:
                    found.add(int(entry.name))
    return found


def _adopt_orphans() -> None:
    """Become the parent of those descendants whose own has ended; stays so across exec, and is not inherited."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with(parent_pid: int, number: int) -> None:
    """Let the kernel signal us when our parent dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(1)


def main(argv: list[str]) -> None:
    """Serve the agent; in a child, be the rank."""
    fd, agent_pid, *modules = argv
    _die_with(int(agent_pid), signal.SIGTERM)
    os.set_inheritable(int(fd), False)
    connection = socket.socket(fileno=int(fd))
    preload(modules)
    zygote = Zygote(connection)
    job = zygote.serve()
    job()


if __name__ == "__main__":
    main(sys.argv[1:])
