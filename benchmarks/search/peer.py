"""Optuna and scikit-optimize as contestants; run by the peers' interpreter, one JSON request a line in, a reply out."""

import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.search.contest import run
from benchmarks.search.problems import PROBLEMS, Problem, evaluate

Path = tuple[str, ...]

NUM_FIRST = 12  # more than any method draws at random


class Optuna:
    """Optuna's ask-and-tell interface, with its samplers' defaults; the space is defined by running through it."""

    def __init__(self, sampler: str, space: dict[str, Any], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._study = optuna.create_study(sampler=_sampler(sampler, seed))

    def load(self, problem: Problem, num_observed: int, num_pending: int) -> None:
        """Let trials drawn at random be observed, and others be pending."""
        sampler, self._study.sampler = self._study.sampler, _sampler("optuna_random", 0)
        for number in range(num_observed + num_pending):
            trial, hyperparameters = self.ask()
            if number < num_observed:
                self.tell(trial, evaluate(problem, hyperparameters))
        self._study.sampler = sampler

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self._study.ask()
        return trial, self._fill(trial, self._space, "")

    def tell(self, token: Any, cost: float) -> None:
        self._study.tell(token, cost)

    def _fill(self, trial: Any, space: dict[str, Any], prefix: str) -> dict[str, Any]:
        return {name: self._value(trial, spec, f"{prefix}{name}") for name, spec in sorted(space.items())}

    def _value(self, trial: Any, spec: dict[str, Any], name: str) -> Any:
        match spec.get("type"):
            case "double":
                return trial.suggest_float(name, spec["minval"], spec["maxval"])
            case "log":
                return trial.suggest_float(name, 10 ** spec["minval"], 10 ** spec["maxval"], log=True)
            case "int":
                return trial.suggest_int(name, spec["minval"], spec["maxval"])
            case "categorical":
                return trial.suggest_categorical(name, spec["vals"])
            case "choice":
                option = trial.suggest_categorical(name, sorted(spec["options"]))
                return {"name": option, **self._fill(trial, spec["options"][option], f"{name}.{option}.")}
        return self._fill(trial, spec, f"{name}.")


def _sampler(name: str, seed: int) -> Any:
    import optuna

    samplers = {
        "optuna_random": optuna.samplers.RandomSampler,
        "optuna_tpe": optuna.samplers.TPESampler,
        "optuna_gp": optuna.samplers.GPSampler,
    }
    return samplers[name](seed=seed)


class ScikitOptimize:
    """scikit-optimize's Optimizer with its defaults; pending trials are told as lies, the mean of the costs seen.

    It has no conditional spaces: what is not there is chosen all the same, and ignored.
    """

    def __init__(self, space: dict[str, Any], seed: int) -> None:
        self._space, self._seed = space, seed
        self._dimensions = dict(_dimensions(space, ()))
        self._told: list[tuple[list[Any], float]] = []
        self._pending: list[list[Any]] = []
        self._optimizer = self._fresh()

    def load(self, problem: Problem, num_observed: int, num_pending: int) -> None:
        """Let trials drawn at random be observed, and others be pending."""
        points = self._optimizer.space.rvs(num_observed + num_pending, random_state=0)
        for point in points[:num_observed]:
            values = dict(zip(self._dimensions, point, strict=True))
            self._told.append((point, evaluate(problem, self._fill(self._space, (), values))))
        self._pending = points[num_observed:]

    def ask(self) -> tuple[Any, dict[str, Any]]:
        optimizer = self._optimizer
        if self._pending:
            lie = sum(cost for _, cost in self._told) / max(1, len(self._told))
            points = [point for point, _ in self._told] + self._pending
            optimizer = self._fresh()
            optimizer.tell(points, [cost for _, cost in self._told] + [lie] * len(self._pending))
        point = optimizer.ask()
        self._pending.append(point)
        return point, self._fill(self._space, (), dict(zip(self._dimensions, point, strict=True)))

    def tell(self, token: Any, cost: float) -> None:
        self._pending.remove(token)
        self._told.append((token, cost))
        if not self._pending:
            self._optimizer.tell(token, cost)

    def _fresh(self) -> Any:
        import skopt

        dimensions = list(self._dimensions.values())
        return skopt.Optimizer(dimensions, base_estimator="GP", random_state=self._seed + len(self._told) * 1000)

    def _fill(self, space: dict[str, Any], path: Path, values: dict[Path, Any]) -> dict[str, Any]:
        filled: dict[str, Any] = {}
        for name, spec in space.items():
            within = (*path, name)
            match spec.get("type"):
                case None:
                    filled[name] = self._fill(spec, within, values)
                case "choice":
                    option = values[within]
                    filled[name] = {
                        "name": option,
                        **self._fill(spec["options"][option], (*within, option), values),
                    }
                case "int":
                    filled[name] = int(values[within])
                case _:
                    filled[name] = values[within]
        return filled


def _dimensions(space: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    from skopt.space import Categorical, Integer, Real

    for name, spec in sorted(space.items()):
        within = (*path, name)
        match spec.get("type"):
            case "double":
                yield within, Real(float(spec["minval"]), float(spec["maxval"]))
            case "log":
                yield within, Real(10.0 ** spec["minval"], 10.0 ** spec["maxval"], prior="log-uniform")
            case "int":
                yield within, Integer(spec["minval"], spec["maxval"])
            case "categorical":
                yield within, Categorical(spec["vals"])
            case "choice":
                yield within, Categorical(sorted(spec["options"]))
                for option, group in sorted(spec["options"].items()):
                    yield from _dimensions(group, (*within, option))
            case _:
                yield from _dimensions(spec, within)


def contestant(method: str, space: dict[str, Any], seed: int) -> Optuna | ScikitOptimize:
    """Return a peer's method on a space."""
    return ScikitOptimize(space, seed) if method == "skopt" else Optuna(method, space, seed)


def latency(asked: dict[str, Any]) -> list[float]:
    """Return what processor time suggestions take beside observed and pending trials, one after another."""
    problem, took = PROBLEMS[asked["problem"]], []
    first = contestant(asked["method"], problem.space, asked["seed"])  # imports what it needs
    first.load(problem, NUM_FIRST, 0)
    first.ask()
    peer = contestant(asked["method"], problem.space, asked["seed"])
    peer.load(problem, asked["num_observed"], asked["num_pending"])
    for _ in range(asked["repeats"]):
        started_at = time.process_time()
        token, hyperparameters = peer.ask()
        took.append(time.process_time() - started_at)
        peer.tell(token, evaluate(problem, hyperparameters))
    return took


def main() -> None:
    """Answer requests until there are no more."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        asked = json.loads(line)
        problem = PROBLEMS[asked["problem"]]
        if "num_observed" in asked:
            sys.stdout.write(json.dumps({"took_s": latency(asked)}) + "\n")
            sys.stdout.flush()
            continue
        course = run(
            contestant(asked["method"], problem.space, asked["seed"]),
            problem,
            num_evaluations=asked["num_evaluations"],
            num_workers=asked["num_workers"],
            seed=asked["seed"],
        )
        sys.stdout.write(json.dumps(asdict(course)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
