"""Where the analyses write their figures: the same bytes on every run."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes

import metamiq as mm

FIGURES = Path(__file__).parents[1] / "figures"


def save(ax: Axes, name: str) -> None:
    """Write the figure of `ax` as figures/<name>.svg."""
    mm.plots.save_svg(ax.figure, FIGURES / f"{name}.svg")
    print(f"figures/{name}.svg")
