"""The same model on other choices or weightings of its rows, many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.pooling import batch
from metamiq.pooling.batch import BatchFits
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.progress import track

Bools = NDArray[np.bool_]
# Cells of a mask made at once; as numbers they take eight times as many bytes.
CELLS = 1 << 20
COLUMNS = ("k", "estimate", "se", "statistic", "dof", "p_value", "ci_low", "ci_high", "tau2", "Q", "Q_p", "I2", "H2")


def refit(fit: PooledEffect | MetaRegression, **rows: NDArray[np.generic]) -> BatchFits:
    """The fit's model on other rows: `mask` or `weights` of shape (B, k), or new `yi` of shape (B, k)."""
    check_refittable(fit)
    yi = rows.pop("yi", fit.source.yi)
    X = fit.design.X if isinstance(fit, MetaRegression) else None
    return batch.random_effects(
        yi,
        fit.source.vi,
        X=X,
        method=fit.method,
        test=fit.test,
        level=fit.level,
        **rows,
    )


def check_refittable(fit: PooledEffect | MetaRegression) -> None:
    """Raise ValueError when the fit is not one of yi and vi with inverse-variance weights."""
    if isinstance(fit, PooledEffect) and fit.combine is not None:
        raise ValueError(
            f"Refitting needs a mean weighted by inverse variances, but this one ({fit.method}) has weights of its "
            "own. Use metamiq.random_effects or fixed_effect of the same rows."
        )
    if isinstance(fit, PooledEffect) and fit.tau2_given:
        raise ValueError("Refitting estimates tau2 anew, but this fit was made with a tau2 that was given.")
    if fit.method not in batch.METHODS:
        raise ValueError(
            "Refitting needs a fit of metamiq.random_effects, fixed_effect or meta_regression, not one by "
            f"{fit.method}, which rests on the counts."
        )


def table(fits: BatchFits, index: pd.Index[str] | None = None) -> pd.DataFrame:
    """One row per fit, in the columns of every result table and those of heterogeneity."""
    columns = {name: getattr(fits, name) for name in COLUMNS}
    columns["k"] = columns["k"].astype(int)
    return pd.DataFrame(columns, index=index)


def by_masks(fit: PooledEffect, masks: Iterable[Bools], pieces: int, what: str) -> Iterator[BatchFits]:
    """The fits of masks that come piece by piece."""
    for mask in track(masks, pieces, what):
        yield refit(fit, mask=mask)
