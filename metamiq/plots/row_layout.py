"""Where everything on a row plot goes, in points, worked out from measured text before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.plots.style import FONT, LINE, text_height, text_width, wrap, wrap_to

PLOT_WIDTH = 245.0  # points between the two blocks of text
GAP = 11.0  # between columns
MARGIN = 7.0  # around the whole figure
LABEL_CHARACTERS = 44
OTHER_CHARACTERS = 26
ROW_PADDING = 0.6  # of the font size, added to the text of each row
BOLD = ("mean", "subtotal", "heading")


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of text beside the plot: which field of the rows it shows, under which header, and where."""

    field: str
    header: str
    side: str = "left"  # "left" or "right" of the plot
    align: str = "right"
    dot: bool = False  # each text is one symbol on a dot
    group: str = ""  # a header over this column and its neighbours of the same group


@dataclass(frozen=True, slots=True)
class Cell:
    """One text, with its offset in points from the edge of the plot (left or right) at its side."""

    text: str
    side: str
    offset: float
    align: str
    bold: bool
    row: int  # -1: the header
    dot: bool = False
    lift: float = 0.0  # of a header: its height above the lowest headers


@dataclass(frozen=True, slots=True)
class Layout:
    """All measures in points, at the normal font size."""

    centres: NDArray[np.float64]  # of each row, from the top of the plot downwards
    heights: NDArray[np.float64]
    cells: tuple[Cell, ...]
    left: float  # room for the text columns at each side
    right: float
    top: float  # room above the rows: headers and the reference's label
    plot_width: float
    reference: str  # wrapped label of the reference line, "" if there is none
    favours: tuple[str, str] | None  # wrapped to half the plot each
    axis_name: str
    footer: tuple[str, ...]
    legend_rows: int

    @property
    def height(self) -> float:
        """Of all rows."""
        return float(self.heights.sum())

    @property
    def width(self) -> float:
        """Of the whole figure."""
        return self.left + self.plot_width + self.right + 2 * MARGIN

    @property
    def favours_at(self) -> float:
        """Distance below the plot: tick marks and tick labels come first."""
        return 7.0 + 1.5 * FONT

    @property
    def axis_name_at(self) -> float:
        """Distance of the axis label below the plot."""
        lines = max((text_height(t) for t in self.favours or ()), default=0.0)
        return self.favours_at + lines + (3.0 if lines else 0.0)

    @property
    def legend_at(self) -> float:
        """Distance of the legend below the plot."""
        return self.axis_name_at + text_height(self.axis_name) + 5.0

    @property
    def footer_at(self) -> float:
        """Distance of the footer below the plot."""
        return self.legend_at + self.legend_rows * 1.7 * FONT + (3.0 if self.legend_rows else 0.0)

    @property
    def bottom(self) -> float:
        """Room below the rows."""
        return self.footer_at + sum(text_height(t) + 2.0 for t in self.footer)


def lay_out(
    rows: pd.DataFrame,
    columns: Sequence[TextColumn],
    *,
    reference: str = "",
    favours: tuple[str, str] | None = None,
    axis_name: str = "",
    footer: Sequence[str] = (),
    legend: Sequence[str] = (),
) -> Layout:
    """Measure and wrap all text of a row plot."""
    notes = (rows["kind"] == "note").to_numpy()
    texts = {c: _column_texts(rows, c) for c in columns}
    bold = rows["kind"].isin(BOLD).to_numpy()
    lines = np.ones(len(rows))
    for column in columns:
        lines = np.maximum(lines, [t.count("\n") + 1 for t in texts[column]])
    cells: list[Cell] = []
    sizes = {"left": 0.0, "right": 0.0}
    for side in ("left", "right"):
        placed = [c for c in columns if c.side == side]
        widths = [_width(texts[c], bold, c.header) for c in placed]
        spans = _spans(placed)
        for first, last in spans:
            # The last column of a group takes what its name needs beyond the columns' own widths.
            own = sum(widths[first : last + 1]) + GAP * (last - first)
            widths[last] += max(0.0, text_width(placed[first].group, weight="bold") - own)
        total = sum(widths) + GAP * len(widths)
        sizes[side] = total
        at = -total if side == "left" else GAP
        for first, last in spans:
            start = at + sum(widths[:first]) + GAP * first
            middle = start + (sum(widths[first : last + 1]) + GAP * (last - first)) / 2
            lift = max(text_height(c.header) for c in placed[first : last + 1])
            cells.append(Cell(placed[first].group, side, middle, "center", True, -1, lift=lift))
        for column, width in zip(placed, widths, strict=True):
            offset = at + {"left": 0.0, "center": width / 2}.get(column.align, width)
            if column.header:
                cells.append(Cell(column.header, side, offset, column.align, True, -1))
            cells += [
                Cell(t, side, offset, column.align, bool(bold[i]) or column.dot, i, column.dot)
                for i, t in enumerate(texts[column])
                if t.strip()
            ]
            at += width + GAP
    # The rows' tables beside the plot may be narrow: the words below it must still have room.
    plot_width = max(PLOT_WIDTH, 300.0 - sizes["left"] - sizes["right"])
    full = sizes["left"] + plot_width + sizes["right"]
    # Notes run across the columns of numbers; they say nothing there.
    for i in np.flatnonzero(notes):
        text = wrap_to(rows["label"].iloc[i], max(sizes["left"] - GAP, 60.0))
        lines[i] = text.count("\n") + 1
        cells.append(Cell(text, "left", -sizes["left"], "left", False, int(i)))
    heights = lines * LINE * FONT + ROW_PADDING * FONT * np.where(notes, 0.3, 1.0)
    wrapped_reference = wrap_to(reference, plot_width) if reference else ""
    head = max(
        [text_height(c.text) + c.lift for c in cells if c.row == -1] + [text_height(wrapped_reference)], default=0.0
    )
    half = plot_width / 2 - 4.0
    return Layout(
        centres=np.cumsum(heights) - heights / 2,
        heights=heights,
        cells=tuple(cells),
        left=sizes["left"],
        right=sizes["right"],
        top=head + 6.0,
        plot_width=plot_width,
        reference=wrapped_reference,
        favours=None if favours is None else (wrap_to(f"← {favours[0]}", half), wrap_to(f"{favours[1]} →", half)),
        axis_name=wrap_to(axis_name, plot_width),
        footer=tuple(wrap_to(t, full, FONT) for t in footer if t.strip()),
        legend_rows=_legend_rows(legend, full),
    )


def _spans(placed: Sequence[TextColumn]) -> list[tuple[int, int]]:
    """First and last place of each run of neighbours with the same group."""
    out: list[tuple[int, int]] = []
    for i, column in enumerate(placed):
        if not column.group:
            continue
        if out and out[-1][1] == i - 1 and placed[i - 1].group == column.group:
            out[-1] = (out[-1][0], i)
        else:
            out.append((i, i))
    return out


def _column_texts(rows: pd.DataFrame, column: TextColumn) -> list[str]:
    limit = LABEL_CHARACTERS if column.field == "label" else OTHER_CHARACTERS
    out = []
    for value, kind in zip(rows[column.field], rows["kind"], strict=True):
        text = "" if pd.isna(value) or kind == "note" else wrap(value, limit)
        out.append(text or ("(no name)" if column.field == "label" and kind in ("point", "bound") else ""))
    return out


def _width(texts: Sequence[str], bold: NDArray[np.bool_], header: str) -> float:
    widths = [text_width(t, weight="bold" if b else "normal") for t, b in zip(texts, bold, strict=True)]
    return max([*widths, text_width(header, weight="bold")], default=0.0)


def legend_columns(legend: Sequence[str], width: float) -> int:
    """How many entries fit beside each other: a handle takes four font sizes."""
    if not legend:
        return 1
    widest = max(text_width(t) for t in legend) + 5.5 * FONT
    return max(1, min(len(legend), int(width // widest)))


def _legend_rows(legend: Sequence[str], width: float) -> int:
    if not legend:
        return 0
    return -(-len(legend) // legend_columns(legend, width))
