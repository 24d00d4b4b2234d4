"""Lines of output, from a pipe to the LOGS stream."""

import asyncio
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker import logs
from services.worker.allocation import Allocation
from services.worker.logs import BATCH_LINES, MAX_LINE_BYTES, TAIL_LINES, LineSplitter, Logs
from shared import broker, subjects
from shared import volume as messages
from shared.ids import AgentId, AllocationId, ExperimentId, TrialId
from shared.log import Follower
from shared.volume import LogBatch
from tests.support.servers import NatsServer

ALLOCATION = Allocation(
    allocation_id=AllocationId("e-1-a1"), trial_id=TrialId("e-1"), experiment_id=ExperimentId("e"), epoch=1, seq=1,
    members=(), experiment=None, trial=None,
)  # fmt: skip


def split(*pieces: bytes) -> list[str]:
    splitter = LineSplitter()
    return [text for piece in pieces for text in splitter.feed(piece)] + splitter.close()


def test_lines_end_at_newlines_wherever_reads_end() -> None:
    assert split(b"one\ntw", b"o\n\nthr", b"ee") == ["one", "two", "", "three"]
    assert split(b"dos\r\n") == ["dos"]


def test_what_is_not_utf_8_is_replaced() -> None:
    assert split("größe\n".encode()) == ["größe"]
    assert split(b"gr\xff\xfe\n") == ["gr\ufffd\ufffd"]


def test_a_character_may_lie_across_two_reads() -> None:
    encoded = "ß\n".encode()
    assert split(encoded[:1], encoded[1:]) == ["ß"]


def test_a_long_line_is_cut_even_before_its_end_comes() -> None:
    splitter = LineSplitter()
    assert [len(text) for text in splitter.feed(b"x" * (2 * MAX_LINE_BYTES + 5))] == [MAX_LINE_BYTES] * 2
    assert splitter.feed(b"y\n") == ["xxxxxy"]


@given(st.lists(st.binary(max_size=50)))
def test_nothing_but_newlines_is_lost(pieces: list[bytes]) -> None:
    whole = b"".join(pieces).decode("latin-1").encode("ascii", errors="replace").replace(b"\r", b"?")
    size = 7
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    lines = whole.decode().split("\n")
    assert split(*chunks) == (lines if lines[-1] else lines[:-1])


async def test_output_arrives_in_order_in_batches(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        spool = Logs(client, AgentId("a1"))
        running = asyncio.create_task(spool.run())
        log = spool.open(ALLOCATION, 3)
        reading, writing = os.pipe()
        os.write(writing, b"".join(b"%d\n" % number for number in range(500)) + b"no newline")
        os.close(writing)
        await log.capture(reading, "stdout")
        log.say("the agent\nsays")
        await log.drained()
        running.cancel()
    batches = await stored(nats_server, 3)
    lines = [line for batch in batches for line in batch.lines]
    assert [line.text for line in lines] == [*map(str, range(500)), "no newline", "the agent", "says"]
    assert {line.stream for line in lines[:-2]} == {"stdout"}
    assert {line.stream for line in lines[-2:]} == {"agent"}
    assert {(batch.trial_id, batch.allocation_id, batch.epoch, batch.rank) for batch in batches} == {
        ("e-1", "e-1-a1", 1, 3)
    }
    assert max(len(batch.lines) for batch in batches) == BATCH_LINES


async def test_when_too_much_waits_the_fullest_rank_loses_its_oldest_lines(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_WAITING_BYTES", 100_000)
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        spool = Logs(client, AgentId("a1"))
        noisy, quiet = spool.open(ALLOCATION, 0), spool.open(ALLOCATION, 1)
        quiet.write("stdout", "still here")
        for number in range(1000):
            noisy.write("stdout", f"{number:800}")
        running = asyncio.create_task(spool.run())
        await asyncio.gather(noisy.drained(), quiet.drained())
        running.cancel()
    lines = [line for batch in await stored(nats_server, 2) for line in batch.lines]
    kept = [int(line.text) for line in lines if line.text.strip().isdecimal()]
    assert kept == list(range(1000 - len(kept), 1000)) and 90 <= len(kept) <= 100
    assert f"[{1000 - len(kept)} lines were dropped here: the log could not be stored in time]" in [
        line.text for line in lines if line.stream == "agent"
    ]
    assert "still here" in [line.text for line in lines]


async def test_no_more_is_sent_than_the_rate_allows(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RATE_BYTES_PER_S", 1_000_000)
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        spool = Logs(client, AgentId("a1"))
        log = spool.open(ALLOCATION, 0)
        for number in range(700):
            log.write("stdout", f"{number:1000}")
        started_at = time.monotonic()
        running = asyncio.create_task(spool.run())
        await log.drained()
        took_s = time.monotonic() - started_at
        running.cancel()
    lines = [line for batch in await stored(nats_server, 3) for line in batch.lines]
    assert [int(line.text) for line in lines] == list(range(700))
    assert took_s > 0.5


async def test_what_is_written_while_the_broker_is_away_arrives_when_it_is_back(nats_server: NatsServer) -> None:
    """30,000 lines, 500 a second for a minute, are well within what may wait."""
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        spool = Logs(client, AgentId("a1"))
        running = asyncio.create_task(spool.run())
        log = spool.open(ALLOCATION, 0)
        log.write("stdout", "before")
        await log.drained()
        nats_server.server.kill()
        for number in range(30_000):
            log.write("stdout", f"line {number} of a minute without the broker, in which nothing may be lost")
            if number % 1000 == 0:
                await asyncio.sleep(0)
        nats_server.server.start()
        await log.drained()
        running.cancel()
    texts = [line.text for batch in await stored(nats_server, 151) for line in batch.lines]
    assert texts[0] == "before"
    numbers = [int(text.split()[1]) for text in texts[1:]]
    assert list(dict.fromkeys(numbers)) == list(range(30_000))
    assert numbers == list(range(30_000)), "a line is there twice"


async def test_no_batch_is_larger_than_the_broker_takes(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        log = Logs(client, AgentId("a1")).open(ALLOCATION, 0)
        for text in split(b"\xff" * 2_000_000):  # each byte becomes a character of three
            log.write("stdout", text)
        log.say("\u20ac" * 1_000_000 + "\udcff")
        num_characters = 0
        while batch := log.take_batch():
            assert len(messages.encode(batch)) < 512 * 1024
            num_characters += sum(len(line.text) for line in batch.lines)
    assert num_characters >= 3_000_000


async def test_the_last_lines_of_stderr_are_kept(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        log = Logs(client, AgentId("a1")).open(ALLOCATION, 0)
        log.write("stdout", "not this")
        for number in range(100):
            log.write("stderr", str(number))
    assert log.stderr_tail == tuple(map(str, range(100 - TAIL_LINES, 100)))


async def stored(nats: NatsServer, at_least: int) -> list[LogBatch]:
    async with broker.connect(nats.url, "test") as client:
        follower = Follower(client, subjects.LOGS)
        batches: list[LogBatch] = []
        while len(batches) < at_least or not follower.at_head:
            batches += [messages.decode_logs(message.body) for message in await follower.next()]
        await follower.close()
    return batches
