"""The marks of a row plot: squares with intervals, hatched bars for bounds, diamonds for means."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from metamiq.plots import style
from metamiq.plots.scale import Scale

SIDE = 10.5  # points: the square of the heaviest row
SMALLEST = 2.5
_TIP = 0.028  # of the axis: the arrow head of an unlimited bound


class Marks:
    """The marks of one plot, which share their axis and its ends."""

    def __init__(self, ax: Axes, scale: Scale, low: float, high: float, factor: float, look: style.Look) -> None:
        self.ax, self.scale, self.low, self.high, self.factor = ax, scale, low, high, factor
        self.look = look

    def _x(self, value: float) -> float:
        return float(self.scale.shown(min(max(value, self.low), self.high)))

    def interval(self, y: float, low: float, high: float, *, color: str, width: float = 1.2) -> None:
        """A line; an end beyond the axis is an arrow head."""
        f = self.factor
        if np.isnan(low) or np.isnan(high):
            return
        self.ax.plot([self._x(low), self._x(high)], [y, y], color=color, lw=width * f, solid_capstyle="butt", zorder=2)
        for end, marker, beyond in ((low, "<", low < self.low), (high, ">", high > self.high)):
            if beyond:
                self.ax.plot(
                    [self._x(end)], [y], marker, color=color, ms=(4 + width) * f, mew=0, zorder=2, clip_on=False
                )

    def square(self, y: float, x: float, side: float) -> None:
        """A filled square, `side` points wide."""
        self.ax.scatter(
            [self._x(x)], [y], s=(side * self.factor) ** 2, marker="s", color=self.look.point, linewidths=0, zorder=3
        )

    def bound(self, y: float, low: float, high: float, *, half: float) -> None:
        """An open hatched bar; an unlimited end is an arrow head, a limited one a thick cap."""
        tip = _TIP * (self.high - self.low)
        inner_low = self.low + tip if np.isneginf(low) else low
        inner_high = self.high - tip if np.isposinf(high) else high
        left = [(self.low, y)] if np.isneginf(low) else []
        right = [(self.high, y)] if np.isposinf(high) else []
        corners = [
            *left,
            (inner_low, y - half),
            (inner_high, y - half),
            *right,
            (inner_high, y + half),
            (inner_low, y + half),
        ]
        self.ax.add_patch(
            Polygon(
                [(self._x(x), v) for x, v in corners],
                closed=True,
                facecolor="white",
                edgecolor=self.look.bound,
                hatch=style.HATCH,
                lw=0.9 * self.factor,
                zorder=2,
                joinstyle="miter",
                clip_on=False,
                gid="bound",
            )
        )
        for end in (low, high):
            if np.isfinite(end):
                x = self._x(end)
                self.ax.plot(
                    [x, x],
                    [y - 1.25 * half, y + 1.25 * half],
                    color=self.look.bound,
                    lw=2 * self.factor,
                    zorder=2.5,
                    solid_capstyle="butt",
                    clip_on=False,
                )

    def diamond(self, y: float, x: float, low: float, high: float, *, half: float, filled: bool) -> None:
        """A mean with its interval: filled for the whole, open for a part."""
        if np.isnan(x):
            return
        if np.isnan(low) or np.isnan(high):
            low = high = x
        corners = [(self._x(low), y), (self._x(x), y - half), (self._x(high), y), (self._x(x), y + half)]
        face = style.MEAN if filled else "white"
        self.ax.add_patch(
            Polygon(
                corners,
                closed=True,
                facecolor=face,
                edgecolor=style.MEAN,
                lw=1.1 * self.factor,
                zorder=3,
                gid="diamond",
            )
        )
        for end, marker, beyond in ((low, "<", low < self.low), (high, ">", high > self.high)):
            if beyond:
                self.ax.plot(
                    [self._x(end)], [y], marker, color=style.MEAN, ms=5 * self.factor, mew=0, clip_on=False, zorder=3
                )
