r"""The sandwich: a covariance of coefficients from residuals per cluster, and the distribution of that covariance.

With weights W = M^-1 from the fitted covariance M (the working model), bread B = (X'WX)^-1 and residuals e,

.. math:: V = B \Big( \sum_c X_c' W_c A_c e_c e_c' A_c' W_c X_c \Big) B

CR2 takes for A_c the matrix that makes V unbiased if the working model is right. Only the blocks of M of one cluster
are formed, for all clusters of one size at the same time; nothing runs over pairs of clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.pooling.clustered import Array, BlockCovariance, Index


@dataclass(frozen=True, slots=True, eq=False)
class WorkingModel:
    """What a robust variance needs of a fit: y = X beta + error with the covariance of the fitted model."""

    y: Array
    X: Array
    names: tuple[str, ...]
    covariance: BlockCovariance
    level: float
    labels: pd.Series  # the cluster of each row


@dataclass(frozen=True, slots=True, eq=False)
class Sandwich:
    """The parts of V that its degrees of freedom are made of, on an orthonormal basis Q = X R^-1 of the design.

    `plain` is what CR0 expects: a contrast whose `plain` is 0 rests on a single cluster, whose residuals say nothing
    about its error, so that nothing is known of it whatever the type.

    With E_c = B Q_c' W_c A_c, `spread` holds E_c M_c E_c' and `pull` Q_c' E_c'. Under the working model the
    covariance of the contributions of clusters i and j to a contrast is [i = j] spread_i - pull_i' B pull_j.
    """

    beta: Array  # (p,), on X
    cov: Array  # (p, p), on X
    inverse_root: Array  # R^-1
    bread: Array  # (p, p), on Q
    spread: Array  # (C, p, p)
    pull: Array  # (C, p, p)
    plain: Array  # (p, p), on Q

    def estimable(self, contrasts: Array) -> NDArray[np.bool_]:
        """Whether each row of `contrasts` rests on more than one cluster."""
        c = contrasts @ self.inverse_root
        expected = np.einsum("sp,pq,sq->s", c, self.plain, c)
        return np.asarray(expected > 1e-10 * np.einsum("sp,pq,sq->s", c, self.bread, c))

    def moments(self, contrast: Array) -> tuple[Array, Array, Array]:
        """Per-cluster spread (C, q, q) and pull (C, p, q) of contrasts (q, p) on X, and the expectation of V (q, q)."""
        c = contrast @ self.inverse_root
        spread, pull = c @ self.spread @ c.T, self.pull @ c.T
        expected = spread.sum(axis=0) - np.einsum("cas,ab,cbt->st", pull, self.bread, pull)
        return spread, pull, expected

    def satterthwaite(self, contrasts: Array) -> Array:
        """Degrees of freedom 2 E(V)^2 / Var(V) of each row of `contrasts`, one by one.

        NaN where the contrast is not estimable.
        """
        c = contrasts @ self.inverse_root
        g = np.einsum("sp,cpq,sq->cs", c, self.spread, c)
        z = self.pull @ c.T  # (C, p, s)
        bz = self.bread @ z
        inner = (z * bz).sum(axis=1)  # (C, s)
        total = (g - inner).sum(axis=0)
        products = np.einsum("cas,cbs->sab", z, bz)
        squares = (g**2 - 2.0 * g * inner).sum(axis=0) + np.einsum("sab,sba->s", products, products)
        known = self.estimable(contrasts)
        return np.where(known, total**2 / np.where(known, squares, 1.0), np.nan)

    def total_variance(self, contrast: Array) -> float:
        """Sum of the variances of all elements of D = E(V)^-1/2 V E(V)^-1/2, for q contrasts together."""
        expected = self.moments(contrast)[2]
        scaled = np.linalg.inv(np.linalg.cholesky(expected)) @ contrast
        spread, pull, _ = self.moments(scaled)
        half = np.linalg.cholesky(self.bread).T @ pull  # R_i with pull_i' B pull_j = R_i' R_j
        own = np.einsum("cas,cat->cst", half, half)
        trace = np.einsum("css->c", spread)
        # Var(d_st) summed = sum_ij tr(O_ij)^2 + tr(O_ij O_ij), O_ij = [i = j] spread_i - R_i' R_j: no pair is visited.
        first = float((trace**2 - 2.0 * trace * np.einsum("css->c", own)).sum())
        second = float((spread * spread).sum() - 2.0 * (spread * own).sum())
        moment = np.einsum("cas,cbt->asbt", half, half)
        first += float((moment**2).sum())
        second += float((moment * moment.transpose(0, 3, 2, 1)).sum())
        return first + second


def cluster_blocks(code: Index) -> list[tuple[Index, Index]]:
    """Clusters grouped by size: their numbers (m,) and their rows (m, n)."""
    order = np.argsort(code, kind="stable")
    counts = np.bincount(code)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    blocks = []
    for n in np.unique(counts):
        ids = np.flatnonzero(counts == n)
        blocks.append((ids, order[starts[ids][:, None] + np.arange(n)]))
    return blocks


def _cr2_adjustment(phi: Array, left: Array) -> Array:
    """A = L (L'GL)^-1/2 L' per block, with M = L L' and G = M - Q B Q' = M - left left' the covariance of residuals.

    L'GL is never formed: with G = L K K' L' its root comes from the singular values of L'L K, which keeps twice the
    digits where the variances within a cluster differ by orders of magnitude. Directions in which the cluster fits
    perfectly (K K' has eigenvalue 0) are left out.
    """
    n = phi.shape[-1]
    root = np.linalg.cholesky(phi)
    basis, leverage, _ = np.linalg.svd(np.linalg.solve(root, left), full_matrices=False)
    remains = np.maximum(1.0 - leverage**2, 0.0)
    remains = np.where(remains > 1e-9, remains, 0.0)
    K = np.eye(n) - (basis * (1.0 - np.sqrt(remains))[:, None, :]) @ basis.transpose(0, 2, 1)
    vectors, values, _ = np.linalg.svd(root.transpose(0, 2, 1) @ root @ K)
    kept = np.arange(n) < n - (remains == 0.0).sum(axis=1)[:, None]
    power = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    half = root @ vectors
    return np.asarray((half * power[:, None, :]) @ half.transpose(0, 2, 1))


def sandwich(model: WorkingModel, code: Index, type: str) -> Sandwich:
    """Robust covariance of the coefficients; `code` numbers the cluster of each row from 0."""
    Q, R = np.linalg.qr(model.X)
    p = Q.shape[1]
    n_clusters = int(code.max()) + 1
    # Residuals of the rough fit first: a mean far from 0 costs no digits.
    rough = Q.T @ model.y
    y = model.y - Q @ rough
    WQ = model.covariance.solve(Q)
    bread: Array = np.asarray(np.linalg.inv(Q.T @ WQ))
    bread_root = np.linalg.cholesky(bread)
    gamma = bread @ (WQ.T @ y)
    residual = y - Q @ gamma
    lost = {"CR1": 1, "CR1p": p}.get(type, 0)
    scale = np.sqrt(n_clusters / (n_clusters - lost)) if n_clusters > lost else np.nan
    spread, pull, meat = np.empty((n_clusters, p, p)), np.empty((n_clusters, p, p)), np.zeros((p, p))
    plain = np.zeros((p, p))
    for ids, rows in cluster_blocks(code):
        phi = model.covariance.dense(rows)
        scores = WQ[rows].transpose(0, 2, 1)
        E0, pull0 = bread @ scores, bread_root.T @ (Q[rows].transpose(0, 2, 1) @ scores.transpose(0, 2, 1) @ bread)
        plain += (E0 @ phi @ E0.transpose(0, 2, 1) - pull0.transpose(0, 2, 1) @ pull0).sum(axis=0)
        if type == "CR2":
            scores = scores @ _cr2_adjustment(phi, Q[rows] @ bread_root)
        E = scale * (bread @ scores)
        u = (E @ residual[rows][:, :, None])[:, :, 0]
        meat += u.T @ u
        spread[ids] = E @ phi @ E.transpose(0, 2, 1)
        pull[ids] = Q[rows].transpose(0, 2, 1) @ E.transpose(0, 2, 1)
    inverse_root = np.asarray(np.linalg.inv(R))
    beta = inverse_root @ (gamma + rough)
    return Sandwich(beta, inverse_root @ meat @ inverse_root.T, inverse_root, bread, spread, pull, plain)
