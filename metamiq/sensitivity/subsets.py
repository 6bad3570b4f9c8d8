"""Every subset of the rows: how the answer depends on which trials count (GOSH)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.arguments import check_whole, generator
from metamiq.errors import DataError
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.progress import track
from metamiq.sensitivity import readable
from metamiq.sensitivity.bounded_refits import bounded_arrays
from metamiq.sensitivity.refits import CELLS, refit

ALL_UP_TO = 20
_COLUMNS = ("k", "estimate", "se", "tau2", "Q", "I2")


def subsets(fit: PooledEffect | BoundedFit, n: int | None = None, *, seed: int = 0, smallest: int = 1) -> pd.DataFrame:
    """The fit of every subset of its rows, or of a seeded sample of them.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        The fit of all rows.
    n : int, optional
        Number of random subsets. By default all 2^k - 1 up to k = 20, and 100,000 beyond.
    seed : int
        Makes a sample repeatable; each row is in a subset with probability 1/2.
    smallest : int
        Leave out subsets of fewer rows.

    Returns
    -------
    DataFrame
        One row per subset: ``members`` (bit i set: row i is in, as a Python-sized integer for k <= 63), ``k estimate se
        tau2 Q I2`` (for points and bounds ``k estimate se tau2 loglik``). NaN where a subset cannot be fitted.

    References
    ----------
    Olkin, Dahabreh & Trikalinos (2012), Research Synthesis Methods 3, 214-223.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> all_of_them = subsets(random_effects(yi=[0.1, 0.5, 0.9], vi=[0.04, 0.02, 0.05]))
    >>> len(all_of_them), all_of_them["members"].tolist()
    (7, [1, 2, 3, 4, 5, 6, 7])
    """
    readable.not_a_table(fit, "Fitting subsets")
    if isinstance(fit, MetaRegression):
        raise DataError("Fitting subsets needs one mean, but the model has moderators. Fit it without them.")
    k = fit.k
    if k > 63:
        raise DataError(f"Subsets are told apart by 63 bits, but the fit has {k} rows. Use bootstrap instead.")
    if n is not None:
        check_whole("n", n, least=1)
    check_whole("smallest", smallest, least=1)
    everything = n is None and k <= ALL_UP_TO
    total = (1 << k) - 1 if everything else (100_000 if n is None else n)
    step = max(1, CELLS // k)
    rng = generator(seed)

    def pieces() -> Iterator[NDArray[np.int64]]:
        for start in range(0, total, step):
            stop = min(start + step, total)
            if everything:
                yield np.arange(start + 1, stop + 1, dtype=np.int64)
            else:
                yield rng.integers(1, 1 << k, size=stop - start, dtype=np.int64)

    parts = []
    for members in track(pieces(), -(-total // step), f"fitting {total:,} subsets"):
        mask = (members[:, None] >> np.arange(k)) & 1 == 1
        members, mask = _large_enough(members, mask, smallest)
        if len(members):
            parts.append(_fit(fit, members, mask))
    if not parts:
        raise DataError(f"There must be a subset of at least {smallest} rows, but the fit has {k}.")
    return pd.concat(parts, ignore_index=True)


def _large_enough(
    members: NDArray[np.int64], mask: NDArray[np.bool_], smallest: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if smallest <= 1:
        return members, mask
    keep = mask.sum(axis=1) >= smallest
    return members[keep], mask[keep]


def _fit(fit: PooledEffect | BoundedFit, members: NDArray[np.int64], mask: NDArray[np.bool_]) -> pd.DataFrame:
    if isinstance(fit, BoundedFit):
        columns = bounded_arrays(fit, mask)
    else:
        fits = refit(fit, mask=mask)
        columns = {name: getattr(fits, name) for name in _COLUMNS}
    columns["k"] = np.asarray(columns["k"]).astype(np.int64)
    return pd.DataFrame({"members": members, **columns})
