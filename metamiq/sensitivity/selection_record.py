"""The record of a selection model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.errors import DataError
from metamiq.pooling.interval import Interval, WithInterval
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.wls import Array
from metamiq.sensitivity import readable
from metamiq.sensitivity.weight_functions import WeightFunction
from metamiq.tails import chi2_sf, critical_value, two_sided_p
from metamiq.wording import in_short, p_text, table_text


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SelectionModel(WithInterval):
    """A mean (or coefficients), tau2 and a weight function, fitted together by maximum likelihood."""

    beta: Array
    cov: Array  # of beta
    names: tuple[str, ...]
    tau2: float
    tau2_se: float
    delta: Array  # parameters of the weight function; for steps the weights, the first 1
    delta_se: Array
    type: str
    alternative: str
    steps: tuple[float, ...]
    counts: tuple[int, ...]  # p-values in each interval between the steps
    p_values: Array  # of each row
    loglik: float
    loglik_without: float  # of the same model without selection
    free: int  # parameters of the weight function that were estimated
    unadjusted: float  # the mean (or first coefficient) without selection
    k: int
    level: float
    cautions: tuple[str, ...]
    _weight: WeightFunction = field(repr=False)
    _own: Array = field(repr=False)

    def _only_mean(self, what: str) -> None:
        if len(self.beta) != 1:
            raise DataError(f"A model with moderators has no single {what}; read coefficients.")

    @property
    def estimate(self) -> float:
        """The adjusted mean; for a model with moderators read `coefficients`."""
        self._only_mean("estimate")
        return float(self.beta[0])

    @property
    def se(self) -> float:
        """Standard error of the mean, from the observed information."""
        self._only_mean("se")
        return float(np.sqrt(self.cov[0, 0]))

    @property
    def statistic(self) -> float:
        """estimate / se."""
        return self.estimate / self.se

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no effect (normal)."""
        return float(two_sided_p(self.statistic))

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the mean (normal)."""
        half = float(critical_value(self.level if level is None else level)) * self.se
        return Interval(self.estimate - half, self.estimate + half)

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per coefficient, in the columns of every result table."""
        se = np.sqrt(np.diag(self.cov))
        half = float(critical_value(self.level)) * se
        columns = {
            "estimate": self.beta,
            "se": se,
            "statistic": self.beta / se,
            "dof": np.inf,
            "p_value": two_sided_p(self.beta / se),
            "ci_low": self.beta - half,
            "ci_high": self.beta + half,
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="term"))

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient, in the columns of every result table."""
        return self.coefficients.reindex(columns=list(RESULT_COLUMNS))

    @property
    def weights(self) -> Array:
        """How likely results are to be seen: of each interval between steps, relative to the first.

        For a smooth weight function, w(p) at the p-value of each row.
        """
        if self.type == "stepfun":
            return self.delta
        return frozen_copy(self._weight.at_data(self._own))

    def weight(self, p: ArrayLike) -> Array:
        """The weight function at p-values between 0 and 1, those of `alternative`."""
        return self._weight.weight(self._own, np.asarray(p, dtype=float))

    def intervals(self) -> pd.DataFrame:
        """For steps: one row per interval of p-values, with its count, weight and standard error."""
        if self.type != "stepfun":
            raise ValueError(f"A weight function of type {self.type!r} has no intervals; read delta and weight(p).")
        low = (0.0, *self.steps[:-1])
        columns = {"p_low": low, "p_high": self.steps, "k": self.counts, "weight": self.delta, "se": self.delta_se}
        return pd.DataFrame(columns)

    @property
    def lrt(self) -> float:
        """Likelihood-ratio statistic of no selection."""
        return max(0.0, 2 * (self.loglik - self.loglik_without))

    @property
    def lrt_dof(self) -> int:
        """Its degrees of freedom."""
        return self.free

    @property
    def lrt_p(self) -> float:
        """Its p-value; NaN when the weights were given, not estimated."""
        return float(chi2_sf(self.lrt, self.free))

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        out = [
            f"Selection model ({self.type}, alternative {self.alternative}): k = {self.k}",
            f"tau2 = {self.tau2:.4f}; without selection {self.unadjusted:.4f}",
        ]
        if len(self.beta) == 1:
            ci = self.ci()
            out.append(
                f"adjusted mean {self.estimate:.4f}, SE {self.se:.4f}, {100 * self.level:g}% CI {ci.low:.4f} to "
                f"{ci.high:.4f}, {p_text(self.p_value, 4)}"
            )
        else:
            out.append(table_text(self.coefficients))
        if self.type == "stepfun":
            out.append(self.intervals().to_string(index=False, float_format=lambda x: f"{x:.4g}"))
        else:
            both = zip(self.delta, self.delta_se, strict=True)
            out.append("delta " + ", ".join(f"{d:.4f} (SE {e:.4f})" for d, e in both))
        if self.free:
            out.append(f"likelihood ratio of no selection {self.lrt:.3f} on {self.free}, {p_text(self.lrt_p, 4)}")
        return "\n".join([*out, *readable.lines(self.cautions)])
