r"""Weighted least squares for many tables at once: the sums from which every univariate model is built.

With weights :math:`w_i` and design :math:`X` (a column of ones when there are no moderators), everything here is a
function of

.. math:: P = W - W X (X'WX)^{-1} X'W

which is never formed: each quantity is a handful of sums over the rows of a table, so costs are linear in k.
A row counts `n` times (`n` = 0 leaves it out, 2 doubles it), which serves masks, subsets and resampling alike.
"""

from __future__ import annotations

import numpy as np

from metamiq.pooling.linear_fit import RegressionFit
from metamiq.pooling.mean_fit import LongMeanFit, MeanFit
from metamiq.pooling.shared_mean import SharedMeanFit
from metamiq.pooling.tables import BLOCK
from metamiq.pooling.tables import Array as Array
from metamiq.pooling.tables import Tables as Tables
from metamiq.pooling.tables import by_columns as by_columns
from metamiq.pooling.tables import dot as dot
from metamiq.pooling.tables import row_sum as row_sum
from metamiq.pooling.tables import tables as tables

Fit = MeanFit | SharedMeanFit | LongMeanFit | RegressionFit


def fit(t: Tables, w: Array) -> Fit:
    """The weighted fit of each table with weights `w` of shape (B or 1, k), `n` not included."""
    if t.X is not None:
        return RegressionFit(t, w)
    return MeanFit(t, w) if t.powers is None else SharedMeanFit(t, w)


def fit_tau2(t: Tables, tau2: Array) -> Fit:
    """The fit with weights 1 / (vi + tau2); `tau2` has one value per table, or one for all."""
    if t.X is None and t.n is None and len(tau2) == t.size == 1 and t.yi.shape[1] > 2 * BLOCK:
        return LongMeanFit(t, float(tau2[0]))
    total = np.add(t.vi, np.asarray(tau2)[:, None], order=t.order)
    return fit(t, np.divide(1.0, total, out=total))


def fixed_effect_fit(t: Tables) -> Fit:
    """The fit with weights 1 / vi."""
    if t.size == 1:
        return fit_tau2(t, np.zeros(1))
    return fit(t, 1.0 / t.vi)
