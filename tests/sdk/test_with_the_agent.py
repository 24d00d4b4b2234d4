"""The SDK and the real agent: a trial of two ranks is stopped in the middle, and goes on elsewhere in time."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.events import CheckpointSaved, MetricReported, Outcome, TrialExited, TrialPreempted, TrialStarted
from shared.settings import S3Settings
from tests.sdk.conftest import SCRIPTS
from tests.support.servers import NatsServer
from tests.worker.cluster import AGENT, Cluster, cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NUM_STEPS = 10
MORE = "deepspeed: {zero_stage: 1, micro_batch_size: 7}\ncheckpoint_policy: none"
HELD_AT = 5
GANG = ((AGENT, (0, 1)),)
TIMEOUT_S = 90


@pytest.fixture
async def platform(nats_server: NatsServer, s3: S3Settings, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster with one agent, whose warm parent has imported what a trial needs."""
    modules = ("torch", "deepspeed", "deepspeed.runtime.zero.muon.muon_optimizer", "trainmaster.sdk.deepspeed")
    async with cluster(nats_server, s3, tmp_path) as running, running.agent(modules=modules):
        yield running


async def test_a_trial_is_stopped_and_continues_where_it_was(platform: Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    more = f"{MORE}\nenvironment: {{environment_variables: [HELD_AT={HELD_AT}, 'GATE={gate}']}}"
    await platform.submit({"main.py": (SCRIPTS / "curve.py").read_text()}, slots=2, more=more)

    first = await platform.allocate(*GANG)
    await platform.wait_for(MetricReported, HELD_AT - 1, timeout_s=TIMEOUT_S)
    await platform.preempt(first)
    await platform.wait_for_line("asked to stop")
    opened = os.open(gate, os.O_RDWR)  # and kept so: the ranks may come to it one after the other
    preempted = await platform.wait_for(TrialPreempted)
    assert preempted.step is not None and HELD_AT <= preempted.step < NUM_STEPS
    saved = await platform.wait_for(CheckpointSaved)
    assert (saved.step, saved.world_size, saved.zero_stage) == (preempted.step, 2, 1)
    os.close(opened)
    await platform.release(first)

    await platform.allocate(*GANG)
    exited = await platform.wait_for(TrialExited, timeout_s=TIMEOUT_S)
    assert exited.outcome is Outcome.COMPLETED, platform.lines
    assert platform.events(TrialStarted)[-1].resumed_from == saved.checkpoint_id
    assert [event.step for event in platform.events(MetricReported)] == list(range(1, NUM_STEPS + 1))
    assert [event.step for event in platform.events(CheckpointSaved)] == [preempted.step, NUM_STEPS]
