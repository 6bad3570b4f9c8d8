"""Bootstrap of a pooled effect."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from metamiq.arguments import check_whole, generator
from metamiq.errors import DataError
from metamiq.pooling.interval import Interval
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.wls import Array
from metamiq.progress import track
from metamiq.sensitivity import readable
from metamiq.sensitivity.deletion import leave_one_out
from metamiq.sensitivity.refits import CELLS, check_refittable, refit
from metamiq.wording import fixed

KINDS = ("cases", "parametric")
INTERVALS = ("bca", "percentile")


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """Bootstrap replications of a fit."""

    fit: PooledEffect
    estimate: Array  # (n,)
    tau2: Array  # (n,)
    kind: str
    seed: int
    jackknife: Array = field(repr=False)  # (k,) leave-one-out estimates, for BCa

    @property
    def n(self) -> int:
        """Replications; those that could not be fitted are NaN and not used."""
        return len(self.estimate)

    @property
    def se(self) -> float:
        """Standard deviation of the replicated estimates."""
        return float(np.nanstd(self.estimate, ddof=1))

    @property
    def bias(self) -> float:
        """Mean of the replicated estimates less the estimate."""
        return float(np.nanmean(self.estimate) - self.fit.estimate)

    def ci(self, level: float | None = None, method: str = "percentile") -> Interval:
        """Interval of the mean between quantiles of the replications.

        Parameters
        ----------
        level : float, optional
            Coverage; the fit's own by default.
        method : {"percentile", "bca"}
            Plain quantiles; bias-corrected and accelerated, Efron (1987).
        """
        level = self.fit.level if level is None else level
        if method not in INTERVALS:
            raise ValueError(f"method must be one of 'bca', 'percentile', not {method!r}.")
        draws = self.estimate[np.isfinite(self.estimate)]
        probabilities = np.array([(1 - level) / 2, (1 + level) / 2])
        if method == "bca":
            below = float((draws < self.fit.estimate).mean() + 0.5 * (draws == self.fit.estimate).mean())
            if not 0 < below < 1:
                return Interval(np.nan, np.nan)
            z0 = special.ndtri(below)
            d = self.jackknife.mean() - self.jackknife
            spread = float((d**2).sum())
            acceleration = 0.0 if spread == 0 else float((d**3).sum()) / (6.0 * spread**1.5)
            z = z0 + special.ndtri(probabilities)
            probabilities = special.ndtr(z0 + z / (1 - acceleration * z))
        low, high = np.quantile(draws, probabilities)
        return Interval(float(low), float(high))

    def summary(self) -> str:
        """The result in two lines of text; the caller prints them."""
        ci, own, percent = self.ci(), self.fit.ci(), f"{100 * self.fit.level:g}%"
        unusable = int(np.isnan(self.estimate).sum())
        return "\n".join(
            [
                f"Bootstrap ({self.kind}, seed {self.seed}): {self.n:,} replications"
                + (f", {unusable:,} of them could not be fitted" if unusable else ""),
                f"mean {self.fit.estimate:.4f}, bootstrap SE {self.se:.4f}, bias {fixed(self.bias, 4)}, {percent} "
                f"percentile interval {ci.low:.4f} to {ci.high:.4f} (the model's: {own.low:.4f} to {own.high:.4f})",
            ]
        )

    def __repr__(self) -> str:
        return f"<Bootstrap of {self.n:,} replications ({self.kind}, seed {self.seed})>"

    def to_frame(self) -> pd.DataFrame:
        """One row per replication: estimate and tau2."""
        return pd.DataFrame({"estimate": self.estimate, "tau2": self.tau2})


def bootstrap(fit: PooledEffect, n: int = 2000, seed: int = 0, *, kind: str = "cases") -> Bootstrap:
    """Bootstrap the pooled effect.

    Parameters
    ----------
    fit : PooledEffect
        The fit to replicate, with its estimator of tau2.
    n : int
        Replications.
    seed : int
        Makes them repeatable.
    kind : {"cases", "parametric"}
        Draw whole rows with replacement; or keep the sampling variances and draw effects from
        N(estimate, vi + tau2).

    Returns
    -------
    Bootstrap
        Replicated estimates and tau2, with `ci`. Case resampling of fewer than about ten rows understates the
        uncertainty, as the bootstrap does in small samples.

    Raises
    ------
    DataError
        If the fit has fewer than two rows, or no tau2 to draw from.

    References
    ----------
    Efron & Tibshirani (1993), chapter 14; Van den Noortgate & Onghena (2005) for meta-analysis.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2, 0.4], vi=[0.04, 0.02, 0.05, 0.03, 0.02])
    >>> low, high = bootstrap(fit, n=1000, seed=1).ci()
    >>> print(f"{low:.2f} {high:.2f}")
    0.23 0.64
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of 'cases', 'parametric', not {kind!r}.")
    check_whole("n", n, least=2)
    readable.one_mean_of(fit, "A bootstrap", at_least=1)
    check_refittable(fit)
    if fit.k < 2 or np.isnan(fit.tau2):
        raise DataError(f"A bootstrap needs at least two rows, but the fit has {fit.k}.")
    rng = generator(seed)
    k = fit.k
    step = max(1, CELLS // k)
    estimate, tau2 = [], []
    starts = range(0, n, step)
    for start in track(starts, len(starts), f"{n:,} bootstrap replications"):
        size = min(step, n - start)
        if kind == "cases":
            fits = refit(fit, weights=rng.multinomial(k, np.full(k, 1.0 / k), size=size).astype(float))
        else:
            fits = refit(fit, yi=rng.normal(fit.estimate, np.sqrt(fit.source.vi + fit.tau2), size=(size, k)))
        estimate.append(fits.estimate)
        tau2.append(fits.tau2)
    return Bootstrap(
        fit=fit,
        estimate=frozen_copy(np.concatenate(estimate)),
        tau2=frozen_copy(np.concatenate(tau2)),
        kind=kind,
        seed=seed,
        jackknife=frozen_copy(leave_one_out(fit)["estimate"].to_numpy()),
    )
