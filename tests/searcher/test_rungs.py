"""Brackets as Determined lays them out, and what holds on their rungs whatever the trials come to."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.searcher.adaptive_asha import highest_rungs, rungs_of_mode, split_concurrency, split_trials
from services.searcher.async_halving import bracket_plan
from services.searcher.method import BracketPlan
from services.searcher.methods import method_of, tournament_of
from services.searcher.rungs import Leaving, Rule, Status, Tournament, check_tournament, tournament
from shared.config import parse_experiment
from shared.config.searcher import hyperband_brackets


def one_bracket(
    rule: Rule, *, trials: int = 9, concurrent: int = 9, rungs: int = 3, divisor: float = 3, units: int = 900
) -> Tournament:
    plan = bracket_plan(
        num_units=units, divisor=divisor, num_rungs=rungs, num_trials=trials, max_concurrent_trials=concurrent
    )
    return tournament(rule, divisor, (plan,))


def entered(rule: Rule, count: int, **shape: int) -> Tournament:
    played = one_bracket(rule, **shape)
    for index in range(1, count + 1):
        played.enter(index, 0)
    return played


@pytest.mark.parametrize(
    ("units", "divisor", "rungs", "expected"),
    [(900, 3, 3, (100, 300, 900)), (100, 4, 1, (100,)), (10, 4, 4, (1, 1, 2, 10)), (16, 4, 3, (1, 4, 16))],
)
def test_each_rung_has_divisor_times_the_units_of_the_one_before(
    units: int, divisor: float, rungs: int, expected: tuple[int, ...]
) -> None:
    plan = bracket_plan(num_units=units, divisor=divisor, num_rungs=rungs, num_trials=5, max_concurrent_trials=2)
    assert plan == BracketPlan(units=expected, num_trials=5, num_concurrent=2)


@pytest.mark.parametrize(("given_", "trials", "expected"), [(0, 100, 16), (0, 7, 7), (30, 100, 30), (30, 9, 9)])
def test_without_a_limit_a_bracket_runs_what_one_trial_at_the_top_takes(
    given_: int, trials: int, expected: int
) -> None:
    plan = bracket_plan(num_units=100, divisor=4, num_rungs=3, num_trials=trials, max_concurrent_trials=given_)
    assert plan.num_concurrent == expected


@pytest.mark.parametrize(
    ("trials", "divisor", "rungs", "expected"),
    [
        (100, 4, (4, 3, 2), (70, 22, 8)),
        (100, 4, (5,), (100,)),
        (3, 4, (3, 2, 1), (1, 1, 1)),
        (4, 1.1, (3, 2, 1), (1, 1, 2)),
    ],
)
def test_trials_are_split_so_that_brackets_train_as_long(
    trials: int, divisor: float, rungs: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert split_trials(trials, divisor=divisor, rungs=rungs) == expected


@pytest.mark.parametrize(
    ("given_", "trials", "expected"),
    [(16, (70, 22, 8), (6, 5, 5)), (1, (70, 22, 8), (1, 1, 1)), (0, (70, 22, 8), (8, 8, 8)), (0, (9, 2), (4, 4))],
)
def test_concurrency_is_split_evenly(given_: int, trials: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert split_concurrency(given_, divisor=4, trials=trials) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("aggressive", (5,)), ("standard", (5, 4, 3)), ("conservative", (5, 4, 3, 2, 1))],
)
def test_modes_choose_the_brackets(mode: str, expected: tuple[int, ...]) -> None:
    assert rungs_of_mode(mode, num_rungs=5) == expected


def test_units_and_trials_bound_the_rungs() -> None:
    assert highest_rungs(10_000, 10_000, divisor=4, max_rungs=5) == 5
    assert highest_rungs(10_000, 20, divisor=4, max_rungs=5) == 3
    assert highest_rungs(3, 10_000, divisor=4, max_rungs=5) == 1
    assert highest_rungs(1000, 1000, divisor=10, max_rungs=5) == 3  # ln 1000/ln 10 is 2.999…


@given(
    trials=st.integers(1, 300),
    concurrent=st.integers(0, 40),
    divisor=st.floats(1.05, 9),
    units=st.integers(1, 10**6),
    mode=st.sampled_from(["aggressive", "standard", "conservative"]),
    rungs=st.lists(st.integers(1, 8), max_size=4),
)
def test_an_adaptive_search_has_all_its_trials_and_no_more(
    trials: int, concurrent: int, divisor: float, units: int, mode: str, rungs: list[int]
) -> None:
    rungs = rungs[:trials]
    experiment = parse_experiment(
        f"entrypoint: x\nsearcher: {{name: adaptive_asha, metric: loss, max_trials: {trials}, divisor: {divisor}, "
        f"max_length: {units}, max_concurrent_trials: {concurrent}, mode: {mode}, bracket_rungs: {rungs}}}"
    )
    played = tournament_of(experiment)
    assert played is not None
    assert method_of(experiment).num_trials == trials
    for bracket in played.brackets:
        assert 1 <= bracket.plan.num_concurrent <= bracket.plan.num_trials
        assert list(bracket.plan.units) == sorted(bracket.plan.units)
        assert bracket.plan.units[-1] == units


def test_hyperband_has_the_brackets_of_its_paper() -> None:
    experiment = parse_experiment(
        "entrypoint: x\nsearcher: {name: hyperband, metric: loss, max_length: 81, divisor: 3, max_concurrent_trials: 5}"
    )
    played = tournament_of(experiment)
    assert played is not None
    assert [(bracket.plan.units, bracket.plan.num_trials) for bracket in played.brackets] == [
        ((1, 3, 9, 27, 81), 81),
        ((3, 9, 27, 81), 34),
        ((9, 27, 81), 15),
        ((27, 81), 8),
        ((81,), 5),
    ]
    assert method_of(experiment).num_trials == experiment.num_trials == 143


@pytest.mark.parametrize(("num_units", "divisor", "most"), [(243, 3.0, 6), (242, 3.0, 5), (1000, 10.0, 4), (1, 3.0, 1)])
def test_hyperband_has_as_many_brackets_as_the_power_of_its_divisor(num_units: int, divisor: float, most: int) -> None:
    brackets = hyperband_brackets(num_units, divisor, 12)
    assert [num_rungs for num_rungs, _ in brackets] == list(range(most, 0, -1))
    assert brackets[0][1] == divisor ** (most - 1)


def test_the_first_at_a_rung_goes_on_and_then_only_the_best() -> None:
    played = entered(Rule.TIME, 4)
    for index, cost in ((1, 0.5), (2, 0.4), (3, 0.6), (4, 0.3)):
        played.reach(index, 100, cost, index)
    assert [played.standings[index].status for index in (1, 2, 3, 4)] == [
        Status.RUNNING,
        Status.RUNNING,
        Status.DROPPED,
        Status.RUNNING,
    ]
    assert played.standings[3].reason == "stopped at rung 1 of 3, 100 units: place 3 of 3 so far, 1 went on"


def test_an_equal_newcomer_goes_on_when_trials_are_stopped_and_waits_when_they_are_promoted() -> None:
    played = entered(Rule.TIME, 2)
    played.reach(1, 100, 0.5, 1)
    played.reach(2, 100, 0.5, 2)
    assert played.standings[2].rung == 1
    played = entered(Rule.PROMOTE, 3)
    for index in (1, 2, 3):
        played.reach(index, 100, 0.5, index)
    assert played.pending == {1: None}, "the first of the equals"


def test_a_late_report_passes_several_rungs() -> None:
    played = entered(Rule.TIME, 1)
    played.reach(1, 350, 0.5, 1)
    assert played.standings[1].rung == 2
    played.reach(1, 1000, 0.5, 2)
    assert played.standings[1].reason == "reached the last rung, 900 units"


def test_a_parked_trial_is_promoted_when_a_worse_one_follows() -> None:
    played = entered(Rule.PROMOTE, 3)
    for index, cost in ((1, 0.1), (2, 0.5)):
        played.reach(index, 100, cost, index)
    assert played.pending == {}
    played.reach(3, 100, 0.7, 3)
    assert (played.standings[1].rung, played.standings[1].status) == (1, Status.PROMOTED)
    assert played.standings[1].reason == "place 1 of 3 so far at rung 1"
    assert played.standings[3].status is Status.PARKED


def test_a_full_rung_drops_who_was_not_promoted() -> None:
    played = entered(Rule.PROMOTE, 3, trials=3, rungs=2)
    for index in (1, 2, 3):
        played.reach(index, 300, index, index)
    assert {index: played.standings[index].status for index in (1, 2, 3)} == {
        1: Status.PROMOTED,
        2: Status.DROPPED,
        3: Status.DROPPED,
    }


def test_a_failed_trial_counts_as_the_worst_and_holds_nobody_up() -> None:
    played = entered(Rule.PROMOTE, 3, trials=3, rungs=2)
    played.reach(1, 300, 0.5, 1)
    played.reach(2, 300, 0.4, 2)
    played.leave(3, 3, Leaving.WORST)
    assert played.standings[2].status is Status.PROMOTED
    played.leave(2, 4, Leaving.WORST)
    assert played.standings[1].status is Status.DROPPED
    assert played.brackets[0].num_settled == 2


@pytest.mark.parametrize("rule", Rule)
def test_a_rung_of_the_same_units_is_passed_by_the_same_cost(rule: Rule) -> None:
    played = entered(rule, 16, trials=16, concurrent=16, rungs=4, divisor=4, units=10)
    assert played.brackets[0].plan.units == (1, 1, 2, 10)
    for index in range(1, 17):
        played.reach(index, 1, index / 10, index)
    check_tournament(played)
    first, second, third, _ = played.brackets[0].rungs
    assert len(first.entries) == 16
    assert sorted(second.entries) == sorted(entry for entry in first.entries if entry[1] in first.promoted)
    assert second.promoted >= {1}
    assert third.entries == []
    if rule is Rule.PROMOTE:
        assert (first.promoted, second.promoted) == ({1, 2, 3, 4}, {1})
    assert all(played.units(played.standings[index]) == 2 for index in second.promoted)


def predicted(played: Tournament, index: int, cost: float, **others: float) -> None:
    """A trial comes to its rung, and a model says what it and others would come to."""
    played.hold(index, index)
    played.judge(index, cost, index, {int(name[1:]): expected for name, expected in others.items()})
    check_tournament(played)


def test_a_parked_trial_that_becomes_the_best_by_another_prediction_is_promoted() -> None:
    played = entered(Rule.PROMOTE, 4, trials=4, rungs=2, divisor=2)
    predicted(played, 1, 5.0)
    predicted(played, 2, 4.0)
    predicted(played, 3, 9.0, _1=1.0, _2=4.0)
    assert played.standings[1].status is Status.PROMOTED
    assert played.standings[1].reason == "place 1 of 3 so far at rung 1"
    predicted(played, 4, 8.0, _1=1.0, _2=4.0, _3=9.0)
    assert played.brackets[0].rungs[0].promoted == {1, 2}


def test_several_promoted_at_once_go_on_as_there_is_room() -> None:
    played = entered(Rule.PROMOTE, 6, trials=6, concurrent=4, rungs=2, divisor=2)
    for index in (1, 2, 3, 4):
        predicted(played, index, index)
    assert played.due() == [1, 2]
    for index in played.due():
        played.extend(index)
    predicted(played, 5, 9.0, _1=8.0, _2=7.0, _3=1.0, _4=2.0)
    assert [played.standings[index].status for index in (3, 4)] == [Status.PROMOTED] * 2
    assert played.due() == [3], "1, 2 and 6 train, and no more than four may"
    played.extend(3)
    assert played.due() == []
    predicted(played, 6, 9.5)
    assert played.due()[0] == 4


@pytest.mark.parametrize("leaving", [Leaving.WORST, Leaving.MISSING])
def test_a_trial_ended_while_it_is_parked_takes_no_promotion(leaving: Leaving) -> None:
    played = entered(Rule.PROMOTE, 6, trials=6, rungs=2, divisor=2)
    played.reach(1, 450, 0.5, 1)
    played.reach(2, 450, 0.1, 2)
    played.leave(1, 3, leaving)
    check_tournament(played)
    for index in (3, 4, 5):
        played.reach(index, 450, 0.1 * index + 0.5, index)
        check_tournament(played)
    assert played.brackets[0].rungs[0].promoted == {2, 3}, "of five that came, or of four"
    assert played.brackets[0].rungs[1].num_missing == 0


def test_who_was_dropped_takes_no_place_when_the_rung_has_entries_again() -> None:
    played = entered(Rule.PROMOTE, 4, trials=4, concurrent=8, rungs=2, divisor=2)
    for index in (1, 2, 3, 4):
        played.reach(index, 450, index, index)
    for index in (3, 4):
        played.leave(index, 5)
    played.resize([(8, 8)], 6)
    for index in (5, 6, 7, 8):
        played.enter(index, 0)
    for index in (5, 6, 7, 8):
        played.reach(index, 450, index, 10 + index)
        check_tournament(played)
    rung = played.brackets[0].rungs[0]
    assert rung.num_entered == 8 and rung.promoted == {1, 2, 5, 6}, "as many as of eight from the beginning"
    assert played.brackets[0].rungs[1].num_missing == 0


@given(
    rule=st.sampled_from(list(Rule)),
    units=st.sampled_from([1, 3, 900]),
    trials=st.integers(1, 30),
    concurrent=st.integers(1, 8),
    rungs=st.integers(1, 4),
    divisor=st.floats(1.5, 5),
    seed=st.integers(0, 10**6),
)
def test_whatever_trials_come_to_a_tournament_is_fair_and_ends(
    rule: Rule, units: int, trials: int, concurrent: int, rungs: int, divisor: float, seed: int
) -> None:
    """A trial passes a rung only if it is then among the best max(1, floor(n/divisor)) of the n seen there."""
    chance = random.Random(seed)
    played = one_bracket(rule, trials=trials, concurrent=concurrent, rungs=rungs, divisor=divisor, units=units)
    trained: dict[int, int] = {}
    num_entered = 0
    while True:
        for bracket in played.vacancies(1000):
            num_entered += 1
            played.enter(num_entered, bracket)
        assert played.brackets[0].num_active <= concurrent
        for index in list(played.pending):
            if played.standings[index].status is Status.PROMOTED:
                assert played.units(played.standings[index]) > trained[index], "there is nothing to train"
                played.extend(index)
            else:
                played.leave(index, 0, Leaving.DONE)
        check_tournament(played)
        running = [index for index, standing in played.standings.items() if standing.status is Status.RUNNING]
        if not running and not played.pending and not played.vacancies(1):
            break
        if running:
            index = chance.choice(running)
            before = [set(rung.promoted) for rung in played.brackets[0].rungs]
            trained[index] = played.units(played.standings[index])
            if chance.random() < 0.2:  # some fail
                played.leave(index, 0, Leaving.WORST)
            else:
                played.reach(
                    index, played.units(played.standings[index]), chance.choice([0.1, 0.2, chance.random()]), 0
                )
            for rung, passed in zip(played.brackets[0].rungs, before, strict=True):
                best = [entry for _, entry in rung.entries[: max(1, int(len(rung.entries) / divisor))]]
                assert rung.promoted - passed <= set(best)
    assert num_entered == trials
    assert played.standings == {}, "somebody hangs on a rung"


@given(
    trials=st.integers(1, 30),
    concurrent=st.integers(1, 8),
    rungs=st.integers(1, 4),
    units=st.sampled_from([3, 900]),
    divisor=st.floats(1.5, 5),
    seed=st.integers(0, 10**6),
)
def test_whatever_is_predicted_and_asked_for_no_promotion_is_lost_and_nobody_hangs(
    trials: int, concurrent: int, rungs: int, units: int, divisor: float, seed: int
) -> None:
    """Predictions change on the way, trials fail or are ended while they wait, limits are raised: the best are promoted
    that are there, no more train at a time than may, and no rung waits for somebody who never comes."""
    chance = random.Random(seed)
    played = one_bracket(Rule.PROMOTE, trials=trials, concurrent=concurrent, rungs=rungs, divisor=divisor, units=units)
    num_entered = num_missing = 0
    while True:
        for bracket in played.vacancies(1000):
            num_entered += 1
            played.enter(num_entered, bracket)
        for index in played.due():
            if played.standings[index].status is Status.PROMOTED:
                played.extend(index)
            else:
                played.leave(index, 0, Leaving.DONE)
        check_tournament(played)
        assert sum(rung.num_missing for rung in played.brackets[0].rungs) == num_missing, "a promotion went to nobody"
        running = [index for index, one in played.standings.items() if one.status is Status.RUNNING]
        assert len(running) <= concurrent
        parked = [index for index, one in played.standings.items() if one.status is Status.PARKED]
        if not running and not played.pending and not played.vacancies(1):
            break
        if chance.random() < 0.05 and num_entered < 60:
            played.resize([(max(num_entered, trials + chance.randrange(9)), concurrent)], 0)
        if running and chance.random() < 0.8:
            predict_or_fail(played, chance, chance.choice(running))
        elif parked:
            leaving = chance.choice([Leaving.WORST, Leaving.MISSING])
            num_missing += leaving is Leaving.MISSING
            played.leave(chance.choice(parked), 0, leaving)
    assert played.standings == {}, "somebody hangs on a rung"


def predict_or_fail(played: Tournament, chance: random.Random, index: int) -> None:
    cost = chance.choice([0.1, 0.2, chance.random()])
    if chance.random() < 0.1:
        played.leave(index, 0, Leaving.WORST)
    elif played.is_last(played.standings[index]):
        played.reach(index, played.units(played.standings[index]), cost, 0)
    else:
        played.hold(index, 0)
        others = {number: chance.random() for number in played.contenders(index, 5) if chance.random() < 0.8}
        played.judge(index, cost, 0, others)
