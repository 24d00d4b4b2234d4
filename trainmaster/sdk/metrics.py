"""Turning what users report into finite numbers: Python and numpy scalars, and tensors on any device."""

import math
import sys
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

type_error = 'metric "{}" must be one number; got {}'

Captured = float | Callable[[], Any]
"""A metric's value, or how to fetch it from an accelerator."""


def capture(metrics: Mapping[str, object]) -> dict[str, Captured]:
    """Check and keep the values as they are now, without waiting for an accelerator that still computes them.

    Raises TypeError, naming the metric, for anything that is not a single number.
    """
    return {name: _capture(name, value) for name, value in metrics.items()}


def _capture(name: str, value: object) -> Captured:
    if isinstance(value, Real):
        return float(value)
    array: Any = value
    if not hasattr(value, "item") or math.prod(getattr(value, "shape", ())) != 1:
        raise TypeError(type_error.format(name, _describe(value)))
    if getattr(getattr(value, "device", None), "type", "cpu") != "cpu":
        kept = array.detach().clone()  # the loop may add to this tensor in place before we read it
        return lambda: kept.item()
    number = array.item()
    if not isinstance(number, Real):
        raise TypeError(type_error.format(name, _describe(value)))
    return float(number)


def _describe(value: object) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{kind} of shape {tuple(shape)}"


class FiniteFilter:
    """Fetches captured values and leaves out NaN and infinities, saying so once per metric."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def fetch(self, step: int, captured: Mapping[str, Captured]) -> dict[str, float]:
        """Return the finite values among `captured`; waits for the accelerator where one holds them."""
        values = {name: float(value()) if callable(value) else value for name, value in captured.items()}
        for name in values.keys() - self._named:
            if not math.isfinite(values[name]):
                self._named.add(name)
                print(f'trainmaster: metric "{name}" is {values[name]} at step {step}; '
                      "values that are not finite are not recorded", file=sys.stderr, flush=True)  # fmt: skip
        return {name: value for name, value in values.items() if math.isfinite(value)}
