"""The record of a fit to points and bounds, with its profile likelihood."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from metamiq.effects.trials import bounds_statement
from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling import bounded_likelihood as likelihood
from metamiq.pooling.bounded_likelihood import Rows
from metamiq.pooling.design import Design
from metamiq.pooling.heterogeneity import Interval, h2_from_tau2, i2_from_tau2
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.wls import Array, fit, tables
from metamiq.tails import chi2_sf, critical_value, two_sided_p


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BoundedFit:
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

    def _theta(self) -> Array:
        return np.append(self.beta, self.tau2)[None]

    def _free(self) -> NDArray[np.bool_]:
        return np.append(np.ones(len(self.beta), dtype=bool), self.tau2 > 0)

    @property
    def cov(self) -> Array:
        """Covariance of the coefficients from the observed information; tau2 is held when it is 0."""
        free = self._free()
        information = -likelihood.derivatives(self.rows, self._theta()).h[0][np.ix_(free, free)]
        return np.asarray(np.linalg.inv(information)[: len(self.beta), : len(self.beta)])

    @property
    def _coefficient_se(self) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(np.diag(self.cov)))

    @property
    def tau2_se(self) -> float:
        """Standard error of tau2 from the observed information; NaN when tau2 is 0."""
        if self.tau2 == 0:
            return np.nan
        information = -likelihood.derivatives(self.rows, self._theta()).h[0]
        return float(np.sqrt(np.linalg.inv(information)[-1, -1]))

    def _only_mean(self, what: str) -> None:
        if len(self.beta) > 1:
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
        return self._signed_root(np.eye(1)[0])

    @property
    def p_value(self) -> float:
        """Likelihood-ratio p-value of the mean being 0."""
        return float(two_sided_p(self.statistic))

    def likelihood_ratio(self, value: float) -> float:
        """Likelihood-ratio p-value of the mean being `value`."""
        self._only_mean("mean")
        return float(chi2_sf(2 * (self.loglik - self._profile(np.ones(1), value)), 1))

    def _rotated(self, contrast: Array) -> tuple[Rows, Array]:
        """Rows and coefficients in coordinates whose first one is contrast'beta."""
        _, _, vt = np.linalg.svd(contrast[None] / np.linalg.norm(contrast))
        forward = np.vstack([contrast, vt[1:]])
        back = np.linalg.inv(forward)
        r = self.rows
        rotated = r._replace(x_points=r.x_points @ back, x_bounds=r.x_bounds @ back)
        return rotated, forward @ self.beta

    def _profile(self, contrast: Array, value: float, start: Array | None = None) -> float:
        rows, gamma = self._rotated(contrast)
        theta = np.append(gamma, self.tau2) if start is None else start.copy()
        theta[0] = value
        held = np.zeros(len(theta), dtype=bool)
        held[0] = True
        spread = self.tau2 + (value - gamma[0]) ** 2
        # Away from the maximum tau2 grows: search from where it was and from where it may have gone.
        starts = np.array([theta, np.append(theta[:-1], spread)])
        found = likelihood.maximise(rows._replace(size=2), starts, held)
        if not found.ok.any():
            raise ConvergenceError(f"The profile likelihood at {value:g} must have a maximum, but none was found.")
        return float(found.f[found.ok].max())

    def _signed_root(self, contrast: Array) -> float:
        estimate = float(contrast @ self.beta)
        drop = max(self.loglik - self._profile(contrast, 0.0), 0.0)
        return float(np.sign(estimate) * np.sqrt(2 * drop))

    def _profile_interval(self, contrast: Array, level: float) -> Interval:
        estimate = float(contrast @ self.beta)
        drop = float(special.chdtri(1, 1 - level)) / 2
        with np.errstate(invalid="ignore"):
            se = float(np.sqrt(contrast @ self.cov @ contrast))
        first = se if np.isfinite(se) and se > 0 else 0.1
        ends = []
        for side in (-1.0, 1.0):

            def excess(distance: float, side: float = side) -> float:
                return self._profile(contrast, estimate + side * distance) - self.loglik + drop

            step = first * float(critical_value(level))
            inner = 0.0
            for _ in range(60):
                if excess(step) < 0:
                    ends.append(side * float(optimize.brentq(excess, inner, step, xtol=1e-9 * first, rtol=1e-12)))
                    break
                inner, step = step, 1.6 * step
            else:
                ends.append(side * np.inf)  # the likelihood never falls far enough on this side
        return Interval(estimate + ends[0], estimate + ends[1])

    def ci(self, level: float | None = None) -> Interval:
        """Profile-likelihood interval of the mean; an end may be infinite when nothing bounds it there."""
        self._only_mean("interval")
        return self._profile_interval(np.ones(1), self.level if level is None else level)

    def pi(self, level: float | None = None) -> Interval:
        """Prediction interval: mean +- z sqrt(se^2 + tau2); like all ML intervals too narrow with few rows."""
        self._only_mean("prediction")
        half = float(critical_value(self.level if level is None else level)) * float(np.sqrt(self.se**2 + self.tau2))
        return Interval(self.estimate - half, self.estimate + half)

    def tau2_ci(self, level: float | None = None) -> Interval:
        """Profile-likelihood interval of tau2."""
        drop = float(special.chdtri(1, 1 - (self.level if level is None else level))) / 2
        held = np.append(np.zeros(len(self.beta), dtype=bool), True)

        def excess(tau2: float) -> float:
            found = likelihood.maximise(self.rows, np.append(self.beta, tau2)[None], held)
            return float(found.f[0]) - self.loglik + drop if found.ok[0] else -drop

        low = 0.0
        if self.tau2 > 0 and excess(0.0) < 0:
            low = float(optimize.brentq(excess, 0.0, self.tau2, xtol=1e-12, rtol=1e-12))
        high = max(2 * self.tau2, 0.01)
        for _ in range(60):
            if excess(high) < 0:
                return Interval(low, float(optimize.brentq(excess, self.tau2, high, xtol=1e-12, rtol=1e-12)))
            high *= 2.0
        return Interval(low, np.inf)

    @property
    def ci_low(self) -> float:
        """Lower end of the profile-likelihood interval."""
        return self.ci().low

    @property
    def ci_high(self) -> float:
        """Upper end of the profile-likelihood interval."""
        return self.ci().high

    @property
    def pi_low(self) -> float:
        """Lower end of the prediction interval."""
        return self.pi().low

    @property
    def pi_high(self) -> float:
        """Upper end of the prediction interval."""
        return self.pi().high

    def _sampling_variances(self) -> Array:
        out = np.empty(self.k)
        out[self.is_point] = self.rows.v[0]
        mu = (self.rows.x_bounds[0] @ self.beta) if self.k_bounds else np.zeros(0)
        out[~self.is_point] = self.rows.base[0] + mu**2 / (2 * self.rows.total[0])
        return out

    def _typical_variance(self) -> float:
        x = np.empty((self.k, len(self.beta)))
        x[self.is_point], x[~self.is_point] = self.rows.x_points[0], self.rows.x_bounds[0]
        t = tables(np.zeros(self.k), self._sampling_variances(), x)
        if self.k <= len(self.beta):
            return np.nan
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
        held = np.append(np.zeros(len(self.beta), dtype=bool), True)
        found = likelihood.maximise(self.rows, np.append(self.beta, 0.0)[None], held)
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
        points, bounds = likelihood.row_terms(self.rows, self.beta[None], np.array([self.tau2]))
        out = np.empty(self.k)
        out[self.is_point], out[~self.is_point] = -points.mm[0], np.maximum(-bounds.mm[0], 0.0)
        return np.asarray(out / out.sum())

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per coefficient, with profile-likelihood intervals and likelihood-ratio tests."""
        rows = []
        se = self._coefficient_se
        for j in range(len(self.beta)):
            contrast = np.eye(len(self.beta))[j]
            root = self._signed_root(contrast)
            ci = self._profile_interval(contrast, self.level)
            p = float(two_sided_p(root))
            rows.append((self.beta[j], se[j], root, np.inf, p, ci.low, ci.high))
        return pd.DataFrame(rows, columns=list(RESULT_COLUMNS[:7]), index=pd.Index(self.names, name="term"))

    @property
    def term_tests(self) -> pd.DataFrame:
        """Likelihood-ratio test of each term of the formula: chi-squared with as many dof as it has columns."""
        if self.design is None:
            return pd.DataFrame(columns=["statistic", "dof", "p_value"], index=pd.Index([], name="term"))
        out = {}
        for term, columns in self.design.terms.items():
            keep = [j for j in range(len(self.beta)) if j not in columns]
            r = self.rows
            reduced = r._replace(x_points=r.x_points[..., keep], x_bounds=r.x_bounds[..., keep])
            found = likelihood.global_maximum(reduced, len(keep))
            likelihood.require(found, f"the model without {term}")
            statistic = max(2 * (self.loglik - float(found.f[0])), 0.0)
            out[term] = (statistic, len(columns), float(chi2_sf(statistic, len(columns))))
        return pd.DataFrame.from_dict(out, orient="index", columns=["statistic", "dof", "p_value"]).rename_axis("term")

    def predict(self, frame: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
        """Model mean for each row of `frame`, with profile-likelihood intervals."""
        if self.design is None:
            raise DataError("A model without moderators predicts its one mean; read estimate and pi.")
        level = self.level if level is None else level
        cov = self.cov
        rows = []
        for x in self.design.new_rows(frame):
            if np.isnan(x).any():
                rows.append((np.nan,) * 4)
                continue
            ci = self._profile_interval(x, level)
            rows.append((float(x @ self.beta), float(np.sqrt(x @ cov @ x)), ci.low, ci.high))
        return pd.DataFrame(rows, columns=["estimate", "se", "ci_low", "ci_high"], index=frame.index)

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
            return self.coefficients.reindex(columns=list(RESULT_COLUMNS))
        ci, pi = self.ci(level), self.pi(level)
        row = (self.estimate, self.se, self.statistic, np.inf, self.p_value, ci.low, ci.high, pi.low, pi.high)
        return pd.DataFrame([row], columns=list(RESULT_COLUMNS), index=pd.Index(["mean"], name="term"))

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        percent = f"{100 * self.level:g}%"
        lines = [
            f"Random-effects model of points and bounds (maximum likelihood): k = {self.k} "
            f"({self.k_points} points, {self.k_bounds} bounds) from {self.n_studies} studies"
        ]
        if self.design is None:
            ci, pi = self.ci(), self.pi()
            lines += [
                f"mean {self.estimate:.4f}, {percent} profile-likelihood CI {ci.low:.4f} to {ci.high:.4f}, "
                f"likelihood-ratio p = {self.p_value:.4f}",
                f"{percent} prediction interval {pi.low:.4f} to {pi.high:.4f}",
            ]
        else:
            table = self.coefficients[["estimate", "se", "ci_low", "ci_high", "p_value"]]
            lines.append(table.to_string(float_format=lambda x: f"{x:.4f}"))
            for term, row in self.term_tests.iterrows():
                chi2 = f"chi2({row['dof']:.0f}) = {row['statistic']:.3f}"
                lines.append(f"{term}: likelihood-ratio {chi2}, p = {row['p_value']:.4f}")
            for factor, reference in self.design.reference_levels.items():
                lines.append(f"{factor}: compared with {reference}")
        lines.append(f"tau2 = {self.tau2:.4f} (tau = {np.sqrt(self.tau2):.4f}), I2 = {self.I2:.1f}%")
        if self.omitted:
            lines.append(f"left out, moderator unknown: {', '.join(self.omitted)}")
        lines.append(self.basis)
        return "\n".join(lines)
