"""Bayesian random effects: the normal-normal hierarchical model by quadrature over tau, without sampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.arguments import check_level
from metamiq.pooling.hierarchy import Hierarchy, TauPosterior
from metamiq.pooling.interval import Interval, WithPrediction
from metamiq.pooling.mixtures import NormalMixture, check_interval
from metamiq.pooling.models import source_of
from metamiq.pooling.records import RESULT_COLUMNS
from metamiq.pooling.source import Source, WithSource, frozen_copy
from metamiq.pooling.tau_priors import TauPrior
from metamiq.pooling.tau_priors import tau_prior as prior_of
from metamiq.pooling.units import in_units
from metamiq.pooling.wls import Array
from metamiq.wording import from_studies, one_line


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BayesianEffect(WithPrediction, WithSource):
    """The posterior of a random-effects model, with the priors and the rows that produced it.

    It answers to the names that every fit has, read in the Bayesian way: `estimate` is the posterior mean of mu, `se`
    its posterior standard deviation, `ci` a credible interval, `tau2` the posterior median. There is no test, so that
    `statistic` and `p_value` are NaN; ask for `probability` or a Bayes factor.

    Attributes
    ----------
    mu : NormalMixture
        Posterior of the mean effect: `mean median mode sd`, `pdf cdf quantile interval`.
    tau : TauPosterior
        Posterior of the standard deviation between trials: the same.
    mu_prior : (mean, sd) or None
        Normal prior of mu; None: flat.
    tau_prior : TauPrior
        Prior of tau.
    interval : {"central", "shortest"}
        Kind of credible interval that `ci` and `pi` give by default.
    """

    mu: NormalMixture
    tau: TauPosterior
    mu_prior: tuple[float, float] | None
    tau_prior: TauPrior
    level: float
    interval: str
    source: Source

    method = "bayes"
    test = "none"
    dof = None
    statistic = np.nan
    p_value = np.nan

    def __repr__(self) -> str:
        return one_line(self)

    @property
    def n_studies(self) -> int:
        """Studies pooled."""
        return self.source.n_studies

    @property
    def estimate(self) -> float:
        """Posterior mean of mu; NaN where the priors leave none (the median always exists)."""
        return self.mu.mean

    @property
    def se(self) -> float:
        """Posterior standard deviation of mu."""
        return self.mu.sd

    @property
    def tau2(self) -> float:
        """Posterior median of tau2, which is the square of the median of tau."""
        return self.tau.median**2

    @property
    def new_effect(self) -> NormalMixture:
        """Posterior prediction of the true effect of a new trial: N(mu, tau^2) with mu and tau taken out."""
        t = self.tau
        sds = np.hypot(t.given.sd, t.values)
        return NormalMixture(t.weights, t.given.mean, sds, sum(t.has_moment(r) for r in (1, 2)))

    def ci(self, level: float | None = None, kind: str | None = None) -> Interval:
        """Credible interval of mu: "central" (equal tails) or "shortest" (highest density)."""
        return self.mu.interval(*self._asked(level, kind))

    def pi(self, level: float | None = None, kind: str | None = None) -> Interval:
        """Prediction interval of the true effect of a new trial."""
        return self.new_effect.interval(*self._asked(level, kind))

    def tau_ci(self, level: float | None = None, kind: str | None = None) -> Interval:
        """Credible interval of tau."""
        return self.tau.interval(*self._asked(level, kind))

    def tau2_ci(self, level: float | None = None) -> Interval:
        """Credible interval of tau2 with equal tails: that of tau, squared."""
        return Interval(*(x**2 for x in self.tau_ci(level, "central")))

    def _asked(self, level: float | None, kind: str | None) -> tuple[float, str]:
        level = self.level if level is None else level
        check_level(level)
        return level, self.interval if kind is None else kind

    def density_mu(self, x: ArrayLike) -> Array:
        """Posterior density of mu at x."""
        return self.mu.pdf(x)

    def cdf_mu(self, x: ArrayLike) -> Array:
        """Posterior probability that mu is below x."""
        return self.mu.cdf(x)

    def density_tau(self, x: ArrayLike) -> Array:
        """Posterior density of tau at x."""
        return self.tau.pdf(x)

    def cdf_tau(self, x: ArrayLike) -> Array:
        """Posterior probability that tau is below x."""
        return self.tau.cdf(x)

    def probability(self, above: float = 0.0) -> float:
        """Posterior probability that mu is greater than `above`."""
        return float(replace(self.mu, means=-self.mu.means).cdf(-above))

    @property
    def log_marginal_likelihood(self) -> float:
        """Log density of the data, mu and tau taken out.

        With a flat prior of mu, or the improper uniform prior of tau, it is that for a prior density of 1 everywhere:
        two such fits compare only if they share that prior.
        """
        return self.tau.log_evidence

    @property
    def bf_tau_zero(self) -> float:
        """Bayes factor of tau = 0 against the model fitted; above 1 favours homogeneity.

        NaN with an improper prior of tau.
        """
        if not self.tau_prior.proper:
            return np.nan
        at_zero = self.tau.hierarchy.given_tau(np.array([-np.inf])).log_marginal[0]
        return _exp(float(at_zero) - self.tau.log_evidence)

    @property
    def bf_mean_zero(self) -> float:
        """Bayes factor of mu = 0 against the model fitted; above 1 favours no mean effect.

        NaN unless `mu_prior` was given: a flat prior has no density to compare with.

        Raises
        ------
        DataError
            If the model with mu = 0 cannot be normalised.
        """
        if self.mu_prior is None:
            return np.nan
        null = replace(self.tau.hierarchy, mu_mean=0.0, mu_sd=0.0).solve()
        return _exp(null.log_evidence - self.tau.log_evidence)

    @property
    def weights(self) -> Array:
        """Expected weight of each trial in the posterior mean.

        estimate = sum(weights yi) + prior_weight (mean of the prior of mu). The weights sum to 1 - `prior_weight`, that
        is to 1 with a flat prior of mu.

        References
        ----------
        Roever & Friede (2021)
        """
        t = self.tau
        w = np.zeros(self.k)
        for at, tau2, sd in zip(t.weights, t.values**2, t.given.sd, strict=True):
            w += at * sd**2 / (self.source.vi + tau2)
        return frozen_copy(w)

    @property
    def prior_weight(self) -> float:
        """Expected weight of the prior of mu in the posterior mean; 0 for a flat prior."""
        if self.mu_prior is None:
            return 0.0
        return float(self.tau.weights @ (self.tau.given.sd / self.mu_prior[1]) ** 2)

    def trial_effect(self, row: int) -> NormalMixture:
        """Posterior of the true effect of one trial (by position), drawn towards the mean.

        Given tau, with b = vi / (vi + tau^2): mean b mu + (1 - b) yi, variance (1 - b) vi + b^2 var(mu).
        """
        t = self.tau
        y, v = float(self.source.yi[row]), float(self.source.vi[row])
        tau2 = t.values**2
        b = v / (v + tau2)
        means = y + b * (t.given.mean - y)
        return NormalMixture(t.weights, means, np.sqrt(tau2 * b + (b * t.given.sd) ** 2))

    def shrunken(self, level: float | None = None, kind: str | None = None) -> pd.DataFrame:
        """Posterior of each trial's own effect: a row per trial with `estimate se ci_low ci_high`."""
        rows = []
        for i in range(self.k):
            effect = self.trial_effect(i)
            rows.append((effect.mean, effect.sd, *effect.interval(*self._asked(level, kind))))
        return pd.DataFrame(rows, columns=["estimate", "se", "ci_low", "ci_high"], index=self.source.labels())

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row with the columns that every result table has; there is no test, so those columns are NaN."""
        ci, pi = self.ci(level), self.pi(level)
        row: dict[str, Any] = dict.fromkeys(RESULT_COLUMNS, np.nan)
        row |= {"estimate": self.estimate, "se": self.se}
        row |= {"ci_low": ci.low, "ci_high": ci.high, "pi_low": pi.low, "pi_high": pi.high}
        return pd.DataFrame([row], columns=list(RESULT_COLUMNS), index=pd.Index(["mean"], name="term"))

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        percent = f"{100 * self.level:g}%"
        ci, pi, tau = self.ci(), self.pi(), self.tau_ci()
        mean = "flat" if self.mu_prior is None else f"normal(mean {self.mu_prior[0]:g}, sd {self.mu_prior[1]:g})"
        lines = [
            f"Bayesian random-effects model: k = {from_studies(self.k, self.n_studies)}",
            f"priors: mean {mean}; tau {self.tau_prior.label}",
            f"mean {self.estimate:.4f} (median {self.mu.median:.4f}), posterior SD {self.se:.4f}, "
            f"{percent} credible interval {ci.low:.4f} to {ci.high:.4f}, P(mean > 0) = {self.probability():.4f}",
            f"{percent} prediction interval {pi.low:.4f} to {pi.high:.4f}",
            f"tau median {self.tau.median:.4f}, {percent} credible interval {tau.low:.4f} to {tau.high:.4f}",
        ]
        factors = [("tau = 0", self.bf_tau_zero), ("mean = 0", self.bf_mean_zero)]
        known = [f"{what}: {value:.4g}" for what, value in factors if not np.isnan(value)]
        if known:
            lines.append(f"Bayes factor for {', '.join(known)}")
        lines.append(in_units(self.measure, self.estimate, ci, pi))
        return "\n".join(filter(None, lines))


def _exp(x: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(x))


def bayes_random_effects(
    effects: pd.DataFrame | None = None,
    *,
    yi: ArrayLike | None = None,
    vi: ArrayLike | None = None,
    tau_prior: str | TauPrior = "halfnormal",
    tau_scale: float | None = 0.5,
    tau_shape: float | None = None,
    mu_prior: tuple[float, float] | None = None,
    level: float = 0.95,
    interval: str = "central",
) -> BayesianEffect:
    r"""Bayesian mean of effects that differ between studies.

    :math:`y_i \sim N(\theta_i, v_i)`, :math:`\theta_i \sim N(\mu, \tau^2)`. Given :math:`\tau` all is normal, in closed
    form; :math:`\tau` is taken out by quadrature, to about ten digits. Nothing is sampled.

    Parameters
    ----------
    effects : DataFrame
        Effect sizes `yi` and sampling variances `vi`, one row each; a column `study` (or `trial_id`) names them.
    yi, vi : array_like, shape (k,)
        The same as arrays, instead of `effects`.
    tau_prior : {"halfnormal", "halfcauchy", "uniform", "invgamma"} or TauPrior
        Prior of tau; "invgamma" is one of tau2. A TauPrior comes from `metamiq.pooling.tau_priors` (`half_t`,
        `log_normal`, `log_t`) or from `published_tau_prior`, for the heterogeneity seen in Cochrane reviews.
    tau_scale : float
        Scale of the half-normal, half-Cauchy or inverse gamma, in the units of yi (the last: of its square); upper
        limit of the uniform, None or infinite for the improper one. Not used with a TauPrior.
    tau_shape : float, optional
        Shape of the inverse gamma.
    mu_prior : (mean, sd), optional
        Normal prior of the mean effect; flat by default.
    level : float
        Coverage of the intervals.
    interval : {"central", "shortest"}
        Equal tails, or the shortest interval, which for tau often begins at 0.

    Returns
    -------
    BayesianEffect

    Raises
    ------
    DataError
        If a yi or vi is missing or a vi is not positive, or if k is too small for an improper prior.
    ValueError
        If a prior is not valid.
    ConvergenceError
        If the quadrature does not resolve the posterior.

    Notes
    -----
    The default scale of 0.5 is meant for standardized mean differences and log odds ratios: it has 95% of the prior
    below tau = 0.98. For effects in any other unit choose the scale. With a flat prior of mu and a heavy tail of tau,
    moments may not exist when trials are few: they are then infinite or NaN, while medians and intervals exist.

    References
    ----------
    Roever (2020), Journal of Statistical Software 93(6). On the choice of a prior of tau: Roever et al. (2021),
    Research Synthesis Methods 12, 448-474.

    Examples
    --------
    >>> fit = bayes_random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f}), tau {fit.tau.median:.3f}")
    0.415 (-0.020 to 0.860), tau 0.298
    """
    check_level(level)
    check_interval(interval)
    prior = prior_of(tau_prior, tau_scale, tau_shape)
    source, _ = source_of(effects, yi, vi)
    hierarchy = Hierarchy(source.yi, source.vi, prior)
    if mu_prior is not None:
        mean, sd = (float(x) for x in mu_prior)
        if not (np.isfinite(mean) and np.isfinite(sd) and sd > 0):
            raise ValueError(
                f"mu_prior must be a finite mean and a finite standard deviation greater than 0, not {mu_prior!r}; "
                "leave it out for a flat prior."
            )
        mu_prior = (mean, sd)
        hierarchy = replace(hierarchy, mu_mean=mean, mu_sd=sd)
    tau = hierarchy.solve()
    # A normal prior of mu bounds its posterior; a flat one leaves it the tail of tau.
    moments = 2 if mu_prior is not None else sum(tau.has_moment(r) for r in (1, 2))
    return BayesianEffect(
        mu=NormalMixture(tau.weights, tau.given.mean, tau.given.sd, moments),
        tau=tau,
        mu_prior=mu_prior,
        tau_prior=prior,
        level=level,
        interval=interval,
        source=source,
    )
