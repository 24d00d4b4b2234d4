"""A trial goes on with another number of ranks, its checkpoints going through the real agent and each kind of store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.events import CheckpointSaved, MetricReported, Outcome, TrialExited, TrialStarted
from shared.settings import S3Settings
from tests.sdk.conftest import SCRIPTS
from tests.support.fixtures import on_each_store
from tests.support.servers import NatsServer
from tests.worker.cluster import AGENT, Cluster, cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TIMEOUT_S = 90
LEGS = ((2, 10), (1, 10), (4, 5))  # ranks, and the steps that each trial trains from the checkpoint of the one before


@pytest.fixture
async def platform(nats_server: NatsServer, store: S3Settings, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster with one agent, whose warm parent has imported what a trial needs."""
    modules = ("torch", "deepspeed", "deepspeed.runtime.zero.muon.muon_optimizer", "trainmaster.sdk.deepspeed")
    async with cluster(nats_server, store, tmp_path) as running, running.agent(modules=modules, num_slots=4):
        yield running


@on_each_store
async def test_every_zero_stage_goes_on_from_two_ranks_to_one_to_four(platform: Cluster) -> None:
    for zero_stage in (1, 2, 3):
        resume, begun = "", len(platform.events(MetricReported))
        for num_ranks, num_steps in LEGS:
            stage = f"zero_optimization: {{stage: {zero_stage}}}"
            await platform.submit(
                {"main.py": (SCRIPTS / "resized.py").read_text()},
                slots=num_ranks,
                max_batches=num_steps,
                more=f"deepspeed: {{train_batch_size: 8, {stage}}}\ncheckpoint_policy: none\n{resume}",
            )
            number = len(platform.events(TrialExited)) + 1
            allocation = await platform.allocate((AGENT, tuple(range(num_ranks))))
            exited = await platform.wait_for(TrialExited, number, timeout_s=TIMEOUT_S)
            assert exited.outcome is Outcome.COMPLETED, platform.lines
            started, saved = platform.events(TrialStarted)[-1], platform.events(CheckpointSaved)[-1]
            assert (started.resumed_from or "") == resume.removeprefix("resume_from: ")
            assert started.world_size == num_ranks
            await platform.release(allocation)
            resume = f"resume_from: {saved.checkpoint_id}"
        reported = platform.events(MetricReported)[begun:]
        assert [(event.step, event.metrics["ranks"]) for event in reported] == [
            (step, num_ranks) for num_ranks, num_steps in LEGS for step in range(1, num_steps + 1)
        ]
        losses = [event.metrics["loss"] for event in reported]
        assert sum(losses[10:20]) < sum(losses[:10]), "what was learnt on two ranks is not lost on one"
