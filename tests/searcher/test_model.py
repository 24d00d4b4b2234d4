"""The Gaussian process and what is built on it: gradients, both engines, and properties of suggestions."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from services.searcher import gaussian_process, skopt_fit
from services.searcher.acquisition import Acquisition, log_hope, log_hope_of_exponential
from services.searcher.columns import Columns
from services.searcher.gaussian_process import answer, suggest
from services.searcher.method import Proposal, Result
from services.searcher.methods import method_of, model_of
from services.searcher.sobol import BITS, MAX_AXES, sobol
from services.searcher.surrogate import Evidence, Posterior, fit, prior
from services.searcher.warping import LARGEST, OFFSETS, tempered, warp_of
from shared.config import Experiment, parse_experiment
from shared.config.given import misfits

SPACE = {
    "lr": {"type": "log", "minval": -5, "maxval": 0},
    "n": {"type": "int", "minval": -3, "maxval": 4},
    "optimizer": {
        "type": "choice",
        "options": {
            "sgd": {"momentum": {"type": "double", "minval": 0, "maxval": 0.9}, "kind": {"type": "categorical",
                    "vals": ["a", "b", "c"]}},
            "adam": {"inner": {"type": "choice", "options": {"x": {"q": {"type": "int", "minval": 1, "maxval": 2}},
                     "y": {}}}},
        },
    },
    "flag": {"type": "categorical", "vals": [True, False]},
}  # fmt: skip


def experiment(searcher: str = "bayesian, max_trials: 99", seed: int = 1) -> Experiment:
    text = f"entrypoint: x\nsearcher: {{metric: loss, name: {searcher}}}\nhyperparameters: {json.dumps(SPACE)}"
    return parse_experiment(text).with_seed(seed)


def smooth(num_points: int, num_columns: int = 3) -> tuple[Any, Any]:
    points = np.random.default_rng(5).random((num_points, num_columns))
    costs = np.sin(5 * points[:, 0]) + points[:, 1] ** 2
    return points, (costs - costs.mean()) / costs.std()


def slope(function: Any, at: Any, step: float = 1e-5) -> Any:
    """The gradient by central differences."""
    steps = np.eye(len(at)) * step
    return np.array([(function(at + one) - function(at - one)) / (2 * step) for one in steps])


def test_the_evidence_has_the_gradient_that_it_says() -> None:
    evidence = Evidence(*smooth(20))
    theta = np.array([-0.5, 0.2, 0.4, 0.3, -4.0])
    assert evidence(theta)[1] == pytest.approx(slope(lambda at: evidence(at)[0], theta), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("num_pending", [0, 4])
@pytest.mark.parametrize(("name", "stretch"), [("EI", 0.0), ("EI", 0.7), ("PI", 0.0), ("LCB", 0.0)])
def test_acquisition_functions_have_the_gradient_that_they_say(name: str, stretch: float, num_pending: int) -> None:
    points, costs = smooth(15)
    kernel, _ = fit(points, costs, [prior(3)[0]])
    normals = np.random.default_rng(1).standard_normal((num_pending, 8 if num_pending else 1))
    posterior = Posterior(kernel, points, costs, np.random.default_rng(2).random((num_pending, 3)), normals)
    acquisition = Acquisition(name, posterior, posterior.predict(points)[0].min(0), stretch=stretch)
    at = np.array([0.31, 0.72, 0.55])
    gradient = acquisition.with_gradient(at[None])[1][0]
    assert gradient == pytest.approx(slope(lambda one: acquisition(one[None])[0], at), rel=2e-2, abs=1e-3)


def test_hope_is_told_however_small() -> None:
    scores = np.array([3.0, 0.0, -0.999, -1.001, -10.0, -100.0, -1e4, -1e6])
    hope = log_hope(scores)
    assert np.isfinite(hope).all()
    assert (np.diff(hope) < 0).all()
    assert hope[1] == pytest.approx(np.log(1 / np.sqrt(2 * np.pi)))
    assert hope[2] == pytest.approx(hope[3], abs=2e-2)


def test_hope_on_a_logarithmic_scale_is_that_of_costs() -> None:
    deviations, stretch = np.array([0.5, 0.2, 3.0, 1e-5]), 0.8
    for score in (-1e4, -30.0, -3.0, 0.3, 4.9, 5.1, 12.0):
        hope, by_mean, by_deviation = log_hope_of_exponential(np.full(4, score), deviations, stretch)
        assert np.isfinite([hope, by_mean, by_deviation]).all()
        assert (by_mean < 0).all()
        if abs(score) < 10:
            assert np.exp(hope[:3]) == pytest.approx(_hope_by_quadrature(score, deviations[:3], stretch), rel=1e-4)
    far = [log_hope_of_exponential(np.array([score]), np.array([0.1]), stretch)[0][0] for score in (4.999, 5.001)]
    assert far[0] == pytest.approx(far[1], abs=1e-3)


def _hope_by_quadrature(score: float, deviations: Any, stretch: float) -> Any:
    """The mean of max(0, 1 - exp(stretch * y)), of which y has its mean `score` deviations below 0."""
    normal = np.linspace(-12, 12, 2_000_001)[:, None]
    worth = np.maximum(0.0, 1 - np.exp(stretch * deviations * (normal - score)))
    return np.trapezoid(worth * np.exp(-0.5 * normal**2) / np.sqrt(2 * np.pi), normal, axis=0)


def test_some_suggestions_try_another_option_than_the_best_has() -> None:
    question = experiment_with_one_good_option()
    tried = [suggest({**question, "seed": seed})["point"][0] for seed in range(40)]
    assert 3 <= sum(option != 0 for option in tried) <= 25  # three tenths, and what the model itself is curious about


def experiment_with_one_good_option() -> dict[str, Any]:
    """A question about a choice of two, of which the second looked far worse, whenever it was tried."""
    number = "{type: double, minval: 0, maxval: 1}"
    space = f"{{o: {{type: choice, options: {{a: {{x: {number}}}, b: {{y: {number}}}}}}}}}"
    text = f"entrypoint: x\nsearcher: {{metric: loss, name: bayesian, max_trials: 99}}\nhyperparameters: {space}"
    results = [
        Result(index=n, hyperparameters={"o": {"name": "a", "x": n / 12}}, cost=(n / 12 - 0.6) ** 2) for n in range(12)
    ] + [Result(index=12 + n, hyperparameters={"o": {"name": "b", "y": n / 12}}, cost=1.0 + n / 12) for n in range(4)]
    outcome = method_of(parse_experiment(text).with_seed(1)).propose(99, results, [])
    assert not isinstance(outcome, Proposal)
    return outcome.request


@given(seed=st.integers(0, 1000))
def test_random_rows_may_be_held_to_an_option(seed: int) -> None:
    outcome = method_of(experiment("bayesian, max_trials: 99, initial_trials: 1")).propose(
        9, [Result(index=1, hyperparameters=first_point(), cost=1.0)], []
    )
    assert not isinstance(outcome, Proposal)
    columns, generator = Columns(outcome.request["axes"]), np.random.default_rng(seed)
    row = columns.random(1, generator)[0]
    for option in columns.others(row):
        assert not columns.has(row[None], option).any()
        rows = columns.random(5, generator, option)
        assert columns.has(rows, option).all()
        assert columns.snap(rows) == pytest.approx(rows)


def test_predictions_pass_through_costs_without_noise_and_are_unsure_far_away() -> None:
    points, costs = smooth(25)
    kernel, _ = fit(points, costs, [prior(3)[0]])
    posterior = Posterior(kernel, points, costs, np.empty((0, 3)), np.empty((0, 1)))
    means, deviations = posterior.predict(points)
    assert means[:, 0] == pytest.approx(costs, abs=0.02)
    assert posterior.predict(np.full((1, 3), 9.0))[1][0] > 5 * deviations.max()


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_estimated_from_the_costs(seed: int) -> None:
    points, costs = smooth(100)
    noisy = costs + 0.3 * np.random.default_rng(seed).standard_normal(100)
    assert fit(points, costs, [prior(3)[0]])[0].noise < 1e-4
    assert 0.04 < fit(points, noisy, [prior(3)[0]])[0].noise < 0.15, "its variance is 0.09"


def test_pending_points_leave_little_to_hope_for_beside_them() -> None:
    points, costs = smooth(12)
    kernel, _ = fit(points, costs, [prior(3)[0]])
    pending = np.array([[0.9, 0.1, 0.5]])
    normals = np.random.default_rng(3).standard_normal((1, 16))
    alone = Posterior(kernel, points, costs, np.empty((0, 3)), np.empty((0, 1)))
    beside = Posterior(kernel, points, costs, pending, normals)

    def hope(posterior: Posterior) -> float:
        known = posterior.points_NC
        return float(Acquisition("EI", posterior, posterior.predict(known)[0].min(0))(pending)[0])

    assert hope(beside) < hope(alone) - 1


def test_scikit_optimize_and_our_own_fit_come_to_the_same_kernel() -> None:
    points, costs = smooth(30)
    ours, _ = fit(points, costs, [prior(3)[0]])
    theirs = skopt_fit.fit(points, costs, ours)
    assert theirs.theta == pytest.approx(ours.theta, abs=0.05)


@given(costs=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), offset=st.sampled_from([None, *OFFSETS]))
def test_a_scale_keeps_the_order_of_costs_and_leads_back(costs: list[float], offset: float | None) -> None:
    given_costs = np.array(costs)
    warp = warp_of(given_costs, offset)
    scaled = warp(given_costs)
    order = np.argsort(given_costs, kind="stable")
    assert (np.diff(scaled[order]) >= 0).all()
    spread = float(given_costs.max() - given_costs.min())
    for cost, value in zip(costs, scaled, strict=True):
        assert warp.back(float(value)) == pytest.approx(cost, abs=1e-6 * (1 + spread + abs(cost)))


def test_sobol_points_are_those_of_joe_and_kuo_shifted() -> None:
    expected = qmc.Sobol(MAX_AXES, scramble=False, bits=BITS).random(64)
    found = np.array([sobol(3, index, MAX_AXES) for index in range(1, 65)])
    digits = (found * 2**BITS).astype(np.uint64)
    assert ((digits ^ digits[0]) / 2**BITS == expected).all()
    assert len(sobol(3, 1, MAX_AXES + 5)) == MAX_AXES + 5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    costs=st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=14),
    num_pending=st.integers(0, 5),
    acquisition=st.sampled_from(["EI", "LCB", "PI", "gp_hedge"]),
    rungs=st.booleans(),
)
def test_a_suggestion_lies_in_the_space_and_is_always_the_same(
    *, seed: int, costs: list[float | None], num_pending: int, acquisition: str, rungs: bool
) -> None:
    name = "bayesian_asha, max_length: 64" if rungs else "bayesian"
    asked = experiment(f"{name}, max_trials: 99, initial_trials: 1, acquisition_function: {acquisition}", seed)
    method, index = method_of(asked), len(costs) + num_pending + 1
    drawn = [method.propose(number, [], []) for number in range(1, index)]
    points = [proposal.hyperparameters for proposal in drawn if isinstance(proposal, Proposal)]
    results = [
        Result(index=number + 1, hyperparameters=points[number], cost=cost, units=(1, 4, 64)[number % 3])
        for number, cost in enumerate(costs)
    ]
    outcome = method.propose(index, results, points[len(costs) :])
    if not isinstance(outcome, Proposal):
        request = json.loads(json.dumps(outcome.request))
        gaussian_process._fits.clear()
        first = suggest(request)
        assert suggest(request) == first, "a kept fit changes nothing"
        answer = outcome.answer(json.loads(json.dumps(first)))
        assert isinstance(answer, Proposal)
        outcome = answer
        assert outcome.chosen.std is not None and outcome.chosen.std >= 0
    assert not list(misfits(asked.hyperparameters, outcome.hyperparameters, ()))
    assert set(outcome.hyperparameters) == set(SPACE)
    optimizer = outcome.hyperparameters["optimizer"]
    assert set(optimizer) == ({"name", "momentum", "kind"} if optimizer["name"] == "sgd" else {"name", "inner"})


PENALTY = sys.float_info.max
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def told(costs: Sequence[float | None], units: int | None = None) -> list[Result]:
    drawn = [method_of(experiment()).propose(number, [], []) for number in range(1, len(costs) + 1)]
    points = [proposal.hyperparameters for proposal in drawn if isinstance(proposal, Proposal)]
    assert len(points) == len(costs)
    return [
        Result(index=index, hyperparameters=point, cost=cost, units=units)
        for index, (point, cost) in enumerate(zip(points, costs, strict=True), start=1)
    ]


def suggested(results: list[Result], acquisition: str) -> Proposal:
    search = f"bayesian, max_trials: 99, initial_trials: 1, acquisition_function: {acquisition}"
    question = method_of(experiment(search)).propose(50, results, [results[0].hyperparameters])
    assert not isinstance(question, Proposal)
    reply = json.loads(json.dumps(suggest(json.loads(json.dumps(question.request)))))
    proposal = question.answer(reply)
    assert isinstance(proposal, Proposal)
    return proposal


@pytest.mark.parametrize("penalty", [PENALTY, -PENALTY, 1e300, -1e155])
@pytest.mark.parametrize(("num_bad", "num_good"), [(1, 0), (1, 1), (2, 1), (3, 5), (4, 4), (5, 3), (7, 1), (40, 3)])
def test_penalties_as_large_as_numbers_are_leave_the_model_its_mind(
    num_bad: int, num_good: int, penalty: float
) -> None:
    """Given trials that report the largest number there is instead of failing; when the model is asked for another;
    then it answers with numbers."""
    chosen = suggested(told([penalty] * num_bad + [index / 10 for index in range(num_good)]), "EI").chosen
    assert chosen.mean is not None and chosen.std is not None
    assert math.isfinite(chosen.mean) and abs(chosen.mean) <= 10 * LARGEST
    assert math.isfinite(chosen.std)


@settings(max_examples=25, deadline=None)
@given(
    costs=st.lists(st.none() | FINITE | st.sampled_from([PENALTY, -PENALTY, 0.0, 5e-324]), min_size=1, max_size=14),
    acquisition=st.sampled_from(["EI", "LCB", "PI"]),
)
def test_whatever_the_costs_the_model_answers_with_numbers(costs: list[float | None], acquisition: str) -> None:
    if not all(cost is None for cost in costs):
        suggested(told(costs), acquisition)  # whose answer must be finite
        model = model_of(experiment("bayesian_asha, max_length: 64, max_trials: 99, judge_by: prediction"))
        results = told(costs, 64)
        assert model
        question = model.prediction({result.index: result.hyperparameters for result in results[:3]}, results)
        question.answer(json.loads(json.dumps(answer(json.loads(json.dumps(question.request))))))


@given(st.lists(st.none() | FINITE, min_size=1).filter(lambda costs: any(cost is not None for cost in costs)))
def test_no_cost_of_an_ordinary_search_is_moved_but_those_far_beyond_the_median(costs: list[float | None]) -> None:
    seen = sorted(cost for cost in costs if cost is not None)
    kept = tempered(costs)
    for cost, told_ in zip(costs, kept, strict=True):
        if cost is not None and cost <= seen[len(seen) // 2] and abs(cost) <= LARGEST:
            assert told_ == cost
        assert -LARGEST <= told_ <= LARGEST
    bounded = [None if cost is None else max(-LARGEST, min(LARGEST, cost)) for cost in costs]
    assert tempered(bounded) == kept, "beyond LARGEST all are alike"


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(9)), seed=st.integers(0, 1000))
def test_the_order_in_which_trials_are_pending_hardly_matters_to_the_model(order: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    points, pending = generator.random((9, 2)), np.empty((0, 2))
    costs = ((points - 0.3) ** 2).sum(1)
    kernel, _ = fit(points, costs, [prior(2)[0]])
    shuffled, _ = fit(points[order], costs[order], [prior(2)[0]])
    assert shuffled.theta == pytest.approx(kernel.theta, abs=0.1)
    one = Posterior(kernel, points, costs, pending, np.empty((0, 1)))
    other = Posterior(kernel, points[order], costs[order], pending, np.empty((0, 1)))
    at = generator.random((5, 2))
    assert one.predict(at)[0] == pytest.approx(other.predict(at)[0], abs=1e-5)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_rows_and_points_lead_to_each_other(seed: int) -> None:
    question = method_of(experiment("bayesian, max_trials: 9, initial_trials: 1")).propose(
        2, [Result(index=1, hyperparameters=first_point(), cost=1.0)], []
    )
    assert not isinstance(question, Proposal)
    columns = Columns(question.request["axes"])
    rows = columns.random(8, np.random.default_rng(seed))
    assert columns.snap(rows) == pytest.approx(rows, abs=1e-12)
    assert columns.encode([columns.decode(row) for row in rows]) == pytest.approx(rows, abs=1e-12)
    for row in rows:
        changed = columns.changes(row)
        assert columns.snap(changed) == pytest.approx(changed, abs=1e-12)
        assert all(np.abs(one - row).max() > 0 for one in changed)


def first_point() -> dict[str, Any]:
    proposal = method_of(experiment()).propose(1, [], [])
    assert isinstance(proposal, Proposal)
    return proposal.hyperparameters
