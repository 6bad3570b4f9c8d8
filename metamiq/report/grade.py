"""A GRADE summary of findings: numbers from the data, judgements from people, and nothing in between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.errors import DataError
from metamiq.explaining.methods import MethodsParagraph, written
from metamiq.pooling.bounded_fit import BoundedFit
from metamiq.pooling.models import random_effects
from metamiq.pooling.records import PooledEffect
from metamiq.question import Answers, CannotFit
from metamiq.report import grade_facts as known
from metamiq.report.content import json_rows
from metamiq.report.document import Block, Cell, Listed, Table, Text, cell_text
from metamiq.report.grade_judgements import DOMAINS, DOWN, LEVELS, TITLES, Judged, read_judgements, template
from metamiq.wording import in_short

NOT_JUDGED = "not judged"
SYMPTOMS, DROPOUT = "symptoms at the end of CBT", "dropout"
_SIGNS = {name: "\N{CIRCLED PLUS}" * (i + 1) + "\N{WHITE CIRCLE}" * (3 - i) for i, name in enumerate(LEVELS)}
_RULES = (
    "Certainty starts high for randomised trials and low for observational studies (high when these are assessed with "
    "ROBINS-I, @grade2019), is rated down for five reasons and may be rated up for three (@grade2013; @grade2011a; "
    "@grade2011b). Judgements are those of the people who wrote them; the facts beside a domain are computed and "
    "suggest none."
)
_ABSOLUTE = "Absolute effects follow from the relative effect at the risk that was assumed (@cochrane2011)."


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One outcome: what was found, what was judged, and the facts that help to judge."""

    outcome: str
    fit: known.Fit
    judged: Judged
    facts: Mapping[str, str]
    people: float
    people_note: str
    absolute: str

    @property
    def certainty(self) -> str | None:
        """High, moderate, low or very low; None until a person has judged all that it follows from."""
        return self.judged.certainty


@dataclass(frozen=True, slots=True, eq=False)
class GradeTable:
    """The summary of findings, one row per outcome."""

    rows: tuple[Finding, ...]

    def findings(self) -> pd.DataFrame:
        """One row per outcome: ``outcome effect in_words absolute participants studies certainty missing``."""
        out = []
        for row in self.rows:
            fit = row.fit
            out.append(
                {
                    "outcome": row.outcome,
                    "effect": known.effect_text(fit),
                    "in_words": known.in_plain_words(fit),
                    "absolute": row.absolute,
                    "participants": row.people,
                    "participants_note": row.people_note,
                    "studies": fit.n_studies,
                    "design": row.judged.design,
                    "certainty": row.certainty or "",
                    "missing": ", ".join(row.judged.missing),
                }
            )
        return pd.DataFrame(out)

    def to_frame(self) -> pd.DataFrame:
        """One row per outcome and domain: ``outcome domain judgement levels reason facts``; empty where not judged."""
        out = []
        for row in self.rows:
            for domain in DOMAINS:
                j = row.judged.judgements.get(domain)
                out.append(
                    {
                        "outcome": row.outcome,
                        "domain": TITLES[domain],
                        "judgement": j.judgement if j else "",
                        "levels": float(j.levels) if j else math.nan,
                        "reason": j.reason if j else "",
                        "facts": row.facts[domain],
                    }
                )
        return pd.DataFrame(out)

    @property
    def about(self) -> MethodsParagraph:
        """The rules behind the table, with their references."""
        cautions = [f"{row.outcome}: {row.judged.caution}" for row in self.rows if row.judged.caution]
        return written([_RULES, *([_ABSOLUTE] if any(row.absolute for row in self.rows) else []), *cautions])

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The table as text; the caller prints it."""
        lines = []
        for row in self.rows:
            fit = row.fit
            lines += [
                row.outcome,
                f"  {known.effect_text(fit)}; participants {_people(row)}; {known.studies(fit.n_studies)}",
            ]
            lines += [f"  {x}" for x in (known.in_plain_words(fit), row.absolute) if x]
            lines.append(f"  certainty: {_certainty(row)}")
            for domain in DOMAINS:
                j = row.judged.judgements.get(domain)
                lines.append(f"  - {TITLES[domain]}: {f'{j.judgement}, because {j.reason}' if j else NOT_JUDGED}")
                lines.append(f"      facts: {row.facts[domain]}")
            lines.append("")
        return "\n".join([*lines, str(self.about)])

    def to_dict(self) -> dict[str, Any]:
        """Findings, judgements and rules as data that JSON can hold; empty texts where nothing was judged."""
        about = self.about
        return {
            "findings": json_rows(self.findings()),
            "judgements": json_rows(self.to_frame()),
            "about": " ".join(about.sentences),
            "references": list(about.references),
        }

    def template(self) -> str:
        """An empty file of judgements for these outcomes."""
        names = [row.outcome for row in self.rows]
        return template(names, [row.outcome for row in self.rows if row.fit.measure in known.BINARY])

    def blocks(self) -> tuple[Block, ...]:
        """The table for a page: the findings, then the judgements on each outcome."""
        binary = any(row.absolute for row in self.rows)
        told = any(known.in_plain_words(row.fit) for row in self.rows)
        head = ("outcome", "effect", *(("in plain words",) if told else ()), *(("absolute effect",) if binary else ()))
        findings = []
        for row in self.rows:
            cells = [row.outcome, known.effect_text(row.fit), *([known.in_plain_words(row.fit)] if told else [])]
            cells += [row.absolute] if binary else []
            findings.append(tuple(map(Cell, (*cells, _people(row), str(row.fit.n_studies), _certainty(row)))))
        tables = [
            Table(
                "grade",
                "Summary of findings. What was judged, and why, stands in the tables below.",
                (*head, "participants", "studies", "certainty"),
                tuple(findings),
            )
        ]
        for i, row in enumerate(self.rows, start=1):
            cells_of = [
                tuple(map(Cell, (TITLES[d], *_judgement(row.judged, d), row.facts[d])))
                for d in DOMAINS
                if d in DOWN or d in row.judged.judgements or row.judged.design != "randomised"
            ]
            tables.append(
                Table(
                    f"grade-{i}",
                    f"Certainty of {row.outcome}; design: {row.judged.design or 'not stated'}.",
                    ("domain", "judgement", "reason", "facts"),
                    tuple(cells_of),
                )
            )
        about = self.about
        return (*tables, Text(" ".join(about.sentences)), Listed("References", about.references))


def grade_table(
    source: Dataset | pd.DataFrame | known.Fit | Mapping[str, known.Fit],
    judgements: str | PathLike[str] | None = None,
    *,
    risk_of_bias: pd.DataFrame | None = None,
) -> GradeTable:
    """A summary of findings whose judgements stay empty until people fill them in, each with its reason.

    The certainty of an outcome is given only when its design and all five reasons to rate down are judged. Beside each
    domain stand the facts that help to judge it (I2 and the prediction interval for inconsistency, say).

    Parameters
    ----------
    source : Dataset, DataFrame, fit or mapping of str to fit
        A dataset of trials (outcomes: symptoms at the end of CBT, and dropout where there are counts); a table with
        ``yi`` and ``vi``, whose column ``outcome`` names the outcomes if it has one; or outcomes that were pooled
        already, by name.
    judgements : path, optional
        TOML or CSV; `GradeTable.template` writes an empty one. See `read_judgements`.
    risk_of_bias : DataFrame, optional
        Judgements on the studies, from `read_risk_of_bias`: counted among the facts.

    Returns
    -------
    GradeTable
        ``findings()``, ``to_frame()``, ``summary()``, ``template()``.

    Raises
    ------
    DataError
        If nothing can be pooled, or a judgement is none that GRADE knows, or has no reason; all faults are in one
        message.
    ValueError
        If `source` is none of these.

    References
    ----------
    Schünemann, Brożek, Guyatt & Oxman (2013), GRADE Handbook; Guyatt et al. (2011), GRADE guidelines 1 and 9;
    Schünemann et al. (2019), GRADE guidelines 18, for ROBINS-I.

    Examples
    --------
    >>> import metamiq as mm
    >>> table = mm.grade_table(mm.effect_sizes(mm.load_dataset("bcg").trials, "RR"))
    >>> found = table.findings().iloc[0]
    >>> print(found["effect"], found["certainty"] or "no certainty yet", sep="; ")
    risk ratio 0.49 (95% interval 0.33 to 0.73); no certainty yet
    """
    fits = outcomes(source)
    stated = {name: Judged(name) for name in fits} if judgements is None else read_judgements(judgements, list(fits))
    rows = []
    for name, fit in fits.items():
        judged = stated[name]
        said = "" if judged.assumed_risk is None else _absolute(fit, judged)
        n, note = known.people(fit)
        rows.append(Finding(judged.outcome, fit, judged, known.facts(fit, risk_of_bias), n, note, said))
    return GradeTable(tuple(rows))


def _absolute(fit: known.Fit, judged: Judged) -> str:
    assert judged.assumed_risk is not None
    try:
        return known.absolute_text(fit, judged.assumed_risk, judged.assumed_risk_source)
    except DataError as error:
        raise DataError(f"Outcome {judged.outcome!r}: {error}") from None


def outcomes(source: Any) -> dict[str, known.Fit]:
    """The pooled outcomes of a dataset, a table, a fit, or several fits by name."""
    if isinstance(source, Dataset):
        if not source.results.empty:
            return of_answers(Answers(source))
        source = source.trials
    if isinstance(source, pd.DataFrame):
        return of_table(source)
    if isinstance(source, PooledEffect | BoundedFit):
        source = {"outcome": source}
    if isinstance(source, Mapping) and source:
        wrong = [name for name, fit in source.items() if not isinstance(fit, PooledEffect | BoundedFit)]
        moderated = [name for name, fit in source.items() if isinstance(fit, BoundedFit) and len(fit.beta) != 1]
        if not wrong and not moderated:
            return {str(name): fit for name, fit in source.items()}
        named = ", ".join(map(repr, wrong or moderated))
        raise ValueError(f"Each outcome must be a fit with one mean, but {named} is not. Fit it with random_effects.")
    raise ValueError(
        f"grade_table takes a Dataset, a table with yi and vi, or fits by outcome, not a {type(source).__name__}."
    )


def of_answers(answers: Answers) -> dict[str, known.Fit]:
    """The outcomes of the first question."""
    if isinstance(answers.pooled, CannotFit):
        raise DataError(answers.pooled.reason)
    found: dict[str, known.Fit] = {SYMPTOMS: answers.pooled}
    if "OR" in answers.dropout_common:
        found[DROPOUT] = answers.dropout_common["OR"]
    return found


def of_table(
    effects: pd.DataFrame, *, method: str = "REML", test: str = "knha", level: float = 0.95, pi_method: str = "test"
) -> dict[str, known.Fit]:
    """The outcomes of an effects table: one for each value of its column `outcome`, or one in all."""
    if not {"yi", "vi"} <= set(effects.columns):
        raise DataError(
            "A table of outcomes must have yi and vi, but its columns are "
            f"{', '.join(map(str, effects.columns))}. Compute them with metamiq.effect_sizes first."
        )
    if "outcome" in effects and effects["outcome"].nunique() > 1:
        if effects["outcome"].isna().any():
            empty = ", ".join(str(i) for i, none in enumerate(effects["outcome"].isna(), start=1) if none)
            raise DataError(
                f"Where a table has several outcomes, each row must say which is its own, but row {empty} does not. "
                "Fill in the column outcome."
            )
        names: Sequence[str] = list(dict.fromkeys(str(x) for x in effects["outcome"]))
        parts = {name: effects.loc[effects["outcome"].astype(str) == name] for name in names}
    else:
        parts = {"outcome": effects}
    return {
        name: random_effects(part, method=method, test=test if len(part) > 1 else "z", level=level, pi_method=pi_method)
        for name, part in parts.items()
    }


def _people(row: Finding) -> str:
    if math.isnan(row.people):
        return f"not known ({row.people_note})"
    return f"{row.people:.0f}" + (f" ({row.people_note})" if row.people_note else "")


def _certainty(row: Finding) -> str:
    if row.certainty is None:
        return f"{NOT_JUDGED} (missing: {', '.join(row.judged.missing)})"
    return f"{_SIGNS[row.certainty]} {row.certainty}"


def _judgement(judged: Judged, domain: str) -> tuple[str, str]:
    j = judged.judgements.get(domain)
    if j is None:
        return NOT_JUDGED, ""
    return f"{j.judgement} ({cell_text(float(j.levels)) if j.levels else '0'})", j.reason
