"""Moderators of the effect: meta-regression and subgroups."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.errors import DataError
from metamiq.pooling import batch, heterogeneity, tau2
from metamiq.pooling.design import Design, design_matrix
from metamiq.pooling.heterogeneity import Interval
from metamiq.pooling.models import source_of
from metamiq.pooling.records import RESULT_COLUMNS, Source, frozen_copy
from metamiq.pooling.wls import Array, Tables, tables
from metamiq.tails import chi2_sf, critical_value, f_sf, two_sided_p


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MetaRegression:
    """Coefficients of moderators, with the choices and the rows that produced them."""

    beta: Array
    cov: Array
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

    @property
    def names(self) -> tuple[str, ...]:
        """One name per coefficient."""
        return self.design.names

    @property
    def formula(self) -> str:
        """The right-hand side of the model."""
        return self.design.formula

    @property
    def effects(self) -> pd.DataFrame:
        """What was fitted, in input order."""
        return self.source.table()

    @property
    def measure(self) -> str | None:
        """The effect measure, where the table records it."""
        return self.source.measure

    @property
    def k(self) -> int:
        """Effect sizes used."""
        return len(self.source.yi)

    @property
    def n_studies(self) -> int:
        """Studies used."""
        return self.source.n_studies

    def tables(self) -> Tables:
        """The arrays behind the fit."""
        return tables(self.source.yi, self.source.vi, self.design.X)

    def _coefficient_rows(self, L: Array, level: float | None = None) -> pd.DataFrame:
        level = self.level if level is None else level
        estimate = L @ self.beta
        se = np.sqrt(np.einsum("ip,pq,iq->i", L, self.cov, L))
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = estimate / se
        half = critical_value(level, self.dof) * se
        return pd.DataFrame(
            {
                "estimate": estimate,
                "se": se,
                "statistic": statistic,
                "dof": np.inf if self.dof is None else self.dof,
                "p_value": two_sided_p(statistic, self.dof),
                "ci_low": estimate - half,
                "ci_high": estimate + half,
            }
        )

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
        >>> statistic, m, dof, p = meta_regression(es, "dose").wald_test([[0, 1]])
        >>> print(f"F({m:g}, {dof:g}) = {statistic:.2f}, p = {p:.4f}")
        F(1, 3) = 44.49, p = 0.0069
        """
        contrast = np.atleast_2d(np.asarray(L, dtype=float))
        if contrast.shape[1] != len(self.beta):
            raise ValueError(
                f"A contrast must have {len(self.beta)} columns, one per coefficient, not {contrast.shape[1]}."
            )
        m = int(np.linalg.matrix_rank(contrast))
        if m < len(contrast):
            raise ValueError("The rows of a contrast must be linearly independent.")
        value = contrast @ self.beta
        statistic = float(value @ np.linalg.solve(contrast @ self.cov @ contrast.T, value))
        if self.dof is None:
            return statistic, m, np.inf, float(chi2_sf(statistic, m))
        return statistic / m, m, self.dof, float(f_sf(statistic / m, m, self.dof))

    def contrast(self, L: ArrayLike, level: float | None = None) -> pd.DataFrame:
        """Linear combinations L beta of the coefficients, one row each."""
        return self._coefficient_rows(np.atleast_2d(np.asarray(L, dtype=float)), level)

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
    def QE_df(self) -> int:
        """Residual degrees of freedom, k - p."""
        return self.k - len(self.beta)

    @property
    def QE_p(self) -> float:
        """p-value of residual heterogeneity."""
        return float(chi2_sf(self.QE, self.QE_df))

    @property
    def R2(self) -> float:
        """Percent of tau2 that the moderators take away, at least 0; NaN when there was none, or for method "FE"."""
        if self.method == "FE" or not self.tau2_without > 0:
            return np.nan
        return float(max(0.0, 100.0 * (self.tau2_without - self.tau2) / self.tau2_without))

    @property
    def I2(self) -> float:
        """Percent of the residual variation that is between studies."""
        if self.method == "FE":
            return float(heterogeneity.i2_from_q(self.QE, self.QE_df))
        return float(heterogeneity.i2_from_tau2(self.tau2, heterogeneity.typical_variance(self.tables()))[0])

    @property
    def H2(self) -> float:
        """Residual over sampling variation."""
        if self.method == "FE":
            return self.QE / self.QE_df if self.QE_df else np.nan
        return float(heterogeneity.h2_from_tau2(self.tau2, heterogeneity.typical_variance(self.tables()))[0])

    @property
    def tau2_se(self) -> float:
        """Standard error of tau2."""
        if self.method == "FE" or np.isnan(self.tau2):
            return np.nan
        return float(tau2.standard_error(self.tables(), self.method, np.array([self.tau2]))[0])

    @property
    def loglik(self) -> float:
        """Log-likelihood: restricted for REML, else the full one."""
        return float(tau2.loglik(self.tables(), np.array([self.tau2]), "REML" if self.method == "REML" else "ML")[0])

    def tau2_ci(self, level: float | None = None, method: str = "QP") -> Interval:
        """Interval of the residual tau2: "QP", "PL" or "GENQ"."""
        return heterogeneity.tau2_interval(
            self.source.yi,
            self.source.vi,
            self.design.X,
            level=self.level if level is None else level,
            interval=method,
            method=self.method,
        )

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
            f"{kind} meta-regression on {self.formula}, test {self.test}: k = {self.k} effect sizes from "
            f"{self.n_studies} studies",
            table.to_string(float_format=lambda x: f"{x:.4f}"),
            f"moderators: {letter} = {statistic:.3f}, p = {p:.4f}",
            f"residual: QE({self.QE_df}) = {self.QE:.3f}, p = {self.QE_p:.4f}, tau2 = {self.tau2:.4f}, "
            f"I2 = {self.I2:.1f}%, R2 = {self.R2:.1f}%",
        ]
        lines += [f"{factor}: compared with {level}" for factor, level in self.design.reference_levels.items()]
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        return "\n".join(lines)


def meta_regression(
    effects: pd.DataFrame, formula: str, *, method: str = "REML", test: str = "knha", level: float = 0.95
) -> MetaRegression:
    r"""Mixed-effects meta-regression: :math:`y_i \sim N(x_i'\beta, v_i + \tau^2)`.

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi`, the moderators, and `study` (or `trial_id`) where there is one.
    formula : str
        Moderators, right-hand side only: ``"disorder + mi_sessions"``. Text columns are factors compared with their
        first level in sorted order; see `metamiq.pooling.design.design_matrix`.
    method, test, level : str, str, float
        As in `random_effects`; "knha" refers coefficients to t(k - p) and the omnibus test to F.

    Returns
    -------
    MetaRegression
        Rows without a moderator are left out and named in `omitted`.

    Raises
    ------
    DataError
        If columns are not linearly independent, or fewer than p + 1 rows remain.

    References
    ----------
    Knapp & Hartung (2003) for "knha"; Viechtbauer (2005); Raudenbush (2009), R2.

    Examples
    --------
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3]})
    >>> reg = meta_regression(es, "dose")
    >>> print(f"{reg.coefficients.loc['dose', 'estimate']:.3f}, p = {reg.QM_p:.4f}")
    0.231, p = 0.0069
    """
    batch.check_choices(method, test, level)
    source_of(effects, None, None)  # yi and vi checked on the whole table, so that no fault hides behind a moderator
    design = design_matrix(formula, effects)
    used, t0 = source_of(effects.iloc[design.rows], None, None)
    p = len(design.names)
    if len(design.rows) <= p:
        raise DataError(
            f"A model with {p} coefficients needs at least {p + 1} effect sizes with every moderator, but "
            f"{len(design.rows)} have {formula!r}. Use fewer moderators."
        )
    t = tables(used.yi, used.vi, design.X)
    c = batch.core(t, method, test)
    without = 0.0 if method == "FE" else float(tau2.estimate(t0, method)[0])
    labels = source_of(effects, None, None)[0].labels()
    return MetaRegression(
        beta=frozen_copy(c.beta[0]),
        cov=frozen_copy(c.cov[0]),
        dof=None if test == "z" else float(c.dof[0]),
        tau2=float(c.tau2[0]),
        tau2_without=without,
        QE=float(c.Q[0]),
        method=method,
        test=test,
        level=level,
        source=used,
        design=design,
        omitted=tuple(labels[i] for i in design.omitted),
    )


def screen_moderators(
    effects: pd.DataFrame,
    moderators: list[str],
    *,
    method: str = "REML",
    test: str = "knha",
    adjust: str = "holm",
) -> pd.DataFrame:
    """One meta-regression per moderator, with p-values adjusted for their number.

    Parameters
    ----------
    effects, method, test
        As in `meta_regression`.
    moderators : list of str
        Formulas, each fitted alone.
    adjust : str
        A method of `statsmodels.stats.multitest.multipletests`: "holm", "bonferroni", "fdr_bh" ...

    Returns
    -------
    DataFrame
        One row per moderator: k, QM, QM_df, p_value, p_adjusted, R2, tau2.

    Examples
    --------
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3], "year": [2001, 2009, 2004, 2012, 2005]})
    >>> table = screen_moderators(es, ["dose", "year"])
    >>> print([f"{p:.3f}" for p in table["p_adjusted"]])
    ['0.014', '0.837']
    """
    from statsmodels.stats.multitest import multipletests

    if not moderators:
        raise ValueError("Give at least one moderator.")
    rows = []
    for formula in moderators:
        reg = meta_regression(effects, formula, method=method, test=test)
        rows.append((reg.k, reg.QM, reg.QM_df, reg.QM_p, reg.R2, reg.tau2))
    table = pd.DataFrame(
        rows, columns=["k", "QM", "QM_df", "p_value", "R2", "tau2"], index=pd.Index(moderators, name="moderator")
    )
    table.insert(4, "p_adjusted", multipletests(table["p_value"], method=adjust)[1])
    return table
