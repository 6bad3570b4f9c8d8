"""The figures of the first question, as SVG text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from metamiq import plots
from metamiq.errors import DataError
from metamiq.question import Answers, CannotFit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


ARMS = ("MI + CBT", "CBT")


def published_mean(answers: Answers) -> tuple[float, str] | None:
    """The published pooled g, as a reference line, where the dataset's claims give one."""
    claims = answers.ds.claims
    row = claims.loc[claims["claim_id"] == "pooled-g", "reported"]
    if row.empty:
        return None
    try:
        value = float(row.iloc[0])
    except ValueError:
        return None
    return value, f"published {row.iloc[0]}"


def first_question(answers: Answers, risk_of_bias: pd.DataFrame | None = None) -> dict[str, str]:
    """Name of each figure and its SVG element; a figure whose analysis cannot be done is not there.

    Risk-of-bias judgements, from `read_risk_of_bias`, are shown beside the forest plot.
    """
    out: dict[str, str] = {}

    def add(name: str, draw: Callable[[], Axes]) -> None:
        try:
            figure = draw().figure.figure
        except DataError:  # one row, or a year that is not known
            return
        assert figure is not None
        out[name] = plots.svg_text(figure)
        plots.release(figure)

    pooled, disorder, dose, era = answers.pooled, answers.disorder, answers.dose, answers.era
    published = published_mean(answers)
    if not isinstance(pooled, CannotFit):
        add("forest", lambda: plots.forest(pooled, reference=published, groups=ARMS, risk_of_bias=risk_of_bias))
        add("leave_one_out", lambda: plots.leave_one_out(pooled, reference=published, groups=ARMS))
        add("cumulative", lambda: plots.cumulative(pooled, reference=published, groups=ARMS))
        add("albatross", lambda: plots.albatross(pooled, groups=ARMS))
    if not isinstance(disorder, CannotFit):
        add("disorder", lambda: plots.group_means(disorder, groups=ARMS))
    if not isinstance(dose, CannotFit):
        add("dose", lambda: plots.bubble(dose, "mi_sessions", axis_name="Number of MI sessions"))
    if not isinstance(era, CannotFit):
        add("era", lambda: plots.group_means(era, groups=ARMS))
    if "OR" in answers.dropout_pooled:
        add("dropout", lambda: plots.forest(answers.dropout_pooled["OR"], groups=ARMS))
    return out
