"""The searcher as processes on a real broker: one leads, and when it is killed or stopped the other decides."""

import os
import signal

import pytest

from shared.events import Event, ExperimentCompleted, GPUAllocated, TrialRequested
from tests.scheduler.test_service import TAKEOVER_S, scene
from tests.searcher.world import allocated, exited, reported, submitted
from tests.support.servers import NatsServer

BUDGET = "metric: loss, max_trials: 2, max_concurrent_trials: 1"
RANDOM = f"{{name: random, {BUDGET}}}"
RUNGS = f"{{name: asha, num_rungs: 1, max_length: 9, {BUDGET}}}"
MODEL = f"{{name: bayesian, initial_trials: 1, {BUDGET}}}"


@pytest.mark.parametrize(
    ("end", "search"),
    [(signal.SIGKILL, RANDOM), (signal.SIGSTOP, RANDOM), (signal.SIGKILL, RUNGS), (signal.SIGKILL, MODEL)],
)
async def test_a_standby_goes_on_with_the_search(nats_server: NatsServer, end: signal.Signals, search: str) -> None:
    with scene(nats_server) as cluster:
        for instance in ("one", "two"):
            await cluster.stand_by(instance, service="searcher")
        first = await cluster.leader()
        await cluster.say("gateway", submitted(search))
        await cluster.until(lambda events: _requested(events) == [1])
        os.kill(cluster.processes[first.instance].pid, end)
        second = await cluster.leader(after_term=first.term, timeout_s=TAKEOVER_S)
        assert second.instance != first.instance
        await cluster.say("scheduler", allocated(1))
        await cluster.say("worker-a1", reported(1, 0.5), exited(1))
        events = await cluster.until(lambda events: _requested(events) == [1, 2])
        given = next(seq for seq, event in enumerate(events, 1) if isinstance(event, GPUAllocated))
        if end is signal.SIGSTOP:
            os.kill(cluster.processes[first.instance].pid, signal.SIGCONT)
        await cluster.say("scheduler", allocated(2), expected=given)
        await cluster.say("worker-a1", exited(2))
        events = await cluster.until(lambda events: any(isinstance(event, ExperimentCompleted) for event in events))
        assert _requested(events) == [1, 2], "who was stopped has decided nothing twice"


def _requested(events: list[Event]) -> list[int]:
    return [event.index for event in events if isinstance(event, TrialRequested)]
