"""Turning what users report into finite numbers: Python and numpy scalars, and tensors on any device."""

import math
import re
from collections.abc import Callable, Mapping
from numbers import Real
from operator import index
from typing import Any

from trainmaster.sdk.terminal import warn

MAX_METRICS = 1000
MAX_NAME_LENGTH = 256
#: Groups that the platform fills, and validations, which are reported by a call of their own.
RESERVED_GROUPS = ("validation", "profiling", "system", "run")

_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def check_group(group: str) -> str:
    """Return the name of a group of metrics. Raises ValueError when it cannot be one."""
    if not _GROUP.fullmatch(group) or group in RESERVED_GROUPS:
        raise ValueError(
            f"{group!r} cannot name a group of metrics: use lower-case letters, digits, - and _, at most 63, and not "
            f"{', '.join(RESERVED_GROUPS)}; what the search decides by goes to report_validation"
        )
    return group


Captured = float | Callable[[], Any]
"""A metric's value, or how to fetch it from an accelerator."""


def capture(metrics: Mapping[str, object]) -> dict[str, Captured]:
    """Check and keep the values as they are now, without waiting for an accelerator that still computes them.

    Raises TypeError, naming the metric, for anything that is not a single number.
    """
    captured: dict[str, Captured] = {}
    for name, value in metrics.items():
        if not 0 < len(name) <= MAX_NAME_LENGTH or len(metrics) > MAX_METRICS:
            raise ValueError(
                f"a report holds up to {MAX_METRICS} metrics, with names of 1 to {MAX_NAME_LENGTH} characters"
            )
        captured[name] = value if type(value) is float else _capture(name, value)
    return captured


def check_step(step: object) -> int:
    """Return a step as an int. Raises TypeError or ValueError when it is none, or negative."""
    if type(step) is int and step >= 0:
        return step
    number = index(step)  # type: ignore[arg-type]  # that is the check
    if number < 0:
        raise ValueError(f"a step is 0 or more; got {number}")
    return number


def _capture(name: str, value: object) -> Captured:
    array: Any = value
    if not hasattr(value, "item"):
        return _real(name, value)
    if getattr(getattr(value, "device", None), "type", "cpu") != "cpu":
        if math.prod(array.shape) != 1:
            raise _not_a_number(name, value)
        kept = array.detach().clone()  # the loop may add to this tensor in place before we read it
        fetch: Callable[[], Any] = kept.item
        return fetch
    try:
        number = array.item()
    except (RuntimeError, TypeError, ValueError) as error:  # it holds none, or several
        raise _not_a_number(name, value) from error
    return number if type(number) is float else _real(name, number)


def _real(name: str, value: object) -> float:
    if not isinstance(value, Real):  # asking that of a tensor is slow
        raise _not_a_number(name, value)
    return float(value)


def _not_a_number(name: str, value: object) -> TypeError:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
    return TypeError(f'metric "{name}" must be one number; got {kind}')


class FiniteFilter:
    """Fetches captured values, and says once per metric that NaN and infinities are left out."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def fetch(self, step: int, captured: Mapping[str, Captured]) -> dict[str, float]:
        """Return the finite values among `captured`; waits for the accelerator where one holds them."""
        return {name: value for name, value in self.fetch_all(step, captured).items() if math.isfinite(value)}

    def fetch_all(self, step: int, captured: Mapping[str, Captured]) -> dict[str, float]:
        """Return all values, for one who leaves out those that are not finite, and keeps their names."""
        values = {name: float(value()) if callable(value) else value for name, value in captured.items()}
        for name, number in values.items():
            if not math.isfinite(number) and name not in self._named:
                self._named.add(name)
                warn(f'metric "{name}" is {number} at step {step}; it is left out when it is not finite')
        return values
