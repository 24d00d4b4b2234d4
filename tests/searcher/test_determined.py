"""Searches whose course Determined's own tests settle, trial by trial: `tm preview` gives the same.

What its search methods did before 0.38 (`max_length`, promoting and stop_once) and do since (`max_time`), as facts: how
far the trials of a file train, given their metrics. Source: determined-ai/determined, master/pkg/searcher/*_test.go.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest

from services.searcher.methods import tournament_of
from services.searcher.simulate import Preview, Script, Scripted, preview
from shared.config import Experiment, parse_experiment

LADDER = "name: async_halving, num_rungs: 3, divisor: 3, max_trials: 12, max_length: {batches: 9000}"
ONE_RUNG = "name: async_halving, num_rungs: 1, divisor: 3, max_trials: 4, max_length: {batches: 9000}"
ADAPTIVE = "name: adaptive_asha, mode: standard, max_rungs: 2, divisor: 3, max_trials: 5, max_length: {batches: 900}"
RUNGS = (1000, 3000, 9000)
ONCE, LARGER = ", stop_once: true", ", smaller_is_better: false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far a trial trains, its metric all the way, and whether it exits at its last target instead of reporting."""

    targets: tuple[int, ...]
    metric: float
    exits: bool = False


def courses(*lengths: int, first: float = 0.01, by: float = 0.01, exits: int | None = None) -> list[Course]:
    """Return a course for each number of targets, which are those of RUNGS."""
    return [
        Course(targets=RUNGS[:length], metric=first + by * number, exits=number == exits)
        for number, length in enumerate(lengths)
    ]


def round_robin(lengths: tuple[int, ...], exits: int | None = None) -> list[Course]:
    """The metrics 0.01, 0.02, 0.03, 0.04, again and again."""
    return [
        Course(targets=RUNGS[:length], metric=0.01 * (1 + number % 4), exits=number == exits)
        for number, length in enumerate(lengths)
    ]


def adaptive(*targets: tuple[int, ...], metrics: tuple[float, ...], exits: int | None = None) -> list[Course]:
    pairs = enumerate(zip(targets, metrics, strict=True))
    return [Course(targets=of, metric=metric, exits=number == exits) for number, (of, metric) in pairs]


def asynchronous() -> list[Course]:
    """The first is promoted before those are known that are better."""
    metrics = (0.10, 0.11, 0.12, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09)
    lengths = (2, 1, 1, 3, 2, 2, 2, 1, 1, 1, 1, 1)
    pairs = enumerate(zip(lengths, metrics, strict=True))
    return [Course(targets=RUNGS[:of], metric=metric, exits=number == 2) for number, (of, metric) in pairs]


BEST_FOUR = (3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1)
BEST_FIRST, BEST_LAST = (3, *[1] * 11), (3,) * 12
RISING, FALLING = (0.1, 0.2, 0.3, 0.4, 0.5), (0.5, 0.4, 0.3, 0.2, 0.1)
SHORT, LONG, BOTH = (300,), (900,), (300, 900)

CASES = {
    "promotion, smaller is better": (LADDER, courses(*BEST_FOUR)),
    "promotion, early exit": (LADDER, courses(*BEST_FOUR, exits=2)),
    "promotion, larger is better": (LADDER + LARGER, courses(*BEST_FOUR, first=0.12, by=-0.01)),
    "promotion, larger, early exit": (LADDER + LARGER, courses(*BEST_FOUR, first=0.12, by=-0.01, exits=2)),
    "promotion, asynchronous": (LADDER, asynchronous()),
    "promotion, one rung": (ONE_RUNG, [Course(targets=(9000,), metric=0.05 + 0.01 * n) for n in range(4)]),
    "once, smaller is better": (LADDER + ONCE, courses(*BEST_FIRST)),
    "once, round robin": (LADDER + ONCE, round_robin((3, 1, 1, 1) * 3)),
    "once, larger is better": (LADDER + ONCE + LARGER, courses(*BEST_LAST)),
    "once, larger, round robin": (
        LADDER + ONCE + LARGER,
        round_robin((3, 3, 3, 3, 1, 1, 2, 3, 1, 1, 2, 3)),
    ),
    "once, round robin, early exit": (
        LADDER + ONCE,
        round_robin((3, 1, 1, 1, 2, 1, 1, 1, 3, 1, 1, 1), exits=4),
    ),
    "once, larger, round robin, early exit": (
        LADDER + ONCE + LARGER,
        round_robin((3, 3, 3, 2, 1, 1, 3, 3, 1, 1, 3, 3), exits=3),
    ),
    "once, one rung": (ONE_RUNG + ONCE, [Course(targets=(9000,), metric=0.05 + 0.01 * n) for n in range(4)]),
    "adaptive": (ADAPTIVE, adaptive(BOTH, SHORT, SHORT, LONG, LONG, metrics=RISING)),
    "adaptive, early exit": (ADAPTIVE, adaptive(BOTH, SHORT, SHORT, LONG, LONG, metrics=RISING, exits=1)),
    "adaptive, larger": (ADAPTIVE + LARGER, adaptive(BOTH, SHORT, SHORT, LONG, LONG, metrics=FALLING)),
    "adaptive, larger, early exit": (
        ADAPTIVE + LARGER,
        adaptive(BOTH, SHORT, SHORT, LONG, LONG, metrics=FALLING, exits=1),
    ),
    "adaptive, once": (ADAPTIVE + ONCE, adaptive(BOTH, SHORT, SHORT, LONG, LONG, metrics=RISING)),
    "adaptive, once, early exit": (
        ADAPTIVE + ONCE,
        adaptive(BOTH, SHORT, SHORT, LONG, LONG, metrics=RISING, exits=1),
    ),
    "adaptive, once, larger": (ADAPTIVE + ONCE + LARGER, adaptive(BOTH, BOTH, BOTH, LONG, LONG, metrics=RISING)),
    "adaptive, once, larger, early exit": (
        ADAPTIVE + ONCE + LARGER,
        adaptive(BOTH, SHORT, BOTH, LONG, LONG, metrics=RISING, exits=1),
    ),
}


def experiment(searcher: str) -> Experiment:
    return parse_experiment(f"entrypoint: x\nsearcher: {{metric: loss, {searcher}}}")


def previewed(
    searcher: str, trials: list[Scripted] | None = None, *, trend: str = "random", every: int | None = None
) -> Preview:
    asked = experiment(searcher)
    script = Script(trend=trend, seed=0, smaller_is_better=asked.searcher.smaller_is_better, trials=trials)
    return preview(asked, script, every)


@pytest.mark.parametrize("name", CASES)
def test_every_trial_trains_as_far_as_in_determined(name: str) -> None:
    searcher, expected = CASES[name]
    scripted = [
        Scripted(metric=course.metric, exits_at=course.targets[-1] if course.exits else None) for course in expected
    ]
    found = previewed(searcher, scripted)
    assert [tuple(trial.targets) for trial in found.trials] == [course.targets for course in expected]
    top = max(course.targets[-1] for course in expected)
    ends = ["exited" if c.exits else "completed" if c.targets[-1] == top else "stopped" for c in expected]
    assert [trial.end for trial in found.trials] == ends
    assert found.total_units == sum(course.targets[-1] for course in expected)


@pytest.mark.parametrize(
    ("length", "rungs"),
    [
        ("{records: 576000}", (64000, 192000, 576000)),
        ("{batches: 9000}", (1000, 3000, 9000)),
        ("{epochs: 12}", (1, 4, 12)),
    ],
)
def test_lengths_of_every_unit_make_the_same_ladder(length: str, rungs: tuple[int, ...]) -> None:
    ladder = f"name: async_halving, num_rungs: 3, divisor: 3, max_trials: 12, max_length: {length}"
    found = sorted(tuple(trial.targets) for trial in previewed(ladder, trend="constant").trials)
    assert found == [rungs[:1]] * 8 + [rungs[:2]] * 3 + [rungs]
    worse = previewed(f"{ladder}, stop_once: true, max_concurrent_trials: 2", trend="worsening")
    assert [tuple(trial.targets) for trial in worse.trials] == [rungs] + [rungs[:1]] * 11


@pytest.mark.parametrize(
    ("searcher", "brackets"),
    [
        ("max_time: 100, max_concurrent_trials: 2", [(2, 7, 1), (1, 3, 1)]),
        ("max_time: 1000, mode: conservative, divisor: 3, max_concurrent_trials: 5", [(3, 7, 2), (2, 2, 2), (1, 1, 1)]),
    ],
)
def test_brackets_are_those_of_determined(searcher: str, brackets: list[tuple[int, int, int]]) -> None:
    played = tournament_of(experiment(f"name: adaptive_asha, max_trials: 10, time_metric: batches, {searcher}"))
    assert played is not None
    plans = [bracket.plan for bracket in played.brackets]
    assert [(len(plan.units), plan.num_trials, plan.num_concurrent) for plan in plans] == brackets


@pytest.mark.parametrize(
    ("num_rungs", "max_time", "divisor", "units"),
    [(3, 9, 3, (1, 3, 9)), (4, 10, 2, (1, 2, 5, 10)), (1, 9, 3, (9,)), (3, 900, 3, (100, 300, 900))],
)
def test_rungs_are_those_of_determined(num_rungs: int, max_time: int, divisor: int, units: tuple[int, ...]) -> None:
    searcher = f"num_rungs: {num_rungs}, max_time: {max_time}, divisor: {divisor}, time_metric: batches, max_trials: 5"
    played = tournament_of(experiment(f"name: async_halving, {searcher}"))
    assert played is not None
    assert played.brackets[0].plan.units == units


def grid(space: str) -> list[dict[str, Any]]:
    text = f"entrypoint: x\nsearcher: {{name: grid, metric: loss}}\nhyperparameters: {space}"
    asked = parse_experiment(text)
    script = Script(trend="constant", seed=0, smaller_is_better=True)
    return [trial.hyperparameters for trial in preview(asked, script).trials]


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_grid_has_the_points_of_determined_in_its_order(is_nested: bool) -> None:  # noqa: FBT001
    second = "{type: int, minval: 0, maxval: 10, count: 3}"
    group = f"{{'3': {second}}}" if is_nested else second
    space = f"{{'1': {{type: int, minval: 0, maxval: 20, count: 3}}, '2': {group}}}"
    expected = [(one, other) for one in (0, 10, 20) for other in (0, 5, 10)]
    assert grid(space) == [{"1": one, "2": {"3": other} if is_nested else other} for one, other in expected]


def test_a_grid_may_be_nested_deeply() -> None:
    found = grid(
        "{constant: {type: const, val: 2}, empty: {}, plain: [1, {type: int}],"
        " a: {b: {c1: {type: categorical, vals: [3, 5]}, c2: {type: int, minval: 7, maxval: 11, count: 2}}},"
        " f: {type: double, minval: 13.0, maxval: 17.0, count: 2},"
        " l: {type: log, minval: 1, maxval: 2, base: 10, count: 2}}"
    )
    same = {"constant": 2, "empty": {}, "plain": [1, {"type": "int"}]}
    points = itertools.product((3, 5), (7, 11), (13.0, 17.0), (10.0, 100.0))
    assert found == [same | {"a": {"b": {"c1": c1, "c2": c2}}, "f": f, "l": log} for c1, c2, f, log in points]


@pytest.mark.parametrize("counts", [(1,), (4,), (1, 4), (3, 4), (2, 3, 4), (2, 2, 3, 3, 4, 5)])
def test_a_grid_is_the_product_of_its_counts(counts: tuple[int, ...]) -> None:
    axes = ", ".join(f"a{n}: {{type: double, minval: -1, maxval: 1, count: {count}}}" for n, count in enumerate(counts))
    assert len(grid(f"{{{axes}}}")) == math.prod(counts)


def test_of_trials_that_get_worse_one_is_not_stopped() -> None:
    ladder = "name: async_halving, num_rungs: 3, divisor: 3, max_trials: 10, max_concurrent_trials: 3"
    found = previewed(f"{ladder}, max_time: 900, time_metric: batches", trend="worsening", every=100)
    assert [trial.units for trial in found.trials] == [900] + [100] * 9
    assert [trial.end for trial in found.trials] == ["completed"] + ["stopped"] * 9


def test_in_each_bracket_of_trials_that_get_worse_one_is_not_stopped() -> None:
    search = "name: adaptive_asha, mode: standard, divisor: 3, max_trials: 9, max_concurrent_trials: 3"
    found = previewed(f"{search}, max_time: 90, time_metric: batches", trend="worsening", every=10)
    written: dict[str, Any] = found.as_json()
    assert [[rung["units"] for rung in bracket["rungs"]] for bracket in written["brackets"]] == [[10, 30, 90], [30, 90]]
    assert [[rung["trials"] for rung in bracket["rungs"]] for bracket in written["brackets"]] == [[6, 1, 1], [3, 1]]
    assert sorted(trial.units or 0 for trial in found.trials) == [10] * 5 + [30] * 2 + [90] * 2
