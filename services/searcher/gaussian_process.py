"""Computes suggestions and predictions, in a process of its own: one JSON request a line in, one reply a line out.

`answer` is a pure function: the same request always gets the same reply, from this process, a later one, or a replay.
The process ends when its standard input does. Nothing else in the services may import this module's dependencies: they
cost more memory than the whole searcher.

The kernel is fitted to the request's first `num_fitted` observations: it is computed once for all requests that have
these in common. Predictions go by all observations.
"""

import hashlib
import json
import sys
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.searcher import skopt_fit
from services.searcher.acquisition import Acquisition
from services.searcher.columns import Columns, Option, Point
from services.searcher.maximise import Landscape, maximise
from services.searcher.surrogate import Array, Kernel, Posterior, fit, prior
from services.searcher.warping import Warp, offsets_for, tempered, warp_of

MAX_FITTED = 160  # fitting grows with the cube
SKOPT_OBSERVATIONS = 32  # up to so many, scikit-optimize fits
NUM_SAMPLES = 16  # of what pending trials may come to
MAX_FITS = 64  # kept
ELSEWHERE = 0.3  # the share of suggestions that have another option than the best point


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A kernel, and the offset of the scale of costs that it was fitted on."""

    kernel: Kernel
    offset: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a request tells: points as columns, these with their context, costs; and the kernel and scale for them."""

    columns: Columns
    points: Array
    told: Array
    costs: Array
    fit: Fit
    warp: Warp


_fits: OrderedDict[bytes, Fit] = OrderedDict()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return what is predicted of the points that are asked about, else a suggestion."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fits that did not converge are no fault
        return _predict(request) if "predicted" in request else _suggest(request)


def suggest(request: dict[str, Any]) -> dict[str, Any]:
    """Return the point worth trying next, what is predicted of it, and the acquisition function's value there."""
    return answer(request)


def _predict(request: dict[str, Any]) -> dict[str, Any]:
    model = _model(request)
    nothing = np.empty((0, model.told.shape[1]))
    posterior = Posterior(model.fit.kernel, model.told, model.warp(model.costs), nothing, np.empty((0, 1)))
    landscape = Landscape(columns=model.columns, fixed=np.array(request["proposed_context"]))
    told = [_told_of(point, posterior, model.warp, landscape) for point in request["predicted"]]
    return {"means": [one["mean"] for one in told], "std": told[0]["std"]}


def _model(request: dict[str, Any]) -> Model:
    columns = Columns(request["axes"])
    points = columns.encode(request["points"])
    told = np.hstack([points, _context(request["context"], np.array(request["proposed_context"]))])
    fit = _fit(told[: request["num_fitted"]], request["costs"][: request["num_fitted"]])
    costs = np.array(tempered(request["costs"]))
    return Model(columns=columns, points=points, told=told, costs=costs, fit=fit, warp=warp_of(costs, fit.offset))


def _suggest(request: dict[str, Any]) -> dict[str, Any]:
    model = _model(request)
    columns, points, told, costs = model.columns, model.points, model.told, model.costs
    found, warp = model.fit, model.warp
    pending = columns.encode(request["pending"])
    fixed = np.array(request["proposed_context"])
    waiting = np.hstack([pending, _context(request["pending_context"], fixed)])
    generator = np.random.default_rng(request["seed"])
    normals = generator.standard_normal((len(waiting), NUM_SAMPLES if len(waiting) else 1))
    posterior = Posterior(found.kernel, told, warp(costs), waiting, normals)
    known = np.vstack([points, pending])
    means = posterior.predict(Landscape(columns=columns, fixed=fixed).extended(known))[0]
    stretch = 0.0 if found.offset is None else warp.deviation
    acquisition = Acquisition(request["acquisition_function"], posterior, means.min(0), stretch=stretch)
    best_first = np.argsort(means.mean(1), kind="stable")
    option = _elsewhere(columns, known[best_first[0]], generator)
    landscape = Landscape(columns=columns, fixed=fixed, option=option)
    point, value = maximise(acquisition, landscape, known, known[best_first], generator)
    return {"point": point, "value": value, **_told_of(point, posterior, warp, landscape)}


def _elsewhere(columns: Columns, best: Array, generator: np.random.Generator) -> Option | None:
    """Return, for a share of the suggestions, another option than the best point has.

    What belongs to an option was seen only where that was chosen. A few unlucky trials of it would be all there is.
    """
    others = columns.others(best)
    if not others or generator.random() >= ELSEWHERE:
        return None
    return others[int(generator.integers(len(others)))]


def _told_of(point: Point, posterior: Posterior, warp: Warp, landscape: Landscape) -> dict[str, Any]:
    """Tell predictions as costs: the median, and half the distance between the quantiles one deviation off it."""
    means, deviations = posterior.predict(landscape.extended(landscape.columns.encode([point])))
    mean, deviation = float(means.mean()), float(deviations[0])
    spread = (warp.back(mean + deviation) - warp.back(mean - deviation)) / 2
    return {"mean": warp.back(mean), "std": spread}


def _context(rows: list[list[float]], proposed: Array) -> Array:
    """What is known of points besides where they lie is more columns, behind theirs."""
    return np.array(rows, dtype=float).reshape(len(rows), len(proposed))


def _fit(points: Array, costs: list[float | None]) -> Fit:
    fitted = np.array(tempered(costs))
    key = hashlib.sha256(points.tobytes() + fitted.tobytes() + str(points.shape).encode()).digest()
    if key not in _fits:
        _fits[key] = _fitted(points, fitted)
        if len(_fits) > MAX_FITS:
            _fits.popitem(last=False)
    _fits.move_to_end(key)
    return _fits[key]


def _fitted(points: Array, costs: Array) -> Fit:
    """Compare the scales, each with a kernel of its own, and return the most probable."""
    kept = _spread(costs)
    points, costs = points[kept], costs[kept]
    median = prior(points.shape[1])[0]
    found: list[tuple[float, Fit]] = []
    for offset in offsets_for(len(costs)):
        warp = warp_of(costs, offset)
        kernel, energy = fit(points, warp(costs), [median])
        found.append((energy - warp.log_slopes(costs), Fit(kernel=kernel, offset=offset)))
    best = min(found, key=lambda pair: pair[0])[1]
    if len(costs) > SKOPT_OBSERVATIONS:
        return best
    warp = warp_of(costs, best.offset)
    return Fit(kernel=skopt_fit.fit(points, warp(costs), best.kernel), offset=best.offset)


def _spread(costs: Array) -> NDArray[np.intp]:
    """Return the positions of at most MAX_FITTED: half of them the best, the others spread evenly over the rest."""
    if len(costs) <= MAX_FITTED:
        return np.arange(len(costs))
    order = np.argsort(costs, kind="stable")
    num_best = MAX_FITTED // 2
    rest = np.sort(order[num_best:])
    return np.append(order[:num_best], rest[np.linspace(0, len(rest) - 1, MAX_FITTED - num_best).astype(int)])


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # the same again next time
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
