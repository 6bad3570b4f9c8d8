"""p-uniform*: the mean effect when significance decides what is seen, with any two probabilities of being seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize, special

from metamiq.errors import ConvergenceError
from metamiq.pooling import batch
from metamiq.pooling.interval import Interval, WithInterval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array, tables
from metamiq.sensitivity import readable
from metamiq.sensitivity.maximise import Maximum, Point, maximise
from metamiq.sensitivity.normal_pieces import interval
from metamiq.sensitivity.selection_likelihood import selection_likelihood
from metamiq.sensitivity.weight_functions import Normaliser, NoSelection
from metamiq.tails import chi2_sf
from metamiq.wording import in_short, p_text


class Truncated:
    """Each effect given that it is significant, or given that it is not."""

    def __init__(self, low: Array, high: Array) -> None:
        self.low, self.high = low, high

    def normaliser(self, x: Array, mu: Array, s: Array) -> Normaliser:
        """The probability of each row's side of its critical value."""
        k = len(mu)
        return Normaliser(interval(self.low, self.high, mu, s), np.empty((k, 0, 3)), np.empty((k, 0, 0)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PUniformStar(WithInterval):
    """Mean and tau2 by maximum likelihood, with profile-likelihood intervals."""

    estimate: float
    se: float  # from the observed information
    tau2: float
    loglik: float
    statistic: float  # signed root of the likelihood ratio of no effect
    p_value: float
    tau2_p: float  # one-sided, of tau2 = 0
    side: int  # 1: significant positive results are favoured
    k: int
    k_significant: int
    level: float
    cautions: tuple[str, ...]
    _profile: Callable[[float], float] = field(repr=False)  # twice the drop in log-likelihood at a mean
    _profile_tau2: Callable[[float], float] = field(repr=False)

    def ci(self, level: float | None = None) -> Interval:
        """Profile-likelihood interval of the mean; infinite or NaN ends where the likelihood does not fall."""
        drop = float(special.chdtri(1, 1 - (self.level if level is None else level)))
        step = self.se if np.isfinite(self.se) else 1.0
        return Interval(
            _crossing(self._profile, self.estimate, -step, drop), _crossing(self._profile, self.estimate, step, drop)
        )

    def tau2_ci(self, level: float | None = None) -> Interval:
        """Profile-likelihood interval of tau2, from 0."""
        drop = float(special.chdtri(1, 1 - (self.level if level is None else level)))
        low = 0.0
        if self.tau2 > 0 and self._profile_tau2(0.0) > drop:
            low = float(optimize.brentq(lambda t: self._profile_tau2(t) - drop, 0.0, self.tau2, xtol=1e-14))
        step = max(self.tau2, 0.1 * self.se**2 if np.isfinite(self.se) else 0.1)
        return Interval(low, _crossing(self._profile_tau2, self.tau2, step, drop))

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        ci = self.ci()
        return "\n".join(
            [
                f"p-uniform*: k = {self.k}, {self.k_significant} significant in the favoured direction",
                f"mean {self.estimate:.4f}, {100 * self.level:g}% CI {ci.low:.4f} to {ci.high:.4f}, "
                f"z = {self.statistic:.3f}, {p_text(self.p_value, 4)}; tau2 = {self.tau2:.4f} "
                f"({p_text(self.tau2_p, 4)})",
                *readable.lines(self.cautions),
            ]
        )


def p_uniform_star(fit: PooledEffect, *, level: float | None = None, alternative: str | None = None) -> PUniformStar:
    r"""Mean effect of significant and nonsignificant results, each given its significance.

    .. math:: \ell(\mu, \tau^2) = \sum_i \log \frac{N(y_i; \mu, v_i + \tau^2)}{P(\text{same side of the critical value}
              \mid \mu, v_i + \tau^2)}

    with critical value :math:`z_{0.975} \sqrt{v_i}` in the favoured direction. How likely results on either side are
    to be published is conditioned away.

    Parameters
    ----------
    fit : PooledEffect
        The fit whose rows are used.
    level : float, optional
        Coverage of the intervals; the fit's own by default.
    alternative : {"greater", "less"}, optional
        The favoured direction; that of the fit's mean by default.

    Returns
    -------
    PUniformStar
        Maximum likelihood estimates with profile-likelihood intervals and likelihood-ratio tests.

    Raises
    ------
    DataError
        If there are bounds or fewer than three rows.
    ConvergenceError
        If the likelihood has no maximum, as happens when few results are nonsignificant or all p-values lie near 0.05.

    References
    ----------
    van Aert & van Assen (2018, preprint): Correcting for publication bias in a meta-analysis with the p-uniform*
    method.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> yi = [0.1, 0.02, 0.45, 0.5, 0.9, 0.8, 0.6, 0.3, 0.55, 0.2]
    >>> vi = [0.01, 0.01, 0.02, 0.04, 0.09, 0.08, 0.05, 0.06, 0.05, 0.04]
    >>> result = p_uniform_star(random_effects(yi=yi, vi=vi))
    >>> print(f"{result.estimate:.3f} ({result.ci_low:.3f} to {result.ci_high:.3f}), tau2 = {result.tau2:.3f}")
    0.297 (0.057 to 0.587), tau2 = 0.015
    """
    rows = readable.one_mean_of(fit, "p-uniform*")
    if alternative not in (None, "greater", "less"):
        raise ValueError(f"alternative must be 'greater' or 'less', not {alternative!r}.")
    side = readable.direction(fit.estimate) if alternative is None else 1 if alternative == "greater" else -1
    yi, vi = side * rows.yi, rows.vi
    hit = readable.significant(rows, side)
    cut = float(special.ndtri(0.975)) * rows.sei
    truncated = Truncated(np.where(hit, cut, -np.inf), np.where(hit, np.inf, cut))
    full = selection_likelihood(
        yi, vi, np.ones((len(yi), 1)), truncated.normaliser, NoSelection().selected, tau2_fixed=False
    )
    plain = batch.core(tables(yi, vi), "ML", "z")
    mean, tau2 = float(plain.beta[0, 0]), float(plain.tau2[0])
    spread = float(np.ptp(yi)) + float(rows.sei.max())
    reach, lower = np.array([20 * spread, 100 * spread**2]), np.array([-np.inf, 0.0])
    best = _highest(
        full,
        [np.array([m, t]) for m in (mean, 0.5 * mean, 0.0) for t in (tau2, tau2 + 0.25 * float(vi.mean()))],
        lower,
        reach,
    )

    def drop_at(mu: float) -> float:
        """Twice the drop in log-likelihood when the mean is mu."""

        def only_tau2(x: Array) -> Point:
            here = full(np.array([side * mu, x[0]]))
            return Point(here.loglik, here.gradient[1:], here.hessian[1:, 1:])

        starts = [np.array([best.x[1]]), np.array([best.x[1] + 0.25 * float(vi.mean())])]
        return 2 * (best.point.loglik - _highest(only_tau2, starts, lower[1:], reach[1:]).point.loglik)

    def drop_at_tau2(value: float) -> float:
        """Twice the drop in log-likelihood when tau2 is `value`."""

        def only_mean(x: Array) -> Point:
            here = full(np.array([x[0], value]))
            return Point(here.loglik, here.gradient[:1], here.hessian[:1, :1])

        starts = [best.x[:1], np.zeros(1)]
        return 2 * (best.point.loglik - _highest(only_mean, starts, lower[:1], reach[:1]).point.loglik)

    ratio, ratio_tau2 = max(0.0, drop_at(0.0)), max(0.0, drop_at_tau2(0.0))
    estimate = side * float(best.x[0])
    cautions = [
        *readable.few(len(yi)),
        *(
            [
                f"Only {int(hit.sum())} of {len(yi)} results are significant in the favoured direction: the estimate "
                "may be erratic."
            ]
            if hit.sum() < 3
            else []
        ),
        *([f"All {len(yi)} results are significant: the estimate rests on their p-values alone."] if hit.all() else []),
        *readable.dependent(fit),
        *readable.no_null(fit),
    ]
    return PUniformStar(
        estimate=estimate,
        se=float(np.sqrt(best.covariance()[0, 0])),
        tau2=float(best.x[1]),
        loglik=best.point.loglik,
        statistic=float(np.sign(estimate) * np.sqrt(ratio)),
        p_value=float(chi2_sf(ratio, 1)),
        # tau2 = 0 is on the edge: half of the distribution is at 0.
        tau2_p=1.0 if best.x[1] == 0 else 0.5 * float(chi2_sf(ratio_tau2, 1)),
        side=side,
        k=len(yi),
        k_significant=int(hit.sum()),
        level=fit.level if level is None else level,
        cautions=tuple(cautions),
        _profile=drop_at,
        _profile_tau2=drop_at_tau2,
    )


def _highest(f: Callable[[Array], Point], starts: list[Array], lower: Array, reach: Array) -> Maximum:
    found, failure = [], None
    for start in starts:
        try:
            found.append(maximise(f, start, lower, reach, "p-uniform*"))
        except ConvergenceError as error:
            failure = error
    if not found:
        raise ConvergenceError(
            "p-uniform* has no estimate for these results: its likelihood has no maximum within reach, as when nearly "
            "all p-values lie close to 0.05. Use a selection model with given weights."
        ) from failure
    return max(found, key=lambda m: m.point.loglik)


def _crossing(profile: Callable[[float], float], centre: float, step: float, drop: float) -> float:
    """Where a profile first exceeds `drop`, going from its centre in steps that double; infinite if nowhere."""
    near, far = centre, centre + step
    for _ in range(40):
        try:
            fallen = profile(far)
        except ConvergenceError:
            return np.nan
        if fallen > drop:
            return float(optimize.brentq(lambda x: profile(x) - drop, near, far, xtol=1e-12))
        near, far = far, centre + 2 * (far - centre)
    return np.inf if step > 0 else -np.inf
