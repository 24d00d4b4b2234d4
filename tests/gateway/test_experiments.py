"""From a submission to what people see of it: real log, database and object store."""

import asyncio
import tarfile

from shared import codec, log, subjects
from shared.events import ExperimentSubmitted, JobMoved
from shared.ids import ExperimentId
from shared.objectstore import ObjectStore, code_key
from tests.gateway.conftest import CONFIG, Api, archive, form
from tests.tracker import story


async def test_a_submission_is_on_the_log_in_the_store_and_in_the_answer(api: Api) -> None:
    shown = await api.submit()
    message = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", shown["id"]))
    assert message is not None and message.seq == shown["seq"]
    envelope = codec.decode(message.body)
    assert isinstance(envelope.event, ExperimentSubmitted) and envelope.actor == "admin"
    assert isinstance(envelope.event.config["reproducibility"]["experiment_seed"], int)
    assert (shown["state"], shown["progress"], shown["trials"]["total"]) == ("ACTIVE", 0.0, 0)
    method = {"name": "random", "metric": "accuracy", "smaller_is_better": False}
    assert shown["searcher"] == {**method, "max_trials": 2, "max_concurrent_trials": 16}
    detail = await api.get(f"/api/v1/experiments/{shown['id']}")
    assert detail["config"] == envelope.event.config


async def test_code_that_is_stored_already_is_not_sent_again(api: Api) -> None:
    first = await api.submit()
    message = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", first["id"]))
    assert message is not None
    event = codec.decode(message.body).event
    assert isinstance(event, ExperimentSubmitted)
    store = ObjectStore(api.settings.s3)
    assert await store.get(code_key(event.code_sha256)) == archive()
    await store.put(code_key(event.code_sha256), b"marked")
    assert (await api.submit())["id"] != first["id"]
    assert await store.get(code_key(event.code_sha256)) == b"marked"


async def test_a_bad_file_is_refused_with_every_mistake_and_its_path(api: Api) -> None:
    bad = "entrypoint: train.py\nmax_restart: 2\nsearcher: {name: random, metric: accuracy, max_trails: 3}\n"
    problem = await api.submit(bad, status=422)
    paths = {error["path"] for error in problem["errors"]}
    assert problem["status"] == 422 and {"max_restart", "searcher.max_trails"} <= paths
    assert await log.last_of(api.log, subjects.ALL_EVENTS) is None


async def test_hostile_archives_are_refused(api: Api) -> None:
    for code in (archive("../evil.py"), archive("/evil.py"), archive("link", b"", tarfile.SYMTYPE), b"no archive"):
        problem = await api.submit(code=code, status=422)
        assert "archive" in problem["detail"]


async def test_a_form_with_mistakes_is_a_problem_of_the_client(api: Api) -> None:
    await api.post("/api/v1/experiments", 415, json={"config": CONFIG})
    await api.post("/api/v1/experiments", 400, data=form(CONFIG, b"x", "other"))
    broken = {"Content-Type": "multipart/form-data"}
    for headers, body in ((broken, b"x"), ({"Content-Type": "multipart/form-data; boundary=b"}, b"--c\r\n\r\n")):
        await api.post("/api/v1/experiments", 400, data=body, headers=headers)
    await api.submit("x" * (1024 * 1024 + 1), status=413)


async def test_what_no_pool_can_ever_run_is_refused_with_both_numbers(api: Api) -> None:
    seq = await story.tell(api.log, [story.agent_joined(num_slots=2)])
    await api.get("/api/v1/agents", min_seq=seq)
    problem = await api.submit(f"{CONFIG}\nresources: {{slots_per_trial: 3}}", status=422)
    assert problem["errors"][0]["path"] == "resources.slots_per_trial"
    assert "3 slots" in problem["errors"][0]["message"] and "2" in problem["errors"][0]["message"]
    problem = await api.submit(f"{CONFIG}\nresources: {{resource_pool: a100}}", status=422)
    assert problem["errors"][0]["suggestion"] == "known pools: default"


async def test_pausing_resuming_and_canceling_follow_the_state(api: Api) -> None:
    path = f"/api/v1/experiments/{(await api.submit())['id']}"
    assert "is active already" in (await api.post(f"{path}/resume", 409))["detail"]
    assert (await api.post(f"{path}/pause"))["state"] == "PAUSED"
    assert "paused already" in (await api.post(f"{path}/pause", 409))["detail"]
    assert (await api.post(f"{path}/resume"))["state"] == "ACTIVE"
    assert (await api.post(f"{path}/cancel"))["state"] == "CANCELED"
    for wish in ("pause", "resume", "cancel"):
        await api.post(f"{path}/{wish}", 409)


async def test_of_many_who_pause_at_once_one_does(api: Api) -> None:
    path = f"/api/v1/experiments/{(await api.submit())['id']}/pause"

    async def pause() -> int:
        async with api.http.post(f"{api.url}{path}") as response:
            return response.status

    assert sorted(await asyncio.gather(*(pause() for _ in range(8)))) == [200] + 7 * [409]


async def test_trials_that_wait_or_train_without_a_known_end_are_no_progress(api: Api) -> None:
    for number, searcher in enumerate(({"max_length": {"batches": 100}}, {})):
        experiment_id = ExperimentId(f"m000000{number}")
        base = {"name": "random", "metric": "accuracy", "smaller_is_better": False, "max_trials": 2}
        asked = [
            story.submitted(experiment_id, searcher=base | searcher),
            story.requested(1, experiment_id=experiment_id),
        ]
        seq = await story.tell(api.log, asked)
        shown = await api.get(f"/api/v1/experiments/{experiment_id}", min_seq=seq)
        assert (shown["trials"]["waiting"], shown["progress"]) == (1, 0.0)


async def test_a_finished_search_shows_its_best_trial_and_checkpoint(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    shown = await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    assert (shown["state"], shown["progress"], shown["trials"]["completed"]) == ("COMPLETED", 1.0, 2)
    assert shown["best"] == {
        "trial_id": story.trial(1),
        "metric": 0.9,
        "step": 20,
        "hyperparameters": {"lr": 0.1},
        "checkpoint_id": f"{story.trial(1)}-a1-s20",
    }
    assert (
        "cannot be paused: it has completed"
        in (await api.post(f"/api/v1/experiments/{story.EXPERIMENT}/pause", 409))["detail"]
    )
    trial = await api.get(f"/api/v1/trials/{story.trial(2)}")
    assert (trial["metric"], trial["best_step"], trial["step"]) == (0.6, 10, 15)
    assert trial["best_checkpoint_id"] == trial["latest_checkpoint_id"] == f"{story.trial(2)}-a1-s15"
    metrics = await api.get(f"/api/v1/experiments/{story.EXPERIMENT}/metrics", name="accuracy")
    assert [series["points"] for series in metrics["series"]] == [[[10, 0.5], [20, 0.9], [30, 0.8]], [[10, 0.6]]]


async def test_lists_come_in_pages(api: Api) -> None:
    newest = [(await api.submit())["id"] for _ in range(3)][::-1]
    first = await api.get("/api/v1/experiments", limit=2)
    rest = await api.get("/api/v1/experiments", limit=2, cursor=first["next_cursor"])
    assert [item["id"] for item in first["items"] + rest["items"]] == newest and rest["next_cursor"] is None
    seq = await story.tell(api.log, story.whole_search())
    path = f"/api/v1/experiments/{story.EXPERIMENT}/trials"
    page = await api.get(path, limit=1, min_seq=seq)
    assert [item["index"] for item in page["items"]] == [1] and page["next_cursor"]
    assert [item["index"] for item in (await api.get(path, cursor=page["next_cursor"]))["items"]] == [2]


async def test_a_running_search_shows_its_slots(api: Api) -> None:
    seq = await story.tell(
        api.log, [story.agent_joined(2), story.submitted(), story.requested(1), story.requested(2, 2)]
    )
    queue = await api.get("/api/v1/queue", min_seq=seq)
    assert [(item["position"], item["reason"], item["detail"]) for item in queue["items"]] == [
        (1, "the scheduler does not answer", None),
        (2, "the scheduler does not answer", None),
    ]
    assert queue["position"] is None
    seq = await story.tell(api.log, [story.allocated(1)])
    agents = (await api.get("/api/v1/agents", min_seq=seq))["items"]
    assert [slot["trial_id"] for slot in agents[0]["slots"]] == [story.trial(1), None]
    trial = await api.get(f"/api/v1/trials/{story.trial(1)}")
    assert (trial["state"], trial["agents"]) == ("RUNNING", [{"agent_id": "a1", "slots": [0]}])


async def test_the_queue_is_changed_by_events_of_the_job(api: Api) -> None:
    one, two = (await api.submit())["id"], (await api.submit())["id"]
    path = f"/api/v1/experiments/{two}/queue"
    await api.post(path, params={"priority": "7"})
    await api.post(path, params={"ahead_of": one})
    message = await log.last_of(api.log, subjects.aggregate_subject("gateway", "job", two))
    assert message is not None
    assert codec.decode(message.body).event == JobMoved(experiment_id=two, beside_id=one, ahead=True)
    await api.post(path, 400, params={"priority": "100"})
    await api.post(path, 400)
    await api.post(path, 404, params={"behind": "nobody"})
    await api.post(path, 409, params={"behind": two})
    await api.post(f"/api/v1/experiments/{two}/pause")  # what people ask of the experiment itself is not disturbed
    await api.post(f"/api/v1/experiments/{two}/cancel")
    await api.post(path, 409, params={"weight": "2"})
