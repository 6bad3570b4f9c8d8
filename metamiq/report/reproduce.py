"""Everything that `metamiq reproduce` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.question import Answers, CannotFit
from metamiq.report import content, planned, what_if
from metamiq.report.choices import ChoicesFound, choices_of
from metamiq.report.figures import first_question, published_mean
from metamiq.report.first_question import document, small_study_of
from metamiq.report.markdown import markdown
from metamiq.report.page import page
from metamiq.report.review import NOTHING, Review, ReviewParts, outcomes_of, review_parts
from metamiq.report.second_process import SecondProcess
from metamiq.report.writing import csv_text, json_text, refuse_a_file, write_folder
from metamiq.verdicts import Audit, audit

if TYPE_CHECKING:
    from metamiq.protocol.compliance import Compliance
    from metamiq.protocol.record import Protocol
    from metamiq.sensitivity.small_study_overview import SmallStudyEffects

XML = '<?xml version="1.0" encoding="utf-8"?>\n'


class Reproduction(NamedTuple):
    """What was computed and what was written."""

    answers: Answers
    audit: Audit
    tables: dict[str, pd.DataFrame]
    files: list[Path]
    planned: Compliance | None = None


class Parts(NamedTuple):
    """What a document is put together from."""

    answers: Answers
    audit: Audit
    tables: dict[str, pd.DataFrame]
    figures: dict[str, str]
    panel: what_if.WhatIf | CannotFit
    choices: ChoicesFound | CannotFit
    planned: Compliance | None = None
    small: SmallStudyEffects | None = None
    review: ReviewParts = ReviewParts()


def assemble(
    ds: Dataset,
    progress: Callable[[str], None] = lambda message: None,
    second: SecondProcess | None = None,
    protocol: Protocol | None = None,
    review: Review = NOTHING,
) -> Parts:
    """Pool, test, audit, draw, and compute what other choices would give; say what of it was planned."""
    progress("reading the evidence and pooling")
    answers = Answers(ds)
    published = published_mean(answers)
    printed = published[1].removeprefix("published ") if published else ""
    if second is not None:
        second.give(what_if.of_dataset, ds, answers.level, printed)
    progress("comparing with the published claims")
    verdicts = audit(answers)
    tables = content.tables(answers, verdicts)
    progress("drawing")
    figures = first_question(answers, review.beside(answers.effects))
    shown = review_parts(ds, answers.effects, lambda: outcomes_of(answers), review)
    figures |= shown.figures
    progress("running all choices at once")
    choices = choices_of(ds, printed)
    progress("computing what every choice of trials would give")
    panel = what_if.first_question(answers, printed) if second is None else second.answer()
    if not isinstance(choices, CannotFit):
        figures["choices"] = choices.svg
        tables |= {"choices": choices.moves, "options": choices.options}
    small, found = None, None
    if protocol is not None:
        small = small_study_of(answers)
        found = planned.first_question(protocol, answers, tables, panel, choices, small)
        tables = planned.label_first_question(tables, found)
    return Parts(answers, verdicts, {**tables, **shown.tables}, figures, panel, choices, found, small, shown)


def reproduce(
    ds: Dataset,
    folder: Path,
    progress: Callable[[str], None] = lambda message: None,
    second: SecondProcess | None = None,
    protocol: Protocol | None = None,
    review: Review = NOTHING,
) -> Reproduction:
    """Pool, test, audit, draw and report one dataset of trials of MI added to CBT.

    Parameters
    ----------
    ds : Dataset
        The evidence.
    folder : Path
        Where report.html, report.md, results.json, the figures (SVG) and tables (CSV) go. Nothing is written unless
        all is ready.
    progress : callable
        Told what is being done.
    second : SecondProcess, optional
        Computes what every choice of trials would give, while this process tests and draws. The numbers are the same.
    protocol : Protocol, optional
        By which every analysis is labelled planned or not planned.
    review : Review, optional
        Flow of studies, risk of bias, certainty of the evidence; see `review.find_review`.

    Raises
    ------
    DataError
        If nothing can be pooled or the folder cannot be written.
    """
    refuse_a_file(folder)  # before the work, not after it
    parts = assemble(ds, progress, second, protocol, review)
    progress("writing the report")
    whole = document(*parts)
    files: dict[str, str | bytes] = {
        "report.html": page(whole),
        "report.md": markdown(whole, {name: f"{name}.svg" for name in parts.figures}),
        "results.json": json_text(whole.data),
    }
    files |= {f"{name}.svg": XML + svg for name, svg in parts.figures.items()}
    files |= {f"tables/{name}.csv": csv_text(table) for name, table in parts.tables.items()}
    return Reproduction(parts.answers, parts.audit, parts.tables, write_folder(folder, files), parts.planned)
