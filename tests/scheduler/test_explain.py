"""Why each trial waits, by the policy that makes it wait: given a history, when somebody asks, then so."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.engine import Engine
from services.scheduler.explain import line_up, matching, tell
from shared.events import (
    Event,
    ExperimentPaused,
    GPUAllocated,
    JobPrioritySet,
    MetricReported,
    Outcome,
    PolicyType,
    PoolPolicy,
    PreemptionRequested,
)
from shared.ids import ExperimentId
from shared.log import Recorded, envelope_of
from shared.queue import Needs, QueueQuestion, ReasonKind, Room, WaitingTrial
from tests.scheduler.world import EXPERIMENT, World, exited, joined, only, requested, submitted
from tests.support.history import BEGIN

ANYTHING = QueueQuestion()
PREEMPTIVE = PoolPolicy(preemption=True)
FIFO = PoolPolicy(type=PolicyType.FIFO)
FAIR = PoolPolicy(type=PolicyType.FAIR_SHARE, preemption=True)


def queue(world: World, question: QueueQuestion = ANYTHING) -> list[WaitingTrial]:
    """What the scheduler tells of a world's queue, in its order."""
    return explained(world, world.state.time + world.waited, question)


def explained(world: World, now: datetime, question: QueueQuestion = ANYTHING) -> list[WaitingTrial]:
    """What is told at a moment; an engine that has seen every event tells the same as one that has just begun."""
    told = []
    for engine in (world.engine, Engine()):
        books = engine.inspect(world.state, now)
        lines = line_up(world.state, books, now)
        told.append([item for item in tell(world.state, books, matching(lines, question)) if item is not None])
    assert told[0] == told[1]
    return told[0]


def told(world: World) -> dict[str, ReasonKind]:
    """Why each trial waits, in the order of service."""
    return {item.trial_id: item.reason.kind for item in queue(world)}


def test_it_is_told_how_many_slots_are_needed_free_and_who_goes_before() -> None:
    world = World(submitted(), joined("a", 2), requested(1, slots=2), requested(2, slots=2), requested(3))
    world.settle()
    second, third = queue(world)
    assert (second.position, second.trial_id, second.reason.kind) == (1, "exp-2", ReasonKind.NO_ROOM)
    assert second.text == "needs 2 slots; 0 of 2 are free"
    assert second.reason.room == Room(num_slots=2, num_free=0, most_free=0)
    assert second.needs == Needs(slots=2, num_agents=1, kinds=("cpu",))
    assert (third.position, third.ahead.num_trials, third.ahead.trials) == (2, 1, ("exp-2",))
    assert third.waiting_since == BEGIN + timedelta(milliseconds=5)


def test_a_gang_larger_than_any_agent_needs_whole_agents() -> None:
    world = World(submitted(), joined("a", 2), joined("b", 2), requested(1), requested(2, slots=4))
    world.settle()
    (waits,) = queue(world)
    assert waits.needs == Needs(slots=4, num_agents=2, kinds=("cpu",), whole_agents=True)


def test_what_could_never_fit_says_so_and_expects_nothing() -> None:
    world = World(submitted(), joined("a", 2), requested(1, slots=3))
    (waits,) = queue(world)
    assert (waits.reason.kind, waits.needs, waits.expected_start) == (ReasonKind.NEVER_FITS, None, None)
    assert waits.expected_why == "not as the pool is now"


def test_a_pool_without_agents_is_told_apart() -> None:
    assert told(World(submitted(), requested(1))) == {"exp-1": ReasonKind.NO_AGENTS}


def test_a_trial_that_is_about_to_start_does_not_wait_for_anything() -> None:
    world = World(submitted(), joined("a", 2), requested(1))
    assert told(world) == {"exp-1": ReasonKind.STARTING}


def test_first_come_first_served_names_the_head_of_the_line() -> None:
    world = World(submitted(), joined("a", 2), requested(1), requested(2, slots=2), requested(3), policy=FIFO)
    world.settle()
    head, behind = queue(world)
    assert (head.reason.kind, behind.reason.kind) == (ReasonKind.NO_ROOM, ReasonKind.BEHIND)
    assert (behind.reason.first, behind.reason.first_priority) == ("exp-2", 42)
    assert behind.text == "needs 1 slot; trial exp-2 (priority 42) goes before it"


def test_without_preemption_a_less_important_trial_must_not_fill_the_gap() -> None:
    world = World(submitted("low", priority=50), submitted(), joined("a", 2), requested(1))
    world.settle()
    world.fold([requested(1, slots=1, experiment_id="low"), requested(2, slots=2)])
    assert told(world) == {"exp-2": ReasonKind.NO_ROOM, "low-1": ReasonKind.NO_BACKFILL}
    assert queue(world)[1].reason.first == "exp-2"


def test_a_job_at_its_max_slots_waits_for_itself() -> None:
    world = World(submitted(max_slots=1), joined("a", 2), requested(1), requested(2))
    world.settle()
    (waits,) = queue(world)
    assert (waits.reason.kind, waits.reason.held, waits.reason.limit) == (ReasonKind.QUOTA, 1, 1)


def test_a_preemption_is_told_from_both_sides() -> None:
    world = World(submitted("low", priority=50), submitted(), joined("a", 2), policy=PREEMPTIVE)
    world.fold([requested(1, slots=2, experiment_id="low")])
    world.settle()
    world.fold([requested(1, slots=2)])
    assert queue(world)[0].reason.victims == ("low-1",)
    (asked,) = [event for event in world.settle() if isinstance(event, PreemptionRequested)]
    assert asked.claim is not None
    claim = asked.claim
    assert (claim.priority, claim.for_priority, claim.for_experiment_id, claim.for_slots) == (50, 42, EXPERIMENT, 2)
    (waits,) = queue(world)
    assert (waits.reason.kind, waits.victims) == (ReasonKind.MAKING_ROOM, ("low-1",))
    assert waits.text == "needs 2 slots; starts when low-1 has stopped"


def test_a_gang_that_waits_too_long_is_told_which_agents_are_kept() -> None:
    policy = PoolPolicy(reserve_after_s=10)
    world = World(submitted(), joined("a", 2), requested(1), requested(2, slots=2), policy=policy)
    world.settle()
    world.waited = timedelta(seconds=11)
    (waits,) = queue(world)
    assert (waits.reason.kind, waits.reason.kept) == (ReasonKind.RESERVED, ("a",))


def test_fair_share_tells_the_share_and_what_of_it_is_held() -> None:
    world = World(submitted(), submitted("other"), joined("a", 4), policy=FAIR)
    world.fold(
        [*(requested(index) for index in range(1, 5)), *(requested(n, experiment_id="other") for n in (1, 2, 3))]
    )
    world.settle()
    reasons = {item.trial_id: item.reason for item in queue(world)}
    assert {reason.kind for reason in reasons.values()} == {ReasonKind.OVER_SHARE}
    assert [(reason.held, reason.limit) for reason in reasons.values()] == [(2, 2)] * 3


def test_a_preemption_for_the_fair_share_tells_the_shares() -> None:
    world = World(submitted(), joined("a", 2), requested(1), requested(2), policy=FAIR)
    world.settle()
    world.fold([submitted("other"), requested(1, experiment_id="other")])
    (asked,) = [event for event in world.settle() if isinstance(event, PreemptionRequested)]
    assert asked.claim is not None and asked.claim.share is not None
    assert (asked.claim.share.offered, asked.claim.share.held) == (1, 2)
    assert [(share.experiment_id, share.offered, share.held) for share in asked.claim.short] == [("other", 1, 0)]


def test_trials_of_a_paused_experiment_come_last() -> None:
    world = World(submitted(), submitted("other"), joined("a", 1), requested(1, experiment_id="other"))
    world.settle()
    world.fold([requested(1), requested(2, experiment_id="other"), ExperimentPaused(experiment_id=EXPERIMENT)])
    assert told(world) == {"other-2": ReasonKind.NO_ROOM, "exp-1": ReasonKind.PAUSED}


def test_the_order_is_that_of_the_priorities() -> None:
    world = World(submitted(), submitted("urgent"), joined("a", 1), requested(1))
    world.settle()
    world.fold([requested(2), requested(1, experiment_id="urgent")])
    assert list(told(world)) == ["exp-2", "urgent-1"]
    world.fold([JobPrioritySet(experiment_id=ExperimentId("urgent"), priority=1)])
    assert list(told(world)) == ["urgent-1", "exp-2"]


def test_a_question_about_one_trial_or_experiment_or_pool_gets_just_that() -> None:
    world = World(submitted(), submitted("other"), requested(1), requested(1, experiment_id="other"), requested(2))
    (one,) = queue(world, QueueQuestion(trial_id="other-1"))
    assert (one.trial_id, one.position, one.ahead.num_experiments) == ("other-1", 3, 1)
    assert [item.trial_id for item in queue(world, QueueQuestion(experiment_id="exp"))] == ["exp-1", "exp-2"]
    assert queue(world, QueueQuestion(pool_id="nowhere")) == []


def test_an_allocation_says_who_else_had_room() -> None:
    world = World(submitted(), joined("a", 2), joined("b", 4), joined("c", 1), requested(1, slots=2))
    fit = only(world.settle()).fit
    assert fit is not None
    assert (fit.rule, fit.fitting, fit.num_roomy, fit.others) == ("one agent", "best", 2, {"b": 4})


def at(world: World, second: float, *events: Event) -> None:
    """Fold events that were said so many seconds after the begin."""
    for event in events:
        world.events.append(event)
        time = BEGIN + timedelta(seconds=second)
        envelope = envelope_of(event, writer="test", actor="test", correlation="test", time=time)
        world.engine.fold(world.state, Recorded(seq=len(world.events), envelope=envelope))


def reported(allocated: GPUAllocated, step: int) -> MetricReported:
    return MetricReported(
        trial_id=allocated.trial_id,
        experiment_id=allocated.experiment_id,
        allocation_id=allocated.allocation_id,
        epoch=allocated.epoch,
        agent_id=allocated.members[0].agent_id,
        step=step,
        metrics={"loss": 1.0},
    )


def lengthy(batches: int) -> Event:
    event = submitted()
    event.config["searcher"] = {"max_length": {"batches": batches}}
    return event


def start_of(world: World, now: datetime) -> tuple[float | None, str]:
    """When the first of the queue is expected to start, in seconds from the begin, and why so."""
    (item, *_) = explained(world, now)
    start = item.expected_start
    return (None if start is None else (start - BEGIN).total_seconds()), item.expected_why


def test_a_start_is_expected_from_the_speed_of_what_runs() -> None:
    world = World(lengthy(100), joined("a", 1), requested(1), requested(2))
    (decision,) = [event for event in (d.event for d in world.decide()) if isinstance(event, GPUAllocated)]
    at(world, 10, decision)
    start, why = start_of(world, BEGIN + timedelta(seconds=15))
    assert start is None
    assert why == "when trial exp-1 ends is not known: no trial of experiment exp has finished yet"
    at(world, 20, reported(decision, 10))
    at(world, 40, reported(decision, 30))
    start, why = start_of(world, BEGIN + timedelta(seconds=50))
    assert start == 110, "70 steps at one a second, from second 40"
    at(world, 51, requested(3))
    (_, third) = explained(world, BEGIN + timedelta(seconds=52))
    assert third.expected_start == BEGIN + timedelta(seconds=210), "100 steps at the speed of the first"
    assert "go on as they do" in why


def test_a_start_is_expected_from_the_trials_that_finished() -> None:
    world = World(submitted(), joined("a", 1), requested(1), requested(2), requested(3))
    second = 0.0
    for duration_s in (10.0, 20.0):
        allocated = next(event for event in (d.event for d in world.decide()) if isinstance(event, GPUAllocated))
        at(world, second, allocated)
        second += duration_s
        at(world, second, exited(allocated))
        at(world, second, *(decision.event for decision in world.decide()))
        if duration_s == 10.0:
            assert told(world) == {"exp-2": ReasonKind.STARTING, "exp-3": ReasonKind.NO_ROOM}
    at(world, 30, *(event for event in (d.event for d in world.decide())))
    at(world, 31, requested(4))
    start, _ = start_of(world, BEGIN + timedelta(seconds=32))
    assert start == 45, "two trials took 15 s each on average, and the third began at second 30"


def test_a_failure_teaches_nothing_about_durations() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    allocated = only(world.settle())
    world.fold([exited(allocated, Outcome.FAILED)])
    world.settle()
    assert world.state.durations.records[EXPERIMENT].num_finished == 0


@st.composite
def histories(draw: st.DrawFn) -> tuple[PoolPolicy, list[Event]]:
    """Agents, jobs and trials of every kind, some trials settled before the others come."""
    policy = PoolPolicy(
        type=draw(st.sampled_from(PolicyType)),
        preemption=draw(st.booleans()),
        heterogeneous_fits=draw(st.booleans()),
        reserve_after_s=draw(st.sampled_from([None, 0.001])),
    )
    agents = [joined(f"a{number}", draw(st.sampled_from([1, 2, 4]))) for number in range(draw(st.integers(0, 3)))]
    jobs = [
        submitted(f"j{number}", priority=draw(st.sampled_from([10, 42])), max_slots=draw(st.sampled_from([2, 9])))
        for number in range(3)
    ]
    trials = [
        requested(number, slots=draw(st.sampled_from([0, 1, 2, 4, 3])), experiment_id=f"j{draw(st.integers(0, 2))}")
        for number in range(draw(st.integers(1, 8)))
    ]
    paused: Iterable[Event] = [ExperimentPaused(experiment_id=ExperimentId("j0"))] if draw(st.booleans()) else []
    return policy, [*agents, *jobs, *trials, *paused]


@settings(max_examples=200, deadline=None)
@given(histories(), st.integers(0, 20))
def test_exactly_those_who_wait_are_told_why_and_what_is_told_comes_true(
    history: tuple[PoolPolicy, list[Event]], num_settled: int
) -> None:
    policy, events = history
    world = World(*events[:num_settled], policy=policy)
    world.settle()
    world.fold(events[num_settled:])
    items = queue(world)
    waiting = [trial_id for pool in world.state.waiting.values() for trial_id in pool]
    assert sorted(item.trial_id for item in items) == sorted(waiting)
    assert [item.position for item in items] == list(range(1, len(items) + 1))
    reasons = {item.trial_id: item for item in items}
    decided = [decision.event for decision in world.decide()]
    started = {event.trial_id for event in decided if isinstance(event, GPUAllocated)}
    assert started == {item.trial_id for item in items if item.reason.kind is ReasonKind.STARTING}
    for event in decided:
        if isinstance(event, PreemptionRequested) and event.for_trial_id:
            assert event.trial_id in reasons[event.for_trial_id].victims
    never = (ReasonKind.NEVER_FITS, ReasonKind.NO_AGENTS)
    for item in items:
        assert item.reason.kind is ReasonKind.PAUSED or (item.needs is None) == (item.reason.kind in never)
