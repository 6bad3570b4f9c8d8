"""The mean of each category of a moderator, as a small forest plot."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from metamiq.errors import DataError
from metamiq.plots.alt_text import alt_text
from metamiq.plots.footer import footer_lines
from metamiq.plots.forest_rows import COLUMNS, count_text, mean_row
from metamiq.plots.row_drawing import draw_rows
from metamiq.plots.row_layout import TextColumn
from metamiq.plots.scale import Scale
from metamiq.plots.style import wrap
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.subgroups import Subgroups


def group_rows(fit: BoundedFit | Subgroups, level: float | None = None) -> pd.DataFrame:
    """One row per category: the columns of `forest_rows`, `counts`, and `weight` NaN.

    Examples
    --------
    >>> from metamiq.pooling.subgroups import subgroups
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "disorder": ["GAD", "OCD", "OCD", "GAD", "OCD"]})
    >>> print(group_rows(subgroups(es, "disorder"))[["label", "counts"]].to_string(index=False, header=False))
    GAD 2 points
    OCD 3 points
    """
    if isinstance(fit, Subgroups):
        measure = next(iter(fit.fits.values())).measure
        rows = []
        for name, group in fit.fits.items():
            table = fit.table[["estimate", "ci_low", "ci_high"]].loc[[name]].to_numpy(dtype=float)
            estimate, low, high = (float(x) for x in table[0])
            if level is not None and level != group.level:
                if fit.common_tau2:
                    raise ValueError(f"level must be that of the subgroups ({group.level:g}) when they share tau2.")
                low, high = group.ci(level)
            rows.append({**mean_row(measure, name, estimate, low, high, "subtotal"), "counts": count_text(group.k, 0)})
        return pd.DataFrame(rows, columns=[*COLUMNS, "counts"])
    rows = []
    for category, mean in fit.group_means(level).iterrows():
        estimate, low, high = (float(mean[c]) for c in ("estimate", "ci_low", "ci_high"))
        counts = count_text(int(mean["k_points"]), int(mean["k_bounds"]))
        rows.append({**mean_row(fit.measure, str(category), estimate, low, high, "subtotal"), "counts": counts})
    return pd.DataFrame(rows, columns=[*COLUMNS, "counts"])


def group_means(
    fit: BoundedFit | Subgroups,
    *,
    ax: Axes | None = None,
    level: float | None = None,
    reference: tuple[float, str] | None = None,
    groups: tuple[str, str] | None = None,
    favours: tuple[str, str] | None = None,
) -> Axes:
    """The mean of each category with its interval, and the test of their difference.

    Parameters
    ----------
    fit : BoundedFit or Subgroups
        A model with one categorical moderator.
    ax, level, reference, groups, favours
        As in `forest`.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the model has no single categorical moderator.

    Examples
    --------
    >>> from metamiq.pooling.subgroups import subgroups
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "disorder": ["GAD", "OCD", "OCD", "GAD", "OCD"]})
    >>> print(group_means(subgroups(es, "disorder")).get_label())
    Means of 5 effects by disorder. Means: GAD 0.16 (−0.10 to 0.41); OCD 0.61 (0.43 to 0.79). Difference: p = 0.005.
    """
    if isinstance(fit, Subgroups):
        first = next(iter(fit.fits.values()))
        measure, attrs, by = first.measure, first.effects.attrs, fit.by
        used = first.level if level is None else level
    elif isinstance(fit, BoundedFit) and fit.design is not None:
        measure, attrs, by = fit.measure, fit.effects.attrs, fit.design.formula
        used = fit.level if level is None else level
    else:
        raise DataError("group_means needs subgroups, or a BoundedFit with one categorical moderator.")
    rows = group_rows(fit, level)
    groups = attrs.get("groups", ("group 1", "group 2")) if groups is None else groups
    ax = draw_rows(
        ax,
        rows,
        measure=measure,
        columns=[
            TextColumn("label", wrap(by.replace("_", " "), 30), "left", "left"),
            TextColumn("counts", "Rows", "left", "left"),
            TextColumn("effect_text", f"Mean [{100 * used:g}% CI]", "right"),
        ],
        reference=reference,
        favours=Scale(measure).favours(groups, attrs.get("better")) if favours is None else favours,
        footer=[line for line in footer_lines(fit, level) if not line.startswith("≈")],
        guide=np.nan,
    )
    ax.set_label(alt_text(fit, "Means", level))
    return ax
