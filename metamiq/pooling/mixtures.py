"""Mixtures of normal distributions: what a posterior becomes once a quadrature has taken tau out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from metamiq.errors import ConvergenceError
from metamiq.pooling.interval import Interval
from metamiq.pooling.tau_priors import HALF_LOG_2PI
from metamiq.pooling.wls import Array

INTERVALS = ("central", "shortest")
_MAX_CELLS = 2_000_000  # of the points x components array held at once


def check_interval(kind: str) -> None:
    """Raise ValueError unless `kind` names a credible interval."""
    if kind not in INTERVALS:
        raise ValueError(f"interval must be one of 'central', 'shortest', not {kind!r}.")


def shortest_interval(quantile: Callable[[Array], Array], density: Callable[[Array], Array], level: float) -> Interval:
    """Shortest interval that holds `level`: its ends have the same density, unless one is the end of the support.

    A grid of lower tail areas finds the valley of the width (there may be several, or none), then the root of the
    difference in density between the two ends settles it.
    """
    p = np.linspace(0.0, 1.0 - level, 33)
    ends = quantile(np.concatenate([p, np.minimum(p + level, 1.0)]))
    width = ends[33:] - ends[:33]
    best = int(np.argmin(np.where(np.isfinite(width), width, np.inf)))

    def slope(area: float) -> float:
        f = density(quantile(np.array([area, min(area + level, 1.0)])))
        return float(f[0] - f[1])  # the sign of d width / d area

    low = max(float(p[max(best - 1, 0)]), 1e-9 * (1.0 - level))
    high = min(float(p[min(best + 1, 32)]), (1.0 - level) * (1 - 1e-9))
    area = float(p[best])
    if slope(low) < 0 < slope(high):
        area = float(optimize.brentq(slope, low, high, xtol=1e-15, rtol=1e-13))
    return Interval(*(float(x) for x in quantile(np.array([area, min(area + level, 1.0)]))))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NormalMixture:
    """A distribution that is normal given tau, with tau taken out.

    Attributes
    ----------
    weights, means, sds : ndarray, shape (grid,)
        Weight, mean and standard deviation of each component; the weights sum to 1.
    moments : int
        How many moments exist, at most 2: priors with heavy tails and few trials may leave none.
    """

    weights: Array
    means: Array
    sds: Array
    moments: int = 2

    def __repr__(self) -> str:
        return f"NormalMixture(mean {self.mean:.4g}, sd {self.sd:.4g})"

    @property
    def mean(self) -> float:
        """Expected value; NaN where it does not exist."""
        return float(self.weights @ self.means) if self.moments >= 1 else np.nan

    @property
    def sd(self) -> float:
        """Standard deviation; infinite or NaN where it does not exist."""
        if self.moments < 2:
            return np.inf if self.moments == 1 else np.nan
        return float(np.sqrt(self.weights @ (self.sds**2 + (self.means - self.mean) ** 2)))

    @property
    def median(self) -> float:
        """Value with half of the mass on each side."""
        return float(self.quantile(0.5))

    def _sum(self, x: ArrayLike, part: Callable[[Array], Array], scaled: bool) -> Array:
        flat = np.ravel(np.asarray(x, dtype=float))
        out = np.empty_like(flat)
        w = self.weights / self.sds if scaled else self.weights
        step = max(1, _MAX_CELLS // len(w))
        for i in range(0, len(flat), step):
            out[i : i + step] = part((flat[i : i + step, None] - self.means) / self.sds) @ w
        return out.reshape(np.shape(x))

    def pdf(self, x: ArrayLike) -> Array:
        """Density at x."""
        return self._sum(x, lambda z: np.exp(-0.5 * z * z - HALF_LOG_2PI), scaled=True)

    def cdf(self, x: ArrayLike) -> Array:
        """Mass below x."""
        return self._sum(x, special.ndtr, scaled=False)

    def _slope(self, x: float) -> float:
        z = (x - self.means) / self.sds
        return float(-(z * np.exp(-0.5 * z * z)) @ (self.weights / self.sds**2))

    @property
    def mode(self) -> float:
        """Value with the highest density."""
        x = self.quantile(np.linspace(0.01, 0.99, 99))
        i = int(np.clip(np.argmax(self.pdf(x)), 1, 97))
        if self._slope(float(x[i - 1])) > 0 > self._slope(float(x[i + 1])):
            return float(optimize.brentq(self._slope, x[i - 1], x[i + 1], xtol=1e-15 * np.ptp(x), rtol=1e-14))
        return float(x[i])

    def quantile(self, p: ArrayLike) -> Array:
        """Value with mass p below it; infinite for p of 0 and 1.

        Newton's method inside a bracket that halves whenever a step would leave it.
        """
        area = np.ravel(np.asarray(p, dtype=float))
        if not ((area >= 0) & (area <= 1)).all():
            raise ValueError("A probability must lie between 0 and 1.")
        out = np.where(area <= 0, -np.inf, np.inf)
        inside = (area > 0) & (area < 1)
        if inside.any():
            out[inside] = self._solve(area[inside])
        return out.reshape(np.shape(p))

    def _solve(self, area: Array) -> Array:
        # Weighted medians, because one component far out in a heavy tail would spoil means.
        centre, scale = (
            float(a[o][min(int(np.searchsorted(np.cumsum(self.weights[o]), 0.5)), len(o) - 1)])
            for a, o in ((self.means, np.argsort(self.means)), (self.sds, np.argsort(self.sds)))
        )
        x = centre + scale * special.ndtri(area)
        low, high = x - scale, x + scale
        for end, sign in ((low, -1.0), (high, 1.0)):
            step = 3.0 * scale
            while (outside := sign * (area - self.cdf(end)) > 0).any():
                end[outside] += sign * step
                step *= 8.0
                if not np.isfinite(step):
                    raise ConvergenceError("A quantile of the posterior lies beyond the range of numbers.")
        todo = np.arange(len(area))
        for _ in range(300):
            at = x[todo]
            miss = self.cdf(at) - area[todo]
            above = miss > 0
            high[todo[above]] = at[above]
            low[todo[~above]] = at[~above]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                new = at - miss / self.pdf(at)
            middle = 0.5 * (low[todo] + high[todo])
            new = np.where((new >= low[todo]) & (new <= high[todo]), new, middle)
            x[todo] = new
            # The second condition is rounding: the sum of the components knows no more.
            still = (np.abs(new - at) > 1e-13 * scale + 4e-16 * np.abs(new)) & (np.abs(miss) > 4e-15 * area[todo])
            todo = todo[still & (high[todo] > low[todo])]
            if not len(todo):
                return np.asarray(x)
        raise ConvergenceError("A quantile of the posterior was not found in 300 steps.")

    def interval(self, level: float = 0.95, kind: str = "central") -> Interval:
        """Credible interval: "central" (equal tails) or "shortest" (highest density)."""
        check_interval(kind)
        if kind == "shortest":
            return shortest_interval(self.quantile, self.pdf, level)
        tail = (1.0 - level) / 2
        return Interval(*(float(x) for x in self.quantile([tail, 1.0 - tail])))
