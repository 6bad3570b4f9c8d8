"""Fits of points and bounds on other choices of their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.pooling.batch_bounded import BoundedBatch, random_effects_bounded
from metamiq.pooling.bounded_fit import BoundedFit

_COLUMNS = ("yi", "vi", "yi_low", "yi_high", "n1i", "n2i")


def bounded_refits(fit: BoundedFit, mask: NDArray[np.bool_]) -> BoundedBatch:
    """The fit's model on the rows of each mask, shape (B, k)."""
    frame = fit.effects
    absent = np.full(fit.k, np.nan)  # a table of points only need not have these
    columns = {c: frame[c].to_numpy(dtype=float, na_value=np.nan) if c in frame else absent for c in _COLUMNS}
    X = None if fit.design is None else fit.design.X
    return random_effects_bounded(**columns, mask=mask, X=X, level=fit.level)


def bounded_arrays(fit: BoundedFit, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Columns of a table of refits, without intervals: k estimate se tau2 loglik."""
    fits = bounded_refits(fit, mask)
    return {name: getattr(fits, name) for name in ("k", "estimate", "se", "tau2", "loglik")}


def bounded_table(fit: BoundedFit, mask: NDArray[np.bool_], index: pd.Index[str]) -> pd.DataFrame:
    """Refits with profile-likelihood intervals, one row per mask; a model with moderators gives its coefficients."""
    fits = bounded_refits(fit, mask)
    k = fits.k.astype(int)
    if fit.design is not None:
        table = pd.DataFrame(fits.estimate, columns=list(fit.names), index=index)
        table.insert(0, "k", k)
        return table.assign(tau2=fits.tau2)
    low, high = fits.ci()
    return pd.DataFrame(
        {"k": k, "estimate": fits.estimate, "se": fits.se, "ci_low": low, "ci_high": high, "tau2": fits.tau2},
        index=index,
    )
