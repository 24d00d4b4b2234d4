"""What each search method proposes."""

import itertools
import json

import pytest

from services.searcher.bayesian import MAX_OBSERVATIONS, NUM_TELLING, STEP, GaussianProcessQuestion, told_of
from services.searcher.method import Proposal, Result, SearchMethod
from services.searcher.methods import method_of
from services.searcher.warping import tempered
from shared.config import parse_experiment

SPACE = """
hyperparameters:
  lr: {type: log, minval: -4, maxval: -1, count: 3}
  width: {type: int, minval: 1, maxval: 8, count: 2}
  drop: {type: double, minval: 0, maxval: 0.5, count: 2}
  opt: {name: {type: categorical, vals: [adam, true, 1, [2]]}, decay: 0.1}
"""


def method(searcher: str, space: str = SPACE) -> SearchMethod:
    return method_of(parse_experiment(f"entrypoint: x\nsearcher: {{metric: loss, {searcher}}}\n{space}").with_seed(3))


def proposed(search: SearchMethod, index: int) -> Proposal:
    proposal = search.propose(index, [], [])
    assert isinstance(proposal, Proposal)
    return proposal


def asked(search: SearchMethod, index: int, results: list[Result], *pending: Proposal) -> GaussianProcessQuestion:
    question = search.propose(index, results, [proposal.hyperparameters for proposal in pending])
    assert isinstance(question, GaussianProcessQuestion)
    return question


def test_a_single_search_has_one_trial() -> None:
    search = method("name: single")
    assert (search.num_trials, search.num_concurrent, search.learns) == (1, 1, False)
    assert proposed(search, 1).origin == "the only trial"


def test_a_random_search_draws_each_trial_by_its_index() -> None:
    search = method("name: random, max_trials: 50, max_concurrent_trials: 0")
    assert (search.num_trials, search.num_concurrent) == (50, 50)
    trials = [proposed(search, index).hyperparameters for index in range(1, 51)]
    assert trials[7] == proposed(search, 8).hyperparameters
    assert len({json.dumps(trial) for trial in trials}) == 50
    assert all(trial["opt"]["decay"] == 0.1 for trial in trials)


def test_a_grid_search_visits_every_combination_in_order() -> None:
    search = method("name: grid")
    assert (search.num_trials, search.num_concurrent) == (2 * 3 * 4 * 2, 16)
    found = []
    for index in range(1, search.num_trials + 1):
        trial = proposed(search, index).hyperparameters
        found.append((trial["drop"], trial["lr"], json.dumps(trial["opt"]["name"]), trial["width"]))
    names = [json.dumps(name) for name in ("adam", True, 1, [2])]
    assert found == [
        (drop, pytest.approx(lr), name, width)
        for drop, lr, name, width in itertools.product((0, 0.5), (1e-4, 10**-2.5, 1e-1), names, (1, 8))
    ]
    assert proposed(search, 3).origin == "grid point 3 of 48"


def test_the_initial_design_has_one_trial_in_every_stratum_of_every_axis() -> None:
    search = method("name: bayesian, max_trials: 20, initial_trials: 8, initial_design: lhs")
    trials = [proposed(search, index) for index in range(1, 9)]
    assert sorted(trial.hyperparameters["width"] for trial in trials) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(int(trial.hyperparameters["drop"] / 0.5 * 8) for trial in trials) == list(range(8))
    assert trials[1].origin == "initial design 2 of 8"


def test_an_initial_design_never_exceeds_the_budget() -> None:
    assert proposed(method("name: bayesian, max_trials: 3"), 3).origin == "initial design 3 of 3"


def test_a_question_tells_costs_points_and_what_is_pending() -> None:
    search = method("name: bayesian, max_trials: 20, initial_trials: 3, acquisition_function: EI")
    first, second, third = (proposed(search, index) for index in (1, 2, 3))
    results = [
        Result(index=1, hyperparameters=first.hyperparameters, cost=0.5),
        Result(index=1, hyperparameters=second.hyperparameters, cost=None),
    ]
    question = asked(search, 4, results, third)
    assert question.origin == "Gaussian process, EI, 2 observed, 1 pending"
    assert question.request["costs"] == [0.5, None]
    assert len(question.request["points"]) == 2
    assert len(question.request["pending"]) == 1
    assert question.request == asked(search, 4, results, third).request
    assert question.request["seed"] != asked(search, 5, results, third).request["seed"]


def test_a_point_stands_for_the_hyperparameters_it_was_made_from() -> None:
    search = method("name: bayesian, max_trials: 20, initial_trials: 8")
    trials = [proposed(search, index) for index in range(1, 9)]
    results = [
        Result(index=1, hyperparameters=trial.hyperparameters, cost=float(index)) for index, trial in enumerate(trials)
    ]
    question = asked(search, 9, results)
    for trial, point in zip(trials, question.request["points"], strict=True):
        again = question.answer({"point": point, "mean": 0.0, "std": 1.0, "value": 0.0}).hyperparameters
        assert json.dumps(again["opt"]) == json.dumps(trial.hyperparameters["opt"])
        assert again["width"] == trial.hyperparameters["width"]
        assert again["lr"] == pytest.approx(trial.hyperparameters["lr"])


@pytest.mark.parametrize("point", [[], [0.1], [0.1, -2, 9, 1], ["a", "b", "c", "d"]])
def test_a_reply_that_is_no_point_is_refused(point: list[object]) -> None:
    search = method("name: bayesian, max_trials: 20, initial_trials: 1")
    question = asked(search, 2, [Result(index=1, hyperparameters=proposed(search, 1).hyperparameters, cost=1.0)])
    with pytest.raises((ValueError, LookupError)):
        question.answer({"point": point})


def test_one_diverged_trial_does_not_hide_the_differences_of_the_others() -> None:
    assert tempered([0.1, 0.2, 0.3, 0.4, 1e9, None]) == pytest.approx([0.1, 0.2, 0.3, 0.4, 1.3, 1.3])


def test_a_long_search_tells_the_newest_and_the_best_and_refits_now_and_then() -> None:
    results = [Result(index=number, hyperparameters={}, cost=float(number)) for number in range(1730)]
    told, num_fitted = told_of(results)
    half = NUM_TELLING // 2
    older = 1730 // STEP * STEP
    assert [result.index for result in told] == [*range(half), *range(older - half, older), *range(older, 1730)]
    assert num_fitted == NUM_TELLING
    assert told_of(results[:1701])[0][:NUM_TELLING] == told[:NUM_TELLING]
    assert len(told_of(results[:MAX_OBSERVATIONS])[0]) == MAX_OBSERVATIONS


def test_a_kernel_is_fitted_to_all_of_few_results_then_after_each_tenth_more() -> None:
    results = [Result(index=number, hyperparameters={}, cost=1.0) for number in range(MAX_OBSERVATIONS)]
    fitted = [told_of(results[:number])[1] for number in range(1, MAX_OBSERVATIONS + 1)]
    assert fitted[:22] == [*range(1, 21), 20, 22]
    assert all(0.9 * number < found <= number for number, found in enumerate(fitted, start=1))
    assert len(set(fitted)) < 65


def test_gp_hedge_lets_each_acquisition_function_choose_at_times() -> None:
    search = method("name: bayesian, max_trials: 100, initial_trials: 1, acquisition_function: gp_hedge")
    results = [Result(index=1, hyperparameters=proposed(search, 1).hyperparameters, cost=1.0)]
    questions = [asked(search, index, results) for index in range(2, 40)]
    assert {question.request["acquisition_function"] for question in questions} == {"EI", "LCB", "PI"}
    first = questions[0]
    assert (
        first.origin
        == f"Gaussian process, gp_hedge chose {first.request['acquisition_function']}, 1 observed, 0 pending"
    )
