"""The effect against a numeric moderator, and the means of a categorical one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from metamiq.errors import DataError
from metamiq.plots import canvas, style
from metamiq.plots.alt_text import alt_text
from metamiq.plots.effect_table import RowFit, drawn_from_fit, effect_table
from metamiq.plots.footer import footer_lines, has_moderators
from metamiq.plots.forest_rows import numbers
from metamiq.plots.row_drawing import axis_limits
from metamiq.plots.scale import Scale
from metamiq.pooling.records import PooledEffect
from metamiq.tails import critical_value

GRID = 25  # values of x; each costs a BoundedFit a profile likelihood


def bubble_rows(fit: RowFit, moderator: str, level: float | None = None) -> pd.DataFrame:
    """The table behind a bubble plot: `effect_table` with `x`, `x_drawn` and the intervals of points.

    Rows that share a value of the moderator are drawn beside each other (`x_drawn`), within 0.7 of the smallest
    distance between values. Rows without a value are not in the table.

    Examples
    --------
    >>> from metamiq.pooling.regression import meta_regression
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3]})
    >>> bubble_rows(meta_regression(es, "dose"), "dose")["x"].tolist()
    [1.0, 2.0, 4.0, 1.0, 3.0]
    """
    effects = fit.effects
    if moderator not in effects:
        raise DataError(
            f"moderator must be a column of the effects table, but {moderator!r} is not among "
            f"{', '.join(sorted(map(str, effects.columns)))}."
        )
    x = numbers(effects, moderator)
    if not np.isfinite(x).any():
        raise DataError(f"moderator must have numbers, but {moderator!r} has none. For categories use group_means.")
    half = float(critical_value(fit.level if level is None else level))
    rows = effect_table(fit)
    is_point = rows["kind"] == "point"
    rows["ci_low"] = np.where(is_point, rows["yi"] - half * rows["sei"], rows["yi_low"])
    rows["ci_high"] = np.where(is_point, rows["yi"] + half * rows["sei"], rows["yi_high"])
    rows["x"], rows["x_drawn"] = x, _beside(x)
    return rows.loc[np.isfinite(x)].reset_index(drop=True)


def _beside(x: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.unique(x[np.isfinite(x)])
    span = float(values[-1] - values[0]) or 1.0
    gap = float(np.diff(values).min()) if len(values) > 1 else span
    out = x.copy()
    for value in values:
        same = np.flatnonzero(x == value)
        step = min(0.035 * span, 0.7 * gap / max(len(same) - 1, 1))
        out[same] += step * (np.arange(len(same)) - (len(same) - 1) / 2)
    return out


def bubble_line(
    fit: RowFit, moderator: str, at: Mapping[str, Any] | None = None, level: float | None = None
) -> pd.DataFrame:
    """Fitted mean over the range of `moderator`: `x estimate ci_low ci_high`, and `pi_low pi_high` where defined.

    Other moderators of the model are held at the values in `at`, else at their mean, or their reference level.

    Examples
    --------
    >>> from metamiq.pooling.regression import meta_regression
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3]})
    >>> line = bubble_line(meta_regression(es, "dose"), "dose")
    >>> print(f"{line['x'].iloc[-1]:.1f} {line['estimate'].iloc[-1]:.3f}")
    4.0 0.882
    """
    x = numbers(fit.effects, moderator)
    grid = np.linspace(float(np.nanmin(x)), float(np.nanmax(x)), GRID)
    level = fit.level if level is None else level
    if isinstance(fit, PooledEffect) or fit.design is None:
        # A model without moderators is the same everywhere.
        ci, pi = fit.ci(level), fit.pi(level)
        ends = {"ci_low": ci.low, "ci_high": ci.high, "pi_low": pi.low, "pi_high": pi.high}
        return pd.DataFrame({"x": grid, "estimate": fit.estimate, **ends})
    design = fit.design
    needed = [str(v) for v in design.spec.required_variables]
    if moderator not in needed:
        raise DataError(f"moderator must be in the model {design.formula!r}, but {moderator!r} is not.")
    new = pd.DataFrame({moderator: grid})
    for name in needed:
        if name != moderator:
            new[name] = (at or {}).get(name, _typical(fit.effects[name], design.reference_levels.get(name)))
    return pd.concat([pd.Series(grid, name="x"), fit.predict(new, level).drop(columns="se")], axis=1)


def _typical(column: pd.Series, reference: str | None) -> Any:
    if reference is not None:
        return reference
    if pd.api.types.is_numeric_dtype(column):
        return float(column.astype(float).mean())
    return column.dropna().astype(str).min()


def _only_moderator(fit: RowFit) -> str:
    design = None if isinstance(fit, PooledEffect) else fit.design
    names = [] if design is None else sorted(str(v) for v in design.spec.required_variables)
    if len(names) != 1:
        raise ValueError(f"moderator must say which column to draw; the model has {', '.join(names) or 'none'}.")
    return names[0]


def bubble(
    fit: RowFit,
    moderator: str | None = None,
    *,
    ax: Axes | None = None,
    at: Mapping[str, Any] | None = None,
    level: float | None = None,
    axis_name: str | None = None,
) -> Axes:
    """The effect of each row against a numeric moderator, with the fitted line and its bands.

    Points are circles (area by weight) with their intervals, bounds hatched bars. The dark band is the confidence
    interval of the mean, the dotted lines the prediction interval (not for models with bounds, which have none).

    Parameters
    ----------
    fit : MetaRegression, BoundedFit or PooledEffect
        A model of the moderator; one without moderators draws its one mean.
    moderator : str, optional
        Numeric column of the effects table; by default the only one of the model.
    ax : Axes, optional
        Where to draw; new ones by default.
    at : mapping, optional
        Values of the model's other moderators; see `bubble_line`.
    level : float, optional
        Coverage; the fit's own by default.
    axis_name : str, optional
        Label of the x axis; by default the moderator's name.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the moderator is not a numeric column, or not in the model.

    Examples
    --------
    >>> from metamiq.pooling.regression import meta_regression
    >>> es = pd.DataFrame({"yi": [0.1, 0.5, 0.9, 0.2, 0.6], "vi": [0.04, 0.02, 0.05, 0.03, 0.02],
    ...                    "dose": [1, 2, 4, 1, 3]})
    >>> bubble(meta_regression(es, "dose")).get_xlabel()
    'dose'
    """
    drawn_from_fit(fit, "A bubble plot")
    if moderator is None:
        moderator = _only_moderator(fit)
    rows, line = bubble_rows(fit, moderator, level), bubble_line(fit, moderator, at, level)
    scale = Scale(fit.measure)
    own, ax = ax is None, canvas.start(ax)
    low, high = axis_limits(rows, [0.0, *line["ci_low"], *line["ci_high"]])
    canvas.label_axes(ax, axis_name or moderator.replace("_", " "), scale.name)
    scale.set_axis(ax, low, high, canvas.room(ax, "y"), which="y")
    ax.axhline(float(scale.shown(0.0)), color=style.QUIET, lw=0.8, zorder=0.5)
    x = line["x"].to_numpy()
    ax.fill_between(x, scale.shown(line["ci_low"]), scale.shown(line["ci_high"]), color=style.BAND, alpha=0.35, lw=0)
    ax.plot(x, scale.shown(line["estimate"]), color=style.MEAN, lw=1.6, zorder=1.5)
    entries: list[tuple[str, Artist]] = [
        ("fitted mean", Line2D([], [], color=style.MEAN, lw=1.6)),
        ("its confidence band", Patch(color=style.BAND, alpha=0.35, lw=0)),
    ]
    if "pi_low" in line and line["pi_low"].notna().all():
        for end in ("pi_low", "pi_high"):
            ax.plot(x, scale.shown(line[end]), color=style.MEAN, lw=0.9, ls=":", zorder=1.5)
        entries.append(("prediction band", Line2D([], [], color=style.MEAN, lw=0.9, ls=":")))
    span = float(np.ptp(rows["x"])) or 1.0
    sizes = canvas.areas(rows["weight"].to_numpy(dtype=float))
    for i, row in rows.iterrows():
        where, ends = float(row["x_drawn"]), (float(row["ci_low"]), float(row["ci_high"]))
        if row["kind"] == "bound":
            canvas.draw_bar(ax, scale, where, *ends, 0.011 * span, (low, high), "y")
            continue
        ax.plot([where, where], scale.shown(ends), color=style.POINT, lw=0.9, zorder=2)
        ax.scatter(
            [where], scale.shown([row["yi"]]), s=[sizes[int(str(i))]], color=style.POINT, edgecolors="white", zorder=3
        )
    ax.set_xlim(float(rows["x_drawn"].min()) - 0.05 * span, float(rows["x_drawn"].max()) + 0.05 * span)
    if (rows["x"] % 1 == 0).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_label(alt_text(fit, f"Bubble plot against {moderator.replace('_', ' ')}", level))
    kinds = canvas.legend_of_kinds(rows["kind"], "point, area by weight", "bound (arrow: no limit)")
    return canvas.finish(ax, own, _caption(fit), kinds + entries)


def _caption(fit: RowFit) -> list[str]:
    lines = [line for line in footer_lines(fit) if not line.startswith("≈")]
    if not has_moderators(fit):
        return lines
    left_out = getattr(fit, "omitted", ())
    return lines + ([f"Left out, moderator unknown: {', '.join(left_out)}"] if left_out else [])
