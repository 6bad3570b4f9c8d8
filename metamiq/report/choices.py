"""What the multiverse of defensible choices says, for a report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metamiq import plots
from metamiq.datasets import Dataset
from metamiq.errors import ConvergenceError
from metamiq.question import CannotFit
from metamiq.sensitivity.multiverse import multiverse

_DRAWN = 200  # specifications in the picture
_CHOICES = 4  # the choices that move the answer most


@dataclass(frozen=True, slots=True, eq=False)
class ChoicesFound:
    """Summary, tables and picture of a multiverse."""

    summary: tuple[str, ...]
    moves: pd.DataFrame  # which choice moves the answer most
    options: pd.DataFrame  # what the specifications of each option come to
    svg: str
    drawn: int
    fitted: int


def choices_of(ds: Dataset, published: str) -> ChoicesFound | CannotFit:
    """Run all choices that the dataset's folder declares; why not, where it declares none."""
    try:
        found = multiverse(ds)
    except (ValueError, ConvergenceError) as error:  # DataError is a ValueError
        return CannotFit(str(error))
    try:
        claimed: float | None = float(published)
    except ValueError:
        claimed = None
    moves = found.decomposition().reset_index()
    curve = found.curve()
    if curve.empty:
        return CannotFit("None of the specifications can be fitted.")
    at = np.unique(np.linspace(0, len(curve) - 1, _DRAWN).round().astype(int))
    ax = plots.specification_curve(
        curve.iloc[at],
        [str(c) for c in moves["choice"].head(_CHOICES)],
        measure="SMD",
        reference=None if claimed is None else (claimed, f"published {published}"),
    )
    figure = ax.figure.figure
    assert figure is not None
    svg = plots.svg_text(figure)
    plots.release(figure)
    return ChoicesFound(
        tuple(found.summary(claimed).splitlines()),
        moves,
        found.options().reset_index(),
        svg,
        len(at),
        len(curve),
    )
