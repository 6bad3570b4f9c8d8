"""The highest point of a binomial-normal likelihood, and how far tau2 can move from it.

At a given tau2 the likelihood is concave in all else, and Newton's method climbs it. Over tau2 the resulting profile
is first looked at on a grid, from 0 to beyond what any data can tell, and then solved for where it is level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy import optimize, special

from metamiq.errors import ConvergenceError
from metamiq.pooling.binomial_normal import Array, Kernel, Marginal, marginal
from metamiq.pooling.interval import Interval

# Where the profile likelihood of tau is looked at first. No data can tell a larger tau from an infinite one.
TAUS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2)
# Numbers of quadrature points tried in turn until the estimates no longer move.
POINTS = (15, 31, 63, 127, 255, 511)


@dataclass(frozen=True, slots=True)
class Peak:
    """The maximum over theta and the intercepts at one tau2."""

    tau2: float
    theta: float
    alpha: Array
    m: Marginal


def peak_at(kernel: Kernel, tau2: float, near: Peak | None, points: int) -> Peak:
    """Newton's method in theta and the intercepts, where the log-likelihood is concave."""
    theta, alpha = (0.0, kernel.start()) if near is None else (near.theta, near.alpha)
    tau = float(np.sqrt(tau2))
    m = marginal(kernel, theta, tau, alpha, points)
    for _ in range(50):
        d_theta, d_alpha, promised = m.newton_step()
        share = 1.0
        while True:
            new = marginal(kernel, theta + share * d_theta, tau, alpha + share * d_alpha, points)
            # Near the top rounding and quadrature blur the height; the slope still tells.
            if new.concave and (new.loglik >= m.loglik or new.newton_step()[2] < promised or promised < 1e-12):
                break
            share /= 2
            if share < 1e-3:
                raise ConvergenceError(
                    f"The slope of the integrated likelihood must agree with its height, but with {points} quadrature "
                    f"points it does not at tau2 = {tau2:g}. Use more points."
                )
        theta, alpha, m = theta + share * d_theta, alpha + share * d_alpha, new
        # Convergence is quadratic: the error is now about the square of what was promised.
        if promised < 1e-13:
            return Peak(tau2, float(theta), alpha, m)
    raise ConvergenceError(f"The mean log odds ratio must settle at tau2 = {tau2:g}, but 50 steps did not do.")


def highest_peak(kernel: Kernel, common: Peak, points: int | None) -> tuple[Peak, int]:
    """The highest peak over tau2, and the number of quadrature points it took (0 at tau2 = 0)."""
    if kernel.k == 1:
        return common, 0
    peaks = [common]
    for tau in TAUS[1:]:
        peaks.append(_reached(kernel, tau**2, peaks[-1]))
        # Far out the likelihood falls as a power of tau and does not come back.
        if peaks[-1].m.loglik < max(p.m.loglik for p in peaks) - 10:
            break
    if 0 < max(p.m.loglik for p in peaks) - common.m.loglik < 1e-3:
        # Too close to call with few points.
        for j in range(1, len(peaks)):
            peaks[j] = peak_at(kernel, peaks[j].tau2, peaks[j], POINTS[-1])
    # A ridge (tables of a single event tell nothing about tau2) goes to the smallest tau2.
    height = np.array([p.m.loglik for p in peaks])
    i = int(np.argmax(height > height.max() - 1e-8))
    if i == len(TAUS) - 1:
        raise ConvergenceError(
            f"tau2 must be finite, but the likelihood still rises at tau = {TAUS[-1]}: every study seems to be at one "
            f"extreme or the other. Pool with metamiq.mantel_haenszel instead."
        )
    # Rounding error can leave a slope where there is none.
    if i == 0 and common.m.score_tau2 <= 1e-11 * common.m.information[0, 0]:
        return common, 0
    low, high = TAUS[max(i - 1, 0)] ** 2, TAUS[i + 1] ** 2
    return settled(lambda n, last: _root(kernel, low, peaks[i], high, last, n), points)


def _reached(kernel: Kernel, tau2: float, near: Peak) -> Peak:
    """The peak at one tau2 with as few points as reach it, but not few for a wide random effect."""
    for n in POINTS[0 if tau2 < 4 else 3 if tau2 < 200 else 5 : -1]:
        try:
            return peak_at(kernel, tau2, near, n)
        except ConvergenceError:
            continue
    return peak_at(kernel, tau2, near, POINTS[-1])


def _root(kernel: Kernel, low: float, middle: Peak, high: float, guess: Peak | None, points: int) -> Peak:
    """Where the profile likelihood is level in tau2, near a `middle` that is higher than both ends."""
    peak = middle if guess is None else guess

    def score(tau2: float) -> float:
        nonlocal peak
        peak = peak_at(kernel, tau2, peak, points)
        return peak.m.score_tau2

    def solve(a: float, b: float) -> Peak:
        root = float(optimize.brentq(score, a, b, xtol=1e-300, rtol=1e-13, maxiter=500))
        return peak_at(kernel, root, peak, points)

    if guess is not None:
        close = guess.tau2 * (1 - 1e-5), guess.tau2 * (1 + 1e-5)
        if score(close[0]) > 0 >= score(close[1]):
            return solve(*close)
    if score(middle.tau2) > 0:
        low = middle.tau2
    else:
        high = middle.tau2
    # The slope at the far end has the sign that its height implies, unless there is a dip between: look nearer then.
    for _ in range(60):
        if score(low) > 0 >= score(high):
            break
        low, high = ((low + high) / 2, high) if high == middle.tau2 else (low, (low + high) / 2)
    else:
        raise ConvergenceError(
            "tau2 must be where the profile likelihood is level, but no such point could be enclosed."
        )
    return solve(low, high)


def settled(solve: Callable[[int, Peak | None], Peak], points: int | None) -> tuple[Peak, int]:
    """The solution with so many points that twice as many leave it where it is."""
    if points is not None:
        return solve(points, None), points
    last: Peak | None = None
    for n in POINTS:
        try:
            new = solve(n, last)
        except ConvergenceError:
            last = None  # too few points for the slopes to agree with the heights
            continue
        if last is not None:
            moved = abs(new.theta - last.theta) / max(abs(new.theta), new.m.information[0, 0] ** -0.5)
            if max(moved, abs(new.tau2 - last.tau2) / new.tau2) < 1e-8:
                return new, n
        last = new
    raise ConvergenceError(
        f"The integral over the random effects must settle, but {POINTS[-1]} quadrature points still move the "
        f"estimates. Give points= to accept an approximation."
    )


def tau2_interval(kernel: Kernel, tau2: float, level: float) -> Interval:
    """All tau2 whose profile log-likelihood is within half a chi-squared quantile of the highest."""
    peak = _reached(kernel, tau2, peak_at(kernel, 0.0, None, 1))
    floor = peak.m.loglik - float(special.chdtri(1, 1 - level)) / 2

    def depth(value: float) -> float:
        nonlocal peak
        peak = _reached(kernel, value, peak)
        return peak.m.loglik - floor

    def cross(a: float, b: float) -> float:
        return cast(float, optimize.brentq(depth, a, b, xtol=1e-12, rtol=1e-10))

    low = cross(0.0, tau2) if tau2 > 0 and depth(0.0) < 0 else 0.0
    high = max(4 * tau2, 0.01)
    while depth(high) > 0:
        high *= 4
        if high > TAUS[-1] ** 2:
            return Interval(low, np.inf)
    return Interval(low, cross(tau2, high))
