"""What univariate fits share: how much the effects differ."""

from __future__ import annotations

import numpy as np

from metamiq.pooling import heterogeneity, tau2
from metamiq.pooling.interval import Interval
from metamiq.pooling.source import WithSource
from metamiq.pooling.wls import Array, Tables


class UnivariateFit(WithSource):
    """A fit of one effect per row with one tau2; `_design` is its design, and Q is that of its residuals."""

    __slots__ = ()

    tau2: float
    method: str
    level: float
    tau2_given: bool = False  # by the caller, not estimated

    @property
    def _design(self) -> Array | None:
        return None

    @property
    def _residual_q(self) -> tuple[float, int]:
        raise NotImplementedError

    def tables(self) -> Tables:
        """The arrays behind the fit, as the vectorised core takes them."""
        # As they were fitted, checked then: a study without events, say, has no yi of its own.
        x = self._design
        p = 1 if x is None else x.shape[1]
        return Tables(
            self.source.yi[None],
            self.source.vi[None],
            None,
            None if x is None else x[None],
            np.array([float(self.k)]),
            p,
        )

    @property
    def n_studies(self) -> int:
        """Studies used; a study may give several effect sizes."""
        return self.source.n_studies

    @property
    def I2(self) -> float:
        """Percent of the (residual) variation that is between studies, 0 to 100."""
        if self.method == "FE":
            return float(heterogeneity.i2_from_q(*self._residual_q))
        return float(heterogeneity.i2_from_tau2(self.tau2, heterogeneity.typical_variance(self.tables()))[0])

    @property
    def H2(self) -> float:
        """Total over sampling variation; 1 without heterogeneity."""
        if self.method == "FE":
            Q, dof = self._residual_q
            return Q / dof if dof else np.nan
        return float(heterogeneity.h2_from_tau2(self.tau2, heterogeneity.typical_variance(self.tables()))[0])

    @property
    def tau2_se(self) -> float:
        """Standard error of tau2; NaN for a fixed-effect model and where tau2 is undefined or was given."""
        if self.method == "FE" or np.isnan(self.tau2) or self.tau2_given:
            return np.nan
        return float(tau2.standard_error(self.tables(), self.method, np.array([self.tau2]))[0])

    @property
    def loglik(self) -> float:
        """Log-likelihood at the estimates: restricted for REML, else the full one."""
        t2 = np.array([0.0 if np.isnan(self.tau2) else self.tau2])
        return float(tau2.loglik(self.tables(), t2, "REML" if self.method == "REML" else "ML")[0])

    def tau2_ci(self, level: float | None = None, method: str = "QP") -> Interval:
        """Interval of tau2: "QP" (Q-profile), "PL" (profile likelihood) or "GENQ" (generalised Q)."""
        return heterogeneity.tau2_interval(
            self.source.yi,
            self.source.vi,
            self._design,
            level=self.level if level is None else level,
            interval=method,
            method=self.method,
        )

    def i2_ci(self, level: float | None = None, method: str = "QP") -> Interval:
        """Interval of I2 in percent, from that of tau2."""
        s2 = heterogeneity.typical_variance(self.tables())
        return Interval(*(float(heterogeneity.i2_from_tau2(x, s2)[0]) for x in self.tau2_ci(level, method)))

    def h2_ci(self, level: float | None = None, method: str = "QP") -> Interval:
        """Interval of H2, from that of tau2."""
        s2 = heterogeneity.typical_variance(self.tables())
        return Interval(*(float(heterogeneity.h2_from_tau2(x, s2)[0]) for x in self.tau2_ci(level, method)))
