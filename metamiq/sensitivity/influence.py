r"""How much each row moves the answer: deletion statistics, and the same in words.

References
----------
Viechtbauer & Cheung (2010), Research Synthesis Methods 1, 112-125. Cook & Weisberg (1982). Belsley, Kuh & Welsch
(1980).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.errors import DataError
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.bounded_likelihood import derivatives
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.wls import Array, fit_tau2, tables
from metamiq.sensitivity import readable
from metamiq.sensitivity.bounded_refits import bounded_refits
from metamiq.sensitivity.deletion import leave_one_out
from metamiq.sensitivity.refits import CELLS, Bools, refit
from metamiq.wording import fixed


class _Deleted(NamedTuple):
    """The fits without each row in turn."""

    beta: Array  # (k, p)
    cov: Array  # (k, p, p)
    tau2: Array  # (k,)
    Q: Array  # (k,)
    s2: Array  # (k,): the factor of the Hartung-Knapp variance, 1 for the other tests
    bread: Array  # (k, p): diagonal of (X'WX)^-1 of all rows at tau2 without the row


def influence(fit: PooledEffect | MetaRegression | BoundedFit) -> pd.DataFrame:
    r"""Deletion statistics of each row of a fit.

    With (-i) for the fit without row i:

    * ``rstudent`` :math:`(y_i - x_i'\beta_{(-i)}) /
      \sqrt{s^2_{(-i)}(v_i + \tau^2_{(-i)}) + x_i' Cov(\beta_{(-i)}) x_i}`;
    * ``dffits`` :math:`x_i'(\beta - \beta_{(-i)}) / \sqrt{s^2_{(-i)} h_i (v_i + \tau^2_{(-i)})}`;
    * ``cook_d`` :math:`(\beta - \beta_{(-i)})' Cov(\beta)^{-1} (\beta - \beta_{(-i)})`;
    * ``cov_r`` :math:`|Cov(\beta_{(-i)})| / |Cov(\beta)|`; below 1: the answer is sharper without the row;
    * ``tau2_del``, ``Q_del``: tau2 and Q (QE) without the row;
    * ``hat`` :math:`h_i = w_i x_i'(X'WX)^{-1}x_i`, and ``weight`` :math:`100 w_i / \sum w`, in percent;
    * ``dfbs`` :math:`(\beta_j - \beta_{j(-i)}) / \sqrt{s^2_{(-i)} [(X'W_{(-i)}X)^{-1}]_{jj}}`, for a regression one
      column per coefficient, ``dfbs_<term>``.

    s2 is the Hartung-Knapp factor of the fit without the row, and 1 for tests z and t.

    Parameters
    ----------
    fit : PooledEffect, MetaRegression or BoundedFit
        Any fit of `random_effects`, `fixed_effect`, `meta_regression` or `random_effects_bounded`.

    Returns
    -------
    DataFrame
        One row per row of the fit, named by it. NaN where what is left cannot be fitted. For points and bounds there
        are ``rstudent dffits cook_d cov_r tau2_del weight``, from the observed information: `dffits` is the change of
        the row's model mean over its standard error without the row, `weight` the row's share of the information, and
        `rstudent` of a bound the distance from what the other rows predict to the nearest value that the bound
        allows, 0 when it allows the prediction.

    Raises
    ------
    DataError
        If the fit has fewer than two rows.
    ValueError
        If the fit was made with weights of its own.

    References
    ----------
    Viechtbauer & Cheung (2010).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(influence(fit)[["rstudent", "cook_d", "weight"]].round(2).to_string(index_names=False))
           rstudent  cook_d  weight
    row 1     -1.03    0.32   23.67
    row 2      0.24    0.03   28.63
    row 3      2.13    0.49   21.78
    row 4     -0.66    0.20   25.92
    """
    readable.not_a_table(fit, "Influence")
    if fit.k < 2:
        raise DataError("Influence needs at least two rows, but the fit has one.")
    return _of_bounded(fit) if isinstance(fit, BoundedFit) else _of_points(fit)


def _of_points(fit: PooledEffect | MetaRegression) -> pd.DataFrame:
    parts = [_without(fit, mask) for mask in leave_one_out_masks(fit.k)]
    d = _Deleted(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    yi, vi, labels = fit.source.yi, fit.source.vi, fit.source.labels()
    if isinstance(fit, MetaRegression):
        X, beta, cov = fit.design.X, fit.beta, fit.cov
    else:
        X, beta, cov = np.ones((fit.k, 1)), np.array([fit.estimate]), np.array([[fit.se**2]])
    t2 = np.array([0.0 if np.isnan(fit.tau2) else fit.tau2])
    whole = fit_tau2(tables(yi, vi, X if isinstance(fit, MetaRegression) else None), t2)
    hat, change = whole.leverage()[0], beta - d.beta
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(d.s2 * (vi + d.tau2) + np.einsum("kp,kpq,kq->k", X, d.cov, X))
        out = pd.DataFrame(
            {
                "rstudent": (yi - (X * d.beta).sum(axis=1)) / spread,
                "dffits": (X * change).sum(axis=1) / np.sqrt(d.s2 * hat * (vi + d.tau2)),
                "cook_d": _squared_length(change, cov),
                "cov_r": np.linalg.det(d.cov) / np.linalg.det(cov),
                "tau2_del": d.tau2,
                "Q_del": d.Q,
                "hat": hat,
                "weight": 100.0 * whole.w[0] / whole.w[0].sum(),
            },
            index=pd.Index(labels, name="row"),
        )
        names = [f"dfbs_{name}" for name in fit.names] if isinstance(fit, MetaRegression) else ["dfbs"]
        for j, name in enumerate(names):
            out[name] = change[:, j] / np.sqrt(d.s2 * d.bread[:, j])
    return out


def leave_one_out_masks(k: int) -> list[Bools]:
    """All rows but one, for each row, in pieces of bounded size."""
    step = max(1, CELLS // k)
    return [np.arange(start, min(start + step, k))[:, None] != np.arange(k) for start in range(0, k, step)]


def _without(fit: PooledEffect | MetaRegression, mask: Bools) -> _Deleted:
    fits = refit(fit, mask=mask)
    yi, vi = fit.source.yi, fit.source.vi
    X = fit.design.X if isinstance(fit, MetaRegression) else None
    t2 = np.where(np.isnan(fits.tau2), 0.0, fits.tau2)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = fit_tau2(tables(yi, vi, X, mask=mask), t2).bread
        full = fit_tau2(tables(yi, vi, X), t2).bread
        s2 = fits.cov[:, 0, 0] / own[:, 0, 0]
    beta = fits.estimate if fits.estimate.ndim == 2 else fits.estimate[:, None]
    return _Deleted(beta, fits.cov, fits.tau2, fits.Q, s2, np.diagonal(full, axis1=1, axis2=2))


def _squared_length(change: Array, cov: Array) -> Array:
    if not np.linalg.det(cov) > 0:  # no error at all, or none that could be told: nothing to measure a change by
        return np.full(len(change), np.nan)
    return np.asarray(np.einsum("kp,pq,kq->k", change, np.linalg.inv(cov), change))


def _of_bounded(fit: BoundedFit) -> pd.DataFrame:
    k, p = fit.k, len(fit.beta)
    batch = bounded_refits(fit, ~np.eye(k, dtype=bool))
    beta = batch.estimate.reshape(k, p)
    cov = np.full((k, p, p), np.nan)
    good = np.flatnonzero(batch.ok)
    theta = np.column_stack([beta, batch.tau2])[good]
    with np.errstate(all="ignore"):
        information = -derivatives(batch.rows.take(good), theta).h
        # Where tau2 is 0 it is held there, as in the standard error of a single fit.
        held = batch.tau2[good] == 0
        information[held, -1, :], information[held, :, -1] = 0.0, 0.0
        information[held, -1, -1] = 1.0
        cov[good] = np.linalg.inv(information)[:, :p, :p]
    X = np.ones((k, 1)) if fit.design is None else fit.design.X
    mean, change = (X * beta).sum(axis=1), fit.beta - beta
    variance = np.einsum("kp,kpq,kq->k", X, cov, X)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(
            {
                "rstudent": _distance(fit, mean, variance + batch.tau2),
                "dffits": (X * change).sum(axis=1) / np.sqrt(variance),
                "cook_d": _squared_length(change, fit.cov),
                "cov_r": np.linalg.det(cov) / np.linalg.det(fit.cov),
                "tau2_del": batch.tau2,
                "weight": 100.0 * fit.weights,
            },
            index=pd.Index(fit.labels, name="row"),
        )


def _distance(fit: BoundedFit, mean: Array, variance: Array) -> Array:
    """From the prediction of the other rows to the row, in standard deviations of such a prediction's error."""
    frame, point = fit.effects, fit.is_point
    nearest, own = np.empty(fit.k), np.empty(fit.k)
    columns = {c: frame[c].to_numpy(dtype=float, na_value=np.nan) for c in ("yi", "vi")}
    nearest[point], own[point] = columns["yi"][point], columns["vi"][point]
    if not point.all():
        low, high, n1, n2 = (
            frame[c].to_numpy(dtype=float, na_value=np.nan)[~point] for c in ("yi_low", "yi_high", "n1i", "n2i")
        )
        expected = mean[~point]
        nearest[~point] = np.clip(expected, low, high)
        own[~point] = 1.0 / n1 + 1.0 / n2 + expected**2 / (2.0 * (n1 + n2))
    return np.asarray((nearest - mean) / np.sqrt(own + variance))


_NAMES = {"SMD": "g", "MD": "the mean difference", "RD": "the risk difference"}
_RATIOS = {"OR": "the odds ratio", "PETO": "the odds ratio", "RR": "the risk ratio", "ROM": "the ratio of means"}


def influence_summary(fit: PooledEffect | MetaRegression | BoundedFit, n: int | None = 3) -> str:
    """Say in words what the answer would be without the rows that move it most.

    Parameters
    ----------
    fit : PooledEffect, MetaRegression or BoundedFit
        As in `influence`.
    n : int, optional
        How many rows to speak of, those that move the answer most first; None for all.

    Returns
    -------
    str
        One sentence per row, and one on a conclusion (interval on one side of no effect, or not) that hangs on a single
        row. Ratios are given as ratios. Of a regression, the coefficient that the row moves most (apart from the
        intercept) is named.

    Raises
    ------
    DataError, ValueError
        As `influence`.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(influence_summary(fit, n=1))
    Without row 3, the mean falls from 0.41 to 0.29; row 3 carries 22% of the weight.
    The interval includes no effect whichever single row is left out.
    """
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, not {n!r}.")
    statistics, without = influence(fit), leave_one_out(fit)
    measure = fit.measure or ""
    name, ratio = _RATIOS.get(measure, _NAMES.get(measure, "the mean")), measure in _RATIOS
    if "estimate" in without and not isinstance(fit, MetaRegression):
        before = np.full((fit.k, 1), fit.estimate)
        after, names = without["estimate"].to_numpy(dtype=float)[:, None], [name]
        size = np.abs(after - before)
    else:
        assert not isinstance(fit, PooledEffect)
        columns = [j for j, term in enumerate(fit.names) if term != "Intercept"] or [0]
        names, ratio = [f"the coefficient of {fit.names[j]}" for j in columns], False
        before = np.broadcast_to(fit.beta[columns], (fit.k, len(columns)))
        after = without[[fit.names[j] for j in columns]].to_numpy(dtype=float)
        size = np.abs(after - before) / fit.coefficients["se"].to_numpy(dtype=float)[columns]
    size = np.where(np.isfinite(size), size, np.inf)  # a row without which there is no answer moves it most
    most = size.argmax(axis=1)
    lines = []
    for i in np.argsort(-size.max(axis=1), kind="stable")[:n]:
        j, label = most[i], str(statistics.index[i])
        carries = f"{label} carries {statistics['weight'].iloc[i]:.0f}% of the weight."
        if not np.isfinite(after[i, j]):
            lines.append(f"Without {label}, {names[j]} cannot be estimated; {carries}")
            continue
        numbers = [float(np.exp(x[i, j]) if ratio else x[i, j]) for x in (before, after)]
        largest = max(map(abs, numbers))
        digits = 2 if largest >= 0.1 or largest == 0 else 1 - int(np.floor(np.log10(largest)))
        a, b = (fixed(x, digits) for x in numbers)
        moved = f"stays at {a}" if a == b else f"{'rises' if after[i, j] > before[i, j] else 'falls'} from {a} to {b}"
        lines.append(f"Without {label}, {names[j]} {moved}; {carries}")
    if "estimate" in without and not isinstance(fit, MetaRegression):
        lines.append(_hanging(fit.ci_low, fit.ci_high, without))
    return "\n".join(lines)


def side(low: float | Array, high: float | Array, null: float = 0.0) -> NDArray[np.int64]:
    """Where an interval lies: 1 above `null`, -1 below it, 0 around it; 0 also where there is no interval.

    Examples
    --------
    >>> side(np.array([0.1, -0.2, -0.3]), np.array([0.5, 0.4, -0.1])).tolist()
    [1, 0, -1]
    """
    return np.asarray((np.asarray(low) > null) * 1 - (np.asarray(high) < null) * 1)


def _hanging(low: float, high: float, without: pd.DataFrame) -> str:
    here = int(side(low, high))
    there = side(without["ci_low"].to_numpy(dtype=float), without["ci_high"].to_numpy(dtype=float))
    names = [str(x) for x in without.index[there != here]]
    words = {0: "includes no effect", 1: "lies above no effect", -1: "lies below no effect"}[here]
    if not names:
        return f"The interval {words} whichever single row is left out."
    return f"The interval {words}, but not without {' or '.join(names)}."
