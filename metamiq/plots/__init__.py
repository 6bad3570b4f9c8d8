"""Pictures of fits: functions that return Axes, each drawn from a table that can be had on its own."""

from metamiq.plots.alt_text import alt_text
from metamiq.plots.bubble import bubble, bubble_line, bubble_rows
from metamiq.plots.curves import drapery, drapery_rows
from metamiq.plots.diagnostic import baujat, baujat_rows, labbe, labbe_rows, normal_quantile, quantile_rows
from metamiq.plots.effect_table import effect_table
from metamiq.plots.evidence import albatross, albatross_rows, orchard, orchard_rows
from metamiq.plots.flow import flow_diagram, flow_rows
from metamiq.plots.forest import forest
from metamiq.plots.forest_rows import forest_rows
from metamiq.plots.funnel import funnel, radial, radial_rows
from metamiq.plots.group_means import group_means, group_rows
from metamiq.plots.legibility import text_boxes, text_faults
from metamiq.plots.panels import gosh, influence, specification_curve
from metamiq.plots.profile import profile_likelihood, profile_rows
from metamiq.plots.rob_summary import rob_summary, rob_summary_rows
from metamiq.plots.row_drawing import draw_rows
from metamiq.plots.saving import release, save_pdf, save_png, save_svg, svg_text
from metamiq.plots.series import cumulative, estimate_rows, estimates, leave_one_out
from metamiq.plots.traffic_lights import traffic_lights

__all__ = [
    "albatross",
    "albatross_rows",
    "alt_text",
    "baujat",
    "baujat_rows",
    "bubble",
    "bubble_line",
    "bubble_rows",
    "cumulative",
    "drapery",
    "drapery_rows",
    "draw_rows",
    "effect_table",
    "estimate_rows",
    "estimates",
    "flow_diagram",
    "flow_rows",
    "forest",
    "forest_rows",
    "funnel",
    "gosh",
    "group_means",
    "group_rows",
    "influence",
    "labbe",
    "labbe_rows",
    "leave_one_out",
    "normal_quantile",
    "orchard",
    "orchard_rows",
    "profile_likelihood",
    "profile_rows",
    "quantile_rows",
    "radial",
    "radial_rows",
    "release",
    "rob_summary",
    "rob_summary_rows",
    "save_pdf",
    "save_png",
    "save_svg",
    "specification_curve",
    "svg_text",
    "text_boxes",
    "text_faults",
    "traffic_lights",
]
