"""Many fits at once: the one vectorised core. A single fit is a batch of one.

Arrays go in as (B, k), one table per row, and come out as (B,). Tables of different length, subsets and resamples
are one array with a `mask` or with `weights` that say how often each row counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metamiq.arguments import check_level, one_of
from metamiq.pooling import heterogeneity, tau2
from metamiq.pooling.wls import Array, Tables, by_columns, fit, fit_tau2, fixed_effect_fit, tables
from metamiq.tails import chi2_sf, critical_value, two_sided_p

TESTS = ("z", "t", "knha", "adhoc")
METHODS = ("FE", *tau2.METHODS)

# Rows times columns held at once: with more the working arrays leave the cache, with fewer the calls cost most.
_CHUNK = 65_536


class Core(NamedTuple):
    """What a fit stores; everything with a level is computed from it when asked."""

    tau2: Array  # (B,)
    beta: Array  # (B, p)
    cov: Array  # (B, p, p)
    dof: Array  # (B,): infinite for the normal
    Q: Array  # (B,): weighted residual sum of squares at tau2 = 0
    s2: Array  # (B,): typical sampling variance


def check_choices(method: str, test: str, level: float) -> None:
    """Raise ValueError for a choice that does not exist."""
    one_of("method", method, METHODS)
    one_of("test", test, TESTS)
    check_level(level)


def core(t: Tables, method: str, test: str, *, t2: Array | None = None, combine: Array | None = None) -> Core:
    """Coefficients, their covariance, tau2 and Q of each table.

    `t2` fixes tau2 instead of estimating it; `combine` are weights that replace 1 / (vi + tau2) in the mean.

    With one row and one coefficient tau2 is NaN and the standard error is that of sampling alone.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        f0 = fixed_effect_fit(t)
        if t2 is None:
            t2 = np.zeros(t.size) if method == "FE" else tau2.estimate(t, method, f0)
        f = f0 if method == "FE" else fit_tau2(t, np.where(np.isnan(t2), 0.0, t2))
        s2 = None
        if test in ("knha", "adhoc"):
            s2 = f.yPy() / np.where(t.dof > 0, t.dof, np.nan)
            if test == "adhoc":
                s2 = np.maximum(s2, 1.0)
        if combine is None:
            beta, cov = f.beta, f.bread
        else:
            chosen = fit(t, combine)
            beta, cov = chosen.beta, chosen.sandwich(t.vi + np.where(np.isnan(t2), 0.0, t2)[:, None])
        if s2 is not None:
            cov = cov * s2[:, None, None]
        Q, s2_typical = f0.yPy(), t.dof / f0.trP()
    dof = np.full(t.size, np.inf) if test == "z" else np.where(t.dof > 0, t.dof, np.nan)
    return Core(t2, beta, cov, dof, Q, s2_typical)


@dataclass(frozen=True, slots=True, eq=False)
class BatchFits:
    """B fits. Arrays have shape (B,), or (B, p) for coefficients when a design X was given.

    NaN marks what a table cannot tell: tau2 of one row, an interval without degrees of freedom, every number of a
    table whose design has not full rank.
    """

    estimate: Array
    se: Array
    dof: Array  # infinite: the reference distribution is normal
    tau2: Array
    Q: Array
    Q_df: Array
    I2: Array
    H2: Array
    k: Array
    cov: Array  # (B, p, p): covariance of the coefficients; p is 1 for a mean
    method: str
    test: str
    level: float

    def _per_coefficient(self, a: Array) -> Array:
        return a[:, None] if self.estimate.ndim == 2 else a

    @property
    def statistic(self) -> Array:
        """estimate / se."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.estimate / self.se)

    @property
    def p_value(self) -> Array:
        """Two-sided p-value of each estimate."""
        return two_sided_p(self.statistic, self._per_coefficient(self.dof))

    @property
    def Q_p(self) -> Array:
        """Upper tail of chi-squared at Q."""
        return chi2_sf(self.Q, self.Q_df)

    def ci(self, level: float | None = None) -> tuple[Array, Array]:
        """Both ends of the confidence interval."""
        half = self._per_coefficient(critical_value(self.level if level is None else level, self.dof)) * self.se
        return self.estimate - half, self.estimate + half

    def pi(self, level: float | None = None) -> tuple[Array, Array]:
        """Both ends of the prediction interval, with the test's own distribution."""
        spread = np.sqrt(self.se**2 + self._per_coefficient(self.tau2))
        half = self._per_coefficient(critical_value(self.level if level is None else level, self.dof)) * spread
        return self.estimate - half, self.estimate + half

    @property
    def ci_low(self) -> Array:
        """Lower end of the confidence interval at `level`."""
        return self.ci()[0]

    @property
    def ci_high(self) -> Array:
        """Upper end of the confidence interval at `level`."""
        return self.ci()[1]

    @property
    def pi_low(self) -> Array:
        """Lower end of the prediction interval at `level`."""
        return self.pi()[0]

    @property
    def pi_high(self) -> Array:
        """Upper end of the prediction interval at `level`."""
        return self.pi()[1]


def chunks(t: Tables) -> Iterator[Tables]:
    """The same tables, in pieces whose working arrays stay in the cache."""
    rows = max(1, _CHUNK // t.yi.shape[1])
    if t.size <= rows:
        yield by_columns(t)
        return
    for start in range(0, t.size, rows):
        yield by_columns(t.take(slice(start, start + rows)))


def random_effects(
    yi: ArrayLike,
    vi: ArrayLike,
    mask: ArrayLike | None = None,
    X: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
) -> BatchFits:
    """Random-effects (or, with method "FE", fixed-effect) fits of many tables at once.

    Parameters
    ----------
    yi, vi : array_like, shape (B, k) or (k,)
        Effect sizes and sampling variances; one row of shape (k,) is shared by all tables.
    mask : array_like of bool, shape (B, k), optional
        True where a row counts. Rows left out may hold anything.
    X : array_like, shape (k, p) or (B, k, p), optional
        Design with its intercept column.
    weights : array_like, shape (B, k), optional
        How often each row counts, as in resampling; not the inverse-variance weights.
    method, test, level : str, str, float
        As in `metamiq.random_effects`.

    Returns
    -------
    BatchFits
        Arrays of shape (B,); coefficients (B, p) with `X`.

    Raises
    ------
    DataError
        If a counted yi or vi is not finite, or a vi is not positive.
    ConvergenceError
        If an estimating equation is not solved.

    Examples
    --------
    >>> fits = random_effects([[0.1, 0.5, 0.9], [0.3, 0.2, 0.4]], [[0.04, 0.02, 0.05], [0.01, 0.02, 0.03]])
    >>> print([f"{g:.3f}" for g in fits.estimate], [f"{t:.3f}" for t in fits.tau2])
    ['0.492', '0.291'] ['0.106', '0.000']
    """
    check_choices(method, test, level)
    t = tables(yi, vi, X, mask=mask, weights=weights)
    parts = [_fits(piece, method, test, level, X is None) for piece in chunks(t)]
    if len(parts) == 1:
        return parts[0]
    arrays = ("estimate", "se", "dof", "tau2", "Q", "Q_df", "I2", "H2", "k", "cov")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return BatchFits(**joined, method=method, test=test, level=level)


def _fits(t: Tables, method: str, test: str, level: float, mean_only: bool) -> BatchFits:
    c = core(t, method, test)
    se = np.sqrt(np.diagonal(c.cov, axis1=1, axis2=2))
    if method == "FE":
        i2 = heterogeneity.i2_from_q(c.Q, t.dof)
        with np.errstate(divide="ignore", invalid="ignore"):
            h2 = np.where(t.dof > 0, c.Q / t.dof, np.nan)
    else:
        i2, h2 = heterogeneity.i2_from_tau2(c.tau2, c.s2), heterogeneity.h2_from_tau2(c.tau2, c.s2)
    return BatchFits(
        estimate=c.beta[:, 0] if mean_only else c.beta,
        se=se[:, 0] if mean_only else se,
        dof=c.dof,
        tau2=c.tau2,
        Q=c.Q,
        Q_df=t.dof,
        I2=i2,
        H2=h2,
        k=t.k,
        cov=c.cov,
        method=method,
        test=test,
        level=level,
    )
