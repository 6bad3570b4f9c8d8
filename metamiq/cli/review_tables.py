"""`metamiq characteristics` and `metamiq grade`: tables of a review."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metamiq.cli.common import (
    Source,
    group_options,
    guarded,
    name_groups,
    open_source,
    read_judgements,
    refuse_choices,
    say,
    table_options,
    tool_option,
)
from metamiq.cli.protocol import protocol_for, protocol_option

if TYPE_CHECKING:
    from metamiq.report.document import Block

FORMATS = {"table": "txt", "csv": "csv", "markdown": "md", "html": "html", "json": "json"}
_SOURCE = click.argument("source", metavar="DATASET|FILE", default="mi_cbt_anxiety")
_FORMAT = click.option(
    "--format", "kind", type=click.Choice(list(FORMATS)), help="Default: by the ending of --out, else table."
)
_OUT = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; by default stdout.")


@click.command()
@_SOURCE
@_FORMAT
@_OUT
@table_options
@guarded
def characteristics(
    source: str,
    kind: str | None,
    out: Path | None,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
) -> None:
    """Write the study characteristics table of a dataset or a study table.

    \b
    Example:
      metamiq characteristics mi_cbt_anxiety --out characteristics.html
      metamiq characteristics trials.csv --format markdown

    DATASET is a bundled dataset's name or a folder, FILE a study table (CSV or .xlsx). What the data do not hold is
    "not reported".
    """
    from metamiq.report.characteristics import block
    from metamiq.report.characteristics import characteristics as describe
    from metamiq.report.content import json_rows
    from metamiq.report.writing import csv_text, json_text

    opened = open_source(source, sheet, columns, where)
    if opened.dataset is None:
        from metamiq.cli.study_tables import check_size

        check_size(opened.table, "A table of characteristics", 10_000)
    table = describe(opened.content)
    title = f"{opened.name}: study characteristics"
    made: dict[str, Callable[[], str]] = {
        "table": lambda: _terminal(block(table)),
        "csv": lambda: csv_text(table),
        "json": lambda: json_text({"dataset": opened.name, "studies": json_rows(table)}),
        **_documents(title, "characteristics", "Study characteristics", (block(table),)),
    }
    _give(made, kind, out)


@click.command()
@_SOURCE
@click.option(
    "--judgements", type=click.Path(path_type=Path, dir_okay=False), help="TOML or CSV; default: grade.toml beside it."
)
@click.option("--template", is_flag=True, help="Write an empty file of judgements (TOML) instead.")
@click.option("--rob", type=click.Path(path_type=Path, dir_okay=False), help="Risk-of-bias judgements to count (CSV).")
@tool_option
@click.option("--measure", help="Effect-size measure of a study table, when it has no yi and vi.")
@click.option("--method", help="Estimator of tau2 for a study table. Default: the protocol's, or REML.")
@click.option("--test", help="knha, z, t or adhoc, for a study table. Default: the protocol's, or knha.")
@protocol_option
@group_options
@_FORMAT
@_OUT
@table_options
@guarded
def grade(
    source: str,
    judgements: Path | None,
    template: bool,
    rob: Path | None,
    tool: str | None,
    measure: str | None,
    method: str | None,
    test: str | None,
    protocol: str | None,
    groups: tuple[str, str] | None,
    better: str | None,
    kind: str | None,
    out: Path | None,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
) -> None:
    """Write a GRADE summary of findings; what nobody has judged stays empty.

    \b
    Example:
      metamiq grade mi_cbt_anxiety --template --out grade.toml
      metamiq grade mi_cbt_anxiety --judgements grade.toml --out findings.html

    Beside each domain stand the numbers that help to judge it. A judgement needs a reason; the certainty of an outcome
    is given once its design and the five reasons to rate down are judged.
    """
    from metamiq.report.grade import grade_table
    from metamiq.report.review import GRADE, RISK_OF_BIAS
    from metamiq.report.writing import csv_text, json_text

    opened = open_source(source, sheet, columns, where)
    judgements = judgements or (None if template else _beside(opened.home, GRADE))
    judged = rob or _beside(opened.home, RISK_OF_BIAS)
    pooled = _outcomes(opened, protocol, (groups, better), measure=measure, method=method, test=test)
    found = grade_table(pooled, judgements, risk_of_bias=None if judged is None else read_judgements(judged, tool))
    if template:
        if kind is not None:
            raise ValueError("--template writes TOML; leave --format out.")
        _write(found.template(), out)
        return
    made: dict[str, Callable[[], str]] = {
        "table": lambda: found.summary() + "\n",
        "csv": lambda: csv_text(found.findings().merge(found.to_frame(), on="outcome")),
        "json": lambda: json_text({"dataset": opened.name, **found.to_dict()}),
        **_documents(f"{opened.name}: summary of findings", "certainty", "Certainty of the evidence", found.blocks()),
    }
    _give(made, kind, out)


def _beside(folder: Path, name: str) -> Path | None:
    if not (folder / name).is_file():
        return None
    say(f"note: {folder / name} read")
    return folder / name


def _outcomes(
    opened: Source,
    protocol: str | None,
    arms: tuple[tuple[str, str] | None, str | None],
    **given: str | None,
) -> Any:
    """What is to be graded: a dataset of trials as it is, of a study table the outcomes, pooled as a report does it."""
    from metamiq.cli.study_tables import settings_of, with_effects
    from metamiq.report.grade import of_table

    if opened.evidence is not None:
        refuse_choices(**given)
        return opened.evidence
    use = settings_of(protocol_for(protocol, opened.home), opened.table, **given)
    effects = with_effects(opened.table, use.measure, use.vtype)
    name_groups(effects, *arms)
    return of_table(effects, method=use.method, test=use.test, level=use.level, pi_method=use.pi_method)


def _documents(title: str, key: str, heading: str, blocks: tuple[Block, ...]) -> dict[str, Callable[[], str]]:
    from metamiq.report.document import Document, Section
    from metamiq.report.markdown import markdown
    from metamiq.report.page import page

    whole = Document(title, (), (), (Section(key, heading, blocks),), {})
    return {"markdown": lambda: markdown(whole), "html": lambda: page(whole)}


def _terminal(table: Any) -> str:
    """Each study with its characteristics below it: rows with many words do not fit beside each other."""
    lines = []
    for row in table.rows:
        lines.append(row[0].text)
        lines += [f"  {head}: {cell.text}" for head, cell in zip(table.head[1:], row[1:], strict=True)]
    return "\n".join([table.caption, "", *lines]) + "\n"


def _give(made: dict[str, Callable[[], str]], kind: str | None, out: Path | None) -> None:
    if kind is None:
        endings = {ending: name for name, ending in FORMATS.items()} | {"htm": "html", "markdown": "markdown"}
        ending = "txt" if out is None else out.suffix.lower().lstrip(".")
        if ending not in endings:
            known = ", ".join(f".{e}" for e in endings)
            raise ValueError(f"--out must end in one of {known}, or --format must say what to write, not {str(out)!r}.")
        kind = endings[ending]
    _write(made[kind](), out)


def _write(text: str, out: Path | None) -> None:
    from metamiq.report.writing import write_file

    if out is None:
        click.echo(text, nl=False)
        return
    write_file(out, text)
    say(f"written: {out}")
