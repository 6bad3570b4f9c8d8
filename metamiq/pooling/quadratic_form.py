r"""Distribution of Q_a = y'P_a y for normal y, without the eigenvalues of a k x k matrix.

Q_a is a weighted sum of chi-squared variables with moment generating function
:math:`M(t) = \det(I - 2t\,S P_a)^{-1/2}`, where S holds the variances of y. As :math:`P_a` is a diagonal matrix less
one of rank p, the matrix determinant lemma gives it from k divisions and a p x p determinant. The distribution
function is the Laplace integral

.. math:: F(q) = \frac{1}{2\pi i} \int_{z_0 - i\infty}^{z_0 + i\infty} M(-z)\, e^{zq}\, \frac{dz}{z}, \qquad z_0 > 0,

and with :math:`z_0 < 0` (right of the first singularity of M) the same integral is F(q) - 1, so that each tail is had
without subtraction from 1. The path goes through a saddle point and bends to the left, where the integrand falls
fast, and the trapezoidal rule on it converges geometrically.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from metamiq.errors import ConvergenceError
from metamiq.pooling.wls import Array

_STEP = 0.16  # error about exp(-2 pi / _STEP), 1e-17, of the largest term
_BLOCK = 64
_MAX_BLOCKS = 2000


class Tails(NamedTuple):
    """P(Q <= q) and P(Q > q)."""

    lower: float
    upper: float


def tails(q: float, a: Array, s: Array, x: Array) -> Tails:
    """Both tail probabilities of y'P_a y at q, when y is normal with variances `s` and mean in the span of `x`.

    The absolute error is below 1e-14. A small tail has a relative error of about 1e-12 as well, except an upper tail
    when one row has nearly all the weight, where the path cannot go through the saddle point.

    Parameters
    ----------
    q : float
        Value of the quadratic form.
    a, s : ndarray, shape (k,)
        Weights of the form and variances of y, > 0.
    x : ndarray, shape (k, p)
        Design of full column rank, k > p.

    References
    ----------
    Gil-Pelaez (1951) and Imhof (1961) for the inversion; Helstrom & Ritcey (1985) for contours through saddle points.

    Examples
    --------
    >>> k = 8  # with a = 1 / s the form is chi-squared with k - 1 degrees of freedom
    >>> lower, upper = tails(14.0671404, np.ones(k), np.ones(k), np.ones((k, 1)))
    >>> print(f"{lower:.6f} {upper:.6f}")
    0.950000 0.050000
    """
    if q <= 0:
        return Tails(0.0, 1.0)
    k, p = x.shape
    # In units of the largest weight all quantities are of moderate size.
    lam = s * a
    top = float(lam.max())
    lam, q = lam / top, q / top
    basis = np.linalg.qr(np.sqrt(a)[:, None] * x)[0]
    # Each of the k factors counts as (k - p) / k here: close enough for a path, which need not be the best one.
    share = (k - p) / k
    below_mean = q < share * lam.sum()
    z0 = _saddle(q, lam, share, below_mean)
    d = 1.0 + 2.0 * z0 * lam
    ratio = lam / d
    second = share * 2.0 * float((ratio**2).sum())
    bend = share * 8.0 * float((ratio**3).sum()) / (6.0 * second)
    sigma = 1.0 / np.sqrt(second + 1.0 / z0**2)
    # The nearest singularity, 0 or the first of M, bounds the step of the rule. (That of M lies beyond -1/2.)
    step = _STEP * min(1.0, abs(z0) / sigma, (z0 + 0.5) / sigma)
    peak = float((_log_mgf(np.array([z0 + 0j]), lam, basis) + z0 * q).real[0])
    total = 0.0
    for block in range(_MAX_BLOCKS):
        t = step * (block * _BLOCK + np.arange(_BLOCK))
        z = z0 + 1j * sigma * t - bend * (sigma * t) ** 2
        slope = 1j * sigma - 2.0 * bend * sigma**2 * t
        term = (np.exp(_log_mgf(z, lam, basis) + z * q - peak) / z * slope).imag
        if block == 0:
            term[0] *= 0.5  # the path is symmetric: its lower half is the conjugate
        total += float(term.sum())
        if np.abs(term).max() < 1e-17 * abs(total):
            break
    else:
        raise ConvergenceError(
            "The integral for the distribution of Q must converge, but it did not for these variances."
        )
    tail = min(abs(step * total / np.pi) * np.exp(peak), 1.0)
    return Tails(tail, 1.0 - tail) if below_mean else Tails(1.0 - tail, tail)


def _saddle(q: float, lam: Array, share: float, below_mean: bool) -> float:
    """Where |M(-z) exp(zq) / z| is smallest on the positive real line, or between the singularities at -1/2 and 0."""

    def g(z: float) -> float:  # z times the derivative of its logarithm
        return z * q - 1.0 - share * float((lam * z / (1.0 + 2.0 * lam * z)).sum())

    if below_mean:  # the sum lies between 0 and share k / 2, so that z q lies well inside these
        return float(optimize.brentq(g, 0.5 / q, (2.0 + share * len(lam)) / q, xtol=1e-300, rtol=1e-4))
    low = -0.5 * (1.0 - 1e-14)
    if g(low) <= 0:
        return low
    return float(optimize.brentq(g, low, 0.0, xtol=1e-16, rtol=1e-4))


def _log_mgf(z: NDArray[np.complex128], lam: Array, basis: Array) -> NDArray[np.complex128]:
    """log M(-z) for z of shape (U,), on the branch that is real on the real line."""
    # With D = I + 2z S A, det(I + 2z S P_a) = det(D) det(B'D^-1 B), B an orthonormal basis of A^(1/2) X. In the upper
    # half plane all entries of D lie there too, and all eigenvalues of B'D^-1 B, which belong to its numerical range,
    # in the lower one: principal logarithms are continuous.
    d = 1.0 + 2.0 * z[:, None] * lam
    inverse = 1.0 / d
    if basis.shape[1] == 1:
        second = np.log(inverse @ (basis[:, 0] ** 2))
    else:
        inner = np.einsum("kp,uk,kq->upq", basis, inverse, basis, optimize=True)
        second = np.log(np.linalg.eigvals(inner)).sum(axis=1)
    return np.asarray(-0.5 * (np.log(d).sum(axis=1) + second))
