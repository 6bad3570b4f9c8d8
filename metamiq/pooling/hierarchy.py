"""The normal-normal hierarchy: what is known given tau, and the posterior of tau by quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.interval import Interval
from metamiq.pooling.mixtures import check_interval, shortest_interval
from metamiq.pooling.source import frozen_copy
from metamiq.pooling.tau_priors import HALF_LOG_2PI, TauPrior
from metamiq.pooling.wls import Array

_NODES = 16
_X, _W = legendre.leggauss(_NODES)
_ORDERS = np.arange(_NODES)
# Values at the nodes times this: the coefficients of the Legendre series through them.
_TO_SERIES = (_W[:, None] * legendre.legvander(_X, _NODES - 1)) * (_ORDERS + 0.5)
_AT_EDGES = _TO_SERIES @ np.stack([(-1.0) ** _ORDERS, np.ones(_NODES)], axis=1)
_PANEL = 2.5  # first width of a panel in log tau
_TOLERANCE = 1e-11  # of the interpolated posterior, relative to its mass; the integrals are far closer
_ROUNDS = 60
_MAX_CELLS = 2**17  # of the tau x trials array held at once: what a processor cache holds


class GivenTau(NamedTuple):
    """Log marginal likelihood of tau, and the mean and standard deviation of mu given tau."""

    log_marginal: Array
    mean: Array
    sd: Array


@dataclass(frozen=True, slots=True, eq=False)
class Hierarchy:
    """Effects y_i ~ N(theta_i, v_i), theta_i ~ N(mu, tau^2), with a normal or flat prior of mu and any prior of tau.

    `mu_sd` is infinite for the flat prior (density 1 everywhere) and 0 when the mean is known.
    """

    yi: Array
    vi: Array
    tau_prior: TauPrior
    mu_mean: float = 0.0
    mu_sd: float = np.inf

    @property
    def decay(self) -> int:
        """The marginal likelihood falls like tau^-decay."""
        return len(self.yi) - (self.mu_sd == np.inf)

    def given_tau(self, log_tau: Array) -> GivenTau:
        """What is known in closed form given tau; Roever (2020), section 2.

        With w_i = 1 / (v_i + tau^2), and w_0, y_0 the precision and mean of the prior of mu: mu is normal with mean
        sum(w y) / sum(w) and variance 1 / sum(w), sums over 0 to k. The marginal likelihood is the product of the
        normal densities with mu taken out.
        """
        step = max(1, _MAX_CELLS // len(self.yi))
        parts = [self._given_tau(log_tau[i : i + step]) for i in range(0, max(1, len(log_tau)), step)]
        return parts[0] if len(parts) == 1 else GivenTau(*(np.concatenate(x) for x in zip(*parts, strict=True)))

    def _given_tau(self, log_tau: Array) -> GivenTau:
        total = self.vi + np.exp(2.0 * log_tau)[:, None]
        log_det = np.log(total).sum(axis=1)
        k = len(self.yi)
        if self.mu_sd == 0:
            q = ((self.yi - self.mu_mean) ** 2 / total).sum(axis=1)
            at = np.full(len(log_tau), self.mu_mean)
            return GivenTau(-0.5 * (log_det + q) - k * HALF_LOG_2PI, at, np.zeros(len(log_tau)))
        w = 1.0 / total
        w0 = 0.0 if self.mu_sd == np.inf else self.mu_sd**-2
        precision = w.sum(axis=1) + w0
        # Measured from one of the effects, so that a large common shift costs no digits.
        origin = self.yi[0]
        mean = origin + (w @ (self.yi - origin) + w0 * (self.mu_mean - origin)) / precision
        q = (w * (self.yi - mean[:, None]) ** 2).sum(axis=1) + w0 * (self.mu_mean - mean) ** 2
        log_w0 = np.log(w0) if w0 else 0.0
        log_marginal = 0.5 * (log_w0 - np.log(precision) - log_det - q) - self.decay * HALF_LOG_2PI
        return GivenTau(log_marginal, mean, 1.0 / np.sqrt(precision))

    def _range(self) -> tuple[float, float]:
        """Values of log tau outside of which the marginal likelihood is constant, or the posterior nil."""
        prior, decay = self.tau_prior, self.decay
        if not prior.has_moment(0.0, decay):
            least = 3 if self.mu_sd == np.inf else 2
            raise DataError(
                f"k must be at least {least} for the improper uniform prior of tau with "
                f"{'a flat' if self.mu_sd == np.inf else 'a normal'} prior of the mean, but k = {len(self.yi)}. "
                "Give tau_scale (an upper limit of tau), or another tau_prior."
            )
        sigma = np.sqrt(self.vi)
        low = prior.start if prior.gap_at_zero else min(float(np.log(sigma.min())) - 20.0, prior.start)
        middle = self.mu_mean if self.mu_sd < np.inf else self.yi.mean()
        core = max(float(np.log(max(np.abs(self.yi - middle).max(), sigma.max()))), prior.stop)
        rate = prior.tail + decay
        high = core + 4.0 + min(300.0, 45.0 / rate if rate else np.inf)
        high = min(high, float(np.log(prior.upper)))
        return min(low, high - _PANEL), high

    def solve(self) -> TauPosterior:
        """Posterior of tau, by Gauss-Legendre panels in log tau that are halved until the posterior is resolved.

        Raises
        ------
        DataError
            If the posterior cannot be normalised.
        ConvergenceError
            If panels are still unresolved after 60 rounds.
        """
        low, high = self._range()
        edges = np.linspace(low, high, max(2, int(np.ceil((high - low) / _PANEL)) + 1))
        left, right = edges[:-1], edges[1:]
        ref, total = -np.inf, 0.0  # of what is settled, relative to exp(ref)
        kept: list[tuple[Array, ...]] = []
        for _ in range(_ROUNDS):
            half = 0.5 * (right - left)
            u = (left + half)[:, None] + half[:, None] * _X
            c = GivenTau(*(a.reshape(u.shape) for a in self.given_tau(u.ravel())))
            log_g = self.tau_prior.log_density(u) + c.log_marginal + u
            top = log_g.max(axis=1)
            old, ref = ref, max(ref, float(top.max()))
            g = np.exp(log_g - ref)
            mass = half * (g @ _W)
            total *= np.exp(old - ref)
            # The posterior of mu must be resolved too: where it moves by more than its own width within a panel.
            i = np.unravel_index(np.argmax(g), g.shape)
            drift = (c.mean - c.mean[i]) / np.where(c.sd > 0, c.sd, 1.0)
            tail = sum(np.abs((f @ _TO_SERIES)[:, -3:]).max(axis=1) for f in (g, g * np.clip(drift, -9, 9)))
            # A peak may hide between the last node and the edge, where only extrapolation sees it.
            edge = (np.maximum(log_g, ref - 1e7) @ _AT_EDGES).max(axis=1)
            hidden = (edge > top + 30.0) & (edge > ref - 50.0)
            settled = (tail * half <= _TOLERANCE * (total + mass.sum())) & ~hidden
            total += float(mass[settled].sum())
            kept.append(tuple(a[settled] for a in (left, right, u, log_g, c.mean, c.sd)))
            left, right = left[~settled], right[~settled]
            if not len(left):
                return self._posterior(kept, low, high, ref)
            middle = 0.5 * (left + right)
            left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        raise ConvergenceError(
            f"The posterior of tau must be resolved in {_ROUNDS} rounds, but {len(left)} panels near "
            f"tau = {np.exp(left[0]):.3g} are not. Check that yi and vi are on one scale."
        )

    def _posterior(self, kept: list[tuple[Array, ...]], low: float, high: float, ref: float) -> TauPosterior:
        left, right, u, log_g, mean, sd = (np.concatenate(a) for a in zip(*kept, strict=True))
        order = np.argsort(left)
        half = 0.5 * (right - left)[order]
        g = np.exp(log_g[order] - ref)
        # Beyond the ends the marginal likelihood is constant or the prior has next to no mass: two lumps.
        ends = np.array([low, high])
        c = self.given_tau(ends)
        prior = self.tau_prior
        # In logarithms: where prior and data are far apart, a mass of 0 meets a likelihood beyond all floats.
        with np.errstate(divide="ignore"):
            log_mass = np.log([prior.below(ends[:1])[0], prior.above(ends[1:])[0]])
        outside = np.exp(log_mass + c.log_marginal - ref)
        mass = half * (g @ _W)
        total = float(mass.sum() + outside.sum())
        if not 0 < total < np.inf:
            raise ConvergenceError(
                "The posterior of tau could not be normalised, for the prior and the effects are on scales too far "
                "apart. Check that yi, vi and tau_scale are in one unit."
            )
        nodes = np.concatenate([ends[:1], u[order].ravel(), ends[1:]])
        share = np.concatenate([outside[:1], (half[:, None] * g * _W).ravel(), outside[1:]]) / total
        used = share > 1e-22
        at = (np.concatenate([e[:1], a[order].ravel(), e[1:]]) for e, a in ((c.mean, mean), (c.sd, sd)))
        return TauPosterior(
            hierarchy=self,
            edges=frozen_copy(np.concatenate([left[order], right[order][-1:]])),
            series=frozen_copy((g @ _TO_SERIES) / total),
            cumulative=frozen_copy((outside[0] + np.concatenate([[0.0], np.cumsum(mass)])) / total),
            log_evidence=ref + float(np.log(total)),
            log_tau=frozen_copy(nodes[used]),
            weights=frozen_copy(share[used] / share[used].sum()),
            given=GivenTau(frozen_copy(np.full(int(used.sum()), np.nan)), *(frozen_copy(a[used]) for a in at)),
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TauPosterior:
    """Posterior of tau.

    Attributes
    ----------
    hierarchy : Hierarchy
        Data and priors.
    edges, series, cumulative : ndarray
        Panels in log tau, the Legendre series of the posterior density of log tau in each, and the mass below each
        edge.
    log_evidence : float
        Log marginal likelihood.
    log_tau, weights, given : ndarray, ndarray, GivenTau
        Nodes of the quadrature, their posterior weights (sum 1), and mean and sd of mu given each node (its
        `log_marginal` is not kept: NaN).
    """

    hierarchy: Hierarchy
    edges: Array
    series: Array
    cumulative: Array
    log_evidence: float
    log_tau: Array
    weights: Array
    given: GivenTau

    def __repr__(self) -> str:
        return f"TauPosterior(median {self.median:.4g})"

    @property
    def values(self) -> Array:
        """tau at the nodes."""
        return np.asarray(np.exp(self.log_tau))

    def has_moment(self, order: float) -> bool:
        """Whether E(tau^order) exists."""
        return self.hierarchy.tau_prior.has_moment(order, self.hierarchy.decay)

    @property
    def mean(self) -> float:
        """Expected tau; infinite where the tail is too heavy."""
        return float(self.weights @ self.values) if self.has_moment(1) else np.inf

    @property
    def sd(self) -> float:
        """Standard deviation of tau; infinite where the tail is too heavy, NaN where the mean is infinite."""
        if not self.has_moment(2):
            return np.inf if self.has_moment(1) else np.nan
        return float(np.sqrt(self.weights @ (self.values - self.mean) ** 2))

    @property
    def median(self) -> float:
        """Value with half of the mass on each side."""
        return float(self.quantile(0.5))

    def pdf(self, tau: ArrayLike) -> Array:
        """Posterior density at tau; 0 below 0."""
        t = np.ravel(np.asarray(tau, dtype=float))
        with np.errstate(divide="ignore"):
            u = np.log(np.maximum(t, 1e-300))
        out = np.zeros(len(t))
        ok = (t >= 0) & (t <= self.hierarchy.tau_prior.upper) & np.isfinite(t)
        out[ok] = np.exp(self._log_density(u[ok]))
        return out.reshape(np.shape(tau))

    def _log_density(self, log_tau: Array) -> Array:
        h = self.hierarchy
        return np.asarray(h.tau_prior.log_density(log_tau) + h.given_tau(log_tau).log_marginal - self.log_evidence)

    def _mass(self, panel: NDArray[np.intp]) -> Array:
        """Legendre series of the posterior mass below a point, from -1 to 1, of each panel named."""
        series = legendre.legint(self.series[panel].T, lbnd=-1, axis=0) * (0.5 * np.diff(self.edges)[panel])
        series[0] += self.cumulative[panel]
        return np.asarray(series)

    def cdf(self, tau: ArrayLike) -> Array:
        """Posterior mass below tau."""
        t = np.ravel(np.asarray(tau, dtype=float))
        with np.errstate(divide="ignore"):
            u = np.log(np.maximum(t, 0.0))
        panel = np.clip(np.searchsorted(self.edges, u, side="right") - 1, 0, len(self.series) - 1)
        left, right = self.edges[panel], self.edges[panel + 1]
        x = np.clip(2.0 * (u - left) / (right - left) - 1.0, -1.0, 1.0)
        out = legendre.legval(x, self._mass(panel), tensor=False)
        # Below the first panel the likelihood is constant, and tau is too small to matter.
        out = np.where(u < self.edges[0], self.cumulative[0] * np.exp(u - self.edges[0]), out)
        return np.clip(np.where(t >= self.hierarchy.tau_prior.upper, 1.0, out), 0.0, 1.0).reshape(np.shape(tau))

    def quantile(self, p: ArrayLike) -> Array:
        """Value with mass p below it."""
        area = np.ravel(np.asarray(p, dtype=float))
        if not ((area >= 0) & (area <= 1)).all():
            raise ValueError("A probability must lie between 0 and 1.")
        panel = np.clip(np.searchsorted(self.cumulative, area, side="right") - 1, 0, len(self.series) - 1)
        half = 0.5 * np.diff(self.edges)[panel]
        mass, density = self._mass(panel), self.series[panel].T * half
        low, high = np.full(len(area), -1.0), np.ones(len(area))
        x = np.zeros(len(area))
        for _ in range(60):  # Newton's method inside a bracket; as many halvings would do as well
            miss = legendre.legval(x, mass, tensor=False) - area
            high, low = np.where(miss > 0, x, high), np.where(miss > 0, low, x)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                new = x - miss / legendre.legval(x, density, tensor=False)
            new = np.where((new >= low) & (new <= high), new, 0.5 * (low + high))
            settled = np.abs(new - x) < 1e-13
            x = new
            if settled.all():
                break
        tau = np.exp(self.edges[panel] + half * (x + 1.0))
        if self.cumulative[0] > 0:
            tau = np.where(area < self.cumulative[0], np.exp(self.edges[0]) * area / self.cumulative[0], tau)
        tau = np.where(area <= 0, 0.0, np.where(area >= 1, self.hierarchy.tau_prior.upper, tau))
        return np.asarray(tau).reshape(np.shape(p))

    @property
    def mode(self) -> float:
        """Value with the highest density: 0 when the density is highest there, or without limit (log-t priors)."""
        at_zero = float(self._log_density(self.edges[:1])[0])
        log_density = self._log_density(self.log_tau)
        best = int(np.argmax(log_density))
        if at_zero >= log_density[best] - 1e-12:
            return 0.0
        around = self.log_tau[max(best - 1, 0)], self.log_tau[min(best + 1, len(self.log_tau) - 1)]
        found = optimize.minimize_scalar(
            lambda u: -float(self._log_density(np.array([u]))[0]),
            bounds=around,
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(np.exp(found.x))

    def interval(self, level: float = 0.95, kind: str = "central") -> Interval:
        """Credible interval: "central" (equal tails) or "shortest" (highest density; it may begin at 0)."""
        check_interval(kind)
        if kind == "shortest":
            return shortest_interval(self.quantile, self.pdf, level)
        tail = (1.0 - level) / 2
        return Interval(*(float(x) for x in self.quantile([tail, 1.0 - tail])))
