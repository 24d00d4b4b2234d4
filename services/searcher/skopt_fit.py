"""Fits the kernel with scikit-optimize's Gaussian process: the engine for small histories.

Its kernels, its likelihood and its gradients; the priors of services.searcher.surrogate join through the optimizer that
it lets its callers choose.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from skopt.learning import GaussianProcessRegressor
from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from services.searcher.surrogate import (
    AMPLITUDE_BOUNDS,
    JITTER,
    LENGTH_BOUNDS,
    MAX_ITERATIONS,
    MEAN_VARIANCE,
    NOISE_BOUNDS,
    Array,
    Kernel,
    kernel_of,
    prior_energy,
)


def fit(points_NC: Array, costs_N: Array, start: Kernel) -> Kernel:
    """Return the most probable kernel that is found from a start."""
    varying = ConstantKernel(start.amplitude, np.exp(AMPLITUDE_BOUNDS)) * Matern(
        start.lengths_C, np.tile(np.exp(LENGTH_BOUNDS), (points_NC.shape[1], 1)), nu=2.5
    )
    noise = WhiteKernel(start.noise, np.exp(NOISE_BOUNDS))
    model = GaussianProcessRegressor(
        kernel=varying + ConstantKernel(MEAN_VARIANCE, "fixed") + noise,
        alpha=JITTER,
        optimizer=_most_probable,
        n_restarts_optimizer=0,
        normalize_y=False,
    )
    model.fit(points_NC, costs_N)
    return kernel_of(_ours(model.kernel_.theta))


def _most_probable(
    energy: Callable[[Array], tuple[float, Array]], start: Array, bounds: list[tuple[float, float]]
) -> tuple[Array, float]:
    """Minimise scikit-optimize's energy plus that of the priors."""

    def with_priors(theta: Array) -> tuple[float, Array]:
        likelihood, gradient = energy(theta)
        before, before_gradient = prior_energy(_ours(theta))
        return float(likelihood + before), gradient + _theirs(before_gradient)

    found: Any = minimize(
        with_priors,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": MAX_ITERATIONS, "ftol": 1e-6},
    )
    return found.x, float(found.fun)


def _ours(theta: Array) -> Array:
    """Their order is amplitude, lengths, noise; ours has the amplitude behind the lengths."""
    return np.concatenate([theta[1:-1], theta[:1], theta[-1:]])


def _theirs(theta: Array) -> Array:
    return np.concatenate([theta[-2:-1], theta[:-2], theta[-1:]])
