"""The record of a fit to points and bounds, with its profile likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.effects.trials import bounds_statement
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import bounded_profile as profiles
from metamiq.pooling import bounded_search as search
from metamiq.pooling.bounded_likelihood import Rows, derivatives, row_terms
from metamiq.pooling.design import Design
from metamiq.pooling.heterogeneity import h2_from_tau2, i2_from_tau2
from metamiq.pooling.interval import Interval, WithPrediction
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.wls import Array, fit, tables
from metamiq.tails import chi2_sf, critical_value, two_sided_p
from metamiq.wording import count, one_line, p_text, table_text


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BoundedFit(WithPrediction):
    """Mean (or moderator coefficients) and tau2 of points and bounds, by maximum likelihood.

    Intervals are profile-likelihood intervals and tests likelihood-ratio tests. The statistic of one coefficient is
    the signed root of its likelihood ratio, referred to the normal distribution.
    """

    beta: Array
    tau2: float
    loglik: float
    names: tuple[str, ...]
    level: float
    is_point: NDArray[np.bool_]
    omitted: tuple[str, ...]  # trials whose moderator is unknown
    rows: Rows = field(repr=False)
    design: Design | None = field(repr=False)
    frame: pd.DataFrame = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    method: str = "ML"
    test: str = "LR"
    dof: None = None  # likelihood-ratio roots are referred to the normal
    _memory: dict[tuple[object, ...], Any] = field(default_factory=dict, repr=False, init=False)  # profiles, once each

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def effects(self) -> pd.DataFrame:
        """The rows used, in input order."""
        return self.frame.copy(deep=False)

    @property
    def measure(self) -> str | None:
        """The effect measure, where the table records it."""
        return self.frame.attrs.get("measure")

    @property
    def k(self) -> int:
        """Rows used: points and bounds."""
        return len(self.is_point)

    @property
    def k_points(self) -> int:
        """Rows that are effect sizes."""
        return int(self.is_point.sum())

    @property
    def k_bounds(self) -> int:
        """Rows that are bounds."""
        return int((~self.is_point).sum())

    @property
    def n_studies(self) -> int:
        """Distinct trials among the rows."""
        return len(set(self.labels))

    @property
    def basis(self) -> str:
        """One line on what the bounds rest on."""
        if {"kind", "n_source", "domain"} <= set(self.frame.columns):
            return bounds_statement(self.frame)
        return f"{self.k_bounds} of {self.k} rows are bounds, as given in yi_low and yi_high."

    def _remember(self, key: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]

    def _theta(self) -> Array:
        return np.append(self.beta, self.tau2)[None]

    def _information(self) -> Array:
        return np.asarray(self._remember(("information",), lambda: -derivatives(self.rows, self._theta()).h[0]))

    @property
    def cov(self) -> Array:
        """Covariance of the coefficients from the observed information; tau2 is held when it is 0."""
        p = len(self.beta)
        q = p + (self.tau2 > 0)
        return np.asarray(np.linalg.inv(self._information()[:q, :q])[:p, :p])

    @property
    def _coefficient_se(self) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(np.diag(self.cov)))

    @property
    def tau2_se(self) -> float:
        """Standard error of tau2 from the observed information; NaN when tau2 is 0."""
        if self.tau2 == 0:
            return np.nan
        return float(np.sqrt(np.linalg.inv(self._information())[-1, -1]))

    def _only_mean(self, what: str) -> None:
        if len(self.beta) != 1:
            raise DataError(f"A model with moderators has no single {what}; read coefficients or predict(frame).")

    @property
    def estimate(self) -> float:
        """The mean; for a model with moderators read `coefficients`."""
        self._only_mean("estimate")
        return float(self.beta[0])

    @property
    def se(self) -> float:
        """Standard error of the mean, from the observed information."""
        self._only_mean("se")
        return float(self._coefficient_se[0])

    @property
    def statistic(self) -> float:
        """Signed root of the likelihood ratio of mean = 0."""
        self._only_mean("statistic")
        return float(self._remember(("roots",), lambda: self._signed_roots(np.eye(1)))[0])

    @property
    def p_value(self) -> float:
        """Likelihood-ratio p-value of the mean being 0."""
        return float(two_sided_p(self.statistic))

    def likelihood_ratio(self, value: float) -> float:
        """Likelihood-ratio p-value of the mean being `value`."""
        self._only_mean("mean")
        found = profiles.profile(self.rows, self._theta(), 0, np.array([float(value)]))
        return float(chi2_sf(max(2 * (self.loglik - float(found.f[0])), 0.0), 1))

    def _rotated(self, contrasts: Array) -> tuple[Rows, Array]:
        """One table per contrast, in coordinates whose first one is contrast'beta, and its maximum."""
        x = self.rows.x
        if x is None:
            return self.rows.take(np.zeros(len(contrasts), dtype=np.intp)), np.repeat(
                self._theta(), len(contrasts), axis=0
            )
        turned, theta = [], []
        for contrast in contrasts:
            _, _, vt = np.linalg.svd(contrast[None] / np.linalg.norm(contrast))
            forward = np.vstack([contrast, vt[1:]])
            turned.append(x[0] @ np.linalg.inv(forward))
            theta.append(np.append(forward @ self.beta, self.tau2))
        return self.rows._replace(x=np.array(turned), size=len(contrasts)), np.array(theta)

    def _signed_roots(self, contrasts: Array) -> Array:
        rows, theta = self._rotated(contrasts)
        drop = np.maximum(self.loglik - profiles.profile(rows, theta, 0, np.zeros(len(contrasts))).f, 0.0)
        return np.asarray(np.sign(theta[:, 0]) * np.sqrt(2 * drop))

    def _profile_intervals(self, contrasts: Array, level: float) -> list[Interval]:
        rows, theta = self._rotated(contrasts)
        with np.errstate(invalid="ignore"):
            se = np.sqrt(((contrasts @ self.cov) * contrasts).sum(axis=1))
        first = np.where(np.isfinite(se) & (se > 0), se, 0.1) * float(critical_value(level))
        f = np.full(len(contrasts), self.loglik)
        ends = profiles.profile_ends(rows, theta, f, 0, profiles.interval_drop(level), first)
        if np.isnan(ends).any():
            raise ConvergenceError("The profile likelihood must be found on both sides of an estimate, but it was not.")
        return [Interval(float(low), float(high)) for low, high in ends]

    def ci(self, level: float | None = None) -> Interval:
        """Profile-likelihood interval of the mean; an end may be infinite when nothing bounds it there."""
        self._only_mean("interval")
        level = self.level if level is None else level
        ends: Interval = self._remember(("ci", level), lambda: self._profile_intervals(np.eye(1), level)[0])
        return ends

    def pi(self, level: float | None = None) -> Interval:
        """Prediction interval: mean +- z sqrt(se^2 + tau2); like all ML intervals too narrow with few rows."""
        self._only_mean("prediction")
        half = float(critical_value(self.level if level is None else level)) * float(np.sqrt(self.se**2 + self.tau2))
        return Interval(self.estimate - half, self.estimate + half)

    def tau2_ci(self, level: float | None = None) -> Interval:
        """Profile-likelihood interval of tau2; an end may be infinite when only one-sided bounds are there."""
        drop = profiles.interval_drop(self.level if level is None else level)
        first = 2 * self.tau2 if self.tau2 > 0 else 0.01
        ends = profiles.profile_ends(
            self.rows, self._theta(), np.array([self.loglik]), -1, drop, np.array([first]), floor=0.0
        )
        if np.isnan(ends).any():
            raise ConvergenceError("The profile likelihood of tau2 must be found on both sides, but it was not.")
        return Interval(float(ends[0, 0]), float(ends[0, 1]))

    def _sampling_variances(self) -> Array:
        out = np.empty(self.k)
        out[self.is_point] = self.rows.v[0]
        x = np.ones((self.k, 1)) if self.rows.x is None else self.rows.x[0]
        mu = x[self.k_points :] @ self.beta
        out[~self.is_point] = self.rows.base[0] + mu**2 / (2 * self.rows.total[0])
        return out

    def _typical_variance(self) -> float:
        if self.k <= len(self.beta):
            return np.nan
        x = None
        if self.rows.x is not None:
            x = np.empty((self.k, len(self.beta)))
            x[self.is_point], x[~self.is_point] = np.split(self.rows.x[0], [self.k_points])
        t = tables(np.zeros(self.k), self._sampling_variances(), x)
        return float(t.dof[0] / fit(t, 1.0 / t.vi).trP()[0])

    @property
    def I2(self) -> float:
        """Percent of variation between trials; a bound counts with the variance its estimate would have had."""
        return float(i2_from_tau2(self.tau2, self._typical_variance()))

    @property
    def H2(self) -> float:
        """(tau2 + s2) / s2 with the typical variance s2 of points and bounds."""
        return float(h2_from_tau2(self.tau2, self._typical_variance()))

    @property
    def tau2_p(self) -> float:
        """Likelihood-ratio p-value of tau2 = 0, half of chi-squared(1): 0 lies on the edge (Self & Liang 1987)."""
        found = profiles.profile(self.rows, self._theta(), -1, np.zeros(1))
        drop = 2 * (self.loglik - float(found.f[0]))
        return 1.0 if drop <= 0 else 0.5 * float(chi2_sf(drop, 1))

    @property
    def Q(self) -> float:
        """NaN: Cochran's Q needs an estimate from every row; see `tau2_p` for a test of heterogeneity."""
        return np.nan

    @property
    def Q_df(self) -> int:
        """k - 1."""
        return self.k - 1

    @property
    def Q_p(self) -> float:
        """NaN, as Q."""
        return np.nan

    @property
    def weights(self) -> Array:
        """Share of each row in the observed information on its own mean; they sum to 1.

        For a point that is 1 / (vi + tau2). A bound that the mean already satisfies tells little, and weighs little.
        """
        information = np.maximum(-row_terms(self.rows, self._theta())[3, 0], 0.0)
        out = np.empty(self.k)
        out[self.is_point], out[~self.is_point] = np.split(information, [self.k_points])
        return np.asarray(out / out.sum())

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per coefficient, with profile-likelihood intervals and likelihood-ratio tests."""
        return self._coefficients(self.level).copy()

    def _coefficients(self, level: float) -> pd.DataFrame:
        def compute() -> pd.DataFrame:
            contrasts = np.eye(len(self.beta))
            roots = self._remember(("roots",), lambda: self._signed_roots(contrasts))
            ends = np.array(self._profile_intervals(contrasts, level))
            columns = [self.beta, self._coefficient_se, roots, np.full(len(roots), np.inf), two_sided_p(roots), *ends.T]
            return pd.DataFrame(
                dict(zip(RESULT_COLUMNS, columns, strict=False)), index=pd.Index(self.names, name="term")
            )

        table: pd.DataFrame = self._remember(("coefficients", level), compute)
        return table

    @property
    def term_tests(self) -> pd.DataFrame:
        """Likelihood-ratio test of each term of the formula: chi-squared with as many dof as it has columns."""
        if self.design is None:
            return pd.DataFrame(columns=["statistic", "dof", "p_value"], index=pd.Index([], name="term"))
        terms = self.design.terms

        def compute() -> pd.DataFrame:
            out = {}
            for term, columns in terms.items():
                reduced = self.rows.columns([j for j in range(len(self.beta)) if j not in columns])
                found = search.global_maximum(reduced)
                search.require(found, f"the model without {term}")
                statistic = max(2 * (self.loglik - float(found.f[0])), 0.0)
                out[term] = (statistic, len(columns), float(chi2_sf(statistic, len(columns))))
            table = pd.DataFrame.from_dict(out, orient="index", columns=["statistic", "dof", "p_value"])
            return table.rename_axis("term")

        return pd.DataFrame(self._remember(("terms",), compute)).copy()

    def predict(self, frame: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
        """Model mean for each row of `frame`, with profile-likelihood intervals."""
        if self.design is None:
            raise DataError("A model without moderators predicts its one mean; read estimate and pi.")
        level = self.level if level is None else level
        x = self.design.new_rows(frame)
        out = np.full((len(x), 4), np.nan)
        known = ~np.isnan(x).any(axis=1)
        if known.any():
            x = x[known]
            out[known, 0] = x @ self.beta
            out[known, 1] = np.sqrt(((x @ self.cov) * x).sum(axis=1))
            out[known, 2:] = self._profile_intervals(x, level)
        return pd.DataFrame(out, columns=["estimate", "se", "ci_low", "ci_high"], index=frame.index)

    def group_means(self, level: float | None = None) -> pd.DataFrame:
        """Mean of each level of a single categorical moderator, with k (points + bounds)."""
        name = "" if self.design is None else self.design.formula
        if self.design is None or name not in self.design.reference_levels:
            raise DataError("group_means needs a model with one categorical moderator, such as moderators='disorder'.")
        groups = self.frame[name].astype(str)
        levels = sorted(groups.unique())
        out = self.predict(pd.DataFrame({name: levels}), level)
        out.index = pd.Index(levels, name=name)
        out["k_points"] = [int((groups.to_numpy() == g)[self.is_point].sum()) for g in levels]
        out["k_bounds"] = [int((groups.to_numpy() == g)[~self.is_point].sum()) for g in levels]
        return out

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row for a mean, one row per term with moderators, in the columns of every result table."""
        if self.design is not None:
            table = self._coefficients(self.level if level is None else level)
            return table.reindex(columns=list(RESULT_COLUMNS))
        ci, pi = self.ci(level), self.pi(level)
        row = (self.estimate, self.se, self.statistic, np.inf, self.p_value, ci.low, ci.high, pi.low, pi.high)
        return pd.DataFrame([row], columns=list(RESULT_COLUMNS), index=pd.Index(["mean"], name="term"))

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        percent = f"{100 * self.level:g}%"
        lines = [
            f"Random-effects model of points and bounds (maximum likelihood): k = {self.k} "
            f"({count(self.k_points, 'point')}, {count(self.k_bounds, 'bound')}) from {self.n_studies} studies"
        ]
        if self.design is None:
            ci, pi = self.ci(), self.pi()
            lines += [
                f"mean {self.estimate:.4f}, {percent} profile-likelihood CI {ci.low:.4f} to {ci.high:.4f}, "
                f"likelihood-ratio {p_text(self.p_value, 4)}",
                f"{percent} prediction interval {pi.low:.4f} to {pi.high:.4f}",
            ]
        else:
            table = self.coefficients[["estimate", "se", "ci_low", "ci_high", "p_value"]]
            lines.append(table_text(table))
            for term, row in self.term_tests.iterrows():
                chi2 = f"chi2({row['dof']:.0f}) = {row['statistic']:.3f}"
                lines.append(f"{term}: likelihood-ratio {chi2}, {p_text(row['p_value'], 4)}")
            for factor, reference in self.design.reference_levels.items():
                lines.append(f"{factor}: compared with {reference}")
        lines.append(f"tau2 = {self.tau2:.4f} (tau = {np.sqrt(self.tau2):.4f}), I2 = {self.I2:.1f}%")
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        lines.append(self.basis)
        return "\n".join(lines)
