"""The mean of all rows, which a forest plot shows below its subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.bounded import random_effects_bounded
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.subgroups import Subgroups

if TYPE_CHECKING:
    from typing_extensions import TypeIs


def has_bounded_groups(fit: object) -> TypeIs[BoundedFit]:
    """Whether `fit` is of points and bounds, with the groups of one column as its moderator."""
    return isinstance(fit, BoundedFit) and fit.design is not None and fit.design.formula in fit.design.reference_levels


def total_of(fit: object) -> PooledEffect | BoundedFit | None:
    """One mean of the rows of all groups, by the groups' own estimator and test; None where it cannot be had.

    A fit without groups has none, either. It is another model than that of the groups: one tau2 for all rows, and no
    differences between groups.

    Examples
    --------
    >>> from metamiq.pooling.subgroups import subgroups
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2], "vi": [0.04, 0.02, 0.05, 0.03], "group": list("abba")})
    >>> total = total_of(subgroups(es, "group"))
    >>> print(f"{total.estimate:.3f} {total.tau2:.3f}")
    0.415 0.075
    """
    try:
        if has_bounded_groups(fit):
            return random_effects_bounded(fit.effects, level=fit.level)
        if not isinstance(fit, Subgroups):
            return None
        first = next(iter(fit.fits.values()))
        effects = pd.concat([f.effects for f in fit.fits.values()])
        effects.attrs.update(first.effects.attrs)
        # With a common tau2 the groups' own fits have no Hartung-Knapp factor: it is that of their regression.
        test = first.test if fit.regression is None else fit.regression.test
        return random_effects(effects, method=first.method, test=test, level=first.level, pi_method=first.pi_method)
    except (DataError, ConvergenceError):
        return None


def weighed_by_total(rows: pd.DataFrame, total: PooledEffect | BoundedFit) -> pd.DataFrame:
    """The rows of a forest plot with their weights in the total; at a group's mean, those of the group together."""
    at = rows["position"].to_numpy(dtype=int)
    share = np.where(at >= 0, total.weights[at], np.nan)
    texts = ["" if np.isnan(w) else f"{100 * w:.1f}%" for w in share]
    part = 0.0
    for i, kind in enumerate(rows["kind"]):
        if kind == "heading":
            part = 0.0
        elif at[i] >= 0:
            part += float(np.nan_to_num(share[i]))
        elif kind == "subtotal":
            texts[i] = f"{100 * part:.1f}%"
    return rows.assign(weight=share, weight_text=texts)
