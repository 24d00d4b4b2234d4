"""How much a point is worth trying: expected improvement, probability of improvement, lower confidence bound.

All are of costs, of which less is better; a value is worth more when it is larger. EI and PI are returned as
logarithms, which do not vanish where hope is small (S. Ament, S. Daulton, D. Eriksson, M. Balandat, E. Bakshy,
Unexpected Improvements to Expected Improvement for Bayesian Optimization, 2023, arXiv 2310.20708). Where trials are
pending, EI and PI are means over the samples of what they may come to, each with an incumbent of its own.

Legend of suffixes: M points asked about, C columns, N points of the model, S samples.
"""

import math

import numpy as np
from scipy.special import erfcx, log_ndtr, logsumexp

from services.searcher.surrogate import Array, Posterior

LCB_DEVIATIONS = 1.96
PI_MARGIN = 0.01  # in units of the costs' standard deviation

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Acquisition:
    """An acquisition function of a posterior; `incumbents_S` are the best costs known, for each sample.

    Where the posterior's scale is logarithmic, `stretch` is how much the logarithm of a cost changes along a unit of
    it, else 0: EI is in units of costs, whatever the scale. From 0.4001 to 0.4 is a small step, even where the scale
    makes it look like a large one.
    """

    def __init__(self, name: str, posterior: Posterior, incumbents_S: Array, *, stretch: float = 0.0) -> None:
        self._name = name
        self._posterior = posterior
        self._incumbents_S = incumbents_S
        self._stretch = stretch

    def __call__(self, points_MC: Array) -> Array:
        """Return the value of each point."""
        means_MS, deviations_M = self._posterior.predict(points_MC)
        return self._value(means_MS, deviations_M)[0]

    def with_gradient(self, points_MC: Array) -> tuple[Array, Array]:
        """Return the value of each point, and its gradient by the columns."""
        posterior = self._posterior
        means_MS, variances_M, slopes_MN, solved_MN = posterior.moments(points_MC)
        deviations_M = np.sqrt(variances_M)
        values_M, by_mean_MS, by_deviation_M = self._value(means_MS, deviations_M)
        by_covariance_MN = by_mean_MS @ posterior.alpha_NS.T - (by_deviation_M / deviations_M)[:, None] * solved_MN
        pull_MN = slopes_MN * by_covariance_MN
        gradient_MC = pull_MN @ posterior.points_NC - pull_MN.sum(1)[:, None] * points_MC
        return values_M, gradient_MC / posterior.kernel.lengths_C**2

    def _value(self, means_MS: Array, deviations_M: Array) -> tuple[Array, Array, Array]:
        """Return the values, and their derivatives by each mean and by the deviation."""
        num_samples = means_MS.shape[1]
        if self._name == "LCB":
            values_M = LCB_DEVIATIONS * deviations_M - means_MS.mean(1)
            return values_M, np.full_like(means_MS, -1.0 / num_samples), np.full_like(deviations_M, LCB_DEVIATIONS)
        margin = PI_MARGIN if self._name == "PI" else 0.0
        scores = (self._incumbents_S - margin - means_MS) / deviations_M[:, None]
        log_density = -0.5 * scores**2 - _LOG_SQRT_2PI
        if self._name == "PI":
            logs = log_ndtr(scores)
            ratio = np.exp(log_density - logs) / deviations_M[:, None]
            by_mean, by_deviation = -ratio, -ratio * scores
        elif self._stretch:
            hope, by_mean, by_deviation = log_hope_of_exponential(scores, deviations_M[:, None], self._stretch)
            logs = hope + self._stretch * self._incumbents_S
        else:
            hope = log_hope(scores)
            logs = hope + np.log(deviations_M)[:, None]
            by_mean = -np.exp(log_ndtr(scores) - hope) / deviations_M[:, None]
            by_deviation = np.exp(log_density - hope) / deviations_M[:, None]
        total_M = logsumexp(logs, axis=1)
        weights = np.exp(logs - total_M[:, None])
        return total_M - math.log(num_samples), weights * by_mean, (weights * by_deviation).sum(1)


def log_hope(scores: Array) -> Array:
    """Return the logarithm of the expected improvement over a score, of a standard normal variable."""
    log_density = -0.5 * scores**2 - _LOG_SQRT_2PI
    near = np.maximum(scores, -1.0)
    plain = np.log(np.exp(-0.5 * near**2 - _LOG_SQRT_2PI) + near * np.exp(log_ndtr(near)))
    far = np.clip(-scores, 1.0, 1e5)
    small = log_density + np.log1p(-far * math.sqrt(math.pi / 2) * erfcx(far / math.sqrt(2)))
    tiny = log_density - 2.0 * np.log(np.maximum(-scores, 1.0))
    hope: Array = np.where(scores > -1.0, plain, np.where(scores > -1e5, small, tiny))
    return hope


def log_hope_of_exponential(scores: Array, deviations: Array, stretch: float) -> tuple[Array, Array, Array]:
    """Return the logarithm of E[max(0, 1 - exp(stretch (y - incumbent)))], where y is normal and its mean lies
    `scores` deviations below the incumbent; and its derivatives by the mean and the deviation of y.

    F. Hutter, H. Hoos, K. Leyton-Brown, K. Murphy, An Experimental Investigation of Model-Based Parameter
    Optimisation, 2009, equation 2, by Mills' ratio M(z): phi(z) (M(z) - M(z - t)), where t = stretch * deviation.
    """
    widths = stretch * deviations
    log_below = log_ndtr(scores)
    log_mills = log_below + 0.5 * scores**2 + _LOG_SQRT_2PI
    near = np.minimum(scores, 5.0)  # above, erfcx may overflow, and logarithms are exact enough
    ratios = np.where(
        scores < 5.0,
        erfcx((widths - near) / math.sqrt(2)) / erfcx(-near / math.sqrt(2)),
        np.exp(log_ndtr(scores - widths) - log_below - widths * scores + 0.5 * widths**2),
    )
    parts = np.maximum(1.0 - ratios, 1e-15)
    inverse_mills = np.exp(-log_mills)
    by_mean = -stretch * ratios / parts
    by_deviation = stretch * (inverse_mills - widths * ratios) / parts
    return log_below + np.log(parts), by_mean, by_deviation
