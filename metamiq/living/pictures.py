"""A plan in two pictures: the pooled effect before and after, and the evidence as it came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from metamiq.living.difference import Difference
from metamiq.question import CannotFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAVOURS = ("Favours CBT", "Favours MI + CBT")


def before_and_after(difference: Difference) -> pd.DataFrame:
    """The pooled effect of each state that has one: ``estimate ci_low ci_high pi_low pi_high tau2 k``.

    Examples
    --------
    >>> import metamiq as mm
    >>> from metamiq.living.compare import diff
    >>> ds = mm.load_dataset("mi_cbt_anxiety")
    >>> before_and_after(diff(ds, ds))["k"].tolist()
    [15, 15]
    """
    rows = {}
    for name, answers in zip(difference.names, difference.answers, strict=True):
        if answers is not None and not isinstance(answers.pooled, CannotFit):
            fit = answers.pooled
            rows[name] = (fit.estimate, *fit.ci(), *fit.pi(), fit.tau2, fit.k)
    columns = ["estimate", "ci_low", "ci_high", "pi_low", "pi_high", "tau2", "k"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def pictures(difference: Difference) -> dict[str, str]:
    """Pictures of a difference as SVG, by file name; none of a state without an answer.

    Returns
    -------
    dict of str to str
        ``before_after.svg``, two diamonds; ``cumulative.svg``, the pooled effect after each trial by year.
    """
    from metamiq import plots

    out: dict[str, str] = {}
    table = before_and_after(difference)
    if len(table):
        out["before_after.svg"] = svg_of(_diamonds(table))
    after = difference.answers[1]
    if after is not None and not isinstance(after.pooled, CannotFit) and after.effects["year"].notna().all():
        out["cumulative.svg"] = svg_of(plots.cumulative(after.pooled, "year", groups=("MI + CBT", "CBT")))
    return out


def _diamonds(table: pd.DataFrame) -> Axes:
    from metamiq import plots
    from metamiq.plots.forest_rows import COLUMNS, mean_row
    from metamiq.plots.row_layout import TextColumn

    rows = []
    for name, row in zip(table.index, table.to_dict(orient="records"), strict=True):
        title = f"{name}: k = {row['k']}, τ² = {row['tau2']:.3f}"
        rows.append(mean_row("SMD", title, row["estimate"], row["ci_low"], row["ci_high"]))
        rows.append(mean_row("SMD", "  prediction", row["estimate"], row["pi_low"], row["pi_high"], "prediction"))
    columns = [TextColumn("label", "Evidence", "left", "left"), TextColumn("effect_text", "g [95% CI]", "right")]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    ax = plots.draw_rows(None, frame, measure="SMD", columns=columns, favours=_FAVOURS)
    ends = [f"{name} {row['estimate']:.2f}" for name, row in table.iterrows()]
    ax.set_label(f"Pooled effect before and after. {', '.join(ends)}.")
    return ax


def svg_of(ax: Axes) -> str:
    """A picture as SVG, and out of memory."""
    from metamiq import plots

    figure = ax.figure.figure
    assert figure is not None
    return plots.svg_text(figure)
