"""The Bayesian search: an initial design, then a Gaussian process over what the trials so far have shown.

Theory: J. Snoek, H. Larochelle, R. P. Adams, Practical Bayesian Optimization of Machine Learning Algorithms, 2012,
arXiv 1206.2944. Open trials are taken into account by the constant liar (D. Ginsbourger, R. Le Riche, L. Carraro,
Kriging is well-suited to parallelize optimization, 2010): each counts as if it had just reached the mean of the costs
seen, which makes it known ground and neither good nor bad. A closed trial without a metric counts as the worst cost
seen.

The initial design is a Latin hypercube: along every axis each of its trials has a stratum of its own.

This file asks and reads the answer; services.searcher.gaussian_process computes it in a process of its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import Proposal, Result
from services.searcher.space import Axis, Range, Space, axes, exponent, fill, generator, power, sample, value_at
from shared.config.hyperparameters import Categorical, Double, Int, Log
from shared.events import Origin, OriginKind

#: Fitting grows with the cube of the observations; beyond this many, half are the best and half the newest.
MAX_OBSERVATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bayesian:
    """See SearchMethod."""

    space: Space
    seed: int
    num_trials: int
    num_concurrent: int
    num_initial: int
    acquisition_function: str
    learns: bool = True

    def propose(
        self, index: int, results: Sequence[Result], pending: Sequence[dict[str, Any]]
    ) -> "Proposal | GaussianProcessQuestion":
        """Return the trial of the initial design, else what to ask the Gaussian process."""
        if index <= self.num_initial:
            return self._initial(index)
        if all(result.cost is None for result in results):
            origin = "random draw, no trial has a result yet"
            chosen = Origin(kind=OriginKind.RANDOM, num_observed=0, num_pending=len(pending))
            return Proposal(hyperparameters=sample(self.space, self.seed, index), origin=origin, chosen=chosen)
        return self._question(index, results, pending)

    def _initial(self, index: int) -> Proposal:
        within = generator(self.seed, index)
        values = {}
        for axis in axes(self.space):
            strata = generator(self.seed, "initial design", *axis.path).sample(
                range(self.num_initial), self.num_initial
            )
            values[axis.path] = value_at(axis.range, (strata[index - 1] + within.random()) / self.num_initial)
        origin = f"initial design {index} of {self.num_initial}"
        chosen = Origin(kind=OriginKind.INITIAL_DESIGN, number=index, of=self.num_initial, design="Latin hypercube")
        return Proposal(hyperparameters=fill(self.space, values), origin=origin, chosen=chosen)

    def _question(
        self, index: int, results: Sequence[Result], pending: Sequence[dict[str, Any]]
    ) -> "GaussianProcessQuestion":
        observed = _most_telling(list(zip(results, _tempered([result.cost for result in results]), strict=True)))
        random_generator = generator(self.seed, index)
        chosen, choice = self.acquisition_function, self.acquisition_function
        if chosen == "gp_hedge":
            chosen = random_generator.choice(("EI", "LCB", "PI"))
            choice = f"gp_hedge chose {chosen}"
        axes_ = tuple(axes(self.space))
        return GaussianProcessQuestion(
            space=self.space,
            axes=axes_,
            request={
                "dimensions": [_dimension(axis.range) for axis in axes_],
                "points": [_point(axes_, result.hyperparameters) for result, _ in observed],
                "costs": [cost for _, cost in observed],
                "pending": [_point(axes_, hyperparameters) for hyperparameters in pending],
                "acquisition_function": chosen,
                "seed": random_generator.randrange(2**31),
            },
            origin=f"Gaussian process, {choice}, {len(results)} observed, {len(pending)} pending",
            chosen=Origin(
                kind=OriginKind.MODEL,
                model="Gaussian process",
                acquisition=chosen,
                hedged=chosen != self.acquisition_function,
                num_observed=len(results),
                num_pending=len(pending),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcessQuestion:
    """See Question."""

    space: Space
    axes: tuple[Axis, ...]
    request: dict[str, Any]
    origin: str
    chosen: Origin  # without what the model predicts

    def proposal(self, reply: Mapping[str, Any]) -> Proposal:
        """Return what the point in the reply means. Raises ValueError when it is no point of the space."""
        point = reply["point"]
        values = {axis.path: _value(axis.range, place) for axis, place in zip(self.axes, point, strict=True)}
        return Proposal(hyperparameters=fill(self.space, values), origin=self.origin, chosen=self.chosen)


def _tempered(costs: Sequence[float | None]) -> list[float]:
    """Return costs fit for a model: nothing counts as the worst seen, and the worst not as more than it must.

    One diverged trial with a loss of 1e9 would else make all the others look the same. Nothing is cut that lies
    within five times the distance from the best to the median.
    """
    seen = sorted(cost for cost in costs if cost is not None)
    best, median = seen[0], seen[len(seen) // 2]
    worst = min(seen[-1], median + 5 * (median - best)) if median > best else seen[-1]
    return [worst if cost is None else min(cost, worst) for cost in costs]


def _most_telling(observed: list[tuple[Result, float]]) -> list[tuple[Result, float]]:
    """Keep at most MAX_OBSERVATIONS: the newest, and the best of the others."""
    if len(observed) <= MAX_OBSERVATIONS:
        return observed
    num_newest = MAX_OBSERVATIONS // 2
    best = sorted(observed[:-num_newest], key=lambda pair: pair[1])[: MAX_OBSERVATIONS - num_newest]
    return best + observed[-num_newest:]


def _dimension(range_: Range) -> dict[str, Any]:
    match range_:
        case Categorical():
            return {"type": "categorical", "num_values": len(range_.vals)}
        case Int():
            return {"type": "int", "low": range_.minval, "high": range_.maxval}
        case Double() | Log():  # a log hyperparameter is searched along its exponent
            return {"type": "real", "low": range_.minval, "high": range_.maxval}


def _point(axes_: Sequence[Axis], hyperparameters: Mapping[str, Any]) -> list[float]:
    return [_place(axis.range, _at(hyperparameters, axis.path)) for axis in axes_]


def _place(range_: Range, value: Any) -> float:
    """Where along its dimension a value stands; the inverse of `_value`."""
    match range_:
        case Categorical():  # compared as JSON, which tells 1, 1.0 and true apart
            return [json.dumps(val, sort_keys=True) for val in range_.vals].index(json.dumps(value, sort_keys=True))
        case Log():
            return exponent(range_, value)
        case Int() | Double():
            place: float = min(range_.maxval, max(range_.minval, value))
            return place


def _value(range_: Range, place: float) -> Any:
    match range_:
        case Categorical():
            return range_.vals[int(place)]
        case Int():
            return min(range_.maxval, max(range_.minval, int(place)))
        case Double():
            return min(range_.maxval, max(range_.minval, float(place)))
        case Log():
            return power(range_, min(range_.maxval, max(range_.minval, float(place))))


def _at(hyperparameters: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = hyperparameters
    for name in path:
        value = value[name]
    return value
