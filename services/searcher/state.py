"""What the searcher knows: the open experiments, their open trials, and what a search method learns from.

Only what is open is kept. An experiment leaves with its last event, and a closed trial leaves its cost behind if the
method learns from it. `due` names the experiments that something happened to since they were last found settled: a
decision looks at those alone.

A trial's epoch is that of its newest GPUAllocated. What agents say about another epoch is void, and so is what they
say once the slots were taken back for any other reason than that the trial had ended.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from services.searcher.knowledge import Knowledge
from services.searcher.method import Result, SearchMethod
from services.searcher.methods import bracket_sizes, method_of, tournament_of
from services.searcher.progress import Ending, Progress
from services.searcher.rungs import Leaving, Rule, Status, Tournament, check_tournament
from shared.config import Experiment, load_experiment
from shared.config.limits import with_limits
from shared.config.searcher import EarlyStoppingCommon
from shared.errors import Rejected
from shared.events import (
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    GPUAllocated,
    GPUReleased,
    JobPoolSet,
    MetricReported,
    Outcome,
    ReleaseReason,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialExtended,
    TrialRequested,
    TrialRetried,
    TrialStopped,
)
from shared.ids import AgentId, ExperimentId, PoolId, TrialId
from shared.log import Recorded

MAX_REASON = 500
MAX_SETTLED = 500  # trials at a time; the next event goes on
LOOKAHEAD_SHARE = 8  # for each so many concurrent trials one is proposed before there is room for it
MAX_INTERRUPTIONS = 10  # in a row; then it is no accident any more


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The best validation so far, as it was reported."""

    trial_id: TrialId
    metric: float
    step: int | None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's processes ended by themselves, and nothing was decided about it yet."""

    has_completed: bool
    reason: str
    seq: int
    is_final: bool = False  # trying again would not help
    agent_id: AgentId | None = None  # the rest is about the root cause of a failure
    rank: int | None = None
    exit_code: int | None = None
    line: str | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """An open trial."""

    trial_id: TrialId
    index: int
    hyperparameters: dict[str, Any]  # sampled from the user's space; empty where nothing depends on them
    restarts: int = 0
    epoch: int = 0
    is_void: bool = True  # nothing that agents may say about this epoch counts
    holds_slots: bool = False
    freed_seq: int  # since when it holds no slots
    best: Best | None = None
    exit: Exit | None = None
    interruptions: int = 0  # in a row, without a validation in between
    newest_cost: float | None = None  # since it began to train for its rung
    has_told_time: bool = False  # reported the time metric, where trials are compared by it
    is_stopped: bool = False  # told to end
    canceled_seq: int | None = None  # a user ended it
    retry_of: TrialId | None = None  # the trial that failed with the same hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A configuration to be tried once more, and the trial that failed with it."""

    trial_id: TrialId
    hyperparameters: dict[str, Any]
    seq: int  # its end


@dataclass(slots=True, kw_only=True)
class Search:
    """An open experiment."""

    experiment_id: ExperimentId
    config: Experiment
    submitted_seq: int
    enabled_seq: int  # the newest event that made room for another trial
    is_paused: bool = False
    pool_id: PoolId | None = None  # where somebody moved it
    canceled_seq: int | None = None
    ending: Ending | None = None
    progress: Progress = field(default_factory=Progress)
    num_requested: int = 0
    num_completed: int = 0
    open: dict[TrialId, Trial] = field(default_factory=dict)
    exited: dict[TrialId, None] = field(default_factory=dict)  # the open trials with an `exit`
    canceled: dict[TrialId, None] = field(default_factory=dict)  # the open trials that a user ended
    retries: list[Retry] = field(default_factory=list)  # the next trials, before the method is asked
    knowledge: Knowledge = field(default_factory=Knowledge)  # if the method learns
    best: Best | None = None
    last_failure: str = ""
    tournament: Tournament | None = None  # if the trials compete on rungs

    @property
    def method(self) -> SearchMethod:
        """The search method that the configuration asks for; it keeps no state, so it need not be kept."""
        return method_of(self.config)

    @property
    def num_trials(self) -> int:
        """How many trials the search has in all, those requested before the limit was lowered included."""
        if self.tournament:
            return sum(bracket.plan.num_trials for bracket in self.tournament.brackets)
        return max(self.num_requested, self.method.num_trials)

    @property
    def remembers_hyperparameters(self) -> bool:
        """Whether anything can come to depend on an open trial's hyperparameters."""
        return self.method.learns or self.config.searcher.on_failure == "retry"

    def places(self, at_most: int) -> Sequence[int | None]:
        """Return one entry for each trial that may be requested now: its bracket, if trials compete on rungs."""
        if self.is_paused or self.ending or self.canceled_seq is not None:
            return ()
        if self.tournament:
            return self.tournament.vacancies(at_most)
        num_left = self.num_trials - self.num_requested
        return (None,) * min(num_left, self.method.num_concurrent - len(self.open), at_most)

    def look_ahead(self, seq: int) -> None:
        """Settle from which results the next trials are proposed."""
        method = self.method
        if not method.learns or self.is_paused or self.ending or self.canceled_seq is not None:
            return
        num_ahead = len(self.places(MAX_SETTLED)) + method.num_concurrent // LOOKAHEAD_SHARE
        last = min(self.num_trials, self.num_requested + num_ahead)
        self.knowledge.settle(self.num_requested + 1, last, seq)

    def learn(self, trial: Trial, cost: float | None, units: int | None = None, *, is_missing: bool = False) -> None:
        """Keep what came of a trial, if the method learns from anything."""
        if self.method.learns:
            hyperparameters = trial.hyperparameters
            result = Result(
                index=trial.index, hyperparameters=hyperparameters, cost=cost, units=units, is_missing=is_missing
            )
            self.knowledge.results.append(result)

    def reach(self, tournament: Tournament, trial: Trial, units: float, seq: int) -> None:
        """A trial has trained this far: judge it by its newest cost, if it stands before a rung, and learn from it."""
        before, cost = tournament.standings[trial.index], trial.newest_cost
        tournament.reach(trial.index, units, math.inf if cost is None else cost, seq)
        if tournament.standings[trial.index] != before:
            self.learn(trial, cost, int(units))

    def learn_end(self, trial: Trial, leaving: Leaving) -> None:
        """Keep what came of a closed trial, unless a rung has told it."""
        if leaving is Leaving.DONE and self.tournament and self.knowledge.knows(trial.index):
            return
        cost = self.cost(trial.best.metric) if leaving is Leaving.DONE and trial.best else None
        self.learn(trial, cost, is_missing=leaving is Leaving.MISSING)

    def cost(self, metric: float) -> float:
        """Return the metric turned so that less is better."""
        return metric if self.config.searcher.smaller_is_better else -metric

    def better(self, one: Best | None, other: Best | None) -> Best | None:
        """Return the better of two; the first if they are equal."""
        if one is None or other is None:
            return one or other
        return other if self.cost(other.metric) < self.cost(one.metric) else one


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An experiment whose stored configuration this program cannot read."""

    experiment_id: ExperimentId
    submitted_seq: int
    reason: str


@dataclass(slots=True, kw_only=True)
class State:
    """Everything the searcher decides from."""

    searches: dict[ExperimentId, Search] = field(default_factory=dict)
    unreadable: dict[ExperimentId, Unreadable] = field(default_factory=dict)
    experiment_of: dict[TrialId, ExperimentId] = field(default_factory=dict)  # of open trials
    due: dict[ExperimentId, None] = field(default_factory=dict)


def evolve(state: State, recorded: Recorded) -> None:
    """Fold one event into the state, in place."""
    event = recorded.event
    match event:
        case ExperimentSubmitted():
            _submitted(state, event, recorded.seq)
        case ExperimentCompleted() | ExperimentFailed() | ExperimentStopped():
            _forget(state, event.experiment_id)
        case (
            ExperimentPaused()
            | ExperimentResumed()
            | ExperimentCanceled()
            | SearchLimitsSet()
            | JobPoolSet()
            | TrialRequested()
        ):
            _evolve_search(state, event, recorded.seq)
        case TrialRetried() | TrialExtended() | TrialStopped():
            _told(state, event)
        case TrialClosed():
            _closed(state, event, recorded.seq)
        case GPUAllocated() | GPUReleased() | MetricReported() | TrialExited() | TrialCanceled():
            _evolve_trial(state, event, recorded.seq)
    _look_ahead(state, event, recorded.seq)


def _look_ahead(state: State, event: Event | None, seq: int) -> None:
    experiment_id = getattr(event, "experiment_id", None)
    if search := state.searches.get(experiment_id) if experiment_id else None:
        search.look_ahead(seq)


def _submitted(state: State, event: ExperimentSubmitted, seq: int) -> None:
    experiment_id = event.experiment_id
    state.due[experiment_id] = None
    try:
        config = load_experiment(event.config)
    except Rejected as error:
        reason = "; ".join([error.title, *map(str, error.problems)])[:MAX_REASON]
        state.unreadable[experiment_id] = Unreadable(experiment_id=experiment_id, submitted_seq=seq, reason=reason)
        return
    state.searches[experiment_id] = Search(
        experiment_id=experiment_id,
        config=config,
        submitted_seq=seq,
        enabled_seq=seq,
        tournament=tournament_of(config),
    )


def _forget(state: State, experiment_id: ExperimentId) -> None:
    state.unreadable.pop(experiment_id, None)
    state.due.pop(experiment_id, None)
    search = state.searches.pop(experiment_id, None)
    for trial_id in search.open if search else ():
        del state.experiment_of[trial_id]


def _evolve_search(
    state: State,
    event: ExperimentPaused | ExperimentResumed | ExperimentCanceled | SearchLimitsSet | JobPoolSet | TrialRequested,
    seq: int,
) -> None:
    search = state.searches.get(event.experiment_id)
    if search is None:
        if isinstance(event, ExperimentCanceled):
            _forget(state, event.experiment_id)
        return
    state.due[event.experiment_id] = None
    match event:
        case ExperimentPaused():
            search.is_paused = True
        case ExperimentResumed():
            search.is_paused = False
            search.enabled_seq = seq
        case ExperimentCanceled():
            search.canceled_seq = seq
        case JobPoolSet():
            search.pool_id = event.pool_id
        case SearchLimitsSet():
            _limit(search, event, seq)
        case TrialRequested():
            _requested(state, search, event, seq)


def _limit(search: Search, event: SearchLimitsSet, seq: int) -> None:
    limits = {"max_trials": event.max_trials, "max_concurrent_trials": event.max_concurrent_trials}
    search.config = with_limits(search.config, limits)
    search.enabled_seq = seq
    if search.tournament:
        search.tournament.resize(bracket_sizes(search.config, search.tournament), seq)


def _told(state: State, event: TrialRetried | TrialExtended | TrialStopped) -> None:
    """The search said of an open trial how it goes on."""
    search = state.searches.get(event.experiment_id)
    trial = search.open.get(event.trial_id) if search else None
    if search is None or trial is None:
        return
    state.due[event.experiment_id] = None
    match event:
        case TrialRetried():
            search.exited.pop(trial.trial_id, None)
            trial = replace(trial, restarts=event.restarts, exit=None, is_void=True)
        case TrialExtended():
            trial = replace(trial, newest_cost=None)
            if search.tournament:
                search.tournament.extend(trial.index)
        case TrialStopped():
            trial = replace(trial, is_stopped=True)
    search.open[trial.trial_id] = trial


def _requested(state: State, search: Search, event: TrialRequested, seq: int) -> None:
    search.num_requested = event.index
    search.knowledge.requested(event.index)
    search.open[event.trial_id] = Trial(
        trial_id=event.trial_id,
        index=event.index,
        hyperparameters=event.hyperparameters if search.remembers_hyperparameters else {},
        freed_seq=seq,
        retry_of=event.retry_of,
    )
    search.retries = [retry for retry in search.retries if retry.trial_id != event.retry_of]
    state.experiment_of[event.trial_id] = event.experiment_id
    if search.tournament:
        search.tournament.enter(event.index, event.bracket or 0)
        if search.tournament.is_overfull:  # the request crossed a limit that was lowered
            search.tournament.resize(bracket_sizes(search.config, search.tournament), seq)


def _closed(state: State, event: TrialClosed, seq: int) -> None:
    search = state.searches.get(event.experiment_id)
    trial = search.open.pop(event.trial_id, None) if search else None
    if search is None or trial is None:
        return
    state.due[event.experiment_id] = None
    del state.experiment_of[event.trial_id]
    search.exited.pop(event.trial_id, None)
    search.canceled.pop(event.trial_id, None)
    search.enabled_seq = seq
    if event.end is TrialEnd.COMPLETED:
        search.num_completed += 1
        search.best = search.better(search.best, trial.best)
    elif event.end is TrialEnd.FAILED:
        search.last_failure = event.reason
    _learn(search, trial, event, seq)


def _learn(search: Search, trial: Trial, event: TrialClosed, seq: int) -> None:
    """Let rungs, model and patience know what came of a trial, as far as it counts."""
    leaving = _leaving(search, trial, event)
    if search.tournament:
        search.tournament.leave(trial.index, seq, leaving)
    if leaving is Leaving.MISSING and event.end is TrialEnd.FAILED and search.config.searcher.on_failure == "retry":
        search.retries.append(Retry(trial_id=trial.trial_id, hyperparameters=trial.hyperparameters, seq=seq))
        search.knowledge.unsettle()
    search.learn_end(trial, leaving)
    if leaving is not Leaving.MISSING and trial.canceled_seq is None:
        _end_early(search, search.progress.closed(search.config.searcher, trial.index), seq)


def _leaving(search: Search, trial: Trial, event: TrialClosed) -> Leaving:
    """Return how a closed trial counts. What a user ended counts as what failed, but is not tried again."""
    if event.end is TrialEnd.COMPLETED:
        return Leaving.DONE
    on_failure = search.config.searcher.on_failure
    is_tried_again = on_failure == "retry" and event.end is TrialEnd.FAILED and trial.retry_of is None
    return Leaving.MISSING if on_failure == "ignore" or is_tried_again else Leaving.WORST


def _end_early(search: Search, reason: str | None, seq: int) -> None:
    """Note the first reason for which the search is over."""
    if reason is not None and search.ending is None:
        search.ending = Ending(reason=reason, seq=seq)


def _evolve_trial(
    state: State, event: GPUAllocated | GPUReleased | MetricReported | TrialExited | TrialCanceled, seq: int
) -> None:
    experiment_id = state.experiment_of.get(event.trial_id)
    if experiment_id is None:
        return
    search = state.searches[experiment_id]
    trial = search.open[event.trial_id]
    match event:
        case GPUAllocated():
            trial = replace(trial, epoch=event.epoch, holds_slots=True, is_void=False)
        case GPUReleased() if event.epoch == trial.epoch:
            has_ended = event.reason is ReleaseReason.EXITED
            trial = replace(trial, holds_slots=False, freed_seq=seq, is_void=trial.is_void or not has_ended)
            state.due[experiment_id] = None
        case MetricReported() if event.epoch == trial.epoch and not trial.is_void:
            trial = _compare(state, search, replace(trial, interruptions=0), event, seq)
        case TrialCanceled() if trial.canceled_seq is None:
            trial = replace(trial, canceled_seq=seq)
            search.canceled[trial.trial_id] = None
            state.due[experiment_id] = None
        case TrialExited() if event.epoch == trial.epoch and not trial.is_void:
            interruptions = trial.interruptions + 1 if event.outcome is Outcome.INTERRUPTED else 0
            trial = replace(trial, interruptions=interruptions, is_void=True)
            has_arrived = event.outcome is Outcome.COMPLETED and _arrive(state, search, trial, seq)
            trial = replace(trial, exit=None if has_arrived else _exit(trial, event, seq))
            if trial.exit is not None:
                search.exited[trial.trial_id] = None
                state.due[experiment_id] = None
    search.open[trial.trial_id] = trial


def _compare(state: State, search: Search, trial: Trial, event: MetricReported, seq: int) -> Trial:
    """Return the trial with its validation, and say whether that ends the search, or the trial at its rung."""
    searcher = search.config.searcher
    metric = event.metrics.get(searcher.metric)
    if metric is None:
        return trial
    reported = Best(trial_id=trial.trial_id, metric=metric, step=event.step)
    trial = replace(trial, best=search.better(trial.best, reported), newest_cost=search.cost(metric))
    _end_early(search, search.progress.validated(searcher, trial.index, metric), seq)
    units = _time(search, event)
    if search.tournament and units is not None:
        trial = replace(trial, has_told_time=True)
        search.reach(search.tournament, trial, units, seq)
    if search.ending or (search.tournament and search.tournament.pending):
        state.due[search.experiment_id] = None
    return trial


def _time(search: Search, event: MetricReported) -> float | None:
    """Return how far a trial says it is, where trials are stopped while they run; in batches, if it tells no other
    time."""
    searcher = search.config.searcher
    if not isinstance(searcher, EarlyStoppingCommon) or searcher.max_length is not None or searcher.time_metric is None:
        return None
    units = event.metrics.get(searcher.time_metric)
    return event.step if units is None and searcher.time_metric == "batches" else units


def _arrive(state: State, search: Search, trial: Trial, seq: int) -> bool:
    """Where the search says how far trials train, judge one that has ended there; say whether it was judged.

    Without a validation on the way it counts as the worst.
    """
    tournament = search.tournament
    if tournament is None or tournament.rule is Rule.TIME:
        return False
    standing = tournament.standings[trial.index]
    if standing.status is not Status.RUNNING:
        return False
    search.reach(tournament, trial, tournament.units(standing), seq)
    state.due[search.experiment_id] = None
    return True


def _exit(trial: Trial, event: TrialExited, seq: int) -> Exit | None:
    """Return what needs a decision: nothing does when the trial was asked to stop or its machine was at fault, unless
    that has happened so often that the trial must be the cause."""
    match event.outcome:
        case Outcome.COMPLETED:
            return Exit(has_completed=True, reason="the training script ended", seq=seq)
        case Outcome.FAILED:
            return _failed(event, _failure(event), seq, is_final=False)
        case Outcome.INTERRUPTED if trial.interruptions >= MAX_INTERRUPTIONS:
            reason = f"interrupted {trial.interruptions} times without a validation, the last with {_failure(event)}"
            return _failed(event, reason, seq, is_final=True)
        case Outcome.PREEMPTED | Outcome.INTERRUPTED:
            return None


def _failed(event: TrialExited, reason: str, seq: int, *, is_final: bool) -> Exit:
    return Exit(
        has_completed=False,
        reason=reason,
        seq=seq,
        is_final=is_final,
        agent_id=event.failed_agent_id or event.agent_id,
        rank=event.rank,
        exit_code=event.exit_code,
        line=_last_line(event),
    )


def _failure(event: TrialExited) -> str:
    """Return a line about a failure: the exit code and the last line of the error, which names the exception."""
    code, line = "no exit code" if event.exit_code is None else f"exit code {event.exit_code}", _last_line(event)
    return f"{code}: {line}" if line else code


def _last_line(event: TrialExited) -> str | None:
    lines = [line.strip() for line in (event.error or "").splitlines() if line.strip()]
    return lines[-1][:MAX_REASON] if lines else None


def check_invariants(state: State) -> None:
    """Assert what must hold after every event; for tests."""
    open_trials = {trial_id for search in state.searches.values() for trial_id in search.open}
    assert set(state.experiment_of) == open_trials
    assert set(state.due) <= set(state.searches) | set(state.unreadable)
    for search in state.searches.values():
        assert len(search.open) <= search.num_requested <= search.num_trials
        assert set(search.exited) == {trial_id for trial_id, trial in search.open.items() if trial.exit}
        assert set(search.canceled) == {trial_id for trial_id, trial in search.open.items() if trial.canceled_seq}
        if search.tournament:
            check_tournament(search.tournament)
            assert set(search.tournament.standings) == {trial.index for trial in search.open.values()}
        assert search.method.learns or not search.knowledge.results
        if search.method.learns:
            num_places, settled = len(search.places(MAX_SETTLED)), search.knowledge.settled
            upcoming = range(search.num_requested + 1, search.num_requested + num_places + 1)
            assert set(upcoming) <= set(settled), "a trial could be requested, but not be proposed"
            assert all(index > search.num_requested for index in settled)
