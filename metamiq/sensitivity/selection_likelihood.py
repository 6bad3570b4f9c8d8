r"""The likelihood of effects that were selected by their p-values.

.. math:: \ell = \sum_i \log w(p_i) + \log N(y_i; x_i'\beta, v_i + \tau^2) - \log A_i

Parameters are ordered beta, tau2, those of the weight function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metamiq.pooling.wls import Array
from metamiq.sensitivity.maximise import Point
from metamiq.sensitivity.weight_functions import Normaliser, Selected


def selection_likelihood(
    yi: Array,
    vi: Array,
    X: Array,
    normaliser: Callable[[Array, Array, Array], Normaliser],
    selected: Callable[[Array], Selected],
    *,
    tau2_fixed: bool = False,
) -> Callable[[Array], Point]:
    """The log-likelihood as a function of all parameters; without tau2 among them when it is held at 0."""
    p, held = X.shape[1], int(tau2_fixed)

    def evaluate(x: Array) -> Point:
        beta, tau2 = x[:p], 0.0 if tau2_fixed else float(x[p])
        own = x[p + 1 - held :]
        mu, v = X @ beta, vi + tau2
        n = p + 1 + len(own)
        drop = np.delete(np.arange(n), p) if tau2_fixed else np.arange(n)
        with np.errstate(all="ignore"):
            a, w = normaliser(own, mu, np.sqrt(v)), selected(own)
            r = yi - mu
            f = w.value - 0.5 * float((np.log(2 * np.pi * v) + r * r / v + 2 * np.log(a.mu[:, 0])).sum())
            if not np.isfinite(f):
                return Point(-np.inf, np.zeros(len(x)), np.zeros((len(x), len(x))))
            A = a.mu / a.mu[:, :1]
            b = a.own / a.mu[:, 0, None, None]
            # Row by row, in mu and in v; a derivative in v is half the second one in mu.
            g_mu = r / v - A[:, 1]
            g_v = 0.5 * (r * r / v - 1) / v - 0.5 * A[:, 2]
            h_mm = -1 / v - A[:, 2] + A[:, 1] ** 2
            h_mv = -r / v**2 - 0.5 * (A[:, 3] - A[:, 1] * A[:, 2])
            h_vv = 0.5 / v**2 - r * r / v**3 - 0.25 * (A[:, 4] - A[:, 2] ** 2)
            h_mo = -(b[..., 1] - b[..., 0] * A[:, 1:2])
            h_vo = -0.5 * (b[..., 2] - b[..., 0] * A[:, 2:3])
            g = np.concatenate([X.T @ g_mu, [g_v.sum()], w.gradient - b[..., 0].sum(axis=0)])
            h = np.empty((n, n))
            h[:p, :p] = (X.T * h_mm) @ X
            h[:p, p] = h[p, :p] = X.T @ h_mv
            h[p, p] = h_vv.sum()
            h[:p, p + 1 :] = X.T @ h_mo
            h[p + 1 :, :p] = h[:p, p + 1 :].T
            h[p, p + 1 :] = h[p + 1 :, p] = h_vo.sum(axis=0)
            h[p + 1 :, p + 1 :] = w.hessian - (a.pair / a.mu[:, 0, None, None]).sum(axis=0) + b[..., 0].T @ b[..., 0]
        return Point(f, g[drop], h[np.ix_(drop, drop)])

    return evaluate
