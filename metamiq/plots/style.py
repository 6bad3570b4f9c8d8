"""Colours, sizes and text measures that all pictures share.

The colours are those of Okabe and Ito, which people with any common colour blindness can tell apart. They never
stand alone: a point is a filled square, a bound a hatched open bar, a mean a diamond.
"""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from metamiq.plots.judgements import COLOURS

POINT = "#0072B2"  # blue: effects with an estimate
BOUND = "#D55E00"  # vermilion: estimates known only to lie within bounds
MEAN = "#000000"
REFERENCE = "#009E73"  # green: a value to compare with, such as the published one
HIGHLIGHT = "#CC79A7"  # purple
BAND = "#56B4E9"  # light blue: confidence bands
QUIET = "#767676"  # grey lines and secondary text; 4.5:1 on white
HATCH = "/////"
GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of a row plot; shapes and symbols are the same in all."""

    point: str
    bound: str
    reference: str
    dots: Mapping[str, str]  # by the sign that stands on them


COLOURED = Look(POINT, BOUND, REFERENCE, COLOURS)
PLAIN = Look("#000000", "#444444", "#000000", dict.fromkeys(COLOURS, "#FFFFFF"))

FONT = 9.0  # points
LINE = 1.25  # line height in font sizes
POINTS_PER_INCH = 72.0


def new_axes(width: float, height: float) -> Axes:
    """Axes on a figure of their own, `width` by `height` inches, with room around them kept by constrained layout.

    The figure belongs to pyplot where something may show it: in IPython or a notebook, at the interactive prompt, and
    in any program that has loaded pyplot. Elsewhere (a report, the command line) it is a plain figure: nothing opens
    a window, and nothing has to be closed.
    """
    if "matplotlib.pyplot" in sys.modules or "IPython" in sys.modules or hasattr(sys, "ps1"):
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(width, height), layout="constrained")
    else:
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
    return figure.add_subplot()


def figure_of(ax: Axes) -> Figure:
    """The whole figure that `ax` lies in, also from within a subfigure."""
    return cast(Figure, ax.get_figure(root=True))


def clean(text: object) -> str:
    """One line of printable text: what comes from a table may hold line breaks or control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def wrap(text: object, characters: int) -> str:
    """`text` on lines of at most `characters`; words longer than a line are cut."""
    return "\n".join(textwrap.wrap(clean(text), max(characters, 1))) or ""


@contextmanager
def letters_of_other_fonts() -> Iterator[None]:
    """Let letters pass that the measuring font lacks: text stays text in an SVG, and whoever shows it has the font."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def text_width(text: str, size: float = FONT, weight: str = "normal") -> float:
    """Width in points of the longest line of `text`."""
    font = FontProperties(size=size, weight=weight)
    with letters_of_other_fonts():
        widths = [text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n") if line]
    # A screen renderer rounds each letter to its pixel grid, so that text comes out up to 3% wider than this.
    return 1.04 * max(widths, default=0.0)


def text_height(text: str, size: float = FONT) -> float:
    """Height in points of all lines of `text`."""
    return LINE * size * (text.count("\n") + 1) if text else 0.0


def shortened(text: object, characters: int) -> str:
    """One line of at most `characters`: of a long one the beginning and the end, where names have their year.

    Examples
    --------
    >>> shortened("Papadopoulos, van der Westhuizen & Ng 1951 (cohort 2)", 34)
    'Papadopoulos, van d…951 (cohort 2)'
    """
    line = clean(text)
    tail = 2 * characters // 5
    return line if len(line) <= characters else f"{line[: characters - tail - 2].rstrip()}…{line[-tail - 1 :].lstrip()}"


def wrap_to(text: object, width: float, size: float = FONT, weight: str = "normal") -> str:
    """`text` on lines no wider than `width` points."""
    line = clean(text)
    characters = len(line)
    wrapped = wrap(line, characters)
    while characters > 1 and text_width(wrapped, size, weight) > width:
        widest = text_width(wrapped, size, weight)
        characters = min(characters - 1, max(1, int(characters * width / widest)))
        wrapped = wrap(line, characters)
    return wrapped


def number(x: float, digits: int = 2) -> str:
    """`x` with `digits` decimals and a true minus sign; infinities as the symbol.

    Examples
    --------
    >>> number(-0.417), number(-0.001), number(float("inf"))
    ('−0.42', '0.00', '∞')
    """
    text = f"{x:.{digits}f}" if abs(x) < 1e5 else f"{x:.{digits}e}"
    if text.lstrip("-").strip("0.") == "":
        text = text.lstrip("-")
    return text.replace("inf", "∞").replace("-", "−")


def p_text(p: float) -> str:
    """A p-value as papers print it.

    Examples
    --------
    >>> p_text(0.00004), p_text(0.0312)
    ('p < 0.001', 'p = 0.031')
    """
    if p != p:
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def plural(count: int, one: str) -> str:
    """``1 point``, ``2 points``; studies and the like get their own plural."""
    if count == 1:
        return f"{count} {one}"
    return f"{count} {one[:-1]}ies" if one.endswith("y") else f"{count} {one}s"
