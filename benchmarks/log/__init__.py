"""The event log beside the raw limit: appending, folding, following; one NATS server flushed before every answer.

Raw means nats-py publishing the very same bytes the same way, and a bare push consumer that only counts. Most of that
is nats-py's own work for each message. Receiving and folding share one thread: what a replay that decodes and folds can
reach at best is 1 / (1 / raw + 1 / from memory).
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import click
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from benchmarks.log.start import rows as start_rows
from benchmarks.report import Row, show
from services.scheduler.memory import State
from services.scheduler.state import evolve
from shared import broker, codec, log, subjects
from shared.codec import Envelope
from shared.decisions import Fold
from shared.events import MetricReported
from shared.ids import AgentId, AllocationId, ExperimentId, TrialId
from shared.log import Follower, Message, envelope_of
from tests.support.servers import new_nats_server
from trainmaster.cli.options import json_option

RUNS = 7
SINGLE = 500
BATCHED = 10_000
BATCH = 100
STARTS = (20_000, 100_000)
LONG_START = 1_000_000
AGENT = AgentId("a1")


@click.command()
@click.option("--long", is_flag=True, help="Also the start of deciders on a log of a million events.")
@json_option
def main(*, long: bool, as_json: bool) -> None:
    """Measure and print the table."""
    sizes = (*STARTS, LONG_START) if long else STARTS
    with tempfile.TemporaryDirectory() as directory:
        nats = new_nats_server(Path(directory) / "nats")
        nats.server.start()
        try:
            rows = asyncio.run(_measure(nats.url, nats.url_as(f"worker-{AGENT}")))
        finally:
            nats.server.stop()
        rows += _starts(Path(directory) / "starts", sizes)
    show("the event log, flushed to disk", rows, as_json=as_json)


def _starts(directory: Path, sizes: tuple[int, ...]) -> list[Row]:
    nats = new_nats_server(directory / "nats")
    nats.server.start()

    async def measure() -> list[Row]:
        async with broker.connect(nats.url, "bench") as client:
            await broker.create_streams(client)
            return await start_rows(client, directory, sizes)

    try:
        return asyncio.run(measure())
    finally:
        nats.server.stop()


async def _measure(admin_url: str, agent_url: str) -> list[Row]:
    async with broker.connect(admin_url, "bench") as admin, broker.connect(agent_url, "bench") as agent:
        await broker.create_streams(admin)
        rows = await _rates(
            SINGLE,
            {
                "append one by one: raw": lambda: _raw_single(agent),
                "append one by one: ours": lambda: _ours(agent, SINGLE, 1),
            },
        )
        rows += await _rates(
            BATCHED,
            {
                f"append by {BATCH}: raw": lambda: _raw_batches(agent),
                f"append by {BATCH}: ours": lambda: _ours(agent, BATCHED, BATCH),
            },
        )
        total = (await admin.jetstream().stream_info(subjects.EVENTS)).state.messages
        rows += await _rates(
            total,
            {
                "replay from the server: raw": lambda: _raw_replay(admin, total),
                "replay from the server: ours": lambda: _receive(admin, total),
                "replay from the server: ours, decoded and folded": lambda: _follow(admin, total),
            },
        )
        return [*rows, _fold_rate()]


async def _rates(count: int, ways: Mapping[str, Callable[[], Awaitable[None]]]) -> list[Row]:
    """Measure the ways by turns, so that a machine that grows slower is slower for all."""
    rates: dict[str, list[float]] = {what: [] for what in ways}
    for _ in range(RUNS):
        for what, work in ways.items():
            started = time.perf_counter()
            await work()
            rates[what].append(count / (time.perf_counter() - started))
    return [Row(what=what, unit="events/s", values=tuple(values)) for what, values in rates.items()]


_num_trials = 0


def _envelopes(count: int) -> list[Envelope]:
    """Events about a trial of their own, so that the expectation starts at 0."""
    global _num_trials  # noqa: PLW0603 # each run needs a fresh aggregate
    _num_trials += 1
    trial = TrialId(f"bench-{_num_trials}")
    return [
        envelope_of(
            MetricReported(
                trial_id=trial,
                experiment_id=ExperimentId("bench"),
                allocation_id=AllocationId(f"{trial}-a1"),
                epoch=1,
                agent_id=AGENT,
                step=step,
                metrics={"loss": 1.0 / (step + 1), "accuracy": 0.5},
            ),
            writer=f"worker-{AGENT}",
            actor="bench",
            correlation="bench",
            causes=(1,),
        )
        for step in range(count)
    ]


async def _ours(client: Client, count: int, batch: int) -> None:
    envelopes, expected = _envelopes(count), 0
    for start in range(0, count, batch):
        expected = await log.append(client, envelopes[start : start + batch], expected=expected)


async def _raw_single(client: Client) -> None:
    for envelope in _envelopes(SINGLE):
        await client.request(str(envelope.subject), codec.encode(envelope), timeout=5, headers={"Nats-Bench": "1"})


async def _raw_batches(client: Client) -> None:
    envelopes = _envelopes(BATCHED)
    for start in range(0, BATCHED, BATCH):
        *others, last = envelopes[start : start + BATCH]
        batch_id = f"{_num_trials}-{start}"
        for number, envelope in enumerate(others, start=1):
            headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
            await client.publish(str(envelope.subject), codec.encode(envelope), headers=headers)
        headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(BATCH), "Nats-Batch-Commit": "1"}
        await client.request(str(last.subject), codec.encode(last), timeout=5, headers=headers)


async def _raw_replay(client: Client, total: int) -> None:
    done = asyncio.Event()
    seen = 0

    async def count(message: Msg) -> None:
        nonlocal seen
        if message.headers and "Status" in message.headers:
            if message.reply:
                await client.publish(message.reply)
            return
        seen += 1
        if seen >= total:
            done.set()

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=count)
    consumer = ConsumerConfig(
        deliver_subject=inbox,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.NONE,
        flow_control=True,
        idle_heartbeat=1.0,
        mem_storage=True,
    )
    await client.jetstream().add_consumer(subjects.EVENTS, consumer)
    await asyncio.wait_for(done.wait(), timeout=60)
    await subscription.unsubscribe()


async def _receive(client: Client, total: int) -> None:
    follower, position = Follower(client, subjects.EVENTS), 0
    while position < total:
        messages = await follower.next()
        position = messages[-1].seq if messages else position
    await follower.close()


async def _follow(client: Client, total: int) -> None:
    state = State()
    fold = Fold(lambda recorded: evolve(state, recorded))
    follower = Follower(client, subjects.EVENTS)
    while fold.position < total:
        fold(await follower.next())
    await follower.close()


def _fold_rate() -> Row:
    envelopes = _envelopes(BATCHED)
    messages = [
        Message(seq=seq, subject=str(envelope.subject), body=codec.encode(envelope), stored_ns=0)
        for seq, envelope in enumerate(envelopes, start=1)
    ]
    rates = []
    for _ in range(RUNS):
        state = State()
        fold = Fold(lambda recorded, state=state: evolve(state, recorded))  # type: ignore[misc]
        started = time.perf_counter()
        fold(messages)
        rates.append(BATCHED / (time.perf_counter() - started))
    return Row(what="fold from memory, decoding included", unit="events/s", values=tuple(rates))
