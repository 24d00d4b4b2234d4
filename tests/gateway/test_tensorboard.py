"""TensorBoard's files of trials, read back by TensorBoard."""

import asyncio
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.gateway.conftest import ADMIN_TOKEN, Api
from tests.gateway.test_exports import tell
from tests.support.eventually import eventually
from tests.tracker import story
from trainmaster.cli.tensorboard import Export
from trainmaster.client import Client


def read(directory: Path) -> EventAccumulator:
    """What TensorBoard finds of the first trial."""
    found = EventAccumulator(str(directory / story.EXPERIMENT / story.trial()), size_guidance={"scalars": 0})
    found.Reload()
    return found


def scalars(directory: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read(directory).Scalars(tag)]


async def test_tensorboard_reads_scalars_and_hyperparameters(api: Api, tmp_path: Path) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    await tell(api, 1, *range(1, 31))
    with Client(api.url, ADMIN_TOKEN) as client:
        export = Export(client, [story.EXPERIMENT], tmp_path)
        num_points = await asyncio.to_thread(export.refresh)
        assert num_points == 30 + 8 and export.num_trials == 2, "and four validations of two metrics"
        assert await asyncio.to_thread(export.refresh) == 0, "what is over is written once"
        export.close()
    assert scalars(tmp_path, "training/loss") == [(step, 1000.0 + step) for step in range(1, 31)]
    assert "validation/accuracy" in read(tmp_path).Tags()["scalars"]
    plugin = read(tmp_path).SummaryMetadata("_hparams_/session_start_info").plugin_data
    said = HParamsPluginData.FromString(plugin.content).session_start_info
    assert said.hparams["lr"].number_value > 0


async def test_the_files_follow_a_trial_that_trains_and_goes_back(api: Api, tmp_path: Path) -> None:
    told = [story.agent_joined(), story.submitted(), story.requested(1), story.allocated(1)]
    seq = await story.tell(api.log, told)
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    await tell(api, 1, *range(1, 11))
    with Client(api.url, ADMIN_TOKEN) as client:
        export = Export(client, [story.trial()], tmp_path)
        assert await asyncio.to_thread(export.refresh) == 10
        await tell(api, 1, *range(11, 16))
        assert await asyncio.to_thread(export.refresh) == 5
        await tell(api, 2, *range(6, 21))
        await asyncio.to_thread(export.refresh)
        export.close()
    expected = [(step, 1000.0 + step) for step in range(1, 6)] + [(step, 2000.0 + step) for step in range(6, 21)]

    async def is_followed() -> bool:
        return scalars(tmp_path, "training/loss") == expected

    await eventually(is_followed)
