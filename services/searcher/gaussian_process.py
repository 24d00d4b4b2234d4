"""Computes suggestions, in a process of its own: one JSON request a line in, one reply a line out.

`suggest` is a pure function: the same request always gets the same reply, from this process, a later one, or a replay.
The process ends when its standard input does. Nothing else in the services may import this module's dependencies: they
cost more memory than the whole searcher.

The kernel is fitted to the first observations only, as many as a schedule has (all while they are few, then after each
tenth more), and of many to the most telling: so it follows from the request alone, and is computed once for all the
requests that share it. Predictions go by all observations, up to MAX_OBSERVATIONS.
"""

import hashlib
import json
import sys
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.searcher import skopt_fit
from services.searcher.acquisition import Acquisition
from services.searcher.columns import Columns, Point
from services.searcher.maximise import Landscape, maximise
from services.searcher.surrogate import Array, Kernel, Posterior, fit, prior
from services.searcher.warping import Warp, tempered, warps

#: Predicting grows with the square of the observations; beyond this many, half are the best and half the newest.
MAX_OBSERVATIONS = 1000
MAX_FITTED = 160  # fitting grows with the cube
FITTED_EACH = 20  # up to so many observations the kernel is fitted to each new one
REFIT_AFTER = 1.1  # then when there are so many times as many
SKOPT_OBSERVATIONS = 32  # up to so many, scikit-optimize fits
NUM_SAMPLES = 16  # of what pending trials may come to
MAX_FITS = 64  # kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A kernel, and the scale of costs that it was fitted on."""

    kernel: Kernel
    warp: Warp


_fits: OrderedDict[bytes, Fit] = OrderedDict()


def suggest(request: dict[str, Any]) -> dict[str, Any]:
    """Return the point worth trying next, what is predicted of it, and the acquisition function's value there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fits that did not converge are no fault
        return _suggest(request)


def _suggest(request: dict[str, Any]) -> dict[str, Any]:
    columns = Columns(request["axes"])
    points = columns.encode(request["points"])
    pending = columns.encode(request["pending"])
    fixed = np.array([1.0] if "fidelities" in request else [])
    told = np.hstack([points, _column(request, "fidelities", len(points))])
    waiting = np.hstack([pending, _column(request, "pending_fidelities", len(pending))])
    found = _fit(told, request["costs"])
    generator = np.random.default_rng(request["seed"])
    landscape = Landscape(columns=columns, fixed_F=fixed)
    costs = np.array(tempered(request["costs"]))
    kept = _most_telling(costs)
    scaled = found.warp(costs[kept])
    normals = generator.standard_normal((len(waiting), NUM_SAMPLES if len(waiting) else 1))
    posterior = Posterior(found.kernel, told[kept], scaled, waiting, normals)
    known = np.vstack([points[kept], pending])
    means = posterior.predict(landscape.extended(known))[0]
    acquisition = Acquisition(request["acquisition_function"], posterior, means.min(0))
    best_first = np.argsort(means.mean(1), kind="stable")
    point, value = maximise(acquisition, landscape, known, known[best_first], generator)
    return _reply(point, value, posterior, found.warp, landscape)


def _reply(point: Point, value: float, posterior: Posterior, warp: Warp, landscape: Landscape) -> dict[str, Any]:
    """Tell predictions as costs: the median, and half the distance between the quantiles one deviation off it."""
    means, deviations = posterior.predict(landscape.extended(landscape.columns.encode([point])))
    mean, deviation = float(means.mean()), float(deviations[0])
    spread = (warp.back(mean + deviation) - warp.back(mean - deviation)) / 2
    return {"point": point, "mean": warp.back(mean), "std": spread, "value": value}


def _column(request: dict[str, Any], name: str, num_rows: int) -> Array:
    """The fidelity is one more column, where there is one."""
    if "fidelities" not in request:
        return np.empty((num_rows, 0))
    return np.array(request[name], dtype=float).reshape(num_rows, 1)


def _most_telling(costs: Array) -> Array:
    """Return the positions of at most MAX_OBSERVATIONS: the newest, and the best of the others."""
    if len(costs) <= MAX_OBSERVATIONS:
        return np.arange(len(costs))
    num_newest = MAX_OBSERVATIONS // 2
    best = np.argsort(costs[:-num_newest], kind="stable")[: MAX_OBSERVATIONS - num_newest]
    return np.append(np.sort(best), np.arange(len(costs) - num_newest, len(costs)))


def num_fitted(num_observed: int) -> int:
    """Return to how many of the observations, the oldest first, the kernel is fitted."""
    if num_observed <= FITTED_EACH:
        return num_observed
    scheduled = FITTED_EACH
    while (following := int(scheduled * REFIT_AFTER)) <= num_observed:
        scheduled = following
    return scheduled


def _fit(points: Array, costs: list[float | None]) -> Fit:
    number = num_fitted(len(costs))
    while all(cost is None for cost in costs[:number]):
        number += 1
    points, fitted = points[:number], np.array(tempered(costs[:number]))
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
    points, median = points[kept], prior(points.shape[1])[0]
    found: list[tuple[float, Fit]] = []
    for warp in warps(costs):
        kernel, energy = fit(points, warp(costs[kept]), [median])
        found.append((energy - warp.log_slopes(costs[kept]), Fit(kernel=kernel, warp=warp)))
    best = min(found, key=lambda pair: pair[0])[1]
    if len(costs) <= SKOPT_OBSERVATIONS:
        kernel = skopt_fit.fit(points, best.warp(costs[kept]), best.kernel)
        return Fit(kernel=kernel, warp=best.warp)
    return best


def _spread(costs: Array) -> Array:
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
            reply = suggest(json.loads(line))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # the same again next time
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
