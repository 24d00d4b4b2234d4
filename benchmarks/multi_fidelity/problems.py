"""The searches' problems: a space of whole numbers and fractions, and each configuration's learning curve.

`digits` are the recorded curves of a real network. `hartmann` is the usual synthetic benchmark of multi-fidelity
search: the Hartmann function of six variables, with bias and noise that vanish as the fidelity grows (the problem mfh6
of N. Mallik et al., PriorBand, 2023, arXiv 2306.12370, after K. Kandasamy et al., 2017, arXiv 1703.06240); the loss is
the distance from its lowest value. `crossing` are made up: configurations that learn slowly come further in the end, so
that their curves cross, and none is free of noise.
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
_CROSSING: Axes = {**dict.fromkeys(_ASYMPTOTE_AT), "pace": None}

#: Of the Hartmann function: depths, widths and centres of four hollows, and its lowest value, from which the loss is
#: measured. Bias and noise are the problem's defaults.
_DEPTHS = np.array([1.0, 1.2, 3.0, 3.2])
_WIDTHS = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_CENTRES = np.array(
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
)
_LOWEST = -3.32237
_BIAS, _NOISE = 0.5, 0.1
_HARTMANN: Axes = {f"x{number}": None for number in range(1, 7)}

PROBLEMS: dict[str, Axes] = {
    "digits": {name: len(values) for name, values in AXES.items()},
    "hartmann": _HARTMANN,
    "crossing": _CROSSING,
}


def curve(problem: str, hyperparameters: dict[str, Any]) -> Curve:
    """Return the learning curve of a configuration."""
    curves = {"digits": _digits, "hartmann": _hartmann, "crossing": _crossing}
    return curves[problem](hyperparameters)


def _digits(hyperparameters: dict[str, Any]) -> Curve:
    losses = _recorded()[number_of(tuple(int(hyperparameters[name]) for name in AXES))]
    return lambda epoch: float(losses[epoch - 1])


@functools.cache
def _recorded() -> Any:
    return np.load(RECORDED)["loss"]


def _hartmann(hyperparameters: dict[str, Any]) -> Curve:
    x = np.array([hyperparameters[name] for name in _HARTMANN])
    nearness = np.exp(-(_WIDTHS * (x - _CENTRES) ** 2).sum(1))
    noise = random.Random(repr(sorted(hyperparameters.items())))
    noises = [abs(noise.gauss(0, _NOISE)) for _ in range(NUM_EPOCHS)]

    def loss(epoch: int) -> float:
        off = 1 - math.log(epoch) / math.log(NUM_EPOCHS)
        return float(-((_DEPTHS - _BIAS * off) @ nearness)) - _LOWEST + noises[epoch - 1] * off

    return loss


def _crossing(hyperparameters: dict[str, Any]) -> Curve:
    noise = random.Random(repr(sorted(hyperparameters.items())))
    noises = [noise.gauss(0, 0.004) for _ in range(NUM_EPOCHS)]
    distance = sum((hyperparameters[name] - best) ** 2 for name, best in _ASYMPTOTE_AT.items())
    pace = 0.05 + 0.3 * hyperparameters["pace"]
    asymptote = 0.1 + distance + 0.2 * hyperparameters["pace"]
    return lambda epoch: asymptote + 2.3 * math.exp(-pace * epoch) + noises[epoch - 1]
