"""The Gaussian process: a kernel, how its lengths are found, and what it predicts.

Theory: C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5. The kernel
is Matérn 5/2 with a length for each column (ARD), an amplitude, and a constant whose variance stands for a mean that
is not known. Lengths, amplitude and noise are the most probable ones given the costs (MAP), with log-normal priors:
lengths grow with the square root of the number of columns (C. Hvarfner, E. O. Hellsten, L. Nardi, Vanilla Bayesian
Optimization Performs Great in High Dimensions, 2024, arXiv 2402.02229), noise is small unless the costs say otherwise.

Points are rows of columns in [0, 1], costs have mean 0 and variance 1. Legend of suffixes: N points of the model,
M points asked about, C columns, S samples of what pending points may come to.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

MEAN_VARIANCE = 1.0  # of the unknown mean, in units of the costs' variance
JITTER = 1e-8

#: Log-normal priors: the logarithm of the median, and its standard deviation.
LENGTH_PRIOR = (math.log(0.5), 0.9)  # of columns that are alone; the median grows with their number
AMPLITUDE_PRIOR = (0.0, 1.0)  # of the variance
NOISE_PRIOR = (math.log(1e-4), 2.0)  # of the variance

LENGTH_BOUNDS = (math.log(0.03), math.log(30.0))
AMPLITUDE_BOUNDS = (math.log(0.02), math.log(50.0))
NOISE_BOUNDS = (math.log(1e-6), math.log(1.0))
MAX_ITERATIONS = 60

_SQRT5 = math.sqrt(5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel's parameters: a length for each column, the variance of what varies, the variance of the noise."""

    lengths_C: Array
    amplitude: float
    noise: float

    @property
    def theta(self) -> Array:
        """The logarithms of all, in the order lengths, amplitude, noise."""
        theta: Array = np.log(np.append(self.lengths_C, [self.amplitude, self.noise]))
        return theta

    def covariance(self, one_MC: Array, other_NC: Array) -> Array:
        """Return the covariances of the function at two sets of points."""
        return matern(_squared_distances(one_MC / self.lengths_C, other_NC / self.lengths_C), self.amplitude)


def kernel_of(theta: Array) -> Kernel:
    """Return the kernel with these logarithms; the inverse of Kernel.theta."""
    values = np.exp(theta)
    return Kernel(lengths_C=values[:-2], amplitude=float(values[-2]), noise=float(values[-1]))


def matern(squared: Array, amplitude: float) -> Array:
    """Return the kernel at squared distances in units of the lengths."""
    scaled = _SQRT5 * np.sqrt(squared)
    covariance: Array = amplitude * (1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled) + MEAN_VARIANCE
    return covariance


def matern_slope(squared: Array, amplitude: float) -> Array:
    """Return minus twice the derivative of the kernel by the squared distance."""
    scaled = _SQRT5 * np.sqrt(squared)
    slope: Array = 5.0 / 3.0 * amplitude * (1.0 + scaled) * np.exp(-scaled)
    return slope


def _squared_distances(one_MC: Array, other_NC: Array) -> Array:
    squared = (one_MC**2).sum(1)[:, None] + (other_NC**2).sum(1)[None, :] - 2.0 * one_MC @ other_NC.T
    distances: Array = np.maximum(squared, 0.0)
    return distances


def prior(num_columns: int) -> tuple[Array, Array]:
    """Return the medians of theta before anything was seen, and the standard deviations."""
    length, spread = LENGTH_PRIOR
    medians = np.full(num_columns + 2, length + 0.5 * math.log(num_columns))
    spreads = np.full(num_columns + 2, spread)
    medians[-2:], spreads[-2:] = (
        (AMPLITUDE_PRIOR[0], NOISE_PRIOR[0]),
        (AMPLITUDE_PRIOR[1], NOISE_PRIOR[1]),
    )
    return medians, spreads


def prior_energy(theta: Array) -> tuple[float, Array]:
    """Return minus the logarithm of the prior at theta, but for a constant, and its gradient."""
    medians, spreads = prior(len(theta) - 2)
    off = (theta - medians) / spreads
    return float(0.5 * off @ off), off / spreads


def bounds(num_columns: int) -> list[tuple[float, float]]:
    """Return where theta may lie."""
    return [LENGTH_BOUNDS] * num_columns + [AMPLITUDE_BOUNDS, NOISE_BOUNDS]


class Evidence:
    """Minus the logarithm of how probable theta is, given points and costs; with its gradient."""

    def __init__(self, points_NC: Array, costs_N: Array) -> None:
        num_points, num_columns = points_NC.shape
        differences = points_NC.T[:, :, None] - points_NC.T[:, None, :]
        self._squares = (differences**2).reshape(num_columns, num_points**2)
        self._costs_N = costs_N

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Return the energy and its gradient; infinite where the covariance is singular."""
        num_points, costs_N = len(self._costs_N), self._costs_N
        weights_C = np.exp(-2.0 * theta[:-2])
        amplitude, noise = math.exp(theta[-2]), math.exp(theta[-1])
        squared = (weights_C @ self._squares).reshape(num_points, num_points)
        covariance = matern(squared, amplitude)
        varying = covariance - MEAN_VARIANCE
        covariance[np.diag_indices(num_points)] += noise + JITTER
        factor, failed = lapack.dpotrf(covariance, lower=1)
        if failed:
            return math.inf, np.zeros_like(theta)
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        alpha_N = inverse @ costs_N
        energy = 0.5 * costs_N @ alpha_N + np.log(np.diag(factor)).sum() + 0.5 * num_points * math.log(2 * math.pi)
        slack = np.outer(alpha_N, alpha_N) - inverse
        slopes_C = (self._squares @ (slack * matern_slope(squared, amplitude)).ravel()) * weights_C
        gradient = -0.5 * np.append(slopes_C, [(slack * varying).sum(), noise * np.trace(slack)])
        before, before_gradient = prior_energy(theta)
        return float(energy + before), gradient + before_gradient


def fit(points_NC: Array, costs_N: Array, starts: list[Array]) -> tuple[Kernel, float]:
    """Return the most probable kernel that is found from some starts, and its energy."""
    evidence = Evidence(points_NC, costs_N)
    limits = bounds(points_NC.shape[1])
    found: list[Any] = [
        minimize(
            evidence,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": MAX_ITERATIONS, "ftol": 1e-6},
        )
        for start in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    return kernel_of(best.x), float(best.fun)


class Posterior:
    """What the model predicts, given costs at some points and that others are pending.

    Pending points come to S samples of what the model itself predicts there (J. Snoek, H. Larochelle, R. P. Adams,
    2012, arXiv 1206.2944, section 3.2): predictions have a mean for each sample, and one deviation.
    """

    def __init__(self, kernel: Kernel, points_NC: Array, costs_N: Array, pending_PC: Array, normals_PS: Array) -> None:
        self.kernel = kernel
        self.points_NC = np.vstack([points_NC, pending_PC])
        covariance = kernel.covariance(self.points_NC, self.points_NC)
        covariance[np.diag_indices(len(covariance))] += kernel.noise + JITTER
        factor = cholesky(covariance, lower=True, check_finite=False)
        costs_NS = np.vstack([np.tile(costs_N[:, None], normals_PS.shape[1]), np.zeros(normals_PS.shape)])
        if len(pending_PC):
            known = len(costs_N)
            whitened = solve_triangular(factor[:known, :known], costs_N, lower=True, check_finite=False)
            mean_P = factor[known:, :known] @ whitened
            costs_NS[known:] = mean_P[:, None] + factor[known:, known:] @ normals_PS
        self.alpha_NS = cho_solve((factor, True), costs_NS, check_finite=False)
        inverse, _ = lapack.dpotri(factor, lower=1)
        self.inverse_NN = np.tril(inverse) + np.tril(inverse, -1).T

    def predict(self, points_MC: Array) -> tuple[Array, Array]:
        """Return the mean for each sample, and the standard deviation, of the function at points."""
        covariance_MN = self.kernel.covariance(points_MC, self.points_NC)
        means_MS, variances_M, _ = self._moments(covariance_MN)
        return means_MS, np.sqrt(variances_M)

    def moments(self, points_MC: Array) -> tuple[Array, Array, Array, Array]:
        """Return means, variances, the covariances' slopes, and the covariances times the inverse."""
        lengths = self.kernel.lengths_C
        squared = _squared_distances(points_MC / lengths, self.points_NC / lengths)
        means_MS, variances_M, solved_MN = self._moments(matern(squared, self.kernel.amplitude))
        return means_MS, variances_M, matern_slope(squared, self.kernel.amplitude), solved_MN

    def _moments(self, covariance_MN: Array) -> tuple[Array, Array, Array]:
        solved_MN = covariance_MN @ self.inverse_NN
        before = self.kernel.amplitude + MEAN_VARIANCE
        variances_M = np.maximum(before - (solved_MN * covariance_MN).sum(1), 1e-12)
        return covariance_MN @ self.alpha_NS, variances_M, solved_MN
