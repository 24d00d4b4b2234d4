"""What a rank is told when it starts: which trial it is, its place in the gang, and where it left off."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Frame = dict[str, Any]
"""A message on the trial socket."""

LENGTH_UNITS = ("batches", "epochs", "records")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long to train: a count of batches (optimizer steps), epochs or records."""

    unit: str
    count: int

    def __post_init__(self) -> None:
        if self.unit not in LENGTH_UNITS or self.count < 1:
            raise ValueError(f"max_length is 1 or more {' or '.join(LENGTH_UNITS)}; got {self.count} {self.unit}")

    @classmethod
    def parse(cls, length: "int | Mapping[str, int]") -> "Length":
        """Read what an experiment file may hold: 500 (batches), or {"epochs": 3}."""
        if isinstance(length, int):
            return cls(unit="batches", count=length)
        if len(length) != 1:
            raise ValueError(f"max_length is in one unit, {' or '.join(LENGTH_UNITS)}; got {dict(length)}")
        ((unit, count),) = length.items()
        return cls(unit=unit, count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The checkpoint to start from; its files are complete in `directory`."""

    checkpoint_id: str
    step: int
    directory: Path
    world_size: int
    """How many ranks wrote it."""
    is_warm_start: bool = False
    """Whether another trial wrote it: then what was trained is taken from it, and this trial counts from step 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One rank's part of one trial."""

    trial_id: str
    experiment_id: str
    hyperparameters: dict[str, Any]
    seed: int
    max_length: Length | None
    deepspeed: dict[str, Any]
    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    checkpoint_directory: Path
    resume: Resume | None
    may_continue: bool = False
    """Whether the search may have it train beyond max_length later, from its checkpoint."""
    checkpoint_policy: str = "none"
    """After which validations a checkpoint is saved unasked: best, all or none."""
    metric: str = ""
    """The validation metric that the search looks at."""
    smaller_is_better: bool = True
    records_per_epoch: int = 0
    """How many records the experiment file calls an epoch; 0: as many as the data set has."""
    stall_timeout_s: float = math.inf
    """After how long a silence of all ranks on an agent the trial counts as hung."""

    @property
    def steps_completed(self) -> int:
        """How many steps the trial has trained before."""
        return 0 if self.resume is None or self.resume.is_warm_start else self.resume.step

    @classmethod
    def from_welcome(cls, frame: Frame) -> "Assignment":
        """Read the agent's welcome."""
        length, resume = frame["max_length"], frame["resume"]
        return cls(
            trial_id=frame["trial_id"],
            experiment_id=frame["experiment_id"],
            hyperparameters=frame["hyperparameters"],
            seed=frame["seed"],
            max_length=Length(unit=length["unit"], count=length["count"]) if length else None,
            deepspeed=frame["deepspeed"] or {},
            rank=frame["rank"],
            world_size=frame["world_size"],
            local_rank=frame["local_rank"],
            local_world_size=frame["local_world_size"],
            checkpoint_directory=Path(frame["checkpoint_directory"]),
            resume=_resume(resume, frame["world_size"]) if resume else None,
            may_continue=frame.get("may_continue", False),
            checkpoint_policy=frame.get("checkpoint_policy", "none"),
            metric=frame.get("metric", ""),
            smaller_is_better=frame.get("smaller_is_better", True),
            records_per_epoch=frame.get("records_per_epoch", 0),
            stall_timeout_s=frame.get("stall_timeout_s", math.inf),
        )

    @classmethod
    def outside_a_cluster(cls) -> "Assignment":
        """Describe a script that somebody started by hand, alone or with torchrun."""
        return cls(
            trial_id="local",
            experiment_id="local",
            hyperparameters={},
            seed=0,
            max_length=None,
            deepspeed={},
            rank=int(os.environ.get("RANK", "0")),
            world_size=int(os.environ.get("WORLD_SIZE", "1")),
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
            local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            checkpoint_directory=Path("trainmaster-checkpoints"),
            resume=None,
        )


def _resume(frame: Frame, world_size: int) -> Resume:
    return Resume(
        checkpoint_id=frame["checkpoint_id"],
        step=frame["step"],
        directory=Path(frame["directory"]),
        world_size=frame.get("world_size", world_size),
        is_warm_start=frame.get("is_warm_start", False),
    )
