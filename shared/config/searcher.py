"""The search: which method, what it optimises, and its budget."""

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from shared.config.section import Section

MAX_TRIALS = 100_000
MAX_RUNGS = 30
MAX_POINTS = 1000

#: Other names of methods.
ALIASES = {"asha": "async_halving"}

NumTrials = Annotated[int, Field(ge=1, le=MAX_TRIALS)]
MetricName = Annotated[str, Field(min_length=1, max_length=256)]
Length = Annotated[int, Field(ge=1)]
NumRungs = Annotated[int, Field(ge=1, le=MAX_RUNGS)]


class MaxLength(Section):
    """How long a trial trains, in exactly one unit; a plain number means batches."""

    batches: Length | None = None
    epochs: Length | None = None
    records: Length | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_number(cls, value: object) -> object:
        return {"batches": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def unit(self) -> str:
        """The unit that was given: batches, epochs or records."""
        return next(iter(self.model_dump(exclude_none=True)))

    @property
    def count(self) -> int:
        """How many of the unit."""
        count: int = getattr(self, self.unit)
        return count


class Patience(Section):
    """End the search after so many `trials` without progress: tried in a row (closed, or come to a first rung where
    they park) while no validation was better than the best before it by more than `min_delta`."""

    trials: NumTrials
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class SearchCommon(Section):
    """What every method needs to know: the validation metric that decides, and its direction.

    The search ends early when a validation reaches `goal`, or when `patience` runs out. `on_failure` says what
    becomes of a trial that failed more than max_restarts times: it counts as the `worst` result, where trials are
    compared; or the search is to `ignore` it; or to `retry` its configuration once, as another of its trials.
    `points_to_evaluate` are configurations that are tried first; what they leave out is drawn at random.
    """

    metric: MetricName
    smaller_is_better: bool = True
    max_length: MaxLength | None = None
    goal: float | None = None
    patience: Patience | None = None
    on_failure: Literal["worst", "ignore", "retry"] = "worst"
    points_to_evaluate: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=MAX_POINTS, strict=False)] = ()

    @property
    def num_laid_out(self) -> int:
        """How many trials come first that are laid out one by one: none takes another's place."""
        return len(self.points_to_evaluate)


class SingleSearch(SearchCommon):
    """One trial."""

    name: Literal["single"]


class RandomSearch(SearchCommon):
    """Trials drawn at random; `max_concurrent_trials` 0 means all at once."""

    name: Literal["random"]
    max_trials: NumTrials
    max_concurrent_trials: Annotated[int, Field(ge=0)] = 16


class GridSearch(SearchCommon):
    """Every point of the grid; `max_concurrent_trials` 0 means all at once."""

    name: Literal["grid"]
    max_concurrent_trials: Annotated[int, Field(ge=0)] = 16


class Observation(Section):
    """A configuration, and the metric that it came to."""

    hyperparameters: dict[str, JsonValue]
    metric: float


class WarmStart(Section):
    """What a search knows before its first trial: what the trials of other experiments with the same metric came to.

    `observations` may be given, too; at submission those of the experiments are put there, half of `max_observations`
    the best, the others spread over the rest.
    """

    experiments: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=20, strict=False)
    ] = ()
    max_observations: Annotated[int, Field(ge=1, le=MAX_POINTS)] = 100
    observations: Annotated[tuple[Observation, ...], Field(max_length=MAX_POINTS, strict=False)] = ()


class ModelCommon(SearchCommon):
    """What the searches with a model have in common: how they begin, and what they take for worth trying."""

    initial_trials: NumTrials = 8
    initial_design: Literal["sobol", "lhs", "random"] = "sobol"
    acquisition_function: Literal["EI", "LCB", "PI", "gp_hedge"] = "EI"
    warm_start: WarmStart | None = None

    @property
    def num_laid_out(self) -> int:
        """Those of a Latin hypercube, too: each of its trials has strata of its own."""
        return max(len(self.points_to_evaluate), self.initial_trials if self.initial_design == "lhs" else 0)


class BayesianSearch(ModelCommon):
    """A Gaussian process chooses each trial from the results of those before, after `initial_trials` spread ones."""

    name: Literal["bayesian"]
    max_trials: NumTrials
    max_concurrent_trials: Annotated[int, Field(ge=1)] = 2


class EarlyStoppingCommon(SearchCommon):
    """What the searches that stop poor trials early have in common.

    Either `max_length`: the searcher says how far each trial trains; or `max_time` and `time_metric`: it only stops
    trials, going by what they report. `divisor` is how many at a rung compete for one place at the next.
    """

    max_time: Length | None = None
    time_metric: MetricName | None = None
    stop_once: bool | None = None
    divisor: Annotated[float, Field(gt=1, le=1000)] = 4.0
    max_concurrent_trials: Annotated[int, Field(ge=0)] = 16

    @property
    def num_units(self) -> int:
        """How far the trials train that are never stopped."""
        return self.max_length.count if self.max_length else self.max_time or 1


class AsyncHalvingSearch(EarlyStoppingCommon):
    """One ladder of `num_rungs` rungs; `max_concurrent_trials` 0: as many as one trial at the top takes."""

    name: Literal["async_halving", "asha"]
    max_trials: NumTrials
    num_rungs: NumRungs


class AdaptiveASHASearch(EarlyStoppingCommon):
    """Several ladders beside each other, of different numbers of rungs; `bracket_rungs` names them one by one."""

    name: Literal["adaptive_asha"]
    max_trials: NumTrials
    mode: Literal["aggressive", "standard", "conservative"] = "standard"
    max_rungs: NumRungs = 5
    bracket_rungs: Annotated[tuple[NumRungs, ...], Field(strict=False)] = ()


class BayesianASHASearch(EarlyStoppingCommon, ModelCommon):
    """A Gaussian process chooses the trials, and learns from every rung; the rungs decide how far they train.

    `judge_by` says by what: the metric that trials have at a rung; or, where learning curves cross, what the model
    predicts that they come to in the end.
    """

    name: Literal["bayesian_asha"]
    max_trials: NumTrials
    mode: Literal["aggressive", "standard", "conservative"] = "aggressive"
    max_rungs: NumRungs = 5
    bracket_rungs: Annotated[tuple[NumRungs, ...], Field(strict=False)] = ()
    judge_by: Literal["metric", "prediction"] = "metric"


class HyperbandSearch(EarlyStoppingCommon):
    """Hyperband's ladders beside each other, from as many rungs as there may be down to one."""

    name: Literal["hyperband"]
    max_rungs: NumRungs = 5

    @property
    def max_trials(self) -> int:
        """Those of all its ladders."""
        return sum(num_trials for _, num_trials in hyperband_brackets(self.num_units, self.divisor, self.max_rungs))


def hyperband_brackets(num_units: int, divisor: float, max_rungs: int) -> tuple[tuple[int, int], ...]:
    """Return the rungs and the trials of each of Hyperband's brackets, most rungs first.

    L. Li et al., 2016, arXiv 1603.06560, algorithm 1: `R` is num_units, `eta` divisor, `s` the rungs less one; `n` is
    ceil((s_max + 1) / (s + 1) * eta^s). Its s_max, the largest s with eta^s <= R, is bounded by max_rungs; counted by
    multiplying, as log(243) / log(3) is less than 5.
    """
    num_brackets, units = 1, divisor
    while num_brackets < max_rungs and units <= num_units:
        num_brackets, units = num_brackets + 1, units * divisor
    return tuple(
        (num_rungs, math.ceil(num_brackets / num_rungs * divisor ** (num_rungs - 1)))
        for num_rungs in range(num_brackets, 0, -1)
    )


def _tag(value: object) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return f"<{'' if name is None else ALIASES.get(name, name) if isinstance(name, str) else name}>"


Searcher = Annotated[
    Annotated[SingleSearch, Tag("<single>")]
    | Annotated[RandomSearch, Tag("<random>")]
    | Annotated[GridSearch, Tag("<grid>")]
    | Annotated[BayesianSearch, Tag("<bayesian>")]
    | Annotated[AsyncHalvingSearch, Tag("<async_halving>")]
    | Annotated[AdaptiveASHASearch, Tag("<adaptive_asha>")]
    | Annotated[BayesianASHASearch, Tag("<bayesian_asha>")]
    | Annotated[HyperbandSearch, Tag("<hyperband>")],
    Discriminator(_tag),
]
