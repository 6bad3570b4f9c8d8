"""Tail areas and quantiles of the reference distributions that tests and intervals share.

Degrees of freedom of ``None`` (or infinity) mean the normal distribution. The functions call `scipy.special`
directly: `scipy.stats` costs a hundred times more per call, which a batch of fits would notice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metamiq.arguments import check_level


def _dof_array(dof: ArrayLike | None) -> NDArray[np.float64]:
    return np.asarray(np.inf if dof is None else dof, dtype=float)


def two_sided_p(statistic: ArrayLike, dof: ArrayLike | None = None) -> NDArray[np.float64]:
    """Two-sided p-value of a z statistic (`dof` None or infinite) or of a t statistic.

    Examples
    --------
    >>> print(f"{two_sided_p(1.959964):.4f} {two_sided_p(2.262157, 9):.4f}")
    0.0500 0.0500
    """
    size = np.abs(np.asarray(statistic, dtype=float))
    nu = _dof_array(dof)
    if np.all(np.isinf(nu)):
        return np.asarray(2.0 * special.ndtr(-size))
    return np.asarray(np.where(np.isinf(nu), 2.0 * special.ndtr(-size), 2.0 * special.stdtr(nu, -size)))


def critical_value(level: float, dof: ArrayLike | None = None) -> NDArray[np.float64]:
    """The value that a z or t statistic stays within with probability `level`.

    Examples
    --------
    >>> print(f"{critical_value(0.95):.4f} {critical_value(0.95, 9):.4f}")
    1.9600 2.2622
    """
    check_level(level)
    upper = 0.5 + level / 2.0
    nu = _dof_array(dof)
    if np.all(np.isinf(nu)):
        return np.broadcast_to(np.asarray(special.ndtri(upper)), nu.shape)
    # stdtrit is NaN at infinite dof and undefined below 1 only when dof <= 0; both are masked here.
    finite = np.where(np.isinf(nu), 1.0, nu)
    return np.asarray(np.where(np.isinf(nu), special.ndtri(upper), special.stdtrit(finite, upper)))


def chi2_sf(statistic: ArrayLike, dof: ArrayLike) -> NDArray[np.float64]:
    """Upper tail of the chi-squared distribution; NaN where `dof` is below 1 (nothing to test).

    Examples
    --------
    >>> print(f"{chi2_sf(3.841459, 1):.4f}")
    0.0500
    """
    nu = np.asarray(dof, dtype=float)
    return np.asarray(np.where(nu > 0, special.chdtrc(np.where(nu > 0, nu, 1.0), statistic), np.nan))


def f_sf(statistic: ArrayLike, dof1: ArrayLike, dof2: ArrayLike) -> NDArray[np.float64]:
    """Upper tail of the F distribution with `dof1` and `dof2` degrees of freedom.

    Examples
    --------
    >>> print(f"{f_sf(4.964603, 1, 10):.4f}")
    0.0500
    """
    return np.asarray(special.fdtrc(dof1, dof2, statistic))
