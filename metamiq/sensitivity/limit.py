"""Limit meta-analysis: the mean of studies that grow in size without end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.pooling.interval import Interval, WithInterval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array, fixed_effect_fit, tables
from metamiq.sensitivity import readable
from metamiq.tails import chi2_sf, critical_value, two_sided_p
from metamiq.wording import in_short, p_text


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LimitMetaAnalysis(WithInterval):
    """The adjusted mean, with the small-study effect that was taken out."""

    estimate: float
    se: float
    alpha: float  # small-study effect, in standard errors
    beta: float
    tau2: float
    Q: float
    Q_small: float  # the part of Q that the small-study effect explains, 1 degree of freedom
    Q_residual: float  # the rest, k - 2
    G2: float  # percent
    shrunken: pd.DataFrame  # yi of each study in the limit, with its sei
    mean: float  # the fit's own
    k: int
    level: float
    cautions: tuple[str, ...]

    @property
    def statistic(self) -> float:
        """estimate / se."""
        return self.estimate / self.se

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no effect in the limit."""
        return float(two_sided_p(self.statistic))

    @property
    def Q_small_p(self) -> float:
        """p-value of no small-study effect beyond chance."""
        return float(chi2_sf(self.Q_small, 1))

    @property
    def Q_residual_p(self) -> float:
        """p-value of no heterogeneity beyond the small-study effect."""
        return float(chi2_sf(self.Q_residual, self.k - 2))

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the adjusted mean (normal)."""
        half = float(critical_value(self.level if level is None else level)) * self.se
        return Interval(self.estimate - half, self.estimate + half)

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        ci = self.ci()
        return "\n".join(
            [
                f"Limit meta-analysis: k = {self.k}, tau2 = {self.tau2:.4f}, mean of the fit {self.mean:.4f}",
                f"adjusted mean {self.estimate:.4f}, SE {self.se:.4f}, {100 * self.level:g}% CI {ci.low:.4f} to "
                f"{ci.high:.4f}, {p_text(self.p_value, 4)}",
                f"small-study effect: Q = {self.Q_small:.3f} on 1, {p_text(self.Q_small_p, 4)}; what is left: Q = "
                f"{self.Q_residual:.3f} on {self.k - 2}, {p_text(self.Q_residual_p, 4)}; G2 = {self.G2:.1f}%",
                *readable.lines(self.cautions),
            ]
        )


def limit_meta_analysis(fit: PooledEffect, *, level: float | None = None) -> LimitMetaAnalysis:
    r"""Limit meta-analysis of Rücker and colleagues.

    The model :math:`y_i = \beta + \sqrt{v_i + \tau^2} (\epsilon_i + \alpha)` is the radial regression of
    :math:`y_i / s_i` on :math:`1 / s_i`, :math:`s_i^2 = v_i + \tau^2`: intercept :math:`\alpha`, slope
    :math:`\beta`. As studies grow, :math:`v_i \to 0`, and the mean becomes :math:`\beta + \tau \alpha`.

    Parameters
    ----------
    fit : PooledEffect
        Gives the rows and tau2.
    level : float, optional
        Coverage of the interval; the fit's own by default.

    Returns
    -------
    LimitMetaAnalysis
        The adjusted `estimate` with the standard error that the model implies (residual variance 1). `Q_small` and
        `Q_residual` split Cochran's Q (weights 1 / vi). `G2`, in percent, is the heterogeneity among the studies in
        the limit that the small-study effect leaves unexplained. Without heterogeneity (tau2 = 0) all studies agree in
        the limit and G2 is NaN.

    Raises
    ------
    DataError
        If there are bounds, fewer than three rows, or standard errors that do not differ.

    References
    ----------
    Rücker, Schwarzer, Carpenter, Binder & Schumacher (2011).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.3, 0.25, 0.5, 0.9, 0.4], vi=[0.01, 0.01, 0.02, 0.04, 0.09, 0.08])
    >>> limit = limit_meta_analysis(fit)
    >>> print(f"{fit.estimate:.3f} -> {limit.estimate:.3f} ({limit.ci_low:.3f} to {limit.ci_high:.3f})")
    0.307 -> 0.089 (-0.181 to 0.359)
    """
    rows = readable.one_mean_of(fit, "Limit meta-analysis")
    yi, vi = rows
    if np.ptp(vi) <= 1e-10 * vi.max():
        raise DataError(
            f"Limit meta-analysis needs studies that differ in precision, but the sampling variance is {vi[0]:.4g} for "
            "all. It cannot be used here."
        )
    tau2 = 0.0 if np.isnan(fit.tau2) else fit.tau2
    tau, k = float(np.sqrt(tau2)), len(yi)
    s = np.sqrt(vi + tau2)
    if np.ptp(s) <= 1e-7 * s.max():  # a regression on it would rest on roundings
        raise DataError(
            f"Limit meta-analysis needs studies that differ in precision, but beside tau2 = {tau2:.4g} their sampling "
            f"variances, at most {vi.max():.4g}, are nothing. It cannot be used here."
        )
    x = 1.0 / s
    spread = x - x.mean()
    beta = float((spread * yi * x).sum() / (spread**2).sum())
    alpha = float((yi * x).mean() - beta * x.mean())
    # Var(alpha) = 1/k + xbar^2 / Sxx, Var(beta) = 1 / Sxx, Cov = -xbar / Sxx for residuals of variance 1.
    se = float(np.sqrt(tau2 / k + (1 - tau * x.mean()) ** 2 / (spread**2).sum()))
    limit = beta + (tau / s) * (yi - beta)
    Q, Q_residual = _q(yi, vi)
    w = 1.0 / rows.sei
    explained = np.corrcoef(w, limit * w)[0, 1] ** 2 if tau2 > 0 else np.nan
    cautions = [
        *readable.few(k),
        *readable.narrow(rows.sei),
        *readable.built_in(fit),
        *readable.dependent(fit),
    ]
    if tau2 == 0:
        cautions.append("tau2 is 0: the adjusted mean is that of PET, the intercept of a weighted regression.")
    return LimitMetaAnalysis(
        estimate=beta + tau * alpha,
        se=se,
        alpha=alpha,
        beta=beta,
        tau2=tau2,
        Q=Q,
        Q_small=Q - Q_residual,
        Q_residual=Q_residual,
        G2=float(100 * (1 - explained)),
        shrunken=pd.DataFrame({"yi": limit, "sei": rows.sei}),
        mean=fit.estimate,
        k=k,
        level=fit.level if level is None else level,
        cautions=tuple(cautions),
    )


def _q(yi: Array, vi: Array) -> tuple[float, float]:
    """Cochran's Q, and what is left of it after a regression on the standard error."""
    X = np.column_stack([np.ones(len(yi)), np.sqrt(vi)])
    return float(fixed_effect_fit(tables(yi, vi)).yPy()[0]), float(fixed_effect_fit(tables(yi, vi, X)).yPy()[0])
