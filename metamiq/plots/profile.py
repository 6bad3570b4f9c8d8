"""Profile likelihood: what the data say about one parameter when all others are at their best for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import special

from metamiq.errors import DataError
from metamiq.plots import canvas, style
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import RowFit, drawn_from_fit, one_mean, weighted_by_inverse_variance
from metamiq.plots.footer import footer_lines, has_moderators
from metamiq.plots.scale import Scale
from metamiq.plots.style import number
from metamiq.pooling import tau2 as tau2_estimators
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.bounded_profile import profile
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.wls import Array
from metamiq.tails import critical_value

HALF = 41  # values on each side of the estimate
_TAU2 = 61  # values of tau2 tried for each value of a mean or coefficient


def profile_rows(fit: RowFit, of: str = "mean") -> pd.DataFrame:
    """Log-likelihood of each value of one parameter, all others at their best for that value, relative to the maximum.

    The full likelihood; for tau2 of a REML fit the restricted one.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit or MetaRegression
        Of inverse-variance weights; estimator and test of the mean have no part in its likelihood.
    of : str
        "mean", "tau2", or the name of a coefficient of a model with moderators.

    Returns
    -------
    DataFrame
        A column named as `of` (scale of analysis) and `loglik` (0 at the maximum).

    Raises
    ------
    DataError
        If the fit has no such parameter, or no finite interval of it.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03], method="ML")
    >>> for of in ("mean", "tau2"):
    ...     table = profile_rows(fit, of)
    ...     print(of, f"{table[of][table['loglik'].idxmax()]:.3f}")
    mean 0.412
    tau2 0.042
    """
    drawn_from_fit(fit, "A profile likelihood")
    weighted_by_inverse_variance(fit, "A profile likelihood")
    if of == "mean":
        one_mean(fit, "A profile likelihood of the mean")
    elif of == "tau2":
        if fit.method == "FE" or (isinstance(fit, PooledEffect) and fit.tau2_given):
            raise DataError("A profile likelihood of tau2 needs a model that estimates it, but here it is given.")
    elif not has_moderators(fit) or of not in fit.names:  # type: ignore[union-attr]
        names = list(fit.names) if has_moderators(fit) else ["mean"]  # type: ignore[union-attr]
        raise DataError(f"of must be one of {', '.join(map(repr, [*names, 'tau2']))}, not {of!r}.")
    grid = _grid(fit, of)
    if isinstance(fit, BoundedFit):
        loglik = _bounded(fit, of, grid)
    elif of == "tau2":
        loglik = _of_tau2(fit, grid)
    else:
        loglik = _of_coefficient(fit, 0 if of == "mean" else fit.names.index(of), grid)  # type: ignore[union-attr]
    return pd.DataFrame({of: grid, "loglik": loglik - loglik.max()})


def _grid(fit: RowFit, of: str) -> Array:
    """Values beyond the 99% interval, and the estimate itself, so that the curve reaches its maximum."""
    if of == "tau2":
        low, high = fit.tau2_ci(0.99) if isinstance(fit, BoundedFit) else fit.tau2_ci(0.99, "PL")
        middle = fit.tau2
        if not np.isfinite(high):
            raise DataError("tau2 must have a finite interval to draw its likelihood, but it has none.")
        first = max(0.0, middle - 1.15 * (middle - low))
        last = middle + 1.15 * (high - middle)
    else:
        if (isinstance(fit, BoundedFit) and not has_moderators(fit)) or isinstance(fit, PooledEffect):
            middle, (low, high) = fit.estimate, fit.ci(0.99)
        else:
            middle, se = (float(v) for v in fit.coefficients.loc[[of], ["estimate", "se"]].to_numpy(dtype=float)[0])
            half = float(critical_value(0.99)) * se
            low, high = middle - half, middle + half
        if not np.isfinite(low + high):
            raise DataError(f"The {of} must have a finite interval to draw its likelihood, but it has none.")
        first, last = middle - 1.15 * (middle - low), middle + 1.15 * (high - middle)
    return np.concatenate([np.linspace(first, middle, HALF + 1), np.linspace(middle, last, HALF + 1)[1:]])


def _bounded(fit: BoundedFit, of: str, grid: Array) -> Array:
    coordinate = -1 if of == "tau2" else 0 if of == "mean" else fit.names.index(of)
    rows = fit.rows.take(np.zeros(len(grid), dtype=np.intp))
    theta = np.repeat(np.append(fit.beta, fit.tau2)[None], len(grid), axis=0)
    return np.asarray(profile(rows, theta, coordinate, grid).f)


def _of_tau2(fit: PooledEffect | MetaRegression, grid: Array) -> Array:
    kind = "REML" if fit.method == "REML" else "ML"
    return np.array([float(tau2_estimators.loglik(fit.tables(), np.array([t]), kind)[0]) for t in grid])


def _of_coefficient(fit: PooledEffect | MetaRegression, j: int, grid: Array) -> Array:
    """The full log-likelihood with coefficient j held, the others and tau2 at their best."""
    yi, vi = fit.source.yi, fit.source.vi
    X = fit.design.X if isinstance(fit, MetaRegression) else np.ones((len(yi), 1))
    rest = np.delete(X, j, axis=1)
    if fit.method == "FE":
        return np.array([_loglik(yi - b * X[:, j], vi, rest, np.zeros(1))[0] for b in grid])
    best = []
    for b in grid:
        y = yi - b * X[:, j]
        # The likelihood may have two peaks: look everywhere first, then close in on the best place.
        at = np.append(
            0.0, np.geomspace(1e-6, 1.0, _TAU2) * max(float(((y - y.mean()) ** 2).max()), float((y**2).max()))
        )
        for _ in range(5):
            values = _loglik(y, vi, rest, at)
            i = int(values.argmax())
            low, high = at[max(i - 1, 0)], at[min(i + 1, len(at) - 1)]
            at = np.linspace(low, high, 25)
        best.append(values.max())
    return np.array(best)


def _loglik(y: Array, vi: Array, rest: Array, at: Array) -> Array:
    w = 1.0 / (vi + at[:, None])
    if rest.shape[1]:
        A = np.einsum("kp,bk,kq->bpq", rest, w, rest)
        c = np.einsum("kp,bk,k->bp", rest, w, y)
        residual = y - np.linalg.solve(A, c[:, :, None])[:, :, 0] @ rest.T
    else:
        residual = np.broadcast_to(y, w.shape)
    return np.asarray(0.5 * np.log(w).sum(axis=1) - 0.5 * (w * residual**2).sum(axis=1))


def _ends(x: Array, loglik: Array, level: float) -> tuple[float, float]:
    """Where the curve crosses the height of an interval; the end of the curve where it does not."""
    top, drop = int(loglik.argmax()), -float(special.chdtri(1, 1 - level)) / 2
    left = x[0] if loglik[0] > drop else float(np.interp(drop, loglik[: top + 1], x[: top + 1]))
    right = x[-1] if loglik[-1] > drop else float(np.interp(drop, loglik[top:][::-1], x[top:][::-1]))
    return float(left), float(right)


def profile_likelihood(fit: RowFit, of: str = "mean", *, ax: Axes | None = None) -> Axes:
    """The profile likelihood of one parameter, with the values that a 95% and a 99% interval hold.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit or MetaRegression
        Of inverse-variance weights. Its table is `profile_rows`.
    of : str
        "mean", "tau2", or the name of a coefficient of a model with moderators.
    ax : Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        As `profile_rows`.

    References
    ----------
    Hardy & Thompson (1996).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> profile_likelihood(fit).get_ylabel(), profile_likelihood(fit, "tau2").get_ylabel()
    ('Profile log-likelihood', 'Restricted profile log-likelihood')
    """
    rows = profile_rows(fit, of)
    scale = Scale(fit.measure if of == "mean" else None)
    own, ax = ax is None, canvas.start(ax)
    x, loglik = (rows[c].to_numpy(dtype=float) for c in (of, "loglik"))
    logs = " (logarithms of ratios)" if Scale(fit.measure).is_ratio else ""
    name = scale.name if of == "mean" else "τ²" + logs if of == "tau2" else f"Coefficient of {of}{logs}"
    restricted = "Restricted profile" if of == "tau2" and fit.method == "REML" else "Profile"
    canvas.label_axes(ax, name, f"{restricted} log-likelihood")
    scale.set_axis(ax, float(x.min()), float(x.max()), canvas.room(ax))
    ax.plot(scale.shown(x), loglik, color=style.POINT, lw=1.8)
    entries: list[tuple[str, Artist]] = []
    for level, dashes in ((0.95, (0, (5, 2))), (0.99, (0, (1, 1.5)))):
        ax.axhline(-float(special.chdtri(1, 1 - level)) / 2, color=style.QUIET, lw=1.0, ls=dashes)
        entries.append((f"above: {100 * level:g}% interval", Line2D([], [], color=style.QUIET, lw=1.0, ls=dashes)))
    if of != "tau2":
        ax.axvline(float(scale.shown(0.0)), color=style.QUIET, lw=0.8, zorder=0.5)
    ax.set_ylim(max(float(loglik.min()), -6.0), 0.2)
    ends = " to ".join(scale.text(e) if of == "mean" else number(e, 3) for e in _ends(x, loglik, 0.95))
    what = "the mean" if of == "mean" else "tau2" if of == "tau2" else f"the coefficient of {of}"
    ax.set_label(f"{alt_text(fit, f'Profile likelihood of {what}')} 95% profile interval of {what} {ends}.")
    return canvas.finish(ax, own, [t for t in footer_lines(fit) if not t.startswith("≈")], entries)
