"""The maximum of a log-likelihood whose derivatives are known, with parameters that may have a lower bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metamiq.errors import ConvergenceError
from metamiq.pooling.wls import Array

ITERATIONS = 300
ENOUGH = 1e-12  # expected gain in log-likelihood below which a step is the last one


class Point(NamedTuple):
    """A log-likelihood with its gradient and Hessian; -inf where it is undefined."""

    loglik: float
    gradient: Array
    hessian: Array


class Maximum(NamedTuple):
    """Where the maximum is; `free` marks the parameters that are not held by their bound."""

    x: Array
    point: Point
    free: NDArray[np.bool_]

    def covariance(self) -> Array:
        """Inverse of the observed information of the free parameters; NaN for those on their bound."""
        out = np.full((len(self.x), len(self.x)), np.nan)
        free = np.flatnonzero(self.free)
        information = -self.point.hessian[np.ix_(free, free)]
        try:
            np.linalg.cholesky(information)
        except np.linalg.LinAlgError:
            return out
        out[np.ix_(free, free)] = np.linalg.inv(information)
        return out


def maximise(evaluate: Callable[[Array], Point], start: Array, lower: Array, reach: Array, what: str) -> Maximum:
    """Newton's method with steps that always go up, held at bounds where the likelihood falls beyond them.

    `reach` is how far each parameter may go from its start before the likelihood counts as having no maximum.

    Raises
    ------
    ConvergenceError
        If the likelihood is undefined at the start or has no maximum within reach.
    """
    x = np.maximum(np.asarray(start, dtype=float), lower)
    origin, here = x, evaluate(x)
    if not np.isfinite(here.loglik):
        raise ConvergenceError(f"The likelihood of {what} is undefined at its starting values.")
    for _ in range(ITERATIONS):
        free = ~((x <= lower) & (here.gradient <= 0))
        step = np.zeros(len(x))
        if free.any():
            step[free] = _uphill(here.gradient[free], -here.hessian[np.ix_(free, free)])
        gain = float(here.gradient @ step)
        if not gain > ENOUGH * (1 + abs(here.loglik)):
            return Maximum(x, here, free)
        for halving in range(50):
            new = np.maximum(x + step * 0.5**halving, lower)
            there = evaluate(new)
            if there.loglik >= here.loglik + 1e-4 * float(here.gradient @ (new - x)):
                break
        else:
            # No higher point along the way: the gain left is below the rounding of the likelihood.
            if gain < 1e-7 * (1 + abs(here.loglik)):
                return Maximum(x, here, free)
            break
        x, here = new, there
        if (np.abs(x - origin) > reach).any():
            break
    raise ConvergenceError(
        f"The likelihood of {what} has no maximum that can be found: it still rises far away from the data, which are "
        "too few or too alike for so many parameters. Use fewer steps or another weight function."
    )


def _uphill(gradient: Array, information: Array) -> Array:
    """The Newton step, with directions of negative curvature turned around."""
    size = np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-300))
    values, vectors = np.linalg.eigh(information / size[:, None] / size[None, :])
    values = np.maximum(np.abs(values), 1e-9 * np.abs(values).max())
    return np.asarray(vectors @ ((vectors.T @ (gradient / size)) / values) / size)
