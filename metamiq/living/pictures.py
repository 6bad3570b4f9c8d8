"""A plan in two pictures: the pooled effect before and after, and the evidence as it came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from metamiq.living.difference import Difference
from metamiq.question import CannotFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAVOURS = ("favours CBT", "favours MI + CBT")


def before_and_after(difference: Difference) -> pd.DataFrame:
    """The pooled effect of each state that has one: ``estimate ci_low ci_high tau2 k``, one row per state.

    Examples
    --------
    >>> import metamiq as mm
    >>> from metamiq.living.compare import diff
    >>> ds = mm.load_dataset("mi_cbt_anxiety")
    >>> before_and_after(diff(ds, ds)).columns.tolist()
    ['estimate', 'ci_low', 'ci_high', 'tau2', 'k']
    """
    rows = {}
    for name, answers in zip(difference.names, difference.answers, strict=True):
        if answers is not None and not isinstance(answers.pooled, CannotFit):
            fit = answers.pooled
            interval = fit.ci()
            rows[name] = (fit.estimate, interval.low, interval.high, fit.tau2, fit.k)
    columns = ["estimate", "ci_low", "ci_high", "tau2", "k"]
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
        out["before_after.svg"] = _svg(plots.estimates(table, measure="SMD", header="Evidence", favours=_FAVOURS))
    after = difference.answers[1]
    if after is not None and not isinstance(after.pooled, CannotFit) and after.effects["year"].notna().all():
        out["cumulative.svg"] = _svg(plots.cumulative(after.pooled, "year", groups=("MI + CBT", "CBT")))
    return out


def _svg(ax: Axes) -> str:
    from metamiq import plots

    figure = ax.figure.figure
    assert figure is not None
    return plots.svg_text(figure)
