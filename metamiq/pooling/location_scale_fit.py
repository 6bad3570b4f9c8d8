"""The record of a location-scale model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from metamiq.pooling.coefficients import WaldTest, WithInformation, coefficient_table
from metamiq.pooling.design import Design
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.source import Source
from metamiq.pooling.tables import Array
from metamiq.tails import chi2_sf, critical_value, f_sf
from metamiq.wording import fixed, from_studies, one_line, p_text

_HARDLY_KNOWN = np.log(1e6)  # width of an interval of log tau2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LocationScaleFit(WithInformation):
    """Coefficients of the mean effect and of log tau2, with the choices and the rows that produced them."""

    beta: Array
    cov: Array
    alpha: Array
    alpha_cov: Array
    tau2: Array  # one per row
    loglik: float  # restricted for REML
    loglik_constant: float  # of the same model with one tau2; NaN where the scale holds no constant
    tau2_constant: float
    QE: float
    method: str
    test: str
    level: float
    source: Source  # the rows used
    design: Design = field(repr=False)
    scale_design: Design = field(repr=False)
    omitted: tuple[str, ...] = ()  # rows left out because a moderator is missing

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per coefficient of the location."""
        return self.design.names

    @property
    def scale_names(self) -> tuple[str, ...]:
        """One name per coefficient of the scale."""
        return self.scale_design.names

    @property
    def formula(self) -> str:
        """The moderators of the mean effect."""
        return self.design.formula

    @property
    def scale(self) -> str:
        """The moderators of log tau2."""
        return self.scale_design.formula

    @property
    def n_studies(self) -> int:
        """Studies used; a study may give several effect sizes."""
        return self.source.n_studies

    @property
    def dof(self) -> float | None:
        """Degrees of freedom of tests of the location, k - p; None: normal."""
        return None if self.test == "z" else float(self.k - len(self.beta))

    @property
    def scale_dof(self) -> float | None:
        """Degrees of freedom of tests of the scale, k - q; None: normal."""
        return None if self.test == "z" else float(self.k - len(self.alpha))

    @property
    def coefficients(self) -> pd.DataFrame:
        """Of the location, one row per term: estimate, se, statistic, dof, p_value, ci_low, ci_high."""
        return self._location(np.eye(len(self.beta)), self.level).set_axis(pd.Index(self.names, name="term"))

    @property
    def scale_coefficients(self) -> pd.DataFrame:
        """Of log tau2, one row per term, in the same columns."""
        return self._scale(np.eye(len(self.alpha)), self.level).set_axis(pd.Index(self.scale_names, name="term"))

    def _location(self, L: Array, level: float) -> pd.DataFrame:
        return _rows(L, self.beta, self.cov, self.dof, level)

    def _scale(self, L: Array, level: float) -> pd.DataFrame:
        return _rows(L, self.alpha, self.alpha_cov, self.scale_dof, level)

    @property
    def QM(self) -> float:
        """Wald test of all moderators of the location: chi-squared for test "z", F for the others."""
        return self._location_test.statistic

    @property
    def QM_df(self) -> int:
        """Its (numerator) degrees of freedom."""
        return self._location_test.dof1

    @property
    def QM_p(self) -> float:
        """Its p-value."""
        return self._location_test.p_value

    @property
    def QS(self) -> float:
        """Wald test of all moderators of the scale: chi-squared for test "z", F for the others.

        Where tau2 of some rows is close to 0 its errors are too large to show anything: `lrt` does not suffer from it.
        """
        return self._scale_test.statistic

    @property
    def QS_df(self) -> int:
        """Its (numerator) degrees of freedom."""
        return self._scale_test.dof1

    @property
    def QS_p(self) -> float:
        """Its p-value."""
        return self._scale_test.p_value

    @property
    def _location_test(self) -> WaldTest:
        return _joint(self.names, self.beta, self.cov, self.dof)

    @property
    def _scale_test(self) -> WaldTest:
        return _joint(self.scale_names, self.alpha, self.alpha_cov, self.scale_dof)

    @property
    def lrt(self) -> float:
        """Likelihood-ratio statistic against one tau2 for all rows, with the same location.

        NaN where the scale has nothing but a constant, or no constant, so that one tau2 is no special case of it.
        """
        return max(0.0, 2.0 * (self.loglik - self.loglik_constant)) if self.lrt_df else np.nan

    @property
    def lrt_df(self) -> int:
        """Its degrees of freedom, q - 1; 0 where there is no such test."""
        return 0 if np.isnan(self.loglik_constant) else len(self.alpha) - 1

    @property
    def lrt_p(self) -> float:
        """Its p-value, by chi-squared."""
        return float(chi2_sf(self.lrt, self.lrt_df))

    @property
    def parameters(self) -> int:
        """Coefficients of location and scale."""
        return len(self.beta) + len(self.alpha)

    def predict(self, frame: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
        """What the model says of each row of `frame`, which has the moderators of location and scale.

        Returns
        -------
        DataFrame
            `estimate`, `se`, `ci_low`, `ci_high` of the mean effect; `pi_low`, `pi_high`, where the effect of a new
            study lies, from its own tau2; `tau2` with `tau2_low` and `tau2_high`, the Wald interval of log tau2 taken
            back. NaN where a moderator is missing.
        """
        level = self.level if level is None else level
        mean = self._location(self.design.new_rows(frame), level)
        scale = self._scale(self.scale_design.new_rows(frame), level)
        with np.errstate(over="ignore"):
            tau2 = np.exp(scale[["estimate", "ci_low", "ci_high"]].to_numpy())
        half = critical_value(level, self.dof) * np.sqrt(mean["se"] ** 2 + tau2[:, 0])
        table = mean[["estimate", "se", "ci_low", "ci_high"]].assign(
            pi_low=mean["estimate"] - half,
            pi_high=mean["estimate"] + half,
            tau2=tau2[:, 0],
            tau2_low=tau2[:, 1],
            tau2_high=tau2[:, 2],
        )
        return table.set_axis(frame.index)

    @property
    def caution(self) -> str:
        """Why coefficients may say too little or too much.

        tau2 of some rows is hardly known; few studies for each moderator; several effect sizes of a study.
        """
        table = self._scale(self.scale_design.X, self.level)
        hardly = int(((table["ci_high"] - table["ci_low"]) > _HARDLY_KNOWN).sum())
        vague = (
            f"tau2 of {hardly} of {self.k} rows is hardly known: its interval spans a factor of more than a million, "
            "and Wald tests and intervals of the scale say little. Read the likelihood-ratio test."
        )
        moderators = len(self.design.terms | self.scale_design.terms)
        said = [vague if hardly else "", self.source.scarcity(moderators), self.source.dependence]
        return " ".join(filter(None, said))

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row per term, those of the location first, in the columns of every result table."""
        level = self.level if level is None else level
        parts = {
            "location": self._location(np.eye(len(self.beta)), level).set_axis(list(self.names)),
            "scale": self._scale(np.eye(len(self.alpha)), level).set_axis(list(self.scale_names)),
        }
        return pd.concat(parts, names=["part", "term"]).reindex(columns=list(RESULT_COLUMNS))

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        columns = ["estimate", "se", "statistic", "p_value", "ci_low", "ci_high"]
        tables = [
            t[columns].to_string(float_format=lambda x: f"{x:.4f}")
            for t in (self.coefficients, self.scale_coefficients)
        ]
        lines = [
            f"Location-scale model ({self.method}), test {self.test}: k = {from_studies(self.k, self.n_studies)}",
            f"mean effect ~ {self.formula}",
            tables[0],
            *([f"moderators of the mean: {_said(self._location_test)}"] if len(self.beta) > 1 else []),
            f"log tau2 ~ {self.scale}",
            tables[1],
        ]
        if self.lrt_df:
            lines.append(f"moderators of tau2: {_said(self._scale_test)}")
            lines.append(
                f"against one tau2 ({fixed(self.tau2_constant, 4)}): likelihood ratio chi2({self.lrt_df}) = "
                f"{self.lrt:.3f}, {p_text(self.lrt_p, 4)}"
            )
        low, high = self.tau2.min(), self.tau2.max()
        lines.append(
            f"tau2 of the rows {fixed(low, 4)} to {fixed(high, 4)}, QE({self.QE_df}) = {self.QE:.3f}, "
            f"{p_text(self.QE_p, 4)}, log-likelihood {self.loglik:.4f}"
        )
        references = self.design.reference_levels | self.scale_design.reference_levels
        lines += [f"{factor}: compared with {level}" for factor, level in references.items()]
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        if self.caution:
            lines.append(self.caution)
        return "\n".join(lines)


def _rows(L: Array, value: Array, cov: Array, dof: float | None, level: float) -> pd.DataFrame:
    se = np.sqrt(np.einsum("ip,pq,iq->i", L, cov, L))
    return coefficient_table(L @ value, se, np.full(len(L), np.inf if dof is None else dof), level)


def _joint(names: tuple[str, ...], value: Array, cov: Array, dof: float | None) -> WaldTest:
    """Wald test of all coefficients but the intercept."""
    tested = [j for j, name in enumerate(names) if name != "Intercept"] or list(range(len(names)))
    value, m = value[tested], len(tested)
    Q = float(value @ np.linalg.solve(cov[np.ix_(tested, tested)], value))
    if dof is None:
        return WaldTest(Q, m, np.inf, float(chi2_sf(Q, m)))
    return WaldTest(Q / m, m, dof, float(f_sf(Q / m, m, dof)))


def _said(test: WaldTest) -> str:
    letter = f"chi2({test.dof1})" if np.isinf(test.dof2) else f"F({test.dof1}, {test.dof2:g})"
    return f"{letter} = {test.statistic:.3f}, {p_text(test.p_value, 4)}"
