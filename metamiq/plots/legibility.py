"""Whether all text of a figure can be read, from the boxes it is drawn in."""

from __future__ import annotations

from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axes._base import _AxesBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_TOUCH = 0.5  # pixels that boxes may share


def text_boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, with its box in pixels.

    Examples
    --------
    >>> figure = Figure()
    >>> _ = figure.text(0.5, 0.5, "middle")
    >>> [text for text, _ in text_boxes(figure)]
    ['middle']
    """
    figure.draw_without_rendering()
    hidden = set()
    for found in figure.findobj(_AxesBase):
        ax = cast(Axes, found)
        box = ax.get_window_extent()
        for i, ends in ((0, box.intervalx), (1, box.intervaly)):
            axis = (ax.xaxis, ax.yaxis)[i]
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                # Ticks beyond the limits stay in the tree of artists but are not drawn.
                place = ax.transData.transform([tick.get_loc()] * 2)[i]
                if not ends[0] - 1 <= place <= ends[1] + 1 or not axis.get_visible():
                    hidden |= {id(tick.label1), id(tick.label2)}
            if not ax.axison:
                hidden |= {id(t) for t in axis.findobj(Text)}
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text)]
    shown = [t for t in texts if t.get_visible() and t.get_text().strip() and id(t) not in hidden]
    return [(t.get_text(), t.get_window_extent()) for t in shown]


def text_faults(figure: Figure) -> list[str]:
    """What cannot be read: text over text, and text that leaves the figure. Empty when all is well.

    Parameters
    ----------
    figure : Figure
        Any matplotlib figure; it is laid out, not drawn.

    Returns
    -------
    list of str
        One sentence per fault.

    Examples
    --------
    >>> figure = Figure()
    >>> _ = figure.text(0.5, 0.5, "one"), figure.text(0.5, 0.5, "two")
    >>> text_faults(figure)
    ["'one' and 'two' lie over each other."]
    """
    drawn = text_boxes(figure)
    if not drawn:
        return []
    x0, y0, x1, y1 = np.array([box.extents for _, box in drawn]).T
    page = figure.bbox
    outside = (x0 < page.x0 - _TOUCH) | (y0 < page.y0 - _TOUCH) | (x1 > page.x1 + _TOUCH) | (y1 > page.y1 + _TOUCH)
    faults = [f"{drawn[i][0]!r} leaves the figure." for i in np.flatnonzero(outside)]
    across = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    along = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    over = np.triu((across > _TOUCH) & (along > _TOUCH), 1)
    pairs = zip(*np.nonzero(over), strict=True)
    return faults + [f"{drawn[i][0]!r} and {drawn[j][0]!r} lie over each other." for i, j in pairs]
