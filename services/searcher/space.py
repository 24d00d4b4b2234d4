"""A search space seen as axes, and the values along them. Groups and axes are visited in the order of their names.

A choice is an axis over its options' names, followed by the axes within the options: each of these has a condition,
for only the chosen option's are there.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from shared.config.hyperparameters import Categorical, Choice, Const, Double, Hyperparameter, Int, Log, Nested

Range = Categorical | Int | Double | Log
Space = Mapping[str, Hyperparameter]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An axis is there only where the axis of a choice, which comes before it, has this option."""

    path: Path
    option: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One hyperparameter that varies: its name in the space, and where a trial's hyperparameters hold its value."""

    path: Path
    range: Range
    place: Path
    condition: Condition | None = None


def axes(space: Space) -> Iterator[Axis]:
    """Yield the axes of a space."""
    yield from _axes(space, (), (), None)


def _axes(space: Space, path: Path, place: Path, condition: Condition | None) -> Iterator[Axis]:
    for name, hyperparameter in sorted(space.items()):
        within, at = (*path, name), (*place, name)
        match hyperparameter:
            case Const():
                pass
            case Nested():
                yield from _axes(hyperparameter.root, within, at, condition)
            case Choice():
                options = sorted(hyperparameter.options)
                names = Categorical(vals=tuple(options))
                yield Axis(path=within, range=names, place=(*at, "name"), condition=condition)
                for option in options:
                    chosen = Condition(path=within, option=option)
                    yield from _axes(hyperparameter.options[option], (*within, option), at, chosen)
            case Categorical() | Int() | Double() | Log():
                yield Axis(path=within, range=hyperparameter, place=at, condition=condition)
            case _:
                assert_never(hyperparameter)


def fill(space: Space, values: Mapping[Path, Any], path: Path = ()) -> dict[str, Any]:
    """Return the hyperparameters of one trial: the constants, and the given value for each axis that is there."""
    filled: dict[str, Any] = {}
    for name, hyperparameter in space.items():
        within = (*path, name)
        match hyperparameter:
            case Const():
                filled[name] = hyperparameter.val
            case Nested():
                filled[name] = fill(hyperparameter.root, values, within)
            case Choice():
                option = values[within]
                chosen = fill(hyperparameter.options[option], values, (*within, option))
                filled[name] = {"name": option, **chosen}
            case _:
                filled[name] = values[within]
    return filled


def value_at(range_: Range, unit: float) -> Any:
    """Return the value at a place in [0, 1) of the range; equal steps are equally likely."""
    match range_:
        case Categorical():
            return range_.vals[int(unit * len(range_.vals))]
        case Int():
            return min(range_.maxval, range_.minval + int(unit * (range_.maxval - range_.minval + 1)))
        case Double():
            return range_.minval + unit * (range_.maxval - range_.minval)
        case Log():
            return power(range_, range_.minval + unit * (range_.maxval - range_.minval))


def grid_value(range_: Range, number: int) -> Any:
    """Return point `number` of the range's grid, counted from 0: evenly spaced, both ends included.

    A single point is the middle.
    """
    if isinstance(range_, Categorical):
        return range_.vals[number]
    last = range_.num_points - 1
    numerator, denominator = (number, last) if last else (1, 2)
    match range_:
        case Int():
            span = range_.maxval - range_.minval
            return _rounded(range_.minval * denominator + numerator * span, denominator)
        case Double():
            return range_.minval + (range_.maxval - range_.minval) * numerator / denominator
        case Log():
            return power(range_, range_.minval + (range_.maxval - range_.minval) * numerator / denominator)


def _rounded(numerator: int, denominator: int) -> int:
    """Return the nearest whole number to a fraction, exactly; halves away from zero, as in Determined."""
    nearest = (2 * abs(numerator) + denominator) // (2 * denominator)
    return nearest if numerator >= 0 else -nearest


def power(log: Log, exponent: float) -> float:
    """Return the value of a log hyperparameter at an exponent."""
    return float(log.base**exponent)


def exponent(log: Log, value: float) -> float:
    """Return the exponent of a log hyperparameter's value, within its range in spite of rounding."""
    return min(log.maxval, max(log.minval, math.log(value) / math.log(log.base)))


def generator(seed: int, *purpose: str | int) -> random.Random:
    """Return a random generator that depends on the experiment's seed and the purpose, and on nothing else."""
    return random.Random(":".join(map(str, (seed, *purpose))))


def sample(space: Space, seed: int, index: int) -> dict[str, Any]:
    """Return the hyperparameters of trial `index`, drawn at random."""
    random_generator = generator(seed, index)
    return fill(space, {axis.path: value_at(axis.range, random_generator.random()) for axis in axes(space)})
