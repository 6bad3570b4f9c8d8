"""Cluster-robust tests for any fit: CR0, CR1 and CR2, Satterthwaite degrees of freedom and the HTZ Wald test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from metamiq.errors import DataError
from metamiq.pooling.clustered import Array, BlockCovariance, Clusters, Index
from metamiq.pooling.coefficients import WaldTest, coefficient_table
from metamiq.pooling.records import RESULT_COLUMNS, PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.sandwich import Sandwich, WorkingModel, sandwich
from metamiq.pooling.source import frozen_copy
from metamiq.tails import f_sf
from metamiq.wording import one_line, table_text

TYPES = ("CR0", "CR1", "CR1p", "CR2")
LEAST_DOF = 4  # below, the approximation by a t distribution is poor
ENOUGH_CLUSTERS = 40  # for variances without the small-sample correction


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RobustFit:
    """Coefficients with their cluster-robust covariance."""

    beta: Array
    cov: Array
    names: tuple[str, ...]
    type: str
    cluster: str
    n_clusters: int
    k: int
    level: float
    parts: Sandwich = field(repr=False)

    def __repr__(self) -> str:
        return one_line(self)

    def contrast_dof(self, L: ArrayLike) -> Array:
        """Degrees of freedom of each row of L beta: Satterthwaite's for CR2, else clusters minus coefficients.

        NaN where there are not more clusters than coefficients.
        """
        contrast = np.atleast_2d(np.asarray(L, dtype=float))
        if self.type == "CR2":
            return self.parts.satterthwaite(contrast)
        left = self.n_clusters - len(self.beta)
        return np.full(len(contrast), float(left) if left > 0 else np.nan)

    def contrast(self, L: ArrayLike, level: float | None = None) -> pd.DataFrame:
        """Linear combinations L beta of the coefficients, one row each.

        NaN (but for the estimate) where a contrast rests on one cluster.
        """
        contrast = np.atleast_2d(np.asarray(L, dtype=float))
        level = self.level if level is None else level
        # A contrast that rests on one cluster has a small variance by construction, not by precision.
        known = self.parts.estimable(contrast)
        variance = np.einsum("ip,pq,iq->i", contrast, self.cov, contrast)
        se = np.sqrt(np.where(known, np.maximum(variance, 0.0), np.nan))
        return coefficient_table(contrast @ self.beta, se, self.contrast_dof(contrast), level)

    @property
    def coefficients(self) -> pd.DataFrame:
        """One row per term: estimate, se, statistic, dof, p_value, ci_low, ci_high."""
        return self.contrast(np.eye(len(self.beta))).set_axis(pd.Index(self.names, name="term"))

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """One row per term, in the columns of every result table."""
        table = self.contrast(np.eye(len(self.beta)), level).set_axis(pd.Index(self.names, name="term"))
        return table.reindex(columns=list(RESULT_COLUMNS))

    @property
    def caution(self) -> str:
        """Why p-values and intervals are not to be trusted; empty where they are."""
        if self.type != "CR2" and self.n_clusters < ENOUGH_CLUSTERS:
            return (
                f"With fewer than about {ENOUGH_CLUSTERS} clusters {self.type} understates errors, and p-values are "
                "too small (Hedges, Tipton & Johnson 2010). Use CR2."
            )
        dof = self.contrast_dof(np.eye(len(self.beta)))
        thin = [name for name, left in zip(self.names, dof, strict=True) if left < LEAST_DOF]
        if self.type == "CR2" and thin:
            return (
                f"Fewer than {LEAST_DOF} degrees of freedom ({', '.join(thin)}): the p-value and the interval are not "
                "to be trusted (Tipton 2015)."
            )
        return ""

    def summary(self) -> str:
        """The result in a few lines of text; the caller prints them."""
        letter = "Satterthwaite" if self.type == "CR2" else "clusters minus coefficients"
        lines = [
            f"Cluster-robust variance {self.type}, degrees of freedom: {letter}: k = {self.k} effect sizes in "
            f"{self.n_clusters} clusters ({self.cluster})",
            table_text(self.coefficients),
        ]
        if self.caution:
            lines.append(self.caution)
        return "\n".join(lines)


def check_type(type: str) -> None:
    """Raise ValueError unless `type` names a robust variance."""
    if type not in TYPES:
        raise ValueError(f"type must be one of {', '.join(map(repr, TYPES))}, not {type!r}.")


def cluster_codes(labels: pd.Series, name: str) -> tuple[Index, int]:
    """Numbers 0, 1, ... for cluster labels, in order of appearance, and how many there are."""
    missing = np.flatnonzero(labels.isna().to_numpy())
    if len(missing):
        shown = ", ".join(str(i + 1) for i in missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise DataError(
            f"Every effect must belong to a cluster, but {name!r} is empty in {len(missing)} row(s): {shown}. "
            "Name the cluster or leave the row out."
        )
    code, levels = pd.factorize(labels)
    return np.asarray(code, dtype=np.intp), len(levels)


def _working_model(fit: Any) -> WorkingModel:
    if hasattr(fit, "working_model"):
        model: WorkingModel = fit.working_model()
        return model
    if not isinstance(fit, PooledEffect | MetaRegression):
        raise ValueError(
            "A robust variance needs a fit of random_effects, fixed_effect, meta_regression or multilevel, not "
            f"{fit.__class__.__name__}."
        )
    pooled = isinstance(fit, PooledEffect)
    if isinstance(fit, PooledEffect) and fit.combine is not None:
        raise ValueError(
            "A robust variance needs a fit with inverse-variance weights, not one with weights of its own. Fit again "
            "without weights=."
        )
    X = np.ones((fit.k, 1)) if isinstance(fit, PooledEffect) else fit.design.X
    names = ("Intercept",) if isinstance(fit, PooledEffect) else fit.names
    tau2 = 0.0 if pooled and np.isnan(fit.tau2) else fit.tau2
    one = Clusters(fit.source.vi, np.zeros(fit.k, dtype=np.intp), np.zeros(1, dtype=np.intp), 0.0)
    return WorkingModel(fit.source.yi, X, names, BlockCovariance(one, 0.0, tau2), fit.level, pd.Series(range(fit.k)))


def _labels(fit: Any, cluster: str | ArrayLike, k: int) -> tuple[pd.Series, str]:
    if isinstance(cluster, str):
        frame = fit.effects
        if cluster not in frame:
            raise DataError(
                f"cluster must name a column of the effects, but {cluster!r} is not among "
                f"{', '.join(sorted(map(str, frame.columns)))}."
            )
        return frame[cluster].reset_index(drop=True), cluster
    labels = pd.Series(np.asarray(cluster).ravel())
    if len(labels) != k:
        raise DataError(f"cluster must have one label per effect size ({k}), but {len(labels)} came.")
    return labels, "given labels"


def robust(fit: Any, cluster: str | ArrayLike | None = None, type: str = "CR2") -> RobustFit:
    r"""Standard errors that hold when effects within a cluster depend on each other in an unknown way.

    The coefficients stay; their variance becomes :math:`V = B (\sum_c X_c'W_cA_c e_c e_c'A_c'W_cX_c) B`.

    Parameters
    ----------
    fit : PooledEffect, MetaRegression or MultilevelFit
        Its fitted covariance is the working model.
    cluster : str or array_like, shape (k,), optional
        Column of ``fit.effects`` that names the clusters, or their labels; by default the clusters of a multilevel
        fit, else the column ``study``. Clusters of a multilevel fit must lie within these.
    type : {"CR2", "CR1", "CR1p", "CR0"}
        Bias-reduced linearisation with Satterthwaite degrees of freedom; CR0 times C / (C - 1); CR0 times
        C / (C - p); no correction. The last three refer to t(C - p), C clusters and p coefficients.

    Returns
    -------
    RobustFit

    Raises
    ------
    DataError
        If there are fewer than two clusters, a label is missing, or a cluster of the model is split.

    References
    ----------
    Bell & McCaffrey (2002); Hedges, Tipton & Johnson (2010); Tipton (2015); Pustejovsky & Tipton (2018).

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> es = pd.DataFrame({"study": ["a", "a", "b", "c", "c", "d"], "yi": [0.1, 0.3, 0.5, 0.9, 0.7, 0.2],
    ...                    "vi": [0.04, 0.05, 0.02, 0.05, 0.04, 0.03]})
    >>> row = robust(random_effects(es), cluster="study").coefficients.loc["Intercept"]
    >>> print(f"{row['estimate']:.3f}, SE {row['se']:.3f}, t({row['dof']:.2f}), p = {row['p_value']:.3f}")
    0.442, SE 0.165, t(2.83), p = 0.080
    """
    check_type(type)
    model = _working_model(fit)
    if cluster is None and not hasattr(fit, "working_model"):
        if "study" not in fit.effects:
            raise ValueError("Say which effects belong together: cluster= a column of fit.effects, or labels.")
        cluster = "study"
    if cluster is None:
        labels, name = model.labels, str(fit.cluster)
    else:
        labels, name = _labels(fit, cluster, len(model.y))
        if hasattr(fit, "model_order"):
            labels = labels.iloc[fit.model_order].reset_index(drop=True)
    return robust_of(model, labels, name, type)


def robust_of(model: WorkingModel, labels: pd.Series, name: str, type: str) -> RobustFit:
    """The robust fit of a working model whose rows carry these cluster labels."""
    code, n_clusters = cluster_codes(labels, name)
    if n_clusters < 2:
        raise DataError(
            f"A robust variance needs at least 2 clusters, but {name!r} has {n_clusters}. Choose another cluster."
        )
    inner = model.covariance
    if inner.between > 0 or inner.clusters.rho > 0:
        pairs = np.unique(np.column_stack([inner.clusters.code, code]), axis=0)
        if len(pairs) > len(inner.clusters.starts):
            raise DataError(
                f"Each cluster of the fitted model must lie within one cluster of {name!r}, but some are split; "
                "effects that the model takes as dependent cannot be treated as independent."
            )
    parts = sandwich(model, code, type)
    return RobustFit(
        beta=frozen_copy(parts.beta),
        cov=frozen_copy(parts.cov),
        names=model.names,
        type=type,
        cluster=name,
        n_clusters=n_clusters,
        k=len(model.y),
        level=model.level,
        parts=parts,
    )


def constraint_matrix(constraints: str | list[str] | ArrayLike, names: tuple[str, ...]) -> Array:
    """Contrasts (q, p): the named coefficients, or a matrix as it stands."""
    if isinstance(constraints, str):
        constraints = [constraints]
    if isinstance(constraints, list | tuple) and all(isinstance(c, str) for c in constraints):
        unknown = sorted(set(map(str, constraints)) - set(names))
        if unknown or not constraints:
            raise ValueError(
                f"constraints must name coefficients among {', '.join(names)}, but {', '.join(unknown) or 'none'} came."
            )
        return np.asarray(np.eye(len(names))[[names.index(str(c)) for c in constraints]])
    matrix = np.atleast_2d(np.asarray(constraints, dtype=float))
    if matrix.shape[1] != len(names):
        raise ValueError(f"A contrast must have {len(names)} columns, one per coefficient, not {matrix.shape[1]}.")
    if np.linalg.matrix_rank(matrix) < len(matrix):
        raise ValueError("The rows of a contrast must be linearly independent.")
    return matrix


def wald_test(fit: Any, constraints: str | list[str] | ArrayLike, test: str = "HTZ") -> WaldTest:
    r"""Joint test that several coefficients, or contrasts of them, are 0, with a robust variance.

    With q contrasts C, the statistic :math:`Q = (Cb)'(CVC')^{-1}Cb` is referred to Hotelling's T2 with :math:`\eta`
    degrees of freedom: :math:`F = (\eta - q + 1) Q / (\eta q)` on q and :math:`\eta - q + 1`. Here
    :math:`\eta = q (q + 1) / \sum_{s,t} \mathrm{Var}(d_{st})`, with d the elements of the robust variance of the
    contrasts, standardised by its expectation under the working model.

    Parameters
    ----------
    fit : RobustFit or MultilevelFit
        A result of `robust`, or of `multilevel` with a robust variance.
    constraints : str, list of str, or array_like of shape (q, p)
        Names of coefficients that are tested to be 0, or contrasts C.
    test : {"HTZ", "naive-F"}
        As above; "naive-F" refers Q / q to F(q, C - p) with C clusters.

    Returns
    -------
    WaldTest
        NaN where the test is undefined: :math:`\eta - q + 1 \le 0`, or fewer clusters than contrasts.

    References
    ----------
    Tipton & Pustejovsky (2015); Zhang (2012).

    Examples
    --------
    >>> from metamiq.pooling.regression import meta_regression
    >>> es = pd.DataFrame({"study": [*"aabbccddeeff"], "dose": [1, 2, 1, 3, 2, 4, 1, 2, 3, 4, 2, 3],
    ...                    "yi": [0.1, 0.3, 0.2, 0.5, 0.3, 0.9, 0.1, 0.2, 0.6, 0.7, 0.3, 0.2], "vi": 0.04})
    >>> t = wald_test(robust(meta_regression(es, "dose")), "dose")
    >>> print(f"F({t.dof1}, {t.dof2:.2f}) = {t.statistic:.2f}, p = {t.p_value:.4f}")
    F(1, 3.97) = 31.95, p = 0.0050
    """
    if test not in ("HTZ", "naive-F"):
        raise ValueError(f"test must be one of 'HTZ', 'naive-F', not {test!r}.")
    fit = getattr(fit, "robust", fit)
    if not isinstance(fit, RobustFit):
        raise ValueError(
            "wald_test needs a fit with a robust variance: wrap it in metamiq.robust(fit, cluster=...) first."
        )
    C = constraint_matrix(constraints, fit.names)
    q = len(C)
    undefined = WaldTest(np.nan, q, np.nan, np.nan)
    cov = C @ fit.cov @ C.T
    spread = np.sqrt(np.abs(np.diag(cov)))
    if not np.isfinite(cov).all() or (spread == 0).any():
        return undefined
    if np.linalg.matrix_rank(cov / np.outer(spread, spread), tol=1e-10) < q:
        return undefined
    value = C @ fit.beta
    Q = float(value @ np.linalg.solve(cov, value))
    if test == "naive-F":
        dof, F = float(fit.n_clusters - len(fit.beta)), Q / q
    else:
        eta = q * (q + 1) / fit.parts.total_variance(C)
        dof, F = eta - q + 1, (eta - q + 1) / (eta * q) * Q
    if not dof > 0:
        return undefined
    return WaldTest(F, q, dof, float(f_sf(F, q, dof)))
