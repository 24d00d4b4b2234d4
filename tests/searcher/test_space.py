"""Values along the axes of a space."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.searcher.space import axes, exponent, fill, generator, grid_value, power, sample, value_at
from shared.config import parse_experiment
from shared.config.hyperparameters import Categorical, Double, Hyperparameter, Int, Log

HYPERPARAMETERS = """
b: {type: int, minval: 1, maxval: 3}
a:
  z: {type: categorical, vals: [[1], {k: 2}, null, true]}
  c: {type: const, val: {type: 3}}
  e: {}
  y: {type: log, minval: -3, maxval: 0, base: 2}
d: [{type: int, minval: 1, maxval: 2}]
"""

units = st.floats(0, 1, exclude_max=True)
ints = st.integers(-(2**63) + 1, 2**63 - 1)


def space() -> dict[str, Hyperparameter]:
    indented = HYPERPARAMETERS.replace("\n", "\n  ")
    text = f"entrypoint: x\nsearcher: {{name: single, metric: loss}}\nhyperparameters: {indented}"
    return parse_experiment(text).hyperparameters


def test_axes_are_what_varies_in_the_order_of_names() -> None:
    assert [axis.path for axis in axes(space())] == [("a", "y"), ("a", "z"), ("b",)]


def test_filling_keeps_constants_groups_and_lists_as_they_are() -> None:
    assert fill(space(), {("a", "y"): 0.5, ("a", "z"): None, ("b",): 2}) == {
        "b": 2,
        "a": {"z": None, "c": {"type": 3}, "e": {}, "y": 0.5},
        "d": [{"type": "int", "minval": 1, "maxval": 2}],
    }


@given(minval=ints, maxval=ints, unit=units)
def test_an_int_lies_in_its_range(minval: int, maxval: int, unit: float) -> None:
    if minval < maxval:
        value = value_at(Int(minval=minval, maxval=maxval), unit)
        assert isinstance(value, int)
        assert minval <= value <= maxval


@given(minval=st.floats(-50, 50), span=st.floats(0.1, 50), unit=units)
def test_a_log_value_is_the_base_to_an_exponent_in_the_range(minval: float, span: float, unit: float) -> None:
    log = Log(minval=minval, maxval=minval + span)
    value = value_at(log, unit)
    assert exponent(log, value) == pytest.approx(minval + unit * span, abs=1e-9)
    assert log.minval <= exponent(log, power(log, log.maxval)) <= log.maxval


def test_all_values_of_an_int_and_of_a_category_are_equally_likely() -> None:
    random_generator = generator(1, "test")
    for range_ in (Int(minval=1, maxval=4), Categorical(vals=(1, 2, 3, 4))):
        counts = Counter(value_at(range_, random_generator.random()) for _ in range(8000))
        assert sorted(counts) == [1, 2, 3, 4]
        assert all(1800 < count < 2200 for count in counts.values())


@pytest.mark.parametrize(
    ("range_", "points"),
    [
        (Int(minval=1, maxval=10, count=4), [1, 4, 7, 10]),
        (Int(minval=0, maxval=4, count=4), [0, 1, 3, 4]),
        (Int(minval=1, maxval=3, count=9), [1, 2, 3]),
        (Int(minval=1, maxval=4, count=1), [3]),
        (Int(minval=-4, maxval=-1, count=1), [-3]),
        (Int(minval=-3, maxval=0, count=3), [-3, -2, 0]),
        (Int(minval=-1, maxval=0, count=1), [-1]),
        (Int(minval=-4, maxval=-2, count=3), [-4, -3, -2]),
        (Int(minval=-2, maxval=2, count=4), [-2, -1, 1, 2]),
        (Int(minval=0, maxval=20, count=3), [0, 10, 20]),
        (Double(minval=0, maxval=1, count=5), [0, 0.25, 0.5, 0.75, 1]),
        (Double(minval=0, maxval=1, count=1), [0.5]),
        (Double(minval=13, maxval=17, count=2), [13, 17]),
        (Log(minval=-3, maxval=-1, count=3), [0.001, 0.01, 0.1]),
        (Log(minval=0, maxval=4, base=2, count=1), [4]),
        (Categorical(vals=("x", "y")), ["x", "y"]),
    ],
)
def test_a_grid_covers_both_ends_evenly(range_: Int | Double | Log | Categorical, points: list[object]) -> None:
    assert [grid_value(range_, number) for number in range(range_.num_points)] == pytest.approx(points)


@given(minval=st.integers(-(2**60), 2**60), span=st.integers(1, 1000), count=st.integers(1, 1000))
def test_the_points_of_an_int_grid_differ(minval: int, span: int, count: int) -> None:
    range_ = Int(minval=minval, maxval=minval + span, count=count)
    points = [grid_value(range_, number) for number in range(range_.num_points)]
    assert len(set(points)) == len(points)
    assert all(minval <= point <= minval + span for point in points)


def test_samples_depend_on_seed_and_index() -> None:
    assert sample(space(), 1, 1) == sample(space(), 1, 1)
    assert len({math.log(sample(space(), 1, index)["a"]["y"]) for index in range(20)}) == 20
