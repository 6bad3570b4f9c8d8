"""A drawing surface in points from the top left corner, for pictures that are boxes and text and have no scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle

from metamiq.plots import style
from metamiq.plots.style import FONT, POINTS_PER_INCH

EDGE = "#333333"


@dataclass(frozen=True, slots=True)
class Sheet:
    """Axes whose data coordinates are points, x to the right and y downwards, and by how much all type is reduced."""

    ax: Axes
    factor: float

    def say(
        self,
        text: str,
        x: float,
        y: float,
        *,
        across: str = "left",
        along: str = "top",
        bold: bool = False,
        size: float = FONT,
        rotation: float = 0.0,
        color: str = "black",
    ) -> None:
        """Write text; dollar signs stay dollar signs."""
        self.ax.text(
            x,
            y,
            text,
            ha=across,
            va=along,
            fontsize=size * self.factor,
            weight="bold" if bold else "normal",
            rotation=rotation,
            rotation_mode="anchor" if not rotation else "default",
            color=color,
            linespacing=1.2,
            multialignment=across,
            parse_math=False,
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "white",
        edge: str = EDGE,
        rounded: bool = False,
        hatch: str | None = None,
        gid: str | None = None,
    ) -> None:
        """Draw a rectangle with its upper left corner at (x, y)."""
        shape: Patch
        if rounded:
            shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=6")
        else:
            shape = Rectangle((x, y), width, height)
        shape.set(facecolor=fill, edgecolor=edge, linewidth=0.8 * self.factor, hatch=hatch, gid=gid)
        self.ax.add_patch(shape)

    def patch(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A ground without edge, for letters on a hatch."""
        self.ax.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor="none"))

    def line(self, points: Sequence[tuple[float, float]], *, color: str = EDGE, width: float = 1.0) -> None:
        """Draw a line through points."""
        x, y = zip(*points, strict=True)
        self.ax.plot(x, y, color=color, lw=width * self.factor, solid_joinstyle="miter", zorder=0.9)

    def arrow(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line through points that ends in an arrow head."""
        if len(points) > 2:
            self.line(points[:-1])
        self.ax.add_patch(
            FancyArrowPatch(
                points[-2],
                points[-1],
                arrowstyle="-|>",
                mutation_scale=9 * self.factor,
                lw=self.factor,
                color=EDGE,
                shrinkA=0,
                shrinkB=0,
                gid="arrow",
            )
        )


def sheet(ax: Axes | None, width: float, height: float) -> Sheet:
    """A surface of `width` by `height` points: a new figure of that size, or the place of `ax`, where type may shrink.

    Examples
    --------
    >>> sheet(None, 144, 72).ax.figure.get_size_inches().tolist()
    [2.0, 1.0]
    """
    if ax is None:
        ax = style.new_axes(width / POINTS_PER_INCH, height / POINTS_PER_INCH)
        style.figure_of(ax).set_layout_engine("none")
        ax.set_position((0.0, 0.0, 1.0, 1.0))
        room = (width, height)
    else:
        figure = style.figure_of(ax)
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()  # the engine's place for ax is only known after it has run
        ax.set_position(ax.get_position())
        extent, dots = ax.get_window_extent(), figure.dpi / POINTS_PER_INCH
        room = (float(extent.width) / dots, float(extent.height) / dots)
    factor = min(1.0, room[0] / width, room[1] / height)
    ax.set_xlim(0.0, room[0] / factor)
    ax.set_ylim(room[1] / factor, 0.0)
    ax.set_axis_off()
    return Sheet(ax, factor)
