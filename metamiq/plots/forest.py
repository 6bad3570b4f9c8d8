"""Forest plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from metamiq.errors import DataError
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import drawn_from_fit
from metamiq.plots.footer import footer_lines
from metamiq.plots.forest_rows import Fit, Mean, effects_of, forest_rows, level_of, measure_of
from metamiq.plots.row_drawing import draw_rows
from metamiq.plots.row_layout import TextColumn
from metamiq.plots.scale import Scale
from metamiq.plots.style import wrap


def forest(
    fit: Fit,
    *,
    ax: Axes | None = None,
    level: float | None = None,
    reference: tuple[float, str] | None = None,
    groups: tuple[str, str] | None = None,
    favours: tuple[str, str] | None = None,
    columns: Sequence[str] | Mapping[str, str] = (),
    sort_by: str | None = None,
    also: Mapping[str, Mean] | None = None,
) -> Axes:
    """Every row with its interval or bound, the mean as a diamond, and the prediction interval.

    Points are squares (area by weight) with intervals; bounds are hatched bars with an arrow where they have no limit.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit, MetaRegression or Subgroups
        What to show; see `forest_rows` for the table behind it.
    ax : Axes, optional
        Where to draw; the plot and its text fill the place of `ax`. By default a new figure whose size follows the
        content (a pyplot figure where one may be shown, else a plain one; see `style.new_axes`).
    level : float, optional
        Coverage of all intervals; the fit's own by default.
    reference : (value, label), optional
        A value to compare with, such as ``(0.59, "published: 0.59")``, in the units of the axis (ratios as ratios).
    groups : (group 1, group 2), optional
        Names of the two arms, for the headers of their sizes and the words below the axis; by default those that the
        effects table carries in ``attrs["groups"]``, else "group 1" and "group 2".
    favours : (left, right), optional
        Words below the two sides of the axis. By default a positive difference favours group 1, and a ratio of counts
        above 1 means more events in group 1.
    columns : sequence of str, or mapping from str to str
        Columns of the effects table to show beside the labels; a mapping gives their headers.
    sort_by : str, optional
        Column of the effects table that orders the rows (within groups); by default they stay as they are.
    also : mapping, optional
        Other models of the same rows, by label, whose means are drawn below: ``{"Fixed effect": fixed_effect(es)}``.

    Returns
    -------
    Axes
        Its label (``ax.get_label()``) is the alternative text that `save_svg` stores.

    Raises
    ------
    DataError
        If `columns` or `sort_by` names a column that the effects table lacks.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> es = pd.DataFrame({"study": ["a", "b", "c"], "yi": [0.1, 0.5, 0.9], "vi": [0.04, 0.02, 0.05]})
    >>> ax = forest(random_effects(es), reference=(0.59, "published: 0.59"))
    >>> print(ax.get_label().split(".")[0])
    Forest plot of 3 effects
    """
    drawn_from_fit(fit, "A forest plot")
    effects, measure = effects_of(fit), measure_of(fit)
    headers = dict(columns) if isinstance(columns, Mapping) else {c: c.replace("_", " ") for c in columns}
    rows = _with_columns(forest_rows(fit, level, sort_by=sort_by, also=also), effects, list(headers))
    groups = effects.attrs.get("groups", ("group 1", "group 2")) if groups is None else groups
    whole = rows.loc[rows["kind"] == "mean", "yi"]
    ax = draw_rows(
        ax,
        rows,
        measure=measure,
        columns=_text_columns(rows, headers, groups, level_of(fit, level)),
        reference=reference,
        favours=Scale(measure).favours(groups) if favours is None else favours,
        footer=footer_lines(fit, level),
        guide=float(whole.iloc[0]) if len(whole) else None,
    )
    ax.set_label(alt_text(fit, "Forest plot", level))
    return ax


def _with_columns(rows: pd.DataFrame, effects: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    missing = [c for c in columns if c not in effects]
    if missing:
        raise DataError(
            f"Every column to show must be in the effects table, but {', '.join(missing)} is not among "
            f"{', '.join(sorted(map(str, effects.columns)))}."
        )
    at = rows["position"].to_numpy(dtype=int)
    for name in columns:
        values = effects[name].tolist()
        rows[f"user_{name}"] = [_cell(values[i]) if i >= 0 else "" for i in at]
    return rows


def _cell(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text_columns(
    rows: pd.DataFrame, headers: Mapping[str, str], groups: tuple[str, str], level: float
) -> list[TextColumn]:
    out = [TextColumn("label", "", "left", "left")]
    out += [TextColumn(f"user_{field}", wrap(header, 20), "left", "left") for field, header in headers.items()]
    for field, group in (("n1_text", groups[0]), ("n2_text", groups[1])):
        if (rows[field] != "").any():
            unit = "events/n" if rows[field].str.contains("/").any() else "n"
            out.append(TextColumn(field, f"{wrap(group, 14)}\n{unit}"))
    bounds = " or bound" if (rows["kind"] == "bound").any() else ""
    out.append(TextColumn("effect_text", f"Estimate [{100 * level:g}% CI]{bounds}", "right"))
    if (rows["weight_text"] != "").any():
        out.append(TextColumn("weight_text", "Weight", "right"))
    return out
