"""What may be asked: pure rules."""

import pytest

from services.gateway import guard
from services.gateway.decide import (
    Intent,
    admit,
    check_job,
    check_precision,
    job_event,
    state_after,
)
from services.gateway.views.experiments import ExperimentState
from shared.errors import Rejected
from shared.events import (
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentSubmitted,
    JobEvent,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
)
from shared.ids import ExperimentId, PoolId
from shared.log import Recorded, envelope_of

ID = ExperimentId("k3f9x2ab")
OTHER = ExperimentId("other")
COMPLETED = ExperimentCompleted(experiment_id=ID, best_trial_id=None, best_metric=None)
SUBMITTED = ExperimentSubmitted(experiment_id=ID, name="x", config={}, code_sha256="", code_bytes=0)


def at(seq: int, event: Event) -> Recorded:
    """An event on the log."""
    return Recorded(seq=seq, envelope=envelope_of(event, writer="test", actor="test", correlation=ID))


@pytest.mark.parametrize(
    ("asked", "ended", "state"),
    [
        (at(1, SUBMITTED), None, ExperimentState.ACTIVE),
        (at(2, ExperimentPaused(experiment_id=ID)), None, ExperimentState.PAUSED),
        (at(3, ExperimentResumed(experiment_id=ID)), None, ExperimentState.ACTIVE),
        (at(1, SUBMITTED), at(9, COMPLETED), ExperimentState.COMPLETED),
        (at(8, ExperimentCanceled(experiment_id=ID)), at(9, COMPLETED), ExperimentState.CANCELED),
        (at(9, ExperimentCanceled(experiment_id=ID)), at(8, COMPLETED), ExperimentState.COMPLETED),
    ],
)
def test_the_state_follows_from_the_newest_events(
    asked: Recorded, ended: Recorded | None, state: ExperimentState
) -> None:
    assert state_after(asked, ended) is state


GRANTED = {
    (ExperimentState.ACTIVE, Intent.PAUSE): ExperimentPaused,
    (ExperimentState.PAUSED, Intent.RESUME): ExperimentResumed,
    (ExperimentState.ACTIVE, Intent.CANCEL): ExperimentCanceled,
    (ExperimentState.PAUSED, Intent.CANCEL): ExperimentCanceled,
}


@pytest.mark.parametrize("state", ExperimentState)
@pytest.mark.parametrize("intent", Intent)
def test_each_wish_is_granted_in_its_states_only(state: ExperimentState, intent: Intent) -> None:
    if (state, intent) in GRANTED:
        assert admit(state, intent, ID) == GRANTED[state, intent](experiment_id=ID)
    else:
        with pytest.raises(Rejected, match=f"experiment {ID} cannot be") as refused:
            admit(state, intent, ID)
        assert refused.value.status == 409


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "10.1.2.3:80", "gateway:8080"])
def test_our_own_names_and_addresses_are_served(host: str) -> None:
    assert guard.complaint("GET", {"Host": host}, frozenset({"localhost", "gateway"})) is None


def test_a_published_name_is_one_of_ours() -> None:
    names = guard.own_names("0.0.0.0", frozenset({"train.example"}))
    assert guard.complaint("POST", {"Host": "train.example", "Origin": "https://train.example"}, names) is None
    assert guard.complaint("GET", {"Host": "other.example"}, names) is not None


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://Train.example:443", "train.example", True),
        ("http://train.example", "TRAIN.example:80", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://127.0.0.1:8081", "127.0.0.1:8080", False),
        ("https://train.example", "train.example:80", False),
        ("https://evil.example", "train.example", False),
        ("null", "train.example", False),
        ("null", "", False),
        ("http://[", "train.example", False),
        ("http://train.example:x", "train.example", False),
    ],
)
def test_an_origin_is_compared_as_what_it_stands_for(origin: str, host: str, *, same: bool) -> None:
    assert guard.names_same(origin, host) is same


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example", "[::1"])
def test_other_names_are_refused(host: str) -> None:
    assert guard.complaint("GET", {"Host": host}, frozenset({"localhost"})) is not None


def test_one_thing_is_changed_about_a_job_at_a_time() -> None:
    assert job_event(ID, priority=3) == JobPrioritySet(experiment_id=ID, priority=3)
    assert job_event(ID, weight=2.0) == JobWeightSet(experiment_id=ID, weight=2.0)
    assert job_event(ID, max_slots=4) == JobMaxSlotsSet(experiment_id=ID, max_slots=4)
    assert job_event(ID, pool="h200") == JobPoolSet(experiment_id=ID, pool_id=PoolId("h200"))
    assert job_event(ID, behind="other") == JobMoved(experiment_id=ID, beside_id=OTHER, ahead=False)
    with pytest.raises(Rejected, match="exactly one"):
        job_event(ID)
    with pytest.raises(Rejected, match="exactly one"):
        job_event(ID, weight=float("nan"))
    with pytest.raises(Rejected, match="found 2"):
        job_event(ID, priority=3, ahead_of="other")


@pytest.mark.parametrize(
    ("change", "state", "beside", "message"),
    [
        (JobPrioritySet(experiment_id=ID, priority=1), ExperimentState.COMPLETED, None, "in no queue"),
        (JobMaxSlotsSet(experiment_id=ID, max_slots=3), ExperimentState.ACTIVE, None, "less than slots_per_trial 4"),
        (
            JobMoved(experiment_id=ID, beside_id=OTHER, ahead=True),
            ExperimentState.ACTIVE,
            ExperimentState.FAILED,
            OTHER,
        ),
        (
            JobMoved(experiment_id=ID, beside_id=ID, ahead=True),
            ExperimentState.ACTIVE,
            ExperimentState.ACTIVE,
            "itself",
        ),
    ],
)
def test_changes_that_make_no_sense_are_refused(
    change: JobEvent, state: ExperimentState, beside: ExperimentState | None, message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        check_job(change, state, 4, beside)


def test_changes_of_what_waits_or_runs_are_granted() -> None:
    for state in (ExperimentState.ACTIVE, ExperimentState.PAUSED):
        check_job(JobMoved(experiment_id=ID, beside_id=OTHER, ahead=True), state, 4, ExperimentState.ACTIVE)
        check_job(JobMaxSlotsSet(experiment_id=ID, max_slots=4), state, 4, None)


@pytest.mark.parametrize(
    ("section", "path"),
    [({"precision": "fp16"}, "deepspeed.precision"), ({"fp16": {"enabled": True}}, "deepspeed.fp16")],
)
def test_half_precision_is_refused_where_there_are_only_cpu_slots(section: dict[str, object], path: str) -> None:
    config = {"deepspeed": section, "resources": {"resource_pool": "default"}}
    with pytest.raises(Rejected) as refusal:
        check_precision(config, {"cpu"})
    assert refusal.value.problems[0].path == path
    for kinds in (set(), {"cuda"}, {"cpu", "cuda"}):
        check_precision(config, kinds)
    check_precision(config | {"deepspeed": {"precision": "bf16"}}, {"cpu"})
    check_precision(config | {"deepspeed": None}, {"cpu"})
