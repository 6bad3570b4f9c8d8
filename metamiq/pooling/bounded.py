r"""Points and bounds together: the random-effects model that can use "significant" and "no difference".

Most trial reports that give no means still give a verdict, and a verdict bounds the effect. Rows that are points
enter with their density, rows that are bounds with the probability of their interval, and the mean (or the
coefficients of a moderator formula) and tau2 are those under which all of them together are likeliest.

References
----------
Hedges & Olkin (1980), Psychological Bulletin 88, 359-369: effect sizes from vote counts. Bushman & Wang (1996),
Psychological Methods 1, 66-80: vote counts combined with effect sizes by maximum likelihood.
Albajes-Eizagirre, Solanes & Radua (2019), Statistical Methods in Medical Research 28, 3741-3754: MetaNSUE, unreported
non-significant effects. Cox & Hinkley (1974): profile likelihood.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from metamiq.errors import DataError
from metamiq.pooling import bounded_likelihood as likelihood
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.bounded_likelihood import Rows
from metamiq.pooling.design import Design, design_matrix
from metamiq.pooling.records import check_columns, frozen_copy
from metamiq.pooling.wls import Array

_BOUND_COLUMNS = ("yi_low", "yi_high", "n1i", "n2i")


def random_effects_bounded(effects: pd.DataFrame, moderators: str | None = None, level: float = 0.95) -> BoundedFit:
    r"""Random-effects model of points and bounds by maximum likelihood.

    A point contributes the normal density with variance vi + tau2. A bound contributes the normal probability of
    (yi_low, yi_high) with variance v(mu) + tau2, v(mu) = 1/n1 + 1/n2 + mu^2 / (2 (n1 + n2)) at the row's model mean.

    Parameters
    ----------
    effects : DataFrame
        One row per trial: `yi` and `vi` for a point, `yi_low`, `yi_high` (infinite where open) and arm sizes `n1i`,
        `n2i` for a bound; a row with both is a point. `trial_effects` gives such a table. With points only, `yi` and
        `vi` are enough. The scale of bounds is that of standardised mean differences.
    moderators : str, optional
        Right-hand side of a formula, such as ``"disorder"`` or ``"mi_sessions"``. Rows without the moderator are left
        out and named in the result's `omitted`.
    level : float
        Coverage of the profile-likelihood intervals.

    Returns
    -------
    BoundedFit
        Mean or coefficients with profile-likelihood intervals and likelihood-ratio tests, tau2 with its interval,
        and counts of points and bounds.

    Raises
    ------
    DataError
        If a row is neither point nor bound, an interval is empty, an arm size is missing, or the likelihood has no
        maximum because every row that could stop the mean bounds it on one side only.
    ConvergenceError
        If the search does not settle.

    Notes
    -----
    With points only this is the ML fit of `random_effects`. Intervals and tests are those of large samples: with few
    rows they are somewhat too narrow, as ML intervals are.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "study": ["a", "b", "c", "d"],
    ...     "yi": [0.30, 0.62, np.nan, np.nan], "vi": [0.05, 0.04, np.nan, np.nan],
    ...     "yi_low": [np.nan, np.nan, -0.45, 0.44], "yi_high": [np.nan, np.nan, 0.45, np.inf],
    ...     "n1i": [40, 50, 40, 42], "n2i": [41, 52, 39, 40]})
    >>> fit = random_effects_bounded(table)
    >>> print(f"{fit.estimate:.3f} ({fit.ci_low:.3f} to {fit.ci_high:.3f}) from {fit.k_points} points and "
    ...       f"{fit.k_bounds} bounds")
    0.467 (0.151 to 0.782) from 2 points and 2 bounds
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}.")
    check_columns(effects)
    if len(effects) == 0:
        raise DataError("There must be at least one usable trial to pool, but the table is empty.")
    label = next((c for c in ("trial_id", "study", "label") if c in effects), None)
    design = None if moderators is None else design_matrix(moderators, effects)
    used = effects if design is None else effects.iloc[design.rows]
    names = [str(x) for x in used[label]] if label else [f"row {i + 1}" for i in range(len(used))]
    is_point = point_rows(used, names)
    x = np.ones((len(used), 1)) if design is None else design.X
    rows = rows_of(used, is_point, x, names)
    _check_maximum_exists(rows, x, is_point, design)
    found = likelihood.global_maximum(rows, x.shape[1])
    likelihood.require(found, "points and bounds")
    omitted: tuple[str, ...] = ()
    if design is not None:
        left_out = effects.iloc[design.omitted]
        omitted = tuple(str(v) for v in left_out[label]) if label else tuple(f"row {i + 1}" for i in design.omitted)
    return BoundedFit(
        beta=frozen_copy(found.theta[0, :-1]),
        tau2=float(found.theta[0, -1]),
        loglik=float(found.f[0]),
        names=("mean",) if design is None else design.names,
        level=level,
        is_point=is_point,
        omitted=omitted,
        rows=rows,
        design=design,
        frame=used.copy(deep=False),
        labels=tuple(names),
    )


def point_rows(effects: pd.DataFrame, names: list[str]) -> NDArray[np.bool_]:
    """Which rows are points; raises DataError for rows that are neither point nor bound, or are broken."""
    yi, vi = (effects[c].to_numpy(dtype=float, na_value=np.nan) for c in ("yi", "vi"))
    is_point = np.isfinite(yi) & np.isfinite(vi)
    faults: list[str] = []
    for i in np.flatnonzero(is_point & ~(vi > 0)):
        faults.append(f"vi must be greater than 0, but {names[i]!r} has {vi[i]:g}")
    for i in np.flatnonzero(np.isfinite(yi) ^ np.isfinite(vi)):
        faults.append(f"a point needs both yi and vi, but {names[i]!r} has yi = {yi[i]:g} and vi = {vi[i]:g}")
    bounds = np.flatnonzero(~np.isfinite(yi) & ~np.isfinite(vi))
    if len(bounds):
        missing = [c for c in _BOUND_COLUMNS if c not in effects]
        if missing:
            raise DataError(
                f"Rows without yi need the columns {', '.join(_BOUND_COLUMNS)}, but {', '.join(missing)} is missing "
                f"({', '.join(sorted(names[i] for i in bounds)[:8])}). Build the table with metamiq.trial_effects."
            )
        low, high, n1, n2 = (effects[c].to_numpy(dtype=float, na_value=np.nan) for c in _BOUND_COLUMNS)
        for i in bounds:
            if np.isnan(low[i]) or np.isnan(high[i]):
                faults.append(
                    f"a row must be a point or have both yi_low and yi_high, but {names[i]!r} has neither whole"
                )
            elif not low[i] < high[i]:
                faults.append(f"yi_low must be below yi_high, but {names[i]!r} has {low[i]:g} and {high[i]:g}")
            if not (n1[i] >= 2 and n2[i] >= 2 and np.isfinite(n1[i] + n2[i])):
                faults.append(
                    f"a bound needs arm sizes of at least 2, but {names[i]!r} has n1i = {n1[i]:g}, n2i = {n2[i]:g}"
                )
    if faults:
        raise DataError(f"{'; '.join(faults)}. Correct the rows against their source, or leave them out.")
    return np.asarray(is_point)


def rows_of(effects: pd.DataFrame, is_point: NDArray[np.bool_], x: Array, names: list[str]) -> Rows:
    """The likelihood's arrays for one table."""
    points = effects.loc[is_point]
    bounds = effects.loc[~is_point]

    def column(frame: pd.DataFrame, name: str) -> Array:
        if len(frame) == 0:
            return np.zeros((1, 0))
        return np.asarray(frame[name].to_numpy(dtype=float, na_value=np.nan))[None]

    n1, n2 = column(bounds, "n1i"), column(bounds, "n2i")
    return Rows(
        y=column(points, "yi"),
        v=column(points, "vi"),
        n_points=None,
        x_points=x[is_point][None],
        low=column(bounds, "yi_low"),
        high=column(bounds, "yi_high"),
        base=1.0 / n1 + 1.0 / n2,
        total=n1 + n2,
        n_bounds=None,
        x_bounds=x[~is_point][None],
        size=1,
    )


def _check_maximum_exists(rows: Rows, x: Array, is_point: NDArray[np.bool_], design: Design | None) -> None:
    """Raise DataError when the likelihood climbs for ever along some direction of the coefficients.

    Points and two-sided bounds stop the mean of their row on both sides. A direction they do not stop must be
    stopped by one-sided bounds that oppose each other.
    """
    low, high = np.full(len(x), np.nan), np.full(len(x), np.nan)
    low[~is_point], high[~is_point] = rows.low[0], rows.high[0]
    pinned = is_point | (np.isfinite(low) & np.isfinite(high))
    if pinned.any() and np.linalg.matrix_rank(x[pinned]) == x.shape[1]:
        return
    sides = np.where(np.isfinite(low), 1.0, -1.0)[~pinned]
    open_rows = (np.isfinite(low) | np.isfinite(high))[~pinned]
    towards = sides[open_rows, None] * x[~pinned][open_rows]
    p = x.shape[1]
    what = "the mean" if design is None else f"the coefficients of {design.formula!r}"
    if len(towards):
        # Is there d with no pinned row moved, no one-sided bound opposed, and some bound helped (or none at all)?
        result = optimize.linprog(
            -towards.sum(axis=0),
            A_ub=-towards,
            b_ub=np.zeros(len(towards)),
            A_eq=x[pinned] if pinned.any() else None,
            b_eq=np.zeros(int(pinned.sum())) if pinned.any() else None,
            bounds=[(-1.0, 1.0)] * p,
        )
        free = np.linalg.matrix_rank(np.vstack([x[pinned], towards])) < p
        runs_away = result.status == 0 and -result.fun > 1e-9
        if not (free or runs_away):
            return
    raise DataError(
        f"The likelihood must have a maximum, but nothing in these {len(x)} rows ({int(is_point.sum())} points, "
        f"{int((~is_point).sum())} bounds) stops {what} on one side: the bounds that could are all one-sided the same "
        "way. Add a point or a two-sided bound, or pool with fewer moderators."
    )
