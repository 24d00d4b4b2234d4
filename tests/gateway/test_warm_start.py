"""A search that learns from others: what they have shown is recorded with its submission."""

from typing import Any

import pytest

from services.gateway.warm_start import most_telling
from shared import codec, log, subjects
from shared.events import ExperimentSubmitted
from tests.gateway.conftest import Api
from tests.gateway.test_access import as_, make_user
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


async def recorded(api: Api, experiment_id: str) -> Any:
    """The warm start on the log."""
    message = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", experiment_id))
    assert message is not None
    event = codec.decode(message.body).event
    assert isinstance(event, ExperimentSubmitted)
    return event.config["searcher"]["warm_start"]


async def test_what_other_experiments_have_shown_is_recorded_with_the_submission(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    shown = await api.get(f"/api/v1/experiments/{story.EXPERIMENT}/trials", min_seq=seq)
    completed = [trial for trial in shown["items"] if trial["state"] == "COMPLETED" and trial["metric"] is not None]
    submitted = await api.submit(CONFIG.format(metric="accuracy", experiment=story.EXPERIMENT))
    observations = (await recorded(api, submitted["id"]))["observations"]
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


async def test_a_fork_learns_what_its_origin_learnt_and_nothing_twice(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    config = CONFIG.format(metric="accuracy", experiment=story.EXPERIMENT) + "workspace: vision\n"
    origin = (await api.submit(config))["id"]
    learnt = (await recorded(api, origin))["observations"]
    path, experiments = f"/api/v1/experiments/{origin}/fork", "searcher.warm_start.experiments"
    same: tuple[dict[str, object], ...] = ({}, {"searcher.max_trials": 3}, {experiments: []})
    for changes in (*same, {experiments: [story.EXPERIMENT]}):
        made = await recorded(api, (await api.post(path, 201, json={"set": changes}))["id"])
        assert made["observations"] == learnt, changes
    more = {"searcher.warm_start.observations": learnt[:1]}
    made = await recorded(api, (await api.post(path, 201, json={"set": more}))["id"])
    assert made == {"experiments": [story.EXPERIMENT], "max_observations": 100, "observations": learnt}
    insider = await make_user(api, "insider", "editor", "vision")
    async with as_(insider) as http:
        theirs = Api(http=http, url=api.url, log=api.log, settings=api.settings)
        made = await recorded(api, (await theirs.post(path, 201, json={}))["id"])
        assert made["observations"] == learnt and made["experiments"] == []
        refused = await theirs.post(path, 422, json={"set": {experiments: [story.EXPERIMENT]}})
        assert refused["errors"][0]["path"] == "searcher.warm_start.experiments[0]"


async def test_what_was_learnt_about_one_metric_says_nothing_about_another(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    origin = (await api.submit(CONFIG.format(metric="accuracy", experiment=story.EXPERIMENT)))["id"]
    same = await api.post(f"/api/v1/experiments/{origin}/fork", 201, json={"set": {"searcher.metric": "accuracy"}})
    for forked in (origin, same["id"]):
        path = f"/api/v1/experiments/{forked}/fork"
        for changes in ({"searcher.metric": "loss"}, {"searcher.smaller_is_better": True}):
            refused = await api.post(path, 422, json={"set": changes})
            assert refused["errors"][0]["path"] == "searcher.warm_start"
            assert "about accuracy, of which larger is better" in refused["errors"][0]["message"]
        made = await api.post(path, 201, json={"set": {"searcher.metric": "loss", "searcher.warm_start": None}})
        assert made["searcher"]["metric"] == "loss"


@pytest.mark.parametrize("smaller_is_better", [True, False])
def test_of_many_observations_the_best_and_some_of_all_others_are_kept(*, smaller_is_better: bool) -> None:
    observations: list[dict[str, object]] = [{"hyperparameters": {}, "metric": float(number)} for number in range(100)]
    told = [float(str(one["metric"])) for one in most_telling(observations, 10, smaller_is_better=smaller_is_better)]
    best = list(range(5)) if smaller_is_better else list(range(99, 94, -1))
    assert told[:5] == best
    assert len(set(told)) == 10
    assert max(told) - min(told) > 75
    assert most_telling(observations, 100, smaller_is_better=True) == observations
