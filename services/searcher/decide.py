"""What the open searches need now: trials closed or retried, trials requested, experiments ended.

A search with closed or retried trials gets nothing else in the same decision: what comes next depends on them, and
the next decision sees them folded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.searcher.method import Proposal, Question
from services.searcher.space import generator
from services.searcher.state import Exit, Search, State, Trial, Unreadable
from shared.decisions import Decision
from shared.events import (
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    TrialClosed,
    TrialEnd,
    TrialRequested,
    TrialRetried,
)
from shared.events.experiment import ExperimentEvent
from shared.ids import ExperimentId, PoolId, trial_id

#: Of one search in one decision; the next one goes on.
MAX_REQUESTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a Question about trial `index`: a proposal, or the reason why there can be none."""

    index: int
    outcome: Proposal | str


Answers = Mapping[ExperimentId, Answer]


def decide(state: State, answers: Answers) -> list[Decision]:
    """Return the events that the experiments in `state.due` need now, grouped by experiment."""
    decisions: list[Decision] = []
    for experiment_id in state.due:
        if unreadable := state.unreadable.get(experiment_id):
            decisions.append(_give_up(unreadable))
        elif search := state.searches.get(experiment_id):
            decisions += _decide_search(search, answers.get(experiment_id))
    return decisions


def question(search: Search, answers: Answers) -> tuple[int, Question] | None:
    """Return what must be computed before the search can go on, with the index of the trial it is about.

    Ask only when `decide` wants nothing for this search.
    """
    index = search.num_requested + 1
    if not _has_room(search, index) or _usable(answers.get(search.experiment_id), index):
        return None
    proposed = _propose(search, index)
    return None if isinstance(proposed, Proposal) else (index, proposed)


def _decide_search(search: Search, answer: Answer | None) -> list[Decision]:
    if search.canceled_seq is not None:
        return list(_canceled_trials(search, search.canceled_seq)) if search.open else [_stop(search)]
    if search.exited:
        return [_after_exit(search, trial, exit_) for trial, exit_ in _exited_trials(search)]
    failure = _failure(search, answer)
    if not search.open and (failure or search.num_requested >= search.method.num_trials):
        return [_end(search, failure)]
    return [] if failure else list(_requests(search, answer))


def _exited_trials(search: Search) -> Iterator[tuple[Trial, Exit]]:
    for trial_id_ in search.exited:
        trial = search.open[trial_id_]
        if trial.exit is not None:
            yield trial, trial.exit


def _after_exit(search: Search, trial: Trial, exit_: Exit) -> Decision:
    if exit_.has_completed:
        never = "" if trial.best else f", without a validation of {search.config.searcher.metric}"
        return _close(search, trial, TrialEnd.COMPLETED, exit_.reason + never, (exit_.seq,))
    if trial.restarts < search.config.max_restarts and not exit_.is_final:
        event = TrialRetried(
            experiment_id=search.experiment_id,
            trial_id=trial.trial_id,
            restarts=trial.restarts + 1,
            reason=exit_.reason,
        )
        return _decision(event, exit_.seq)
    times = f"failed {trial.restarts + 1} times, the last with " if trial.restarts and not exit_.is_final else ""
    return _close(search, trial, TrialEnd.FAILED, times + exit_.reason, (exit_.seq,))


def _stop(search: Search) -> Decision:
    """End a canceled search with an event of its own: it refuses a TrialRequested that crossed the cancellation."""
    return _decision(ExperimentStopped(experiment_id=search.experiment_id), search.canceled_seq or search.enabled_seq)


def _canceled_trials(search: Search, canceled_seq: int) -> Iterator[Decision]:
    """Close the trials that hold no slots; the others are closed when theirs are released."""
    for trial in search.open.values():
        if trial.exit is not None and trial.exit.has_completed:
            yield _after_exit(search, trial, trial.exit)
        elif not trial.holds_slots:
            causes = tuple(sorted({canceled_seq, trial.freed_seq}))
            yield _close(search, trial, TrialEnd.CANCELED, "the experiment was canceled", causes)


def _close(search: Search, trial: Trial, end: TrialEnd, reason: str, causes: tuple[int, ...]) -> Decision:
    event = TrialClosed(
        experiment_id=search.experiment_id,
        trial_id=trial.trial_id,
        end=end,
        reason=reason,
        metric=trial.best.metric if trial.best else None,
        step=trial.best.step if trial.best else None,
    )
    return _decision(event, *causes)


def _requests(search: Search, answer: Answer | None) -> Iterator[Decision]:
    first = search.num_requested + 1
    for index in range(first, first + MAX_REQUESTS):
        if not _has_room(search, index):
            return
        usable = _usable(answer, index)
        proposed = usable.outcome if usable else _propose(search, index)
        if not isinstance(proposed, Proposal):
            return
        yield _request(search, index, proposed)


def _request(search: Search, index: int, proposal: Proposal) -> Decision:
    resources = search.config.resources
    event = TrialRequested(
        experiment_id=search.experiment_id,
        trial_id=trial_id(search.experiment_id, index),
        index=index,
        hyperparameters=proposal.hyperparameters,
        seed=generator(search.config.seed, index, "trial seed").randrange(2**31),
        slots=resources.slots_per_trial,
        pool_id=PoolId(resources.resource_pool),
        origin=proposal.origin,
    )
    return _decision(event, *sorted({search.submitted_seq, search.enabled_seq}))


def _has_room(search: Search, index: int) -> bool:
    """Say whether trial `index` may be requested now, the ones before it having been."""
    if search.is_paused or search.canceled_seq is not None or index > search.method.num_trials:
        return False
    num_open = len(search.open) + index - search.num_requested
    return num_open <= search.method.num_concurrent


def _propose(search: Search, index: int) -> Proposal | Question:
    pending = [trial.hyperparameters for trial in search.open.values()] if search.method.learns else []
    return search.method.propose(index, search.results, pending)


def _usable(answer: Answer | None, index: int) -> Answer | None:
    return answer if answer is not None and answer.index == index else None


def _failure(search: Search, answer: Answer | None) -> str | None:
    """Return why the search method cannot go on, or None."""
    usable = _usable(answer, search.num_requested + 1)
    return usable.outcome if usable and isinstance(usable.outcome, str) else None


def _end(search: Search, failure: str | None) -> Decision:
    if failure is None and search.num_completed:
        return _decision(
            ExperimentCompleted(
                experiment_id=search.experiment_id,
                best_trial_id=search.best.trial_id if search.best else None,
                best_metric=search.best.metric if search.best else None,
            ),
            search.enabled_seq,
        )
    if failure:
        reason = f"the search stopped after {search.num_requested} of {search.method.num_trials} trials: {failure}"
    else:
        reason = f"none of {search.num_requested} trials completed; the last: {search.last_failure}"
    return _decision(ExperimentFailed(experiment_id=search.experiment_id, reason=reason), search.enabled_seq)


def _give_up(unreadable: Unreadable) -> Decision:
    event = ExperimentFailed(experiment_id=unreadable.experiment_id, reason=unreadable.reason)
    return _decision(event, unreadable.submitted_seq)


def _decision(event: ExperimentEvent, *causes: int) -> Decision:
    return Decision(event=event, causes=causes, correlation=event.experiment_id)
