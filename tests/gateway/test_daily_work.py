"""Workspaces, forks, the archive, deletion, moves, many at once: real log, database and object store."""

import asyncio
from typing import Any

from services.gateway.filing import MAX_LABELS
from shared import codec, log, subjects
from shared.events import ExperimentDescribed, ExperimentStopped, ExperimentSubmitted
from shared.objectstore import ObjectStore, checkpoint_key
from tests.gateway.conftest import CONFIG, Api
from tests.gateway.test_access import as_, make_user
from tests.support.eventually import eventually
from tests.tracker import story

ONE = f"/api/v1/experiments/{story.EXPERIMENT}"


async def patch(api: Api, path: str, status: int = 200, headers: dict[str, str] | None = None, **body: Any) -> Any:
    async with api.http.patch(f"{api.url}{path}", json=body, headers=headers) as response:
        assert response.status == status, await response.text()
        return await response.json(content_type=None)


async def over(api: Api) -> int:
    """A search that is over, and the newest event's sequence."""
    seq = await story.tell(api.log, story.whole_search())
    await api.get(ONE, min_seq=seq)
    return seq


async def test_a_workspace_is_made_listed_closed_and_opened(api: Api) -> None:
    made = await api.post("/api/v1/workspaces", 201, json={"name": "vision", "description": "what sees"})
    assert (made["id"], made["created_by"], made["archived"]) == ("vision", "admin", False)
    await api.post("/api/v1/workspaces", 409, json={"name": "vision"})
    project = await api.post("/api/v1/workspaces/vision/projects", 201, json={"name": "digits"})
    await api.post("/api/v1/workspaces/vision/projects", 409, json={"name": "digits"})
    submitted = await api.submit(CONFIG + "workspace: vision\nproject: digits\n")
    assert (submitted["workspace"], submitted["project"], submitted["owner"]) == ("vision", "digits", "admin")
    assert (await api.get(f"/api/v1/projects/{project['id']}"))["experiments"] == 1
    await api.submit(CONFIG + "workspace: Speech Team\n")  # a workspace begins with its first experiment, too
    page = await api.get("/api/v1/workspaces", limit=1)
    assert [item["name"] for item in page["items"]] == ["Speech Team"]
    page = await api.get("/api/v1/workspaces", limit=1, cursor=page["next_cursor"])
    assert [(item["name"], item["projects"], item["experiments"]) for item in page["items"]] == [("vision", 1, 1)]
    assert page["next_cursor"] is None
    await api.post("/api/v1/workspaces/vision/archive")
    await api.post("/api/v1/workspaces/vision/archive", 409)
    refused = await api.submit(CONFIG + "workspace: vision\n", status=422)
    assert [error["path"] for error in refused["errors"]] == ["workspace"]
    await api.post("/api/v1/workspaces/vision/unarchive")
    await api.post(f"/api/v1/projects/{project['id']}/archive")
    await api.submit(CONFIG + "workspace: vision\nproject: digits\n", status=422)
    await api.submit(CONFIG + "workspace: vision\n")


async def test_an_experiment_is_described_by_events_and_its_past_keeps_the_old_words(api: Api) -> None:
    experiment = await api.submit()
    path = f"/api/v1/experiments/{experiment['id']}"
    shown = await patch(api, path, labels=["b", "a", "b"], notes="promising")
    assert shown["labels"] == ["b", "a"] and shown["notes"] == "promising" and shown["name"] == "digits"
    shown = await patch(api, path, name="digits 2")
    assert shown["name"] == "digits 2" and shown["labels"] == ["b", "a"]
    message = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", experiment["id"]))
    assert message is not None
    assert codec.decode(message.body).event == ExperimentDescribed(experiment_id=experiment["id"], name="digits 2")
    before = await api.get(path, as_of=experiment["seq"])
    assert before["name"] == "digits" and before["labels"] == [] and before["notes"] == ""
    await patch(api, path, 422)
    answer = await patch(api, path, 422, labels=[""], name="", colour="red")
    assert {error["path"] for error in answer["errors"]} == {"labels", "name", "colour"}


async def test_a_change_that_expects_another_state_is_refused(api: Api) -> None:
    experiment = await api.submit()
    path = f"/api/v1/experiments/{experiment['id']}"
    seen = {"If-Match": f'"{experiment["seq"]}"'}
    await patch(api, path, headers=seen, notes="first")
    await patch(api, path, 412, headers=seen, notes="second")
    await patch(api, path, headers={"If-Match": "*"}, notes="third")
    await patch(api, path, 400, headers={"If-Match": "latest"}, notes="fourth")
    assert (await api.get(path))["notes"] == "third"


async def test_what_is_over_is_archived_and_comes_back(api: Api) -> None:
    live = (await api.submit())["id"]
    await api.post(f"/api/v1/experiments/{live}/archive", 409)
    await over(api)
    assert (await api.post(f"{ONE}/archive"))["archived"] is True
    assert [item["id"] for item in (await api.get("/api/v1/experiments"))["items"]] == [live]
    assert (await api.post(f"{ONE}/unarchive"))["archived"] is False
    assert len((await api.get("/api/v1/experiments"))["items"]) == 2


async def test_a_deleted_experiment_loses_its_checkpoints_and_nothing_starts_from_them(api: Api) -> None:
    seq = await over(api)
    store = ObjectStore(api.settings.s3)
    checkpoint = (await api.get(f"{ONE}/checkpoints", min_seq=seq))["items"][-1]["id"]
    await store.put(checkpoint_key(checkpoint, "state/model.pt"), b"x")
    heir = (await api.submit(CONFIG + f"resume_from: {checkpoint}\n"))["id"]
    refused = await api.post(f"{ONE}/delete", 409)
    assert heir in refused["errors"][0]["message"]
    await api.post(f"/api/v1/experiments/{heir}/cancel")
    seq = await story.tell(api.log, [ExperimentStopped(experiment_id=heir)])
    await api.get(f"/api/v1/experiments/{heir}", min_seq=seq)
    assert (await api.post(f"{ONE}/delete", 202))["deletion"] == "REQUESTED"
    await api.post(f"{ONE}/delete", 409)

    async def is_gone() -> bool:
        return bool((await api.get(ONE))["deletion"] == "DONE")

    await eventually(is_gone)
    states = {item["state"] for item in (await api.get(f"{ONE}/checkpoints"))["items"]}
    assert states == {"DELETED"}
    assert not await store.exists(checkpoint_key(checkpoint, "state/model.pt"))
    assert story.EXPERIMENT not in [item["id"] for item in (await api.get("/api/v1/experiments"))["items"]]
    await patch(api, ONE, 409, notes="too late")


async def test_an_experiment_moves_between_projects_and_when_over_between_workspaces(api: Api) -> None:
    live = (await api.submit(CONFIG + "workspace: vision\n"))["id"]
    path = f"/api/v1/experiments/{live}/move"
    assert (await api.post(path, json={"project": "digits"}))["project"] == "digits"
    await api.post(path, 409, json={"workspace": "speech"})
    await over(api)
    moved = await api.post(f"{ONE}/move", json={"workspace": "speech", "project": "words"})
    assert (moved["workspace"], moved["project"]) == ("speech", "words")
    insider = await make_user(api, "insider", "editor", "vision")
    async with as_(insider) as http:
        async with http.get(f"{api.url}{ONE}") as response:
            assert response.status == 404
        async with http.post(f"{api.url}{path}", json={"workspace": "speech"}) as response:
            assert response.status == 403, "nothing goes where one may not put it"


async def test_a_fork_takes_file_and_code_with_changes_and_starts_from_a_checkpoint(api: Api) -> None:
    origin = await api.submit(CONFIG + "workspace: vision\nproject: digits\n")
    path = f"/api/v1/experiments/{origin['id']}/fork"
    seq = await over(api)
    checkpoint = (await api.get(f"{ONE}/checkpoints", min_seq=seq))["items"][-1]["id"]
    body = {"set": {"searcher.max_trials": 5, "hyperparameters.lr": 0.1}, "checkpoint": checkpoint}
    made = await api.post(path, 201, json=body)
    assert made["forked_from"] == origin["id"] and made["searcher"]["max_trials"] == 5
    assert (made["workspace"], made["project"]) == ("vision", "digits")
    shown = await api.get(f"/api/v1/experiments/{made['id']}")
    assert shown["config"]["resume_from"] == checkpoint
    assert shown["config"]["hyperparameters"] == {"lr": {"type": "const", "val": 0.1}}
    events = [await submission(api, one) for one in (origin["id"], made["id"])]
    assert events[0].code_sha256 == events[1].code_sha256
    refused = await api.post(path, 422, json={"set": {"searcher.max_trials": 0, "colour": "red"}})
    assert {error["path"] for error in refused["errors"]} == {"searcher.max_trials", "colour"}
    await api.post(path, 422, json={"set": {"no.such.thing": 1}})
    await api.post("/api/v1/experiments/nobody/fork", 404, json={})


async def test_one_trial_is_trained_on(api: Api) -> None:
    origin = (await api.submit())["id"]
    told = [story.requested(1, experiment_id=origin)]
    await api.get(f"/api/v1/experiments/{origin}", min_seq=await story.tell(api.log, told))
    made = await api.post(f"/api/v1/experiments/{origin}/fork", 201, json={"trial": f"{origin}-1", "name": "on"})
    assert made["searcher"]["name"] == "single" and made["name"] == "on"
    await over(api)
    answer = await api.post(f"/api/v1/experiments/{origin}/fork", 422, json={"trial": story.trial(1)})
    assert answer["errors"][0]["path"] == "trial"


async def test_many_are_changed_at_once_and_each_outcome_is_told(api: Api) -> None:
    live = (await api.submit())["id"]
    await over(api)
    body = {"action": "archive", "ids": [story.EXPERIMENT, live, "nobody"]}
    answer = await api.post("/api/v1/experiments/bulk", json=body)
    assert [(item["id"], item["status"]) for item in answer["items"]] == [
        (story.EXPERIMENT, 200),
        (live, 409),
        ("nobody", 404),
    ]
    assert answer["num_failed"] == 2 and "ACTIVE" in answer["items"][1]["detail"]
    body = {"action": "label", "ids": [live, story.EXPERIMENT], "add": ["x"], "remove": ["demo"]}
    assert (await api.post("/api/v1/experiments/bulk", json=body))["num_failed"] == 0
    assert (await api.get(ONE))["labels"] == ["x"] and (await api.get(ONE))["archived"]
    await api.post("/api/v1/experiments/bulk", json={"action": "cancel", "ids": [live]})
    assert (await api.get(f"/api/v1/experiments/{live}"))["state"] == "CANCELED"
    outsider = await make_user(api, "outsider", "editor", "speech")
    async with as_(outsider) as http:
        body = {"action": "unarchive", "ids": [story.EXPERIMENT]}
        async with http.post(f"{api.url}/api/v1/experiments/bulk", json=body) as response:
            assert [item["status"] for item in (await response.json())["items"]] == [404]


async def test_nothing_is_learnt_of_other_workspaces_by_starting_from_them(api: Api) -> None:
    bayesian = "searcher: {name: bayesian, metric: accuracy, smaller_is_better: false, max_trials: 2"
    secret = (await api.submit(CONFIG + "workspace: speech\n"))["id"]
    seq = await over(api)
    checkpoint = (await api.get(f"{ONE}/checkpoints", min_seq=seq))["items"][-1]["id"]
    head = "name: x\nentrypoint: x\nworkspace: vision\nhyperparameters: {lr: {type: log, minval: -4, maxval: -1}}\n"
    warm = f"{head}{bayesian}, warm_start: {{experiments: [{secret}]}}}}\n"
    resumed = f"{head}{bayesian}}}\nresume_from: {checkpoint}\n"
    insider = await make_user(api, "insider", "editor", "vision")
    for config, path in ((warm, "searcher.warm_start.experiments[0]"), (resumed, "resume_from")):
        async with as_(insider) as http:
            theirs = Api(http=http, url=api.url, log=api.log, settings=api.settings)
            refused = await theirs.submit(config, status=422)
            assert [error["path"] for error in refused["errors"]] == [path]
            assert "there is no" in refused["errors"][0]["message"]
        await api.submit(config)


async def test_labels_that_many_add_at_a_time_are_all_kept_up_to_so_many(api: Api) -> None:
    one = (await api.submit())["id"]

    async def add(*labels: str) -> Any:
        body = {"action": "label", "ids": [one], "add": list(labels)}
        return (await api.post("/api/v1/experiments/bulk", json=body))["items"][0]

    outcomes = await asyncio.gather(*(add(f"l{number}") for number in range(4)))
    kept = {f"l{number}" for number, outcome in enumerate(outcomes) if outcome["status"] == 200}
    assert len(kept) >= 2 and {outcome["status"] for outcome in outcomes} <= {200, 409}
    assert set((await api.get(f"/api/v1/experiments/{one}"))["labels"]) == kept
    refused = await add(*(f"m{number}" for number in range(MAX_LABELS)))
    assert refused["status"] == 422 and "too many labels" in refused["detail"]
    assert set((await api.get(f"/api/v1/experiments/{one}"))["labels"]) == kept


async def submission(api: Api, experiment_id: str) -> ExperimentSubmitted:
    subject = subjects.event_filter("gateway", "experiment", experiment_id, "ExperimentSubmitted")
    message = await log.last_of(api.log, subject)
    assert message is not None
    event = codec.decode(message.body).event
    assert isinstance(event, ExperimentSubmitted)
    return event
