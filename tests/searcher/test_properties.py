"""Whatever happens, in whatever order: budget, concurrency, one end a trial, one end an experiment."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.searcher.decide import question
from services.searcher.method import Answer, Prediction, Proposal
from services.searcher.rungs import Status
from services.searcher.state import State
from shared.events import (
    Event,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    Outcome,
    ReleaseReason,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialRequested,
    TrialRetried,
)
from shared.ids import trial_id
from tests.searcher.world import (
    EXPERIMENT,
    SUGGESTED,
    World,
    allocated,
    canceled,
    diverged,
    exited,
    paused,
    released,
    reported,
    resumed,
    submitted,
)

NUM_TRIALS, NUM_CONCURRENT, MAX_RESTARTS = 6, 3, 1
SPACE = "{lr: {type: log, minval: -4, maxval: -1, count: 3}, n: {type: categorical, vals: [1, 2]}}"
HALVING = f"metric: loss, divisor: 2, max_trials: {NUM_TRIALS}, max_concurrent_trials: {NUM_CONCURRENT}"
SEARCHERS = {
    "{name: single, metric: loss}": (1, 1),
    f"{{name: random, metric: loss, max_trials: {NUM_TRIALS}, max_concurrent_trials: {NUM_CONCURRENT}}}": (6, 3),
    f"{{name: grid, metric: loss, max_concurrent_trials: {NUM_CONCURRENT}}}": (6, 3),
    f"{{name: bayesian, metric: loss, max_trials: {NUM_TRIALS}, max_concurrent_trials: {NUM_CONCURRENT},"
    " initial_trials: 2}": (6, 3),
    f"{{name: asha, num_rungs: 3, {HALVING}, max_time: 9, time_metric: batches}}": (6, 3),
    # A trial that waits at a rung is open, but does not count as running.
    f"{{name: asha, num_rungs: 3, {HALVING}, max_length: 9}}": (6, 6),
    f"{{name: asha, num_rungs: 2, {HALVING}, max_length: 9, stop_once: true}}": (6, 6),
    # Rungs of 1, 1, 1 and 3 units.
    f"{{name: asha, num_rungs: 4, {HALVING}, max_length: 3}}": (6, 6),
    f"{{name: asha, num_rungs: 4, {HALVING}, max_length: 3, stop_once: true}}": (6, 6),
    f"{{name: adaptive_asha, {HALVING}, max_length: 9, patience: {{trials: 3}}}}": (6, 6),
    f"{{name: adaptive_asha, mode: conservative, {HALVING}, max_length: 9}}": (6, 6),
    f"{{name: adaptive_asha, mode: conservative, {HALVING}, max_length: 9, on_failure: retry}}": (6, 6),
    f"{{name: asha, num_rungs: 3, {HALVING}, max_time: 9, time_metric: batches, on_failure: ignore}}": (6, 3),
    f"{{name: bayesian_asha, initial_trials: 2, {HALVING}, max_length: 9}}": (6, 6),
    f"{{name: bayesian_asha, initial_trials: 2, {HALVING}, max_length: 9, judge_by: prediction}}": (6, 6),
    f"{{name: bayesian_asha, initial_trials: 2, {HALVING}, max_time: 9, time_metric: batches, judge_by: prediction}}": (
        6,
        3,
    ),
    "{name: hyperband, metric: loss, divisor: 2, max_rungs: 2, max_concurrent_trials: 3, max_length: 9}": (4, 4),
}
ACTIONS = (
    "allocate",
    "report",
    "complete",
    "fail",
    "interrupt",
    "lose",
    "diverge",
    "end one",
    "limit",
    "stale",
    "decide",
    "pause",
    "resume",
    "cancel",
)

steps = st.lists(
    st.tuples(st.sampled_from(ACTIONS[:-1] * 3 + ACTIONS[-1:]), st.integers(1, NUM_TRIALS), st.floats(-10, 10)),
    max_size=60,
)
searchers = st.sampled_from(sorted(SEARCHERS))


@dataclass(kw_only=True)
class Cluster:
    """A scheduler and its agents, reduced to the events they could append."""

    world: World
    epochs: dict[int, int] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    broken_from: int = NUM_TRIALS + 1  # the trial from which on the model fails
    is_canceled: bool = False
    is_limited: bool = False

    def act(self, action: str, index: int, value: float) -> None:
        """Let something happen, if it can."""
        epoch = self.epochs.get(index, 0)
        events: list[Event] = []
        match action:
            case "decide":
                decide_all(self.world, self.broken_from)
            case "pause" | "resume" | "cancel" if not self.is_canceled and EXPERIMENT in self.world.state.searches:
                self.is_canceled = action == "cancel"
                events = [{"pause": paused, "resume": resumed, "cancel": canceled}[action]()]
            case "limit" if EXPERIMENT in self.world.state.searches:
                self.is_limited = True
                limits = {"max_trials": index, "max_concurrent_trials": 1 + round(abs(value)) % NUM_CONCURRENT}
                events = [SearchLimitsSet(experiment_id=EXPERIMENT, **limits)]
            case "end one" if trial_id(EXPERIMENT, index) in self.world.state.experiment_of:
                events = [TrialCanceled(experiment_id=EXPERIMENT, trial_id=trial_id(EXPERIMENT, index))]
            case "diverge" if index in self.running:
                events = [diverged(index, epoch=epoch, step=index + round(abs(value)))]
            case "stale" if epoch > 1:
                events = [reported(index, value, epoch=epoch - 1), exited(index, Outcome.FAILED, epoch=epoch - 1)]
            case "allocate" if self.is_waiting(index):
                self.epochs[index] = epoch + 1
                self.running.add(index)
                events = [allocated(index, epoch + 1)]
            case "report" if index in self.running:
                events = [reported(index, value, epoch=epoch, step=index + round(abs(value)))]
            case "complete" | "fail" | "interrupt" | "lose" if index in self.running:
                self.running.discard(index)
                events = ending(action, index, epoch)
        self.world.fold(events)

    def is_waiting(self, index: int) -> bool:
        search = self.world.state.searches.get(EXPERIMENT)
        trial = search.open.get(trial_id(EXPERIMENT, index)) if search else None
        if search is None or trial is None or index in self.running or trial.exit or trial.is_stopped:
            return False
        return search.tournament is None or search.tournament.standings[index].status is Status.RUNNING


def ending(action: str, index: int, epoch: int) -> list[Event]:
    match action:
        case "complete":
            return [exited(index, epoch=epoch), released(index, epoch)]
        case "fail":
            return [exited(index, Outcome.FAILED, epoch=epoch), released(index, epoch)]
        case "interrupt":
            return [exited(index, Outcome.INTERRUPTED, epoch=epoch), released(index, epoch, ReleaseReason.PREEMPTED)]
    return [released(index, epoch, ReleaseReason.AGENT_LOST), exited(index, Outcome.FAILED, epoch=epoch)]


def decide_all(world: World, broken_from: int = NUM_TRIALS + 1) -> None:
    """Decide and answer questions until nothing is needed; those about trials from one on cannot be answered."""
    world.settle()
    while (search := world.state.searches.get(EXPERIMENT)) and (asked := question(search, world.answers)):
        about, _ = asked
        index = about[0]
        answer: Answer | str = Proposal(
            hyperparameters={"lr": 10.0**-index, "n": 1}, origin="suggested", chosen=SUGGESTED
        )
        if index in search.arrived:
            others = {number: float(number % 2) for number in search.arrived[index].others}
            answer = Prediction(mean=float(index % 3), std=0.1, others=others)
        if index >= broken_from:
            answer = "LinAlgError: no"
        world.answers.setdefault(EXPERIMENT, {})[about] = answer
        world.settle()


def play(searcher: str, history: list[tuple[str, int, float]], broken_from: int = NUM_TRIALS + 1) -> Cluster:
    world = World(submitted(searcher, space=SPACE, more=f"max_restarts: {MAX_RESTARTS}"))
    cluster = Cluster(world=world, broken_from=broken_from)
    for step in history:
        cluster.act(*step)
    return cluster


def finish(cluster: Cluster) -> None:
    """Let everything that is open run to its end."""
    if not cluster.is_canceled:
        cluster.act("resume", 1, 0)
    for _ in range(12 * NUM_TRIALS):
        decide_all(cluster.world, cluster.broken_from)
        for index in range(1, NUM_TRIALS + 1):
            cluster.act("allocate", index, 0)
            cluster.act("report", index, float(index))
            cluster.act("complete", index, 0)


def of_type(world: World, event_type: type[Event]) -> list[Event]:
    return [event for event in world.events if isinstance(event, event_type)]


@given(searcher=searchers, history=steps)
def test_budget_concurrency_and_restarts_are_never_exceeded(
    searcher: str, history: list[tuple[str, int, float]]
) -> None:
    cluster = play(searcher, history)
    world = cluster.world
    num_trials, num_concurrent = SEARCHERS[searcher]
    num_open, num_retries = 0, dict.fromkeys(range(NUM_TRIALS + 1), 0)
    for event in world.events:
        match event:
            case TrialRequested():
                num_open += 1
            case TrialClosed():
                num_open -= 1
            case TrialRetried():
                num_retries[int(event.trial_id.rsplit("-", 1)[1])] += 1
        assert num_open <= num_concurrent
    search = world.state.searches.get(EXPERIMENT)
    if search and search.tournament and not cluster.is_limited:
        standings = search.tournament.standings.values()
        most = max(NUM_CONCURRENT, len(search.tournament.brackets))
        assert sum(standing.status is Status.RUNNING for standing in standings) <= most
    assert max(num_retries.values()) <= MAX_RESTARTS
    requested = [event.index for event in world.events if isinstance(event, TrialRequested)]
    assert requested == list(range(1, len(requested) + 1))
    assert len(requested) <= num_trials


@given(searcher=searchers, history=steps, broken_from=st.integers(1, NUM_TRIALS + 1))
def test_every_trial_is_closed_once_and_every_experiment_ends_once(
    searcher: str, history: list[tuple[str, int, float]], broken_from: int
) -> None:
    cluster = play(searcher, history, broken_from)
    finish(cluster)
    world = cluster.world
    assert world.state == State(), "nothing is kept of what is closed"
    closed = [event.trial_id for event in world.events if isinstance(event, TrialClosed)]
    requested = [event.trial_id for event in world.events if isinstance(event, TrialRequested)]
    assert sorted(closed) == sorted(requested)
    ends = of_type(world, ExperimentCompleted) + of_type(world, ExperimentFailed) + of_type(world, ExperimentStopped)
    assert len(ends) == 1
    if not cluster.is_canceled and not cluster.is_limited and broken_from > NUM_TRIALS and "patience" not in searcher:
        assert len(requested) == SEARCHERS[searcher][0]


@given(searcher=searchers, history=steps)
def test_deciding_again_after_folding_what_was_decided_adds_nothing(
    searcher: str, history: list[tuple[str, int, float]]
) -> None:
    world = play(searcher, history).world
    assert world.decide() == world.decide()
    world.settle()
    world.state.due = dict.fromkeys([*world.state.searches, *world.state.unreadable])
    assert world.decide() == []


@given(searcher=searchers, history=steps)
def test_the_same_history_gives_the_same_state_and_the_same_decisions(
    searcher: str, history: list[tuple[str, int, float]]
) -> None:
    world = play(searcher, history).world
    again = World(*world.events)
    again.answers = world.answers
    assert again.state == world.state
    assert again.decide() == world.decide()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31 - 1))
def test_trials_depend_on_the_seed_and_their_index_alone(seed: int) -> None:
    def trials(num_concurrent: int) -> list[tuple[object, int]]:
        searcher = f"{{name: random, metric: loss, max_trials: 6, max_concurrent_trials: {num_concurrent}}}"
        event = submitted(searcher, space=SPACE)
        event.config["reproducibility"]["experiment_seed"] = seed  # type: ignore[attr-defined]
        cluster = Cluster(world=World(event))
        finish(cluster)
        return [
            (event.hyperparameters, event.seed) for event in cluster.world.events if isinstance(event, TrialRequested)
        ]

    assert trials(1) == trials(3)
