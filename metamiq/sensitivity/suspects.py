"""Which single slip, in one trial, would explain why a published pooled value is not ours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from metamiq.arguments import check_finite, check_table
from metamiq.effects.measures import effect_sizes
from metamiq.errors import DataError
from metamiq.pooling import batch
from metamiq.pooling.bounded import numbers
from metamiq.pooling.tables import TOO_LARGE, out_of_range
from metamiq.pooling.wls import Array

_CELLS = ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")
_MOST_ROWS = 1_000  # each slip in each row is a table of all rows
_AS_IS = "nothing"


class _Slip(NamedTuple):
    """One row with a slip in it."""

    row: int
    error: str
    yi: float
    vi: float
    times: float  # how often the row counts


def suspects(
    effects: pd.DataFrame,
    value: float,
    *,
    ci: tuple[float, float] | None = None,
    half_unit: float = 0.005,
    measure: str = "SMD",
    method: str = "REML",
    test: str = "knha",
    level: float = 0.95,
) -> pd.DataFrame:
    """Rank the single slips that would turn our pooled effect into a published one.

    Each row in turn gets each slip, the whole table is pooled again (all in one batch), and the results are ranked by
    their distance from the published value. The slip may be in the published analysis or in ours: both directions are
    tried, and both would close the gap.

    With means and SDs (columns ``m1i sd1i n1i m2i sd2i n2i``): arms swapped; the sign of one mean lost; standard errors
    entered as SDs (SDs divided by the root of n) and the reverse; SDs of both arms squared or rooted (a variance for an
    SD); group sizes swapped; a decimal point moved in the SDs. With `yi` and `vi` only: sign turned; standard error
    entered as variance and the reverse; the decimal point of `yi` moved. Always: the row left out, and counted twice.

    Parameters
    ----------
    effects : DataFrame
        One row per trial.
    value : float
        The published estimate.
    ci : (float, float), optional
        The published interval; its ends then count in the distance as well. Without it many slips may fit.
    half_unit : float
        Half the last printed digit of these numbers: 0.005 for two decimals.
    measure : str
        Measure for tables with means and SDs: "SMD" or another of `metamiq.measure_table` with those columns.
    method, test, level
        As in `random_effects`, as the publication says.

    Returns
    -------
    DataFrame
        One row per slip, the best explanation first: ``trial error yi vi estimate ci_low ci_high distance agrees``;
        `yi`, `vi` are the trial's with the slip, and `agrees` says whether everything published is met when rounded:
        several slips may. The row "nothing" is our own analysis: slips below it make the gap larger.

    Raises
    ------
    DataError
        If the table has neither the cells nor `yi` and `vi`, or a row cannot be used.

    Notes
    -----
    A slip that fits is a place to look, not a finding: the source decides.

    Examples
    --------
    >>> es = pd.DataFrame({"study": list("abcde"), "yi": [0.3, 0.5, -0.6, 0.2, 0.4],
    ...                    "vi": [0.04, 0.03, 0.05, 0.03, 0.02]})
    >>> table = suspects(es, 0.38, test="z", method="DL")
    >>> print(table[["trial", "error"]].head(1).to_string(index=False, header=False))
    c sign turned
    """
    check_table(effects, "The search for suspects")
    check_finite("value", value)
    if ci is not None:
        check_finite("ci", *ci)
        if not ci[0] <= ci[1]:
            raise ValueError(f"ci must be the lower and then the upper end, not {ci[0]:g} and {ci[1]:g}.")
    if len(effects) > _MOST_ROWS:
        raise DataError(
            f"At most {_MOST_ROWS:,} rows can be searched, but there are {len(effects):,}. Choose rows first."
        )
    yi, vi, slips = _slips(effects, measure)
    k = len(yi)
    column = next((c for c in ("trial_id", "study", "label") if c in effects), None)
    names = [f"row {i + 1}" for i in range(k)] if column is None else [str(x) for x in effects[column]]
    y, v, times = (np.tile(a, (len(slips) + 1, 1)) for a in (yi, vi, np.ones(k)))
    for b, slip in enumerate(slips, start=1):
        y[b, slip.row], v[b, slip.row], times[b, slip.row] = slip.yi, slip.vi, slip.times
    fits = batch.random_effects(y, v, weights=times, method=method, test=test, level=level)
    low, high = fits.ci()
    gaps = [np.abs(fits.estimate - value)]
    if ci is not None:
        gaps += [np.abs(low - ci[0]), np.abs(high - ci[1])]
    out = pd.DataFrame(
        {
            "trial": ["", *(names[s.row] for s in slips)],
            "error": [_AS_IS, *(s.error for s in slips)],
            "yi": [np.nan, *(s.yi for s in slips)],
            "vi": [np.nan, *(s.vi for s in slips)],
            "estimate": fits.estimate,
            "ci_low": low,
            "ci_high": high,
            "distance": np.sum(gaps, axis=0),
            "agrees": np.max(gaps, axis=0) <= half_unit + 1e-12,  # 0.595 is no double
        }
    )
    return out.sort_values("distance", kind="stable").reset_index(drop=True)


def _slips(effects: pd.DataFrame, measure: str) -> tuple[Array, Array, list[_Slip]]:
    if set(_CELLS) <= set(effects.columns):
        table = effects.reset_index(drop=True)
        cells = {c: numbers(table, c) for c in _CELLS}
        yi, vi = _effects(cells, measure)
        slips = []
        for error, changed in _of_cells(cells):
            y, v = _effects(changed, measure)
            slips += [_Slip(i, error, float(y[i]), float(v[i]), 1.0) for i in range(len(y))]
    elif {"yi", "vi"} <= set(effects.columns):
        yi, vi = numbers(effects, "yi"), numbers(effects, "vi")
        root = np.sqrt(np.where(vi > 0, vi, np.nan))
        changes = {
            "sign turned": (-yi, vi),
            "standard error entered as variance": (yi, root),
            "variance entered as standard error": (yi, vi**2),
            "decimal point of yi moved right": (10 * yi, vi),
            "decimal point of yi moved left": (yi / 10, vi),
        }
        slips = [
            _Slip(i, error, float(y[i]), float(v[i]), 1.0) for error, (y, v) in changes.items() for i in range(len(yi))
        ]
    else:
        raise DataError(
            f"The table must have {', '.join(_CELLS)}, or yi and vi, but its columns are "
            f"{', '.join(map(str, effects.columns))}."
        )
    bad = np.flatnonzero(~(np.isfinite(yi) & np.isfinite(vi) & (vi > 0)))
    if len(bad):
        raise DataError(
            f"Every row must give an effect size and a variance, but row {', '.join(str(i + 1) for i in bad)} does "
            "not. Leave such rows out."
        )
    extreme = np.flatnonzero(out_of_range(yi, vi))
    if len(extreme):
        which = ", ".join(str(i + 1) for i in extreme)
        raise DataError(f"{TOO_LARGE[0]}, but not so in row {which}. {TOO_LARGE[1]}")
    for i in range(len(yi)):
        slips.append(_Slip(i, "counted twice", float(yi[i]), float(vi[i]), 2.0))
        slips.append(_Slip(i, "left out", float(yi[i]), float(vi[i]), 0.0))
    # A slip that changes nothing (equal group sizes swapped) explains nothing.
    real = [s for s in slips if s.times != 1 or not np.isclose([s.yi, s.vi], [yi[s.row], vi[s.row]], rtol=1e-9).all()]
    y, v = np.array([s.yi for s in real]), np.array([s.vi for s in real])
    usable = np.isfinite(y) & np.isfinite(v) & (v > 0) & ~out_of_range(y, v)
    return yi, vi, [s for s, keep in zip(real, usable, strict=True) if keep]


def _effects(cells: dict[str, Array], measure: str) -> tuple[Array, Array]:
    out = effect_sizes(pd.DataFrame(cells), measure)
    return out["yi"].to_numpy(dtype=float), out["vi"].to_numpy(dtype=float)


def _of_cells(cells: dict[str, Array]) -> list[tuple[str, dict[str, Array]]]:
    root_1, root_2 = np.sqrt(cells["n1i"]), np.sqrt(cells["n2i"])
    sd1, sd2, m1, m2 = cells["sd1i"], cells["sd2i"], cells["m1i"], cells["m2i"]
    changes: dict[str, dict[str, Array]] = {
        "arms swapped": {"m1i": m2, "sd1i": sd2, "n1i": cells["n2i"], "m2i": m1, "sd2i": sd1, "n2i": cells["n1i"]},
        "sign of the first mean lost": {"m1i": -m1},
        "sign of the second mean lost": {"m2i": -m2},
        "SE entered as SD": {"sd1i": sd1 / root_1, "sd2i": sd2 / root_2},
        "SD entered as SE": {"sd1i": sd1 * root_1, "sd2i": sd2 * root_2},
        "SE entered as SD in the first arm": {"sd1i": sd1 / root_1},
        "SE entered as SD in the second arm": {"sd2i": sd2 / root_2},
        "variance entered as SD": {"sd1i": sd1**2, "sd2i": sd2**2},
        "SD entered as variance": {"sd1i": np.sqrt(sd1), "sd2i": np.sqrt(sd2)},
        "group sizes swapped": {"n1i": cells["n2i"], "n2i": cells["n1i"]},
        "decimal point of the SDs moved right": {"sd1i": 10 * sd1, "sd2i": 10 * sd2},
        "decimal point of the SDs moved left": {"sd1i": sd1 / 10, "sd2i": sd2 / 10},
    }
    return [(error, cells | change) for error, change in changes.items()]
