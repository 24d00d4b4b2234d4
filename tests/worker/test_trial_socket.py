"""The trial socket against ranks that say anything at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.frames import Farewell, Frame, FrameReader, Hello, Malformed, Validation, split_finite
from services.worker.trial_socket import MAX_CONNECTIONS, TrialSocket, socket_path
from tests.support.eventually import PATIENCE_S, eventually

HELLO = {"type": "hello", "rank": 0, "pid": 1}


class Rank:
    """A client of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unpacker = msgpack.Unpacker()

    def say(self, *frames: object) -> None:
        self.send(b"".join(msgpack.packb(frame) for frame in frames))

    def send(self, body: bytes) -> None:
        self._writer.write(body)

    async def hear(self) -> dict[str, Any] | None:
        """Return the next frame; None when the agent hangs up."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for frame in self._unpacker:
                    return frame  # type: ignore[no-any-return]
                try:
                    body = await self._reader.read(65536)
                except ConnectionError:
                    return None
                if not body:
                    return None
                self._unpacker.feed(body)

    async def hang_up(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Server:
    """A trial socket that records what comes."""

    def __init__(self, path: Path) -> None:
        self.heard: list[tuple[int, Frame]] = []
        self.complaints: list[str] = []
        self._ranks: list[Rank] = []
        self.socket = TrialSocket(path, welcome=self._welcome, handle=self._handle, complain=self.complaints.append)

    def _welcome(self, rank: int) -> dict[str, Any] | None:
        return {"type": "welcome", "rank": rank} if rank < 2 else None

    async def _handle(self, rank: int, frame: Frame) -> None:
        self.heard.append((rank, frame))

    async def connect(self, *first: object) -> Rank:
        rank = Rank(*await asyncio.open_unix_connection(self.socket.path))
        self._ranks.append(rank)
        rank.say(*first)
        return rank

    async def hang_up(self) -> None:
        for rank in self._ranks:
            await rank.hang_up()


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Server]:
    server = Server(path)
    async with asyncio.TaskGroup() as tasks, server.socket.serve(tasks):
        yield server
    await server.hang_up()


async def test_a_rank_is_welcomed_and_heard(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        rank = await server.connect(HELLO, {"type": "validation", "step": 2, "metrics": {"loss": 1}})
        assert await rank.hear() == {"type": "welcome", "rank": 0}
        rank.say({"type": "bye", "outcome": "completed", "step": 2, "unknown": "ignored"})
        await rank.hang_up()
        await server.socket.drained()
    assert server.heard == [(0, Validation(2, {"loss": 1.0})), (0, Farewell("completed", 2))]
    assert server.complaints == []


async def test_frames_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        rank = await server.connect()
        for byte in msgpack.packb(HELLO):
            rank.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await rank.hear() == {"type": "welcome", "rank": 0}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "validation", "step": -1, "metrics": {}},
        {"type": "validation", "step": 1.5, "metrics": {}},
        {"type": "validation", "step": True, "metrics": {}},
        {"type": "validation", "step": 2**60, "metrics": {}},
        {"type": "validation", "step": 1, "metrics": {"loss": "low"}},
        {"type": "validation", "step": 1, "metrics": {"": 1.0}},
        {"type": "validation", "step": 1, "metrics": {"x" * 300: 1.0}},
        {"type": "validation", "step": 1},
        {"type": "metrics", "points": [[1, 2.0]]},
        {"type": "metrics", "points": "many"},
        {"type": "checkpoint", "step": 1, "directory": 7, "zero_stage": None},
        {"type": "checkpoint", "step": 1, "directory": "x", "zero_stage": 9},
        {"type": "bye", "outcome": "won", "step": 1},
        {"type": "hello", "rank": 0, "pid": 1},
        {"type": "launch missiles"},
        {},
        [],
        7,
        None,
    ],
)
async def test_what_is_not_our_language_ends_the_connection_only(tmp_path: Path, frame: object) -> None:
    async with serving(tmp_path / "sock") as server:
        rank = await server.connect(HELLO, frame)
        assert await rank.hear() == {"type": "welcome", "rank": 0}
        assert await rank.hear() is None
        assert await (await server.connect(HELLO)).hear() == {"type": "welcome", "rank": 0}
    assert len(server.complaints) == 1
    assert server.complaints[0].startswith("a connection to the trial socket was dropped: ")
    assert server.heard == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",  # never used in msgpack
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x81\xa4type\xa2\xff\xfe",  # not UTF-8
        b"\x91" * 5000,  # nested too deep
        b"\xc7\x01\x05x",  # an extension type
        b"\x81\x91\x01\x02",  # a list for a key
    ],
)
async def test_bytes_that_are_not_frames_end_the_connection(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path / "sock") as server:
        rank = await server.connect()
        rank.send(body)
        assert await rank.hear() is None
    assert len(server.complaints) == 1


async def test_a_frame_that_is_too_big_ends_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        rank = await server.connect(HELLO)
        await rank.hear()
        rank.send(b"\xc6\x7f\xff\xff\xff" + b"x" * (17 * 1024 * 1024))  # a string said to have 2 GiB
        assert await rank.hear() is None
    assert len(server.complaints) == 1


async def test_the_first_frame_must_be_a_hello_of_a_rank_on_this_agent(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        for first in ({"type": "bye", "outcome": "completed", "step": 1}, {"type": "hello", "rank": 2, "pid": 1}):
            assert await (await server.connect(first)).hear() is None
    assert [complaint.rpartition(": ")[2] for complaint in server.complaints] == [
        "the first frame was not a hello",
        "rank 2 is not on this agent",
    ]


async def test_every_rank_is_told_to_stop_also_those_that_come_later(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        early = await server.connect(HELLO)
        await early.hear()
        assert server.socket.was_greeted
        server.socket.stop("paused")
        late = await server.connect({"type": "hello", "rank": 1, "pid": 2})
        assert await early.hear() == {"type": "stop", "reason": "paused"}
        assert await late.hear() == {"type": "welcome", "rank": 1}
        assert await late.hear() == {"type": "stop", "reason": "paused"}


async def test_a_rank_that_has_hung_up_was_one_that_talks_to_us(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        stranger = await server.connect({"type": "hello", "rank": 2, "pid": 1})
        assert await stranger.hear() is None
        assert not server.socket.was_greeted
        rank = await server.connect(HELLO, {"type": "bye", "outcome": "completed", "step": 2})
        await rank.hear()
        await rank.hang_up()
        await server.socket.drained()
        assert server.socket.was_greeted


async def test_a_silent_connection_that_nobody_closes_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        rank = await server.connect(HELLO)
        await rank.hear()
        await server.socket.drained()
        assert await rank.hear() is None


async def test_too_many_connections_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path / "sock") as server:
        for _ in range(MAX_CONNECTIONS):
            await server.connect()
        extra = await server.connect(HELLO)
        assert await extra.hear() is None
        await eventually(lambda: server.complaints)


def test_a_path_too_long_for_the_kernel_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    with socket_path(Path("/short")) as path:
        assert path == Path("/short/sock")
    with socket_path(tmp_path / ("x" * 120)) as path:
        assert len(str(path)) < 100 and path.parent.is_dir()
    assert not path.parent.exists()


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_fail_as_malformed(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        list(FrameReader().feed(body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
)
kinds = st.sampled_from(["hello", "metrics", "validation", "checkpoint", "bye", "other"])


@given(kinds, st.dictionaries(st.sampled_from(["rank", "pid", "step", "metrics", "points", "directory"]), json_values))
def test_no_fields_do_anything_but_parse_or_fail_as_malformed(kind: str, fields: dict[str, object]) -> None:
    with contextlib.suppress(Malformed):
        for frame in FrameReader().feed(msgpack.packb({"type": kind, **fields})):
            assert isinstance(frame, Hello | Frame)


def test_only_finite_metrics_pass() -> None:
    assert split_finite({"a": 1.0, "b": float("nan"), "c": float("inf")}) == ({"a": 1.0}, ["b", "c"])
