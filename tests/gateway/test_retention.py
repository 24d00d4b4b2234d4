"""What the garbage collector keeps, and that it deletes the rest of the real store, once, whatever dies in between."""

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.retention import Retention, Stored, superfluous
from shared.events import (
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointFile,
    CheckpointSaved,
    Event,
    ExperimentCompleted,
    GPUAllocated,
    MetricReported,
    TrialClosed,
    TrialEnd,
    TrialRequested,
)
from shared.ids import (
    AgentId,
    CheckpointId,
    ExperimentId,
    PoolId,
    allocation_id,
    trial_id,
)
from shared.log import append, envelope_of, last_of
from shared.objectstore import ObjectStore, checkpoint_key, manifest_key
from shared.subjects import event_filter
from tests.gateway.conftest import Api
from tests.support.eventually import eventually

AGENT = AgentId("a1")


def stored(number: int, trial: str = "t1", metric: float | None = None, epoch: int = 1) -> Stored:
    return Stored(checkpoint_id=f"c{number}", trial_id=trial, epoch=epoch, saved_seq=number, metric=metric)


def kept(checkpoints: Iterable[Stored], retention: Retention, needed: Iterable[str] = ()) -> set[str]:
    checkpoints = list(checkpoints)
    gone = superfluous(checkpoints, retention, set(needed))
    return {checkpoint.checkpoint_id for checkpoint in checkpoints} - set(gone)


def test_the_default_keeps_the_best_and_the_newest_of_each_trial() -> None:
    checkpoints = [
        stored(1, "t1", 0.5), stored(2, "t1", 0.2), stored(3, "t1", 0.4), stored(4, "t1"),
        stored(5, "t2", 0.1), stored(6, "t2", 0.1), stored(7, "t2", 0.3),
    ]  # fmt: skip
    assert kept(checkpoints, Retention()) == {"c2", "c4", "c5", "c7"}


def test_the_best_of_the_experiment_are_kept_beside_those_of_the_trials() -> None:
    checkpoints = [stored(1, "t1", 0.5), stored(2, "t1", 0.6), stored(3, "t2", 0.9), stored(4, "t2")]
    for experiment_best, expected in ((0, set()), (2, {"c1", "c2"}), (9, {"c1", "c2", "c3"})):
        only = Retention(save_experiment_best=experiment_best, save_trial_best=0, save_trial_latest=0)
        assert kept(checkpoints, only) == expected


def test_what_another_experiment_starts_from_is_kept() -> None:
    nothing = Retention(save_trial_best=0, save_trial_latest=0)
    assert kept([stored(1), stored(2)], nothing, needed={"c1"}) == {"c1"}


def test_what_an_earlier_attempt_stored_late_is_not_the_newest() -> None:
    checkpoints = [stored(1, epoch=1), stored(2, epoch=2), stored(3, epoch=1)]
    assert kept(checkpoints, Retention(save_trial_best=0)) == {"c2"}
    assert kept(checkpoints, Retention(save_trial_best=0, save_trial_latest=2)) == {"c2", "c3"}


counts = st.integers(0, 4)
many = st.lists(st.tuples(st.sampled_from(["t1", "t2", "t3"]), st.none() | st.integers(0, 3).map(float)), max_size=25)


@given(many=many, experiment_best=counts, trial_best=counts, trial_latest=counts)
def test_no_more_is_kept_than_allowed_and_collecting_again_changes_nothing(
    many: list[tuple[str, float | None]], experiment_best: int, trial_best: int, trial_latest: int
) -> None:
    checkpoints = [stored(number, trial, metric) for number, (trial, metric) in enumerate(many)]
    retention = Retention(
        save_experiment_best=experiment_best, save_trial_best=trial_best, save_trial_latest=trial_latest
    )
    left = kept(checkpoints, retention)
    num_trials = len({trial for trial, _ in many})
    assert len(left) <= experiment_best + num_trials * (trial_best + trial_latest)
    survivors = [checkpoint for checkpoint in checkpoints if checkpoint.checkpoint_id in left]
    assert kept(survivors, retention) == left
    for trial in {trial for trial, _ in many}:
        newest = [checkpoint.checkpoint_id for checkpoint in checkpoints if checkpoint.trial_id == trial]
        assert set(newest[len(newest) - trial_latest :] if trial_latest else []) <= left


class Story:
    """A trial's life as the other services tell it, with files in the store."""

    def __init__(self, api: Api, experiment_id: str) -> None:
        self.experiment_id = ExperimentId(experiment_id)
        self.trial_id = trial_id(self.experiment_id, 1)
        self.store = ObjectStore(api.settings.s3)
        self._api = api
        self._expected: dict[tuple[str, str], int] = {}

    def _common(self, epoch: int) -> dict[str, Any]:
        return {
            "trial_id": self.trial_id,
            "experiment_id": self.experiment_id,
            "allocation_id": allocation_id(self.trial_id, epoch),
            "epoch": epoch,
            "agent_id": AGENT,
        }

    async def say(self, event: Event) -> None:
        key = (event.rightful_writer, event.aggregate_id)
        envelope = envelope_of(event, writer=key[0], actor=key[0], correlation=self.experiment_id)
        self._expected[key] = await append(self._api.log, [envelope], expected=self._expected.get(key, 0))

    async def begin(self) -> None:
        await self.say(
            TrialRequested(
                experiment_id=self.experiment_id, trial_id=self.trial_id, index=1, hyperparameters={}, seed=1, slots=1,
                pool_id=PoolId("default"), origin="random",
            )
        )  # fmt: skip
        await self.allocate(1)

    async def allocate(self, epoch: int) -> None:
        await self.say(
            GPUAllocated(
                pool_id=PoolId("default"), allocation_id=allocation_id(self.trial_id, epoch), trial_id=self.trial_id,
                experiment_id=self.experiment_id, epoch=epoch, members=(),
            )
        )  # fmt: skip

    async def save(self, step: int, accuracy: float | None = None, epoch: int = 1) -> CheckpointId:
        checkpoint_id = CheckpointId(f"{self.trial_id}-a{epoch}-s{step}")
        if accuracy is not None:
            await self.say(MetricReported(**self._common(epoch), step=step, metrics={"accuracy": accuracy}))
        await self.store.put(checkpoint_key(checkpoint_id, "state/weights"), b"weights")
        await self.store.put(manifest_key(checkpoint_id), b"{}")
        file = CheckpointFile(path="state/weights", size_bytes=7, sha256="0" * 64)
        saved = CheckpointSaved(
            **self._common(epoch),
            checkpoint_id=checkpoint_id,
            step=step,
            world_size=1,
            zero_stage=None,
            files=(file,),
        )
        await self.say(saved)
        return checkpoint_id

    async def end(self) -> None:
        closed = TrialClosed(
            experiment_id=self.experiment_id, trial_id=self.trial_id, end=TrialEnd.COMPLETED, reason="done",
            metric=0.9, step=20,
        )  # fmt: skip
        await self.say(closed)
        await self.say(ExperimentCompleted(experiment_id=self.experiment_id, best_trial_id=None, best_metric=None))

    async def states(self) -> dict[str, str]:
        found = await self._api.get(f"/api/v1/experiments/{self.experiment_id}/checkpoints")
        return {item["id"].rpartition("-s")[2]: item["state"] for item in found["items"]}

    async def until(self, expected: dict[str, str]) -> None:
        async def are_shown() -> bool:
            return await self.states() == expected

        await eventually(are_shown, timeout_s=20)


async def test_when_an_experiment_ends_what_it_does_not_keep_is_deleted(api: Api) -> None:
    story = Story(api, (await api.submit())["id"])
    await story.begin()
    ids = {step: await story.save(step, accuracy) for step, accuracy in ((10, 0.5), (20, 0.9), (30, 0.7), (40, None))}
    await story.until(dict.fromkeys(("10", "20", "30", "40"), "ACTIVE"))
    await story.end()
    await story.until({"10": "DELETED", "20": "ACTIVE", "30": "DELETED", "40": "ACTIVE"})
    for step, is_there in ((10, False), (20, True), (30, False), (40, True)):
        assert await story.store.exists(checkpoint_key(ids[step], "state/weights")) is is_there
        assert await story.store.exists(manifest_key(ids[step])) is is_there
    late = await story.save(35)
    await story.until({"10": "DELETED", "20": "ACTIVE", "30": "DELETED", "40": "DELETED", "35": "ACTIVE"})
    deleted = await last_of(api.log, event_filter("gateway", "checkpoint", ids[40], CheckpointDeleted.__name__))
    assert deleted is not None and await story.store.exists(manifest_key(late))
    shown = await api.get(f"/api/v1/trials/{story.trial_id}")
    assert (shown["best_checkpoint_id"], shown["latest_checkpoint_id"]) == (ids[20], late)
    again = await api.get(f"/api/v1/checkpoints/{ids[10]}")
    assert again["reason"] == "the experiment has ended, and its checkpoint_storage keeps others"
    await api.get(f"/api/v1/checkpoints/{ids[10]}/archive", 404)


async def test_what_an_earlier_attempt_stores_late_is_not_what_the_trial_came_to(api: Api) -> None:
    """Nor is it among the best for what a later attempt reported at its step."""
    story = Story(api, (await api.submit())["id"])
    await story.begin()
    await story.save(10, 0.5)
    await story.allocate(2)
    newest = await story.save(30, 0.9, epoch=2)
    await story.save(40, 0.7, epoch=2)
    last = await story.save(20, 0.3, epoch=2)
    shown = dict.fromkeys(("10", "20", "30", "40"), "ACTIVE")
    await story.until(shown)
    await story.save(31, epoch=1)  # a restarted agent finishes what its predecessor left
    await story.until(shown | {"31": "ACTIVE"})
    trial = await api.get(f"/api/v1/trials/{story.trial_id}")
    assert (trial["latest_checkpoint_id"], trial["best_checkpoint_id"]) == (last, newest)
    await story.end()
    await story.until({"10": "DELETED", "20": "ACTIVE", "30": "ACTIVE", "31": "DELETED", "40": "DELETED"})
    late = await story.save(30, epoch=1)  # the step of the best validation, but another attempt's
    deleted = event_filter("gateway", "checkpoint", late, CheckpointDeleted.__name__)

    async def is_deleted() -> bool:
        return await last_of(api.log, deleted) is not None

    await eventually(is_deleted, timeout_s=20)
    assert await story.store.exists(manifest_key(newest))


async def test_a_trials_best_checkpoint_is_that_of_the_attempt_that_was_best(api: Api) -> None:
    story = Story(api, (await api.submit())["id"])
    await story.begin()
    best = await story.save(10, 0.9)
    await story.until({"10": "ACTIVE"})
    await story.allocate(2)
    newest = await story.save(10, 0.4, epoch=2)

    async def checkpoints() -> tuple[str, str]:
        trial = await api.get(f"/api/v1/trials/{story.trial_id}")
        return trial["best_checkpoint_id"], trial["latest_checkpoint_id"]

    async def are_shown() -> bool:
        return await checkpoints() == (best, newest)

    await eventually(are_shown, timeout_s=20)
    explanations = (await api.get(f"/api/v1/trials/{story.trial_id}/why"))["explanations"]
    assert [found["detail"]["checkpoint_id"] for found in explanations if found["topic"] == "best"] == [best]


async def test_a_user_deletes_what_no_open_trial_would_resume_from(api: Api) -> None:
    story = Story(api, (await api.submit())["id"])
    await story.begin()
    first, newest = await story.save(10), await story.save(20)
    await story.until({"10": "ACTIVE", "20": "ACTIVE"})
    problem = await api.post(f"/api/v1/checkpoints/{newest}/delete", 409)
    assert "is not over and would resume from it" in problem["detail"] + problem["title"]
    await api.post(f"/api/v1/checkpoints/{first}/delete", 202)
    await story.until({"10": "DELETED", "20": "ACTIVE"})
    await api.post(f"/api/v1/checkpoints/{first}/delete", 409)
    await api.post("/api/v1/checkpoints/none-1-a1-s1/delete", 404)
    assert not await story.store.exists(manifest_key(first))
    assert await last_of(api.log, event_filter(None, "checkpoint", first, CheckpointDeletionRequested.__name__))


async def test_an_experiment_starts_only_from_a_checkpoint_that_is_there_and_keeps_it(api: Api) -> None:
    config = "entrypoint: python t.py\nsearcher: {name: single, metric: accuracy, max_length: 5}\nresume_from: "
    problem = await api.submit(config + "none-1-a1-s1", status=422)
    assert problem["errors"][0]["path"] == "resume_from"
    story = Story(api, (await api.submit())["id"])
    await story.begin()
    needed, newest = await story.save(10), await story.save(20)
    await story.until({"10": "ACTIVE", "20": "ACTIVE"})
    await api.submit(config + needed)
    await api.post(f"/api/v1/checkpoints/{needed}/delete", 409)
    await story.end()
    await story.save(30)
    await story.until({"10": "ACTIVE", "20": "DELETED", "30": "ACTIVE"})
    problem = await api.submit(config + newest, status=422)
    assert "is DELETED" in problem["errors"][0]["message"]
