"""The configurations whose learning curves are recorded: every point of a grid of eight hyperparameters."""

import itertools
import math

#: Hyperparameter -> its values in order. A search sees the place in the order: whole numbers from 0.
AXES: dict[str, tuple[object, ...]] = {
    "optimizer": ("sgd", "adam"),
    "learning_rate": (1e-4, 5.6e-4, 3.2e-3, 1.8e-2, 1e-1, 5.6e-1),
    "momentum": (0.0, 0.9),  # Adam's beta1
    "weight_decay": (1e-5, 1e-2),
    "width": (16, 64, 256),
    "depth": (1, 3),
    "dropout": (0.0, 0.4),
    "batch_size": (32, 256),
}
SIZES = tuple(len(values) for values in AXES.values())
NUM_CONFIGURATIONS = math.prod(SIZES)
NUM_EPOCHS = 50

Point = tuple[int, ...]


def points() -> list[Point]:
    """Return all points, the last axis turning fastest."""
    return list(itertools.product(*map(range, SIZES)))


def number_of(point: Point) -> int:
    """Return where a point stands in `points`."""
    number = 0
    for place, size in zip(point, SIZES, strict=True):
        number = number * size + place
    return number


def values_at(point: Point) -> dict[str, object]:
    """Return the hyperparameters of a point."""
    return {name: values[place] for (name, values), place in zip(AXES.items(), point, strict=True)}
