"""One search in simulated time: workers that take a suggestion as soon as they are free, and what came of each.

Peers' interpreters import this module too: it needs nothing but Python.
"""

import heapq
import random
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.search.problems import Problem, evaluate


class Contestant(Protocol):
    """A search method as its users drive it."""

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return a token and the hyperparameters to try next."""
        ...

    def tell(self, token: Any, cost: float) -> None:
        """Say what came of the hyperparameters that were given with a token."""
        ...


@dataclass(slots=True, kw_only=True)
class Course:
    """What a search came to: costs in the order of completion, and how long each suggestion took.

    Being told what came of the trials before counts as a part of the suggestion.
    """

    costs: list[float] = field(default_factory=list)
    suggest_s: list[float] = field(default_factory=list)


def run(contestant: Contestant, problem: Problem, *, num_evaluations: int, num_workers: int, seed: int) -> Course:
    """Return the course of one search. Trials take times of their own, the same for every contestant."""
    course = Course()
    running: list[tuple[float, int, Any, float]] = []  # end, number, token, cost
    now, num_asked, telling_s = 0.0, 0, 0.0
    while len(course.costs) < num_evaluations:
        while len(running) < num_workers and num_asked < num_evaluations:
            started_at = time.perf_counter()
            token, hyperparameters = contestant.ask()
            course.suggest_s.append(telling_s + time.perf_counter() - started_at)
            telling_s = 0.0
            takes = random.Random(f"{seed}:{num_asked}").lognormvariate(0, 0.5)
            heapq.heappush(running, (now + takes, num_asked, token, evaluate(problem, hyperparameters)))
            num_asked += 1
        now, _, token, cost = heapq.heappop(running)
        started_at = time.perf_counter()
        contestant.tell(token, cost)
        telling_s += time.perf_counter() - started_at
        course.costs.append(cost)
    return course
