"""The record of a meta-regression."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.arguments import numbers
from metamiq.pooling.coefficients import WithResidualQ, coefficient_table
from metamiq.pooling.design import Design
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.source import Source
from metamiq.pooling.units import scale_of
from metamiq.pooling.univariate_fit import UnivariateFit
from metamiq.pooling.wls import Array
from metamiq.tails import chi2_sf, critical_value, f_sf
from metamiq.wording import from_studies, one_line, p_text, table_text


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MetaRegression(UnivariateFit, WithResidualQ):
    """Coefficients of moderators, with the choices and the rows that produced them."""

    beta: Array
    root: Array = field(repr=False)  # root root' = cov; variances of combinations keep their digits
    dof: float | None  # None: the reference distribution is normal
    tau2: float
    tau2_without: float  # of the same rows without moderators
    QE: float
    method: str
    test: str
    level: float
    source: Source  # the rows used
    design: Design = field(repr=False)
    omitted: tuple[str, ...] = ()  # rows left out because a moderator is missing

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def cov(self) -> Array:
        """Covariance of the coefficients."""
        return np.asarray(self.root @ self.root.T)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per coefficient."""
        return self.design.names

    @property
    def formula(self) -> str:
        """The right-hand side of the model."""
        return self.design.formula

    @property
    def _design(self) -> Array:
        return self.design.X

    @property
    def _residual_q(self) -> tuple[float, int]:
        return self.QE, self.QE_df

    def _coefficient_rows(self, L: Array, level: float | None = None) -> pd.DataFrame:
        level = self.level if level is None else level
        estimate = L @ self.beta
        se = np.sqrt(((L @ self.root) ** 2).sum(axis=1))
        return coefficient_table(estimate, se, np.full(len(se), np.inf if self.dof is None else self.dof), level)

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per term: estimate, se, statistic, dof, p_value, ci_low, ci_high."""
        return self._coefficient_rows(np.eye(len(self.beta))).set_axis(pd.Index(self.names, name="term"))

    def wald_test(self, L: ArrayLike) -> tuple[float, float, float, float]:
        """Joint test that L beta = 0: statistic, its degrees of freedom and those below, and p.

        The statistic is chi-squared(m) for test "z", and F(m, k - p), the same divided by m, for the others.

        Examples
        --------
        >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
        ...                    "dose": [1, 2, 4, 1, 3]})
        >>> from metamiq.pooling.regression import meta_regression
        >>> statistic, m, dof, p = meta_regression(es, "dose").wald_test([[0, 1]])
        >>> print(f"F({m:g}, {dof:g}) = {statistic:.2f}, p = {p:.4f}")
        F(1, 3) = 44.49, p = 0.0069
        """
        contrast = self._contrast(L)
        m = int(np.linalg.matrix_rank(contrast))
        if m < len(contrast):
            raise ValueError("The rows of a contrast must be linearly independent.")
        value, spread = contrast @ self.beta, contrast @ self.root
        # Where the model leaves no residual, Hartung-Knapp leaves no variance to divide by.
        statistic = np.inf if value.any() else np.nan
        if spread.any():
            standardised = np.linalg.solve(np.linalg.qr(spread.T).R.T, value)
            statistic = float(standardised @ standardised)
        if self.dof is None:
            return statistic, m, np.inf, float(chi2_sf(statistic, m))
        return statistic / m, m, self.dof, float(f_sf(statistic / m, m, self.dof))

    def contrast(self, L: ArrayLike, level: float | None = None) -> pd.DataFrame:
        """Linear combinations L beta of the coefficients, one row each."""
        return self._coefficient_rows(self._contrast(L), level)

    def _contrast(self, L: ArrayLike) -> Array:
        rows = np.atleast_2d(numbers(L, "A contrast"))
        if rows.ndim > 2 or rows.shape[1] != len(self.beta):
            raise ValueError(
                f"A contrast must have {len(self.beta)} columns, one per coefficient, not {rows.shape[-1]}."
            )
        if not np.isfinite(rows).all():
            raise ValueError("A contrast must hold finite numbers, but one is not.")
        return rows

    def _moderator_columns(self) -> list[int]:
        columns = [j for j, name in enumerate(self.names) if name != "Intercept"]
        return columns or list(range(len(self.names)))

    @property
    def _omnibus(self) -> tuple[float, float, float, float]:
        if np.isnan(self.cov).any():
            return (np.nan,) * 4
        return self.wald_test(np.eye(len(self.beta))[self._moderator_columns()])

    @property
    def QM(self) -> float:
        """Omnibus test of all moderators: chi-squared for test "z", F for the others."""
        return self._omnibus[0]

    @property
    def QM_df(self) -> int:
        """Its (numerator) degrees of freedom."""
        return len(self._moderator_columns())

    @property
    def QM_p(self) -> float:
        """Its p-value."""
        return self._omnibus[3]

    @property
    def term_tests(self) -> pd.DataFrame:
        """Wald test of each term of the formula: a factor's columns are tested together."""
        out = {}
        for term, columns in self.design.terms.items():
            out[term] = self.wald_test(np.eye(len(self.beta))[list(columns)])
        frame = pd.DataFrame.from_dict(out, orient="index", columns=["statistic", "dof", "dof_error", "p_value"])
        return frame.rename_axis("term")

    @property
    def R2(self) -> float:
        """Percent of tau2 that the moderators take away, at least 0; NaN when there was none, or for method "FE"."""
        if self.method == "FE" or not self.tau2_without > 0:
            return np.nan
        return float(max(0.0, 100.0 * (self.tau2_without - self.tau2) / self.tau2_without))

    @property
    def caution(self) -> str:
        """Why the coefficients may say too much: few studies for each moderator, or several effect sizes of a study.

        References
        ----------
        Deeks, Higgins & Altman, Cochrane Handbook for Systematic Reviews of Interventions, chapter 10, on
        meta-regression: ten studies for each characteristic.
        """
        return " ".join(filter(None, [self.source.scarcity(len(self.design.terms)), self.source.dependence]))

    def predict(self, frame: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
        """Mean effect for each row of `frame`, with confidence and prediction intervals; NaN where it is incomplete."""
        level = self.level if level is None else level
        x = self.design.new_rows(frame)
        table = self._coefficient_rows(x, level)[["estimate", "se", "ci_low", "ci_high"]].set_index(frame.index)
        half = critical_value(level, self.dof) * np.sqrt(table["se"] ** 2 + self.tau2)
        return table.assign(pi_low=table["estimate"] - half, pi_high=table["estimate"] + half)

    def vif(self) -> pd.DataFrame:
        """Variance inflation: of each coefficient, and generalised for each term (Fox & Monette 1992).

        GVIF = |R_term| |R_rest| / |R|, R the correlation matrix of the coefficients without the intercept; `scaled` is
        GVIF^(1 / (2 m)), comparable between terms of m columns.
        """
        keep = self._moderator_columns()
        sd = np.sqrt(np.diag(self.cov)[keep])
        if not (sd > 0).all():  # the model leaves no variance to inflate
            r = np.full((len(keep), len(keep)), np.nan)
        else:
            r = self.cov[np.ix_(keep, keep)] / np.outer(sd, sd)
        position = {column: i for i, column in enumerate(keep)}
        groups = {self.names[j]: [position[j]] for j in keep}
        for term, columns in self.design.terms.items():
            if len(columns) > 1:
                groups[term] = [position[j] for j in columns]
        rows = {}
        for name, inside in groups.items():
            rest = [i for i in range(len(keep)) if i not in inside]
            inner, outer = r[np.ix_(inside, inside)], r[np.ix_(rest, rest)]
            with np.errstate(invalid="ignore"):
                value = float(np.linalg.det(inner) * np.linalg.det(outer) / np.linalg.det(r))
            rows[name] = (value, len(inside), value ** (1 / (2 * len(inside))))
        return pd.DataFrame.from_dict(rows, orient="index", columns=["gvif", "columns", "scaled"]).rename_axis("term")

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row per term, in the columns of every result table."""
        table = self._coefficient_rows(np.eye(len(self.beta)), level).set_axis(pd.Index(self.names, name="term"))
        return table.reindex(columns=list(RESULT_COLUMNS))

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        kind = "Fixed-effect" if self.method == "FE" else f"Mixed-effects ({self.method})"
        statistic, m, dof, p = self._omnibus
        letter = f"QM({m:g})" if np.isinf(dof) else f"F({m:g}, {dof:g})"
        table = self.coefficients[["estimate", "se", "statistic", "p_value", "ci_low", "ci_high"]]
        lines = [
            f"{kind} meta-regression on {self.formula}, test {self.test}: k = {from_studies(self.k, self.n_studies)}",
            table_text(table),
            f"moderators: {letter} = {statistic:.3f}, {p_text(p, 4)}",
            f"residual: QE({self.QE_df}) = {self.QE:.3f}, {p_text(self.QE_p, 4)}, tau2 = {self.tau2:.4f}, "
            f"I2 = {self.I2:.1f}%, R2 = {self.R2:.1f}%",
        ]
        lines += [f"{factor}: compared with {level}" for factor, level in self.design.reference_levels.items()]
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        scale = scale_of(self.measure)
        lines += [f"(coefficients: {scale})" if scale else "", self.caution]
        return "\n".join(filter(None, lines))
