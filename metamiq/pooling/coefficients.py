"""What records of models with coefficients share: the table of estimates, a joint test, residual Q, AIC and BIC."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.pooling.source import WithSource
from metamiq.pooling.wls import Array
from metamiq.tails import chi2_sf, critical_value, two_sided_p


class WaldTest(NamedTuple):
    """A joint test of coefficients: F on `dof1` and `dof2` degrees of freedom; NaN where `dof2` is not positive."""

    statistic: float
    dof1: int
    dof2: float
    p_value: float


def coefficient_table(estimate: Array, se: Array, dof: Array, level: float) -> pd.DataFrame:
    """Estimates with their tests and intervals, one row each; infinite `dof` means normal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    half = critical_value(level, dof) * se
    return pd.DataFrame(
        {
            "estimate": estimate,
            "se": se,
            "statistic": statistic,
            "dof": dof,
            "p_value": two_sided_p(statistic, dof),
            "ci_low": estimate - half,
            "ci_high": estimate + half,
        }
    )


class WithResidualQ(WithSource):
    """`QE_df` and `QE_p` of a record with coefficients and the Q of its residuals."""

    __slots__ = ()

    beta: Array
    QE: float

    @property
    def QE_df(self) -> int:
        """Residual degrees of freedom, k - p."""
        return self.k - len(self.beta)

    @property
    def QE_p(self) -> float:
        """p-value of residual heterogeneity: upper tail of chi-squared at QE."""
        return float(chi2_sf(self.QE, self.QE_df))


class WithInformation(WithResidualQ):
    """`AIC` and `BIC` of a record with a likelihood."""

    __slots__ = ()

    loglik: float
    method: str

    @property
    def parameters(self) -> int:
        """Parameters estimated."""
        raise NotImplementedError

    @property
    def AIC(self) -> float:
        """-2 loglik + 2 parameters; compare REML values only between models of the same mean."""
        return -2.0 * self.loglik + 2.0 * self.parameters

    @property
    def BIC(self) -> float:
        """-2 loglik + log(n) parameters, n = k for ML and k - p for REML."""
        n = self.QE_df if self.method == "REML" else self.k
        return float(-2.0 * self.loglik + np.log(n) * self.parameters)
