r"""Weight functions w(p) of selection models: how likely a result with this p-value is to be seen.

Each gives the two things that a likelihood needs: the log weights of the data, and for each row the normaliser
:math:`A = \int w(p(y)) N(y; \mu, s^2) dy` with its derivatives. Step functions do this in closed form, smooth ones by
Gauss-Legendre quadrature on z = y / se, where neither w nor the density varies faster than on the scale of 1. Beyond
the quadrature w is constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metamiq.errors import ConvergenceError
from metamiq.pooling.wls import Array
from metamiq.sensitivity.normal_pieces import hermite, interval

ALTERNATIVES = ("greater", "less", "two.sided")
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)
FURTHEST = 300.0  # standard errors from 0 that the quadrature can cover
FLAT = 12.0  # standard errors from 0 beyond which p is 0 or 1 for every weight function that is bounded away from 0
NEAR_0 = 0.5 * 4.0 ** -np.arange(12)
BETA_P = 1e-5  # p-values closer to 0 or 1 have the beta weight of this one: it would be infinite at 0


class Selected(NamedTuple):
    """Sum over rows of log w, its gradient (q,) and Hessian (q, q) in the parameters."""

    value: float
    gradient: Array
    hessian: Array


class Normaliser(NamedTuple):
    """The normaliser of each row with its derivatives in mu and in the parameters of the weight function."""

    mu: Array  # (k, 5): orders 0 to 4 in mu
    own: Array  # (k, q, 3): first in each parameter and orders 0 to 2 in mu
    pair: Array  # (k, q, q): second in the parameters


class WeightFunction(Protocol):
    """What a selection likelihood asks of a weight function."""

    start: Array
    strong: Array
    lower: Array
    reach: Array

    def at_data(self, x: Array) -> Array:
        """w(p) of each row."""

    def selected(self, x: Array) -> Selected:
        """The log weights of the data."""

    def normaliser(self, x: Array, mu: Array, s: Array) -> Normaliser:
        """The normaliser of each row."""

    def weight(self, x: Array, p: Array) -> Array:
        """w(p)."""


class NoSelection:
    """Everything is seen."""

    start = strong = lower = reach = np.empty(0)

    def at_data(self, x: Array) -> Array:
        """w(p) of each row."""
        return np.ones(1)

    def selected(self, x: Array) -> Selected:
        """The log weights of the data."""
        return Selected(0.0, np.empty(0), np.empty((0, 0)))

    def normaliser(self, x: Array, mu: Array, s: Array) -> Normaliser:
        """The normaliser of each row."""
        out = np.zeros((len(mu), 5))
        out[:, 0] = 1.0
        return Normaliser(out, np.empty((len(mu), 0, 3)), np.empty((len(mu), 0, 0)))

    def weight(self, x: Array, p: Array) -> Array:
        """w(p)."""
        return np.ones_like(p)


class Steps:
    """One weight per interval of p-values, the first 1. The parameters are logs of the others."""

    def __init__(self, sei: Array, steps: Array, two_sided: bool, counts: NDArray[np.intp]) -> None:
        self.cuts = steps  # ascending, the last one is 1
        self.counts = counts.astype(float)
        q = len(steps) - 1
        self.start, self.lower, self.reach = np.zeros(q), np.full(q, -np.inf), np.full(q, 40.0)
        self.strong = np.full(q, -2.0)
        edges = np.concatenate([[0.0], steps])
        z = -special.ndtri(edges / 2 if two_sided else edges)
        # Interval j lies between z[j + 1] and z[j]; two-sided p-values have it on both sides of 0.
        self.low, self.high = np.outer(sei, z[1:]), np.outer(sei, z[:-1])
        self.two_sided = two_sided

    def pieces(self, mu: Array, s: Array) -> Array:
        """Probabilities of the intervals, (k, J, 5) with derivatives in mu."""
        m, sd = mu[:, None], s[:, None]
        out = interval(self.low, self.high, m, sd)
        if self.two_sided:
            out = out + interval(-self.high, -self.low, m, sd)
        return out

    def at_data(self, x: Array) -> Array:
        """The weight of each interval."""
        return np.asarray(np.exp(np.concatenate([[0.0], x])))

    def selected(self, x: Array) -> Selected:
        """The log weights of the data."""
        n = self.counts[1:]
        return Selected(float(n @ x), n, np.zeros((len(x), len(x))))

    def normaliser(self, x: Array, mu: Array, s: Array) -> Normaliser:
        """The normaliser of each row."""
        parts = self.pieces(mu, s) * np.exp(np.concatenate([[0.0], x]))[:, None]
        own = parts[:, 1:, :3]
        pair = own[:, :, 0, None] * np.eye(len(x))
        return Normaliser(parts.sum(axis=1), own, pair)

    def weight(self, x: Array, p: Array) -> Array:
        """w(p)."""
        return np.asarray(np.exp(np.concatenate([[0.0], x]))[np.searchsorted(self.cuts, p, side="left")])


class Logs(NamedTuple):
    """log w (n,), its first (n, q) and second (n, q, q) derivatives in the parameters."""

    value: Array
    first: Array
    second: Array


class Tails(NamedTuple):
    """p-values in the forms that keep their digits."""

    p: Array
    log_p: Array
    log_q: Array  # log(1 - p)


def tails(z: Array, two_sided: bool) -> Tails:
    """The p-value of z."""
    if not two_sided:
        return Tails(special.ndtr(-z), special.log_ndtr(-z), special.log_ndtr(z))
    p = 2 * special.ndtr(-np.abs(z))
    with np.errstate(divide="ignore"):
        log_q = np.where(p < 0.5, np.log1p(-p), np.log(special.erf(np.abs(z) / np.sqrt(2))))
    return Tails(p, np.log(2.0) + special.log_ndtr(-np.abs(z)), log_q)


def _exponential(of: Callable[[Tails], Array]) -> Callable[[Array, Tails, Array], Logs]:
    """W = exp(-delta c f(p)) for a precision factor c."""

    def logs(x: Array, t: Tails, c: Array) -> Logs:
        f = -c * of(t)
        return Logs(x[0] * f, f[..., None], np.zeros((*f.shape, 1, 1)))

    return logs


def _logistic(x: Array, t: Tails, c: Array) -> Logs:
    """W = 2 exp(-delta c p) / (1 + exp(-delta c p))."""
    f = c * t.p
    share = special.expit(x[0] * f)
    value = np.log(2.0) - np.logaddexp(0.0, x[0] * f)
    return Logs(value, (-f * share)[..., None], (-f * f * share * (1 - share))[..., None, None])


def _beta(x: Array, t: Tails, c: Array) -> Logs:
    """W = p^(delta1 - 1) (1 - p)^(delta2 - 1)."""
    first = np.maximum(np.stack([t.log_p, t.log_q], axis=-1), np.log(BETA_P))
    return Logs(first @ (x - 1), first, np.zeros((*t.p.shape, 2, 2)))


SMOOTH: dict[str, Callable[[Array, Tails, Array], Logs]] = {
    "beta": _beta,
    "halfnorm": _exponential(lambda t: t.p**2),
    "negexp": _exponential(lambda t: t.p),
    "logistic": _logistic,
    "power": _exponential(lambda t: -t.log_q),
}


class Smooth:
    """A weight function with one or two parameters that falls (beta: changes) with p."""

    def __init__(
        self, name: str, zi: Array, sei: Array, two_sided: bool, step: float | None, factor: Array | None, span: float
    ) -> None:
        self.name, self.sei, self.two_sided, self.step = name, sei, two_sided, step
        self.log_weight = SMOOTH[name]
        self.span = span
        beta = name == "beta"
        self.start = np.ones(2) if beta else np.zeros(1)
        self.strong = np.array([0.9, 2.0]) if beta else np.full(1, 2.0)
        self.lower = np.zeros(2 if beta else 1)
        self.reach = np.full(len(self.start), 1e4)
        self.c = np.ones(1) if factor is None else factor
        self.data = tails(np.clip(zi, -span, span), two_sided)
        self.nodes, self.node_weights = self._quadrature(span)
        self.at_nodes = tails(self.nodes, two_sided)
        self.edges = tails(np.array([-span, span]), two_sided)

    def _quadrature(self, span: float) -> tuple[Array, Array]:
        cuts = np.linspace(-span, span, 2 * int(np.ceil(span)) + 1)
        extra = np.zeros(1)
        if self.two_sided:
            # 1 - p is like |z| near 0, with any power of it: panels that shrink towards 0 keep that accurate.
            extra = np.concatenate([extra, NEAR_0, -NEAR_0])
        if self.step is not None:
            z = float(-special.ndtri(self.step / 2 if self.two_sided else self.step))
            extra = np.append(extra, [z, -z])
        edges = np.unique(np.concatenate([cuts, extra]))
        half = np.diff(edges)[:, None] / 2
        return ((edges[:-1, None] + half) + half * NODES).ravel(), (half * WEIGHTS).ravel()

    def _logs(self, x: Array, t: Tails, c: Array) -> Logs:
        out = self.log_weight(x, t, c)
        if self.step is None:
            return out
        a = np.broadcast_to(self.step, c.shape)
        at_step = self.log_weight(x, Tails(a, np.log(a), np.log1p(-a)), c)
        flat = t.p <= self.step
        return Logs(
            np.where(flat, 0.0, out.value - at_step.value),
            np.where(flat[..., None], 0.0, out.first - at_step.first),
            np.where(flat[..., None, None], 0.0, out.second - at_step.second),
        )

    def at_data(self, x: Array) -> Array:
        """w(p) of each row."""
        return np.asarray(np.exp(self._logs(x, self.data, self.c).value))

    def selected(self, x: Array) -> Selected:
        """The log weights of the data."""
        logs = self._logs(x, self.data, self.c)
        return Selected(float(logs.value.sum()), logs.first.sum(axis=0), logs.second.sum(axis=0))

    def normaliser(self, x: Array, mu: Array, s: Array) -> Normaliser:
        """The normaliser of each row."""
        c = self.c[:, None]
        k, q = len(mu), len(x)
        ratio = self.sei / s
        t = self.nodes * ratio[:, None] - (mu / s)[:, None]
        logs = self._logs(x, self.at_nodes, c)
        mass = np.exp(logs.value - 0.5 * t * t) * (self.node_weights * (ratio / np.sqrt(2 * np.pi))[:, None])
        he = hermite(t)
        power = s[:, None] ** -np.arange(5.0)
        out = np.stack([np.einsum("in,in->i", mass, h) for h in he], axis=-1) * power
        own = np.empty((k, q, 3))
        first, second = logs.first, logs.second
        for j in range(q):
            part = mass * first[..., j]
            own[:, j] = np.stack([np.einsum("in,in->i", part, h) for h in he[:3]], axis=-1) * power[:, :3]
        moments = first[..., :, None] * first[..., None, :] + second
        pair = np.stack(
            [
                [np.einsum("in,in->i", mass, np.broadcast_to(moments[..., i, j], mass.shape)) for j in range(q)]
                for i in range(q)
            ]
        ).transpose(2, 0, 1)
        return self._with_tails(x, mu, s, Normaliser(out, own, pair))

    def _with_tails(self, x: Array, mu: Array, s: Array, inner: Normaliser) -> Normaliser:
        """Beyond the nodes the weight is that of the edge."""
        far = self.span * self.sei
        none = np.full(len(mu), np.inf)
        beyond = np.stack([interval(-none, -far, mu, s), interval(far, none, mu, s)], axis=1)
        if beyond[..., 0].max() < 1e-30:
            return inner
        logs = self._logs(x, self.edges, self.c[:, None])
        w = np.exp(logs.value)
        parts = beyond * w[..., None]
        first = np.broadcast_to(logs.first, (len(mu), 2, len(x)))
        moments = first[..., :, None] * first[..., None, :] + logs.second
        return Normaliser(
            inner.mu + parts.sum(axis=1),
            inner.own + np.einsum("ieq,ien->iqn", first, parts[..., :3]),
            inner.pair + np.einsum("ieqr,ie->iqr", moments, parts[..., 0]),
        )

    def weight(self, x: Array, p: Array) -> Array:
        """w(p), on average over rows when it depends on their precision."""
        with np.errstate(divide="ignore"):
            t = Tails(p, np.log(p), np.log1p(-p))
        with np.errstate(invalid="ignore"):
            return np.asarray(np.exp(self._logs(x, t, np.full(1, self.c.mean())).value))


def span(type: str, two_sided: bool, mu: Array, s: Array, sei: Array) -> float:
    """Standard errors from 0 beyond which the weight of a type is constant, or there is no density left."""
    if type == "beta":
        return float(-special.ndtri(BETA_P / 2 if two_sided else BETA_P))
    if type != "power":
        return FLAT
    needed = float(((np.abs(mu) + 10 * s) / sei).max())
    if needed > FURTHEST:
        raise ConvergenceError(
            f"The power weight function cannot be fitted to studies that may lie {needed:.0f} standard errors from 0; "
            "use another one."
        )
    return max(FLAT, needed)
