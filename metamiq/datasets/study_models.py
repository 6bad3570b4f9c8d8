"""The columns of a study table: what the effect-size calculators and the pooling functions take, under their names.

A study table has one effect or one study per row. Group 1 is the arm under study, group 2 the comparison.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from metamiq.datasets.models import PEOPLE, Number, Positive, Row, Text
from metamiq.datasets.rules import Rule, below

# Sizes and counts need not be whole: cluster trials enter with their effective sample size.
GroupSize = Annotated[float | None, Field(ge=1, json_schema_extra=PEOPLE)]
Events = Annotated[float | None, Field(ge=0, json_schema_extra={"unit": "events"})]
Correlation = Annotated[float | None, Field(ge=-1, le=1)]
Bound = Annotated[float | None, Field(allow_inf_nan=True, json_schema_extra={"infinite": True})]


_CHECK = "Check the values against their source."


def _group(n: str, sd: str, event: str, other: str) -> tuple[Rule, ...]:
    """What must hold within a group: its size, standard deviation, members with the event and without."""
    return (
        Rule(
            (n, sd),
            lambda size, _: size < 2,
            n,
            f"{n} must be at least 2 when {sd} is filled",
            lambda size, _: f"{n} is {size:.10g}",
            _CHECK,
        ),
        Rule(
            (event, n),
            lambda events, size: events > size,
            event,
            f"{event} must not exceed {n}",
            lambda events, size: f"{event} is {events:.10g} and {n} is {size:.10g}",
            _CHECK,
        ),
        Rule(
            (event, other, n),
            lambda events, others, size: (events <= size) & (abs(events + others - size) > 1e-6),
            n,
            f"{event} + {other} must equal {n}",
            lambda events, others, size: (
                f"{events:.10g} + {others:.10g} = {events + others:.10g} and {n} is {size:.10g}"
            ),
            _CHECK,
        ),
    )


class StudyRow(Row):
    """One row of a study table; every column is optional, and a measure asks for the ones that it needs."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        *_group("n1i", "sd1i", "ai", "bi"),
        *_group("n2i", "sd2i", "ci", "di"),
        below("ci_low", "ci_high"),
        below("yi_low", "yi_high"),
    )

    trial_id: Text = Field(None, description="Key of the row.")
    study: Text = Field(None, description="Key of the study; rows of one study share it.")
    label: Text = Field(None, description="Text shown in tables and figures.")
    year: Annotated[int | None, Field(ge=1800, le=2100, json_schema_extra={"unit": "year"})] = Field(
        None, description="Year of publication."
    )
    note: Text = Field(None, description="What a reader of the row must know.")

    m1i: Number = Field(
        None, description="Mean of group 1; of one group measured twice, the mean from which m2i is taken."
    )
    sd1i: Positive = Field(None, description="Standard deviation in group 1, not the standard error.")
    n1i: GroupSize = Field(None, description="Participants in group 1.")
    m2i: Number = Field(None, description="Mean of group 2.")
    sd2i: Positive = Field(None, description="Standard deviation in group 2, not the standard error.")
    n2i: GroupSize = Field(None, description="Participants in group 2.")

    m1i_pre: Number = Field(None, description="Mean of group 1 before treatment.")
    m1i_post: Number = Field(None, description="Mean of group 1 after treatment.")
    sd1i_pre: Positive = Field(None, description="Standard deviation in group 1 before treatment.")
    sd1i_post: Positive = Field(None, description="Standard deviation in group 1 after treatment.")
    m2i_pre: Number = Field(None, description="Mean of group 2 before treatment.")
    m2i_post: Number = Field(None, description="Mean of group 2 after treatment.")
    sd2i_pre: Positive = Field(None, description="Standard deviation in group 2 before treatment.")
    sd2i_post: Positive = Field(None, description="Standard deviation in group 2 after treatment.")

    ai: Events = Field(None, description="Events in group 1.")
    bi: Events = Field(None, description="Participants without event in group 1.")
    ci: Events = Field(None, description="Events in group 2.")
    di: Events = Field(None, description="Participants without event in group 2.")

    ri: Correlation = Field(None, description="Correlation; with means at two times, that between the times.")
    xi: Events = Field(None, description="Events in the row's only group.")
    ni: GroupSize = Field(None, description="Participants in the row's only group.")
    ti: Number = Field(None, description="t statistic; positive when group 1 is higher.")
    pi: Annotated[float | None, Field(ge=0, le=1)] = Field(None, description="Two-sided p-value.")

    yi: Number = Field(None, description="Effect size.")
    vi: Positive = Field(None, description="Sampling variance of yi.")
    sei: Positive = Field(None, description="Standard error of yi.")
    ci_low: Number = Field(None, description="Lower end of the confidence interval of yi.")
    ci_high: Number = Field(None, description="Upper end of the confidence interval of yi.")
    yi_low: Bound = Field(None, description="Lower end of a bound on the effect; -inf or empty when unlimited.")
    yi_high: Bound = Field(None, description="Upper end of a bound on the effect; inf or empty when unlimited.")


class PublishedRow(Row):
    """One published result of a dataset (``published.csv``), to be recomputed."""

    KEY: ClassVar[tuple[str, ...]] = ()

    label: Annotated[str, Field(min_length=1)] = Field(description="Short key of the analysis.")
    call: Text = Field(None, description="The analysis, as the call that repeats it.")
    analysis: Text = Field(None, description="The analysis in words.")
    quantity: Annotated[str, Field(min_length=1)] = Field(description="What was printed, named as in a result.")
    printed: Annotated[str, Field(min_length=1)] = Field(
        description="The number as printed: text, because its last digit says how precise it is."
    )
    citation: Annotated[str, Field(min_length=1)] = Field(description="Where it was printed.")
    note: Text = Field(None, description="How far off a recomputed value is and why, when it does not agree.")
