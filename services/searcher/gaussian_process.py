"""Computes suggestions with scikit-optimize, in a process of its own: one JSON request a line in, one reply a line out.

The same request always gets the same reply. The process ends when its standard input does. Nothing else may import
this module's dependencies: they cost more memory than the whole searcher.

The model is a Gaussian process with a Matérn 5/2 kernel, a length for each axis, and a noise that is estimated too.
Lengths stay between a tenth and ten times an axis: with scikit-optimize's own bounds, a hundred times wider, the fit
to a handful of trials often ends in a model that knows nothing, and 12 trials were no better than chance.
"""

import json
import sys
import warnings
from typing import Any

import numpy as np
import skopt
from skopt.learning import GaussianProcessRegressor
from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern
from skopt.space import Categorical, Dimension, Integer, Real, Space
from skopt.utils import normalize_dimensions

LENGTH_BOUNDS = (0.1, 10.0)
AMPLITUDE_BOUNDS = (0.01, 1000.0)
NUM_FITS = 3


def suggest(request: dict[str, Any]) -> list[int | float]:
    """Return the point worth trying next, given points with their costs and points whose cost is pending."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # points tried before, fits that did not converge: neither is a fault
        return _suggest(request)


def _suggest(request: dict[str, Any]) -> list[int | float]:
    space = Space(normalize_dimensions([_dimension(dimension) for dimension in request["dimensions"]]))
    optimizer = skopt.Optimizer(
        space.dimensions,
        base_estimator=_model(space.transformed_n_dims, request["seed"]),
        n_initial_points=1,
        acq_func=request["acquisition_function"],
        random_state=request["seed"],
    )
    points, costs, pending = request["points"], request["costs"], request["pending"]
    optimizer.tell(points + pending, costs + [sum(costs) / len(costs)] * len(pending))
    return [place.item() if hasattr(place, "item") else place for place in optimizer.ask()]


def _model(num_axes: int, seed: int) -> GaussianProcessRegressor:
    lengths = Matern(length_scale=np.ones(num_axes), length_scale_bounds=[LENGTH_BOUNDS] * num_axes, nu=2.5)
    return GaussianProcessRegressor(
        kernel=ConstantKernel(1.0, AMPLITUDE_BOUNDS) * lengths,
        normalize_y=True,
        noise="gaussian",
        n_restarts_optimizer=NUM_FITS - 1,
        random_state=seed,
    )


def _dimension(dimension: dict[str, Any]) -> Dimension:
    match dimension["type"]:
        case "categorical":
            return Categorical(list(range(dimension["num_values"])))
        case "int":
            return Integer(dimension["low"], dimension["high"])
    return Real(dimension["low"], dimension["high"])


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        try:
            reply: dict[str, Any] = {"point": suggest(json.loads(line))}
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # the same again next time
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
