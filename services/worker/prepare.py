"""What an allocation needs before its ranks can start: code, checkpoint, command line; and how ranks are welcomed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.worker import checkpoints, launch
from services.worker.allocation import Allocation, Checkpoint, Trial
from services.worker.checkpoints import BadCheckpoint
from services.worker.facilities import Facilities
from services.worker.launch import Command, Place
from services.worker.logs import RankLog
from services.worker.patience import Patience
from shared.config import Experiment, load_experiment
from shared.errors import Rejected
from shared.ids import CheckpointId

Refuse = Callable[[Checkpoint, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that ranks need to start."""

    directory: Path
    experiment: Experiment
    trial: Trial
    command: Command
    variables: Mapping[str, str]
    resume: Checkpoint | None
    is_warm_start: bool
    """Whether `resume` is of another trial, so that this one only starts with what it holds."""

    @property
    def code_directory(self) -> Path:
        """Where the ranks start."""
        return self.directory / "code"

    @property
    def checkpoint_directory(self) -> Path:
        """Where the ranks write checkpoints."""
        return self.directory / "checkpoints"

    @property
    def resume_directory(self) -> Path | None:
        """Where the checkpoint lies that they go on from."""
        return None if self.resume is None else _resume_directory(self.directory, self.resume)


async def prepare(
    facilities: Facilities, allocation: Allocation, place: Place, directory: Path, log: RankLog, refuse: Refuse
) -> Prepared:
    """Fetch what the ranks need. Raises Rejected or Refused when it cannot be had, OSError when the disk fails.

    `refuse` is told of each checkpoint that turns out to be broken.
    """
    if allocation.experiment is None or allocation.trial is None:
        raise Rejected(f"the log does not say what trial {allocation.trial_id} is to run")
    experiment = load_experiment(dict(allocation.experiment.config))
    variables = dict(line.split("=", 1) for line in experiment.environment.environment_variables)
    may_fork = experiment.environment.warm_start and await facilities.may_fork(place.kind)
    command = launch.command(experiment.entrypoint, variables, may_fork=may_fork)
    patience = Patience(log.say)
    await facilities.workspace.unpack_code(allocation.experiment.code_sha256, directory / "code", patience)
    resume = await _restore(facilities, allocation.trial.checkpoints, directory, log, refuse)
    is_warm_start = resume is None and experiment.resume_from is not None
    if resume is None and experiment.resume_from is not None:
        resume = await _start_from(facilities, CheckpointId(experiment.resume_from), directory, log)
    return Prepared(
        directory=directory,
        experiment=experiment,
        trial=allocation.trial,
        command=command,
        variables=variables,
        resume=resume,
        is_warm_start=is_warm_start,
    )


def welcome(prepared: Prepared, allocation: Allocation, place: Place, rank: int) -> dict[str, Any] | None:
    """Return the frame that answers a rank's hello, None if the rank is not on this agent."""
    if rank not in place.ranks:
        return None
    experiment, resume = prepared.experiment, prepared.resume
    length = experiment.searcher.max_length
    target = (prepared.trial.target or length.count) if length else 0
    return {
        "type": "welcome",
        "trial_id": allocation.trial_id,
        "experiment_id": allocation.experiment_id,
        "allocation_id": allocation.allocation_id,
        "index": prepared.trial.index,
        "hyperparameters": dict(prepared.trial.hyperparameters),
        "seed": prepared.trial.seed,
        "max_length": {"unit": length.unit, "count": target} if length else None,
        "may_continue": length is not None and target < length.count,
        "records_per_epoch": experiment.records_per_epoch,
        "deepspeed": experiment.model_dump(mode="json")["deepspeed"],
        "checkpoint_policy": experiment.checkpoint_policy,
        "metric": experiment.searcher.metric,
        "smaller_is_better": experiment.searcher.smaller_is_better,
        "stall_timeout_s": experiment.stall_timeout,
        "rank": rank,
        "world_size": place.world_size,
        "local_rank": rank - place.first_rank,
        "local_world_size": len(place.ranks),
        "checkpoint_directory": str(prepared.checkpoint_directory),
        "resume": {
            "checkpoint_id": resume.checkpoint_id,
            "step": resume.step,
            "world_size": resume.world_size,
            "directory": str(_resume_directory(prepared.directory, resume)),
            "is_warm_start": prepared.is_warm_start,
        }
        if resume
        else None,
    }


async def _restore(
    facilities: Facilities, candidates: tuple[Checkpoint, ...], directory: Path, log: RankLog, refuse: Refuse
) -> Checkpoint | None:
    """Download the newest checkpoint that is whole and return it; None if the trial starts anew."""
    for checkpoint in candidates:
        try:
            target = _resume_directory(directory, checkpoint)
            await checkpoints.download(facilities.store, checkpoint, target, Patience(log.say))
        except BadCheckpoint as error:
            log.say(f"checkpoint {checkpoint.checkpoint_id} cannot be used: {error}")
            await refuse(checkpoint, str(error))
        else:
            log.say(f"resuming from checkpoint {checkpoint.checkpoint_id} of step {checkpoint.step}")
            return checkpoint
    if candidates:
        log.say("no usable checkpoint is left; starting anew")
    return None


async def _start_from(facilities: Facilities, checkpoint_id: CheckpointId, directory: Path, log: RankLog) -> Checkpoint:
    """Download the checkpoint that the experiment names. Raises Rejected when it cannot be used: starting anew instead
    is not what was asked for."""
    try:
        checkpoint = await checkpoints.read_manifest(facilities.store, checkpoint_id, Patience(log.say))
        target = _resume_directory(directory, checkpoint)
        await checkpoints.download(facilities.store, checkpoint, target, Patience(log.say))
    except BadCheckpoint as error:
        raise Rejected(f"resume_from names checkpoint {checkpoint_id}, which cannot be used: {error}") from error
    log.say(f"starting from checkpoint {checkpoint_id} of step {checkpoint.step}")
    return checkpoint


def _resume_directory(directory: Path, checkpoint: Checkpoint) -> Path:
    return directory / "resume" / checkpoint.checkpoint_id
