"""The columns of an evidence dataset, defined once: type, unit, range, allowed values, meaning.

Reading, the data dictionary (``datapackage.json``) and templates are all written from these models. A rule that joins
several columns of a row is in the model's `problems`; a rule that joins rows or tables is in `keys`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metamiq.datasets.rules import Problem, Rule, below

Meaning = dict[str, Any]
PEOPLE: Meaning = {"unit": "participants"}


class Row(BaseModel):
    """A row of a table: known columns are checked, columns that a user added are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)

    #: Columns that together identify a row; empty when rows have no key.
    KEY: ClassVar[tuple[str, ...]] = ()
    #: Rules across columns of numbers; they can be asked of whole columns (see `metamiq.datasets.screening`).
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def problems(self) -> Iterator[Problem]:
        """Rules across the columns that this row breaks: `RULES`, and what a model with words in its rules adds."""
        for rule in self.RULES:
            values = [getattr(self, column) for column in rule.columns]
            if None not in values and rule.broken(*values):
                yield Problem(rule.column, rule.rule, rule.came(*values), rule.advice)

    @model_validator(mode="after")
    def _hold(self) -> Self:
        broken = [f"{problem.rule}, but {problem.came}" for problem in self.problems()]
        if broken:
            raise ValueError("; ".join(broken))
        return self


Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Size = Annotated[int | None, Field(ge=2, json_schema_extra=PEOPLE)]
Count = Annotated[int | None, Field(ge=0, json_schema_extra=PEOPLE)]
Dose = Annotated[float | None, Field(ge=0)]
Number = Annotated[float | None, Field()]
Positive = Annotated[float | None, Field(gt=0)]
Probability = Annotated[float | None, Field(ge=0, le=1)]
Text = Annotated[str | None, Field()]
Arm = Literal["mi", "cbt"]

#: Disorders that a candidate trial may be filed under; an excluded trial may name any.
DISORDERS = (
    "GAD",
    "OCD",
    "PTSD",
    "SAD",
    "agoraphobia",
    "health anxiety",
    "mixed",
    "panic",
    "specific phobia",
    "undiagnosed",
)

#: Statements from which an effect size can be computed, and the columns that each needs.
NEEDS: dict[str, tuple[str, ...]] = {
    "d": ("value",),
    "g": ("value",),
    "smd": ("value",),
    "t": ("value",),
    "F": ("value", "favours"),
    "p": ("p", "favours"),
    "ci": ("ci_low", "ci_high"),
    "means": ("mean_mi", "sd_mi", "mean_cbt", "sd_cbt", "favours"),
    "change_means": ("mean_mi", "sd_mi", "mean_cbt", "sd_cbt", "favours"),
    "means_without_sd": ("mean_mi", "mean_cbt"),
    "significant": ("favours",),
    "direction": ("favours",),
    "slope": ("value",),
    "odds_ratio": ("value",),
}

ReportKind = Literal[
    "d",
    "g",
    "smd",
    "t",
    "F",
    "p",
    "ci",
    "means",
    "change_means",
    "significant",
    "nonsignificant",
    "direction",
    "means_without_sd",
    "slope",
    "odds_ratio",
    "not_reported",
]


class TrialRow(Row):
    """One trial (``trials.csv``): design, arm sizes, dose, role."""

    KEY: ClassVar[tuple[str, ...]] = ("trial_id",)

    trial_id: Identifier = Field(description="Short key of the trial, used by the other tables.")
    label: str = Field(description="Authors and year as shown in tables and figures.")
    year: int = Field(ge=1900, le=2100, description="Year of publication.", json_schema_extra={"unit": "year"})
    doi: Annotated[str | None, Field(pattern=r"^10\.\d{4,9}/\S+$")] = Field(
        None, description="Digital object identifier of the main report, without resolver."
    )
    pmid: Annotated[str | None, Field(pattern=r"^\d{1,8}$")] = Field(
        None, description="PubMed identifier of the main report."
    )
    registry: Text = Field(None, description="Identifier in a trial registry.")
    country: Text = Field(None, description="Country in which the trial was run.")
    disorder: str = Field(
        description="Principal anxiety disorder. GAD generalised anxiety disorder; OCD obsessive-compulsive disorder; "
        "PTSD post-traumatic stress disorder; SAD social anxiety disorder; mixed several; undiagnosed no diagnosis "
        "required. A candidate has one of: " + ", ".join(DISORDERS) + "; an excluded trial may name any."
    )
    population: Text = Field(None, description="Who took part: adult, child, or a narrower group in words.")
    role: Literal["candidate", "excluded"] = Field(
        description="candidate: MI + CBT against CBT for anxiety; excluded: not that contrast, for the stated reason."
    )
    published_by_2018_04: Literal["yes", "no"] | None = Field(
        None, description="Whether the trial was out when Marker & Norton (2018) could have pooled it."
    )
    mi_delivery: Text = Field(None, description="How MI was given: before or within CBT, individual, group or online.")
    mi_sessions: Dose = Field(None, description="Number of MI sessions.", json_schema_extra={"unit": "sessions"})
    mi_minutes: Dose = Field(
        None, description="Minutes of MI, all sessions together.", json_schema_extra={"unit": "minutes"}
    )
    cbt_delivery: Text = Field(None, description="How CBT was given: individual, group or internet; its length.")
    cbt_sessions: Dose = Field(
        None, description="Number of CBT sessions in the MI + CBT arm.", json_schema_extra={"unit": "sessions"}
    )
    comparator: Text = Field(None, description="What the comparison arm received.")
    n_mi: Size = Field(None, description="Size of the MI + CBT arm, as the source gives it.")
    n_cbt: Size = Field(None, description="Size of the comparison arm, as the source gives it.")
    n_total: Size = Field(None, description="Size of the two arms together, as the source gives it.")
    n_arms: Size = Field(None, description="Arms of the trial, where more than the two that are compared here.")
    n_randomised_all: Size = Field(None, description="People randomised to all arms, where there are more than two.")
    overlaps_with: Text = Field(None, description="Key of a trial that reports the same people; never pool both.")
    reason: Text = Field(None, description="Why an excluded trial is excluded.")
    note: Text = Field(None, description="What a reader of the row must know.")

    def problems(self) -> Iterator[Problem]:
        """Arms fit in the trial; roles, dates and disorders agree with each other."""
        yield from _arms_fit(self.n_mi, self.n_cbt, self.n_total)
        if self.role == "excluded" and not self.reason:
            yield Problem("reason", "reason must be filled when role is 'excluded'", "it is empty", "Say why.")
        if self.role == "candidate" and self.reason:
            advice = "Set role to 'excluded', or move the text to note."
            yield Problem("reason", "reason must be empty when role is 'candidate'", f"it is {self.reason!r}", advice)
        if self.role == "candidate" and self.disorder and self.disorder not in DISORDERS:
            allowed = ", ".join(repr(name) for name in DISORDERS)
            rule = f"disorder of a candidate must be one of {allowed}"
            yield Problem("disorder", rule, f"it is {self.disorder!r}", "Choose one, and keep the detail in note.")
        if self.year and self.year > 2018 and self.published_by_2018_04 == "yes":
            rule = f"published_by_2018_04 must be 'no' for a trial of {self.year}"
            yield Problem("published_by_2018_04", rule, "it is 'yes'", "Check the year of publication.")
        if self.overlaps_with and self.overlaps_with == self.trial_id:
            advice = "Name the other report, or leave the cell empty."
            yield Problem("overlaps_with", "overlaps_with must name another trial", "it names its own row", advice)


class ResultRow(Row):
    """One reported result (``results.csv``), as the source states it."""

    KEY: ClassVar[tuple[str, ...]] = ("result_id",)
    RULES: ClassVar[tuple[Rule, ...]] = (below("ci_low", "ci_high"),)

    result_id: Identifier = Field(description="Short key of the result.")
    trial_id: Identifier = Field(description="The trial, as in trials.csv.")
    domain: Annotated[str, Field(min_length=1)] = Field(
        description="What kind of outcome it is: symptoms, response, remission, distress."
    )
    outcome: Text = Field(None, description="The outcome in words.")
    instrument: Text = Field(None, description="The measuring instrument.")
    rater: Text = Field(None, description="Who rated: self, clinician, or both.")
    timepoint: Annotated[str, Field(min_length=1)] = Field(description="When it was measured; post is the end of CBT.")
    report: ReportKind = Field(
        description="What the source states. d, g, smd, t, F, p, ci, means (at the time point) and change_means "
        "(reductions): an effect size can be computed. significant (two-sided 5% unless the note says otherwise, in "
        "the direction of favours), nonsignificant, direction: the effect is bounded, given the arm sizes. "
        "means_without_sd, slope, odds_ratio without interval, not_reported: nothing that can be pooled."
    )
    favours: Arm | None = Field(None, description="Which arm did better: mi (MI + CBT) or cbt (the comparison).")
    value: Number = Field(
        None,
        description="The number that report names, as printed; positive when MI + CBT did better for d, g, smd, t.",
    )
    df: Positive = Field(None, description="Degrees of freedom of the test, as printed.")
    p: Probability = Field(None, description="Two-sided p-value, as printed.")
    se: Positive = Field(None, description="Standard error of value, as printed.")
    ci_low: Number = Field(None, description="Lower end of the interval of the standardised mean difference.")
    ci_high: Number = Field(None, description="Upper end of the interval of the standardised mean difference.")
    ci_level: Annotated[float | None, Field(gt=0, lt=1)] = Field(
        None, description="Coverage of that interval as a fraction; empty means 0.95."
    )
    printed_d: Number = Field(
        None,
        description="Standardised mean difference that the source prints beside the test or the means that report "
        "names, as printed; to be compared, never pooled.",
    )
    printed_g: Number = Field(None, description="Hedges' g that the source prints beside them, as printed; likewise.")
    n_mi: Size = Field(None, description="Participants of the MI + CBT arm in this result.")
    n_cbt: Size = Field(None, description="Participants of the comparison arm in this result.")
    mean_mi: Number = Field(
        None, description="Mean of the MI + CBT arm, in the instrument's points.", json_schema_extra={"unit": "points"}
    )
    sd_mi: Positive = Field(
        None,
        description="Standard deviation of that mean, not its standard error.",
        json_schema_extra={"unit": "points"},
    )
    mean_cbt: Number = Field(
        None,
        description="Mean of the comparison arm, in the instrument's points.",
        json_schema_extra={"unit": "points"},
    )
    sd_cbt: Positive = Field(
        None,
        description="Standard deviation of that mean, not its standard error.",
        json_schema_extra={"unit": "points"},
    )
    certainty: Annotated[str, Field(min_length=1)] = Field(
        description="How far to trust the row: reported, derived (by arithmetic that note states), approximate or "
        "inferred; several are joined by a semicolon."
    )
    source: Annotated[str, Field(min_length=1)] = Field(description="Where the statement was read.")
    note: Text = Field(None, description="What a reader of the row must know.")

    def problems(self) -> Iterator[Problem]:
        """Each kind of report has the columns that it needs."""
        for column in NEEDS.get(self.report or "", ()):
            if getattr(self, column) is None:
                advice = "Fill it from the source, or choose the report that says what the source states."
                rule = f"{column} must be filled when report is {self.report!r}"
                yield Problem(column, rule, "it is empty", advice)
        if self.report in ("F", "odds_ratio") and self.value is not None and self.value < 0:
            rule = f"value must not be negative when report is {self.report!r}"
            yield Problem("value", rule, f"it is {self.value:.10g}", "Check it against its source.")
        yield from super().problems()


class DropoutRow(Row):
    """Dropout of one arm at one stage (``dropout.csv``)."""

    KEY: ClassVar[tuple[str, ...]] = ("trial_id", "stage", "arm")

    trial_id: Identifier = Field(description="The trial, as in trials.csv.")
    stage: Annotated[str, Field(min_length=1)] = Field(description="What was not completed, in words.")
    arm: Arm = Field(description="mi (MI + CBT) or cbt (the comparison).")
    n: Annotated[int | None, Field(ge=1, json_schema_extra=PEOPLE)] = Field(
        None, description="Participants who could drop out."
    )
    dropouts: Count = Field(None, description="Participants who did.")
    certainty: Annotated[str, Field(min_length=1)] = Field(
        description="How far to trust the row: reported, derived (by arithmetic that note states), percent only."
    )
    source: Annotated[str, Field(min_length=1)] = Field(description="Where the statement was read.")
    note: Text = Field(None, description="What a reader of the row must know.")

    def problems(self) -> Iterator[Problem]:
        """No more drop out than there are."""
        if self.n is not None and self.dropouts is not None and self.dropouts > self.n:
            came = f"dropouts is {self.dropouts:.10g} and n is {self.n:.10g}"
            yield Problem("dropouts", "dropouts must not exceed n", came, "Check both against their source.")
        if self.n is None and self.dropouts is not None:
            yield Problem("n", "n must be filled when dropouts is", "it is empty", "Fill it from the source.")


class ClaimRow(Row):
    """One statement of a published synthesis (``claims.csv``), to be checked."""

    KEY: ClassVar[tuple[str, ...]] = ("claim_id",)

    claim_id: Identifier = Field(description="Short key of the claim.")
    quantity: Annotated[str, Field(min_length=1)] = Field(description="What the claim is about.")
    reported: Annotated[str, Field(min_length=1)] = Field(description="What was published, as printed.")
    source: Annotated[str, Field(min_length=1)] = Field(description="Where it was published.")
    note: Text = Field(None, description="What a reader of the row must know.")


def _arms_fit(n_mi: int | None, n_cbt: int | None, n_total: int | None) -> Iterator[Problem]:
    """Neither arm, nor both together, may be larger than the trial."""
    if n_total is None:
        return
    advice = "Check the sizes against their source."
    for column, size in (("n_mi", n_mi), ("n_cbt", n_cbt)):
        if size is not None and size > n_total:
            rule = f"{column} must not exceed n_total"
            yield Problem(column, rule, f"{column} is {size:.10g} and n_total is {n_total:.10g}", advice)
            return
    if n_mi is not None and n_cbt is not None and n_mi + n_cbt > n_total:
        rule = "n_mi + n_cbt must not exceed n_total"
        yield Problem(
            "n_total", rule, f"{n_mi:.10g} + {n_cbt:.10g} = {n_mi + n_cbt:.10g} and n_total is {n_total:.10g}", advice
        )
