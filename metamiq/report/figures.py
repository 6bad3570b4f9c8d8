"""The figures of the first question, as SVG text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metamiq import plots
from metamiq.question import Answers, CannotFit

if TYPE_CHECKING:
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


def first_question(answers: Answers) -> dict[str, str]:
    """Name of each figure and its SVG element; a figure whose analysis cannot be done is not there."""
    out: dict[str, str] = {}

    def add(name: str, ax: Axes) -> None:
        figure = ax.figure.figure
        assert figure is not None
        out[name] = plots.svg_text(figure)

    if not isinstance(answers.pooled, CannotFit):
        add("forest", plots.forest(answers.pooled, reference=published_mean(answers), groups=ARMS))
    if not isinstance(answers.disorder, CannotFit):
        add("disorder", plots.group_means(answers.disorder))
    if not isinstance(answers.dose, CannotFit):
        add("dose", plots.bubble(answers.dose, "mi_sessions"))
    if not isinstance(answers.era, CannotFit):
        add("era", plots.group_means(answers.era))
    if "OR" in answers.dropout_pooled:
        add("dropout", plots.forest(answers.dropout_pooled["OR"], groups=ARMS))
    return out
