"""The searches' problems: a space of whole numbers and fractions, and each configuration's learning curve.

`digits` are the recorded curves of a real network. `synthetic` are made up: configurations that learn slowly come
further in the end, so that their curves cross, and none is free of noise.
"""

import functools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.multi_fidelity.space import AXES, NUM_EPOCHS, number_of

RECORDED = Path(__file__).parent / "digits.npz"

#: The validation loss after an epoch, counted from 1.
Curve = Callable[[int], float]

#: Name -> how many places an axis has (0 up to that), or None for a fraction from 0 to 1.
Axes = dict[str, int | None]

_ASYMPTOTE_AT = {"a": 0.21, "b": 0.68, "c": 0.44, "d": 0.87}
_SYNTHETIC: Axes = {**dict.fromkeys(_ASYMPTOTE_AT), "pace": None}

PROBLEMS: dict[str, Axes] = {"digits": {name: len(values) for name, values in AXES.items()}, "synthetic": _SYNTHETIC}


def curve(problem: str, hyperparameters: dict[str, Any]) -> Curve:
    """Return the learning curve of a configuration."""
    return _digits(hyperparameters) if problem == "digits" else _synthetic(hyperparameters)


def _digits(hyperparameters: dict[str, Any]) -> Curve:
    losses = _recorded()[number_of(tuple(int(hyperparameters[name]) for name in AXES))]
    return lambda epoch: float(losses[epoch - 1])


@functools.cache
def _recorded() -> Any:
    return np.load(RECORDED)["loss"]


def _synthetic(hyperparameters: dict[str, Any]) -> Curve:
    noise = random.Random(repr(sorted(hyperparameters.items())))
    noises = [noise.gauss(0, 0.004) for _ in range(NUM_EPOCHS)]
    distance = sum((hyperparameters[name] - best) ** 2 for name, best in _ASYMPTOTE_AT.items())
    pace = 0.05 + 0.3 * hyperparameters["pace"]
    asymptote = 0.1 + distance + 0.2 * hyperparameters["pace"]
    return lambda epoch: asymptote + 2.3 * math.exp(-pace * epoch) + noises[epoch - 1]
