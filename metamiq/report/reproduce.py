"""Everything that `metamiq reproduce` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from metamiq.datasets import Dataset
from metamiq.question import Answers
from metamiq.report import content
from metamiq.report.figures import first_question
from metamiq.report.page import page
from metamiq.report.writing import csv_text, json_text, write_folder
from metamiq.verdicts import Audit, audit

XML = '<?xml version="1.0" encoding="utf-8"?>\n'


class Reproduction(NamedTuple):
    """What was computed and what was written."""

    answers: Answers
    audit: Audit
    tables: dict[str, pd.DataFrame]
    files: list[Path]


def reproduce(ds: Dataset, folder: Path, progress: Callable[[str], None] = lambda message: None) -> Reproduction:
    """Pool, test, audit, draw and report one dataset of trials of MI added to CBT.

    Parameters
    ----------
    ds : Dataset
        The evidence.
    folder : Path
        Where report.html, results.json, the figures (SVG) and tables (CSV) go. Nothing is written unless all is ready.
    progress : callable
        Told what is being done.

    Raises
    ------
    DataError
        If nothing can be pooled or the folder cannot be written.
    """
    progress("reading the evidence and pooling")
    answers = Answers(ds)
    progress("comparing with the published claims")
    verdicts = audit(answers)
    tables = content.tables(answers, verdicts)
    progress("drawing")
    figures = first_question(answers)
    progress("writing the report")
    files: dict[str, str | bytes] = {
        "report.html": page(answers, verdicts, tables, figures),
        "results.json": json_text(content.results(answers, verdicts, tables)),
    }
    files |= {f"{name}.svg": XML + svg for name, svg in figures.items()}
    files |= {f"tables/{name}.csv": csv_text(table) for name, table in tables.items()}
    return Reproduction(answers, verdicts, tables, write_folder(folder, files))
