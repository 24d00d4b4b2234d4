"""An agent's side of the trial socket, spoken by the test: a real unix socket, and a memory of what was said."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgpack

Frame = dict[str, Any]
PATIENCE_S = 60.0


class FakeAgent:
    """Welcomes the ranks of one trial, remembers their frames, and answers checkpoints unless told to hold them."""

    def __init__(self, directory: Path, **welcome: Any) -> None:
        self.path = str(directory / "agent.sock")
        self.frames: list[tuple[int, Frame]] = []
        self.react: Callable[[int, Frame], None] = lambda rank, frame: None
        self.stores_at_once = True
        self._welcome = welcome_frame(directory) | welcome
        self._connections: dict[int, socket.socket] = {}
        self._changed = threading.Condition()
        self._listening: list[threading.Thread] = []
        self._server = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._server.bind(self.path)
        self._server.listen()
        self._listen(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up; what ranks have said by then has been heard afterwards."""
        self._server.shutdown(socket.SHUT_RDWR)
        for rank in list(self._connections):
            self.hang_up(rank)
        for thread in self._listening:
            thread.join(PATIENCE_S)
        self._server.close()

    def send(self, rank: int, frame: Frame) -> None:
        """Say something to a rank."""
        self._connections[rank].sendall(msgpack.packb(frame))

    def stop(self) -> None:
        """Ask all ranks to stop."""
        for rank in list(self._connections):
            self.send(rank, {"type": "stop", "reason": "a test wants the slot"})

    def hang_up(self, rank: int) -> None:
        """Close the connection to a rank, as a dying agent would."""
        with contextlib.suppress(OSError):  # the rank may have gone first
            self._connections.pop(rank).shutdown(socket.SHUT_RDWR)

    def of_type(self, kind: str, rank: int = 0) -> list[Frame]:
        """Return the frames of a type that a rank has sent so far."""
        with self._changed:
            return [frame for sender, frame in self.frames if sender == rank and frame["type"] == kind]

    def wait_for(self, kind: str, rank: int = 0, count: int = 1) -> list[Frame]:
        """Wait until a rank has sent `count` frames of a type and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.of_type(kind, rank)) >= count, PATIENCE_S), (
                f"rank {rank} never sent {count} x {kind}; there are {self.frames[-5:]}"
            )
            return self.of_type(kind, rank)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # shut down at the end of the test
                return
            self._listen(partial(self._serve, connection))

    def _listen(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._listening.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        unpacker = msgpack.Unpacker()
        rank = -1
        while received := _receive(connection):
            unpacker.feed(received)
            for frame in unpacker:
                if frame["type"] == "hello":
                    rank = frame["rank"]
                    self._connections[rank] = connection
                    self.send(rank, self._welcome | {"rank": rank, "local_rank": rank})
                self._remember(rank, frame)
        connection.close()

    def _remember(self, rank: int, frame: Frame) -> None:
        if frame["type"] == "checkpoint" and self.stores_at_once:
            with contextlib.suppress(OSError, KeyError):  # the trial may have ended, and the test have hung up
                self.send(rank, {"type": "checkpoint_stored", "step": frame["step"]})
        self.react(rank, frame)
        with self._changed:
            self.frames.append((rank, frame))
            self._changed.notify_all()


def welcome_frame(directory: Path) -> Frame:
    """Return the welcome of a trial of one rank."""
    return {
        "type": "welcome",
        "trial_id": "trial-1",
        "experiment_id": "experiment-1",
        "allocation_id": "allocation-1",
        "index": 1,
        "hyperparameters": {"lr": 0.01},
        "seed": 7,
        "max_length": {"unit": "batches", "count": 5},
        "records_per_epoch": 0,
        "deepspeed": None,
        "world_size": 1,
        "local_world_size": 1,
        "checkpoint_directory": str(directory / "checkpoints"),
        "resume": None,
    }


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""
