"""Our methods as contestants: the searcher's own state machine in a virtual cluster. JSON requests a line in, the
improvements out."""

import json
import sys
from typing import Any

from benchmarks.multi_fidelity.problems import PROBLEMS, Curve, curve
from benchmarks.multi_fidelity.race import MAX_EPOCHS, NUM_WORKERS, improvements
from benchmarks.multi_fidelity.space import NUM_EPOCHS
from benchmarks.virtual import VirtualCluster
from services.searcher import suggestions
from shared.config import Experiment, parse_experiment

_MANY = 400  # about as many as halving trains with so many epochs
SEARCHERS = {
    "random": {"name": "random", "max_trials": MAX_EPOCHS // NUM_EPOCHS},
    "adaptive_asha": {"name": "adaptive_asha", "max_trials": _MANY, "max_length": {"epochs": NUM_EPOCHS}},
    "adaptive_asha_aggressive": {
        "name": "adaptive_asha",
        "mode": "aggressive",
        "max_trials": _MANY,
        "max_length": {"epochs": NUM_EPOCHS},
    },
    "adaptive_asha_stopping": {
        "name": "adaptive_asha",
        "max_trials": _MANY,
        "max_time": NUM_EPOCHS,
        "time_metric": "epochs",
    },
    "bayesian_asha": {"name": "bayesian_asha", "max_trials": _MANY, "max_length": {"epochs": NUM_EPOCHS}},
    "bayesian_asha_prediction": {
        "name": "bayesian_asha",
        "judge_by": "prediction",
        "max_trials": _MANY,
        "max_length": {"epochs": NUM_EPOCHS},
    },
}


#: A model takes its time for each trial: it is run until it has arrived, and no longer than these epochs.
EPOCHS = {"bayesian_asha": 1_000, "bayesian_asha_prediction": 1_000}


def experiment(method: str, problem: str, seed: int) -> Experiment:
    """Return the experiment as its file would say it."""
    document = {
        "entrypoint": "python train.py",
        "searcher": {**SEARCHERS[method], "metric": "loss", "max_concurrent_trials": NUM_WORKERS},
        "hyperparameters": {name: _hyperparameter(size) for name, size in PROBLEMS[problem].items()},
        "reproducibility": {"experiment_seed": seed},
    }
    return parse_experiment(json.dumps(document))


def _hyperparameter(size: int | None) -> dict[str, object]:
    if size is None:
        return {"type": "double", "minval": 0, "maxval": 1}
    return {"type": "int", "minval": 0, "maxval": size - 1}


def history(method: str, problem: str, seed: int, target: float, compute: Any) -> list[float]:
    """Return the best loss so far after each epoch trained; a method with EPOCHS of its own ends at the target."""

    def curves(hyperparameters: dict[str, Any]) -> Curve:
        return curve(problem, hyperparameters)

    cluster = VirtualCluster(experiment(method, problem, seed), NUM_WORKERS, NUM_EPOCHS, curves, compute=compute)

    def is_over(running: VirtualCluster) -> bool:
        has_arrived = bool(running.history) and running.history[-1] <= target
        return len(running.history) >= EPOCHS.get(method, MAX_EPOCHS) or (method in EPOCHS and has_arrived)

    cluster.run(until=is_over)
    return cluster.history


def main() -> None:
    """Answer requests until there are no more."""
    with suggestions.computing() as compute:
        for line in sys.stdin:
            asked = json.loads(line)
            found = history(asked["method"], asked["problem"], asked["seed"], asked["target"], compute)
            sys.stdout.write(json.dumps(improvements(found)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
