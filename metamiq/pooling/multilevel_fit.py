"""What a multilevel fit is: a frozen record that answers questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.pooling.clustered import Array, BlockCovariance, ClusteredModel, Clusters, Index
from metamiq.pooling.coefficients import WaldTest, WithInformation, coefficient_table
from metamiq.pooling.components import NAMES, Components, profile_interval
from metamiq.pooling.correlated import correlated_effects
from metamiq.pooling.design import Design
from metamiq.pooling.interval import Interval, WithPrediction
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.robust import RobustFit, wald_test
from metamiq.pooling.sandwich import WorkingModel
from metamiq.pooling.source import Source, frozen_copy
from metamiq.tails import chi2_sf, critical_value, f_sf
from metamiq.wording import one_line, p_text, table_text


def working_covariance(structure: str, model: ClusteredModel, sigma2: tuple[float, float]) -> BlockCovariance:
    """Covariance of all effects under the fitted model; for "ce" the diagonal that its weights stand for."""
    if structure != "ce":
        return BlockCovariance(model.clusters, *sigma2)
    c = model.clusters
    working = correlated_effects(model.y, model.Q, c).working_variance
    return BlockCovariance(Clusters(working, c.code, c.starts, 0.0), 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultilevelFit(WithPrediction, WithInformation):
    """Coefficients and variance components of effects within clusters, with the choices that produced them."""

    names: tuple[str, ...]
    beta: Array
    model_cov: Array  # of beta, if the model is right
    sigma2_values: tuple[float, float]
    loglik: float  # NaN for structure "ce", which has no likelihood
    QE: float
    typical_variance: float
    structure: str
    rho: float
    method: str
    test: str
    level: float
    cluster: str
    n_studies: int  # clusters
    source: Source  # the rows used, in input order
    robust: RobustFit | None
    model_order: Index = field(repr=False)  # input rows in the order of the model, sorted by cluster
    model: ClusteredModel = field(repr=False)
    design: Design | None = field(repr=False)
    omitted: tuple[str, ...] = ()  # rows left out because a moderator is missing

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def sigma2(self) -> pd.Series:
        """Variance between clusters ("cluster") and of effects within them ("effect"; NaN for structure "ce")."""
        return pd.Series(self.sigma2_values, index=list(NAMES), name="sigma2", dtype=float)

    @property
    def tau2(self) -> float:
        """Total heterogeneity, the sum of the variance components."""
        return float(np.nansum(self.sigma2_values))

    @property
    def ICC(self) -> float:
        """Share of the heterogeneity that is between clusters, 0 to 1; NaN without heterogeneity and for "ce"."""
        total = sum(self.sigma2_values)
        return self.sigma2_values[0] / total if total > 0 else np.nan

    def sigma2_ci(self, level: float | None = None) -> pd.DataFrame:
        """Profile likelihood interval of each variance component; ci_low is 0 where 0 is not rejected.

        Raises
        ------
        ValueError
            For structure "ce", which has no likelihood.
        """
        if self.structure == "ce":
            raise ValueError("A profile likelihood needs a likelihood, which structure 'ce' has not; use 'che'.")
        level = self.level if level is None else level
        best = Components(np.array(self.sigma2_values), self.loglik)
        reml = self.method == "REML"
        ends = [profile_interval(self.model, best, j, reml, level) for j in (0, 1)]
        table = pd.DataFrame(ends, columns=["ci_low", "ci_high"], index=list(NAMES))
        table.insert(0, "estimate", self.sigma2_values)
        return table

    @property
    def I2(self) -> float:
        """Percent of the variation that is not sampling error, both levels together."""
        if self.structure == "ce":
            return correlated_effects(self.model.y, self.model.Q, self.model.clusters).I2
        return float(100.0 * self.tau2 / (self.tau2 + self.typical_variance))

    @property
    def I2_by_level(self) -> pd.Series:
        """`I2` split into between clusters ("cluster") and within ("effect"), in percent."""
        if self.structure == "ce":
            return pd.Series([self.I2, np.nan], index=list(NAMES), name="I2")
        return (100.0 * self.sigma2 / (self.tau2 + self.typical_variance)).rename("I2")

    @property
    def Q(self) -> float:
        """`QE`, by the name it has in a fit without moderators; so are `Q_df` and `Q_p`."""
        return self.QE

    @property
    def Q_df(self) -> int:
        """`QE_df`."""
        return self.QE_df

    @property
    def Q_p(self) -> float:
        """`QE_p`."""
        return self.QE_p

    @property
    def QE_p(self) -> float:
        """p-value of residual heterogeneity under the sampling covariance; NaN for "ce"."""
        return np.nan if self.structure == "ce" else float(chi2_sf(self.QE, self.QE_df))

    @property
    def H2(self) -> float:
        """Total over sampling variation; 1 without heterogeneity, NaN for "ce"."""
        return np.nan if self.structure == "ce" else float(1.0 + self.tau2 / self.typical_variance)

    @property
    def parameters(self) -> int:
        """Coefficients and variance components estimated."""
        return len(self.beta) + 2

    @property
    def cov(self) -> Array:
        """Covariance of the coefficients: the robust one where there is one, else the model's."""
        return self.model_cov if self.robust is None else self.robust.cov

    def contrast(self, L: ArrayLike, level: float | None = None) -> pd.DataFrame:
        """Linear combinations L beta of the coefficients, one row each."""
        level = self.level if level is None else level
        if self.robust is not None:
            return self.robust.contrast(L, level)
        matrix = np.atleast_2d(np.asarray(L, dtype=float))
        se = np.sqrt(np.einsum("ip,pq,iq->i", matrix, self.model_cov, matrix))
        dof = np.full(len(matrix), np.inf if self.test == "z" else float(self.QE_df))
        return coefficient_table(matrix @ self.beta, se, dof, level)

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per term: estimate, se, statistic, dof, p_value, ci_low, ci_high.

        With a robust variance, se, dof and p_value are the robust ones.
        """
        return self.contrast(np.eye(len(self.beta))).set_axis(pd.Index(self.names, name="term"))

    def _mean(self, level: float | None = None) -> Any:
        if self.design is not None:
            raise AttributeError(
                f"A fit with moderators ({self.design.formula}) has no single mean; read coefficients or use predict."
            )
        return next(self.contrast(np.eye(1), level).itertuples())

    @property
    def estimate(self) -> float:
        """The mean effect; only without moderators, like all that follow from it."""
        return float(self._mean().estimate)

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        return float(self._mean().se)

    @property
    def statistic(self) -> float:
        """estimate / se."""
        return float(self._mean().statistic)

    @property
    def dof(self) -> float | None:
        """Degrees of freedom of the mean's test; None: normal."""
        value = float(self._mean().dof)
        return None if np.isinf(value) else value

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the mean being 0."""
        return float(self._mean().p_value)

    def ci(self, level: float | None = None) -> Interval:
        """Confidence interval of the mean."""
        row = self._mean(level)
        return Interval(float(row.ci_low), float(row.ci_high))

    def pi(self, level: float | None = None) -> Interval:
        """Prediction interval: where the effect of a new cluster lies."""
        row = self._mean(level)
        half = float(critical_value(self.level if level is None else level, row.dof)) * np.hypot(row.se, self.tau2**0.5)
        return Interval(float(row.estimate - half), float(row.estimate + half))

    @property
    def weights(self) -> Array:
        """Share of each effect in the mean, in input order; they sum to 1 and can be negative for "che"."""
        self._mean()
        w = np.empty(self.k)
        w[self.model_order] = self.working_model().covariance.solve(np.ones(self.k))
        return frozen_copy(w / w.sum())

    def _omnibus(self) -> WaldTest:
        columns = [name for name in self.names if name != "Intercept"] or list(self.names)
        if self.robust is not None:
            return wald_test(self.robust, columns, "HTZ" if self.robust.type == "CR2" else "naive-F")
        index = [self.names.index(name) for name in columns]
        value, q = self.beta[index], len(index)
        Q = float(value @ np.linalg.solve(self.model_cov[np.ix_(index, index)], value))
        if self.test == "z":
            return WaldTest(Q, q, np.inf, float(chi2_sf(Q, q)))
        return WaldTest(Q / q, q, float(self.QE_df), float(f_sf(Q / q, q, self.QE_df)))

    @property
    def QM(self) -> float:
        """Omnibus test of the moderators: chi-squared for test "z", F for "t", HTZ's F with CR2."""
        return self._omnibus().statistic

    @property
    def QM_df(self) -> int:
        """Its (numerator) degrees of freedom."""
        return self._omnibus().dof1

    @property
    def QM_p(self) -> float:
        """Its p-value."""
        return self._omnibus().p_value

    def predict(self, frame: pd.DataFrame | None = None, level: float | None = None) -> pd.DataFrame:
        """Mean effect for each row of `frame`, with confidence and prediction intervals; NaN where it is incomplete.

        Without moderators `frame` may be left out, for one row.
        """
        level = self.level if level is None else level
        if self.design is None:
            rows = 1 if frame is None else len(frame)
            x = np.ones((rows, 1))
        elif frame is None:
            raise ValueError(f"Give the rows to predict, with the columns of {self.design.formula!r}.")
        else:
            x = self.design.new_rows(frame)
        table = self.contrast(x, level)
        half = critical_value(level, table["dof"]) * np.sqrt(table["se"] ** 2 + self.tau2)
        table = table[["estimate", "se", "ci_low", "ci_high"]]
        table = table.assign(pi_low=table["estimate"] - half, pi_high=table["estimate"] + half)
        return table if frame is None else table.set_axis(frame.index)

    def working_model(self) -> WorkingModel:
        """The fitted model, rows sorted by cluster, for a robust variance."""
        order = self.model_order
        X = np.ones((self.k, 1)) if self.design is None else self.design.X
        return WorkingModel(
            self.source.yi[order],
            X[order],
            self.names,
            working_covariance(self.structure, self.model, self.sigma2_values),
            self.level,
            self.effects[self.cluster].iloc[order].reset_index(drop=True),
        )

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row per term, in the columns of every result table; the prediction interval without moderators."""
        table = self.contrast(np.eye(len(self.beta)), level).set_axis(pd.Index(self.names, name="term"))
        table = table.reindex(columns=list(RESULT_COLUMNS))
        if self.design is None:
            table[["pi_low", "pi_high"]] = [tuple(self.pi(level))]
        return table

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        kind = {
            "three-level": f"Three-level model ({self.method})",
            "che": f"Correlated and hierarchical effects ({self.method}, rho = {self.rho:g})",
            "ce": f"Correlated effects (moments, rho = {self.rho:g})",
        }[self.structure]
        test = f"test {self.test}" if self.robust is None else f"robust variance {self.robust.type}"
        lines = [
            f"{kind}, {test}: k = {self.k} effect sizes in {self.n_studies} clusters ({self.cluster})",
            table_text(self.coefficients),
        ]
        if self.design is None:
            low, high = self.pi()
            lines.append(f"{100 * self.level:g}% prediction interval {low:.4f} to {high:.4f}")
        else:
            t = self._omnibus()
            letter = f"QM({t.dof1})" if np.isinf(t.dof2) else f"F({t.dof1}, {t.dof2:.2f})"
            lines.append(f"moderators: {letter} = {t.statistic:.3f}, {p_text(t.p_value, 4)}")
        between, within = self.I2_by_level
        lines.append(f"between clusters: sigma2 = {self.sigma2_values[0]:.4f}, I2 = {between:.1f}%")
        if self.structure != "ce":
            lines.append(f"within clusters: sigma2 = {self.sigma2_values[1]:.4f}, I2 = {within:.1f}%")
            lines.append(f"QE({self.QE_df}) = {self.QE:.3f}, {p_text(self.QE_p, 4)}, log-likelihood {self.loglik:.4f}")
        if self.design is not None:
            lines += [f"{factor}: compared with {level}" for factor, level in self.design.reference_levels.items()]
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        if self.robust is not None and self.robust.caution:
            lines.append(self.robust.caution)
        return "\n".join(lines)
