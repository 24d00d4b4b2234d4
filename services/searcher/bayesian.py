"""The Bayesian search: an initial design, then a Gaussian process over what the trials so far have shown.

Theory: J. Snoek, H. Larochelle, R. P. Adams, Practical Bayesian Optimization of Machine Learning Algorithms, 2012,
arXiv 1206.2944. Open trials are taken into account: the model draws what they may come to, and looks for what would be
an improvement over that, too. A trial that failed counts as the worst cost seen.

Where trials compete on rungs, the model learns from every rung: how far a trial had trained is one more axis (A. Klein
et al., Model-based Asynchronous Hyperparameter and Neural Architecture Search, 2020, arXiv 2003.10865), and suggestions
are for trials that train to the end.

This file asks and reads the answer; services.searcher.gaussian_process computes it in a process of its own.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.searcher.given import fits, given_values
from services.searcher.method import Prediction, Proposal, Result
from services.searcher.sobol import sobol
from services.searcher.space import (
    Axis,
    Range,
    Space,
    axes,
    exponent,
    fill,
    generator,
    power,
    sample,
    value_at,
)
from shared.config.hyperparameters import Categorical, Double, Int, Log
from shared.config.searcher import Observation
from shared.events import Origin, OriginKind

#: A model of more would take longer than its suggestions are worth.
MAX_OBSERVATIONS = 1000
NUM_TELLING = 900  # of those kept of more: half are the best of the older ones, half the newest
STEP = 100  # and how often they are chosen anew

#: To how many observations the model's kernel is fitted: to all of a few, then again after each tenth more.
FITTED_EACH = 20
REFIT_AFTER = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bayesian:
    """See SearchMethod. `units` are those of the lowest and the highest rung, where trials compete on rungs."""

    space: Space
    seed: int
    num_trials: int
    num_concurrent: int
    num_initial: int
    initial_design: str
    acquisition_function: str
    warm_start: tuple[Observation, ...] = ()
    smaller_is_better: bool = True
    units: tuple[int, int] | None = None
    learns: bool = True

    def propose(
        self, index: int, results: Sequence[Result], pending: Sequence[dict[str, Any]]
    ) -> "Proposal | GaussianProcessQuestion":
        """Return the trial of the initial design, else what to ask the Gaussian process."""
        results = [result for result in results if not result.is_missing]
        warm = self._warm()
        if warm or (index > self.num_initial and any(result.cost is not None for result in results)):
            return self._question(index, warm, results, pending)
        return self._initial(index, len(results), len(pending))

    def _initial(self, index: int, num_observed: int, num_pending: int) -> Proposal:
        """Sobol's sequence goes on for as long as no trial has a result; other designs give way to random draws."""
        if self.initial_design == "sobol" or (self.initial_design == "lhs" and index <= self.num_initial):
            axes_ = list(axes(self.space))
            places = sobol(self.seed, index, len(axes_)) if self.initial_design == "sobol" else self._strata(index)
            values = {axis.path: value_at(axis.range, place) for axis, place in zip(axes_, places, strict=True)}
            hyperparameters = fill(self.space, values)
        else:
            hyperparameters = sample(self.space, self.seed, index)
        design = DESIGNS[self.initial_design]
        if index <= self.num_initial:
            origin = f"initial design {index} of {self.num_initial}"
            chosen = Origin(kind=OriginKind.INITIAL_DESIGN, number=index, of=self.num_initial, design=design)
        else:
            origin = "initial design goes on, no trial has a result yet"
            chosen = Origin(
                kind=OriginKind.INITIAL_DESIGN, design=design, num_observed=num_observed, num_pending=num_pending
            )
        return Proposal(hyperparameters=hyperparameters, origin=origin, chosen=chosen)

    def _strata(self, index: int) -> list[float]:
        """A Latin hypercube: along every axis each trial of the design has a stratum of its own."""
        within, places = generator(self.seed, index), []
        for axis in axes(self.space):
            order = list(range(self.num_initial))
            generator(self.seed, "initial design", *axis.path).shuffle(order)
            places.append((order[index - 1] + within.random()) / self.num_initial)
        return places

    def _question(
        self, index: int, warm: list[Result], results: Sequence[Result], pending: Sequence[dict[str, Any]]
    ) -> "GaussianProcessQuestion":
        axes_ = tuple(axes(self.space))
        random_generator = generator(self.seed, index)
        chosen, choice = self.acquisition_function, self.acquisition_function
        if chosen == "gp_hedge":
            chosen = random_generator.choice(("EI", "LCB", "PI"))
            choice = f"gp_hedge chose {chosen}"
        return GaussianProcessQuestion(
            space=self.space,
            axes=axes_,
            request={
                **self._known(axes_, warm, results, len(pending)),
                "pending": [_point(axes_, hyperparameters) for hyperparameters in pending],
                "acquisition_function": chosen,
                "seed": random_generator.randrange(2**31),
            },
            origin=f"Gaussian process, {choice}, {len(results)} observed, {len(pending)} pending"
            + (f", {len(warm)} from other experiments" if warm else ""),
            chosen=Origin(
                kind=OriginKind.MODEL,
                model="Gaussian process",
                acquisition=chosen,
                hedged=chosen != self.acquisition_function,
                num_observed=len(results),
                num_pending=len(pending),
            ),
        )

    def prediction(self, asked: Mapping[int, dict[str, Any]], results: Sequence[Result]) -> "PredictionQuestion":
        """Return what to ask the Gaussian process: what trials would come to in the end. The first one matters most."""
        axes_ = tuple(axes(self.space))
        counted = [result for result in results if not result.is_missing]
        known = self._known(axes_, self._warm(), counted, 0)
        points = [_point(axes_, hyperparameters) for hyperparameters in asked.values()]
        return PredictionQuestion(indices=tuple(asked), request={**known, "predicted": points})

    def _known(
        self, axes_: Sequence[Axis], warm: list[Result], results: Sequence[Result], num_pending: int
    ) -> dict[str, Any]:
        """What the Gaussian process is told whatever it is asked."""
        told, num_fitted = told_of(results)
        told, num_fitted = warm + told, len(warm) + num_fitted
        return {
            "axes": list(_dimensions(axes_)),
            "points": [_point(axes_, result.hyperparameters) for result in told],
            "costs": [result.cost for result in told],
            "num_fitted": num_fitted,
            **self._context(told, len(warm), num_pending),
        }

    def _warm(self) -> list[Result]:
        """What other experiments tell about this space."""
        sign = 1.0 if self.smaller_is_better else -1.0
        return [
            Result(index=0, hyperparameters=known.hyperparameters, cost=sign * known.metric)
            for known in self.warm_start
            if fits(self.space, known.hyperparameters)
        ]

    def _context(self, told: Sequence[Result], num_warm: int, num_pending: int) -> dict[str, list[Any]]:
        """What else the model knows of observations: from another experiment (1) or not; and how far they had trained:
        0 is the lowest rung, 1 the highest, logarithmically. What it proposes is of this experiment, and goes far."""
        context: list[list[float]] = [[] for _ in told]
        here: list[float] = []
        if num_warm:
            here.append(0.0)
            for number, row in enumerate(context):
                row.append(float(number < num_warm))
        pending = list(here)
        if self.units is not None:
            here.append(1.0)
            pending.append(0.0)
            for row, result in zip(context, told, strict=True):
                row.append(_fidelity(self.units, result.units))
        return {"context": context, "pending_context": [pending] * num_pending, "proposed_context": here}


def _fidelity(span: tuple[int, int], units: int | None) -> float:
    lowest, highest = span
    within = min(highest, max(lowest, highest if units is None else units))
    return math.log(within / lowest) / math.log(highest / lowest) if highest > lowest else 1.0


DESIGNS = {"sobol": "Sobol", "lhs": "Latin hypercube", "random": "random"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcessQuestion:
    """See Question."""

    space: Space
    axes: tuple[Axis, ...]
    request: dict[str, Any]
    origin: str
    chosen: Origin  # without what the model predicts; its mean is that of costs until the search turns it

    def answer(self, reply: Mapping[str, Any]) -> Proposal:
        """Return what the point in the reply means. Raises ValueError when it is no point of the space."""
        values = {
            axis.path: _value(axis.range, place)
            for axis, place in zip(self.axes, reply["point"], strict=True)
            if place is not None
        }
        predicted = {name: float(reply[name]) for name in ("mean", "std", "value")}
        if not all(map(math.isfinite, predicted.values())):
            raise ValueError(f"the model predicts {predicted}")
        chosen = msgspec.structs.replace(self.chosen, **predicted)
        return Proposal(hyperparameters=fill(self.space, values), origin=self.origin, chosen=chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionQuestion:
    """See Question."""

    indices: tuple[int, ...]
    request: dict[str, Any]

    def answer(self, reply: Mapping[str, Any]) -> Prediction:
        """Return the predictions in the reply. Raises ValueError when there is none for each trial."""
        means, std = [float(mean) for mean in reply["means"]], float(reply["std"])
        if not all(map(math.isfinite, (*means, std))):
            raise ValueError(f"the model predicts {means} ± {std}")
        predicted = dict(zip(self.indices, means, strict=True))
        return Prediction(mean=predicted.pop(self.indices[0]), std=std, others=predicted)


def told_of(results: Sequence[Result]) -> tuple[list[Result], int]:
    """Return the results that a model learns from, and to how many of them, the first, its kernel is fitted.

    Both follow from the results alone. The first ones stay the same for a while, so that a fit serves many questions.
    """
    if len(results) > MAX_OBSERVATIONS:
        num_older = len(results) // STEP * STEP
        return _most_telling(results[:num_older]) + list(results[num_older:]), NUM_TELLING
    num_fitted = len(results)
    if num_fitted > FITTED_EACH:
        scheduled = FITTED_EACH
        while (following := int(scheduled * REFIT_AFTER)) <= num_fitted:
            scheduled = following
        num_fitted = scheduled
    while num_fitted < len(results) and all(result.cost is None for result in results[:num_fitted]):
        num_fitted += 1
    return list(results), num_fitted


def _most_telling(results: Sequence[Result]) -> list[Result]:
    """Return the newest, and the best of the others, in their order."""
    num_newest = NUM_TELLING // 2
    older = list(enumerate(results[:-num_newest]))
    best = sorted(older, key=lambda pair: math.inf if pair[1].cost is None else pair[1].cost)[
        : NUM_TELLING - num_newest
    ]
    return [result for _, result in sorted(best, key=lambda pair: pair[0])] + list(results[-num_newest:])


def _dimensions(axes_: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    numbers = {axis.path: number for number, axis in enumerate(axes_)}
    for axis in axes_:
        dimension = _dimension(axis.range)
        if condition := axis.condition:
            number = numbers[condition.path]
            choice = axes_[number].range
            assert isinstance(choice, Categorical)
            dimension["condition"] = [number, choice.vals.index(condition.option)]
        yield dimension


def _dimension(range_: Range) -> dict[str, Any]:
    match range_:
        case Categorical():
            return {"type": "categorical", "num_values": len(range_.vals)}
        case Int():
            return {"type": "int", "low": range_.minval, "high": range_.maxval}
        case Double() | Log():  # a log hyperparameter is searched along its exponent
            return {"type": "real", "low": range_.minval, "high": range_.maxval}


def _point(axes_: Sequence[Axis], hyperparameters: Mapping[str, Any]) -> list[float | None]:
    """Of another experiment's hyperparameters only those are there that both spaces have."""
    values = given_values(axes_, hyperparameters, {})
    return [_place(axis.range, values[axis.path]) if axis.path in values else None for axis in axes_]


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
