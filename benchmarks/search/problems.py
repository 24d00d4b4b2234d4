"""What the search methods are compared on: spaces in the words of the experiment file, and what is to be minimised.

Synthetic functions (S. Surjanovic, D. Bingham, Virtual Library of Simulation Experiments, sfu.ca/~ssurjano), a space
with conditional parts, and real training on scikit-learn's data sets. Peers' interpreters import this module too:
it needs numpy, and scikit-learn for the real training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Hyperparameters = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A space, the cost of a point of it, and the least possible cost, where it is known."""

    name: str
    space: dict[str, Any]
    cost: Callable[[Hyperparameters], float]
    optimum: float | None = None


def _double(low: float, high: float) -> dict[str, Any]:
    return {"type": "double", "minval": low, "maxval": high}


def _log(low: float, high: float) -> dict[str, Any]:
    return {"type": "log", "minval": low, "maxval": high}


def _int(low: int, high: int) -> dict[str, Any]:
    return {"type": "int", "minval": low, "maxval": high}


def _categorical(*values: Any) -> dict[str, Any]:
    return {"type": "categorical", "vals": list(values)}


def _vector(hyperparameters: Hyperparameters) -> list[float]:
    return [hyperparameters[name] for name in sorted(hyperparameters)]


def _branin(hyperparameters: Hyperparameters) -> float:
    x, y = _vector(hyperparameters)
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


_HARTMANN_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])  # fmt: skip  # noqa: E501
_HARTMANN_P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])  # fmt: skip  # noqa: E501


def _hartmann(hyperparameters: Hyperparameters) -> float:
    x = np.array(_vector(hyperparameters))
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-(_HARTMANN_A * (x - _HARTMANN_P) ** 2).sum(axis=1)))


def _ackley(hyperparameters: Hyperparameters) -> float:
    x = np.array(_vector(hyperparameters))
    far = -20 * math.exp(-0.2 * math.sqrt(float(np.mean(x**2))))
    return far - math.exp(float(np.mean(np.cos(2 * math.pi * x)))) + 20 + math.e


def _rosenbrock(hyperparameters: Hyperparameters) -> float:
    x = np.log10(_vector(hyperparameters))
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def _conditional(hyperparameters: Any) -> float:
    """Each optimizer has learning rates of its own; adam's valley is narrower and deeper than sgd's."""
    optimizer = hyperparameters["optimizer"]
    rate = math.log10(optimizer["lr"])
    match optimizer["name"]:
        case "sgd":
            best = 0.15 + 0.5 * (rate + 1.3 + optimizer["momentum"]) ** 2 + (0.0 if optimizer["nesterov"] else 0.1)
        case "adam":
            best = (rate + 2.7) ** 2 + 4 * (optimizer["beta1"] - 0.9) ** 2
        case _:
            best = 0.4 + 0.3 * (rate + 2) ** 2
    model = hyperparameters["model"]
    depth = 0.03 * (model["layers"] - 5) ** 2
    width = 0.4 * (math.log10(model["width"]) - 2.2 - 0.05 * (5 - model["layers"])) ** 2
    kind = {"gelu": 0.0, "relu": 0.05, "tanh": 0.2}[model["activation"]]
    cost: float = best + depth + width + kind + 2 * (hyperparameters["dropout"] - 0.1) ** 2
    return cost


CONDITIONAL_SPACE = {
    "optimizer": {
        "type": "choice",
        "options": {
            "sgd": {"lr": _log(-4, 0), "momentum": _double(0, 0.99), "nesterov": _categorical(True, False)},
            "adam": {"lr": _log(-5, -1), "beta1": _double(0.5, 0.999)},
            "rmsprop": {"lr": _log(-5, -1)},
        },
    },
    "model": {"layers": _int(1, 12), "width": _log(1, 3), "activation": _categorical("relu", "gelu", "tanh")},
    "dropout": _double(0, 0.6),
}


@cache
def _digits() -> tuple[Any, Any, Any, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    features, labels = load_digits(return_X_y=True)
    split = train_test_split(features / 16.0, labels, train_size=500, test_size=700, random_state=0, stratify=labels)
    train, valid, train_labels, valid_labels = split
    return train, valid, train_labels, valid_labels


def _digits_mlp(hyperparameters: Hyperparameters) -> float:
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    train, valid, train_labels, valid_labels = _digits()
    network = MLPClassifier(
        hidden_layer_sizes=(hyperparameters["width"],) * hyperparameters["layers"],
        activation=hyperparameters["activation"],
        learning_rate_init=hyperparameters["lr"],
        alpha=hyperparameters["weight_decay"],
        batch_size=hyperparameters["batch_size"],
        beta_1=hyperparameters["beta1"],
        max_iter=8,
        random_state=0,
    )
    network.fit(train, train_labels)
    return float(log_loss(valid_labels, network.predict_proba(valid), labels=list(range(10))))


def _breast_cancer(hyperparameters: Hyperparameters) -> float:
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

    scalers = {
        "standard": StandardScaler(),
        "minmax": MinMaxScaler(),
        "quantile": QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=0),
    }
    model = SGDClassifier(
        loss="log_loss",
        penalty="elasticnet",
        alpha=hyperparameters["alpha"],
        l1_ratio=hyperparameters["l1_ratio"],
        learning_rate=hyperparameters["schedule"],
        eta0=hyperparameters["eta0"],
        max_iter=20,
        tol=None,
        random_state=0,
    )
    features, labels = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(scalers[hyperparameters["scaler"]], model)
    return -float(cross_val_score(pipeline, features, labels, cv=5, scoring="neg_log_loss").mean())


def _diabetes(hyperparameters: Hyperparameters) -> float:
    """Mean squared error, in thousands."""
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.model_selection import cross_val_score

    model = GradientBoostingRegressor(
        learning_rate=hyperparameters["lr"],
        n_estimators=hyperparameters["trees"],
        max_depth=hyperparameters["depth"],
        subsample=hyperparameters["subsample"],
        min_samples_leaf=hyperparameters["leaf"],
        loss=hyperparameters["loss"],
        random_state=0,
    )
    features, labels = load_diabetes(return_X_y=True)
    return -float(cross_val_score(model, features, labels, cv=3, scoring="neg_mean_squared_error").mean()) / 1000


_DIGITS_SPACE = {
    "lr": _log(-4, -0.5),
    "weight_decay": _log(-6, 0),
    "width": _int(8, 128),
    "layers": _int(1, 3),
    "batch_size": _categorical(16, 32, 64, 128),
    "beta1": _double(0.5, 0.99),
    "activation": _categorical("relu", "tanh", "logistic"),
}
_BREAST_CANCER_SPACE = {
    "alpha": _log(-6, 0),
    "l1_ratio": _double(0, 1),
    "eta0": _log(-5, 0),
    "schedule": _categorical("constant", "invscaling", "adaptive"),
    "scaler": _categorical("standard", "minmax", "quantile"),
}
_DIABETES_SPACE = {
    "lr": _log(-3, 0),
    "trees": _int(10, 60),
    "depth": _int(1, 5),
    "subsample": _double(0.3, 1),
    "leaf": _int(1, 30),
    "loss": _categorical("squared_error", "absolute_error", "huber"),
}

PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(name="branin", space={"x": _double(-5, 10), "y": _double(0, 15)}, cost=_branin, optimum=0.39788735773),
        Problem(
            name="hartmann6", space={f"x{n}": _double(0, 1) for n in range(6)}, cost=_hartmann, optimum=-3.32236801
        ),
        Problem(name="ackley5", space={f"x{n}": _double(-15, 30) for n in range(5)}, cost=_ackley, optimum=0.0),
        Problem(name="rosenbrock4_log", space={f"x{n}": _log(-2, 2) for n in range(4)}, cost=_rosenbrock, optimum=0.0),
        Problem(name="conditional", space=CONDITIONAL_SPACE, cost=_conditional, optimum=0.0),
        Problem(name="digits_mlp", space=_DIGITS_SPACE, cost=_digits_mlp),
        Problem(name="breast_cancer", space=_BREAST_CANCER_SPACE, cost=_breast_cancer),
        Problem(name="diabetes", space=_DIABETES_SPACE, cost=_diabetes),
    )
}


def evaluate(problem: Problem, hyperparameters: Hyperparameters) -> float:
    """Return the cost of a point; a training that diverges costs a thousand."""
    import warnings

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            cost = problem.cost(hyperparameters)
        except ValueError:  # scikit-learn's word for weights that are not finite
            return 1000.0
    return min(cost, 1000.0 if problem.optimum is None else cost) if math.isfinite(cost) else 1000.0
