"""Intervals for the mean and for a new study beyond those of the fit's own test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, optimize, special

from metamiq.errors import ConvergenceError
from metamiq.pooling import tau2 as estimators
from metamiq.pooling.heterogeneity import Interval
from metamiq.pooling.wls import Array, fit_tau2, tables


class HenmiCopas(NamedTuple):
    """Fixed-effect mean with the standard error and the interval of Henmi & Copas."""

    estimate: float
    se: float
    interval: Interval
    tau2: float


def henmi_copas(yi: ArrayLike, vi: ArrayLike, *, level: float = 0.95) -> HenmiCopas:
    r"""Interval centred on the fixed-effect mean, robust to publication bias.

    The pivot is U = (mean - mu) / sqrt((tau2_DL sum(w^2) + sum(w)) / sum(w)^2), w = 1 / vi. Its distribution comes
    from the joint one of the mean and Q: given Q the mean is normal, and R = Q / sum(w) is taken as gamma with the
    moments of the exact distribution.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances, k >= 2.

    Returns
    -------
    HenmiCopas
        Fixed-effect mean, its standard error, the interval and the DL tau2; NaN interval for k = 1.

    References
    ----------
    Henmi & Copas (2010), Statistics in Medicine 29, 2969-2983.

    Examples
    --------
    >>> hc = henmi_copas([0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03])
    >>> print(f"{hc.estimate:.3f} {hc.interval.low:.3f} {hc.interval.high:.3f}")
    0.421 -0.062 0.904
    """
    t = tables(yi, vi)
    y, v = t.yi[0], t.vi[0]
    k = len(y)
    w = 1.0 / v
    w1, w2, w3, w4 = (float((w**i).sum()) for i in (1, 2, 3, 4))
    mean = float((w * y).sum() / w1)
    t2 = float(estimators.estimate(t, "DL")[0])
    if k == 1:
        return HenmiCopas(mean, np.nan, Interval(np.nan, np.nan), np.nan)
    # With sigma = V + tau2 I: moments of Q, of the mean, and of their conditional distribution.
    v_r = 1.0 / w1 + t2 * w2 / w1**2
    sd_r = np.sqrt(v_r)
    trp, trpp = w1 - w2 / w1, w2 - 2 * w3 / w1 + (w2 / w1) ** 2

    def expected_q(x: Array) -> Array:  # E(Q | U = x)
        slope = t2 * (w3 - w2**2 / w1) / w1 / w1 * t2
        return np.asarray((k - 1) + t2 * trp + slope / v_r * (x**2 - 1))

    def variance_q(x: Array) -> Array:  # Var(Q | U = x)
        c2 = t2**2 * (w3 - w2**2 / w1) / w1**2 / v_r
        c3 = t2**2 / w1**2 / v_r * (w3 - 2 * w2**2 / w1 + w2**2 / w1)
        c4 = t2**2 / w1**2 / v_r * t2 * (w4 - 2 * w3 * w2 / w1 + w2**3 / w1**2)
        base = 2 * (k - 1) + 4 * t2 * trp + 2 * t2**2 * trpp
        return np.asarray(base + 4 * (c3 + c4) * (x**2 - 1) + 2 * c2**2 * (1 - 2 * x**2))

    def threshold(x: Array, c: float) -> Array:  # Q at which |U| = c, from tau2_DL(Q)
        need = (c_to_tau2(x, c)) * trp + (k - 1)
        return need

    def c_to_tau2(x: Array, c: float) -> Array:
        # |mean| = sd_r x <= c sqrt((tau2 w2 + w1) / w1^2)  <=>  tau2 >= ((sd_r x / c)^2 w1^2 - w1) / w2
        return np.asarray(((sd_r * x / c) ** 2 * w1**2 - w1) / w2)

    def coverage(c: float) -> float:
        def integrand(x: float) -> float:
            ex, var = float(expected_q(np.array(x))), float(variance_q(np.array(x)))
            need = float(threshold(np.array(x), c))
            if need <= 0:
                upper = 1.0
            else:
                shape, scale = ex**2 / var, var / ex
                upper = float(special.gammaincc(shape, need / scale))
            return upper * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)

        # |U| <= c for certain while even tau2_DL = 0 is enough.
        sure = c / np.sqrt(1.0 / w1) * 0 + c / (sd_r * np.sqrt(w1))
        inside = 2 * special.ndtr(sure) - 1
        beyond = 2 * integrate.quad(integrand, sure, sure + 40, epsabs=1e-12, epsrel=1e-12, limit=500)[0]
        return float(inside + beyond)

    c = float(optimize.brentq(lambda z: coverage(z) - level, 1e-3, 1e3, xtol=1e-12))
    se = np.sqrt((t2 * w2 + w1) / w1**2)
    return HenmiCopas(mean, float(se), Interval(float(mean - c * se), float(mean + c * se)), t2)


def profile_likelihood_mean(yi: ArrayLike, vi: ArrayLike, *, level: float = 0.95) -> Interval:
    """Profile-likelihood interval of the mean, tau2 re-estimated by maximum likelihood at each mean.

    References
    ----------
    Hardy & Thompson (1996), Statistics in Medicine 15, 619-629.

    Examples
    --------
    >>> low, high = profile_likelihood_mean([0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03])
    >>> print(f"{low:.3f} {high:.3f}")
    0.089 0.799
    """
    t = tables(yi, vi)
    if t.yi.shape[1] < 2:
        return Interval(np.nan, np.nan)
    t2 = estimators.estimate(t, "ML")
    top = float(estimators.loglik(t, t2, "ML")[0])
    f = fit_tau2(t, t2)
    peak, se = float(f.beta[0, 0]), float(np.sqrt(f.bread[0, 0, 0]))
    drop = float(special.chdtri(1, 1 - level)) / 2
    y, v = t.yi[0], t.vi[0]

    def height(mu: float) -> float:
        # Fixing mu makes the residuals known: tau2 solves sum w^2 r^2 = sum w, which may have several roots.
        r2 = (y - mu) ** 2
        grid = np.concatenate([[0.0], np.geomspace(0.1 * v.min(), max(v.max(), float(r2.max())) * 2, 60)])
        s = v + grid[:, None]
        values = -0.5 * (np.log(2 * np.pi * s) + r2 / s).sum(axis=1)
        best = int(values.argmax())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]

        def score(x: float) -> float:
            s1 = v + x
            return float((r2 / s1**2 - 1 / s1).sum())

        if score(low) <= 0:
            return float(values[best])
        x = float(optimize.brentq(score, low, high, xtol=1e-300, rtol=8.9e-16)) if score(high) < 0 else high
        s1 = v + x
        return float(-0.5 * (np.log(2 * np.pi * s1) + r2 / s1).sum())

    ends = []
    for side in (-1.0, 1.0):
        step = se
        for _ in range(200):
            if height(peak + side * step) < top - drop:
                break
            step *= 1.5
        else:
            raise ConvergenceError("The profile-likelihood interval must be finite, but no end could be found.")
        ends.append(float(optimize.brentq(lambda d, s=side: height(peak + s * d) - top + drop, 0.0, step, xtol=1e-13)))
    return Interval(peak - ends[0], peak + ends[1])


def nagashima(yi: ArrayLike, vi: ArrayLike, *, level: float = 0.95, n: int = 5000, seed: int = 0) -> Interval:
    """Prediction interval by the confidence distribution of tau2.

    Draws tau2 from its confidence distribution (that of the untruncated DL statistic, whose Q is a weighted sum of
    chi-squared variables), then a new effect from mean, its t(k - 1) error with the Hartung-Knapp variance, and a
    normal between-study deviation; the interval is between quantiles of n draws.

    References
    ----------
    Nagashima, Noma & Furukawa (2019), Statistical Methods in Medical Research 28, 1689-1702, algorithm 1.
    """
    raise NotImplementedError


__all__ = ["HenmiCopas", "henmi_copas", "nagashima", "profile_likelihood_mean"]
