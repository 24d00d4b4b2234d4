"""What was measured, search by search: one JSON line each, so that an interrupted run goes on where it stopped."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One search: which method on which problem, with which seed, how long and with how many workers."""

    problem: str
    method: str
    seed: int
    num_evaluations: int
    num_workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a search: each evaluation that was better than all before it, and the median suggestion."""

    cell: Cell
    improvements: tuple[tuple[int, float], ...]
    suggest_s: float

    def best(self, num_evaluations: int) -> float:
        """Return the best cost among the first evaluations."""
        return min(cost for number, cost in self.improvements if number <= num_evaluations)


class Store:
    """The outcomes in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.outcomes = {outcome.cell: outcome for outcome in _read(path)}

    def add(self, cell: Cell, reply: dict[str, Any]) -> None:
        """Note what came of a search."""
        suggest_s = sorted(reply["suggest_s"])
        median_s = round(suggest_s[len(suggest_s) // 2], 5)
        outcome = Outcome(cell=cell, improvements=tuple(_improvements(reply["costs"])), suggest_s=median_s)
        self.outcomes[cell] = outcome
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            line = {**asdict(cell), "improvements": outcome.improvements, "suggest_s": median_s}
            file.write(json.dumps(line) + "\n")


def _improvements(costs: list[float]) -> Iterator[tuple[int, float]]:
    best = float("inf")
    for number, cost in enumerate(costs, start=1):
        if cost < best:
            best = cost
            yield number, float(f"{cost:.9g}")


def _read(path: Path) -> Iterator[Outcome]:
    for line in path.read_text().splitlines() if path.exists() else ():
        read = json.loads(line)
        improvements = tuple((number, cost) for number, cost in read.pop("improvements"))
        suggest_s = read.pop("suggest_s")
        yield Outcome(cell=Cell(**read), improvements=improvements, suggest_s=suggest_s)
