"""Likelihoods of the binomial-normal models for 2x2 counts, integrated over the random effect.

Study i has the log odds ratio delta_i = theta + tau z_i with z_i standard normal. `Unconditional` gives each study an
intercept and two binomial counts; `Conditional` fixes the margins, which leaves a noncentral hypergeometric count
without an intercept. Both are log-concave in the intercepts and delta, and so is the integral over z in the
intercepts and theta (Prekopa), which is why Newton's method on them cannot be caught by a local maximum.

The integral is adaptive Gauss-Hermite: nodes centred on the mode of each study's integrand and scaled by its
curvature there. When a random effect is so wide that its normal density meets the edge of a likelihood without an
upper end (a zero cell), Gauss-Hermite converges slowly; many points are therefore spaced equally over the range where
the integrand is not negligible, which converges exponentially there too.

Every cost is linear in the number of studies: an intercept meets only theta and tau, so the Hessian is an arrow,
solved by eliminating the intercepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metamiq.errors import ConvergenceError, DataError

Array = NDArray[np.float64]


class Slopes(NamedTuple):
    """Log-likelihood of each study at given points, with first and second derivatives.

    Letters: d is delta, a the study's intercept. `a`, `aa` and `ad` are None without intercepts.
    """

    value: Array
    d: Array
    dd: Array
    a: Array | None = None
    aa: Array | None = None
    ad: Array | None = None


class Kernel(Protocol):
    """What a model says of each study, given its log odds ratio."""

    k: int

    def slopes(self, delta: Array, alpha: Array) -> Slopes:
        """Log-likelihood and derivatives at `delta`, shape (k, q), with intercepts `alpha`, shape (k,)."""

    def start(self) -> Array:
        """Intercepts to begin from, shape (k,)."""

    def saturated(self) -> tuple[float, Array, Array]:
        """Highest log-likelihood with a log odds ratio per study, those log odds ratios and their variances."""


class Unconditional:
    """Two binomial counts per study; logits alpha + coding delta and alpha + (coding - 1) delta."""

    def __init__(self, ai: Array, n1i: Array, ci: Array, n2i: Array, coding: float) -> None:
        self.k = len(ai)
        self.ai, self.n1i, self.ci, self.n2i, self.coding = ai, n1i, ci, n2i, coding
        self.constant = np.asarray(_log_choose(n1i, ai) + _log_choose(n2i, ci))

    def slopes(self, delta: Array, alpha: Array) -> Slopes:
        """Log-likelihood and derivatives at `delta`, shape (k, q), with intercepts `alpha`, shape (k,)."""
        s1, s2 = self.coding, self.coding - 1.0
        eta1, eta2 = alpha[:, None] + s1 * delta, alpha[:, None] + s2 * delta
        n1, n2 = self.n1i[:, None], self.n2i[:, None]
        p1, p2 = special.expit(eta1), special.expit(eta2)
        r1, r2 = self.ai[:, None] - n1 * p1, self.ci[:, None] - n2 * p2
        v1, v2 = n1 * p1 * special.expit(-eta1), n2 * p2 * special.expit(-eta2)
        # Each logit with the sign that makes it a failure or a success keeps the log-likelihood from cancelling.
        value = (
            self.constant[:, None]
            + self.ai[:, None] * special.log_expit(eta1)
            + (n1 - self.ai[:, None]) * special.log_expit(-eta1)
            + self.ci[:, None] * special.log_expit(eta2)
            + (n2 - self.ci[:, None]) * special.log_expit(-eta2)
        )
        return Slopes(
            value=value,
            d=s1 * r1 + s2 * r2,
            dd=-(s1**2) * v1 - s2**2 * v2,
            a=r1 + r2,
            aa=-v1 - v2,
            ad=-s1 * v1 - s2 * v2,
        )

    def start(self) -> Array:
        """Intercepts to begin from, shape (k,)."""
        events, n = self.ai + self.ci, self.n1i + self.n2i
        return np.asarray(np.log((events + 0.5) / (n - events + 0.5)))

    def saturated(self) -> tuple[float, Array, Array]:
        """Highest log-likelihood with a log odds ratio per study, those log odds ratios and their variances."""
        bi, di = self.n1i - self.ai, self.n2i - self.ci
        best = self.constant.sum() + sum(
            special.xlogy(x, x / n).sum()
            for x, n in ((self.ai, self.n1i), (bi, self.n1i), (self.ci, self.n2i), (di, self.n2i))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            yi = np.log(self.ai * di) - np.log(bi * self.ci)
            vi = 1 / self.ai + 1 / bi + 1 / self.ci + 1 / di
        return float(best), yi, vi


MOST_COUNTS = 100_000  # about half a minute


class Conditional:
    """Events of group 1 given both margins: noncentral hypergeometric with log odds ratio delta."""

    def __init__(self, ai: Array, n1i: Array, ci: Array, n2i: Array) -> None:
        self.k = len(ai)
        m = ai + ci
        low, high = np.maximum(0.0, m - n2i), np.minimum(n1i, m)
        self.at_end = (ai == low) | (ai == high)
        size = high - low + 1
        if size.sum() > MOST_COUNTS:
            raise DataError(
                f"The exact conditional model sums over every count that the margins allow, at most {MOST_COUNTS:,} in "
                f"all, but there are {size.sum():,.0f}. With so many events use model='UM.FS'."
            )
        size = size.astype(np.intp)
        self.first = np.concatenate([[0], np.cumsum(size)[:-1]])
        self.study = np.repeat(np.arange(self.k), size)
        # Each study's possible counts less the observed one, and their log weights relative to the observed one.
        # Sums of log ratios keep the digits that differences of log-gammas of large arms would lose.
        self.step = np.empty(int(size.sum()))
        self.log_weight = np.empty_like(self.step)
        for i in range(self.k):
            j = np.arange(low[i], high[i] + 1)
            up = np.log((n1i[i] - j[:-1]) * (m[i] - j[:-1])) - np.log(j[1:] * (n2i[i] - m[i] + j[1:]))
            w = np.concatenate([[0.0], np.cumsum(up)])
            here = slice(self.first[i], self.first[i] + size[i])
            self.step[here] = j - ai[i]
            self.log_weight[here] = w - w[int(ai[i] - low[i])]

    def slopes(self, delta: Array, alpha: Array) -> Slopes:
        """Log-likelihood and derivatives at `delta`, shape (k, q), with intercepts `alpha`, shape (k,)."""
        value, d, dd = (np.empty_like(delta) for _ in range(3))
        # One node at a time: memory stays linear in the number of possible counts.
        for q in range(delta.shape[1]):
            x = self.log_weight + self.step * delta[self.study, q]
            top = np.maximum.reduceat(x, self.first)
            w = np.exp(x - top[self.study])
            total = np.add.reduceat(w, self.first)
            mean = np.add.reduceat(w * self.step, self.first) / total
            value[:, q] = -top - np.log(total)
            d[:, q] = -mean
            dd[:, q] = -np.add.reduceat(w * (self.step - mean[self.study]) ** 2, self.first) / total
        return Slopes(value, d, dd)

    def start(self) -> Array:
        """Intercepts to begin from, shape (k,)."""
        return np.zeros(self.k)

    def saturated(self) -> tuple[float, Array, Array]:
        """Highest log-likelihood with a log odds ratio per study, those log odds ratios and their variances."""
        # A study at the end of its range is certain (log-likelihood 0) under an infinite log odds ratio.
        delta = np.zeros((self.k, 1))
        inner = ~self.at_end
        for _ in range(200):
            s = self.slopes(delta, delta[:, 0])
            step = np.where(inner, s.d[:, 0] / np.where(inner, -s.dd[:, 0], 1.0), 0.0)
            delta[:, 0] += np.clip(step, -1.0, 1.0)
            if np.all(np.abs(step) < 1e-11):
                break
        else:
            raise ConvergenceError(
                "The conditional log odds ratio of each study must settle, but 200 steps did not do."
            )
        s = self.slopes(delta, delta[:, 0])
        with np.errstate(divide="ignore"):
            vi = np.where(inner, -1.0 / s.dd[:, 0], np.inf)
        return float(s.value[inner, 0].sum()), np.where(inner, delta[:, 0], np.nan), vi


def _log_choose(n: Array, x: Array) -> Array:
    return np.asarray(special.gammaln(n + 1) - special.gammaln(x + 1) - special.gammaln(n - x + 1))


# Gauss-Hermite up to so many points, equally spaced beyond.
_HERMITE = 63
# What is this far below the peak (in logs) is below rounding error in the sum.
_NEGLIGIBLE = 38.0


@lru_cache(maxsize=16)
def _rule(points: int) -> tuple[Array, Array]:
    """Nodes x and log(w exp(x^2)) of the Gauss-Hermite rule."""
    x, w = special.roots_hermite(points)
    log_w = np.log(w) + x**2
    return x, log_w


@dataclass(frozen=True, slots=True)
class Marginal:
    """The integrated log-likelihood with its gradient and Hessian in (theta, tau), intercepts eliminated."""

    loglik: float
    gradient: Array  # in theta and tau
    information: Array  # minus the Hessian in theta and tau, intercepts profiled out, shape (2, 2)
    score_tau2: float  # slope in tau2, also where tau is 0
    intercept_slope: Array  # shape (k,)
    intercept_curvature: Array  # shape (k,), > 0
    cross: Array  # minus the mixed derivatives of intercept with theta and tau, shape (k, 2)
    share: Array  # each study's part of information[0, 0]
    z_mean: Array  # posterior mean and variance of each study's random effect, in units of tau
    z_var: Array

    @property
    def concave(self) -> bool:
        """Whether the quadrature shows the concavity that the integral has, so that Newton's step leads up."""
        return bool(self.information[0, 0] > 0 and (self.intercept_curvature > 0).all())

    def newton_step(self) -> tuple[float, Array, float]:
        """Step in theta and in the intercepts (tau fixed), and twice the rise that it promises."""
        b = self.cross[:, 0]
        gain = float(self.gradient[0] - (b * self.intercept_slope / self.intercept_curvature).sum())
        d_theta = gain / float(self.information[0, 0])
        d_alpha = (self.intercept_slope - b * d_theta) / self.intercept_curvature
        promised = gain * d_theta + float((self.intercept_slope**2 / self.intercept_curvature).sum())
        return d_theta, d_alpha, promised


def marginal(kernel: Kernel, theta: float, tau: float, alpha: Array, points: int) -> Marginal:
    """Integrate each study over its random effect.

    With g the gradient and H the Hessian of a study's log-likelihood at (intercept, theta, tau), the integral's log
    has gradient E[g] and Hessian E[H + g g'] - E[g] E[g]', expectations over the random effect given the data. The
    slope in tau2 is half of E[dd + d^2], because a normal density obeys the heat equation in its variance.
    """
    if tau == 0:
        z = np.zeros((kernel.k, 1))
        log_w = z
    else:
        mode, scale = _mode(kernel, theta, tau, alpha)
        if points <= _HERMITE:
            x, log_rule = _rule(points)
            z = mode[:, None] + np.sqrt(2.0) * scale[:, None] * x
            log_w = log_rule + np.log(scale)[:, None] - 0.5 * np.log(np.pi) - 0.5 * z**2
        else:
            low, high = _range(kernel, theta, tau, alpha, mode)
            z = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, points)
            log_w = np.log((high - low) / (points - 1))[:, None] - 0.5 * np.log(2 * np.pi) - 0.5 * z**2
    s = kernel.slopes(theta + tau * z, alpha)
    terms = s.value + log_w
    value = special.logsumexp(terms, axis=1)
    weight = np.exp(terms - value[:, None])

    def mean(v: Array) -> Array:
        return np.asarray((weight * v).sum(axis=1))

    e_d, e_zd = mean(s.d), mean(z * s.d)
    curved = s.dd + s.d**2
    e_curved = mean(curved)
    h_tt = e_curved - e_d**2
    h_ts = mean(z * curved) - e_d * e_zd
    h_ss = mean(z**2 * curved) - e_zd**2
    own = np.stack([np.stack([-h_tt, -h_ts]), np.stack([-h_ts, -h_ss])])  # (2, 2, k)
    slope, curvature, cross = np.zeros(kernel.k), np.ones(kernel.k), np.zeros((kernel.k, 2))
    if s.a is not None and s.aa is not None and s.ad is not None:
        slope = mean(s.a)
        curvature = -(mean(s.aa + s.a**2) - slope**2)
        mixed = s.ad + s.a * s.d
        cross = -np.stack([mean(mixed) - slope * e_d, mean(z * mixed) - slope * e_zd], axis=1)
        own = own - (cross[:, :, None] * cross[:, None, :] / curvature[:, None, None]).transpose(1, 2, 0)
    z_mean = mean(z) if tau > 0 else np.zeros(kernel.k)
    return Marginal(
        loglik=float(value.sum()),
        gradient=np.array([e_d.sum(), e_zd.sum()]),
        information=own.sum(axis=2),
        score_tau2=0.5 * float(e_curved.sum()),
        intercept_slope=slope,
        intercept_curvature=curvature,
        cross=cross,
        share=own[0, 0],
        z_mean=z_mean,
        z_var=mean(z**2) - z_mean**2 if tau > 0 else np.ones(kernel.k),
    )


def _mode(kernel: Kernel, theta: float, tau: float, alpha: Array) -> tuple[Array, Array]:
    """Mode of each study's integrand in z, and the root of its inverse curvature there."""

    def at(z: Array) -> Slopes:
        return kernel.slopes((theta + tau * z)[:, None], alpha)

    # The slope tau d(z) - z falls in z, so that the mode lies between 0 and tau d(0). Where Newton's step leaves the
    # bracket, or does not halve the one before, bisection takes its place: no study can fail.
    z = np.zeros(kernel.k)
    s = at(z)
    low, high = np.minimum(0.0, tau * s.d[:, 0]), np.maximum(0.0, tau * s.d[:, 0])
    before = np.full(kernel.k, np.inf)
    for _ in range(200):
        slope = tau * s.d[:, 0] - z
        low, high = np.where(slope >= 0, z, low), np.where(slope <= 0, z, high)
        step = slope / (1.0 - tau**2 * s.dd[:, 0])
        new = z + step
        bisect = (new < low) | (new > high) | (np.abs(step) > 0.5 * before)
        new = np.where(bisect, 0.5 * (low + high), new)
        before = np.abs(new - z)
        z = new
        s = at(z)
        if np.all(before <= 1e-12 * (1.0 + np.abs(z))):
            return z, 1.0 / np.sqrt(1.0 - tau**2 * s.dd[:, 0])
    raise ConvergenceError("The mode of each study's random effect must settle, but 200 steps did not do.")


def _range(kernel: Kernel, theta: float, tau: float, alpha: Array, mode: Array) -> tuple[Array, Array]:
    """Ends beyond which each study's integrand is negligible."""

    def log_integrand(z: Array) -> tuple[Array, Array]:
        s = kernel.slopes((theta + tau * z)[:, None], alpha)
        return s.value[:, 0] - 0.5 * z**2, tau * s.d[:, 0] - z

    level = log_integrand(mode)[0] - _NEGLIGIBLE
    ends = []
    for side in (-1.0, 1.0):
        # Curvature of at least 1 puts this start outside. The tangent of a concave function lies above it, so that
        # Newton's method comes inwards and never passes the end: any number of steps gives a safe range.
        z = mode + side * np.sqrt(2 * _NEGLIGIBLE)
        for _ in range(8):
            height, slope = log_integrand(z)
            z = z + (level - height) / slope
        ends.append(z)
    return ends[0], ends[1]
