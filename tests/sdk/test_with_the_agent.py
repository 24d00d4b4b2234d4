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
DOWN_S = 10.0  # in which a rank that dies takes its gang along
MORE = "deepspeed: {zero_stage: 1, micro_batch_size: 7}\ncheckpoint_policy: none"
HELD_AT = 5
GANG = ((AGENT, (0, 1)),)
TIMEOUT_S = 90


@pytest.fixture
async def platform(nats_server: NatsServer, s3: S3Settings, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster with one agent, whose warm parent has imported what a trial needs."""
    modules = ("torch", "deepspeed", "deepspeed.runtime.zero.muon.muon_optimizer", "trainmaster.sdk.deepspeed")
    async with cluster(nats_server, s3, tmp_path) as running, running.agent(modules=modules, num_slots=3):
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


DIES = """
import signal, threading, time
import torch
import torch.distributed as dist
import trainmaster as tm

dist.init_process_group("gloo")
with tm.trial() as trial:
    for step in trial.steps():
        if step == 3 and trial.rank == 1:
            print("dies at", time.time())
            raise ValueError("rank one is the culprit")
        if step == 3:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if step == 3 and trial.rank == 2:
            threading.Event().wait()
        dist.all_reduce(torch.ones(1))
"""


async def test_a_rank_that_dies_takes_its_gang_down_in_time_and_its_traceback_is_what_is_told(
    platform: Cluster,
) -> None:
    """Rank 0 loses its peer in the middle of a collective operation, and may say so; nobody listens to SIGTERM."""
    await platform.submit({"main.py": DIES}, slots=3, more="checkpoint_policy: none")
    await platform.allocate((AGENT, (0, 1, 2)))
    exited = await platform.wait_for(TrialExited, timeout_s=TIMEOUT_S)
    died_at = float((await platform.wait_for_line("dies at"))[2].split()[-1])
    assert platform.recorded_of(TrialExited).envelope.time.timestamp() - died_at < DOWN_S
    first, second, *_, last = (exited.error or "").splitlines()
    assert (first, second) == ("rank 1 exited with code 1", "Traceback (most recent call last):")
    assert (exited.rank, last) == (1, "ValueError: rank one is the culprit")
