"""Computes suggestions with scikit-optimize, in a process of its own: one JSON request a line in, one reply a line out.

The same request always gets the same reply. The process ends when its standard input does. Nothing else may import
this module's dependencies: they cost more memory than the whole searcher.
"""

import json
import sys
import warnings
from typing import Any

import skopt  # type: ignore[import-untyped]  # has no types
from skopt.space import Categorical, Dimension, Integer, Real  # type: ignore[import-untyped]  # has no types


def suggest(request: dict[str, Any]) -> list[int | float]:
    """Return the point worth trying next, given points with their costs and points whose cost is pending."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # points tried before, fits that did not converge: neither is a fault
        return _suggest(request)


def _suggest(request: dict[str, Any]) -> list[int | float]:
    optimizer = skopt.Optimizer(
        [_dimension(dimension) for dimension in request["dimensions"]],
        base_estimator="GP",
        n_initial_points=1,
        acq_func=request["acquisition_function"],
        random_state=request["seed"],
    )
    points, costs, pending = request["points"], request["costs"], request["pending"]
    optimizer.tell(points + pending, costs + [sum(costs) / len(costs)] * len(pending))
    return [place.item() if hasattr(place, "item") else place for place in optimizer.ask()]


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
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
