"""Prior distributions of tau, the standard deviation between trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from scipy import special

from metamiq.pooling.wls import Array

Curve = Callable[[Array], Array]
Parameters = ParamSpec("Parameters")
HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TauPrior:
    """A prior of tau. Make one with a function of this module, such as `half_normal`.

    Everything is a function of log tau, so that no scale is too small or too large.

    Attributes
    ----------
    label : str
        What a reader should see.
    log_density : callable
        Log of the density of tau (not of log tau), at log tau.
    below, above : callable
        Prior mass on either side of tau, at log tau; for an improper prior `below` is the measure of (0, tau).
    tail : float
        The prior has moments of tau below this order; -1 for the improper uniform prior.
    start, stop : float
        Values of log tau between which the bulk of the prior lies.
    proper : bool
        Whether the prior integrates to 1.
    upper : float
        Largest tau allowed.
    slow_tail : bool
        Whether the tail is thinner than any power only by a power of log tau (log-t): a moment of order exactly `tail`
        exists then.
    gap_at_zero : bool
        Whether the prior vanishes near 0 so fast that no likelihood can bring it back.
    """

    label: str
    log_density: Curve
    below: Curve
    above: Curve
    tail: float
    start: float
    stop: float
    proper: bool = True
    upper: float = np.inf
    slow_tail: bool = False
    gap_at_zero: bool = False
    made_by: tuple[Callable[..., TauPrior], tuple[Any, ...], dict[str, Any]] | None = None  # how to make it again

    def __repr__(self) -> str:
        return f"TauPrior({self.label})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Its curves are functions without a name, which pickle cannot store; those who made them it can.
        if self.made_by is None:
            return object.__reduce_ex__(self, 2)  # type: ignore[return-value]
        return _make, self.made_by

    def has_moment(self, order: float, decay: float) -> bool:
        """Whether E(tau^order) exists once a likelihood that falls like tau^-decay is multiplied in."""
        return order <= self.tail + decay if self.slow_tail else order < self.tail + decay

    def density(self, tau: Array | float) -> Array:
        """Prior density at tau; 0 below 0.

        Examples
        --------
        >>> print(f"{half_normal(0.5).density(0.0):.4f}")
        1.5958
        """
        t = np.asarray(tau, dtype=float)
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(np.where(t >= 0, np.exp(self.log_density(np.log(np.abs(t)))), 0.0))


def _make(maker: Callable[..., TauPrior], positional: tuple[Any, ...], named: dict[str, Any]) -> TauPrior:
    return maker(*positional, **named)


def _remembered(maker: Callable[Parameters, TauPrior]) -> Callable[Parameters, TauPrior]:
    """Let a prior know how it was made, so that it, and a fit that rests on it, can go to another process."""

    @wraps(maker)
    def make(*positional: Parameters.args, **named: Parameters.kwargs) -> TauPrior:
        return replace(maker(*positional, **named), made_by=(make, positional, dict(named)))

    return make


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
            raise ValueError(f"{name} must be a finite number greater than 0, not {value!r}.")


def _finite(**values: float) -> None:
    for name, value in values.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} must be a finite number, not {value!r}.")


@_remembered
def half_normal(scale: float) -> TauPrior:
    """Density 2 / scale phi(tau / scale): a normal with standard deviation `scale`, cut at 0.

    Examples
    --------
    >>> half_normal(0.5)
    TauPrior(half-normal(scale 0.5))
    """
    _positive(tau_scale=scale)
    log_scale = float(np.log(scale))
    return TauPrior(
        label=f"half-normal(scale {scale:g})",
        log_density=lambda u: np.log(2.0) - HALF_LOG_2PI - log_scale - 0.5 * np.exp(2.0 * (u - log_scale)),
        below=lambda u: special.erf(np.exp(u - log_scale) / np.sqrt(2.0)),
        above=lambda u: special.erfc(np.exp(u - log_scale) / np.sqrt(2.0)),
        tail=np.inf,
        start=log_scale - 27.0,
        stop=log_scale + 4.0,
    )


@_remembered
def half_t(scale: float, dof: float) -> TauPrior:
    """Student's t with `dof` degrees of freedom and this scale, cut at 0; one degree of freedom is the half-Cauchy.

    Examples
    --------
    >>> print(half_t(0.5, dof=3).label)
    half-t(scale 0.5, dof 3)
    """
    _positive(tau_scale=scale, dof=dof)
    log_scale = float(np.log(scale))
    constant = float(
        np.log(2.0) + special.gammaln((dof + 1) / 2) - special.gammaln(dof / 2) - 0.5 * np.log(dof * np.pi)
    )

    def share(u: Array) -> Array:
        return np.asarray(np.exp(2.0 * (u - log_scale)) / dof)

    return TauPrior(
        label=f"half-Cauchy(scale {scale:g})" if dof == 1 else f"half-t(scale {scale:g}, dof {dof:g})",
        log_density=lambda u: constant - log_scale - (dof + 1) / 2 * np.log1p(share(u)),
        below=lambda u: special.betainc(0.5, dof / 2, share(u) / (1.0 + share(u))),
        above=lambda u: special.betainc(dof / 2, 0.5, 1.0 / (1.0 + share(u))),
        tail=float(dof),
        start=log_scale - 27.0,
        stop=log_scale,
    )


@_remembered
def half_cauchy(scale: float) -> TauPrior:
    """Density 2 / (pi scale (1 + (tau / scale)^2)).

    Examples
    --------
    >>> half_cauchy(0.5)
    TauPrior(half-Cauchy(scale 0.5))
    """
    return half_t(scale, 1.0)


@_remembered
def uniform(upper: float | None) -> TauPrior:
    """Uniform on (0, upper); None or infinity: the improper uniform prior with density 1 everywhere.

    Examples
    --------
    >>> uniform(2.0), uniform(None)
    (TauPrior(uniform(0, 2)), TauPrior(uniform(0, inf), improper))
    """
    if upper is None or upper == np.inf:
        return TauPrior(
            label="uniform(0, inf), improper",
            log_density=np.zeros_like,
            below=np.exp,
            above=np.zeros_like,
            tail=-1.0,
            start=np.inf,
            stop=-np.inf,
            proper=False,
        )
    _positive(tau_scale=upper)
    log_upper = float(np.log(upper))
    return TauPrior(
        label=f"uniform(0, {upper:g})",
        log_density=lambda u: np.where(u <= log_upper + 1e-14, -log_upper, -np.inf),
        below=lambda u: np.minimum(np.exp(u - log_upper), 1.0),
        above=lambda u: np.maximum(-np.expm1(u - log_upper), 0.0),
        tail=np.inf,
        start=log_upper - 27.0,
        stop=log_upper,
        upper=float(upper),
    )


@_remembered
def inverse_gamma(shape: float, scale: float) -> TauPrior:
    """Inverse gamma of tau2: density of tau2 proportional to tau2^(-shape - 1) exp(-scale / tau2).

    Examples
    --------
    >>> inverse_gamma(1.0, 0.15)
    TauPrior(inverse gamma of tau2(shape 1, scale 0.15))
    """
    _positive(tau_shape=shape, tau_scale=scale)
    constant = float(np.log(2.0) + shape * np.log(scale) - special.gammaln(shape))

    def ratio(u: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(scale * np.exp(-2.0 * u))

    return TauPrior(
        label=f"inverse gamma of tau2(shape {shape:g}, scale {scale:g})",
        log_density=lambda u: constant - (2 * shape + 1) * u - ratio(u),
        below=lambda u: special.gammaincc(shape, ratio(u)),
        above=lambda u: special.gammainc(shape, ratio(u)),
        tail=2.0 * shape,
        start=0.5 * float(np.log(scale)) - 6.9,  # the exponent is -1e6 there
        stop=0.5 * float(np.log(scale)),
        gap_at_zero=True,
    )


@_remembered
def log_normal(mean: float, sd: float) -> TauPrior:
    """Log-normal of tau2: log(tau2) is normal with this mean and standard deviation.

    Examples
    --------
    >>> log_normal(-2.56, 1.74)
    TauPrior(log-normal of tau2(mean -2.56, sd 1.74))
    """
    _finite(mean=mean)
    _positive(sd=sd)
    return TauPrior(
        label=f"log-normal of tau2(mean {mean:g}, sd {sd:g})",
        log_density=lambda u: np.log(2.0 / sd) - HALF_LOG_2PI - u - 0.5 * ((2.0 * u - mean) / sd) ** 2,
        below=lambda u: special.ndtr((2.0 * u - mean) / sd),
        above=lambda u: special.ndtr((mean - 2.0 * u) / sd),
        tail=np.inf,
        start=(mean - 9.0 * sd) / 2,
        stop=(mean + 9.0 * sd) / 2,
    )


@_remembered
def log_t(location: float, scale: float, dof: float = 5.0) -> TauPrior:
    """Log-t of tau2: (log(tau2) - location) / scale has Student's t distribution.

    Examples
    --------
    >>> log_t(-3.44, 2.59)
    TauPrior(log-t of tau2(location -3.44, scale 2.59, dof 5))
    """
    _finite(location=location)
    _positive(scale=scale, dof=dof)
    constant = float(
        np.log(2.0 / scale) + special.gammaln((dof + 1) / 2) - special.gammaln(dof / 2) - 0.5 * np.log(dof * np.pi)
    )
    return TauPrior(
        label=f"log-t of tau2(location {location:g}, scale {scale:g}, dof {dof:g})",
        log_density=lambda u: constant - u - (dof + 1) / 2 * np.log1p(((2.0 * u - location) / scale) ** 2 / dof),
        below=lambda u: special.stdtr(dof, (2.0 * u - location) / scale),
        above=lambda u: special.stdtr(dof, (location - 2.0 * u) / scale),
        tail=0.0,
        start=(location - 6.0 * scale) / 2 - 20.0,
        stop=(location + 6.0 * scale) / 2,
        slow_tail=True,
    )


def tau_prior(kind: str | TauPrior, scale: float | None, shape: float | None) -> TauPrior:
    """Turn what a caller wrote into a prior.

    Examples
    --------
    >>> tau_prior("halfcauchy", 1.0, None)
    TauPrior(half-Cauchy(scale 1))
    """
    if isinstance(kind, TauPrior):
        return kind
    if kind not in ("halfcauchy", "halfnormal", "invgamma", "uniform"):
        raise ValueError(
            f"tau_prior must be one of 'halfcauchy', 'halfnormal', 'invgamma', 'uniform' or a TauPrior, not {kind!r}."
        )
    if (shape is not None) != (kind == "invgamma"):
        raise ValueError(
            "tau_shape must be given with tau_prior='invgamma', and with no other: "
            f"tau_prior is {kind!r} and tau_shape {shape!r}."
        )
    if kind == "uniform":
        return uniform(scale)
    if scale is None:
        raise ValueError(f"tau_scale must be a finite number greater than 0 for tau_prior={kind!r}, not None.")
    if kind == "invgamma":
        assert shape is not None
        return inverse_gamma(shape, scale)
    return half_normal(scale) if kind == "halfnormal" else half_cauchy(scale)
