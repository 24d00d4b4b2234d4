"""One search in virtual time, as its users drive it: workers that train an epoch in a unit of time and report it.

The peers' interpreter imports this too: it needs nothing but Python and numpy.
"""

import heapq
from typing import Any, Protocol

from benchmarks.multi_fidelity.problems import Curve, curve
from benchmarks.multi_fidelity.space import NUM_EPOCHS

NUM_WORKERS = 8
MAX_EPOCHS = 5_000  # in all: what random search takes for 100 trials


class Contestant(Protocol):
    """A search with early stopping."""

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return a token and the configuration to train next."""
        ...

    def report(self, token: Any, epoch: int, loss: float) -> bool:
        """Take a validation; return whether the trial is to stop."""
        ...

    def finish(self, token: Any, loss: float, *, is_stopped: bool) -> None:
        """Take the last validation of a trial that has ended."""
        ...


def improvements(history: list[float]) -> list[tuple[int, float]]:
    """Return after how many epochs in all the best loss so far got better, and what it was then."""
    return [
        (epochs, loss)
        for epochs, loss in enumerate(history[:MAX_EPOCHS], start=1)
        if epochs == 1 or loss < history[epochs - 2]
    ]


def race(contestant: Contestant, problem: str) -> list[float]:
    """Return the best loss so far after each epoch that was trained."""
    history: list[float] = []
    running: list[tuple[int, int, Any, Curve, int]] = []  # end of the epoch, order, token, curve, epoch
    for number in range(NUM_WORKERS):
        _begin(contestant, problem, running, 0, number)
    number = NUM_WORKERS
    while len(history) < MAX_EPOCHS:
        now, _, token, losses, epoch = heapq.heappop(running)
        loss = losses(epoch)
        history.append(min(loss, history[-1]) if history else loss)
        is_stopped = contestant.report(token, epoch, loss)
        if is_stopped or epoch == NUM_EPOCHS:
            contestant.finish(token, loss, is_stopped=is_stopped)
            _begin(contestant, problem, running, now, number)
        else:
            heapq.heappush(running, (now + 1, number, token, losses, epoch + 1))
        number += 1
    return history


def _begin(contestant: Contestant, problem: str, running: list[Any], now: int, number: int) -> None:
    token, hyperparameters = contestant.ask()
    heapq.heappush(running, (now + 1, number, token, curve(problem, hyperparameters), 1))
