"""Pictures of fits: functions that return Axes, each drawn from a table that can be had on its own."""

from metamiq.plots.alt_text import alt_text
from metamiq.plots.forest import forest
from metamiq.plots.forest_rows import forest_rows
from metamiq.plots.row_drawing import draw_rows
from metamiq.plots.saving import save_png, save_svg, svg_text

__all__ = ["alt_text", "draw_rows", "forest", "forest_rows", "save_png", "save_svg", "svg_text"]
