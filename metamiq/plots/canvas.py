"""What all pictures with two scales share: Axes of one look, the marks for points and bounds, words around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from matplotlib.transforms import Bbox, offset_copy
from numpy.typing import ArrayLike, NDArray

from metamiq.plots import style
from metamiq.plots.scale import Scale
from metamiq.plots.style import FONT, POINTS_PER_INCH

WIDTH, HEIGHT = 5.8, 4.4  # inches
_SMALL = FONT - 0.5
_PLACES = (
    (6.0, 0.0, "left", "center"),
    (-6.0, 0.0, "right", "center"),
    (0.0, 6.0, "center", "bottom"),
    (0.0, -6.0, "center", "top"),
)
_SMALLEST, _LARGEST = 16.0, 190.0  # areas of circles, square points


def start(ax: Axes | None, width: float = WIDTH, height: float = HEIGHT) -> Axes:
    """The caller's Axes, or new ones, in the look that all pictures share."""
    ax = style.new_axes(width, height) if ax is None else ax
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(style.QUIET)
    ax.tick_params(labelsize=FONT, color=style.QUIET, length=3)
    return ax


def room(ax: Axes, which: Literal["x", "y"] = "x") -> float:
    """Length in points that an axis will have, roughly: a layout engine changes it when it draws."""
    box, figure = ax.get_window_extent(), style.figure_of(ax)
    length = float(box.width if which == "x" else box.height) / figure.dpi * POINTS_PER_INCH
    if figure.get_layout_engine() is None or which == "y":
        return length
    if len(figure.axes) > 1:
        return 0.9 * length  # what the labels between the axes take
    # Axes alone in a figure gain a tenth, where their labels are no wider than numbers.
    labels = getattr(ax.yaxis.get_major_formatter(), "seq", [])
    taken = max((style.text_width(t) for t in labels), default=0.0) + 2.5 * FONT
    return min(1.1 * length, float(figure.get_figwidth()) * POINTS_PER_INCH - taken)


def label_axes(ax: Axes, x: str, y: str) -> None:
    """Names of both axes."""
    ax.set_xlabel(style.wrap_to(x, room(ax)), fontsize=FONT, parse_math=False)
    ax.set_ylabel(style.wrap_to(y, 0.9 * room(ax, "y")), fontsize=FONT, parse_math=False)


def finish(ax: Axes, own: bool, lines: Sequence[str], entries: Sequence[tuple[str, Artist]] = ()) -> Axes:
    """Lines of text above the plot (tests, counts, what bounds rest on) and a legend below, where it hides nothing.

    A figure of its own (`own`) grows by what they take, so that the plot keeps its height.
    """
    wrapped = "\n".join(style.wrap_to(line, room(ax), _SMALL) for line in lines if line)
    ax.set_title(wrapped, loc="left", fontsize=_SMALL, parse_math=False, linespacing=1.3)
    more = style.text_height(wrapped, _SMALL)
    if entries:
        more += _legend_below(ax, entries)
    if own:
        figure = style.figure_of(ax)
        figure.set_figheight(figure.get_figheight() + more / POINTS_PER_INCH)
    return ax


def _legend_below(ax: Axes, entries: Sequence[tuple[str, Artist]]) -> float:
    texts = [text for text, _ in entries]
    columns = _legend_columns(texts, room(ax))
    named = (ax.get_xlabel().count("\n") + 1) * FONT * 1.3 if ax.get_xlabel() else 0.0
    ax.legend(
        [artist for _, artist in entries],
        texts,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        # Below tick marks, tick labels and the name of the axis, whatever the height of the plot.
        bbox_transform=offset_copy(ax.transAxes, style.figure_of(ax), 0.0, -(24.0 + named), units="points"),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=_SMALL,
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.4,
        labelspacing=0.45,
    )
    return -(-len(texts) // columns) * 1.7 * _SMALL


def _legend_columns(texts: Sequence[str], width: float) -> int:
    """The most columns that fit, each as wide as its widest entry; a legend fills column by column."""
    widths = [style.text_width(t, _SMALL) + 4.6 * FONT for t in texts]
    for columns in range(len(texts), 1, -1):
        # The first columns take one entry more where the entries do not divide evenly.
        parts = np.array_split(np.arange(len(texts)), columns)
        if sum(max(widths[i] for i in part) for part in parts) <= width:
            return columns
    return 1


def apart(positions: ArrayLike, gap: float) -> NDArray[np.float64]:
    """Positions moved as little as needed so that neighbours are at least `gap` apart; their order stays.

    Examples
    --------
    >>> apart([1.0, 1.0, 5.0], 0.5).tolist()
    [0.75, 1.25, 5.0]
    """
    at = np.asarray(positions, dtype=float)
    order = np.argsort(at, kind="stable")
    # Runs of marks that touch are merged and centred on their mean until none touch (pool adjacent violators).
    runs: list[tuple[float, int]] = []
    for value in at[order]:
        runs.append((float(value), 1))
        while len(runs) > 1:
            (a, m), (b, n) = runs[-2:]
            if b - a >= gap * (m + n) / 2:
                break
            runs[-2:] = [((a * m + b * n) / (m + n), m + n)]
    out = np.empty(len(at))
    out[order] = np.concatenate(
        [centre + gap * (np.arange(n) - (n - 1) / 2) for centre, n in runs] if runs else [np.zeros(0)]
    )
    return out


def label_points(ax: Axes, x: ArrayLike, y: ArrayLike, texts: Sequence[str], order: ArrayLike, most: int = 6) -> None:
    """Name up to `most` marks, in the `order` of importance; a name that would cover another one is left out.

    `x`, `y` are data coordinates; call it when limits, captions and legends are in place.
    """
    figure = style.figure_of(ax)
    figure.draw_without_rendering()  # limits and layout are final only now
    at = ax.transData.transform(np.column_stack([np.asarray(x, float), np.asarray(y, float)]))
    dots = figure.dpi / POINTS_PER_INCH
    inside = ax.get_window_extent()
    taken: list[Bbox] = []
    for i in np.asarray(order, dtype=int):
        if len(taken) == most:
            break
        if not np.isfinite(at[i]).all():
            continue
        text = style.clean(texts[i])
        width, height = style.text_width(text, _SMALL) * dots, 1.15 * _SMALL * dots
        for dx, dy, ha, va in _PLACES:
            x0 = at[i, 0] + dx * dots - (width if ha == "right" else width / 2 if ha == "center" else 0.0)
            y0 = at[i, 1] + dy * dots - (height if va == "top" else height / 2 if va == "center" else 0.0)
            box = Bbox.from_bounds(x0, y0, width, height).padded(1.5)
            fits = box.x0 > inside.x0 and box.x1 < inside.x1 and box.y0 > inside.y0 and box.y1 < inside.y1
            marks = (at[:, 0] > box.x0) & (at[:, 0] < box.x1) & (at[:, 1] > box.y0) & (at[:, 1] < box.y1)
            if fits and not marks.any() and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                note = ax.annotate(
                    text,
                    (float(np.asarray(x, float)[i]), float(np.asarray(y, float)[i])),
                    xytext=(dx, dy),
                    textcoords="offset points",
                    ha=ha,
                    va=va,
                    fontsize=_SMALL,
                    parse_math=False,
                    annotation_clip=False,
                )
                note.set_in_layout(False)
                break


def areas(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas of circles in square points, proportional to the weights; the lightest stay visible."""
    top = float(np.max(weights, initial=0.0, where=np.isfinite(weights)))
    share = np.nan_to_num(weights, nan=top) / top if top > 0 else np.full(len(weights), 0.3)
    return np.asarray(np.maximum(_LARGEST * share, _SMALLEST))


def draw_bar(
    ax: Axes,
    scale: Scale,
    at: float,
    low: float,
    high: float,
    half: float,
    limits: tuple[float, float],
    which: Literal["x", "y"] = "y",
    across: Callable[[float], float] = float,
) -> None:
    """A bound: an open hatched bar along axis `which`, at `at` on the other; an unlimited end is an arrow head.

    `low`, `high` and `limits` are on the scale of analysis; `half`, half the bar's thickness, on the other axis, to
    which `across` brings `at` and `half` (exp for a log axis, where bars are as thick above as below their middle).
    """
    tip = 0.03 * (limits[1] - limits[0])
    first = limits[0] + tip if np.isneginf(low) else low
    last = limits[1] - tip if np.isposinf(high) else high
    corners = [(first, at - half), (last, at - half)]
    corners += [(limits[1], at)] if np.isposinf(high) else []
    corners += [(last, at + half), (first, at + half)]
    corners += [(limits[0], at)] if np.isneginf(low) else []
    shown = [(float(scale.shown(e)), float(across(a))) for e, a in corners]
    xy = shown if which == "x" else [(a, e) for e, a in shown]
    ax.add_patch(
        Polygon(
            xy,
            closed=True,
            facecolor="white",
            edgecolor=style.BOUND,
            hatch=style.HATCH,
            lw=0.9,
            zorder=2,
            gid="bound",
        )
    )


def legend_of_kinds(kinds: pd.Series, point: str, bound: str) -> list[tuple[str, Artist]]:
    """Legend entries for the kinds of rows that occur; a point is called one only where there are bounds, too."""
    entries: list[tuple[str, Artist]] = []
    if (kinds == "point").any():
        name = point if (kinds == "bound").any() else "effect size"
        entries.append((name, Line2D([], [], color=style.POINT, marker="o", ls="", ms=7, mec="white")))
    if (kinds == "bound").any():
        entries.append((bound, Patch(facecolor="white", edgecolor=style.BOUND, hatch=style.HATCH, lw=0.9)))
    return entries
