"""Do small studies show other effects than large ones: regression and rank tests of funnel plot asymmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.wls import Array, tables
from metamiq.sensitivity import readable
from metamiq.tails import critical_value, two_sided_p
from metamiq.wording import in_short, p_text

# What each predictor is, and whether its value in an endlessly large study is 0.
PREDICTORS = {"sei": True, "vi": True, "ni": False, "ninv": True, "sqrtni": False, "sqrtninv": True}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RegressionTest:
    """A regression of the effects on a measure of their precision."""

    intercept: float  # Egger's intercept: the coefficient of the predictor
    se: float
    dof: float | None  # None: the reference distribution is normal
    limit: float  # expected effect of an endlessly large study; NaN where the predictor has none
    limit_se: float
    name: str
    predictor: str
    model: str  # "classical" or "mixed"
    tau2: float  # residual, for the mixed model; NaN for the classical one
    k: int
    level: float
    cautions: tuple[str, ...]

    @property
    def statistic(self) -> float:
        """intercept / se."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.divide(self.intercept, self.se))

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no small-study effect."""
        return float(two_sided_p(self.statistic, self.dof))

    def _interval(self, estimate: float, se: float, level: float | None) -> Interval:
        half = float(critical_value(self.level if level is None else level, self.dof)) * se
        return Interval(estimate - half, estimate + half)

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the intercept."""
        return self._interval(self.intercept, self.se, level)

    def limit_ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the expected effect of an endlessly large study."""
        return self._interval(self.limit, self.limit_se, level)

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        model = "weighted regression" if self.model == "classical" else f"mixed-effects model, tau2 = {self.tau2:.4f}"
        letter = "z" if self.dof is None else f"t({self.dof:g})"
        ci = self.ci()
        out = [
            f"{self.name} ({model}, predictor {self.predictor}): k = {self.k}",
            f"coefficient {self.intercept:.4f}, SE {self.se:.4f}, {100 * self.level:g}% CI {ci.low:.4f} to "
            f"{ci.high:.4f}, {letter} = {self.statistic:.3f}, {p_text(self.p_value, 4)}",
        ]
        if np.isfinite(self.limit):
            low, high = self.limit_ci()
            out.append(f"expected effect of an endlessly large study {self.limit:.4f} ({low:.4f} to {high:.4f})")
        return "\n".join([*out, *readable.lines(self.cautions)])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RankTest:
    """A rank correlation between effects and their variances."""

    tau: float
    p_value: float
    exact: bool
    k: int
    cautions: tuple[str, ...]

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        how = "exact" if self.exact else "normal approximation"
        line = f"Begg and Mazumdar's rank test: k = {self.k}, Kendall's tau = {self.tau:.4f}, {p_text(self.p_value, 4)}"
        return "\n".join([f"{line} ({how})", *readable.lines(self.cautions)])


def egger_test(
    fit: PooledEffect | MetaRegression, *, predictor: str = "sei", model: str = "classical", level: float | None = None
) -> RegressionTest:
    r"""Egger's regression test of funnel plot asymmetry, and its relatives.

    The classical test regresses :math:`y_i / \sqrt{v_i}` on :math:`1 / \sqrt{v_i}`; its intercept is the slope of the
    weighted regression :math:`y_i = \beta_0 + \beta_1 \sqrt{v_i}` with weights :math:`1 / v_i` and a dispersion
    estimated from the residuals. The mixed model puts the predictor into a random-effects model instead.

    Parameters
    ----------
    fit : PooledEffect or MetaRegression
        Moderators of a meta-regression stay in the model.
    predictor : {"sei", "vi", "ninv", "sqrtninv", "ni", "sqrtni"}
        Standard error, variance, or a function of the study's size (column ``ni``, or ``n1i`` + ``n2i``): 1/n,
        1/sqrt(n), n, sqrt(n).
    model : {"classical", "mixed"}
        Weighted regression with t(k - 2); or the fit's own estimator of tau2 and its own test.
    level : float, optional
        Coverage of the intervals; the fit's own by default.

    Returns
    -------
    RegressionTest
        `statistic dof p_value intercept`. With "sei", a positive intercept means that effects grow as studies get
        smaller. `limit` is the expected effect where the predictor says that a study is endlessly large; NaN with
        moderators and for "ni" and "sqrtni", which have no such point.

    Raises
    ------
    DataError
        If there are bounds, fewer than three rows, a predictor that does not vary, or no study sizes for one that
        needs them.
    ValueError
        If `predictor` or `model` is not one of those above.

    References
    ----------
    Egger, Davey Smith, Schneider & Minder (1997); Sterne & Egger (2005) for other predictors and the mixed model.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.01, 0.02, 0.05, 0.03])
    >>> test = egger_test(fit)
    >>> print(f"{test.intercept:.3f}, t({test.dof:.0f}) = {test.statistic:.3f}, p = {test.p_value:.3f}")
    5.147, t(2) = 1.913, p = 0.196
    """
    if predictor not in PREDICTORS:
        raise ValueError(f"predictor must be one of {', '.join(map(repr, sorted(PREDICTORS)))}, not {predictor!r}.")
    if model not in ("classical", "mixed"):
        raise ValueError(f"model must be 'classical' or 'mixed', not {model!r}.")
    rows = readable.rows_of(fit, "Egger's test")
    x = _predictor(fit, rows, predictor)
    X = fit.design.X if isinstance(fit, MetaRegression) else np.ones((len(x), 1))
    # At tau2 = 0 the Hartung-Knapp factor is the dispersion of weighted least squares.
    method, test = ("FE", "knha") if model == "classical" else (fit.method, fit.test)
    line = _line(rows.yi, rows.vi, np.column_stack([X, x]), method, test, predictor)
    own_limit = PREDICTORS[predictor] and not isinstance(fit, MetaRegression)
    cautions = [*readable.few(len(x)), *readable.narrow(rows.sei), *readable.dependent(fit)]
    if predictor in ("sei", "vi"):
        cautions += readable.built_in(fit)
    return RegressionTest(
        intercept=line.slope,
        se=line.slope_se,
        dof=line.dof,
        limit=line.at_zero if own_limit else np.nan,
        limit_se=line.at_zero_se if own_limit else np.nan,
        name="Egger's regression test",
        predictor=predictor,
        model=model,
        tau2=np.nan if model == "classical" else line.tau2,
        k=len(x),
        level=fit.level if level is None else level,
        cautions=tuple(cautions),
    )


def begg_test(fit: PooledEffect, *, exact: bool | None = None) -> RankTest:
    r"""Begg and Mazumdar's rank correlation test of funnel plot asymmetry.

    Kendall's tau-b between the variances and the standardised deviates
    :math:`(y_i - \hat\mu) / \sqrt{v_i - 1 / \sum_j 1/v_j}` from the fixed-effect mean.

    Parameters
    ----------
    fit : PooledEffect
        The fit whose rows are tested.
    exact : bool, optional
        Exact distribution, or the normal approximation without continuity correction. By default exact when there are
        no ties and at most 170 rows.

    Returns
    -------
    RankTest
        `tau p_value`; a positive tau means that small studies show larger effects.

    Raises
    ------
    DataError
        If there are bounds, fewer than three rows, variances that are all the same, or ties with ``exact=True``.

    References
    ----------
    Begg & Mazumdar (1994).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.01, 0.02, 0.05, 0.03])
    >>> test = begg_test(fit)
    >>> print(f"{test.tau:.3f}, p = {test.p_value:.3f}")
    0.667, p = 0.333
    """
    from scipy.stats import kendalltau

    rows = readable.rows_of(fit, "Begg's test")
    wi = 1.0 / rows.vi
    k = len(wi)
    deviate = (rows.yi - (wi * rows.yi).sum() / wi.sum()) / np.sqrt(rows.vi - 1.0 / wi.sum())
    if np.ptp(rows.vi) == 0 or np.ptp(deviate) == 0:
        raise DataError(
            "Begg's test needs effects and sampling variances that differ between rows, but one of them is the same "
            "for all. It cannot be used here."
        )
    ties = len(np.unique(rows.vi)) < k or len(np.unique(deviate)) < k
    if exact and ties:
        raise DataError("The exact rank test needs rows without ties, but there are some. Use exact=False.")
    if exact is None:
        exact = not ties and k <= 170
    tau, p_value = kendalltau(deviate, rows.vi, method="exact" if exact else "asymptotic")
    cautions = [
        *readable.few(k),
        *(["Its power is low below about 25 studies: a large p-value says little."] if k < 25 else []),
        *readable.narrow(rows.sei),
        *readable.dependent(fit),
        *readable.built_in(fit),
    ]
    return RankTest(tau=float(tau), p_value=float(p_value), exact=bool(exact), k=k, cautions=tuple(cautions))


@dataclass(frozen=True, slots=True)
class Line:
    """The last coefficient of a weighted regression, and the fitted value where its predictor is 0."""

    slope: float
    slope_se: float
    at_zero: float
    at_zero_se: float
    dof: float | None
    tau2: float


def _line(yi: Array, vi: Array, X: Array, method: str, test: str, predictor: str) -> Line:
    if len(yi) <= X.shape[1]:
        raise DataError(
            f"A regression on {predictor} needs more than {X.shape[1]} rows, but there are {len(yi)}. It cannot be "
            "used here."
        )
    # Scaled, so that a predictor of large or tiny numbers is not mistaken for one that does not vary.
    last = X[:, -1]
    scale = float(np.abs(last).max())
    if np.ptp(last) <= 1e-10 * scale:
        raise DataError(
            f"A regression on {predictor} needs studies that differ in it, but it is {last[0]:.4g} for every row. "
            "It cannot be used here."
        )
    scaled = np.column_stack([X[:, :-1], last / scale])
    c = batch.core(tables(yi, vi, scaled), method, test)
    beta, se = c.beta[0], np.sqrt(np.diag(c.cov[0]))
    if not np.isfinite(beta).all():
        raise DataError(f"A regression on {predictor} cannot tell it apart from the moderators of the fit.")
    dof = None if test == "z" else float(c.dof[0])
    return Line(beta[-1] / scale, se[-1] / scale, float(beta[0]), float(se[0]), dof, float(c.tau2[0]))


def _predictor(fit: PooledEffect | MetaRegression, rows: readable.Rows, predictor: str) -> Array:
    if predictor == "sei":
        return rows.sei
    if predictor == "vi":
        return rows.vi
    ni = study_sizes(fit, predictor)
    if predictor == "ninv":
        return np.asarray(1.0 / ni)
    if predictor == "sqrtni":
        return np.asarray(np.sqrt(ni))
    return np.asarray(1.0 / np.sqrt(ni)) if predictor == "sqrtninv" else ni


def study_sizes(fit: PooledEffect | MetaRegression, predictor: str) -> Array:
    """People in each study that has an effect size, for a predictor that needs them."""
    known = np.isfinite(fit.source.yi) & np.isfinite(fit.source.vi)
    effects = fit.effects[known]
    if "ni" in effects:
        ni = effects["ni"].to_numpy(dtype=float, na_value=np.nan)
    elif {"n1i", "n2i"} <= set(effects.columns):
        ni = effects[["n1i", "n2i"]].to_numpy(dtype=float, na_value=np.nan).sum(axis=1)
    else:
        raise DataError(
            f"The predictor {predictor} needs study sizes in a column ni, or n1i and n2i, but the effects table has "
            f"{', '.join(map(str, effects.columns))}. Add them, or use the predictor 'sei'."
        )
    bad = ~(np.isfinite(ni) & (ni > 0))
    if bad.any():
        named = ", ".join(f"row {i + 1}" for i in np.flatnonzero(bad))
        raise DataError(f"Study sizes must be known and greater than 0, but they are not in {named}.")
    return np.asarray(ni)
