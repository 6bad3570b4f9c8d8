"""The fields of a protocol file, defined once: type, allowed values, meaning, example.

Reading, the template and the table that `metamiq protocol FILE` prints are all written from these models.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from metamiq.datasets.faults import control_character
from metamiq.effects.measures import MEASURES
from metamiq.pooling.batch import METHODS, TESTS
from metamiq.pooling.records import PI_METHODS
from metamiq.protocol.vocabulary import DROPOUT_MODELS, SENSITIVITY, default_vtype
from metamiq.question import DROPOUT_MEASURES
from metamiq.sensitivity.choices import VERDICTS

_VTYPES = ("AV", "HO", "LS", "LS2", "SO", "UB", "exact")


def _date(value: Any) -> Any:
    """A date as TOML has it, or as text."""
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value.strip())
        except ValueError:
            return value
    return value


def _list(value: Any) -> Any:
    """One text is a list of one; lists become tuples, which nobody can change."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _values_by_column(value: Any) -> Any:
    return {name: _list(values) for name, values in value.items()} if isinstance(value, dict) else value


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, wherever they stand."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])


Date = Annotated[datetime.date, BeforeValidator(_date)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_list)]
ByColumn = Annotated[dict[str, Texts], BeforeValidator(_values_by_column)]


def _about(meaning: str, example: Any, allowed: Any = None) -> dict[str, Any]:
    """What a field means, an example, and the values that it may have."""
    extra = {"example": example} | ({} if allowed is None else {"allowed": list(allowed)})
    return {"description": meaning, "json_schema_extra": extra}


class Part(BaseModel):
    """A table of the file; unknown keys are refused, nothing is converted in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _hold(cls, value: Any, info: ValidationInfo) -> Any:
        extra = cls.model_fields[str(info.field_name)].json_schema_extra
        allowed = extra.get("allowed") if isinstance(extra, dict) else None
        if info.field_name in ("plan", "analyses"):  # checked as parts, or when they replace what was planned
            return value
        texts = list(_texts(value))
        for text in texts:
            if sign := control_character(text):
                raise PydanticCustomError("plain", "plain text", {"sign": repr(sign)})
            if not text:
                raise PydanticCustomError("filled", "filled")
        wrong = [text for text in texts if isinstance(allowed, list) and text not in allowed]
        if wrong:
            raise PydanticCustomError("one_of", "one of a list", {"wrong": wrong, "allowed": allowed})
        twice = [x for x in value if isinstance(x, str) and value.count(x) > 1] if isinstance(value, tuple) else []
        if twice:
            raise PydanticCustomError("once", "each once", {"text": twice[0]})
        return value


class Registration(Part):
    """Where the protocol can be looked up."""

    where: str | None = Field(None, **_about("Registry, journal or repository.", "PROSPERO"))
    identifier: str | None = Field(None, **_about("Number or DOI there.", "its number"))
    date: Date | None = Field(None, **_about("Date on which it was registered.", datetime.date(2026, 1, 31)))


class Plan(Part):
    """The main analysis; what is left out is left open, and said to be so."""

    measure: str = Field(**_about("Effect-size measure; see mm.measure_table().", "SMD", sorted(MEASURES)))
    vtype: str | None = Field(None, **_about("Variance formula of the measure.", "LS", _VTYPES))
    method: str = Field(
        **_about(
            "Estimator of tau2, FE for one true effect. With bounds = 'bounds' it holds for effect sizes alone: points "
            "and bounds together are pooled by maximum likelihood.",
            "REML",
            sorted(METHODS),
        )
    )
    test: str | None = Field(
        None, **_about("Test and interval of the mean: knha is Knapp-Hartung, z normal.", "knha", sorted(TESTS))
    )
    level: float | None = Field(None, gt=0, lt=1, **_about("Coverage of intervals.", 0.95))
    pi_method: str | None = Field(
        None, **_about("Prediction interval; test is the test's own distribution.", "test", PI_METHODS)
    )
    bounds: str | None = Field(
        None,
        **_about(
            "What is done with trials that report a verdict and no number: bounds pools points and bounds together, "
            "drop leaves them out.",
            "bounds",
            VERDICTS,
        ),
    )
    domains: Texts | None = Field(None, **_about("Outcome domains that count, preferred first.", ("symptoms",)))
    raters: Texts | None = Field(None, **_about("Raters, preferred first.", ("clinician",)))
    timepoints: Texts | None = Field(None, **_about("Time points that count; post is the end of CBT.", ("post",)))
    not_certainty: Texts | None = Field(
        None, **_about("Results with this certainty do not count.", ("direction inferred",))
    )
    assume: bool | None = Field(None, **_about("Whether trials with assumed arm sizes count.", True))
    only: ByColumn = Field(
        {}, **_about("Column and values that a trial must have to count.", {"published_by_2018_04": ("yes",)})
    )
    without: Texts = Field((), **_about("Trials that do not count.", ("smith2010",)))

    @model_validator(mode="after")
    def _has_variance_formulas(self) -> Self:
        if self.vtype is not None and default_vtype(self.measure) is None:
            raise PydanticCustomError("one_variance", "vtype left out", {"measure": self.measure})
        return self


class FurtherAnalyses(Part):
    """What is analysed beside the main question."""

    subgroups: Texts = Field((), **_about("Columns whose groups are pooled and compared.", ("disorder",)))
    moderators: Texts = Field(
        (), **_about("Columns, or formulas of several, in a meta-regression.", ("mi_sessions", "year + mi_sessions"))
    )
    sensitivity: Texts = Field(
        (), **_about("Sensitivity analyses by name.", ("leave_one_out", "egger_test"), SENSITIVITY)
    )
    dropout_measures: Texts = Field((), **_about("Measures of dropout.", ("OR",), DROPOUT_MEASURES))
    dropout_models: Texts = Field((), **_about("How dropout is pooled.", ("mantel_haenszel",), DROPOUT_MODELS))

    @model_validator(mode="after")
    def _dropout_is_whole(self) -> Self:
        if self.dropout_models and not self.dropout_measures:
            raise PydanticCustomError("dropout", "dropout_measures filled")
        return self


class Amendment(Part):
    """A change of the plan. Fields of [amendment.plan] and [amendment.analyses] replace those of the plan, whole."""

    date: Date = Field(**_about("Date of the change.", datetime.date(2026, 6, 30)))
    what: str = Field(**_about("What changed, in words.", "DerSimonian-Laird replaced by REML"))
    why: str = Field(**_about("Reason.", "recommended today with few trials"))
    results_known: bool | None = Field(None, **_about("Whether results were known when it was decided.", False))
    plan: dict[str, Any] = Field({}, **_about("New values of [plan].", {"method": "REML"}))
    analyses: dict[str, Any] = Field({}, **_about("New values of [analyses].", {"moderators": ("mi_sessions",)}))


class ProtocolFile(Part):
    """A whole protocol file."""

    title: str = Field(**_about("What the protocol is called.", "Motivational interviewing added to CBT"))
    version: str = Field("1", **_about("Version of the protocol.", "1"))
    question: str | None = Field(None, **_about("The question that the review answers.", "Does adding it help?"))
    registration: Registration = Field(Registration(), description="Where the protocol can be looked up.")
    plan: Plan = Field(description="The main analysis.")
    analyses: FurtherAnalyses = Field(FurtherAnalyses(), description="What is analysed beside the main question.")
    amendment: Annotated[tuple[Amendment, ...], BeforeValidator(_list)] = Field(
        (), description="Changes of the plan, in order of date."
    )
