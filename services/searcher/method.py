"""What the decider knows of a search method.

A method is asked for one trial at a time, by its index, and sees what came of those before it. What it can say at
once is a Proposal. What takes long is a Question, put to another process; its answer comes back into the decider as
a value and is recorded in the event, so a replay never computes it again. A method keeps no state of its own. How far
each trial goes, where that is not simply to its end, is decided by the rungs of brackets: services.searcher.rungs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.events import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A configuration worth training; `origin` says in words where it came from, `chosen` as structure."""

    hyperparameters: dict[str, Any]
    origin: str
    chosen: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a trial would come to in the end, as a cost: mean and standard deviation; and the means of some others."""

    mean: float
    std: float
    others: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of trial `index`: when it was closed, or at a rung, when it had trained for some `units`.

    `cost` is its metric turned so that less is better; None if it has none. One that is missing does not count: the
    trial failed, and its failure is to be ignored.
    """

    index: int
    hyperparameters: dict[str, Any]
    cost: float | None
    units: int | None = None
    is_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BracketPlan:
    """A ladder of rungs: the units (of length or time) that each takes; its trials, and its concurrency."""

    units: tuple[int, ...]
    num_trials: int
    num_concurrent: int


Answer = Proposal | Prediction


class Question(Protocol):
    """A suggestion, or a prediction, that takes long to compute."""

    @property
    def request(self) -> dict[str, Any]:
        """What the other process must know, as plain values."""
        ...

    def answer(self, reply: Mapping[str, Any]) -> Answer:
        """Return what the other process's reply proposes or predicts."""
        ...


class SearchMethod(Protocol):
    """How a search chooses its trials."""

    @property
    def num_trials(self) -> int:
        """How many trials the search has in all."""
        ...

    @property
    def num_concurrent(self) -> int:
        """How many of them may be open at a time."""
        ...

    @property
    def learns(self) -> bool:
        """Whether `propose` looks at results; if not, none need be kept."""
        ...

    def propose(self, index: int, results: Sequence[Result], pending: Sequence[dict[str, Any]]) -> Proposal | Question:
        """Return trial `index`, counted from 1, given closed trials and the hyperparameters of open ones."""
        ...
