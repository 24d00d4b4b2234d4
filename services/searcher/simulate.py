"""A search without a cluster: which trials it would have, how far each would train, what all that adds up to.

The method and the rungs are the real ones; the trials' metrics are made up
or read from a file. Where the searcher says how far to train, that is worked off first in, first out; where it only
stops trials, they train one after another.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from services.searcher.method import BracketPlan, Proposal, SearchMethod
from services.searcher.methods import method_of, model_of, tournament_of
from services.searcher.rungs import Leaving, Rule, Status, Tournament
from services.searcher.space import generator
from shared.config import Experiment
from shared.config.searcher import MAX_TRIALS, ModelCommon, SearchCommon
from shared.errors import Problem, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """What one trial comes to: a metric, or one for each of several lengths; and where it exits, if it does."""

    metric: float | None = None
    metrics: dict[int, float] = field(default_factory=dict)
    exits_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What trial after trial comes to: as `trials` say, else by a trend of costs, of which less is better."""

    trend: str
    seed: int
    smaller_is_better: bool
    trials: list[Scripted] | None = None

    def exits(self, index: int, units: int | None) -> bool:
        """Say whether trial `index` exits when it should report at some units, or (None) at all."""
        exits_at = self.exits_at(index)
        return exits_at is not None and (units is None or units >= exits_at)

    def exits_at(self, index: int) -> int | None:
        """Return from where on trial `index` exits, if it does."""
        trial = self._written(index)
        return trial.exits_at if trial else None

    def cost(self, index: int, units: int) -> float:
        """Return what trial `index` comes to after some units. Raises Rejected when the file does not say."""
        if trial := self._written(index):
            metric = self._metric(index, trial, units)
            return metric if self.smaller_is_better else -metric
        match self.trend:
            case "improving":
                return -index
            case "worsening":
                return index
            case "random":
                return generator(self.seed, "preview", index).random()
        return 0.0

    def _written(self, index: int) -> Scripted | None:
        if self.trials is None:
            return None
        if index > len(self.trials):
            raise Rejected(
                f"the metrics file ends with trial {len(self.trials)}, but the search needs trial {index} too"
            )
        return self.trials[index - 1]

    def _metric(self, index: int, trial: Scripted, units: int) -> float:
        """Its only metric, else the newest up to that length."""
        if trial.metric is not None:
            return trial.metric
        reached = [at for at in trial.metrics if at <= units]
        if not reached:
            problem = Problem(f"trials[{index - 1}].metrics", f"has no metric up to {units:,} units")
            raise Rejected("the metrics file says too little", (problem,))
        return trial.metrics[max(reached)]


@dataclass(slots=True, kw_only=True)
class Previewed:
    """A trial of the preview."""

    hyperparameters: dict[str, Any]
    targets: list[int] = field(default_factory=list)
    end: str = "completed"
    units: int | None = 0
    is_retry: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON output tells about it."""
        return {"hyperparameters": self.hyperparameters, "targets": self.targets, "end": self.end}


@dataclass(slots=True, kw_only=True)
class Preview:
    """The whole search, trained through."""

    brackets: list[tuple[BracketPlan, list[int]]] = field(default_factory=list)  # with the trials of each rung
    trials: list[Previewed] = field(default_factory=list)
    notes: tuple[str, ...] = ()  # where the experiment would go another way

    @property
    def total_units(self) -> int | None:
        """Units trained by all trials; None if the script decides how far it trains."""
        units = [trial.units for trial in self.trials if trial.units is not None]
        return sum(units) if units else None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        return {
            "brackets": [
                {
                    "rungs": [
                        {"units": units or None, "trials": count}
                        for units, count in zip(plan.units, counts, strict=True)
                    ],
                    "max_concurrent_trials": plan.num_concurrent,
                }
                for plan, counts in self.brackets
            ],
            "trials": [trial.as_json() for trial in self.trials],
            "total_units": self.total_units,
        }


def preview(experiment: Experiment, script: Script, report_every: int | None = None) -> Preview:
    """Return the search, trained through. Raises Rejected when the script has too little.

    Where trials are only stopped, they report every `report_every` units (at least 1); None: at each rung.
    """
    if report_every is not None and report_every < 1:
        raise Rejected(f"a trial cannot report every {report_every} units; give 1 or more")
    search, notes = experiment.searcher, tuple(_notes(experiment))
    if isinstance(search, ModelCommon):  # before its first result, so that every trial is one of the initial design
        cold = search.model_copy(update={"warm_start": None})
        experiment = experiment.model_copy(update={"searcher": cold})
    played = tournament_of(experiment)
    if played is None:
        return replace(_without_rungs(experiment, script), notes=notes)
    return replace(_Play(experiment, played, script).run(report_every), notes=notes)


def _notes(experiment: Experiment) -> Iterator[str]:
    search = experiment.searcher
    if isinstance(search, ModelCommon):
        yield "Trials are those of the initial design, which goes on here: a model learns from what trials came to."
    if search.goal is not None or search.patience:
        yield "The search is shown to its end: made-up metrics reach no goal, and try nobody's patience."
    if model_of(experiment):
        yield (
            f"Rungs judge trials by their {search.metric} here. The experiment's rungs judge them by what the model"
            " predicts (judge_by: prediction), and other trials may go on."
        )


def _without_rungs(experiment: Experiment, script: Script) -> Preview:
    method, length = method_of(experiment), experiment.searcher.max_length
    begun = _Begun(method, experiment.searcher)
    for index in range(1, method.num_trials + 1):
        while len(begun.trials) < min(method.num_trials, method.num_concurrent + index - 1):
            begun.begin()
        trial = begun.trials[index - 1]
        trial.targets, trial.units = ([length.count], length.count) if length else ([], None)
        if script.exits(index, trial.units):
            begun.exited(index)
    plan = BracketPlan(
        units=(length.count if length else 0,), num_trials=method.num_trials, num_concurrent=method.num_concurrent
    )
    return Preview(brackets=[(plan, [method.num_trials])], trials=begun.trials)


class _Begun:
    """The trials in the order of their creation; some try the configuration of one that exited once more."""

    def __init__(self, method: SearchMethod, search: SearchCommon) -> None:
        self.trials: list[Previewed] = []
        self._method, self._search = method, search
        self._retries: deque[Previewed] = deque()

    def begin(self) -> int:
        """Create a trial; return its index."""
        has_retry = self._retries and len(self.trials) >= self._search.num_laid_out
        retry = self._retries.popleft() if has_retry else None
        self.trials.append(_again(retry) if retry else _proposed(self._method, len(self.trials) + 1))
        return len(self.trials)

    def exited(self, index: int) -> Leaving:
        """Note that a trial has exited; return how it counts at its rung."""
        trial = self.trials[index - 1]
        trial.end = "exited"
        is_tried_again = self._search.on_failure == "retry" and not trial.is_retry
        if is_tried_again:
            self._retries.append(trial)
        return Leaving.MISSING if is_tried_again or self._search.on_failure == "ignore" else Leaving.WORST


class _Play:
    """A tournament, trial after trial."""

    def __init__(self, experiment: Experiment, played: Tournament, script: Script) -> None:
        self.played, self.script = played, script
        self.begun = _Begun(method_of(experiment), experiment.searcher)
        self.trials = self.begun.trials
        self.queue: deque[int] = deque()
        self.counts = [[0] * len(bracket.rungs) for bracket in played.brackets]

    def run(self, report_every: int | None) -> Preview:
        self._fill()
        while self.queue:
            index = self.queue.popleft()
            if self.played.rule is Rule.TIME:
                self._train_until_stopped(index, report_every)
            else:
                self._train_to_target(index)
            self._fill()
        brackets = [(bracket.plan, counts) for bracket, counts in zip(self.played.brackets, self.counts, strict=True)]
        return Preview(brackets=brackets, trials=self.trials)

    def _fill(self) -> None:
        """Tell the trials what was decided about them, then begin those there is room for."""
        for index in self.played.due():
            standing = self.played.standings[index]
            if standing.status is Status.PROMOTED:
                self.played.extend(index)
                self.queue.append(index)
            else:
                num_rungs = len(self.played.brackets[standing.bracket].rungs)
                self.trials[index - 1].end = "completed" if standing.rung == num_rungs - 1 else "stopped"
                self._note(index, standing.bracket, standing.rung)
                self.played.leave(index, 0)
        for bracket in self.played.vacancies(MAX_TRIALS):
            index = self.begun.begin()
            self.played.enter(index, bracket)
            self.queue.append(index)

    def _train_to_target(self, index: int) -> None:
        standing = self.played.standings[index]
        target = self.played.units(standing)
        self._note(index, standing.bracket, standing.rung)
        self.trials[index - 1].units = target
        if self.script.exits(index, target):
            self.played.leave(index, 0, self.begun.exited(index))
        else:
            self.played.reach(index, target, self.script.cost(index, target), 0)

    def _train_until_stopped(self, index: int, report_every: int | None) -> None:
        while (standing := self.played.standings[index]).status is Status.RUNNING:
            plan = self.played.brackets[standing.bracket].plan
            units = self._next_report(index, self.played.units(standing), report_every, plan.units[-1])
            self.trials[index - 1].units = units
            if self.script.exits(index, units):
                self._note(index, standing.bracket, standing.rung)
                self.played.leave(index, 0, self.begun.exited(index))
                return
            self.played.reach(index, units, self.script.cost(index, units), 0)

    def _next_report(self, index: int, target: int, report_every: int | None, last: int) -> int:
        """Return where a trial reports next that has anything to decide: at its rung or later, or where it exits."""
        if report_every is None:
            return target
        exits_at = self.script.exits_at(index)
        due = target if exits_at is None else min(target, exits_at)
        return min(last, -(-due // report_every) * report_every)

    def _note(self, index: int, bracket: int, rung: int) -> None:
        """A trial has come as far as this rung: note those below it, too, that it passed on the way."""
        targets = self.trials[index - 1].targets
        for passed in range(len(targets), rung + 1):
            self.counts[bracket][passed] += 1
            targets.append(self.played.brackets[bracket].plan.units[passed])


def _proposed(method: SearchMethod, index: int) -> Previewed:
    proposal = method.propose(index, [], [])
    assert isinstance(proposal, Proposal), "without results every method proposes at once"
    return Previewed(hyperparameters=proposal.hyperparameters)


def _again(trial: Previewed) -> Previewed:
    return Previewed(hyperparameters=trial.hyperparameters, is_retry=True)
