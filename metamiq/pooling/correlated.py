r"""The correlated-effects model of Hedges, Tipton & Johnson: moment estimate of tau2 and its working weights.

Effects of one cluster of n share one deviation of variance tau2 and sampling errors of variance vbar, the mean of their
vi, correlated by rho. All of them get the weight :math:`1 / (n (\bar v + \tau^2))`: robust standard errors are right
whatever the weights, so simple ones serve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metamiq.pooling.clustered import Array, Clusters


class CorrelatedEffects(NamedTuple):
    """tau2, the working variance of each row, and residual heterogeneity of the fit without tau2."""

    tau2: float
    working_variance: Array  # (k,): n (vbar + tau2)
    QE: float
    I2: float  # percent


def correlated_effects(y: Array, Q: Array, clusters: Clusters) -> CorrelatedEffects:
    r"""Method-of-moments tau2, at least 0.

    With w = 1 / (n vbar), residuals e and B = (Q'WQ)^-1,

    .. math:: \tau^2 = \frac{\sum w e^2 - m + \mathrm{tr}\,B \sum_c (w_c / n_c) [\rho\,Q_c'JQ_c + (1 - \rho) Q_c'Q_c]}
        {\sum_c n_c w_c - \mathrm{tr}\,B \sum_c w_c^2 Q_c'JQ_c}

    for m clusters, J a matrix of ones. I2 compares the numerator with :math:`\sum w e^2`.

    References
    ----------
    Hedges, Tipton & Johnson (2010).
    """
    total, code = clusters.total, clusters.code
    n = np.diff(np.append(clusters.starts, len(y))).astype(float)
    mean_v = total(clusters.vi) / n
    w = 1.0 / (n * mean_v)  # one per cluster
    row_w = w[code]
    B = np.linalg.inv(Q.T @ (Q * row_w[:, None]))
    e = y - Q @ (B @ (Q.T @ (row_w * y)))
    QE = float(row_w @ e**2)
    sums = total(Q)
    inner = float(np.sum(B * (Q.T @ (Q * (w / n)[code][:, None]))))
    outer = float(np.sum(B * (sums.T @ (sums * (w / n)[:, None]))))
    expected = len(n) - clusters.rho * outer - (1.0 - clusters.rho) * inner
    slope = float(n @ w) - float(np.sum(B * (sums.T @ (sums * (w**2)[:, None]))))
    tau2 = max(0.0, (QE - expected) / slope)
    variance = (n * (mean_v + tau2))[code]
    return CorrelatedEffects(tau2, variance, QE, max(0.0, 100.0 * (QE - expected) / QE) if QE > 0 else 0.0)
