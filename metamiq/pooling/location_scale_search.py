"""Where the likelihood of a location-scale model is highest: many starting points, Newton steps in a trust region.

Likelihoods of variances may have several hills, and some have no summit: where the effects of some rows vary less than
by chance, the likelihood rises for ever as their tau2 goes to 0 and log tau2 to minus infinity. There the score goes to
0 as well, but the Newton step stays near 1; it is the step, not the score alone, that proves a summit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metamiq.errors import ConvergenceError
from metamiq.pooling.location_scale_likelihood import Likelihood, Point
from metamiq.pooling.tables import Array

_MAX_STEPS = 300
_STARTS = 8
_OUTERMOST = 12
_AT_SUMMIT = 1e-7  # in log tau2 of any row; the error left is that of its square
_NEAR = 0.1  # likewise: a Newton step this short leads to within its square of the summit
_ENDLESS_STEP = 0.1  # in log tau2: a step this large that gains nothing leads to no summit
_NOTHING = 1e-10  # times 1 + |log-likelihood|
_LARGEST_RADIUS = 8.0


class Hill(NamedTuple):
    """Where a climb ended: at a summit, or on a slope that rises for ever."""

    alpha: Array
    point: Point
    is_summit: bool


def climb(model: Likelihood, alpha: Array, known: list[Hill]) -> Hill | None:
    """Climb from `alpha` in Newton steps, or until one leads to a summit that is known; None when no end is reached."""
    here = model.point(alpha)
    radius = 2.0
    for _ in range(_MAX_STEPS):
        size = 1.0 + abs(here.value)
        curvature, axes = np.linalg.eigh(-here.hessian)
        slope = axes.T @ here.gradient
        concave = bool(curvature[0] > 0)
        if concave:
            step = axes @ (slope / curvature)
            move = float(np.abs(model.log_tau2(step)).max())
            gain = 0.5 * float(slope @ (slope / curvature))
            if move < _AT_SUMMIT:
                return Hill(alpha + step, model.point(alpha + step), True)
            if gain < _NOTHING * size and move > _ENDLESS_STEP:
                return Hill(alpha, here, False)
            if move < _NEAR:
                for hill in known:
                    if hill.is_summit and np.abs(model.log_tau2(alpha + step - hill.alpha)).max() < _NEAR**2:
                        return hill
        within = _step(curvature, slope, radius)
        promised = float(slope @ within - 0.5 * within @ (curvature * within))
        there = model.point(alpha + axes @ within)
        rose = there.value - here.value
        # Near a summit rounding hides what a step gains; the quadratic is trusted there.
        fine = concave and promised < 1e-8 * size and rose > -1e-9 * size
        if fine or rose > 0.1 * promised:
            if rose > 0.75 * promised or fine:
                radius = min(max(radius, 2.0 * float(np.linalg.norm(within))), _LARGEST_RADIUS)
            alpha, here = alpha + axes @ within, there
        else:
            radius = 0.25 * float(np.linalg.norm(within))
            if radius < 1e-12:
                return None
    return None


def _step(curvature: Array, slope: Array, radius: float) -> Array:
    """The best step of at most `radius` on the quadratic with these curvatures, along its axes."""
    if curvature[0] > 0:
        step = slope / curvature
        if np.linalg.norm(step) <= radius:
            return np.asarray(step)
    low = max(0.0, -float(curvature[0]))
    high = low + float(np.linalg.norm(slope)) / radius + 1e-300
    for _ in range(30):  # |step| falls as the shift rises
        shift = 0.5 * (low + high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            length = float(np.linalg.norm(slope / (curvature + shift)))
        low, high = (shift, high) if not length <= radius else (low, shift)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(slope == 0, 0.0, slope / (curvature + high))
    left = radius**2 - float(step @ step)
    if curvature[0] <= 0 and left > 0.1 * radius**2:  # level along the axis that bends upwards: a saddle
        step[0] += np.copysign(np.sqrt(left), slope[0])
    return np.asarray(step)


def highest(model: Likelihood, constant: float) -> tuple[Hill, Hill | None]:
    """The highest hill that can be reached from many starting points, and the highest summit if that is another.

    Parameters
    ----------
    model : Likelihood
        As a function of alpha.
    constant : float
        tau2 of the same model with one for all rows: the first start where it is above 0.

    Raises
    ------
    ConvergenceError
        If no climb ends.
    """
    hills: list[Hill] = []
    for start in _starts(model, constant):
        hill = climb(model, start, hills)
        if hill is not None:
            hills.append(hill)
    if not hills:
        raise ConvergenceError(
            f"The likelihood must be climbed within {_MAX_STEPS} steps, but from no starting point was it. Check the "
            "variances for values of very different size, or use fewer scale moderators."
        )
    best = max(hills, key=lambda hill: hill.point.value)
    summit = max((h for h in hills if h.is_summit), key=lambda hill: hill.point.value, default=None)
    if summit is not None and summit.point.value > best.point.value - 1e-9 * (1 + abs(best.point.value)):
        return summit, None
    return best, summit


def _starts(model: Likelihood, constant: float) -> list[Array]:
    """The highest of many points, apart from each other."""
    k, q = model.Z.shape
    middle = float(np.median(np.log(model.vi)))
    level = np.log(constant) if constant > 0 else middle - 2.0

    def nearest(eta: Array) -> Array:
        return np.asarray(model.Z.T @ eta / k)

    flat = nearest(np.full(k, level))
    if q == 1 and np.ptp(model.Z) < 1e-9 * np.abs(model.Z).max():
        return [flat]
    one = nearest(np.ones(k))
    # One direction per moderator, each row's log tau2 moved by its distance from the mean in standard deviations.
    directions = []
    for column in (model.Z @ model.scale_root).T:
        spread = float(column.std())
        if spread > 1e-9 * np.abs(column).max():
            directions.append(nearest((column - column.mean()) / spread))
    outwards = [sign * direction for direction in directions for sign in (1.0, -1.0)]
    if len(directions) > 1:  # towards the outermost rows, between the moderators
        centred = model.Z - model.Z.mean(axis=0)
        distance = np.sqrt(np.einsum("kq,kq->k", centred, centred))
        outwards += [centred[i] / distance[i] for i in np.argsort(-distance, kind="stable")[:_OUTERMOST]]
    at = model.location(model.vi + np.exp(level))
    squares = at.residual**2 * (model.vi + np.exp(level))
    points = [flat, nearest(np.log(np.maximum(squares - model.vi, 0.05 * (squares + model.vi))))]
    for shift in (-4.0, -2.0, 0.0, 2.0):
        base = flat + shift * one
        points.append(base)
        points += [base + slope * direction for direction in directions for slope in (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)]
        # tau2 of the outermost row alone, all others sunk below their sampling variances.
        points += [base + 8.0 * (away - float(model.log_tau2(away).max()) * one) for away in outwards]
    values = np.array([model.value(a) for a in points])
    chosen = [flat]
    for i in np.argsort(-values, kind="stable"):
        if len(chosen) == _STARTS or not np.isfinite(values[i]):
            break
        if all(np.linalg.norm(points[i] - other) > 1.5 for other in chosen):
            chosen.append(points[i])
    return chosen
