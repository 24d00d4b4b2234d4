"""Optuna's pruners and Ray Tune's ASHA as contestants; run by the peers' interpreter: a JSON request a line in, the
improvements out.

Ray Tune's scheduler object is driven directly: its trials are told to it, and it says which to stop. Running Ray
itself over recorded curves takes hours and decides the same.
"""

import json
import random
import sys
import warnings
from typing import Any

from benchmarks.multi_fidelity.problems import PROBLEMS, Axes
from benchmarks.multi_fidelity.race import Contestant, improvements, race
from benchmarks.multi_fidelity.space import NUM_EPOCHS

MIN_EPOCHS, DIVISOR = 3, 4  # the first rung and the divisor of ours: 3, 12 and 50 epochs


class Optuna:
    """TPE with a pruner, asked and told; 8 of its trials run at a time."""

    def __init__(self, pruner: str, axes: Axes, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._pruned = optuna.trial.TrialState.PRUNED
        pruners = {
            "optuna_halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
                min_resource=MIN_EPOCHS, reduction_factor=DIVISOR
            ),
            "optuna_hyperband": lambda: optuna.pruners.HyperbandPruner(
                min_resource=MIN_EPOCHS, max_resource=NUM_EPOCHS, reduction_factor=DIVISOR
            ),
            "optuna_median": optuna.pruners.MedianPruner,
        }
        self._axes = axes
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruners[pruner]())

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """See Contestant.ask."""
        trial = self._study.ask()
        return trial, {name: self._value(trial, name, size) for name, size in self._axes.items()}

    def report(self, token: Any, epoch: int, loss: float) -> bool:
        """See Contestant.report."""
        token.report(loss, epoch)
        return epoch < NUM_EPOCHS and bool(token.should_prune())

    def finish(self, token: Any, loss: float, *, is_stopped: bool) -> None:
        """See Contestant.finish."""
        if is_stopped:
            self._study.tell(token, state=self._pruned)
        else:
            self._study.tell(token, loss)

    def _value(self, trial: Any, name: str, size: int | None) -> Any:
        return trial.suggest_float(name, 0, 1) if size is None else trial.suggest_int(name, 0, size - 1)


class _RayTrial:
    """What Ray Tune's scheduler needs of a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


class RayASHA:
    """Ray Tune's AsyncHyperBandScheduler over configurations drawn at random."""

    def __init__(self, axes: Axes, seed: int) -> None:
        import numpy as np
        from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

        np.random.seed(seed)  # noqa: NPY002 - the scheduler draws its brackets from the global generator
        self._axes, self._random, self._num_asked = axes, random.Random(seed), 0
        self._stop = TrialScheduler.STOP
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="epoch", metric="loss", mode="min", max_t=NUM_EPOCHS, grace_period=MIN_EPOCHS,
            reduction_factor=DIVISOR,
        )  # fmt: skip

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """See Contestant.ask."""
        self._num_asked += 1
        trial = _RayTrial(self._num_asked)
        self._scheduler.on_trial_add(None, trial)
        draw = self._random
        return trial, {
            name: draw.random() if size is None else draw.randrange(size) for name, size in self._axes.items()
        }

    def report(self, token: Any, epoch: int, loss: float) -> bool:
        """See Contestant.report."""
        told = self._scheduler.on_trial_result(None, token, {"epoch": epoch, "loss": loss})
        return epoch < NUM_EPOCHS and told == self._stop

    def finish(self, token: Any, loss: float, *, is_stopped: bool) -> None:
        """See Contestant.finish."""
        if not is_stopped:
            self._scheduler.on_trial_complete(None, token, {"epoch": NUM_EPOCHS, "loss": loss})


def contestant(method: str, problem: str, seed: int) -> Contestant:
    """Return a peer's search of a problem."""
    return RayASHA(PROBLEMS[problem], seed) if method == "ray_asha" else Optuna(method, PROBLEMS[problem], seed)


def main() -> None:
    """Answer requests until there are no more."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        asked = json.loads(line)
        history = race(contestant(asked["method"], asked["problem"], asked["seed"]), asked["problem"])
        sys.stdout.write(json.dumps(improvements(history)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
