r"""Pieces of a normal distribution and their derivatives in its mean.

For :math:`y \sim N(\mu, s^2)` the derivatives in :math:`s^2` follow from those in :math:`\mu`:
:math:`\partial_{s^2} = \tfrac12 \partial_\mu^2`.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from metamiq.pooling.wls import Array

ROOT_2PI = float(np.sqrt(2 * np.pi))


def density(t: Array) -> Array:
    """Standard normal density."""
    return np.asarray(np.exp(-0.5 * t * t) / ROOT_2PI)


def hermite(t: Array) -> tuple[Array, Array, Array, Array, Array]:
    """He_0 to He_4: the n-th derivative in mu of phi((y - mu) / s) is s^-n He_n phi."""
    t2 = t * t
    return np.ones_like(t), t, t2 - 1, t * (t2 - 3), t2 * t2 - 6 * t2 + 3


def interval(low: Array, high: Array, mu: Array, s: Array) -> Array:
    """P(low < y <= high) and its first four derivatives in mu, stacked on the last axis."""
    with np.errstate(invalid="ignore"):
        a, b = (low - mu) / s, (high - mu) / s
    upper = a > 0  # the smaller tail keeps its digits
    p = np.where(upper, special.ndtr(-a) - special.ndtr(-b), special.ndtr(b) - special.ndtr(a))
    fa, fb = density(a), density(b)
    za, zb = (np.where(np.isfinite(x), x, 0.0) for x in (a, b))  # the density is 0 at infinity
    out = np.empty((*p.shape, 5))
    out[..., 0] = p
    scale = np.broadcast_to(1.0 / s, p.shape)
    power = scale
    for n, (ha, hb) in enumerate(zip(hermite(za)[:4], hermite(zb)[:4], strict=True), start=1):
        out[..., n] = (ha * fa - hb * fb) * power
        power = power * scale
    return out
