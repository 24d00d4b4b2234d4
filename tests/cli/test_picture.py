"""The live view fits its terminal, whatever the search looks like."""

from io import StringIO
from typing import Any, cast

import pytest
from rich.console import Console

from trainmaster.cli.picture import chosen, picture, varying
from trainmaster.client.shapes import Experiment, Trial


def trial(index: int, state: str, metric: float | None = None) -> Trial:
    figures: dict[str, Any] = {"lr": index / 1000, "net": {"width": 64, "depth": index, "kind": "a long name" * 3}}
    figures |= {f"more_{n}": index / 7 for n in range(9)}
    named = {"id": f"abcdefgh-{index}", "index": index, "state": state, "hyperparameters": figures}
    return cast("Trial", named | {"step": 100 * index, "metric": metric, "best_step": 90})


def experiment(trials: list[Trial]) -> Experiment:
    counts = {name: sum(t["state"] == name.upper() for t in trials) for name in ("completed", "running", "waiting")}
    best = {"trial_id": "abcdefgh-1", "metric": 0.5}
    searcher = {"metric": "validation_accuracy_of_the_model", "smaller_is_better": False}
    told = {"name": "an experiment with a long name", "state": "ACTIVE", "searcher": searcher, "best": best}
    return cast("Experiment", told | {"trials": counts | {"failed": 0}})


@pytest.mark.parametrize("num_waiting", [0, 3, 200])
@pytest.mark.parametrize("num_over", [0, 2, 200])
def test_it_fits_24_lines_of_100_columns(num_waiting: int, num_over: int) -> None:
    states = ["RUNNING"] * 4 + ["WAITING"] * num_waiting
    trials = [trial(n, state) for n, state in enumerate(states, 1)]
    trials += [trial(n, "COMPLETED", n / 500) for n in range(len(trials) + 1, len(trials) + 1 + num_over)]
    screen = Console(file=StringIO(), width=100, height=24, force_terminal=False)
    screen.print(picture(experiment(trials), trials, 100, 24))
    lines = cast("StringIO", screen.file).getvalue().splitlines()
    assert len(lines) < 24
    assert all(len(line) <= 100 for line in lines)
    assert sum("RUNNING" in line for line in lines) == 4
    if num_over:
        assert trials[-1]["id"] in "\n".join(lines)


def test_busy_trials_come_first_then_the_best() -> None:
    trials = [trial(1, "COMPLETED", 0.3), trial(2, "COMPLETED", 0.1), trial(3, "FAILED"), trial(4, "WAITING")]
    trials.append(trial(5, "RUNNING"))
    assert [t["index"] for t in chosen(trials, 4, smaller_is_better=True)] == [5, 4, 2, 1]
    assert [t["index"] for t in chosen(trials, 4, smaller_is_better=False)] == [5, 4, 1, 2]


def test_constants_are_not_shown() -> None:
    names = varying([trial(1, "RUNNING"), trial(2, "RUNNING")])
    assert {"lr", "net.depth"} <= names
    assert not {"net.width", "net.kind"} & names
