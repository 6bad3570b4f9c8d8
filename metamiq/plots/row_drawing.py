"""Draw a table of rows: squares with intervals, bounds, diamonds, prediction intervals, and the text beside them.

Forest plots, cumulative and leave-one-out plots and group means are all such tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox, offset_copy
from numpy.typing import NDArray

from metamiq.plots import style
from metamiq.plots.row_layout import MARGIN, Layout, TextColumn, lay_out, legend_columns
from metamiq.plots.row_marks import SIDE, SMALLEST, Marks
from metamiq.plots.scale import Scale
from metamiq.plots.style import FONT, LINE, POINTS_PER_INCH

DOT = 11.5  # points across, of a risk-of-bias judgement


def draw_rows(
    ax: Axes | None,
    rows: pd.DataFrame,
    *,
    measure: str | None = None,
    columns: Sequence[TextColumn] = (TextColumn("label", "", "left", "left"),),
    reference: tuple[float, str] | None = None,
    favours: tuple[str, str] | None = None,
    footer: Sequence[str] = (),
    guide: float | None = None,
    null: float = 0.0,
    axis_name: str | None = None,
    look: style.Look = style.COLOURED,
) -> Axes:
    """Draw `rows` (columns as in `forest_rows`) from top to bottom.

    Parameters
    ----------
    ax : Axes or None
        Where to draw. The text stands beside the plot, inside the space that `ax` had; with too little room the type
        gets smaller. Without `ax`, a new figure as high and wide as its content.
    rows : DataFrame
        `label kind yi ci_low ci_high weight` and whatever `columns` name; effects on the scale of analysis.
    measure : str, optional
        Effect measure; ratios get a log axis.
    columns : sequence of TextColumn
        The text beside the plot.
    reference : (value, label), optional
        A value to compare with, in the units of the axis, as a dashed line with its label above.
    favours : (left, right), optional
        What the two sides of the null line mean.
    footer : sequence of str
        Lines below everything.
    guide : float, optional
        A faint line down the plot, on the scale of analysis: the pooled mean.
    null : float
        The null value, on the scale of analysis; NaN draws none.
    axis_name : str, optional
        Label of the axis; by default that of the measure.
    look : Look
        The colours.

    Returns
    -------
    Axes
        Data coordinates: x the effect, y points from the top of the first row.
    """
    scale = Scale(measure)
    legend = _legend_entries(rows, look)
    layout = lay_out(
        rows,
        columns,
        reference="" if reference is None else reference[1],
        favours=favours,
        axis_name=scale.name if axis_name is None else axis_name,
        footer=footer,
        legend=[text for text, _ in legend],
    )
    ax, factor, width = _place(ax, layout)
    size = FONT * factor
    at = None if reference is None else scale.reference(reference[0], rows["yi"])
    low, high = axis_limits(rows, [x for x in (null, at, guide) if x is not None and np.isfinite(x)])
    ax.set_ylim(layout.height, 0.0)
    scale.set_axis(ax, low, high, width, size)
    _frame(ax)
    if np.isfinite(null):
        ax.axvline(float(scale.shown(null)), color=style.QUIET, lw=0.9, zorder=1)
    if guide is not None and np.isfinite(guide):
        ax.axvline(float(scale.shown(guide)), color=style.QUIET, lw=0.7, ls=(0, (1, 2)), zorder=1)
    if at is not None:
        ax.axvline(float(scale.shown(at)), color=look.reference, lw=1.2, ls=(0, (5, 2)), zorder=1.5)
    _draw_marks(ax, rows, layout, scale, low, high, factor, look)
    _draw_text(ax, layout, factor, width, None if at is None else (at - low) / (high - low), look)
    if legend:
        _draw_legend(ax, layout, factor, legend)
    return ax


def axis_limits(rows: pd.DataFrame, marked: Sequence[float] = ()) -> tuple[float, float]:
    """Ends of the axis: all estimates and bounds are inside; very wide intervals are cut and get arrows."""
    low, high = (rows[c].to_numpy(dtype=float) for c in ("ci_low", "ci_high"))
    y = rows["yi"].to_numpy(dtype=float)
    is_bound = (rows["kind"] == "bound").to_numpy()
    core = np.concatenate([y, low[is_bound], high[is_bound], np.asarray(marked, dtype=float)])
    core = core[np.isfinite(core)]
    ends = np.concatenate([low, high])
    ends = ends[np.isfinite(ends)]
    if not len(core):
        core = ends if len(ends) else np.zeros(1)
    first, last = float(core.min()), float(core.max())
    half = (high - low)[~is_bound] / 2
    half = half[np.isfinite(half)]
    reach = max(0.6 * (last - first), 2.5 * float(np.median(half)) if len(half) else 0.0)
    outer_low = max(float(min(ends.min(initial=first), first)), first - reach)
    outer_high = min(float(max(ends.max(initial=last), last)), last + reach)
    span = outer_high - outer_low
    if not span > 0:
        span = max(abs(outer_high), 1.0)
    # An open end needs some length to be seen as a bar before its arrow.
    pad_low = 0.16 if np.isneginf(low).any() else 0.05
    pad_high = 0.16 if np.isposinf(high).any() else 0.05
    return outer_low - pad_low * span, outer_high + pad_high * span


def _place(ax: Axes | None, layout: Layout) -> tuple[Axes, float, float]:
    """Axes whose plot leaves room for the text around it, the factor by which all type is reduced, the plot's width."""
    needed = (layout.width, layout.top + layout.height + layout.bottom + 2 * MARGIN)
    if ax is None:
        ax = style.new_axes(needed[0] / POINTS_PER_INCH, needed[1] / POINTS_PER_INCH)
        style.figure_of(ax).set_layout_engine("none")
        box = Bbox([[0.0, 0.0], [1.0, 1.0]])
        room = needed
    else:
        figure = style.figure_of(ax)
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()  # the engine's place for ax is only known after it has run
        box = ax.get_position()
        extent = ax.get_window_extent()
        dots = figure.dpi / POINTS_PER_INCH
        room = (extent.width / dots, extent.height / dots)
    factor = min(1.0, room[0] / needed[0], room[1] / needed[1])
    left, right = (layout.left + MARGIN) * factor / room[0], (layout.right + MARGIN) * factor / room[0]
    top, bottom = (layout.top + MARGIN) * factor / room[1], (layout.bottom + MARGIN) * factor / room[1]
    height = min(layout.height * factor / room[1], 1 - top - bottom)
    ax.set_position(
        (
            box.x0 + left * box.width,
            box.y0 + (1 - top - height) * box.height,
            (1 - left - right) * box.width,
            height * box.height,
        )
    )
    return ax, factor, (1 - left - right) * room[0]


def _frame(ax: Axes) -> None:
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.set_yticks([])
    ax.spines["bottom"].set_color(style.QUIET)
    ax.tick_params(axis="x", color=style.QUIET, length=3)


def _draw_marks(
    ax: Axes, rows: pd.DataFrame, layout: Layout, scale: Scale, low: float, high: float, factor: float, look: style.Look
) -> None:
    weight = rows["weight"].to_numpy(dtype=float)
    shown = rows["kind"].eq("point").to_numpy() & np.isfinite(weight)
    heaviest = float(np.max(weight, initial=0.0, where=np.isfinite(weight)))
    draw = Marks(ax, scale, low, high, factor, look)
    for i, row in enumerate(rows.itertuples(index=False)):
        y, half = float(layout.centres[i]), LINE * FONT / 2
        ends = (float(row.ci_low), float(row.ci_high))  # type: ignore[arg-type]
        if row.kind == "point":
            side = SIDE * np.sqrt(max(weight[i], 0.0) / heaviest) if shown[i] and heaviest > 0 else 0.6 * SIDE
            draw.interval(y, *ends, color=look.point)
            draw.square(y, float(row.yi), max(float(side), SMALLEST))  # type: ignore[arg-type]
        elif row.kind == "bound":
            draw.bound(y, *ends, half=0.62 * half)
        elif row.kind in ("mean", "subtotal"):
            draw.diamond(y, float(row.yi), *ends, half=0.85 * half, filled=row.kind == "mean")  # type: ignore[arg-type]
        elif row.kind == "estimate":
            draw.interval(y, *ends, color=look.point)
            draw.square(y, float(row.yi), 0.6 * SIDE)  # type: ignore[arg-type]
        elif row.kind == "prediction":
            draw.interval(y, *ends, color=style.MEAN, width=2.6)


def _draw_text(
    ax: Axes, layout: Layout, factor: float, width: float, reference_at: float | None, look: style.Look
) -> None:
    """All text beside, above and below the plot, at its place in points from the plot's edges."""
    size = FONT * factor

    def say(text: str, x: float, y: float | tuple[float], dx: float, dy: float, **how: Any) -> None:
        # y in axes fraction, or, as a one-tuple, in points from the top row.
        coordinates: Any = ax.get_yaxis_transform() if isinstance(y, tuple) else "axes fraction"
        ax.annotate(
            text,
            (x, y[0] if isinstance(y, tuple) else y),
            xycoords=coordinates,
            xytext=(dx * factor, dy * factor),
            textcoords="offset points",
            fontsize=size,
            linespacing=1.15,
            annotation_clip=False,
            parse_math=False,
            **how,
        )

    for cell in layout.cells:
        x = 0.0 if cell.side == "left" else 1.0
        weight = "bold" if cell.bold else "normal"
        if cell.row < 0:
            say(cell.text, x, 1.0, cell.offset, 4.0 + cell.lift, ha=cell.align, va="bottom", weight=weight)
        else:
            if cell.dot:
                aside = offset_copy(ax.get_yaxis_transform(), style.figure_of(ax), cell.offset * factor, units="points")
                ax.plot(
                    [x],
                    [float(layout.centres[cell.row])],
                    "o",
                    transform=aside,
                    ms=DOT * factor,
                    color=look.dots[cell.text],
                    mec=style.MEAN,
                    mew=0.6 * factor,
                    clip_on=False,
                    gid="risk of bias",
                )
            say(
                cell.text,
                x,
                (float(layout.centres[cell.row]),),
                cell.offset,
                0.0,
                ha=cell.align,
                va="center",
                multialignment=cell.align,
                weight=weight,
            )
    # A rule below the headers, across the columns and the plot.
    ax.plot(
        [-layout.left * factor / width, 1 + layout.right * factor / width],
        [1, 1],
        transform=ax.transAxes,
        color="#BBBBBB",
        lw=0.7 * factor,
        clip_on=False,
        zorder=0.5,
    )
    if layout.reference and reference_at is not None:
        # Centred on its line, but never beyond the plot, where the columns have their headers.
        half = style.text_width(layout.reference, size) / 2 / width
        centre = min(max(reference_at, half), 1 - half) if half < 0.5 else 0.5
        say(layout.reference, centre, 1.0, 0.0, 4.0, ha="center", va="bottom", color=look.reference)
    if layout.favours is not None:
        left, right = layout.favours
        say(left, 0.0, 0.0, 0.0, -layout.favours_at, ha="left", va="top", multialignment="left")
        say(right, 1.0, 0.0, 0.0, -layout.favours_at, ha="right", va="top", multialignment="right")
    ax.set_xlabel("")
    say(layout.axis_name, 0.5, 0.0, 0.0, -layout.axis_name_at, ha="center", va="top", multialignment="center")
    at = layout.footer_at
    for line in layout.footer:
        say(line, 0.0, 0.0, -layout.left, -at, ha="left", va="top", color="#333333")
        at += style.text_height(line) + 2.0


def _legend_entries(rows: pd.DataFrame, look: style.Look) -> list[tuple[str, Line2D | Patch]]:
    """Only where there are bounds: points alone need no explanation."""
    if not (rows["kind"] == "bound").any():
        return []
    bar = Patch(facecolor="white", edgecolor=look.bound, hatch=style.HATCH, lw=0.9)
    entries: list[tuple[str, Line2D | Patch]] = []
    if (rows["kind"] == "point").any():
        square = Line2D([], [], color=look.point, marker="s", ms=6, lw=1.2)
        entries.append(("Point: estimate with its interval, area by weight", square))
    entries.append(("Bound: the trial's estimate lies somewhere in the bar; an arrow has no limit", bar))
    return entries


def _draw_legend(ax: Axes, layout: Layout, factor: float, entries: Sequence[tuple[str, Line2D | Patch]]) -> None:
    texts = [text for text, _ in entries]
    figure = style.figure_of(ax)
    corner = offset_copy(ax.transAxes, figure, -layout.left * factor, -layout.legend_at * factor, units="points")
    ax.legend(
        [handle for _, handle in entries],
        texts,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=corner,
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=FONT * factor,
        ncols=legend_columns(texts, layout.left + layout.plot_width + layout.right),
        handlelength=2.4,
        columnspacing=1.6,
        labelspacing=0.5,
    )


def row_positions(rows: pd.DataFrame, columns: Sequence[TextColumn]) -> NDArray[np.float64]:
    """The y coordinate of each row, for drawing something of one's own beside it."""
    return lay_out(rows, columns).centres
