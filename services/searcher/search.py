"""An open experiment: its open trials, the rungs they compete on, and what its method learns from."""

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from services.searcher.bayesian import Bayesian, PredictionQuestion
from services.searcher.exits import Exit
from services.searcher.knowledge import Knowledge
from services.searcher.method import Result, SearchMethod
from services.searcher.methods import method_of, model_of
from services.searcher.progress import Ending, Progress
from services.searcher.rungs import Leaving, Status, Tournament
from shared.config import Experiment
from shared.ids import ExperimentId, PoolId, TrialId

MAX_PREDICTED = 200  # others at a rung of which a model says anew what they would come to, when a trial comes there
MAX_SETTLED = 500  # trials at a time; the next event goes on
LOOKAHEAD_SHARE = 8  # for each so many concurrent trials one is proposed before there is room for it


class Best(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The best validation so far, as it was reported."""

    trial_id: TrialId
    metric: float
    step: int | None


class Trial(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    losses: int = 0  # of its agents, in a row, without a validation or a checkpoint in between
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A trial waits at a rung until a model has said what it would come to, and what some others there would that came
    before; from how many results."""

    num_results: int
    others: tuple[int, ...]


@dataclass(slots=True, kw_only=True)
class Search:
    """An open experiment."""

    experiment_id: ExperimentId
    config: Experiment
    submitted_trials: int  # as many as its file asked for; what is laid out at the beginning is laid out for these
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
    arrived: dict[int, Arrival] = field(default_factory=dict)  # the trials that wait for a prediction

    @property
    def method(self) -> SearchMethod:
        """The search method that the configuration asks for; it keeps no state, so it need not be kept."""
        return method_of(self.config, self.submitted_trials)

    @property
    def model(self) -> Bayesian | None:
        """The model that judges trials at their rungs, if one does."""
        return model_of(self.config, self.submitted_trials)

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
        """A trial has trained this far: judge it by its newest cost, if it stands before a rung, and learn from it.

        Where a model judges, it is held at the rung until that has said what the trial would come to; but not at the
        last one, where that is known.
        """
        before, cost = tournament.standings[trial.index], trial.newest_cost
        is_there = before.status is Status.RUNNING and units >= tournament.units(before)
        if is_there and cost is not None and not tournament.is_last(before) and self.model:
            self.learn(trial, cost, int(units))
            others = tournament.contenders(trial.index, MAX_PREDICTED)
            self.arrived[trial.index] = Arrival(num_results=len(self.knowledge.results), others=tuple(others))
            tournament.hold(trial.index, seq)
            return
        tournament.reach(trial.index, units, math.inf if cost is None else cost, seq)
        if tournament.standings[trial.index] != before:
            self.learn(trial, cost, int(units))

    def predictions(self, answered: Container[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], PredictionQuestion]]:
        """Yield what to ask the model about trials at rungs, each with the trial and the event that took it there."""
        model, tournament = self.model if self.arrived else None, self.tournament
        for index, arrival in self.arrived.items() if model else ():
            assert model is not None and tournament is not None
            about = (index, tournament.standings[index].seq)
            if about not in answered:
                results = self.knowledge.results[: arrival.num_results]
                known = {result.index: result.hyperparameters for result in results}
                yield about, model.prediction({number: known[number] for number in (index, *arrival.others)}, results)

    def learn_end(self, trial: Trial, leaving: Leaving) -> None:
        """Keep what came of a closed trial, unless a rung has told it."""
        if leaving is Leaving.DONE and self.tournament and self.knowledge.knows(trial.index):
            return
        cost = self.cost(trial.best.metric) if leaving is Leaving.DONE and trial.best else None
        self.learn(trial, cost, is_missing=leaving is Leaving.MISSING)

    def end_early(self, reason: str | None, seq: int) -> None:
        """Note the first reason for which the search is over."""
        if reason is not None and self.ending is None:
            self.ending = Ending(reason=reason, seq=seq)

    def cost(self, metric: float) -> float:
        """Return the metric turned so that less is better."""
        return metric if self.config.searcher.smaller_is_better else -metric

    def better(self, one: Best | None, other: Best | None) -> Best | None:
        """Return the better of two; the first if they are equal."""
        if one is None or other is None:
            return one or other
        return other if self.cost(other.metric) < self.cost(one.metric) else one
