r"""The covariance of effects within clusters, and its likelihood, in time linear in the number of effects.

The effects of one cluster with sampling variances :math:`v` have the covariance

.. math:: M = (1-\rho)\,\mathrm{diag}(v) + \rho\,\sqrt v \sqrt v' + \sigma^2_w I + \sigma^2_b \mathbf 1 \mathbf 1'

a diagonal plus two matrices of rank one, so that its inverse and determinant are closed sums over the cluster
(Sherman-Morrison and the matrix determinant lemma). Rows are sorted by cluster once; all sums run over all clusters
at the same time, and no matrix larger than the number of coefficients is formed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Effects sorted by cluster: their sampling variances and where each cluster starts."""

    vi: Array  # (k,)
    code: Index  # (k,), not decreasing: the cluster of each row
    starts: Index  # (C,): first row of each cluster
    rho: float  # sampling correlation within a cluster

    def total(self, x: Array) -> Array:
        """Sums over each cluster, shape (C, ...)."""
        return np.asarray(np.add.reduceat(x, self.starts, axis=0))


class BlockCovariance:
    """The covariance M of all effects, for given variance components.

    Parameters
    ----------
    clusters : Clusters
        Sampling variances and membership.
    between, within : float
        The variance components, >= 0.
    """

    def __init__(self, clusters: Clusters, between: float, within: float) -> None:
        self.clusters, self.between, self.within = clusters, between, within
        rho = clusters.rho
        self.diagonal = (1.0 - rho) * clusters.vi + within
        self._a = 1.0 / self.diagonal
        self._sum = clusters.total(self._a)
        self._shrink = 1.0 / (1.0 + between * self._sum)
        self._row_shrink = self._shrink[clusters.code]
        self._h: Array | None = None
        if rho > 0.0:
            root = np.sqrt(clusters.vi)
            self._h = self._solve_intercept(root)
            inner = clusters.total(root * self._h)
            self._scale = rho / (1.0 + rho * inner)
            self._log1p_inner = np.log1p(rho * inner)

    def _solve_intercept(self, x: Array) -> Array:
        # a (x - mean + shrink * mean), not x - (1 - shrink) * mean: nothing cancels when `between` is large.
        c = self.clusters
        a, shrink, total = self._a, self._row_shrink, self._sum
        if x.ndim == 2:
            a, shrink, total = a[:, None], shrink[:, None], total[:, None]
        mean = (c.total(a * x) / total)[c.code]
        return np.asarray(a * ((x - mean) + shrink * mean))

    def solve(self, x: Array) -> Array:
        """M^-1 x for x of shape (k,) or (k, m)."""
        y = self._solve_intercept(x)
        if self._h is None:
            return y
        h, scale = (self._h, self._scale) if x.ndim == 1 else (self._h[:, None], self._scale[:, None])
        # sqrt(v)' (D + between 11')^-1 x = h' x.
        return np.asarray(y - h * (scale * self.clusters.total(h * x))[self.clusters.code])

    def logdet(self) -> float:
        """log |M|."""
        value = -np.log(self._a).sum() - np.log(self._shrink).sum()
        return float(value if self._h is None else value + self._log1p_inner.sum())

    def trace_inverse(self) -> float:
        """tr(M^-1)."""
        c = self.clusters
        others = self._sum[c.code] - self._a
        diagonal = self._a * self._row_shrink * (1.0 + self.between * others)
        if self._h is not None:
            diagonal = diagonal - self._scale[c.code] * self._h**2
        return float(diagonal.sum())

    def trace_inverse_squared(self) -> float:
        """tr(M^-2): the sum of squares of M^-1 = A - kappa a a' - s h h', block by block."""
        c, a = self.clusters, self._a
        kappa = self.between * self._shrink
        a2 = c.total(a * a)
        value = a2 - 2.0 * kappa * c.total(a**3) + (kappa * a2) ** 2
        if self._h is not None:
            h, s = self._h, self._scale
            inner = c.total(a * h * h) - kappa * c.total(a * h) ** 2
            value = value - 2.0 * s * inner + (s * c.total(h * h)) ** 2
        return float(value.sum())

    def dense(self, rows: Index) -> Array:
        """Blocks of M at the given rows: (m, n) row numbers to (m, n, n)."""
        c = self.clusters
        same = c.code[rows][:, :, None] == c.code[rows][:, None, :]
        root = np.sqrt(c.vi[rows])
        block = same * (self.between + c.rho * root[:, :, None] * root[:, None, :])
        n = rows.shape[1]
        block[:, np.arange(n), np.arange(n)] += self.diagonal[rows]
        return np.asarray(block)


class Likelihood(NamedTuple):
    """Log-likelihood at one pair of components, with its derivatives in (between, within)."""

    loglik: float
    score: Array  # (2,)
    expected: Array  # (2, 2): Fisher information
    observed: Array  # (2, 2): minus the Hessian


class Sums(NamedTuple):
    """Generalised least squares at one covariance."""

    covariance: BlockCovariance
    WQ: Array  # M^-1 Q
    bread: Array  # (Q' M^-1 Q)^-1
    gamma: Array  # coefficients on Q
    residual: Array  # y - Q gamma
    scaled: Array  # M^-1 (y - Q gamma) = P y
    W1: Array  # M^-1 1
    rss: float
    logdet_bread: float


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredModel:
    """y = Q gamma + error with a block covariance; Q has orthonormal columns, so that |Q'Q| = 1."""

    y: Array  # (k,); centred near 0 by the caller, so that no digits are lost
    Q: Array  # (k, p)
    clusters: Clusters
    columns: Array = field(init=False, repr=False)  # Q, y and ones side by side

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", np.column_stack([self.Q, self.y, np.ones_like(self.y)]))

    def sums(self, between: float, within: float) -> Sums:
        """Generalised least squares with these components."""
        return self.sums_at(BlockCovariance(self.clusters, between, within))

    def sums_at(self, cov: BlockCovariance) -> Sums:
        """Generalised least squares with this covariance."""
        # One pass over the rows for all right-hand sides: calls cost more than arithmetic at the usual k.
        W = cov.solve(self.columns)
        WQ = W[:, :-2]
        root = np.linalg.cholesky(self.Q.T @ WQ)
        inverse_root = np.linalg.inv(root)
        bread = inverse_root.T @ inverse_root
        gamma = bread @ (WQ.T @ self.y)
        residual = self.y - self.Q @ gamma
        scaled = W[:, -2] - WQ @ gamma
        logdet_bread = -2.0 * float(np.log(np.diagonal(root)).sum())
        return Sums(cov, WQ, bread, gamma, residual, scaled, W[:, -1], float(residual @ scaled), logdet_bread)

    def loglik(self, between: float, within: float, reml: bool) -> float:
        """Log-likelihood; with `reml` the restricted one of the k - p error contrasts."""
        return self._loglik(self.sums(between, within), reml)

    def _loglik(self, s: Sums, reml: bool) -> float:
        k, p = self.Q.shape
        value = -0.5 * (k * np.log(2.0 * np.pi) + s.covariance.logdet() + s.rss)
        if reml:
            value += 0.5 * (p * np.log(2.0 * np.pi) + s.logdet_bread)
        return float(value)

    def derivatives(self, between: float, within: float, reml: bool) -> Likelihood:
        """Log-likelihood, score, expected and observed information.

        With P = W - W Q (Q'WQ)^-1 Q'W, W = M^-1 and the derivatives D of M (ZZ' for between, I for within), the
        score is (y'P D P y - tr(W D)) / 2, the expected information tr(W D W D) / 2 and the observed one
        y'P D P D P y - tr(W D W D) / 2; REML has P for W in the traces.
        """
        s = self.sums(between, within)
        total, code = self.clusters.total, self.clusters.code
        cov, B, r = s.covariance, s.bread, s.scaled
        h, Y1 = s.W1, s.WQ
        b = total(h)  # 1' M_c^-1 1
        trace = np.array([b.sum(), cov.trace_inverse()])
        cross = float(h @ h)
        info = np.array([[float(b @ b), cross], [cross, cov.trace_inverse_squared()]])
        r_total = total(r)
        q = np.column_stack([r_total[code], r])  # D P y for the two components
        Wx = cov.solve(np.column_stack([Y1, q]) if reml else q)
        if reml:
            Y2 = Wx[:, :-2]
            S1, S2 = total(Y1), total(Y2)
            Kb, Kw = B @ (S1.T @ S1), B @ (Y1.T @ Y1)
            trace = trace - np.array([np.trace(Kb), np.trace(Kw)])
            mixed = np.sum(Kb * Kw.T) - 2.0 * np.trace(B @ (S2.T @ S1))
            info = info + np.array(
                [
                    [np.sum(Kb * Kb.T) - 2.0 * np.trace(B @ (S1.T * b) @ S1), mixed],
                    [mixed, np.sum(Kw * Kw.T) - 2.0 * np.trace(B @ (Y1.T @ Y2))],
                ]
            )
        Pq = Wx[:, -2:] - Y1 @ (B @ (Y1.T @ q))
        square = q.T @ Pq
        score = 0.5 * (np.array([float(r_total @ r_total), float(r @ r)]) - trace)
        return Likelihood(self._loglik(s, reml), score, 0.5 * info, 0.5 * (square + square.T) - 0.5 * info)

    def loglik_grid(self, between: Array, within: Array, reml: bool) -> Array:
        """Log-likelihood at many pairs of components, shape (g,): the sums of `BlockCovariance` side by side."""
        c = self.clusters
        k, p = self.Q.shape
        v, rho, root_v = c.vi[:, None], c.rho, np.sqrt(c.vi)[:, None]
        a = 1.0 / ((1.0 - rho) * v + within)  # (k, g)
        total = c.total(a)
        shrink = 1.0 / (1.0 + between * total)
        value = k * np.log(2.0 * np.pi) - np.log(a).sum(axis=0) - np.log(shrink).sum(axis=0)

        def solve(x: Array) -> Array:
            mean = c.total(a * x) / total
            return np.asarray(a * ((x - mean[c.code]) + (shrink * mean)[c.code]))

        columns = [self.columns[:, j : j + 1] for j in range(p + 1)]
        solved = [solve(x) for x in columns]
        if rho > 0.0:
            h = solve(root_v)
            inner = c.total(root_v * h)
            scale = rho / (1.0 + rho * inner)
            value += np.log1p(rho * inner).sum(axis=0)
            solved = [y - h * (scale * c.total(h * x))[c.code] for x, y in zip(columns, solved, strict=True)]
        moments = np.stack([self.columns[:, : p + 1].T @ y for y in solved])  # (p + 1, p + 1, g)
        moments = moments.transpose(2, 0, 1)
        A, b = moments[:, :p, :p], moments[:, :p, p:]
        rss = moments[:, p, p] - (b * np.linalg.solve(A, b)).sum(axis=(1, 2))
        value = value + rss
        if reml:
            value += np.linalg.slogdet(A)[1] - p * np.log(2.0 * np.pi)
        return np.asarray(-0.5 * value)

    def trace_P(self, s: Sums) -> float:
        """tr(P) at the covariance of `s`."""
        return s.covariance.trace_inverse() - float(np.sum(s.bread * (s.WQ.T @ s.WQ)))
