"""`metamiq report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from metamiq.cli.common import guarded, open_dataset, read_study_table, say, table_options

if TYPE_CHECKING:
    from metamiq.report.document import Document

FORMATS = {"html": "report.html", "md": "report.md", "json": "report.json"}


@click.command()
@click.argument("source", metavar="DATASET|FILE", default="mi_cbt_anxiety")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write; - for stdout. Default: report.html, report.md or report.json.",
)
@click.option("--format", "kind", type=click.Choice(list(FORMATS)), help="Default: by the ending of --out, else html.")
@click.option("--measure", help="Effect-size measure of a study table, when it has no yi and vi.")
@click.option("--method", default="REML", show_default=True, help="Estimator of tau2 for a study table.")
@click.option("--test", default="knha", show_default=True, help="knha, z, t or adhoc, for a study table.")
@click.option("--groups", nargs=2, default=("group 1", "group 2"), help="Names of the two groups of a study table.")
@table_options
@guarded
def report(
    source: str,
    out: Path | None,
    kind: str | None,
    measure: str | None,
    method: str,
    test: str,
    groups: tuple[str, str],
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
) -> None:
    """Write one page that answers, shows, explains and lets its reader ask "what if".

    \b
    Example:
      metamiq report mi_cbt_anxiety --out report.html
      metamiq report trials.csv --measure SMD --groups treated control

    DATASET is a bundled dataset's name or a folder, FILE a study table (CSV or .xlsx). The page needs no network and no
    other file.
    """
    from metamiq.report.markdown import markdown
    from metamiq.report.page import page
    from metamiq.report.writing import json_text, write_file

    if kind is None:
        ending = "" if out is None else out.suffix.lower().lstrip(".")
        kind = {"markdown": "md", "htm": "html"}.get(ending, ending if ending in FORMATS else "html")
    target = Path(FORMATS[kind]) if out is None else out
    given = (sheet, columns, where)
    document = _document(source, given, measure, method, test, groups)
    text = page(document) if kind == "html" else markdown(document) if kind == "md" else json_text(document.data)
    if str(target) == "-":
        click.echo(text, nl=False)
        return
    write_file(target, text)
    say(f"written: {target}")


def _document(
    source: str,
    given: tuple[str | None, tuple[str, ...], tuple[str, ...]],
    measure: str | None,
    method: str,
    test: str,
    groups: tuple[str, str],
) -> Document:
    from metamiq.pooling.models import random_effects
    from metamiq.report import first_question, study_report
    from metamiq.report.reproduce import assemble

    path = Path(source)
    if path.is_file():
        table, name = read_study_table(path, *given), path.stem
    else:
        if any(given):
            raise ValueError("--sheet, --column and --where are for a study table in a file, not for a dataset.")
        ds = open_dataset(source)
        if not ds.results.empty:
            return first_question.document(*assemble(ds, say))
        table, name = ds.trials, ds.name
    from metamiq.cli.study_tables import with_effects

    effects = with_effects(table, measure)
    return study_report.document(random_effects(effects, method=method, test=test), name, groups)
