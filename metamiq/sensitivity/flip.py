"""The smallest set of rows without which the conclusion would be another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
import pandas as pd

from metamiq.errors import DataError
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.wls import Array
from metamiq.sensitivity import readable
from metamiq.sensitivity.bounded_refits import bounded_refits
from metamiq.sensitivity.influence import side
from metamiq.sensitivity.refits import CELLS, Bools, refit
from metamiq.wording import count, fixed, in_short

MOST_SETS = 200_000  # of one size; beyond, the search stops and says so
_WORDS = {1: "lies above", 0: "includes", -1: "lies below"}


@dataclass(frozen=True, slots=True, eq=False)
class FlipSet:
    """The smallest sets of rows whose removal flips the conclusion.

    The conclusion is where the interval lies: above `null`, below it, or around it.
    """

    sets: pd.DataFrame  # one row per set of the smallest size: without, estimate, ci_low, ci_high, side
    before: int  # 1 above, 0 around, -1 below
    null: float
    level: float
    k: int
    searched: int  # every set of up to this many rows was tried

    @property
    def size(self) -> int | None:
        """Rows in the smallest such set; None when no set that was tried flips the conclusion."""
        return len(self.sets["without"].iloc[0]) if len(self.sets) else None

    @property
    def members(self) -> tuple[str, ...]:
        """The rows of the first set; empty when there is none."""
        return tuple(self.sets["without"].iloc[0]) if len(self.sets) else ()

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The finding in a sentence or two; the caller prints it."""
        percent = f"{100 * self.level:g}%"
        start = f"The {percent} interval of all {self.k} rows {_WORDS[self.before]} {self.null:g}."
        if not len(self.sets):
            return f"{start} Leaving out any {count(self.searched, 'row')} or fewer does not change that."
        first = self.sets.iloc[0]
        more = f", and so would {count(len(self.sets) - 1, 'other set')} of this size" if len(self.sets) > 1 else ""
        return (
            f"{start} Leaving out {_listed(self.members)} would change that ({fixed(first['estimate'])}, "
            f"{fixed(first['ci_low'])} to {fixed(first['ci_high'])}){more}."
        )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def flip_set(fit: PooledEffect | BoundedFit, *, null: float = 0.0, largest: int | None = None) -> FlipSet:
    """Find the smallest set of rows without which the interval would lie elsewhere than it does.

    An exact search: every single row, then every pair, and so on, each size as one batch of fits.

    Parameters
    ----------
    fit : PooledEffect or BoundedFit
        A fit without moderators.
    null : float
        The value that the interval must exclude or include, on the scale of analysis.
    largest : int, optional
        Stop after sets of this size; by default when two rows are left. A size with more than 200,000 sets is not
        tried.

    Returns
    -------
    FlipSet
        All sets of the smallest size that flips the conclusion, the one whose interval ends farthest from `null` first.

    Raises
    ------
    DataError
        If the fit has moderators, fewer than three rows, or no interval.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> fit = random_effects(yi=[0.3, 0.5, 0.6, 0.2], vi=[0.02, 0.02, 0.03, 0.03])
    >>> print(flip_set(fit).summary())
    The 95% interval of all 4 rows lies above 0. Leaving out row 2 would change that (0.36, -0.13 to 0.86), and so would
    2 other sets of this size.
    """
    readable.not_a_table(fit, "flip_set")
    if getattr(fit, "design", None) is not None:
        raise DataError("flip_set needs one mean, but this fit has moderators. Fit it without them.")
    if fit.k < 3:
        raise DataError(f"flip_set needs at least three rows, but the fit has {fit.k}.")
    ci = fit.ci()
    if np.isnan(ci.low) or np.isnan(ci.high):
        raise DataError("flip_set needs an interval to flip, but the fit has none.")
    before = int(side(ci.low, ci.high, null))
    labels = list(fit.labels) if isinstance(fit, BoundedFit) else fit.source.labels()
    searched = 0
    for size in range(1, min(fit.k - 2 if largest is None else largest, fit.k - 1) + 1):
        if comb(fit.k, size) > MOST_SETS:
            break
        found = _flips(fit, size, before, null, labels)
        searched = size
        if len(found):
            return FlipSet(found, before, null, fit.level, fit.k, searched)
    none = pd.DataFrame(columns=["without", "estimate", "ci_low", "ci_high", "side"])
    return FlipSet(none, before, null, fit.level, fit.k, searched)


def _flips(fit: PooledEffect | BoundedFit, size: int, before: int, null: float, labels: list[str]) -> pd.DataFrame:
    k = fit.k
    sets = combinations(range(k), size)
    parts = []
    while len(out := np.array(list(islice(sets, max(1, CELLS // k))), dtype=np.intp)):
        mask = np.ones((len(out), k), dtype=bool)
        mask[np.arange(len(out))[:, None], out] = False
        estimate, low, high = _intervals(fit, mask)
        after = side(low, high, null)
        flipped = np.flatnonzero((after != before) & np.isfinite(estimate) & ~np.isnan(low + high))
        parts.append(
            pd.DataFrame(
                {
                    "without": [tuple(labels[j] for j in out[i]) for i in flipped],
                    "estimate": estimate[flipped],
                    "ci_low": low[flipped],
                    "ci_high": high[flipped],
                    "side": after[flipped],
                }
            )
        )
    found = pd.concat(parts, ignore_index=True)
    low, high = (found[c].to_numpy(dtype=float) - null for c in ("ci_low", "ci_high"))
    end = {1: low, -1: -high, 0: -np.maximum(low, -high)}[before]
    return found.iloc[np.argsort(end, kind="stable")].reset_index(drop=True)


def _intervals(fit: PooledEffect | BoundedFit, mask: Bools) -> tuple[Array, Array, Array]:
    fits = bounded_refits(fit, mask) if isinstance(fit, BoundedFit) else refit(fit, mask=mask)
    return fits.estimate, *fits.ci()
