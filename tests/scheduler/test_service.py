"""The scheduler as processes on a real broker: one leads, another stands by, and no slot is ever given twice."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

from shared import broker, log, subjects
from shared.decisions import Fold
from shared.events import (
    Event,
    ExperimentPaused,
    ExperimentSubmitted,
    GPUAllocated,
    LeaderElected,
    PreemptionRequested,
    TrialPreempted,
    TrialRequested,
)
from shared.leadership import LEASE_S
from shared.log import Follower, Recorded, envelope_of
from tests.scheduler.world import EXPERIMENT, joined, preempted, requested, submitted
from tests.support.eventually import PATIENCE_S
from tests.support.servers import NatsServer

TAKEOVER_S = LEASE_S + 20.0  # on a busy machine


class Scene:
    """A broker, scheduler processes by name, and everything the log holds."""

    def __init__(self, nats_server: NatsServer) -> None:
        self._nats_server = nats_server
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.positions: list[int | None] = []  # of the events last read: from where each was decided

    async def stand_by(self, instance: str, *, service: str = "scheduler") -> None:
        """Start a process of a service and wait until it is alive."""
        async with broker.connect(self._nats_server.url, "test") as client:
            beats = await client.subscribe(subjects.health_subject(service, instance))
            await client.flush()
            self.start(instance, service=service)
            await beats.next_msg(timeout=PATIENCE_S)

    def start(self, instance: str, *, service: str = "scheduler", **more: str) -> None:
        """Start a process of a service."""
        settings = {"TM_NATS_URL": self._nats_server.url_as(service), "TM_INSTANCE": instance} | more
        command = (sys.executable, "-P", "-m", f"services.{service}")
        self.processes[instance] = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.DEVNULL)

    async def say(self, writer: str, *events: Event, expected: int = 0) -> None:
        """Append what another service or an agent says."""
        envelopes = [envelope_of(event, writer=writer, actor="test", correlation="test") for event in events]
        async with broker.connect(self._nats_server.url_as(writer), "test") as client:
            await log.append(client, envelopes, expected=expected)

    async def until(self, condition: Callable[[list[Event]], bool], *, timeout_s: float = PATIENCE_S) -> list[Event]:
        """All events from the first, as soon as the condition holds for them."""
        events: list[Event] = []
        self.positions = []

        def keep(recorded: Recorded) -> None:
            if recorded.event:
                events.append(recorded.event)
                self.positions.append(recorded.envelope.position)

        fold = Fold(keep)
        async with broker.connect(self._nats_server.url_as("tracker"), "test") as client, asyncio.timeout(timeout_s):
            follower = Follower(client, subjects.EVENTS)
            while not condition(events):
                fold(await follower.next())
        return events

    async def leader(self, *, after_term: int = 0, timeout_s: float = PATIENCE_S) -> LeaderElected:
        """The newest leader, once its term is later than `after_term`."""
        events = await self.until(lambda events: _leader(events).term > after_term, timeout_s=timeout_s)
        return _leader(events)


@contextlib.contextmanager
def scene(nats_server: NatsServer) -> Iterator[Scene]:
    """A scene whose processes are gone at the end."""
    opened = Scene(nats_server)
    try:
        yield opened
    finally:
        for process in opened.processes.values():
            process.kill()
            process.wait()


async def test_a_standby_takes_over_when_the_leader_is_killed(nats_server: NatsServer) -> None:
    with scene(nats_server) as cluster:
        first = await _with_a_busy_agent(cluster)
        cluster.processes[first.instance].kill()
        second = await cluster.leader(after_term=first.term, timeout_s=TAKEOVER_S)
        assert second.instance != first.instance
        events = await cluster.until(lambda events: any(isinstance(event, ExperimentSubmitted) for event in events))
        submission = next(seq for seq, event in enumerate(events, 1) if isinstance(event, ExperimentSubmitted))
        await cluster.say("gateway", ExperimentPaused(experiment_id=EXPERIMENT), expected=submission)
        await cluster.until(lambda events: any(isinstance(event, PreemptionRequested) for event in events))


async def test_a_decision_says_from_which_position_of_the_log_it_follows(nats_server: NatsServer) -> None:
    with scene(nats_server) as cluster:
        await _with_a_busy_agent(cluster)
        events = await cluster.until(lambda events: any(isinstance(event, GPUAllocated) for event in events))
        folded = {type(event): position for event, position in zip(events, cluster.positions, strict=True)}
        requested_seq = next(seq for seq, event in enumerate(events, 1) if isinstance(event, TrialRequested))
        decided_at = folded[GPUAllocated]
        assert decided_at is not None and requested_seq <= decided_at < len(events)
        assert folded[TrialRequested] is None, "nobody's decision"


async def test_a_leader_that_was_stopped_finds_itself_deposed(nats_server: NatsServer) -> None:
    with scene(nats_server) as cluster:
        first = await _with_a_busy_agent(cluster)
        os.kill(cluster.processes[first.instance].pid, signal.SIGSTOP)
        second = await cluster.leader(after_term=first.term, timeout_s=TAKEOVER_S)
        (allocated,) = await _allocations(cluster, 1)
        await cluster.say("worker-a1", preempted(allocated), expected=0)  # both would now give the slot to trial 1
        os.kill(cluster.processes[first.instance].pid, signal.SIGCONT)
        given = await _allocations(cluster, 2)
        assert [event.epoch for event in given] == [1, 2]
        events = await cluster.until(lambda events: any(isinstance(event, TrialPreempted) for event in events))
        assert _leader(events).incarnation == second.incarnation


async def _with_a_busy_agent(cluster: Scene) -> LeaderElected:
    """Two schedulers and one agent whose only slot has been given away; returns the leader."""
    cluster.start("one")
    leader = await cluster.leader()
    await cluster.stand_by("two")
    await cluster.say("gateway", submitted())
    await cluster.say("worker-a1", joined("a1", 1))
    await cluster.say("searcher", requested(1))
    await _allocations(cluster, 1)
    return leader


async def _allocations(cluster: Scene, count: int) -> list[GPUAllocated]:
    def given(events: list[Event]) -> list[GPUAllocated]:
        return [event for event in events if isinstance(event, GPUAllocated)]

    return given(await cluster.until(lambda events: len(given(events)) >= count))


def _leader(events: list[Event]) -> LeaderElected:
    none = LeaderElected(service="scheduler", instance="", incarnation="", term=0)
    return next((event for event in reversed(events) if isinstance(event, LeaderElected)), none)
