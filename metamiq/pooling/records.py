"""What a fit is: frozen records that answer questions.

Estimates, choices and inputs are stored; anything with a level is computed when asked. Undefined quantities (tau2 of
one study, say) are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from metamiq.arguments import check_distinct
from metamiq.errors import DataError
from metamiq.pooling import intervals
from metamiq.pooling.interval import Interval, WithPrediction
from metamiq.pooling.source import Source, frozen_copy
from metamiq.pooling.units import RATIO_MEASURES as RATIO_MEASURES
from metamiq.pooling.units import in_units
from metamiq.pooling.univariate_fit import UnivariateFit
from metamiq.pooling.wls import Array
from metamiq.tails import chi2_sf, critical_value, two_sided_p
from metamiq.wording import from_studies, one_line, p_text

RESULT_COLUMNS = ("estimate", "se", "statistic", "dof", "p_value", "ci_low", "ci_high", "pi_low", "pi_high")
PI_METHODS = ("test", "HTS", "nagashima")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PooledEffect(WithPrediction, UnivariateFit):
    """One mean effect, with the choices and the rows that produced it."""

    estimate: float
    se: float
    dof: float | None  # None: the reference distribution is normal
    tau2: float
    Q: float
    method: str
    test: str
    level: float
    source: Source
    pi_method: str = "test"
    combine: Array | None = field(default=None, repr=False)  # weights of the mean, when not 1 / (vi + tau2)
    tau2_given: bool = False  # by the caller, not estimated

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def _residual_q(self) -> tuple[float, int]:
        return self.Q, self.Q_df

    @property
    def statistic(self) -> float:
        """estimate / se."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.divide(self.estimate, self.se))

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the mean being 0."""
        return float(two_sided_p(self.statistic, self.dof))

    @property
    def Q_df(self) -> int:
        """Degrees of freedom of Q, k - 1."""
        return self.k - 1

    @property
    def Q_p(self) -> float:
        """p-value of Q; NaN for one effect size."""
        return float(chi2_sf(self.Q, self.Q_df))

    @property
    def weights(self) -> Array:
        """Share of each effect size in the mean; they sum to 1."""
        w = self.combine
        if w is None:
            w = 1.0 / (self.source.vi + (0.0 if np.isnan(self.tau2) else self.tau2))
        return frozen_copy(w / w.sum())

    @property
    def caution(self) -> str:
        """Why an interval and a p-value are undefined, say nothing or say too much; empty for most tables.

        Examples
        --------
        >>> from metamiq.pooling.models import random_effects
        >>> print(random_effects(yi=[0.3], vi=[0.1]).caution)
        With one effect size test knha has no degrees of freedom: there is no interval and no p-value. Test z has both.
        """
        if self.k == 1 and self.dof is not None:
            return (
                f"With one effect size test {self.test} has no degrees of freedom: there is no interval and no "
                "p-value. Test z has both."
            )
        if self._has_no_spread:
            return (
                f"All effect sizes are equal, so that the standard error of test {self.test} is 0 and its interval and "
                "p-value say nothing. Tests z and adhoc count the sampling error of each study."
            )
        if self.is_narrower_than_common:
            return (
                "The Hartung-Knapp interval is narrower than that of one common effect, for the effect sizes vary less "
                "than by chance. Test adhoc, which takes max(1, q), avoids this (Knapp & Hartung 2003; Röver et al. "
                "2015; Jackson et al. 2017)."
            )
        return self.source.dependence

    @property
    def _has_no_spread(self) -> bool:
        # The mean of equal numbers may differ from them by a rounding, and leave a standard error of that size.
        return self.se == 0 or (self.test == "knha" and self.k > 1 and bool(np.ptp(self.source.yi) == 0))

    @property
    def is_narrower_than_common(self) -> bool:
        """Whether the Hartung-Knapp interval is narrower than the normal interval of one common effect.

        It is where effect sizes vary so much less than by chance that q, the weighted sum of squares over k - 1 by
        which the method multiplies the variance, outweighs the quantile of t. Test "adhoc" takes max(1, q).

        References
        ----------
        Knapp & Hartung (2003); Röver, Knapp & Friede (2015); Wiksten, Rücker & Schwarzer (2016); Jackson, Law,
        Rücker & Schwarzer (2017).

        Examples
        --------
        >>> from metamiq.pooling.models import random_effects
        >>> [random_effects(yi=[0.30, 0.32, 0.31], vi=[0.1, 0.1, 0.1], test=t).is_narrower_than_common
        ...  for t in ("knha", "adhoc", "z")]
        [True, False, False]
        """
        if self.test != "knha" or self.k < 2 or self._has_no_spread:
            return False
        common = float(critical_value(self.level)) / np.sqrt(np.sum(1.0 / self.source.vi))
        return bool(float(critical_value(self.level, self.dof)) * self.se < common * (1 - 1e-9))

    def ci(self, level: float | None = None, method: str = "test") -> Interval:
        """Confidence interval of the mean.

        Parameters
        ----------
        level : float, optional
            Coverage; the fit's own by default.
        method : {"test", "HC", "PL"}
            By the fit's test; Henmi & Copas (2010), centred on the fixed-effect mean; profile likelihood.
        """
        level = self.level if level is None else level
        if method == "HC":
            return intervals.henmi_copas(self.source.yi, self.source.vi, level=level).interval
        if method == "PL":
            return intervals.profile_likelihood_mean(self.source.yi, self.source.vi, level=level)
        if method != "test":
            raise ValueError(f"method must be one of 'HC', 'PL', 'test', not {method!r}.")
        half = float(critical_value(level, self.dof)) * self.se
        return Interval(self.estimate - half, self.estimate + half)

    def pi(self, level: float | None = None, method: str | None = None, *, seed: int = 0) -> Interval:
        """Prediction interval: where the effect of a new study lies.

        Parameters
        ----------
        level : float, optional
            Coverage; the fit's own by default.
        method : {"test", "HTS", "nagashima"}, optional
            With the quantile of the fit's own test; of t(k - 2), Higgins, Thompson & Spiegelhalter (2009); the
            bootstrap of Nagashima, Noma & Furukawa (2019), which `seed` makes repeatable. By default the fit's.
        """
        level = self.level if level is None else level
        method = self.pi_method if method is None else method
        if method not in PI_METHODS:
            raise ValueError(f"pi_method must be one of 'HTS', 'nagashima', 'test', not {method!r}.")
        if method == "nagashima":
            return intervals.nagashima(self.source.yi, self.source.vi, level=level, seed=seed)
        dof: float | None = self.dof
        if method == "HTS":
            dof = self.k - 2 if self.k > 2 else np.nan
        half = float(critical_value(level, dof)) * np.sqrt(self.se**2 + self.tau2)
        return Interval(float(self.estimate - half), float(self.estimate + half))

    def shrunken(self) -> pd.DataFrame:
        """Empirical Bayes estimates of each study's own effect (BLUPs), with standard errors.

        estimate = (1 - s) yi + s mean, s = vi / (vi + tau2); the standard error takes tau2 as known.
        """
        t2 = self.tau2
        shrink = self.source.vi / (self.source.vi + t2)
        estimate = shrink * self.estimate + (1 - shrink) * self.source.yi
        se = np.sqrt((1 - shrink) * self.source.vi + shrink**2 * self.se**2)
        return pd.DataFrame({"estimate": estimate, "se": se}, index=self.source.labels())

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row with the columns that every result table has."""
        ci, pi = self.ci(level), self.pi(level)
        row: dict[str, Any] = {
            "estimate": self.estimate,
            "se": self.se,
            "statistic": self.statistic,
            "dof": np.inf if self.dof is None else self.dof,
            "p_value": self.p_value,
            "ci_low": ci.low,
            "ci_high": ci.high,
            "pi_low": pi.low,
            "pi_high": pi.high,
        }
        return pd.DataFrame([row], columns=list(RESULT_COLUMNS), index=pd.Index(["mean"], name="term"))

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        how = "tau2 given" if self.tau2_given else self.method
        model = "Fixed-effect model" if self.method == "FE" else f"Random-effects model ({how})"
        ci, pi, percent = self.ci(), self.pi(), f"{100 * self.level:g}%"
        letter = "z" if self.dof is None else f"t({self.dof:g})"
        lines = [
            f"{model}, test {self.test}: k = {from_studies(self.k, self.n_studies)}",
            f"mean {self.estimate:.4f}, SE {self.se:.4f}, {percent} CI {ci.low:.4f} to {ci.high:.4f}, "
            f"{letter} = {self.statistic:.3f}, {p_text(self.p_value, 4)}"
            if np.isfinite(self.se)
            else f"mean {self.estimate:.4f}",
        ]
        if np.isnan(self.tau2):
            lines.append("tau2 and a prediction interval need at least two effect sizes.")
        elif self.method != "FE":
            lines.append(f"{percent} prediction interval {pi.low:.4f} to {pi.high:.4f}")
            lines.append(
                f"tau2 = {self.tau2:.4f} (tau = {np.sqrt(self.tau2):.4f}), I2 = {self.I2:.1f}%, H2 = {self.H2:.2f}"
            )
        if self.Q_df > 0:
            lines.append(f"Q({self.Q_df}) = {self.Q:.3f}, {p_text(self.Q_p, 4)}")
        differs = self.method != "FE" and not np.isnan(self.tau2)
        lines += [in_units(self.measure, self.estimate, ci, pi if differs else None), self.caution]
        return "\n".join(filter(None, lines))


def check_columns(effects: pd.DataFrame, columns: tuple[str, ...] = ("yi", "vi")) -> None:
    """Raise DataError when an effects table lacks a column or names one twice, ValueError when it is no table."""
    if not isinstance(effects, pd.DataFrame):
        raise ValueError("effects must be a DataFrame with the columns yi and vi; arrays go to yi= and vi=.")
    check_distinct(effects)
    missing = [c for c in columns if c not in effects.columns]
    if missing:
        raise DataError(
            f"An effects table must have the columns {' and '.join(columns)}, but {' and '.join(missing)} is missing "
            f"among {', '.join(map(str, effects.columns))}. Compute them with metamiq.effect_sizes first."
        )
