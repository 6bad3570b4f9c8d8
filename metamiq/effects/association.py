"""The association in a 2x2 table as a correlation, and 2x2 tables on the scale of a standardised mean difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metamiq.effects.binary import log_odds_ratio
from metamiq.effects.cells_2x2 import two_by_two
from metamiq.effects.records import EffectSizes, FloatArray, as_effects, defined
from metamiq.effects.scales import log_or_to_d


def phi_coefficient(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.0,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Phi coefficient of a 2x2 table (measure ``PHI``).

    phi = (a d - b c) / sqrt(n1 n2 (a + c)(b + d)). The variance is that of a table in which only the total N
    is fixed: (1 - phi^2 + phi (1 + phi^2 / 2) u v - 3/4 phi^2 (u^2 + v^2)) / N, with u = (p1. - p2.) /
    sqrt(p1. p2.) and v = (p.1 - p.2) / sqrt(p.1 p.2). The counts are used as they are: `add` and `to` have no
    effect.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Correlations; NaN where a margin is 0.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Bishop, Y. M. M., Fienberg, S. E. & Holland, P. W. (1975). Discrete Multivariate Analysis, ch. 11.

    Examples
    --------
    >>> yi, vi = phi_coefficient(135, 150, 40, 50)
    >>> print(f"{yi:.4f} {vi**0.5:.4f}")
    0.1309 0.0789
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    n1, n2 = x.a + x.b, x.c + x.d
    events, others = x.a + x.c, x.b + x.d
    total = n1 + n2
    with np.errstate(divide="ignore", invalid="ignore"):
        phi = (x.a * x.d - x.b * x.c) / np.sqrt(n1 * n2 * events * others)
        u, v = (n1 - n2) / np.sqrt(n1 * n2), (events - others) / np.sqrt(events * others)
        spread = 1.0 - phi**2 + phi * (1.0 + phi**2 / 2.0) * u * v - 0.75 * phi**2 * (u**2 + v**2)
        # At -1 and 1 exactly 0: rounding would leave a tiny variance, and a row with all the weight.
        whole = ((x.a == 0) & (x.d == 0)) | ((x.b == 0) & (x.c == 0))
        return defined(phi, np.where(whole & np.isfinite(phi), 0.0, spread / total))


def yule_q(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Yule's Q (measure ``YUQ``).

    Q = (a d - b c) / (a d + b c) with variance (1 - Q^2)^2 (1/a + 1/b + 1/c + 1/d) / 4.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Between -1 and 1; NaN where a cell is 0 after the zero-cell rule.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Yule, G. U. (1912). On the methods of measuring association between two attributes. Journal of the Royal
    Statistical Society, 75, 579-652.

    Examples
    --------
    >>> yi, vi = yule_q(135, 150, 40, 50)
    >>> print(f"{yi:.4f} {vi**0.5:.4f}")
    0.3846 0.1901
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = x.a * x.d, x.b * x.c
        left = 4.0 * p * q / (p + q) ** 2  # 1 - Q^2, which would cancel
        return defined((p - q) / (p + q), left**2 * (1.0 / x.a + 1.0 / x.b + 1.0 / x.c + 1.0 / x.d) / 4.0)


def yule_y(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Yule's Y, the coefficient of colligation (measure ``YUY``).

    Y = (sqrt(a d) - sqrt(b c)) / (sqrt(a d) + sqrt(b c)) with variance (1 - Y^2)^2 (1/a + 1/b + 1/c + 1/d) /
    16.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Between -1 and 1; NaN where a cell is 0 after the zero-cell rule.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Yule, G. U. (1912). Journal of the Royal Statistical Society, 75, 579-652.

    Examples
    --------
    >>> yi, vi = yule_y(135, 150, 40, 50)
    >>> print(f"{yi:.4f} {vi**0.5:.4f}")
    0.2000 0.1071
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = np.sqrt(x.a * x.d), np.sqrt(x.b * x.c)
        left = 4.0 * p * q / (p + q) ** 2  # 1 - Y^2, which would cancel
        return defined((p - q) / (p + q), left**2 * (1.0 / x.a + 1.0 / x.b + 1.0 / x.c + 1.0 / x.d) / 16.0)


def tetrachoric(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.0,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Tetrachoric correlation (measure ``RTET``).

    The correlation of the bivariate normal distribution that, cut at the two margins, gives the observed
    table. Its variance follows by the delta method from the multinomial distribution of the four cells. The
    counts are used as they are: a zero cell puts the estimate at -1 or 1, where it has no variance.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        Correlations; NaN where a cell is 0.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Pearson, K. (1900). Philosophical Transactions of the Royal Society A, 195, 1-47. Brown, M. B. &
    Benedetti, J. K. (1977). On the mean and variance of the tetrachoric correlation coefficient.
    Psychometrika, 42, 347-355.

    Examples
    --------
    >>> yi, vi = tetrachoric(135, 150, 40, 50)
    >>> print(f"{yi:.4f} {vi**0.5:.4f}")
    0.2602 0.1423
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    counts = np.stack([x.a, x.b, x.c, x.d])
    usable = np.min(counts, axis=0) > 0
    p11, p12, p21, _ = np.where(usable, counts, 1.0) / np.where(usable, counts.sum(axis=0), 4.0)
    h, k = special.ndtri(p11 + p12), special.ndtri(p11 + p21)
    low, high = np.full(h.shape, -np.pi / 2), np.full(h.shape, np.pi / 2)
    # Bisection in the arcsine of r: the probability of cell 11 grows with r, and 60 halvings reach double
    # precision.
    for _ in range(60):
        middle = (low + high) / 2.0
        below = _bivariate_normal(h, k, np.sin(middle)) < p11
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    angle = (low + high) / 2.0
    r, s = np.sin(angle), np.cos(angle)
    density = np.exp(-(h**2 - 2.0 * r * h * k + k**2) / (2.0 * s**2)) / (2.0 * np.pi * s)
    A, B = special.ndtr((k - r * h) / s), special.ndtr((h - r * k) / s)
    # dr = (dp11 - A dp1. - B dp.1) / density, as one weight per cell (the weight of cell 22 is 0).
    weights = (1.0 - A - B, -A, -B)
    cells = (p11, p12, p21)
    mean = sum(w * p for w, p in zip(weights, cells, strict=True))
    square = sum(w**2 * p for w, p in zip(weights, cells, strict=True))
    vi = (square - mean**2) / (counts.sum(axis=0) * density**2)
    return as_effects(np.where(usable, r, np.nan), np.where(usable, vi, np.nan))


def probit_difference(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Difference of two risks on the probit scale (measure ``PBIT``).

    z1 - z2 with zj the standard normal quantile of pj; variance is the sum of 2 pi pj (1 - pj) exp(zj^2) /
    nj.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.

    Returns
    -------
    EffectSizes
        In SDs of an assumed normal variable; NaN where a risk is 0 or 1 after the zero-cell rule.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Sánchez-Meca, J., Marín-Martínez, F. & Chacón-Moscoso, S. (2003). Effect-size indices for dichotomized
    outcomes in meta-analysis. Psychological Methods, 8, 448-467.

    Examples
    --------
    >>> yi, vi = probit_difference(135, 150, 40, 50)
    >>> print(f"{yi:.4f} {vi**0.5:.4f}")
    0.4399 0.2456
    """
    x = two_by_two(ai, n1i, ci, n2i, bi, di, add=add, to=to, drop00=drop00)
    n1, n2 = x.a + x.b, x.c + x.d
    p1, p2 = x.a / n1, x.c / n2
    z1, z2 = special.ndtri(p1), special.ndtri(p2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        v1 = 2.0 * np.pi * p1 * (1.0 - p1) * np.exp(z1**2) / n1
        v2 = 2.0 * np.pi * p2 * (1.0 - p2) * np.exp(z2**2) / n2
        return defined(z1 - z2, v1 + v2)


def or_to_d(
    ai: ArrayLike,
    n1i: ArrayLike | None,
    ci: ArrayLike,
    n2i: ArrayLike | None,
    *,
    bi: ArrayLike | None = None,
    di: ArrayLike | None = None,
    distribution: str = "logistic",
    add: float = 0.5,
    to: str = "only0",
    drop00: bool = False,
) -> EffectSizes:
    """Odds ratio of a 2x2 table as a standardised mean difference (measures ``OR2DL`` and ``OR2DN``).

    log(OR) sqrt(3) / pi for a logistic outcome within groups (``logistic``), log(OR) / 1.65 for a normal one
    (``normal``); the variance with the square of the factor.

    Parameters
    ----------
    ai, n1i, ci, n2i, bi, di, add, to, drop00
        As in `log_odds_ratio`.
    distribution : {"logistic", "normal"}
        Distribution of the outcome that was cut in two.

    Returns
    -------
    EffectSizes
        In SDs; NaN where the odds ratio is undefined.

    Raises
    ------
    DataError
        If a count is missing or negative, exceeds its group, or cells and group size disagree.

    References
    ----------
    Chinn, S. (2000). Statistics in Medicine, 19, 3127-3131 (logistic). Cox, D. R. & Snell, E. J. (1989).
    Analysis of Binary Data (normal).

    Examples
    --------
    >>> yi, vi = or_to_d(135, 150, 40, 50)
    >>> print(f"{yi:.4f} {vi**0.5:.4f}")
    0.4471 0.2460
    """
    yi, vi = log_odds_ratio(ai, n1i, ci, n2i, bi=bi, di=di, add=add, to=to, drop00=drop00)
    return log_or_to_d(yi, vi, distribution=distribution)


def _bivariate_normal(h: FloatArray, k: FloatArray, r: FloatArray) -> FloatArray:
    """P(X < h, Y < k) for standard normal X and Y with correlation r, by Owen's T function."""
    # An exact 0 divides by 0 below; a number far smaller than any rounding error has the right limits.
    h = np.where(h == 0, 1e-300, h)
    k = np.where(k == 0, 1e-300, k)
    s = np.sqrt((1.0 - r) * (1.0 + r))
    with np.errstate(divide="ignore", over="ignore"):
        t_h = special.owens_t(h, (k / h - r) / s)
        t_k = special.owens_t(k, (h / k - r) / s)
    opposite = np.where((h > 0) == (k > 0), 0.0, 0.5)
    return np.asarray((special.ndtr(h) + special.ndtr(k)) / 2.0 - t_h - t_k - opposite)
