"""Two variance components by maximum likelihood or REML, and their profile likelihood intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from metamiq.errors import ConvergenceError
from metamiq.pooling.clustered import Array, ClusteredModel

NAMES = ("cluster", "effect")
MAX_ITERATIONS = 500


class Components(NamedTuple):
    """Variance components, between clusters and within, and the log-likelihood there."""

    sigma2: Array  # (2,)
    loglik: float


def _positive_definite(info: Array) -> bool:
    return bool(
        info[0, 0] > 0
        and info[1, 1] > 0
        and info[0, 0] * info[1, 1] - info[0, 1] ** 2 > 1e-10 * info[0, 0] * info[1, 1]
    )


def _quadratic_step(theta: Array, score: Array, info: Array, free: list[int]) -> Array:
    """The step to the maximum of score's - s'info s / 2 that keeps theta + s >= 0, over the free components."""
    if len(free) == 1:
        (j,) = free
        step = np.zeros(2)
        step[j] = max(score[j] / info[j, j], -theta[j])
        return step
    step = np.linalg.solve(info, score)
    if np.all(theta + step >= 0.0):
        return np.asarray(step)
    # The maximum lies on an edge: try both (a corner is the end of an edge) and take the better.
    best, best_gain = np.zeros(2), -np.inf
    for j in (0, 1):
        i = 1 - j
        s = np.zeros(2)
        s[j] = -theta[j]
        s[i] = max((score[i] - info[i, j] * s[j]) / info[i, i], -theta[i])
        gain = float(score @ s - 0.5 * s @ info @ s)
        if gain > best_gain:
            best, best_gain = s, gain
    return best


def ascend(
    model: ClusteredModel,
    start: Array,
    reml: bool,
    free: tuple[int, ...] = (0, 1),
    known: Components | None = None,
) -> Components:
    """Climb to a maximum of the likelihood over the free components, which stay >= 0.

    Newton steps where the observed information is positive definite, Fisher scoring elsewhere; each step maximises
    the quadratic model within the bounds and is halved until the likelihood rises. Near the top, where differences
    of the likelihood are rounding errors, Newton steps are taken as they come until they stop shrinking. A climb
    that comes within a tenth of a standard error of the `known` maximum ends there.

    Raises
    ------
    ConvergenceError
        If 500 steps do not reach a maximum.
    """
    theta = np.array(start, dtype=float)
    now = model.derivatives(theta[0], theta[1], reml)
    last_gain = np.inf
    for _ in range(MAX_ITERATIONS):
        if known is not None and now.loglik <= known.loglik:
            distance = theta - known.sigma2
            if distance @ now.expected @ distance < 0.01:
                return known
        moving = [j for j in free if theta[j] > 0.0 or now.score[j] > 0.0]
        if not moving:
            return Components(theta, now.loglik)
        newton = (
            _positive_definite(now.observed)
            if len(moving) == 2
            else bool(now.observed[moving[0], moving[0]] > 0)
        )
        info = now.observed if newton else now.expected
        step = _quadratic_step(theta, now.score, info, moving)
        gain = float(now.score @ step - 0.5 * step @ info @ step)
        if gain < 1e-9:
            if gain <= 1e-28 or gain >= last_gain:
                return Components(theta, now.loglik)
            theta = np.maximum(theta + step, 0.0)
            now = model.derivatives(theta[0], theta[1], reml)
            last_gain = gain
            continue
        for _ in range(60):
            candidate = np.maximum(theta + step, 0.0)
            new = model.derivatives(candidate[0], candidate[1], reml)
            if new.loglik > now.loglik:
                break
            step = 0.5 * step
        else:
            # No point on the way up is higher in floating point: this is the top as far as it can be resolved.
            return Components(theta, now.loglik)
        theta, now = candidate, new
    raise ConvergenceError(
        f"The likelihood of the variance components must have a maximum that {MAX_ITERATIONS} steps reach, but the "
        f"iteration stood at {theta[0]:g} (cluster) and {theta[1]:g} (effect); look for effects with extreme vi."
    )


def maximise(model: ClusteredModel, reml: bool) -> Components:
    """The highest maximum found from three starts: heterogeneity on both levels, only within, only between."""
    k, p = model.Q.shape
    residual = model.y - model.Q @ (model.Q.T @ model.y)
    # The whole residual variance is an upper guess; a tenth of the smallest vi keeps it positive.
    scale = max(float(residual @ residual) / max(k - p, 1), 0.1 * float(model.clusters.vi.min()))
    starts = ((0.5 * scale, 0.5 * scale), (0.0, scale), (scale, 0.0))
    best = ascend(model, np.array(starts[0]), reml)
    for start in starts[1:]:
        best = max(best, ascend(model, np.array(start), reml, known=best), key=lambda c: c.loglik)
    return best


def profile_interval(
    model: ClusteredModel, best: Components, which: int, reml: bool, level: float
) -> tuple[float, float]:
    """Values of one component that a likelihood-ratio test at `level` does not reject, the other maximised out.

    The lower end is 0 when 0 is not rejected, the upper end infinite when no value is.
    """
    target = best.loglik - 0.5 * float(special.chdtri(1, 1.0 - level))
    other = 1 - which
    hat = float(best.sigma2[which])

    def profile(value: float) -> float:
        start = best.sigma2.copy()
        start[which] = value
        return ascend(model, start, reml, (other,)).loglik - target

    def root(f: Callable[[float], float], low: float, high: float) -> float:
        return float(optimize.brentq(f, low, high, xtol=1e-12 * high, rtol=1e-12))

    low = 0.0
    if hat > 0.0 and profile(0.0) < 0.0:
        low = root(profile, 0.0, hat)
    high = max(2.0 * hat, float(best.sigma2.sum()), 0.1 * float(model.clusters.vi.min()))
    for _ in range(200):
        if profile(high) < 0.0:
            return low, root(profile, hat, high)
        high *= 2.0
    return low, np.inf
