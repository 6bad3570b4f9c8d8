"""`metamiq report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from metamiq.cli.common import (
    group_options,
    guarded,
    name_groups,
    open_source,
    refuse_choices,
    say,
    table_options,
    tool_option,
)
from metamiq.cli.protocol import protocol_for, protocol_option

if TYPE_CHECKING:
    from metamiq.report.document import Document

_FILE = click.Path(path_type=Path, dir_okay=False)
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
@click.option("--method", help="Estimator of tau2 for a study table. Default: the protocol's, or REML.")
@click.option("--test", help="knha, z, t or adhoc, for a study table. Default: the protocol's, or knha.")
@protocol_option
@group_options
@click.option("--flow", type=_FILE, help="Counts of the PRISMA flow diagram (CSV). Default: flow.csv beside the data.")
@click.option("--rob", type=_FILE, help="Risk-of-bias judgements (CSV). Default: risk_of_bias.csv beside the data.")
@tool_option
@click.option("--grade", type=_FILE, help="Judgements on certainty (TOML, CSV). Default: grade.toml beside the data.")
@table_options
@guarded
def report(
    source: str,
    out: Path | None,
    kind: str | None,
    measure: str | None,
    method: str | None,
    test: str | None,
    protocol: str | None,
    groups: tuple[str, str] | None,
    better: str | None,
    flow: Path | None,
    rob: Path | None,
    tool: str | None,
    grade: Path | None,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
) -> None:
    """Write one page that answers, shows, explains and lets its reader ask "what if".

    \b
    Example:
      metamiq report mi_cbt_anxiety --out report.html
      metamiq report trials.csv --measure SMD --groups treated control --better lower

    DATASET is a bundled dataset's name or a folder, FILE a study table (CSV or .xlsx). The page needs no network and no
    other file. A review's flow of studies, risk of bias and certainty of evidence are shown when there is a file.
    """
    from metamiq.report.markdown import markdown
    from metamiq.report.page import page
    from metamiq.report.writing import json_text, write_file

    if kind is None:
        ending = "" if out is None else out.suffix.lower().lstrip(".")
        kind = {"markdown": "md", "htm": "html"}.get(ending, ending if ending in FORMATS else "html")
    target = Path(FORMATS[kind]) if out is None else out
    given = (sheet, columns, where)
    document = _document(source, given, measure, method, test, protocol, (groups, better), (flow, rob, grade), tool)
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
    method: str | None,
    test: str | None,
    protocol: str | None,
    arms: tuple[tuple[str, str] | None, str | None],
    review: tuple[Path | None, Path | None, Path | None],
    tool: str | None,
) -> Document:
    from metamiq.pooling.models import random_effects
    from metamiq.report import first_question, study_report
    from metamiq.report.reproduce import assemble
    from metamiq.report.review import find_review

    flow, rob, grade = review
    opened = open_source(source, *given)
    if opened.evidence is not None:
        refuse_choices(measure=measure, method=method, test=test)
        found = find_review(opened.home, flow=flow, risk_of_bias=rob, grade=grade, tool=tool)
        plan = protocol_for(protocol, opened.home)
        return first_question.document(*assemble(opened.evidence, say, protocol=plan, review=found))
    from metamiq.cli.study_tables import check_size, settings_of, with_effects

    plan = protocol_for(protocol, opened.home)
    use = settings_of(plan, opened.table, measure=measure, method=method, test=test)
    effects = with_effects(opened.table, use.measure, use.vtype)
    check_size(effects, "A report", 10_000)
    name_groups(effects, *arms)
    fit = random_effects(effects, method=use.method, test=use.test, level=use.level, pi_method=use.pi_method)
    found = find_review(opened.home, flow=flow, risk_of_bias=rob, grade=grade, tool=tool)
    return study_report.document(fit, opened.name, arms[0] or ("group 1", "group 2"), plan, use.vtype, found)
