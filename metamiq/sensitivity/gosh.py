"""Clusters among the subsets of a meta-analysis, and the rows that make them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster import vq

from metamiq.errors import DataError
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array
from metamiq.sensitivity.subsets import subsets
from metamiq.wording import fixed, in_short

MOST = 20_000  # subsets used for the search for clusters; all others are then put where they belong


@dataclass(frozen=True, slots=True, eq=False)
class GoshClusters:
    """Clusters of subsets, and how often each row is in the subsets of each cluster."""

    subsets: pd.DataFrame  # as `metamiq.subsets`, with `cluster`: 0 has the smallest mean estimate
    centres: pd.DataFrame  # one row per cluster: n, estimate and I2 (or tau2) at its centre
    membership: pd.DataFrame  # one row per row of the fit: share of each cluster's subsets that have it, and `spread`

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The clusters and the rows that tell them apart; the caller prints it."""
        name = str(self.centres.columns[-1])
        lines = [
            f"cluster {i}: {row['n']:.0f} subsets around {fixed(row['estimate'])}, {name} {fixed(row[name], 2)}"
            for i, row in self.centres.iterrows()
        ]
        first = self.membership.sort_values("spread", ascending=False, kind="stable").head(3)
        rows = "; ".join(f"{name} (in {_percents(row)})" for name, row in first.iterrows())
        return "\n".join([*lines, f"Rows that tell them apart: {rows}."])


def _percents(row: pd.Series[float]) -> str:
    return " and ".join(f"{100 * share:.0f}%" for share in row.drop("spread"))


def gosh_clusters(
    fit: PooledEffect | BoundedFit, clusters: int = 2, *, smallest: int = 2, seed: int = 0
) -> GoshClusters:
    """Divide the fits of all subsets into clusters, and find the rows that make them.

    k-means on the estimate and I2 of each subset (for points and bounds, tau2), each divided by its standard deviation,
    started at the means of equal parts of the subsets in order of their estimates. A row whose share of the subsets
    differs much between clusters drives the heterogeneity.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        The fit of all rows.
    clusters : int
        How many; two answer the question whether some rows do not belong.
    smallest : int
        Subsets of fewer rows are not used; of one row there is no heterogeneity.
    seed : int
        Of the sample of subsets that is taken beyond 20 rows; makes the result repeatable.

    Returns
    -------
    GoshClusters
        Subsets with their cluster, centres, and membership by row.

    Raises
    ------
    DataError
        If there are fewer different subsets than clusters.

    References
    ----------
    Olkin, Dahabreh & Trikalinos (2012), for the subsets; Lloyd (1982), for k-means.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.2, 0.15, 0.1, 1.5], vi=[0.01] * 5)
    >>> result = gosh_clusters(fit)
    >>> result.membership["spread"].idxmax()
    'row 5'
    """
    if clusters < 2:
        raise ValueError(f"clusters must be at least 2, not {clusters!r}.")
    table = subsets(fit, seed=seed, smallest=smallest)
    name = "I2" if "I2" in table else "tau2"
    columns = ["estimate", name]
    table = table[np.isfinite(table[columns].to_numpy(dtype=float)).all(axis=1)].reset_index(drop=True)
    if len(table[columns].drop_duplicates()) < clusters:
        raise DataError(f"There must be at least {clusters} different subsets, but there are {len(table)}.")
    values = table[columns].to_numpy(dtype=float)
    scale = values.std(axis=0)
    scaled = values / np.where(scale > 0, scale, 1.0)
    step = -(-len(scaled) // MOST)
    by_estimate = np.argsort(scaled[:, 0], kind="stable")[::step]
    start = np.array([scaled[part].mean(axis=0) for part in np.array_split(by_estimate, clusters)])
    try:
        centres, _ = vq.kmeans2(scaled[by_estimate], start, minit="matrix", missing="raise")
    except vq.ClusterError:
        raise DataError(
            f"The subsets must fall into {clusters} clusters, but one came out empty. Ask for fewer."
        ) from None
    order = np.argsort(centres[:, 0], kind="stable")
    cluster = _nearest(scaled, centres[order])
    table["cluster"] = cluster
    k = fit.k
    labels = list(fit.labels) if isinstance(fit, BoundedFit) else fit.source.labels()
    has = (table["members"].to_numpy()[:, None] >> np.arange(k)) & 1
    share = np.array([has[cluster == c].mean(axis=0) for c in range(clusters)]).T
    membership = pd.DataFrame(
        share, columns=[f"cluster_{c}" for c in range(clusters)], index=pd.Index(labels, name="row")
    )
    membership["spread"] = share.max(axis=1) - share.min(axis=1)
    middle = pd.DataFrame(table.groupby("cluster")[columns].mean())
    middle.insert(0, "n", np.bincount(cluster, minlength=clusters))
    return GoshClusters(table, middle, membership)


def _nearest(points: Array, centres: Array) -> NDArray[np.intp]:
    found: NDArray[np.intp] = vq.vq(points, centres)[0].astype(np.intp)
    return found
