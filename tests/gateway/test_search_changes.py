"""What people change about a live search, and what its trials show: real log, database and object store."""

from shared import codec, log, subjects
from shared.config import parse_experiment
from shared.events import ExperimentCompleted, SearchLimitsSet, TrialCanceled
from tests.gateway.conftest import CONFIG, Api
from tests.tracker import story

HALVING = "entrypoint: x\nsearcher: {name: asha, metric: accuracy, num_rungs: 2, max_trials: 4, max_length: 8}"


async def test_a_live_searchs_limits_are_changed_by_an_event(api: Api) -> None:
    experiment = (await api.submit())["id"]
    path = f"/api/v1/experiments/{experiment}/search"
    changed = await api.post(path, params={"max_trials": "5", "max_concurrent_trials": "3"})
    assert (changed["searcher"]["max_trials"], changed["searcher"]["max_concurrent_trials"]) == (5, 3)
    message = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", experiment))
    assert message is not None
    assert codec.decode(message.body).event == SearchLimitsSet(
        experiment_id=experiment, max_trials=5, max_concurrent_trials=3
    )
    changed = await api.post(path, params={"max_concurrent_trials": "1"})
    assert (changed["searcher"]["max_trials"], changed["searcher"]["max_concurrent_trials"]) == (5, 1)
    before = await api.get(f"/api/v1/experiments/{experiment}", as_of=message.seq)
    assert before["searcher"]["max_concurrent_trials"] == 3


async def test_what_people_ask_of_the_experiment_is_not_disturbed_by_its_limits(api: Api) -> None:
    experiment = (await api.submit())["id"]
    await api.post(f"/api/v1/experiments/{experiment}/pause")
    await api.post(f"/api/v1/experiments/{experiment}/search", params={"max_trials": "5"})
    await api.post(f"/api/v1/experiments/{experiment}/pause", 409)
    await api.post(f"/api/v1/experiments/{experiment}/resume")
    await api.post(f"/api/v1/experiments/{experiment}/cancel")
    await api.post(f"/api/v1/experiments/{experiment}/search", 409, params={"max_trials": "6"})


async def test_limits_that_make_no_sense_are_refused_with_the_reason(api: Api) -> None:
    experiment = (await api.submit())["id"]
    path = f"/api/v1/experiments/{experiment}/search"
    await api.post(path, 400)
    await api.post(path, 400, params={"max_trials": "0"})
    await api.post("/api/v1/experiments/nobody/search", 404, params={"max_trials": "3"})
    single = CONFIG.replace("random", "single").replace(", max_trials: 2", "")
    path = f"/api/v1/experiments/{(await api.submit(single))['id']}/search"
    problem = await api.post(path, 422, params={"max_trials": "2"})
    assert problem["errors"][0]["path"] == "max_trials"
    assert problem["errors"][0]["message"] == "cannot be changed: a single search has one trial"


async def test_a_trial_is_canceled_by_an_event_of_its_own_once(api: Api) -> None:
    seq = await story.tell(api.log, [story.submitted(), story.requested(1), story.requested(2)])
    await api.get(f"/api/v1/trials/{story.trial(1)}", min_seq=seq)
    path = f"/api/v1/trials/{story.trial(1)}/cancel"
    shown = await api.post(path)
    assert shown["reason"] == "canceled by a user"
    await api.post(path)
    message = await log.last_of(api.log, subjects.aggregate_subject("gateway", "trial", story.trial(1)))
    assert message is not None and message.seq == seq + 1
    event = codec.decode(message.body).event
    assert event == TrialCanceled(trial_id=story.trial(1), experiment_id=story.EXPERIMENT)
    await api.post(f"/api/v1/trials/{story.EXPERIMENT}-99/cancel", 404)


async def test_a_trial_that_is_over_cannot_be_canceled(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/trials/{story.trial(1)}", min_seq=seq)
    problem = await api.post(f"/api/v1/trials/{story.trial(1)}/cancel", 409)
    assert "it is COMPLETED" in problem["detail"]


async def test_a_trial_that_waits_for_its_rung_says_so(api: Api) -> None:
    life = [story.requested(1), story.allocated(1), story.exited(1), story.released(1)]
    searcher = parse_experiment(HALVING).searcher.model_dump(mode="json")
    seq = await story.tell(api.log, [story.submitted(searcher=searcher), *life])
    shown = await api.get(f"/api/v1/trials/{story.trial(1)}", min_seq=seq)
    assert (shown["state"], shown["reason"]) == ("PARKED", "trained to its target; waits for its rung")
    assert (await api.get("/api/v1/queue"))["items"] == []
    assert (await api.get(f"/api/v1/experiments/{story.EXPERIMENT}"))["trials"]["waiting"] == 1


async def test_a_search_that_ended_early_shows_why(api: Api) -> None:
    ended = ExperimentCompleted(
        experiment_id=story.EXPERIMENT, best_trial_id=None, best_metric=None, reason="trial 1 reached the goal"
    )
    seq = await story.tell(api.log, [story.submitted(), ended])
    shown = await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    assert (shown["state"], shown["reason"]) == ("COMPLETED", "trial 1 reached the goal")
