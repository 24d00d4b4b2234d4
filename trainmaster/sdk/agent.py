"""The conversation with the agent over its unix socket: a stream of msgpack maps, both ways.

Two daemon threads carry it. The reader hears "stop" and "checkpoint_stored"; the sender empties the outbox. When
either fails, or the agent is gone, the process ends at once: nobody supervises this rank any more, and a rank that
trains on would hold a slot that is being given to somebody else.
"""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NoReturn

import msgpack

from trainmaster.sdk.assignment import Assignment, Frame
from trainmaster.sdk.gathering import WORK_TIMEOUT_S
from trainmaster.sdk.metrics import Captured, FiniteFilter
from trainmaster.sdk.outbox import POINTS_PER_BATCH, Outbox, Point
from trainmaster.sdk.terminal import warn

MAX_BUFFER_BYTES = 16 * 1024 * 1024
RECEIVE_BYTES = 64 * 1024
WELCOME_TIMEOUT_S = 60.0
FAREWELL_TIMEOUT_S = 60.0
#: On this signal the process writes where all its threads are to stderr, also from inside a call that never returns.
STACKS_SIGNAL = signal.SIGQUIT


class AgentSession:
    """A session with the agent that started this process."""

    may_ask_to_stop = True

    def __init__(self, path: str, rank: int) -> None:
        """Connect, say hello and wait for the welcome."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WELCOME_TIMEOUT_S)
        self._socket.connect(path)
        self._frames = _frames(self._socket)
        self._outbox = Outbox()
        self._finite = FiniteFilter()
        self._uploaded = threading.Event()
        self._uploaded.set()
        self._uploading_step: int | None = None
        self._leaving = False
        faulthandler.register(STACKS_SIGNAL, file=2, all_threads=True)
        self._send({"type": "hello", "rank": rank, "pid": os.getpid()})
        welcome = next(self._frames, None)
        if welcome is None or welcome["type"] != "welcome":
            raise ConnectionError(f"the agent at {path} did not answer hello with a welcome, but with {welcome!r:.200}")
        self._socket.settimeout(None)
        self.assignment = Assignment.from_welcome(welcome)

    def start(self, on_stop: Callable[[], None]) -> None:
        """Start to listen and to send. `on_stop` is called, in a thread of its own, when the trial is to stop."""
        self._sender = start_thread("trainmaster-sender", self._send_all)
        start_thread("trainmaster-reader", lambda: self._listen(on_stop))

    def progress(self, step: int) -> None:
        """Queue a sign of life; only the newest is ever sent."""
        self._outbox.add_latest({"type": "progress", "step": step})

    def report(self, step: int, metrics: dict[str, Captured], group: str = "training") -> None:
        """Queue metrics of a group; batches leave every half second."""
        self._outbox.add_point(Point(step, time.time(), metrics, group))

    def report_profile(self, step: int, figures: dict[str, float]) -> None:
        """Queue figures of where the time goes."""
        self._outbox.add_point(Point(step, time.time(), {**figures}, "profiling"))

    def report_validation(self, step: int, metrics: dict[str, Captured]) -> None:
        """Queue validation metrics, to be sent at once; the agent leaves out those that are not finite."""
        if values := self._finite.fetch_all(step, metrics):
            self._outbox.add_frame({"type": "validation", "step": step, "metrics": values})

    def checkpoint_written(self, step: int, directory: Path, zero_stage: int | None) -> None:
        """Let the agent upload `directory`; at most one upload is in flight."""
        if not self._uploaded.wait(WORK_TIMEOUT_S):
            raise TimeoutError(f"the upload of step {self._uploading_step} takes over {WORK_TIMEOUT_S:.0f} s")
        self._uploaded.clear()
        self._uploading_step = step
        self._outbox.add_frame(
            {"type": "checkpoint", "step": step, "directory": str(directory.absolute()), "zero_stage": zero_stage}
        )

    def leave(self) -> None:
        """Flush what waits and hang up."""
        self._leaving = True
        self._outbox.close()
        self._sender.join(FAREWELL_TIMEOUT_S)
        if self._sender.is_alive():
            _exit(f"the agent did not take this rank's last messages within {FAREWELL_TIMEOUT_S:.0f} s")
        if self._outbox.num_dropped:
            warn(f"the agent was slow: {self._outbox.num_dropped} training metric points were left out")
        self._socket.shutdown(socket.SHUT_WR)

    def say_bye(self, outcome: str, step: int) -> None:
        """Tell the agent that this rank is about to exit well."""
        self._leaving = True
        self._outbox.add_frame({"type": "bye", "outcome": outcome, "step": step})
        self.leave()

    def _listen(self, on_stop: Callable[[], None]) -> None:
        for frame in self._frames:
            match frame["type"]:
                case "stop":
                    warn(f"asked to stop: {frame['reason']}")
                    start_thread("trainmaster-stop", on_stop)
                case "checkpoint_stored" if frame["step"] == self._uploading_step:
                    self._uploaded.set()
        self._socket.close()
        if not self._leaving:
            _exit("the agent has closed the connection; nobody supervises this process, so it ends now")

    def _send_all(self) -> None:
        while (due := self._outbox.take()) is not None:
            points, frames = due
            for group, of_group in groupby(sorted(points, key=attrgetter("group")), key=attrgetter("group")):
                self._send_points(group, list(of_group))
            for frame in frames:
                self._send(frame)

    def _send_points(self, group: str, points: list[Point]) -> None:
        for start in range(0, len(points), POINTS_PER_BATCH):
            batch = self._batch(points[start : start + POINTS_PER_BATCH])
            self._send({"type": "metrics", "points": batch} | ({} if group == "training" else {"group": group}))

    def _batch(self, points: list[Point]) -> list[tuple[int, float, dict[str, float]]]:
        batch = [(point.step, point.time_s, self._finite.fetch(point.step, point.metrics)) for point in points]
        return [point for point in batch if point[2]]

    def _send(self, frame: Frame) -> None:
        self._socket.sendall(msgpack.packb(frame))


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Run `target` in a daemon thread; the process ends when it fails."""

    def run() -> None:
        try:
            target()
        except Exception:  # noqa: BLE001  # ends the process, with its traceback
            sys.excepthook(*sys.exc_info())
            _exit(f"the thread {name} failed, so this process ends now")

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def _frames(connection: socket.socket) -> Iterator[Frame]:
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_BUFFER_BYTES)
    while received := _receive(connection):
        unpacker.feed(received)
        yield from unpacker


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(RECEIVE_BYTES)
    except ConnectionError:
        return b""


def _exit(text: str) -> NoReturn:
    warn(text)
    sys.stdout.flush()
    os._exit(1)
