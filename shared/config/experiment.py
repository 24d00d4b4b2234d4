"""The experiment file as typed, frozen values."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag
from pydantic_core import PydanticCustomError

from shared import ids
from shared.config.deepspeed import DeepSpeed
from shared.config.hyperparameters import Hyperparameter, num_grid_points
from shared.config.launcher import Launcher, default_launcher
from shared.config.searcher import GridSearch, Searcher, SingleSearch
from shared.config.section import Section

MAX_SEED = 2**31 - 1
MAX_SLOTS = 4096
MAX_KEPT = 100_000
WEEK_S = 7 * 24 * 3600

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=.*", re.DOTALL)
_RESERVED = re.compile(
    r"TM_.*|TORCHELASTIC_.*|(LOCAL_)?RANK|(LOCAL_)?WORLD_SIZE|MASTER_ADDR|MASTER_PORT|CUDA_VISIBLE_DEVICES"
)


def _pool_name(value: str) -> str:
    if not ids.is_token(value):
        raise PydanticCustomError("pool_name", "must be lower-case letters, digits and dashes, at most 63")
    return value


def _checkpoint_id(value: str) -> str:
    if not ids.is_token(value):
        raise PydanticCustomError("checkpoint_id", "is no checkpoint's id; `tm checkpoint ls` shows them")
    return value


def _environment_variable(value: str) -> str:
    match = _VARIABLE.fullmatch(value)
    if match is None:
        raise PydanticCustomError("environment_variable", "must have the form KEY=VALUE")
    if _RESERVED.fullmatch(match[1]):
        raise PydanticCustomError("reserved_variable", "is set by the platform and cannot be given")
    return value


Name = Annotated[str, Field(max_length=256)]
NonEmpty = Annotated[str, Field(min_length=1, max_length=4096)]
Entrypoint = Annotated[
    Annotated[NonEmpty, Tag("<text>")]
    | Annotated[tuple[NonEmpty, ...], Field(min_length=1, strict=False), Tag("<words>")],
    Discriminator(lambda value: "<words>" if isinstance(value, list | tuple) else "<text>"),
]


class Resources(Section):
    """What each trial gets."""

    slots_per_trial: Annotated[int, Field(ge=0, le=MAX_SLOTS)] = 1  # 0: a task without slots
    resource_pool: Annotated[str, AfterValidator(_pool_name)] = "default"
    priority: Annotated[int, Field(ge=1, le=99)] | None = None  # lower is more important; None: the pool's default, 42
    weight: Annotated[float, Field(ge=0, le=1e9)] = 1.0  # its part where a pool shares fairly
    max_slots: Annotated[int, Field(ge=1)] | None = None  # all its trials together
    preemptible: bool = True
    memory_mb_per_slot: Annotated[int, Field(ge=64, le=2**24)] | None = None  # of data, a process
    cpus_per_slot: Annotated[int, Field(ge=1, le=1024)] | None = None  # which a process and its children run on


class CheckpointStorage(Section):
    """How many checkpoints are kept once the experiment has ended; the rest is deleted."""

    save_experiment_best: Annotated[int, Field(ge=0, le=MAX_KEPT)] = 0
    save_trial_best: Annotated[int, Field(ge=0, le=MAX_KEPT)] = 1
    save_trial_latest: Annotated[int, Field(ge=0, le=MAX_KEPT)] = 1


class Environment(Section):
    """What the training processes see besides the platform's own variables."""

    environment_variables: Annotated[
        tuple[Annotated[str, AfterValidator(_environment_variable)], ...], Field(strict=False)
    ] = ()
    warm_start: bool = True  # False: a new interpreter for each


class Reproducibility(Section):
    """What all randomness of the search and of its trials follows from; drawn at submission when absent."""

    experiment_seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None


class Experiment(Section):
    """A whole experiment file, every default filled in."""

    name: Annotated[str, Field(min_length=1, max_length=256)] = "experiment"
    description: Annotated[str, Field(max_length=65_536)] = ""
    labels: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    workspace: Name = ""
    project: Name = ""
    entrypoint: Entrypoint
    launcher: Literal["deepspeed", "torch", "plain"] | None = None
    hyperparameters: dict[str, Hyperparameter] = Field(default_factory=dict)
    searcher: Searcher
    resources: Resources = Resources()
    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 5
    records_per_epoch: Annotated[int, Field(ge=0)] = 0
    preemption_timeout: Annotated[int, Field(ge=1, le=WEEK_S)] = 60
    stall_timeout: Annotated[int, Field(ge=1, le=WEEK_S)] = 1800
    checkpoint_policy: Literal["best", "all", "none"] = "best"
    checkpoint_storage: CheckpointStorage = CheckpointStorage()
    resume_from: Annotated[str, AfterValidator(_checkpoint_id)] | None = None
    environment: Environment = Environment()
    reproducibility: Reproducibility = Reproducibility()
    deepspeed: DeepSpeed | None = None
    data: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def started_by(self) -> Launcher:
        """The launcher that the file names, or that its entrypoint needs."""
        if self.launcher:
            return Launcher(self.launcher)
        return default_launcher(
            self.entrypoint, has_deepspeed=self.deepspeed is not None, num_slots=self.resources.slots_per_trial
        )

    @property
    def num_trials(self) -> int:
        """How many trials the search requests in all."""
        match self.searcher:
            case SingleSearch():
                return 1
            case GridSearch():
                return num_grid_points(self.hyperparameters) + len(self.searcher.points_to_evaluate)
            case searcher:
                return searcher.max_trials

    @property
    def seed(self) -> int:
        """The experiment's seed; 0 until one was given or drawn."""
        return self.reproducibility.experiment_seed or 0

    def with_seed(self, seed: int) -> "Experiment":
        """Return this experiment with a seed if it has none yet, else itself."""
        if self.reproducibility.experiment_seed is not None:
            return self
        return self.model_copy(update={"reproducibility": Reproducibility(experiment_seed=seed)})
