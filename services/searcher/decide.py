"""What the open searches need now: trials closed or retried, trials requested, experiments ended.

A search with closed or retried trials gets nothing else in the same decision: what comes next depends on them, and
the next decision sees them folded. A search that has reached its goal, or the end of its patience, requests nothing any
more: its trials are stopped and closed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from services.searcher import grounds
from services.searcher.exits import Exit
from services.searcher.method import Answer, Prediction, Proposal, Question
from services.searcher.progress import Ending
from services.searcher.rungs import Rule, Standing, Status
from services.searcher.search import Retry, Search, Trial
from services.searcher.space import generator
from services.searcher.state import State, Unreadable
from shared.config.searcher import EarlyStoppingCommon
from shared.decisions import Decision
from shared.events import (
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    Failure,
    FinalMetricPredicted,
    Judgement,
    Origin,
    OriginKind,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
    TrialRetried,
    TrialStopped,
)
from shared.events.experiment import ExperimentEvent
from shared.ids import ExperimentId, PoolId, trial_id

#: Of one search in one decision; the next one goes on.
MAX_REQUESTS = 500

#: What the reason of a trial's end begins with that was parked when the method could not go on.
SEARCH_STOPPED = "the search stopped: "

CANCELED_BY_HAND = "canceled by a user"


#: Which trial a Question is about, and the sequence that settled what its answer follows from: of a trial that was
#: requested already, what it would come to; of another, what it should be.
About = tuple[int, int]

#: What came of Questions: a proposal or a prediction, or the reason why there can be none.
Outcomes = Mapping[About, Answer | str]
Answers = Mapping[ExperimentId, Outcomes]


def decide(state: State, answers: Answers) -> list[Decision]:
    """Return the events that the experiments in `state.due` need now, grouped by experiment."""
    decisions: list[Decision] = []
    for experiment_id in state.due:
        if unreadable := state.unreadable.get(experiment_id):
            decisions.append(_give_up(unreadable))
        elif search := state.searches.get(experiment_id):
            decisions += _decide_search(search, answers.get(experiment_id, {}))
    return decisions


def question(search: Search, answers: Answers) -> tuple[About, Question] | None:
    """Return what must be computed before the search can go on, and which trial it is about; see `questions`."""
    return next(questions(search, answers), None)


def questions(search: Search, answers: Answers) -> Iterator[tuple[About, Question]]:
    """Yield what may be computed now: what trials at their rungs would come to, then the next trial.

    Ask only when `decide` wants nothing for this search. There may be a question before there is room for its trial.
    """
    if not search.method.learns or search.ending or search.canceled_seq is not None:
        return
    outcomes = answers.get(search.experiment_id, {})
    yield from search.predictions(outcomes)
    for index, outcome in () if search.is_paused else _upcoming(search, outcomes):
        if not isinstance(outcome, Proposal | str):
            yield (index, search.knowledge.settled[index].seq), outcome


def is_wanted(search: Search, about: About) -> bool:
    """Say whether the answer to a question is still good for anything."""
    index, seq = about
    if search.tournament and index in search.arrived:
        return search.tournament.standings[index].seq == seq
    return index > search.num_requested


def _decide_search(search: Search, outcomes: Outcomes) -> list[Decision]:
    if search.canceled_seq is not None:
        return list(_canceled_trials(search, search.canceled_seq)) if search.open else [_stop(search)]
    if search.exited:
        return [_after_exit(search, trial, exit_) for trial, exit_ in _exited_trials(search)]
    if search.ending:
        return list(_ended_trials(search, search.ending)) if search.open else [_end(search, None)]
    if told := list(_trials_canceled_by_hand(search)) or list(_predicted(search, outcomes)):
        return told
    if judged := list(_judgements(search)):
        return judged
    failure = _failure(search, outcomes)
    if failure and (parked := list(_parked_for_ever(search, failure))):
        return parked
    if not search.open and (failure or search.num_requested >= search.num_trials):
        return [_end(search, failure)]
    return [] if failure else list(_requests(search, outcomes))


def _exited_trials(search: Search) -> Iterator[tuple[Trial, Exit]]:
    for trial_id_ in search.exited:
        trial = search.open[trial_id_]
        if trial.exit is not None:
            yield trial, trial.exit


def _predicted(search: Search, outcomes: Outcomes) -> Iterator[Decision]:
    """Tell what a model expects of the trials that wait for that at a rung."""
    for index, arrival in search.arrived.items():
        assert search.tournament is not None
        standing = search.tournament.standings[index]
        answer = outcomes.get((index, standing.seq))
        event = FinalMetricPredicted(
            experiment_id=search.experiment_id,
            trial_id=trial_id(search.experiment_id, index),
            rung=standing.rung + 1,
            units=search.tournament.units(standing),
            num_observed=arrival.num_results,
        )
        if isinstance(answer, Prediction):
            others = {str(number): search.cost(mean) for number, mean in answer.others.items()}
            event = replace(event, mean=search.cost(answer.mean), std=answer.std, others=others)
            yield _decision(event, standing.seq)
        elif isinstance(answer, str):
            yield _decision(replace(event, reason=answer), standing.seq)


def _judgements(search: Search) -> Iterator[Decision]:
    """Tell the trials what the rungs have come to: go on, stop, or that they are over."""
    tournament = search.tournament
    for index in tournament.due() if tournament else ():
        assert tournament is not None
        trial, standing = search.open[trial_id(search.experiment_id, index)], tournament.standings[index]
        if trial.canceled_seq is not None:
            continue
        if standing.status is Status.PROMOTED:
            yield _extend(search, trial, standing, tournament.units(standing))
        elif tournament.rule is not Rule.TIME:
            yield _close_dropped(search, trial, standing, standing.seq)
        elif not trial.is_stopped:
            judgement = grounds.judgement(search, standing)
            yield _stop_trial(search, trial, standing.rung + 1, standing.reason, standing.seq, judgement)
        elif not trial.holds_slots:
            yield _close_dropped(search, trial, standing, standing.seq, trial.freed_seq)


def _parked_for_ever(search: Search, failure: str) -> Iterator[Decision]:
    """Close the trials that wait at rungs when none is left that could come there: the method cannot go on."""
    tournament, index = search.tournament, search.num_requested + 1
    if tournament is None or any(one.status is not Status.PARKED for one in tournament.standings.values()):
        return
    for trial in search.open.values():
        causes = tuple(sorted({tournament.standings[trial.index].seq, search.knowledge.settled[index].seq}))
        yield _close(search, trial, TrialEnd.COMPLETED, SEARCH_STOPPED + failure, causes)


def _extend(search: Search, trial: Trial, standing: Standing, target: int) -> Decision:
    event = TrialExtended(
        experiment_id=search.experiment_id,
        trial_id=trial.trial_id,
        rung=standing.rung + 1,
        target=target,
        reason=standing.reason,
        judgement=grounds.judgement(search, standing),
    )
    return _decision(event, standing.seq)


def _stop_trial(
    search: Search, trial: Trial, rung: int, reason: str, cause: int, judgement: Judgement | None = None
) -> Decision:
    event = TrialStopped(
        experiment_id=search.experiment_id, trial_id=trial.trial_id, rung=rung, reason=reason, judgement=judgement
    )
    return _decision(event, cause)


def _dropped(search: Search, trial: Trial) -> Standing | None:
    """Return where a trial stands that was judged for the last time."""
    standing = search.tournament.standings[trial.index] if search.tournament else None
    return standing if standing and standing.status is Status.DROPPED else None


def _after_exit(search: Search, trial: Trial, exit_: Exit) -> Decision:
    if dropped := _dropped(search, trial):
        return _close_dropped(search, trial, dropped, dropped.seq, exit_.seq)
    if exit_.has_completed:
        return _close(search, trial, TrialEnd.COMPLETED, exit_.reason + _never(search, trial), (exit_.seq,))
    if trial.canceled_seq is not None:
        causes = tuple(sorted({trial.canceled_seq, exit_.seq}))
        return _close(search, trial, TrialEnd.CANCELED, CANCELED_BY_HAND, causes)
    if trial.restarts < search.config.max_restarts and not exit_.is_final and not search.ending:
        event = TrialRetried(
            experiment_id=search.experiment_id,
            trial_id=trial.trial_id,
            restarts=trial.restarts + 1,
            reason=exit_.reason,
            failure=grounds.failure(search, exit_, trial.restarts + 1),
        )
        return _decision(event, exit_.seq)
    times = f"failed {trial.restarts + 1} times, the last with " if trial.restarts and not exit_.is_final else ""
    failure = grounds.failure(search, exit_, trial.restarts)
    return _close(search, trial, TrialEnd.FAILED, times + exit_.reason, (exit_.seq,), failure=failure)


def _never(search: Search, trial: Trial) -> str:
    """Return what a trial never reported although the search goes by it."""
    searcher, tournament = search.config.searcher, search.tournament
    if trial.best is None:
        return f", without a validation of {searcher.metric}"
    if tournament and tournament.rule is Rule.TIME and not trial.has_told_time:
        time_metric = searcher.time_metric if isinstance(searcher, EarlyStoppingCommon) else ""
        return f", and was compared with no other: it never reported its time_metric {time_metric}"
    return ""


def _ended_trials(search: Search, ending: Ending) -> Iterator[Decision]:
    """Stop the trials of a search that is over, then close each when it holds no slots.

    A waiting trial is stopped, too, before it is closed: slots that are on their way to it are given back then.
    """
    reason = f"the search is over: {ending.reason}"
    for trial in search.open.values():
        if not trial.is_stopped:
            yield _stop_trial(search, trial, 0, reason, ending.seq)
        elif not trial.holds_slots:
            end = TrialEnd.COMPLETED if trial.best else TrialEnd.CANCELED
            yield _close(search, trial, end, reason, tuple(sorted({ending.seq, trial.freed_seq})))


def _trials_canceled_by_hand(search: Search) -> Iterator[Decision]:
    for trial_id_ in search.canceled:
        trial = search.open[trial_id_]
        assert trial.canceled_seq is not None
        if not trial.holds_slots:
            causes = tuple(sorted({trial.canceled_seq, trial.freed_seq}))
            yield _close(search, trial, TrialEnd.CANCELED, CANCELED_BY_HAND, causes)
        elif not trial.is_stopped:
            yield _stop_trial(search, trial, 0, CANCELED_BY_HAND, trial.canceled_seq)


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


def _close_dropped(search: Search, trial: Trial, dropped: Standing, *causes: int) -> Decision:
    """Close a trial that was judged for the last time."""
    judged = grounds.judgement(search, dropped)
    return _close(search, trial, TrialEnd.COMPLETED, dropped.reason, causes, judgement=judged)


def _close(
    search: Search,
    trial: Trial,
    end: TrialEnd,
    reason: str,
    causes: tuple[int, ...],
    *,
    judgement: Judgement | None = None,
    failure: Failure | None = None,
) -> Decision:
    event = TrialClosed(
        experiment_id=search.experiment_id,
        trial_id=trial.trial_id,
        end=end,
        reason=reason,
        metric=trial.best.metric if trial.best else None,
        step=trial.best.step if trial.best else None,
        judgement=judgement,
        failure=failure,
    )
    return _decision(event, *causes)


def _requests(search: Search, outcomes: Outcomes) -> Iterator[Decision]:
    for bracket, (index, outcome) in zip(search.places(MAX_REQUESTS), _upcoming(search, outcomes), strict=False):
        if isinstance(outcome, Proposal):
            yield _request(search, index, outcome, bracket)


def _request(search: Search, index: int, proposal: Proposal, bracket: int | None) -> Decision:
    resources, retry = search.config.resources, _retry(search, index)
    event = TrialRequested(
        experiment_id=search.experiment_id,
        trial_id=trial_id(search.experiment_id, index),
        index=index,
        hyperparameters=proposal.hyperparameters,
        seed=generator(search.config.seed, index, "trial seed").randrange(2**31),
        slots=resources.slots_per_trial,
        pool_id=search.pool_id or PoolId(resources.resource_pool),
        origin=proposal.origin,
        bracket=bracket,
        target=_first_target(search, bracket),
        chosen=_in_metrics(search, proposal.chosen),
        retry_of=retry.trial_id if retry else None,
    )
    return _decision(event, *sorted({search.submitted_seq, search.enabled_seq, *([retry.seq] if retry else [])}))


def _retry(search: Search, index: int) -> Retry | None:
    """Return what trial `index` tries once more, if it does: not where a trial is laid out by its index."""
    number = index - max(search.num_requested, search.config.searcher.num_laid_out) - 1
    return search.retries[number] if 0 <= number < len(search.retries) else None


def _in_metrics(search: Search, chosen: Origin) -> Origin:
    """A method predicts costs; what is told about it is the metric."""
    return chosen if chosen.mean is None else replace(chosen, mean=search.cost(chosen.mean))


def _first_target(search: Search, bracket: int | None) -> int | None:
    tournament = search.tournament
    if tournament is None or bracket is None or tournament.rule is Rule.TIME:
        return None
    return tournament.brackets[bracket].plan.units[0]


def _upcoming(search: Search, outcomes: Outcomes) -> Iterator[tuple[int, Proposal | Question | str]]:
    """Yield what is known of the next trials, up to the first that is no proposal yet."""
    method, settled = search.method, search.knowledge.settled
    open_trials = {trial.index: trial.hyperparameters for trial in search.open.values()} if method.learns else {}
    ahead: dict[int, dict[str, Any]] = {}
    for index in range(search.num_requested + 1, search.num_trials + 1):
        outcome: Proposal | Question | str
        if retry := _retry(search, index):
            outcome = _once_more(retry)
        elif not method.learns:
            outcome = method.propose(index, (), ())
        elif index not in settled:
            return
        else:
            answer = outcomes.get((index, settled[index].seq))
            assert not isinstance(answer, Prediction), "it was asked for a proposal"
            outcome = answer or method.propose(index, *search.knowledge.of(index, open_trials, ahead))
        yield index, outcome
        if not isinstance(outcome, Proposal):
            return
        ahead[index] = outcome.hyperparameters


def _once_more(retry: Retry) -> Proposal:
    origin = f"the configuration that trial {retry.trial_id} failed with, once more"
    chosen = Origin(kind=OriginKind.GIVEN, design=retry.trial_id)
    return Proposal(hyperparameters=retry.hyperparameters, origin=origin, chosen=chosen)


def _failure(search: Search, outcomes: Outcomes) -> str | None:
    """Return why the search method cannot go on, or None."""
    index = search.num_requested + 1
    if search.num_requested >= search.num_trials or _retry(search, index):
        return None
    settled = search.knowledge.settled.get(index)
    outcome = outcomes.get((index, settled.seq)) if settled else None
    return outcome if isinstance(outcome, str) else None


def _end(search: Search, failure: str | None) -> Decision:
    if failure is None and search.num_completed:
        return _decision(
            ExperimentCompleted(
                experiment_id=search.experiment_id,
                best_trial_id=search.best.trial_id if search.best else None,
                best_metric=search.best.metric if search.best else None,
                reason=search.ending.reason if search.ending else "",
            ),
            *sorted({search.enabled_seq, *([search.ending.seq] if search.ending else [])}),
        )
    if failure:
        reason = f"the search stopped after {search.num_requested} of {search.num_trials} trials: {failure}"
    else:
        over = f" ({search.ending.reason})" if search.ending else ""
        reason = f"none of {search.num_requested} trials completed{over}; the last: {search.last_failure}"
    return _decision(ExperimentFailed(experiment_id=search.experiment_id, reason=reason), search.enabled_seq)


def _give_up(unreadable: Unreadable) -> Decision:
    event = ExperimentFailed(experiment_id=unreadable.experiment_id, reason=unreadable.reason)
    return _decision(event, unreadable.submitted_seq)


def _decision(event: ExperimentEvent, *causes: int) -> Decision:
    return Decision(event=event, causes=causes, correlation=event.experiment_id)
