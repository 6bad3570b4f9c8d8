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
MAX_PEAKS = 6
_EXTREME = (
    "The likelihood of the variance components must be finite to be maximised, but it is not with vi from {low:g} to "
    "{high:g}; look for effects with extreme yi or vi."
)


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
        step: Array = np.zeros(2)
        step[j] = max(score[j] / info[j, j], -theta[j])
        return step
    step = np.asarray(np.linalg.solve(info, score))
    if np.all(theta + step >= 0.0):
        return step
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
        newton = _positive_definite(now.observed) if len(moving) == 2 else bool(now.observed[moving[0], moving[0]] > 0)
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


def _starts(model: ClusteredModel, reml: bool) -> list[Array]:
    """Pairs of components from which to climb: the local maxima of the likelihood on a coarse grid, highest first."""
    v, residual = model.clusters.vi, model.y - model.Q @ (model.Q.T @ model.y)
    # Below a tenth of the smallest vi a component changes nothing; above the largest squared residual it cannot help.
    low = 0.1 * float(v.min())
    high = max(float(np.max(residual**2)), 10.0 * low)
    # Many effects make one sharp maximum, and each pair costs a pass over them.
    most = int(np.clip(np.sqrt(2e6 / len(v)), 4, 30))
    points = int(np.clip(np.ceil(3.0 * np.log10(high / low)), 4, most))
    axis = np.concatenate([[0.0], np.geomspace(low, high, points)])
    between, within = np.repeat(axis, len(axis)), np.tile(axis, len(axis))
    chunk = max(1, 2**18 // len(v))  # bounds memory: some arrays of k numbers per pair
    values = np.concatenate(
        [model.loglik_grid(between[i : i + chunk], within[i : i + chunk], reml) for i in range(0, len(between), chunk)]
    )
    padded = np.full((len(axis) + 2,) * 2, -np.inf)
    padded[1:-1, 1:-1] = values.reshape(len(axis), -1)
    around = [padded[1 + i : padded.shape[0] - 1 + i, 1 + j : padded.shape[1] - 1 + j]
              for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]  # fmt: skip
    peaks = np.flatnonzero((padded[1:-1, 1:-1] >= np.max(around, axis=0)).ravel())
    peaks = peaks[np.argsort(-values[peaks], kind="stable")][:MAX_PEAKS]
    return [np.array([between[i], within[i]]) for i in peaks]


def maximise(model: ClusteredModel, reml: bool) -> Components:
    """The highest of the maxima that lie above the local maxima of a grid.

    The likelihood of two variances can have several maxima, and the lower ones catch optimisers that start once.

    Raises
    ------
    ConvergenceError
        If a climb does not arrive, or the weights span so many orders of magnitude that least squares breaks down.
    """
    best: Components | None = None
    try:
        for start in _starts(model, reml):
            climb = ascend(model, start, reml, known=best)
            if best is None or climb.loglik > best.loglik:
                best = climb
    except np.linalg.LinAlgError as error:
        v = model.clusters.vi
        raise ConvergenceError(_EXTREME.format(low=v.min(), high=v.max())) from error
    if best is None:
        raise ConvergenceError(_EXTREME.format(low=model.clusters.vi.min(), high=model.clusters.vi.max()))
    return best


def profile_interval(
    model: ClusteredModel, best: Components, which: int, reml: bool, level: float
) -> tuple[float, float]:
    """Values of one component that a likelihood-ratio test at `level` does not reject, the other maximised out.

    The lower end is 0 when 0 is not rejected. The upper end is finite: the likelihood falls without bound.

    Raises
    ------
    ConvergenceError
        If no upper end is found.
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
    raise ConvergenceError(
        f"The likelihood must fall as the {NAMES[which]} variance grows, but it does not up to {high:g}; look for "
        "effects with extreme vi."
    )
