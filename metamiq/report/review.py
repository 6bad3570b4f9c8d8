"""What a review shows beside its analyses: characteristics, flow of studies, risk of bias, certainty of evidence.

Each is shown when its file is there: ``flow.csv``, ``risk_of_bias.csv``, ``grade.toml`` in the folder of the data, or
files that were named. The characteristics table needs no file of its own. What reads and judges is loaded only when its
file is there: most reports have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from metamiq import plots
from metamiq.datasets import Dataset
from metamiq.errors import DataError
from metamiq.report import characteristics as described
from metamiq.report.document import Block, Figure, Section, Text, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metamiq.pooling.records import PooledEffect
    from metamiq.question import Answers
    from metamiq.report.grade import GradeTable
    from metamiq.report.grade_facts import Fit

#: Files that are looked for in the folder of the data.
FLOW, RISK_OF_BIAS, GRADE = "flow.csv", "risk_of_bias.csv", "grade.toml"
_MISMATCH = "The counts do not agree with each other:"


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """The files of a review, read; None where there is none."""

    flow: pd.DataFrame | None = None
    risk_of_bias: pd.DataFrame | None = None
    grade: Path | None = None

    def beside(self, effects: pd.DataFrame) -> pd.DataFrame | None:
        """The risk-of-bias judgements where a forest plot of these effects can show them, else None."""
        return None if self.unmatched(effects) else self.risk_of_bias

    def unmatched(self, effects: pd.DataFrame) -> str:
        """Why the judgements cannot stand beside these effects; empty when they can, or when there are none."""
        if self.risk_of_bias is None:
            return ""
        from metamiq.datasets.risk_of_bias_join import join_risk_of_bias

        try:
            join_risk_of_bias(effects, self.risk_of_bias)
        except DataError as error:
            return str(error)
        return ""


NOTHING = Review()


@dataclass(frozen=True, slots=True, eq=False)
class ReviewParts:
    """What a report shows of a review."""

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Section, ...] = ()  # after the answer
    studies: tuple[Section, ...] = ()  # about the studies


def find_review(
    folder: Path | None,
    *,
    flow: Path | None = None,
    risk_of_bias: Path | None = None,
    grade: Path | None = None,
    tool: str | None = None,
) -> Review:
    """Read the files of a review: those that are named, else those that lie in `folder`.

    Raises
    ------
    DataError
        If a file that is named is not there, or one cannot be read.
    """

    def chosen(named: Path | None, name: str) -> Path | None:
        if named is not None:
            return named
        return folder / name if folder is not None and (folder / name).is_file() else None

    flow_file, rob_file = chosen(flow, FLOW), chosen(risk_of_bias, RISK_OF_BIAS)
    counts = judged = None
    if flow_file is not None:
        from metamiq.datasets.flow import read_flow

        counts = read_flow(flow_file)
    if rob_file is not None:
        from metamiq.datasets.risk_of_bias import read_risk_of_bias

        judged = read_risk_of_bias(rob_file, tool)
    for table in (counts, judged):
        if table is not None:  # findings name the file without its folder: reports are the same on every machine
            table.attrs["file"] = Path(str(table.attrs["file"])).name
    return Review(counts, judged, chosen(grade, GRADE))


def review_parts(
    source: Dataset | pd.DataFrame, effects: pd.DataFrame, outcomes: Callable[[], Mapping[str, Fit]], review: Review
) -> ReviewParts:
    """Tables, figures and sections of a review.

    Parameters
    ----------
    source : Dataset or DataFrame
        What the studies are described from.
    effects : DataFrame
        What the forest plot shows.
    outcomes : callable
        Gives the pooled outcomes by name; called only when there are judgements on their certainty.
    review : Review
        From `find_review`.
    """
    table = described.characteristics(source)
    tables: dict[str, pd.DataFrame] = {}
    figures: dict[str, str] = {}
    findings: list[Section] = []
    studies: list[Section] = []
    flow, bias = review.flow, review.risk_of_bias
    if flow is not None:
        figures["flow"] = _drawn(lambda: plots.flow_diagram(flow))
        studies.append(Section("flow-of-studies", "Flow of studies", _flow(flow, figures["flow"])))
    if described.describes(table):
        tables["characteristics"] = table
        studies.append(Section("characteristics", "Study characteristics", (described.block(table),)))
    if bias is not None:
        figures["risk_of_bias"] = _drawn(lambda: plots.traffic_lights(bias))
        tables["risk_of_bias"] = bias.drop(columns="line", errors="ignore")
        studies.append(
            Section("risk-of-bias", "Risk of bias", _bias(bias, figures["risk_of_bias"], review.unmatched(effects)))
        )
    if review.grade is not None:
        from metamiq.report.grade import grade_table

        judged = grade_table(outcomes(), review.grade, risk_of_bias=bias)
        tables |= {"summary_of_findings": judged.findings(), "grade": judged.to_frame()}
        findings.append(_certainty(judged))
    return ReviewParts(tables, figures, tuple(findings), tuple(studies))


def outcomes_of(answers: Answers) -> Mapping[str, Fit]:
    """The outcomes of the first question, for `review_parts`."""
    from metamiq.report.grade import of_answers

    return of_answers(answers)


def outcomes_of_table(fit: PooledEffect) -> Mapping[str, Fit]:
    """The outcomes of a study table: one, or each that its column `outcome` names, pooled as the whole was."""
    from metamiq.report.grade import of_table

    effects = fit.effects
    if "outcome" in effects and effects["outcome"].nunique() > 1:
        return of_table(effects, method=fit.method, test=fit.test, level=fit.level, pi_method=fit.pi_method)
    return {"outcome": fit}


def _drawn(draw: Callable[[], Axes]) -> str:
    figure = draw().figure.figure
    assert figure is not None
    svg = plots.svg_text(figure)
    plots.release(figure)
    return svg


def _flow(flow: pd.DataFrame, svg: str) -> tuple[Block, ...]:
    from metamiq.datasets.flow_arithmetic import flow_arithmetic

    checks = flow_arithmetic(flow)
    wrong = [str(x) for x in checks.loc[checks["holds"].eq(False), "finding"]]
    shown: tuple[Block, ...] = (Figure("flow", svg, "PRISMA 2020 flow diagram: how records became studies."),)
    return (*shown, *((Text(" ".join([_MISMATCH, *wrong])),) if wrong else ()))


def _bias(judged: pd.DataFrame, svg: str, unmatched: str) -> tuple[Block, ...]:
    from metamiq.datasets.risk_of_bias import risk_of_bias_findings

    columns = [str(c) for c in judged.columns if c != "line"]
    named = "; ".join(f"{code}: {title}" for code, title in judged.attrs.get("domains", {}).items()) + "."
    return (
        Figure("risk_of_bias", svg, "Risk of bias of each study, by domain and overall."),
        *((Text(f"Not shown beside the forest plot. {unmatched}"),) if unmatched else ()),
        *(Text(finding) for finding in risk_of_bias_findings(judged)),
        grid("risk_of_bias", judged, f"The same judgements in words. {named}", columns),
    )


def _certainty(judged: GradeTable) -> Section:
    return Section("certainty", "Summary of findings", judged.blocks())
