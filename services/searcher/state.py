"""What the searcher knows: the open experiments, their open trials, and what a search method learns from.

Only what is open is kept. An experiment leaves with its last event, and a closed trial leaves its cost behind if the
method learns from it. `due` names the experiments that something happened to since they were last found settled: a
decision looks at those alone.

A trial's epoch is that of its newest GPUAllocated. What agents say about another epoch is void, and so is what they
say once the slots were taken back for any other reason than that the trial had ended.
"""

import math
from dataclasses import dataclass, field

from msgspec.structs import replace

from services.searcher.exits import MAX_REASON, exit_of, lost
from services.searcher.methods import bracket_sizes, tournament_of
from services.searcher.rungs import Leaving, Rule, Status, check_tournament
from services.searcher.search import MAX_SETTLED, Best, Retry, Search, Trial
from shared.config import load_experiment
from shared.config.limits import with_limits
from shared.config.searcher import EarlyStoppingCommon
from shared.errors import Rejected
from shared.events import (
    CheckpointSaved,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    FinalMetricPredicted,
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
from shared.ids import ExperimentId, TrialId
from shared.log import Recorded


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
        case TrialRetried() | TrialExtended() | TrialStopped() | FinalMetricPredicted():
            _told(state, event, recorded.seq)
        case TrialClosed():
            _closed(state, event, recorded.seq)
        case GPUAllocated() | GPUReleased() | MetricReported() | CheckpointSaved() | TrialExited() | TrialCanceled():
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
        submitted_trials=config.num_trials,
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


def _told(state: State, event: TrialRetried | TrialExtended | TrialStopped | FinalMetricPredicted, seq: int) -> None:
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
        case FinalMetricPredicted():
            _judge(search, trial, event, seq)
    search.open[trial.trial_id] = trial


def _judge(search: Search, trial: Trial, event: FinalMetricPredicted, seq: int) -> None:
    """Judge a trial by what a model expects of it; without that, by what it has come to."""
    if search.tournament and search.arrived.pop(trial.index, None) is not None:
        cost = trial.newest_cost if event.mean is None else search.cost(event.mean)
        others = {int(index): search.cost(mean) for index, mean in event.others.items()}
        search.tournament.judge(trial.index, math.inf if cost is None else cost, seq, others)


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
    search.arrived.pop(trial.index, None)
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
    was_counted = search.tournament is not None and search.tournament.has_parked(trial.index)
    if search.tournament:
        search.tournament.leave(trial.index, seq, leaving)
    if leaving is Leaving.MISSING and event.end is TrialEnd.FAILED and search.config.searcher.on_failure == "retry":
        search.retries.append(Retry(trial_id=trial.trial_id, hyperparameters=trial.hyperparameters, seq=seq))
        search.knowledge.unsettle()
    search.learn_end(trial, leaving)
    if leaving is not Leaving.MISSING and trial.canceled_seq is None and not was_counted:
        search.end_early(search.progress.counted(search.config.searcher, trial.index), seq)


def _leaving(search: Search, trial: Trial, event: TrialClosed) -> Leaving:
    """Return how a closed trial counts. What a user ended counts as what failed, but is not tried again."""
    if event.end is TrialEnd.COMPLETED or search.ending or search.canceled_seq is not None:
        return Leaving.DONE
    on_failure = search.config.searcher.on_failure
    is_tried_again = on_failure == "retry" and event.end is TrialEnd.FAILED and trial.retry_of is None
    return Leaving.MISSING if on_failure == "ignore" or is_tried_again else Leaving.WORST


def _evolve_trial(
    state: State,
    event: GPUAllocated | GPUReleased | MetricReported | CheckpointSaved | TrialExited | TrialCanceled,
    seq: int,
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
            trial = _freed(search, trial, event, seq)
            state.due[experiment_id] = None
        case MetricReported() if event.epoch == trial.epoch and not trial.is_void:
            trial = _compare(state, search, replace(trial, interruptions=0, losses=0), event, seq)
        case CheckpointSaved() if event.epoch == trial.epoch:
            trial = replace(trial, losses=0)
        case TrialCanceled() if trial.canceled_seq is None:
            trial = replace(trial, canceled_seq=seq)
            search.canceled[trial.trial_id] = None
            state.due[experiment_id] = None
        case TrialExited() if event.epoch == trial.epoch and not trial.is_void:
            interruptions = trial.interruptions + 1 if event.outcome is Outcome.INTERRUPTED else 0
            trial = replace(trial, interruptions=interruptions, losses=0, is_void=True)
            has_arrived = event.outcome is Outcome.COMPLETED and _arrive(state, search, trial, seq)
            trial = replace(trial, exit=None if has_arrived else exit_of(trial.interruptions, event, seq))
            if trial.exit is not None:
                search.exited[trial.trial_id] = None
                state.due[experiment_id] = None
    search.open[trial.trial_id] = trial


def _freed(search: Search, trial: Trial, event: GPUReleased, seq: int) -> Trial:
    """Return the trial without slots. What the chief said before counts more than the release's reason."""
    if event.reason is ReleaseReason.AGENT_LOST and not trial.is_void:
        losses = trial.losses + 1
        trial = replace(trial, losses=losses, exit=lost(losses, seq))
        if trial.exit is not None:
            search.exited[trial.trial_id] = None
    is_void = trial.is_void or event.reason is not ReleaseReason.EXITED
    return replace(trial, holds_slots=False, freed_seq=seq, is_void=is_void)


def _compare(state: State, search: Search, trial: Trial, event: MetricReported, seq: int) -> Trial:
    """Return the trial with its validation, and say whether that ends the search, or the trial at its rung.

    One that is not finite is none at a rung: the trial counts as the worst there.
    """
    searcher = search.config.searcher
    metric = event.metrics.get(searcher.metric)
    if metric is None and searcher.metric not in event.not_finite:
        return trial
    trial = replace(trial, newest_cost=None if metric is None else search.cost(metric))
    if metric is not None:
        reported = Best(trial_id=trial.trial_id, metric=metric, step=event.step)
        trial = replace(trial, best=search.better(trial.best, reported))
        search.end_early(search.progress.validated(searcher, trial.index, metric), seq)
    units = _time(search, event)
    if search.tournament and units is not None:
        trial = replace(trial, has_told_time=True)
        search.reach(search.tournament, trial, units, seq)
    if search.ending or search.arrived or (search.tournament and search.tournament.pending):
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
    if tournament.rule is Rule.PROMOTE and standing.rung == 0 and trial.canceled_seq is None:
        search.end_early(search.progress.counted(search.config.searcher, trial.index), seq)
    state.due[search.experiment_id] = None
    return True


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
            standings = search.tournament.standings
            assert set(standings) == {trial.index for trial in search.open.values()}
            assert set(search.arrived) == {i for i, one in standings.items() if one.status is Status.ARRIVED}
        assert search.method.learns or not search.knowledge.results
        if search.method.learns:
            num_places, settled = len(search.places(MAX_SETTLED)), search.knowledge.settled
            upcoming = range(search.num_requested + 1, search.num_requested + num_places + 1)
            assert set(upcoming) <= set(settled), "a trial could be requested, but not be proposed"
            assert all(index > search.num_requested for index in settled)
