"""A small cluster's life as events, and how to put it on a real log."""

from collections.abc import Iterable
from typing import Any

from nats.aio.client import Client

from shared import ids, log, subjects
from shared.events import (
    AgentJoined,
    CheckpointFile,
    CheckpointSaved,
    Event,
    ExperimentCompleted,
    ExperimentSubmitted,
    GangMember,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    ReleaseReason,
    Slot,
    SlotKind,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialRequested,
    TrialStarted,
)
from shared.ids import AgentId, ExperimentId, PoolId, TrialId

EXPERIMENT = ExperimentId("k3f9x2ab")
POOL = PoolId("default")
AGENT = AgentId("a1")
INCARNATION = "0a1b2c3d4e5f"


def agent_joined(num_slots: int = 2, incarnation: str = INCARNATION) -> Event:
    """An agent with CPU slots."""
    slots = tuple(Slot(number=n, kind=SlotKind.CPU, name="cpu") for n in range(num_slots))
    return AgentJoined(agent_id=AGENT, incarnation=incarnation, pool_id=POOL, address="127.0.0.1", slots=slots)


def submitted(experiment_id: ExperimentId = EXPERIMENT, name: str = "digits", **config: Any) -> Event:
    """A random search for the best accuracy."""
    searcher = {"name": "random", "metric": "accuracy", "smaller_is_better": False, "max_trials": 2}
    body = {"name": name, "entrypoint": "train.py", "searcher": searcher, "labels": ["demo"]} | config
    return ExperimentSubmitted(
        experiment_id=experiment_id, name=name, config=body, code_sha256="cd" * 32, code_bytes=2048
    )


def trial(index: int = 1, experiment_id: ExperimentId = EXPERIMENT) -> TrialId:
    """The id of a trial."""
    return ids.trial_id(experiment_id, index)


def requested(index: int = 1, slots: int = 1, experiment_id: ExperimentId = EXPERIMENT) -> Event:
    """The search wants a trial."""
    return TrialRequested(
        experiment_id=experiment_id,
        trial_id=trial(index, experiment_id),
        index=index,
        hyperparameters={"lr": 0.1 * index},
        seed=index,
        slots=slots,
        pool_id=POOL,
        origin="random",
    )


def allocated(index: int = 1, epoch: int = 1, slots: tuple[int, ...] = (0,)) -> Event:
    """A trial gets slots of the agent."""
    return GPUAllocated(
        pool_id=POOL,
        allocation_id=ids.allocation_id(trial(index), epoch),
        trial_id=trial(index),
        experiment_id=EXPERIMENT,
        epoch=epoch,
        members=(GangMember(agent_id=AGENT, incarnation=INCARNATION, slots=slots),),
    )


def _speaking(index: int, epoch: int) -> dict[str, Any]:
    return {
        "trial_id": trial(index),
        "experiment_id": EXPERIMENT,
        "allocation_id": ids.allocation_id(trial(index), epoch),
        "epoch": epoch,
        "agent_id": AGENT,
    }


def started(index: int = 1, epoch: int = 1) -> Event:
    """A trial's ranks run."""
    return TrialStarted(**_speaking(index, epoch), world_size=1, warm=True, resumed_from=None)


def reported(step: int, accuracy: float, index: int = 1, epoch: int = 1) -> Event:
    """A validation."""
    return MetricReported(**_speaking(index, epoch), step=step, metrics={"accuracy": accuracy, "loss": 1 - accuracy})


def saved(step: int, index: int = 1, epoch: int = 1, files: tuple[CheckpointFile, ...] | None = None) -> Event:
    """A checkpoint."""
    files = files or (CheckpointFile(path="state/model.pt", size_bytes=10, sha256="ab" * 32),)
    checkpoint_id = ids.checkpoint_id(ids.allocation_id(trial(index), epoch), step)
    return CheckpointSaved(
        **_speaking(index, epoch), checkpoint_id=checkpoint_id, step=step, world_size=1, zero_stage=1, files=files
    )


def exited(index: int = 1, epoch: int = 1, outcome: Outcome = Outcome.COMPLETED, error: str | None = None) -> Event:
    """A trial's ranks ended."""
    code = 0 if outcome is Outcome.COMPLETED else 1
    return TrialExited(**_speaking(index, epoch), outcome=outcome, exit_code=code, error=error)


def released(index: int = 1, epoch: int = 1, reason: ReleaseReason = ReleaseReason.EXITED) -> Event:
    """A trial's slots are free."""
    allocation_id = ids.allocation_id(trial(index), epoch)
    return GPUReleased(pool_id=POOL, allocation_id=allocation_id, trial_id=trial(index), epoch=epoch, reason=reason)


def closed(index: int = 1, end: TrialEnd = TrialEnd.COMPLETED, metric: float | None = None) -> Event:
    """A trial is over."""
    return TrialClosed(
        experiment_id=EXPERIMENT, trial_id=trial(index), end=end, reason="trained to its end", metric=metric, step=None
    )


def whole_search() -> list[Event]:
    """An experiment of two trials from submission to completion, on one agent of two slots."""
    story = [agent_joined(), submitted(), requested(1), requested(2)]
    story += [allocated(1), allocated(2, slots=(1,)), started(1), started(2)]
    story += [reported(10, 0.5), reported(10, 0.6, index=2), saved(10), reported(20, 0.9), saved(20), reported(30, 0.8)]
    story += [saved(30), saved(15, index=2), exited(1), exited(2), closed(1, metric=0.9), released(1)]
    story += [released(2), closed(2, metric=0.6)]
    return [*story, ExperimentCompleted(experiment_id=EXPERIMENT, best_trial_id=trial(1), best_metric=0.9)]


async def tell(client: Client, events: Iterable[Event], causes: tuple[int, ...] = ()) -> int:
    """Append events one by one; return the last one's sequence. Each names `causes`, or else the event before it."""
    seq = 0
    for event in events:
        writer = event.rightful_writer
        last = await log.last_of(client, subjects.aggregate_subject(writer, event.aggregate, event.aggregate_id))
        envelope = log.envelope_of(
            event,
            writer=writer,
            actor="local" if writer == subjects.GATEWAY else writer,
            correlation=getattr(event, "trial_id", getattr(event, "experiment_id", "-")).partition("-")[0],
            causes=causes or ((seq,) if seq else ()),
        )
        seq = await log.append_once(client, envelope, expected=last.seq if last else 0)
    return seq
