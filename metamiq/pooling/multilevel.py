"""Dependent effects: three-level and correlated-and-hierarchical-effects models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.clustered import Array, BlockCovariance, ClusteredModel, Clusters, Index
from metamiq.pooling.components import NAMES, Components, maximise, profile_interval
from metamiq.pooling.correlated import correlated_effects
from metamiq.pooling.design import Design, design_matrix
from metamiq.pooling.heterogeneity import Interval
from metamiq.pooling.models import source_of
from metamiq.pooling.records import RESULT_COLUMNS, Source, frozen_copy
from metamiq.pooling.robust import RobustFit, WaldTest, WorkingModel, check_type, cluster_codes, robust_of, wald_test
from metamiq.tails import chi2_sf, critical_value, f_sf, two_sided_p

STRUCTURES = ("three-level", "che", "ce")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultilevelFit:
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

    @property
    def k(self) -> int:
        """Effect sizes used."""
        return len(self.source.yi)

    @property
    def effects(self) -> pd.DataFrame:
        """What was fitted, in input order."""
        return self.source.table()

    @property
    def measure(self) -> str | None:
        """The effect measure, where the table records it."""
        return self.source.measure

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
        """Profile likelihood interval of each variance component; ci_high is infinite where the data set no bound.

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
    def QE_df(self) -> int:
        """Residual degrees of freedom, k - p."""
        return self.k - len(self.beta)

    @property
    def QE_p(self) -> float:
        """p-value of residual heterogeneity under the sampling covariance; NaN for "ce"."""
        return np.nan if self.structure == "ce" else float(chi2_sf(self.QE, self.QE_df))

    @property
    def parameters(self) -> int:
        """Coefficients and variance components estimated."""
        return len(self.beta) + 2

    @property
    def AIC(self) -> float:
        """-2 loglik + 2 parameters; compare REML values only between models with the same coefficients."""
        return -2.0 * self.loglik + 2.0 * self.parameters

    @property
    def BIC(self) -> float:
        """-2 loglik + log(n) parameters, n = k for ML and k - p for REML."""
        n = self.QE_df if self.method == "REML" else self.k
        return float(-2.0 * self.loglik + np.log(n) * self.parameters)

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
        dof = None if self.test == "z" else float(self.QE_df)
        estimate = matrix @ self.beta
        se = np.sqrt(np.einsum("ip,pq,iq->i", matrix, self.model_cov, matrix))
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = estimate / se
        half = critical_value(level, dof) * se
        return pd.DataFrame(
            {
                "estimate": estimate,
                "se": se,
                "statistic": statistic,
                "dof": np.inf if dof is None else dof,
                "p_value": two_sided_p(statistic, dof),
                "ci_low": estimate - half,
                "ci_high": estimate + half,
            }
        )

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
    def ci_low(self) -> float:
        """Lower end of the confidence interval."""
        return self.ci().low

    @property
    def ci_high(self) -> float:
        """Upper end of the confidence interval."""
        return self.ci().high

    @property
    def pi_low(self) -> float:
        """Lower end of the prediction interval."""
        return self.pi().low

    @property
    def pi_high(self) -> float:
        """Upper end of the prediction interval."""
        return self.pi().high

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
            _working_covariance(self.structure, self.model, self.sigma2_values),
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
            self.coefficients.to_string(float_format=lambda x: f"{x:.4f}"),
        ]
        if self.design is None:
            low, high = self.pi()
            lines.append(f"{100 * self.level:g}% prediction interval {low:.4f} to {high:.4f}")
        else:
            t = self._omnibus()
            letter = f"QM({t.dof1})" if np.isinf(t.dof2) else f"F({t.dof1}, {t.dof2:.2f})"
            lines.append(f"moderators: {letter} = {t.statistic:.3f}, p = {t.p_value:.4f}")
        between, within = self.I2_by_level
        lines.append(f"between clusters: sigma2 = {self.sigma2_values[0]:.4f}, I2 = {between:.1f}%")
        if self.structure != "ce":
            lines.append(f"within clusters: sigma2 = {self.sigma2_values[1]:.4f}, I2 = {within:.1f}%")
            lines.append(f"QE({self.QE_df}) = {self.QE:.3f}, p = {self.QE_p:.4f}, log-likelihood {self.loglik:.4f}")
        if self.design is not None:
            lines += [f"{factor}: compared with {level}" for factor, level in self.design.reference_levels.items()]
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        return "\n".join(lines)


def _working_covariance(structure: str, model: ClusteredModel, sigma2: tuple[float, float]) -> BlockCovariance:
    if structure != "ce":
        return BlockCovariance(model.clusters, *sigma2)
    c = model.clusters
    working = correlated_effects(model.y, model.Q, c).working_variance
    return BlockCovariance(Clusters(working, c.code, c.starts, 0.0), 0.0, 0.0)


def _check_identified(X: Array, clusters: Clusters, cluster: str) -> None:
    """Raise DataError unless the data can tell the two variance components apart."""
    k, p = X.shape
    c = len(clusters.starts)
    inside = 0
    if p > 1:
        n = np.diff(np.append(clusters.starts, k))
        centred = X - (clusters.total(X) / n[:, None])[clusters.code]
        # Against the column's own size: rounding leaves 1e-16 of a column that is constant within clusters.
        inside = int(np.linalg.matrix_rank(centred / np.sqrt((X**2).sum(axis=0)), tol=1e-9))
    if c + inside == k:
        why = "every cluster has one effect" if c == k else "the moderators use up what varies within clusters"
        raise DataError(
            f"Some clusters must have several effects for a variance within clusters, but in the {c} clusters of "
            f"{cluster!r} {why}. Use metamiq.random_effects or meta_regression."
        )
    if c + inside == p:
        why = "there is one cluster" if c == 1 else f"the {p} coefficients use up the {c} clusters"
        raise DataError(
            f"There must be more clusters than coefficients that vary between them for a variance between clusters, but "
            f"{why} of {cluster!r}. Use fewer moderators, or metamiq.random_effects or meta_regression."
        )


def _check_arguments(structure: str, rho: float, method: str, test: str, robust: str | None, level: float) -> None:
    batch.check_choices("REML", "z", level)
    for name, value, allowed in (
        ("structure", structure, STRUCTURES),
        ("method", method, ("ML", "REML")),
        ("test", test, ("t", "z")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}.")
    if robust is not None:
        check_type(robust)
    if not 0.0 <= rho < 1.0:
        raise ValueError(f"rho must be at least 0 and below 1, not {rho!r}.")
    if structure == "ce" and method == "ML":
        raise ValueError("Structure 'ce' estimates tau2 by moments, not by ML; leave method out.")


def multilevel(
    effects: pd.DataFrame,
    cluster: str = "study",
    *,
    rho: float = 0.6,
    structure: str = "three-level",
    moderators: str | None = None,
    method: str = "REML",
    test: str = "z",
    robust: str | None = None,
    level: float = 0.95,
) -> MultilevelFit:
    r"""Mean or regression of effects of which several come from one cluster (study, sample, laboratory).

    .. math:: y_{ij} = x_{ij}'\beta + b_i + w_{ij} + e_{ij}, \quad b_i \sim N(0, \sigma^2_b),\;
        w_{ij} \sim N(0, \sigma^2_w),\; \mathrm{Var}(e_{ij}) = v_{ij}

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi` (> 0), the cluster column and the moderators, one effect per row.
    cluster : str
        Column that says which effects belong together.
    rho : float
        Correlation of the sampling errors e within a cluster, 0 <= rho < 1, for "che" and "ce". Not estimated: try
        several values.
    structure : {"three-level", "che", "ce"}
        Independent e; e correlated by rho (correlated and hierarchical effects); the correlated-effects model of
        Hedges, Tipton & Johnson, with tau2 by moments, simple working weights and always a robust variance (CR2
        unless `robust` says otherwise).
    moderators : str, optional
        Formula, right-hand side only; see `metamiq.pooling.design.design_matrix`.
    method : {"REML", "ML"}
        How the two variances are estimated. Not used by "ce".
    test : {"z", "t"}
        Reference distribution without a robust variance: normal, or t(k - p).
    robust : {"CR0", "CR1", "CR1p", "CR2"}, optional
        Cluster-robust variance, with this model as working model; see `metamiq.robust`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    MultilevelFit
        `coefficients`, `sigma2`, `sigma2_ci()`, `I2`, `I2_by_level`, `ICC`, `predict` and more; without moderators also
        `estimate`, `se`, `ci()`, `pi()` of the mean.

    Raises
    ------
    DataError
        If a column is missing or incomplete, or if the data cannot tell the variance components apart: one cluster,
        or one effect in every cluster.
    ConvergenceError
        If the likelihood cannot be maximised.

    References
    ----------
    Konstantopoulos (2011) and Cheung (2014), three-level; Pustejovsky & Tipton (2022), correlated and hierarchical
    effects; Hedges, Tipton & Johnson (2010), correlated effects. I2 by level follows Cheung (2014) in splitting the
    total by component, with the typical sampling variance (k - p) / tr(P).

    Examples
    --------
    >>> es = pd.DataFrame({"study": ["a", "a", "b", "b", "c", "c", "d", "d"],
    ...                    "yi": [0.1, 0.4, 0.5, 0.8, 0.9, 0.6, 0.0, 0.3], "vi": 0.02})
    >>> fit = multilevel(es, structure="che", rho=0.5, robust="CR2")
    >>> print(f"{fit.estimate:.3f}, SE {fit.se:.3f}, t({fit.dof:.1f}), between {fit.sigma2['cluster']:.3f}")
    0.450, SE 0.147, t(3.0), between 0.054
    """
    _check_arguments(structure, rho, method, test, robust, level)
    source, _ = source_of(effects, None, None)
    if cluster not in effects:
        raise DataError(
            f"cluster must name a column of the effects, but {cluster!r} is not among "
            f"{', '.join(sorted(map(str, effects.columns)))}."
        )
    design: Design | None = None
    omitted: tuple[str, ...] = ()
    if moderators is not None:
        design = design_matrix(moderators, effects)
        if design.names == ("Intercept",):
            design = None
        elif len(design.omitted):
            labels = source.labels()
            omitted = tuple(labels[i] for i in design.omitted)
            effects = effects.iloc[design.rows]
            source, _ = source_of(effects, None, None)
    codes, n_clusters = cluster_codes(effects[cluster], cluster)
    order = np.argsort(codes, kind="stable")
    model, X, rough, inverse_root = _model(source, design, codes[order], order, rho if structure != "three-level" else 0.0)
    _check_identified(X, model.clusters, cluster)
    return _fit(
        model, rough, inverse_root,
        structure=structure, method=method, robust=robust or ("CR2" if structure == "ce" else None),
        about={
            "names": ("Intercept",) if design is None else design.names, "rho": model.clusters.rho, "test": test,
            "level": level, "cluster": cluster, "n_studies": n_clusters, "source": source, "model_order": order,
            "design": design, "omitted": omitted,
        },
    )  # fmt: skip


def _model(
    source: Source, design: Design | None, code: Index, order: Index, rho: float
) -> tuple[ClusteredModel, Array, Array, Array]:
    """The model on an orthonormal basis Q = X R^-1, less a first least-squares fit Q rough; X and R^-1."""
    y, v = source.yi[order], source.vi[order]
    X = np.ones((len(y), 1)) if design is None else design.X[order]
    Q, R = np.linalg.qr(X)
    rough = Q.T @ y
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    return ClusteredModel(y - Q @ rough, Q, Clusters(v, code, starts, rho)), X, rough, np.linalg.inv(R)


def _fit(
    model: ClusteredModel,
    rough: Array,
    inverse_root: Array,
    *,
    structure: str,
    method: str,
    robust: str | None,
    about: dict[str, Any],
) -> MultilevelFit:
    k, p = model.Q.shape
    sampling = model.sums(0.0, 0.0)
    QE, typical = sampling.rss, (k - p) / model.trace_P(sampling)
    if structure == "ce":
        moments = correlated_effects(model.y, model.Q, model.clusters)
        sigma2, loglik, QE = (moments.tau2, np.nan), np.nan, moments.QE
        working = ClusteredModel(
            model.y, model.Q, Clusters(moments.working_variance, model.clusters.code, model.clusters.starts, 0.0)
        )
        final = working.sums(0.0, 0.0)
    else:
        best = maximise(model, method == "REML")
        sigma2, loglik = (float(best.sigma2[0]), float(best.sigma2[1])), best.loglik
        final = model.sums(*sigma2)
    fit = MultilevelFit(
        beta=frozen_copy(inverse_root @ (final.gamma + rough)),
        model_cov=frozen_copy(inverse_root @ final.bread @ inverse_root.T),
        sigma2_values=sigma2,
        loglik=loglik,
        QE=QE,
        typical_variance=typical,
        structure=structure,
        method="moments" if structure == "ce" else method,
        robust=None,
        model=model,
        **about,
    )
    if robust is None:
        return fit
    from dataclasses import replace

    working_model = fit.working_model()
    return replace(fit, robust=robust_of(working_model, working_model.labels, fit.cluster, robust))
