"""What the answer would be without a row, and how it came to be row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.errors import DataError
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.sensitivity import readable
from metamiq.sensitivity.bounded_refits import bounded_table
from metamiq.sensitivity.refits import CELLS, refit, table


def leave_one_out(fit: PooledEffect | MetaRegression | BoundedFit) -> pd.DataFrame:
    """The fit without each row in turn.

    Parameters
    ----------
    fit : PooledEffect, MetaRegression or BoundedFit
        Any fit of `random_effects`, `fixed_effect`, `meta_regression` or `random_effects_bounded`.

    Returns
    -------
    DataFrame
        One row per row of the fit, named by the one left out. For a pooled effect: ``k estimate se statistic dof
        p_value ci_low ci_high tau2 Q Q_p I2 H2``; for a regression ``tau2`` and each coefficient; for points and
        bounds ``k estimate se ci_low ci_high tau2``. NaN where what is left cannot be fitted.

    Raises
    ------
    DataError
        If the fit has one row only.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.1, 0.5, 0.9, 0.2], vi=[0.04, 0.02, 0.05, 0.03])
    >>> print(leave_one_out(fit)["estimate"].round(3).tolist())
    [0.512, 0.387, 0.295, 0.492]
    """
    readable.not_a_table(fit, "Leaving one out")
    if fit.k < 2:
        raise DataError("Leaving one out needs at least two rows, but the fit has one.")
    if isinstance(fit, BoundedFit):
        return bounded_table(fit, ~np.eye(fit.k, dtype=bool), pd.Index(fit.labels, name="without"))
    labels = pd.Index(fit.source.labels(), name="without")
    step = max(1, CELLS // fit.k)
    pieces = []
    for start in range(0, fit.k, step):
        rows = np.arange(start, min(start + step, fit.k))
        mask = np.ones((len(rows), fit.k), dtype=bool)
        mask[np.arange(len(rows)), rows] = False
        fits = refit(fit, mask=mask)
        if isinstance(fit, MetaRegression):
            part = pd.DataFrame(fits.estimate, columns=list(fit.names))
            part.insert(0, "tau2", fits.tau2)
            pieces.append(part)
        else:
            pieces.append(table(fits))
    return pd.concat(pieces, ignore_index=True).set_axis(labels)


def cumulative(fit: PooledEffect | BoundedFit, by: str = "year", *, ascending: bool = True) -> pd.DataFrame:
    """The fit of the first row, the first two, and so on.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        The fit of all rows.
    by : str
        Column of the effects table that orders them, or "precision" (most precise first). Ties keep the table's order.
    ascending : bool
        Smallest first.

    Returns
    -------
    DataFrame
        As from `leave_one_out`, one row per step, named by the row added, with a column ``by``'s value. The first
        step of a pooled effect has no tau2 and no Hartung-Knapp interval (NaN).

    Raises
    ------
    DataError
        If `by` is not a column or is missing somewhere.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> es = pd.DataFrame({"study": list("abc"), "year": [2003, 2001, 2002], "yi": [0.1, 0.5, 0.9],
    ...                    "vi": [0.04, 0.02, 0.05]})
    >>> cumulative(random_effects(es), by="year").index.tolist()
    ['b', 'c', 'a']
    """
    readable.not_a_table(fit, "A cumulative analysis")
    if isinstance(fit, MetaRegression):
        raise DataError("A cumulative analysis needs one mean, but the model has moderators. Fit it without them.")
    effects = fit.effects
    labels = list(fit.labels) if isinstance(fit, BoundedFit) else fit.source.labels()
    if by == "precision" and by not in effects:
        if isinstance(fit, BoundedFit):
            raise DataError("Rows that are bounds have no sampling variance to order by. Order by a column.")
        key = -1.0 / fit.source.vi
    else:
        if by not in effects:
            raise DataError(
                f"by must be a column of the effects table, but {by!r} is not among "
                f"{', '.join(sorted(map(str, effects.columns)))}."
            )
        missing = effects[by].isna().to_numpy()
        if missing.any():
            names = [labels[i] for i in np.flatnonzero(missing)]
            raise DataError(f"{by} must be known for every row, but it is missing for {', '.join(sorted(names))}.")
        key = effects[by].to_numpy()
    order = np.argsort(key, kind="stable")
    if not ascending:
        # Ties keep the table's order in both directions.
        order = len(key) - 1 - np.argsort(np.asarray(key)[::-1], kind="stable")[::-1]
    mask = _first_rows(order)
    index = pd.Index([labels[i] for i in order], name="added")
    if isinstance(fit, BoundedFit):
        out = bounded_table(fit, mask, index)
    else:
        step = max(1, CELLS // fit.k)
        out = pd.concat([table(refit(fit, mask=mask[i : i + step])) for i in range(0, fit.k, step)])
        out = out.set_axis(index)
    if by in effects:
        out.insert(0, by, effects[by].to_numpy()[order])
    return out


def _first_rows(order: NDArray[np.intp]) -> NDArray[np.bool_]:
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[None, :] <= np.arange(len(order))[:, None])
