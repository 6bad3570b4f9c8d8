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
TOTALS, SHARES = 3.0, 2.0  # points of the search's grid per decade of the total, and of the odds of the share
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


def _axes(model: ClusteredModel) -> tuple[Array, Array]:
    """Totals of the two components, 0 first, and log odds of the share of the total that lies between clusters."""
    v, residual = model.clusters.vi, model.y - model.Q @ (model.Q.T @ model.y)
    # Below a tenth of the smallest vi a component changes nothing. Components far above the sum of squares cannot
    # help: its few degrees of freedom and the negative weights of correlated effects are what the factor is for.
    low = 0.1 * float(v.min())
    high = max(4.0 * float(residual @ residual), 10.0 * low)
    decades = float(np.log10(high / low))
    # Many effects make one sharp maximum, and each pair costs a pass over them.
    most = int(np.clip(np.sqrt(2e5 / len(v)), 4, 30))
    totals = np.geomspace(low, high, int(np.clip(np.ceil(TOTALS * decades), 4, most)))
    furthest = float(np.log(high / low))
    odds = np.linspace(-furthest, furthest, int(np.clip(np.ceil(2.0 * SHARES * decades), 3, 2 * most)))
    return np.concatenate([[0.0], totals]), np.concatenate([[-np.inf], odds, [np.inf]])


def _parabola(left: Array, middle: Array, right: Array) -> tuple[Array, Array]:
    """What the parabola through three neighbours rises above the middle one, and where, in steps of at most 2."""
    bend = 2.0 * middle - left - right
    top = (bend > 0.0) & np.isfinite(bend)
    shift = np.clip(np.where(top, 0.5 * (right - left) / np.where(top, bend, 1.0), 0.0), -2.0, 2.0)
    return np.where(top, 0.5 * shift * ((right - left) - shift * bend), 0.0), shift


def _starts(model: ClusteredModel, reml: bool) -> list[Array]:
    """Pairs of components from which to climb: one for each hill of the likelihood that a coarse grid shows.

    The grid runs over the total of the components and the share between clusters. Hills can lie side by side along
    one total, hardly higher than the saddle between them, where no grid of values shows them. So at each share the
    best total is found by parabolas, and the slope of the likelihood there along the shares tells between which
    shares that profile has a top. Hills elsewhere are seen by their values.
    """
    totals, odds = _axes(model)
    ratio = float(totals[2] / totals[1])

    def loglik(total: Array, odds: Array) -> Array:
        share = special.expit(odds)
        between, within = (total * share).ravel(), (total * special.expit(-odds)).ravel()
        chunk = max(1, 2**15 // len(model.y))  # some arrays of k numbers per pair, to stay in the cache
        parts = [slice(i, i + chunk) for i in range(0, len(between), chunk)]
        return np.concatenate([model.loglik_grid(between[i], within[i], reml) for i in parts]).reshape(total.shape)

    place = np.repeat(totals[:, None], len(odds), axis=1)
    height = loglik(place, odds)
    padded = np.full((len(totals) + 2, len(odds) + 2), -np.inf)
    padded[1:-1, 1:-1] = height
    around = [padded[1 + i : padded.shape[0] - 1 + i, 1 + j : padded.shape[1] - 1 + j]
              for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]  # fmt: skip
    peak = height >= np.max(around, axis=0)
    peak[0, 1:] = False  # a total of 0 has no shares
    three = height[1:-2], height[2:-1], height[3:]
    gain, shift = _parabola(*three)
    among = (three[1] >= three[0]) & (three[1] >= three[2])
    height[2:-1] += np.where(among, gain, 0.0)
    place[2:-1] *= np.where(among, ratio**shift, 1.0)
    top, each = height.argmax(axis=0), np.arange(len(odds))
    peak[top, each] = False
    i, j = np.nonzero(peak)
    found = [(height[a, b], place[a, b], odds[b]) for a, b in zip(i, j, strict=True)]

    best = place[top, each]
    ridge = loglik(best * ratio ** np.array([[-0.25], [0.0], [0.25]]), odds)
    gain, shift = _parabola(*ridge)
    best, ridge = best * ratio ** (0.25 * shift), ridge[1] + gain
    aside = np.stack([odds - 1e-3, odds + 1e-3])
    aside[0, -1], aside[1, 0] = odds[-2], odds[1]
    before, after = loglik(np.stack([best, best]), aside)
    slope = after - before
    rises = np.concatenate([[True], slope > 0.0])
    falls = np.concatenate([slope <= 0.0, [True]])
    for after_it in np.flatnonzero(rises & falls):
        both = [c for c in (after_it - 1, after_it) if 0 <= c < len(odds)]
        c = max(both, key=lambda c: ridge[c])
        found.append((ridge[c], best[c], odds[c]))
    found.sort(key=lambda hill: -hill[0])
    return [total * special.expit(np.array([o, -o])) for _, total, o in found[:MAX_PEAKS]]


def maximise(model: ClusteredModel, reml: bool) -> Components:
    """The highest of the maxima that are uphill of the places a grid points to.

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

    totals = _axes(model)[0]

    def profile(value: float) -> float:
        held = np.full_like(totals, value)
        between, within = (held, totals) if which == 0 else (totals, held)
        height = np.concatenate([[-np.inf], model.loglik_grid(between, within, reml), [-np.inf]])
        hills = np.flatnonzero((height[1:-1] >= height[:-2]) & (height[1:-1] > height[2:]))
        highest = -np.inf
        for i in hills[height[1 + hills] > height.max() - 1.0]:
            start = np.full(2, value)
            start[other] = totals[i]
            highest = max(highest, ascend(model, start, reml, (other,)).loglik)
        return highest - target

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
