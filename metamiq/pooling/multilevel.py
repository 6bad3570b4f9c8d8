"""Dependent effects: three-level, correlated-and-hierarchical-effects and correlated-effects models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.clustered import Array, ClusteredModel, Clusters, Index
from metamiq.pooling.components import maximise
from metamiq.pooling.correlated import correlated_effects
from metamiq.pooling.design import Design, design_matrix
from metamiq.pooling.models import source_of
from metamiq.pooling.multilevel_fit import MultilevelFit, working_covariance
from metamiq.pooling.robust import check_type, cluster_codes, robust_of
from metamiq.pooling.source import Source, frozen_copy

STRUCTURES = ("three-level", "che", "ce")


def _check_identified(X: Array, clusters: Clusters, cluster: str, structure: str) -> None:
    """Raise DataError unless the data can tell the variance components apart ("ce" has none within clusters)."""
    k, p = X.shape
    c = len(clusters.starts)
    inside = 0
    if p > 1:
        n = np.diff(np.append(clusters.starts, k))
        centred = X - (clusters.total(X) / n[:, None])[clusters.code]
        # Against the column's own size: rounding leaves 1e-16 of a column that is constant within clusters.
        inside = int(np.linalg.matrix_rank(centred / np.sqrt((X**2).sum(axis=0)), tol=1e-9))
    if c + inside == k and structure != "ce":
        why = "every cluster has one effect" if c == k else "the moderators use up what varies within clusters"
        raise DataError(
            f"Some clusters must have several effects for a variance within clusters, but in the {c} clusters of "
            f"{cluster!r} {why}. Use metamiq.random_effects or meta_regression."
        )
    if c + inside == p:
        why = "there is one cluster" if c == 1 else f"the {p} coefficients use up the {c} clusters"
        raise DataError(
            f"There must be more clusters than coefficients that vary between them for a variance between clusters, "
            f"but {why} of {cluster!r}. Use fewer moderators, or metamiq.random_effects or meta_regression."
        )


def _check_arguments(structure: str, rho: float, method: str, test: str, robust: str | None, level: float) -> None:
    batch.check_choices("REML", "z", level)
    for name, value, allowed in (
        ("structure", structure, STRUCTURES),
        ("method", method, ("ML", "REML")),
        ("test", test, ("t", "z")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}.")
    if robust is not None:
        check_type(robust)
    if not isinstance(rho, (int, float, np.number)) or not 0.0 <= rho < 1.0:
        raise ValueError(f"rho must be at least 0 and below 1, not {rho!r}.")
    if structure == "ce" and method == "ML":
        raise ValueError("Structure 'ce' estimates tau2 by moments, not by ML; leave method out.")


def multilevel(
    effects: pd.DataFrame,
    cluster: str = "study",
    *,
    rho: float = 0.6,
    structure: str = "three-level",
    moderators: str | None = None,
    method: str = "REML",
    test: str = "z",
    robust: str | None = None,
    level: float = 0.95,
) -> MultilevelFit:
    r"""Mean or regression of effects of which several come from one cluster (study, sample, laboratory).

    .. math:: y_{ij} = x_{ij}'\beta + b_i + w_{ij} + e_{ij}, \quad b_i \sim N(0, \sigma^2_b),\;
        w_{ij} \sim N(0, \sigma^2_w),\; \mathrm{Var}(e_{ij}) = v_{ij}

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi` (> 0), the cluster column and the moderators, one effect per row.
    cluster : str
        Column that says which effects belong together.
    rho : float
        Correlation of the sampling errors e within a cluster, 0 <= rho < 1, for "che" and "ce". Not estimated: try
        several values.
    structure : {"three-level", "che", "ce"}
        Independent e; e correlated by rho (correlated and hierarchical effects); the correlated-effects model of
        Hedges, Tipton & Johnson, with tau2 by moments, simple working weights and always a robust variance (CR2
        unless `robust` says otherwise).
    moderators : str, optional
        Formula, right-hand side only; see `metamiq.pooling.design.design_matrix`.
    method : {"REML", "ML"}
        How the two variances are estimated. Not used by "ce".
    test : {"z", "t"}
        Reference distribution without a robust variance: normal, or t(k - p).
    robust : {"CR0", "CR1", "CR1p", "CR2"}, optional
        Cluster-robust variance, with this model as working model; see `metamiq.robust`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    MultilevelFit
        `coefficients`, `sigma2`, `sigma2_ci()`, `I2`, `I2_by_level`, `ICC`, `predict` and more; without moderators also
        `estimate`, `se`, `ci()`, `pi()` of the mean.

    Raises
    ------
    DataError
        If a column is missing or incomplete, or if the data cannot tell the variance components apart: one cluster,
        or one effect in every cluster.
    ConvergenceError
        If the likelihood cannot be maximised.

    References
    ----------
    Konstantopoulos (2011) and Cheung (2014), three-level; Pustejovsky & Tipton (2022), correlated and hierarchical
    effects; Hedges, Tipton & Johnson (2010), correlated effects. I2 by level follows Cheung (2014) in splitting the
    total by component, with the typical sampling variance (k - p) / tr(P).

    Examples
    --------
    >>> es = pd.DataFrame({"study": ["a", "a", "b", "b", "c", "c", "d", "d"],
    ...                    "yi": [0.1, 0.4, 0.5, 0.8, 0.9, 0.6, 0.0, 0.3], "vi": 0.02})
    >>> fit = multilevel(es, structure="che", rho=0.5, robust="CR2")
    >>> print(f"{fit.estimate:.3f}, SE {fit.se:.3f}, t({fit.dof:.1f}), between {fit.sigma2['cluster']:.3f}")
    0.450, SE 0.147, t(3.0), between 0.054
    """
    _check_arguments(structure, rho, method, test, robust, level)
    source, _ = source_of(effects, None, None)
    if cluster not in effects:
        raise DataError(
            f"cluster must name a column of the effects, but {cluster!r} is not among "
            f"{', '.join(sorted(map(str, effects.columns)))}."
        )
    codes, _ = cluster_codes(effects[cluster], cluster)
    design: Design | None = None
    omitted: tuple[str, ...] = ()
    if moderators is not None and moderators.replace("~", "").strip() not in ("", "1"):
        design = design_matrix(moderators, effects)
        if len(design.omitted):
            labels = source.labels()
            omitted = tuple(labels[i] for i in design.omitted)
            effects = effects.iloc[design.rows]
            source, _ = source_of(effects, None, None)
            codes = codes[design.rows]
    order = np.argsort(codes, kind="stable")
    model, X, rough, inverse_root = _model(
        source, design, codes[order], order, rho if structure != "three-level" else 0.0
    )
    _check_identified(X, model.clusters, cluster, structure)
    return _fit(
        model, rough, inverse_root,
        structure=structure, method=method, robust=robust or ("CR2" if structure == "ce" else None),
        about={
            "names": ("Intercept",) if design is None else design.names, "rho": model.clusters.rho, "test": test,
            "level": level, "cluster": cluster, "n_studies": len(model.clusters.starts), "source": source,
            "model_order": order, "design": design, "omitted": omitted,
        },
    )  # fmt: skip


def _model(
    source: Source, design: Design | None, code: Index, order: Index, rho: float
) -> tuple[ClusteredModel, Array, Array, Array]:
    """The model on an orthonormal basis Q = X R^-1, less a first least-squares fit Q rough; X and R^-1."""
    y, v = source.yi[order], source.vi[order]
    X = np.ones((len(y), 1)) if design is None else design.X[order]
    Q, R = np.linalg.qr(X)
    rough = Q.T @ y
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    return ClusteredModel(y - Q @ rough, Q, Clusters(v, code, starts, rho)), X, rough, np.linalg.inv(R)


def _fit(
    model: ClusteredModel,
    rough: Array,
    inverse_root: Array,
    *,
    structure: str,
    method: str,
    robust: str | None,
    about: dict[str, Any],
) -> MultilevelFit:
    k, p = model.Q.shape
    sampling = model.sums(0.0, 0.0)
    QE, typical = sampling.rss, (k - p) / model.trace_P(sampling)
    sigma2, loglik = (np.nan, np.nan), np.nan
    if structure == "ce":
        moments = correlated_effects(model.y, model.Q, model.clusters)
        sigma2, QE = (moments.tau2, np.nan), moments.QE
    else:
        best = maximise(model, method == "REML")
        sigma2, loglik = (float(best.sigma2[0]), float(best.sigma2[1])), best.loglik
    final = model.sums_at(working_covariance(structure, model, sigma2))
    fit = MultilevelFit(
        beta=frozen_copy(inverse_root @ (final.gamma + rough)),
        model_cov=frozen_copy(inverse_root @ final.bread @ inverse_root.T),
        sigma2_values=sigma2,
        loglik=loglik,
        QE=QE,
        typical_variance=typical,
        structure=structure,
        method="moments" if structure == "ce" else method,
        robust=None,
        model=model,
        **about,
    )
    if robust is None:
        return fit
    working_model = fit.working_model()
    return replace(fit, robust=robust_of(working_model, working_model.labels, fit.cluster, robust))
