r"""The likelihood of a location-scale model: :math:`y_i \sim N(x_i'\beta, v_i + \tau^2_i)`.

With :math:`\log\tau^2_i = z_i'\alpha` and the location coefficients taken out, it is a function of :math:`\alpha`. With
:math:`P = W - WX(X'WX)^{-1}X'W`, :math:`W = \mathrm{diag}\,1 / (v_i + \tau^2_i)` and
:math:`D_j = \mathrm{diag}\,\tau^2_i z_{ij}`, its derivatives are

.. math:: -2 \partial_j \ell &= \mathrm{tr}(C D_j) - y'P D_j P y \\
   -2 \partial_j \partial_l \ell &= \mathrm{tr}(C D_{jl}) - \mathrm{tr}(C D_j C D_l)
   + 2 y'P D_j P D_l P y - y'P D_{jl} P y

with C = P for the restricted, C = W for the full likelihood and :math:`D_{jl} = \mathrm{diag}\,\tau^2_i z_{ij} z_{il}`.
P is never formed: everything is a sum over rows, with leverages and residuals of one QR decomposition.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metamiq.pooling.tables import Array

_LARGEST_LOG = 600.0  # beyond, tau2 overflows


class Point(NamedTuple):
    """The log-likelihood at one alpha, its gradient and its matrix of second derivatives."""

    value: float
    gradient: Array  # (q,)
    hessian: Array  # (q, q)


class Location(NamedTuple):
    """The regression on X with the weights of one alpha; rows are divided by sqrt(v + tau2)."""

    basis: Array  # (k, p), orthonormal columns
    root: Array  # (p, p), upper triangular: X / sqrt(v + tau2) = basis root
    leverage: Array  # (k,)
    residual: Array  # (k,)


class Likelihood:
    """The (restricted) likelihood as a function of alpha.

    X and Z are kept on orthonormal bases, so that a year beside an intercept loses no digits: `alpha` here means
    coefficients of the columns of `Z`, which have mean square 1, and `scale_root` leads back to those of the formula.

    Parameters
    ----------
    yi, vi : ndarray, shape (k,)
        Effect sizes and sampling variances.
    X, Z : ndarray, shape (k, p) and (k, q)
        Designs of location and scale, of full rank.
    restricted : bool
        Restricted (REML) or full (ML) likelihood.
    """

    def __init__(self, yi: Array, vi: Array, X: Array, Z: Array, restricted: bool) -> None:
        self.vi, self.restricted = vi, restricted
        self.X, self.location_root = np.linalg.qr(X)
        self.rough = self.X.T @ yi  # a first fit, so that residuals lose no digits to a large mean
        self.yi = yi - self.X @ self.rough
        basis, root = np.linalg.qr(Z)
        size = np.sqrt(len(yi))
        self.Z, self.scale_root = basis * size, root / size
        self.constant = -0.5 * (len(yi) - (X.shape[1] if restricted else 0)) * np.log(2.0 * np.pi)

    def log_tau2(self, alpha: Array) -> Array:
        """Log tau2 of each row."""
        return np.asarray(self.Z @ alpha)

    def location(self, total: Array) -> Location:
        """The regression with variances `total`."""
        inverse = 1.0 / np.sqrt(total)
        basis, root = np.linalg.qr(self.X * inverse[:, None])
        scaled = self.yi * inverse
        residual = scaled - basis @ (basis.T @ scaled)
        return Location(basis, root, np.einsum("kp,kp->k", basis, basis), residual)

    def _value(self, total: Array, at: Location) -> float:
        # log |X'X| of metafor's restricted likelihood is 0 on an orthonormal basis.
        logdet = 2.0 * np.log(np.abs(np.diagonal(at.root))).sum() if self.restricted else 0.0
        return float(self.constant - 0.5 * (np.log(total).sum() + logdet + at.residual @ at.residual))

    def value(self, alpha: Array) -> float:
        """The log-likelihood; minus infinity where tau2 overflows."""
        eta = self.log_tau2(alpha)
        if not eta.max() < _LARGEST_LOG:
            return -np.inf
        total = self.vi + np.exp(eta)
        return self._value(total, self.location(total))

    def point(self, alpha: Array) -> Point:
        """The log-likelihood with its derivatives, which are 0 where tau2 overflows."""
        eta = self.log_tau2(alpha)
        if not eta.max() < _LARGEST_LOG:
            return Point(-np.inf, np.zeros_like(alpha), np.zeros((len(alpha), len(alpha))))
        tau2 = np.exp(eta)
        total = self.vi + tau2
        at = self.location(total)
        share = tau2 / total
        square = at.residual**2
        counted = 1.0 - at.leverage if self.restricted else np.ones_like(square)
        gradient = 0.5 * self.Z.T @ (share * (square - counted))
        weighted = share[:, None] * self.Z
        through = at.basis.T @ (weighted * at.residual[:, None])
        curved = self.Z.T @ ((share * (square - counted))[:, None] * self.Z)
        quadratic = weighted.T @ (square[:, None] * weighted) - through.T @ through
        traces = _restricted_traces(weighted, at.basis) if self.restricted else weighted.T @ weighted
        hessian = 0.5 * (traces + curved) - quadratic
        return Point(self._value(total, at), gradient, 0.5 * (hessian + hessian.T))

    def is_identified(self) -> bool:
        """Whether the residuals of the location say something of every combination of scale coefficients."""
        information = _restricted_traces(self.Z, self.X)
        return bool(np.linalg.eigvalsh(information)[0] > 1e-9 * len(self.yi))


def _restricted_traces(weighted: Array, basis: Array) -> Array:
    """tr(P D_j P D_l) for every j and l, shape (q, q), from D_j / (v + tau2): two sums over rows, not over pairs."""
    p, q = basis.shape[1], weighted.shape[1]
    leverage = np.einsum("kp,kp->k", basis, basis)
    inner = np.empty((q, p * p))
    for j in range(q):
        inner[j] = (basis.T @ (weighted[:, j, None] * basis)).ravel()
    return np.asarray(weighted.T @ ((1.0 - 2.0 * leverage)[:, None] * weighted) + inner @ inner.T)
