"""An unknown correlation, tried from end to end: the pooled effect as a curve, and where the conclusion tips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from scipy import optimize

from metamiq.arguments import check_table
from metamiq.effects.composite import aggregate
from metamiq.effects.measures import MEASURES, effect_sizes
from metamiq.errors import DataError
from metamiq.pooling.interval import Interval
from metamiq.pooling.models import random_effects
from metamiq.pooling.multilevel import multilevel
from metamiq.sensitivity.influence import side
from metamiq.wording import fixed, in_short

GRID = tuple(round(0.05 * i, 2) for i in range(1, 20))  # 0.05 to 0.95
_WORDS = {1: "lies above", 0: "includes", -1: "lies below"}


class OneMean(Protocol):
    """What a sweep reads from a fit."""

    @property
    def estimate(self) -> float:
        """The mean."""

    @property
    def se(self) -> float:
        """Its standard error."""

    @property
    def p_value(self) -> float:
        """Two-sided p-value of 0."""

    def ci(self, level: float | None = None) -> Interval:
        """Its confidence interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """The pooled effect at each value of a number that is not known."""

    table: pd.DataFrame  # indexed by the value: estimate se ci_low ci_high p_value tau2 (NaN where a model has several)
    tipping: tuple[float, ...]  # where an end of the interval crosses `null`, between the grid's ends
    null: float
    name: str

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The curve in words; the caller prints them."""
        first, last = self.table.iloc[0], self.table.iloc[-1]
        low, high = float(self.table.index[0]), float(self.table.index[-1])
        lines = [
            f"As {self.name} goes from {low:g} to {high:g}, the mean goes from {fixed(first['estimate'])} to "
            f"{fixed(last['estimate'])}; over all values it lies between {fixed(self.table['estimate'].min())} and "
            f"{fixed(self.table['estimate'].max())}."
        ]
        where = side(self.table["ci_low"].to_numpy(dtype=float), self.table["ci_high"].to_numpy(dtype=float), self.null)
        if not self.tipping:
            lines.append(f"The interval {_WORDS[int(where[0])]} {self.null:g} at every value.")
        else:
            points = ", ".join(fixed(x) for x in self.tipping)
            lines.append(
                f"The interval {_WORDS[int(where[0])]} {self.null:g} at {low:g} and {_WORDS[int(where[-1])]} it at "
                f"{high:g}; it tips at {self.name} = {points}."
            )
        return "\n".join(lines)


def sweep(
    fit_at: Callable[[float], OneMean], values: Iterable[float] = GRID, *, null: float = 0.0, name: str = "value"
) -> Sweep:
    """Fit at each value of an unknown number, and find where the conclusion tips.

    Parameters
    ----------
    fit_at : callable
        From a value to a fit with one mean: ``lambda r: random_effects(...)``.
    values : iterable of float
        Where to fit, at least two; sorted first.
    null : float
        The conclusion is where the interval lies: above this value, around it or below it.
    name : str
        What the number is called.

    Returns
    -------
    Sweep
        `table`, one row per value, and `tipping`, found between neighbouring values to about 1e-6. A crossing back and
        forth between two neighbours is not seen: use a finer grid.

    Raises
    ------
    ValueError
        If there are fewer than two values.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> def at(v):
    ...     return random_effects(yi=[0.3, 0.5, 0.2], vi=[v, v, v], test="z")
    >>> curve = sweep(at, [0.01, 0.02, 0.05, 0.1, 0.2])
    >>> print([f"{x:.4f}" for x in curve.tipping])
    ['0.0868']
    """
    if not callable(fit_at):
        raise ValueError(f"fit_at must be a function of one number that returns a fit, not a {type(fit_at).__name__}.")
    grid = sorted({float(v) for v in values})
    if len(grid) < 2:
        raise ValueError(f"values must be at least two numbers, not {grid!r}.")
    fits = [fit_at(v) for v in grid]
    ends = [fit.ci() for fit in fits]
    table = pd.DataFrame(
        {
            "estimate": [float(fit.estimate) for fit in fits],
            "se": [float(fit.se) for fit in fits],
            "ci_low": [float(end[0]) for end in ends],
            "ci_high": [float(end[1]) for end in ends],
            "p_value": [float(fit.p_value) for fit in fits],
            "tau2": [float(getattr(fit, "tau2", np.nan)) for fit in fits],
        },
        index=pd.Index(grid, name=name),
    )
    tipping = []
    for j, end in enumerate(("ci_low", "ci_high")):
        above = table[end].to_numpy(dtype=float) - null
        for i in np.flatnonzero((above[:-1] > 0) != (above[1:] > 0)):
            if np.isfinite(above[i]) and np.isfinite(above[i + 1]):
                tipping.append(_crossing(fit_at, j, null, grid[i], grid[i + 1]))
    return Sweep(table, tuple(sorted(tipping)), float(null), name)


def _crossing(fit_at: Callable[[float], OneMean], end: int, null: float, low: float, high: float) -> float:
    def above(value: float) -> float:
        return float(fit_at(value).ci()[end]) - null

    # An end that lies exactly on `null` at a grid value is a crossing there.
    return float(optimize.brentq(above, low, high, xtol=1e-7))


def sweep_r(
    frame: pd.DataFrame,
    measure: str,
    values: Iterable[float] = GRID,
    *,
    null: float = 0.0,
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
) -> Sweep:
    """Sweep the correlation between measurements before and after, where it is not known.

    Parameters
    ----------
    frame : DataFrame
        A study table with the columns of `measure`; its `ri` is kept where it is given and swept where it is missing.
        Without any `ri` all rows are swept together.
    measure : str
        A measure that needs `ri`: "MC", "SMCC", "SMCR", "SMCRH", "ROMC", "PPC_PRE", "PPC_POST" or "PPC_ALL".
    values : iterable of float
        Correlations between -1 and 1.
    null, method, test, level
        As in `sweep` and `random_effects`.

    Returns
    -------
    Sweep
        The curve and its tipping points.

    Raises
    ------
    DataError
        If every row has its correlation, or a row lacks another number.
    ValueError
        If the measure needs no correlation.

    Examples
    --------
    >>> table = pd.DataFrame({"m1i": [24, 30, 19], "m2i": [20, 28, 18], "sd1i": [8, 9, 7], "sd2i": [8, 9, 7],
    ...                       "ni": [20, 30, 25]})
    >>> curve = sweep_r(table, "SMCC", [0.2, 0.5, 0.8])
    >>> print(curve.table["estimate"].round(3).tolist())
    [0.203, 0.255, 0.402]
    """
    check_table(frame, "A sweep of the correlation")
    # In a correlation itself, ri is the effect.
    repeated = sorted(code for code, spec in MEASURES.items() if "ri" in spec.columns and spec.columns != ("ri", "ni"))
    if measure not in repeated:
        raise ValueError(f"measure must be one of {', '.join(map(repr, repeated))}, not {measure!r}.")
    known = frame["ri"] if "ri" in frame else pd.Series(np.nan, index=frame.index)
    if known.notna().all():
        raise DataError(
            f"At least one row must lack ri, but all {len(frame)} rows have it. Leave the column out to sweep them all."
        )

    def fit_at(r: float) -> OneMean:
        table = effect_sizes(frame.assign(ri=known.fillna(r)), measure)
        return random_effects(table, method=method, test=test, level=level)

    return sweep(fit_at, values, null=null, name="r")


def sweep_rho(
    effects: pd.DataFrame,
    cluster: str = "study",
    values: Iterable[float] = GRID,
    *,
    model: str = "composite",
    null: float = 0.0,
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
) -> Sweep:
    """Sweep the correlation between the sampling errors of several outcomes of one study.

    Parameters
    ----------
    effects : DataFrame
        `yi`, `vi` and the cluster column, several rows per study.
    cluster : str
        Column that says which rows belong together.
    values : iterable of float
        Correlations, 0 <= rho < 1.
    model : {"composite", "che"}
        The mean of each study's outcomes (`aggregate`, unweighted), then `random_effects`; or the
        correlated-and-hierarchical-effects model (`multilevel`) with CR2 robust intervals, which ignores `test`.
    null, method, test, level
        As in `sweep` and `random_effects`.

    Returns
    -------
    Sweep
        The curve and its tipping points.

    Raises
    ------
    DataError
        If no study has more than one row.
    ValueError
        If the model is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"study": list("aabbc"), "yi": [0.3, 0.1, 0.6, 0.5, 0.2],
    ...                       "vi": [0.05, 0.05, 0.08, 0.07, 0.04]})
    >>> print(sweep_rho(table, values=[0.1, 0.9]).table["se"].round(3).tolist())
    [0.112, 0.105]
    """
    check_table(effects, "A sweep of the correlation")
    if model not in ("che", "composite"):
        raise ValueError(f"model must be one of 'che', 'composite', not {model!r}.")
    if cluster in effects and not effects[cluster].duplicated().any():
        raise DataError(f"At least one {cluster} must have several rows, but each has one: there is no rho to sweep.")

    def fit_at(rho: float) -> OneMean:
        if model == "che":
            return multilevel(effects, cluster, rho=rho, structure="che", method=method, robust="CR2", level=level)
        pooled = aggregate(effects, cluster, rho, weighted=False)
        return random_effects(pooled, method=method, test=test, level=level)

    return sweep(fit_at, values, null=null, name="rho")
