"""Binomial-normal models: the mean log odds ratio of studies that differ, from sparse counts.

The likelihood is that of the counts, so zero cells need no correction. `binomial_normal` integrates it,
`binomial_normal_peak` finds its maximum; here is the model as a user asks for it, and its record.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metamiq.arguments import check_level
from metamiq.effects.records import one_of
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.binomial_normal import Array, Conditional, Kernel, Unconditional
from metamiq.pooling.binomial_normal_peak import POINTS, Peak, highest_peak, peak_at, settled, tau2_interval
from metamiq.pooling.count_tables import (
    ChiSquaredTest,
    Counts,
    CountsEffect,
    chi_squared_test,
    read_counts,
    source_of_counts,
)
from metamiq.pooling.interval import Interval
from metamiq.pooling.source import frozen_copy
from metamiq.wording import one_line, p_text


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BinomialNormalEffect(CountsEffect):
    """A mean log odds ratio from a binomial-normal model."""

    lrt: ChiSquaredTest  # one odds ratio for all against one for each
    wald: ChiSquaredTest  # the same; NaN when a study's own log odds ratio is infinite
    log_likelihood: float
    points: int  # quadrature points; 0 when tau2 is 0, where nothing is integrated
    coding: float
    study_estimate: Array
    study_se: Array
    se_tau2: float

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def tau2_se(self) -> float:
        """Standard error of tau2 from the observed information; NaN at tau2 = 0, on the boundary."""
        return self.se_tau2

    @property
    def loglik(self) -> float:
        """Log-likelihood at the estimates, with its constants."""
        return self.log_likelihood

    def tau2_ci(self, level: float | None = None, method: str = "PL") -> Interval:
        """Profile-likelihood interval of tau2 (the only `method`); NaN for one study."""
        if method != "PL":
            raise ValueError(f"method must be 'PL' for a binomial-normal model, not {method!r}.")
        level = self.level if level is None else level
        check_level(level)
        if self.k == 1:
            return Interval(np.nan, np.nan)
        counts = self.counts.take(self.included)
        return tau2_interval(_kernel(counts, self.method, self.coding), self.tau2, level)

    def shrunken(self) -> pd.DataFrame:
        """Each study's own log odds ratio given its counts and the fit: posterior mean and SD.

        The SD takes the mean and tau2 as known. A study without information has the mean and tau.
        """
        return pd.DataFrame({"estimate": self.study_estimate, "se": self.study_se}, index=self.source.labels())

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        name = {"UM.FS": "unconditional, fixed study effects", "CM.EL": "conditional, exact likelihood"}[self.method]
        pi, out = self.pi(), int((~self.included).sum())
        without = f" ({out} without events or without non-events left out)" if out else ""
        lines = [
            f"Binomial-normal model ({self.method}: {name}), test {self.test}: k = {self.k} tables from "
            f"{self.n_studies} studies{without}",
            self._mean_line(),
            f"{100 * self.level:g}% prediction interval {pi.low:.4f} to {pi.high:.4f}",
            f"tau2 = {self.tau2:.4f} (tau = {np.sqrt(self.tau2):.4f}), I2 = {self.I2:.1f}%, H2 = {self.H2:.2f}",
            f"likelihood-ratio test of one odds ratio chi2({self.lrt.dof}) = {self.lrt.statistic:.3f}, "
            f"{p_text(self.lrt.p_value, 4)}",
        ]
        return "\n".join([*lines, *self._in_units(pi)])


def glmm(
    counts: pd.DataFrame,
    model: str = "UM.FS",
    *,
    test: str = "z",
    level: float = 0.95,
    tau2: float | None = None,
    coding: float = 0.5,
    points: int | None = None,
) -> BinomialNormalEffect:
    r"""Mean log odds ratio by a binomial-normal model, for sparse counts.

    The log odds ratio of study i is :math:`\delta_i \sim N(\theta, \tau^2)`. Given it,

    "UM.FS": :math:`a_i \sim Bin(n_{1i}, p_{1i})`, :math:`c_i \sim Bin(n_{2i}, p_{2i})` with
    logit p1 = alpha_i + coding delta_i and logit p2 = alpha_i + (coding - 1) delta_i, one free alpha_i per study;
    "CM.EL": :math:`a_i` given both margins is noncentral hypergeometric with odds ratio exp(delta_i).

    Maximum likelihood, the random effect integrated out by adaptive Gauss-Hermite quadrature.

    Parameters
    ----------
    counts : DataFrame
        One row per study: events `ai`, `ci` and group sizes `n1i`, `n2i` (or people without event `bi`, `di`).
    model : {"UM.FS", "CM.EL"}
        Unconditional with fixed study effects, or conditional with the exact likelihood. The unconditional model
        estimates an intercept for each study, which biases its log odds ratio when studies are tiny.
    test : {"z", "t"}
        Normal reference, or t with k - 1 degrees of freedom.
    level : float
        Coverage of the intervals.
    tau2 : float, optional
        A known between-study variance, not estimated; 0 gives the common-effect model.
    coding : {0.5, 1, 0}
        How the random effect is divided between the groups ("UM.FS" only): half each, all in group 1, all in group 2.
        Only 0.5 gives the same answer when groups change places.
    points : int, optional
        Quadrature points, at least 7: adaptive Gauss-Hermite up to 63, equally spaced beyond. By default as many as
        it takes for the estimates to settle to eight digits.

    Returns
    -------
    BinomialNormalEffect
        Studies without events, or with nothing but events, in both groups have no say and are left out (`k` counts
        the rest; `included` says which). `se` is from the joint observed information. `Q` is the likelihood-ratio
        statistic `lrt` for one odds ratio for all against one for each; `wald` is NaN when a study with a zero cell
        makes it undefined. `weights` are shares of the information on the mean. `tau2` is NaN for one study, and
        0 when no other value is more likely.

    Raises
    ------
    DataError
        If a count is missing, negative or not whole, or events exceed the group; if no study is informative; if, for
        "CM.EL", the margins allow more than 100,000 counts in all.
    ConvergenceError
        If the likelihood has no maximum: in every study one and the same arm has all the events (or all the
        non-events), or tau2 grows without bound.

    Notes
    -----
    I2 and H2 compare tau2 with the typical variance of the studies' own log odds ratios (1/2 added to the cells of
    tables with a zero).

    References
    ----------
    Turner, Omar, Yang, Goldstein & Thompson (2000) for UM.FS; Stijnen, Hamza & Ozdemir (2010) for both; Liu & Pierce
    (1994) and Pinheiro & Bates (1995) for the quadrature.

    Examples
    --------
    >>> trials = pd.DataFrame({"ai": [0, 1, 5, 9], "n1i": [116, 44, 151, 80],
    ...                        "ci": [3, 3, 6, 2], "n2i": [117, 35, 157, 79]})
    >>> fit = glmm(trials, "CM.EL")
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f}), tau2 = {fit.tau2:.3f}")
    -0.365 (-2.001 to 1.272), tau2 = 1.473
    """
    one_of("model", model, ("CM.EL", "UM.FS"))
    one_of("test", test, ("t", "z"))
    check_level(level)
    if coding not in (0, 0.5, 1):
        raise ValueError(f"coding must be 0, 0.5 or 1, not {coding!r}.")
    if points is not None and not 7 <= points <= POINTS[-1]:
        raise ValueError(f"points must lie between 7 and {POINTS[-1]}, not {points!r}.")
    if tau2 is not None and not (np.isfinite(tau2) and tau2 >= 0):
        raise ValueError(f"tau2 must be a finite number, 0 or greater, not {tau2!r}.")
    everyone = read_counts(counts)
    included = np.asarray(everyone.informative)
    table = everyone.take(included)
    _need_a_maximum(table, len(included))
    kernel = _kernel(table, model, coding)
    common = peak_at(kernel, 0.0, None, 1)
    if tau2 is None:
        best, used = highest_peak(kernel, common, points)
    else:
        best, used = settled(lambda n, _: peak_at(kernel, float(tau2), common, n), points) if tau2 > 0 else (common, 0)
    top, own_yi, own_vi = kernel.saturated()
    lrt = chi_squared_test(max(2 * (top - common.m.loglik), 0.0), kernel.k - 1)
    se, se_tau2 = _standard_errors(best, known=tau2 is not None)
    spread = np.sqrt(best.tau2)
    estimate, study_se = np.full(len(included), best.theta), np.full(len(included), spread)
    estimate[included] += spread * best.m.z_mean
    study_se[included] *= np.sqrt(best.m.z_var)
    weights = np.zeros(len(included))
    weights[included] = best.m.share / best.m.share.sum()
    return BinomialNormalEffect(
        estimate=best.theta,
        se=se,
        dof=None if test == "z" else float(kernel.k - 1),
        tau2=np.nan if kernel.k == 1 and tau2 is None else best.tau2,
        Q=lrt.statistic,
        method=model,
        test=test,
        level=level,
        source=source_of_counts(counts, everyone, "OR", 0.5, "only0", True),
        combine=frozen_copy(weights),
        counts=everyone,
        included=included,
        lrt=lrt,
        wald=_wald(own_yi, own_vi),
        log_likelihood=best.m.loglik,
        points=used,
        coding=coding,
        study_estimate=frozen_copy(estimate),
        study_se=frozen_copy(study_se),
        se_tau2=se_tau2,
    )


def _kernel(counts: Counts, model: str, coding: float) -> Kernel:
    if model == "UM.FS":
        return Unconditional(counts.ai, counts.n1i, counts.ci, counts.n2i, coding)
    return Conditional(counts.ai, counts.n1i, counts.ci, counts.n2i)


def _need_a_maximum(table: Counts, given: int) -> None:
    """Refuse tables in which every study pushes the log odds ratio to the same infinity."""
    if len(table.ai) == 0:
        raise DataError(
            f"At least one study must have both events and non-events, but none of the {given} has. There is "
            f"nothing to compare."
        )
    bi, di = table.n1i - table.ai, table.n2i - table.ci
    for arm, other, ends in (("1", "2", (table.ci == 0) | (bi == 0)), ("2", "1", (table.ai == 0) | (di == 0))):
        if ends.all():
            raise ConvergenceError(
                f"The log odds ratio must be finite, but in each of the {len(ends)} informative studies group {other} "
                f"has no events or group {arm} has nothing else, so that the likelihood rises without end. Use "
                f"metamiq.peto, or mantel_haenszel with measure='RD'."
            )


def _standard_errors(best: Peak, known: bool) -> tuple[float, float]:
    """Of the mean and of tau2."""
    info = best.m.information
    if known or best.tau2 == 0:
        return float(info[0, 0] ** -0.5), np.nan
    cov = np.linalg.inv(info)
    return float(np.sqrt(cov[0, 0])), float(2 * np.sqrt(best.tau2 * cov[1, 1]))


def _wald(yi: Array, vi: Array) -> ChiSquaredTest:
    dof = len(yi) - 1
    if not np.isfinite(yi).all():
        return ChiSquaredTest(np.nan, dof, np.nan)
    w = 1 / vi
    return chi_squared_test(float((w * (yi - (w * yi).sum() / w.sum()) ** 2).sum()), dof)
