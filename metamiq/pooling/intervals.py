"""Intervals for the mean and for a new study beyond those of the fit's own test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, interpolate, optimize, special

from metamiq.arguments import check_level, check_whole, generator
from metamiq.errors import ConvergenceError
from metamiq.pooling import tau2 as estimators
from metamiq.pooling.interval import Interval
from metamiq.pooling.quadratic_form import tails
from metamiq.pooling.wls import Array, fit, fit_tau2, tables


class HenmiCopas(NamedTuple):
    """Fixed-effect mean with the standard error and the interval of Henmi & Copas."""

    estimate: float
    se: float
    interval: Interval
    tau2: float  # by DL


def henmi_copas(yi: ArrayLike, vi: ArrayLike, *, level: float = 0.95) -> HenmiCopas:
    r"""Interval centred on the fixed-effect mean, which publication bias moves less than a random-effects mean.

    The fixed-effect mean has variance :math:`V(\tau^2) = 1/W_1 + \tau^2 W_2/W_1^2`, where :math:`W_j = \sum v_i^{-j}`.
    The interval is :math:`\hat\mu \pm u \sqrt{V(\hat\tau^2)}` with the DL estimate of tau2; u is the quantile of
    :math:`|\hat\mu - \mu| / \sqrt{V(\hat\tau^2)}` by the joint distribution of the mean and of Cochran's Q when tau2 is
    that estimate. The mean is normal, and Q given the mean is taken as gamma with its exact conditional mean and
    variance.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    HenmiCopas
        Fixed-effect mean, its standard error, the interval and tau2; all but the mean are NaN for one effect size.

    References
    ----------
    Henmi & Copas (2010), Statistics in Medicine 29, 2969-2983.

    Examples
    --------
    >>> hc = henmi_copas([0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03])
    >>> print(f"{hc.estimate:.3f} ({hc.interval.low:.3f} to {hc.interval.high:.3f})")
    0.406 (-0.022 to 0.835)
    """
    check_level(level)
    t = tables(yi, vi)
    v = t.vi[0]
    w, k = 1.0 / v, len(v)
    f = fit(t, w[None])
    mean = float(f.beta[0, 0])
    if k == 1:
        return HenmiCopas(mean, np.nan, Interval(np.nan, np.nan), np.nan)
    tau2 = float(estimators.estimate(t, "DL")[0])
    w1, w2 = float(w.sum()), float((w**2).sum())
    variance = 1.0 / w1 + tau2 * w2 / w1**2
    se = np.sqrt(variance)

    # With R = (mean - mu) / se, yi - mu = c R + e, where e is independent of R and has variance S - cc', S = vi + tau2.
    # So Q = (cR + e)'P(cR + e) has a mean and a variance given R that are linear in R^2. c is w S / (w1 se), and Pc is
    # w times c less its weighted mean; for the heaviest study that difference is summed, because it would cancel.
    s = v + tau2
    apart, heaviest = w - w2 / w1, int(w.argmax())
    apart[heaviest] = (w * (w[heaviest] - w)).sum() / w1
    apart *= tau2 / (w1 * se)
    cpc, cpspc = float((w * apart**2).sum()), float((s * (w * apart) ** 2).sum())
    tr_ps, tr_psps = float(f.trPD(s[None])[0]), float(f.trPDPD(s[None])[0])

    def q_beyond(q: float, r: float) -> float:
        """P(Q > q | R = r)."""
        expected = tr_ps + (r**2 - 1) * cpc
        spread = 2 * tr_psps + 4 * (r**2 - 1) * cpspc + 2 * (1 - 2 * r**2) * cpc**2
        return float(special.gammaincc(expected**2 / spread, max(q, 0.0) * expected / spread))

    per_tau2 = w1 - w2 / w1  # Q = k - 1 + tau2_DL per_tau2 before truncation

    def coverage(u: float) -> float:
        # |R| se <= u sqrt(V(tau2_DL)) when Q is large enough, and for certain while tau2_DL = 0 is enough.
        certain = u / np.sqrt(variance * w1)

        def density(r: float) -> float:
            needed = (variance * r**2 / u**2 - 1.0 / w1) * w1**2 / w2
            return q_beyond(k - 1 + needed * per_tau2, r) * float(np.exp(-0.5 * r**2) / np.sqrt(2 * np.pi))

        beyond, _ = integrate.quad(density, certain, max(certain, 8.0) + 2.0, epsabs=1e-13, epsrel=1e-12, limit=500)
        return float(special.erf(certain / np.sqrt(2.0)) + 2.0 * beyond)

    most = float(special.ndtri(0.5 + level / 2)) * np.sqrt(variance * w1)  # enough for `certain` alone
    least = most
    while coverage(least) > level:
        least *= 0.5
    u = most if least == most else float(optimize.brentq(lambda z: coverage(z) - level, least, most, xtol=1e-13))
    return HenmiCopas(mean, float(se), Interval(float(mean - u * se), float(mean + u * se)), tau2)


def profile_likelihood_mean(yi: ArrayLike, vi: ArrayLike, *, level: float = 0.95) -> Interval:
    r"""Profile-likelihood interval of the mean.

    All :math:`\mu` with :math:`2 (\max \ell - \max_{\tau^2} \ell(\mu, \tau^2)) \le \chi^2_1` at `level`, where
    :math:`\ell` is the (unrestricted) log-likelihood.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    Interval
        NaN for one effect size.

    Raises
    ------
    ConvergenceError
        If an end cannot be found.

    References
    ----------
    Hardy & Thompson (1996), Statistics in Medicine 15, 619-629.

    Examples
    --------
    >>> low, high = profile_likelihood_mean([0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03])
    >>> print(f"{low:.3f} {high:.3f}")
    0.054 0.785
    """
    check_level(level)
    t = tables(yi, vi)
    if t.yi.shape[1] < 2:
        return Interval(np.nan, np.nan)
    tau2 = estimators.estimate(t, "ML")
    floor = float(estimators.loglik(t, tau2, "ML")[0]) - float(special.chdtri(1, 1 - level)) / 2
    f = fit_tau2(t, tau2)
    peak, se = float(f.beta[0, 0]), float(np.sqrt(f.bread[0, 0, 0]))
    y, v = t.yi[0], t.vi[0]

    def depth(distance: float, side: float) -> float:
        return _profile(y, v, peak + side * distance) - floor

    ends = []
    for side in (-1.0, 1.0):
        far = se
        for _ in range(200):
            if depth(far, side) < 0:
                break
            far *= 1.5
        else:
            raise ConvergenceError("The profile-likelihood interval must be finite, but no end could be found.")
        ends.append(peak + side * float(optimize.brentq(depth, 0.0, far, args=(side,), xtol=1e-13 * se)))
    return Interval(*ends)


def _profile(y: Array, v: Array, mu: float) -> float:
    """The log-likelihood at mu, maximal over tau2."""
    # The score in tau2, sum (r^2 / s^2 - 1 / s) with s = v + tau2, may have several roots, but none above max r^2, and
    # nothing happens on a scale finer than one e-fold of tau2.
    r2 = (y - mu) ** 2
    low, high = 0.3 * float(v.min()), max(float(r2.max()), float(v.min()))
    grid = np.append(0.0, np.geomspace(low, high, 2 + int(np.log(high / low))))
    s = v + grid[:, None]
    heights = -0.5 * (np.log(2 * np.pi * s) + r2 / s).sum(axis=1)
    best = int(heights.argmax())

    def score(tau2: float) -> float:
        return float((r2 / (v + tau2) ** 2 - 1.0 / (v + tau2)).sum())

    left, right = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    if not score(left) > 0 > score(right):
        return float(heights[best])
    s = v + float(optimize.brentq(score, left, right, xtol=1e-300, rtol=1e-12))
    return float(-0.5 * (np.log(2 * np.pi * s) + r2 / s).sum())


def nagashima(yi: ArrayLike, vi: ArrayLike, *, level: float = 0.95, n: int = 25_000, seed: int = 0) -> Interval:
    r"""Prediction interval that carries the uncertainty of tau2, by a parametric bootstrap.

    :math:`H(\tau^2) = P(Q > q_{obs}; \tau^2)`, with the exact distribution of Cochran's Q, is a confidence distribution
    of tau2. Each of n draws takes :math:`\tilde\tau^2` from it (0 with probability H(0)), the weighted mean
    :math:`\tilde\mu` and its Hartung-Knapp variance :math:`\tilde V` with weights :math:`1 / (v_i + \tilde\tau^2)`, and
    a new effect :math:`\tilde\mu + z\tilde\tau - t_{k-1} \tilde V^{1/2}`. The interval lies between the quantiles of
    the new effects.

    Parameters
    ----------
    yi, vi : array_like, shape (k,)
        Effect sizes and sampling variances.
    level : float
        Coverage, between 0 and 1.
    n : int
        Number of draws.
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    Interval
        NaN for one effect size.

    References
    ----------
    Nagashima, Noma & Furukawa (2019), Statistical Methods in Medical Research 28, 1689-1702.

    Examples
    --------
    >>> low, high = nagashima([0.1, 0.5, 0.9, 0.2], [0.04, 0.02, 0.05, 0.03], n=5000, seed=1)
    >>> print(f"{low:.2f} {high:.2f}")
    -0.69 1.54
    """
    check_level(level)
    check_whole("n", n, least=1)
    t = tables(yi, vi)
    if t.yi.shape[1] < 2:
        return Interval(np.nan, np.nan)
    _, new = _bootstrap(t.yi[0], t.vi[0], n, generator(seed))
    low, high = np.quantile(new, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


_CHUNK = 200_000  # numbers held at once


def _bootstrap(y: Array, v: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draws of the mean and of the effect of a new study."""
    k = len(y)
    tau2 = _tau2_quantiles(y, v, rng.random(n))
    error = rng.standard_t(k - 1, n)
    between = rng.standard_normal(n)
    mean, spread = np.empty(n), np.empty(n)
    rows = max(1, _CHUNK // k)
    for i in range(0, n, rows):
        f = fit_tau2(tables(y, v), tau2[i : i + rows])
        mean[i : i + rows] = f.beta[:, 0]
        spread[i : i + rows] = np.sqrt(f.yPy() / (k - 1) * f.bread[:, 0, 0])
    mean -= error * spread
    return mean, mean + between * np.sqrt(tau2)


def _tau2_quantiles(y: Array, v: Array, level: Array) -> Array:
    """Quantiles of the confidence distribution of tau2, H(tau2) = P(Q > q; tau2).

    Interpolated in a table of the exact distribution: the relative error is below 1e-3 up to a level of 1 - 1e-7.
    """
    a, x = 1.0 / v, np.ones((len(v), 1))
    q = float(fit(tables(y, v), a[None]).yPy()[0])
    at_zero = tails(q, a, v, x)
    if at_zero.lower <= 0:  # no spread at all: H(0) = 1
        return np.zeros_like(level)
    # Below the first node H is taken as linear in tau2, above the last one its logit as linear in log tau2, which
    # it becomes.
    log_tau2: list[float] = []
    logit: list[float] = []
    risen = 0.0  # H at the first node less H(0)
    tau2 = 1e-3 * float(v.min())
    for _ in range(1000):
        lower, upper = tails(q, a, v + tau2, x)
        if lower < at_zero.lower:
            log_tau2.append(np.log(tau2))
            logit.append(np.log(upper) - np.log(lower))
            if len(logit) == 1:
                risen = at_zero.lower - lower if lower < 0.5 else upper - at_zero.upper
            elif lower < 1e-7:
                break
        tau2 *= 1.3
    with np.errstate(divide="ignore"):
        wanted = np.log(level) - np.log1p(-level)
    draws = np.exp(interpolate.PchipInterpolator(logit, log_tau2)(np.clip(wanted, logit[0], logit[-1])))
    slope = (log_tau2[-1] - log_tau2[-2]) / (logit[-1] - logit[-2])
    draws *= np.exp(slope * np.maximum(wanted - logit[-1], 0.0))
    below = wanted < logit[0]
    draws[below] = np.exp(log_tau2[0]) * np.clip((level[below] - at_zero.upper) / risen, 0.0, 1.0)
    draws[level <= at_zero.upper] = 0.0
    return np.asarray(draws)
