"""A search that learns from others: what they have shown is recorded with its submission."""

import pytest

from services.gateway.warm_start import most_telling
from shared import codec, log, subjects
from shared.events import ExperimentSubmitted
from tests.gateway.conftest import Api
from tests.tracker import story

CONFIG = """
entrypoint: python train.py
hyperparameters: {{lr: {{type: log, minval: -4, maxval: -1}}}}
searcher:
  name: bayesian
  metric: {metric}
  smaller_is_better: false
  max_trials: 4
  warm_start: {{experiments: [{experiment}]}}
"""


async def test_what_other_experiments_have_shown_is_recorded_with_the_submission(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    shown = await api.get(f"/api/v1/experiments/{story.EXPERIMENT}/trials", min_seq=seq)
    completed = [trial for trial in shown["items"] if trial["state"] == "COMPLETED" and trial["metric"] is not None]
    submitted = await api.submit(CONFIG.format(metric="accuracy", experiment=story.EXPERIMENT))
    message = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", submitted["id"]))
    assert message is not None
    event = codec.decode(message.body).event
    assert isinstance(event, ExperimentSubmitted)
    observations = event.config["searcher"]["warm_start"]["observations"]
    assert [one["metric"] for one in observations] == [trial["metric"] for trial in completed]
    assert [one["hyperparameters"] for one in observations] == [trial["hyperparameters"] for trial in completed]
    assert observations


async def test_a_warm_start_names_experiments_with_the_same_metric(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    for metric, experiment, message in (
        ("accuracy", "nobody", "there is no experiment nobody"),
        ("loss", story.EXPERIMENT, "its metric is accuracy"),
    ):
        problem = await api.submit(CONFIG.format(metric=metric, experiment=experiment), status=422)
        assert problem["errors"][0]["path"] == "searcher.warm_start.experiments[0]"
        assert problem["errors"][0]["message"].startswith(message)


@pytest.mark.parametrize("smaller_is_better", [True, False])
def test_of_many_observations_the_best_and_some_of_all_others_are_kept(*, smaller_is_better: bool) -> None:
    observations: list[dict[str, object]] = [{"hyperparameters": {}, "metric": float(number)} for number in range(100)]
    told = [float(str(one["metric"])) for one in most_telling(observations, 10, smaller_is_better=smaller_is_better)]
    best = list(range(5)) if smaller_is_better else list(range(99, 94, -1))
    assert told[:5] == best
    assert len(set(told)) == 10
    assert max(told) - min(told) > 75
    assert most_telling(observations, 100, smaller_is_better=True) == observations
