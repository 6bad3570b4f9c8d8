"""`metamiq prisma` and `metamiq rob`: what a review reports beside its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metamiq.cli.common import EXIT_DISAGREES, check_picture, guarded, save_picture, say, tool_option

if TYPE_CHECKING:
    import pandas as pd

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
_OUT = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture here (.svg, .pdf or .png)."
)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_OUT
@click.option("--updated", is_flag=True, help="Without FILE: the template for a review that updates an earlier one.")
@_JSON
@guarded
def prisma(file: Path | None, out: Path | None, updated: bool, as_json: bool) -> int:
    """Check the counts of a PRISMA 2020 flow diagram (CSV) and draw it; without FILE print a template.

    \b
    Example:
      metamiq prisma > counts.csv
      metamiq prisma counts.csv --out flow.svg

    Exit code 1: the counts do not add up; each break is a sentence with its line. The template of the R package
    PRISMA2020 is read as well.
    """
    from metamiq.datasets.flow import flow_template, read_flow
    from metamiq.datasets.flow_arithmetic import flow_arithmetic

    if file is None:
        if out is not None or as_json:
            raise ValueError("--out and --json need the counts: metamiq prisma counts.csv --out flow.svg.")
        click.echo(flow_template(updated), nl=False)
        return 0
    check_picture(out, "--out")
    flow = read_flow(file)
    checks = flow_arithmetic(flow)
    broken = checks.loc[checks["holds"].eq(False), "finding"].tolist()
    if as_json:
        _print_json({"file": str(file), "counts": _records(flow), "checks": _records(checks), "agrees": not broken})
    else:
        _notes(flow)
        _print_counts(flow)
        _print_checks(checks)
    if out is not None:
        from metamiq import plots

        save_picture(plots.flow_diagram(flow), out)
    return EXIT_DISAGREES if broken else 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@tool_option
@click.option("--summary", is_flag=True, help="The share of each judgement by domain in place of each study's.")
@_OUT
@_JSON
@guarded
def rob(file: Path, tool: str | None, summary: bool, out: Path | None, as_json: bool) -> int:
    """Show risk-of-bias judgements (CSV as robvis reads it), check them against their tool's rule, and draw them.

    \b
    Example:
      metamiq rob rob2.csv --out lights.svg
      metamiq rob rob2.csv --summary --out summary.svg

    The columns are the study, the tool's domains in order, Overall and, for --summary, maybe Weight. Exit code 1: an
    overall judgement is milder than the worst domain.
    """
    from metamiq.datasets.risk_of_bias import read_risk_of_bias, risk_of_bias_findings

    check_picture(out, "--out")
    judged = read_risk_of_bias(file, tool)
    findings = risk_of_bias_findings(judged)
    weights = judged["weight"] if "weight" in judged and judged["weight"].notna().all() else None
    if as_json:
        shown: dict[str, Any] = {"file": str(file), "tool": judged.attrs["tool"], "domains": judged.attrs["domains"]}
        _print_json({**shown, "studies": _records(judged), "findings": findings, "agrees": not findings})
    else:
        _notes(judged)
        if summary:
            from metamiq.plots.rob_summary import rob_summary_rows

            title = "Percent of studies" if weights is None else "Percent of the weight"
            click.echo(title)
            click.echo(rob_summary_rows(judged, weights).to_string(index=False, float_format=lambda x: f"{x:.1f}"))
        else:
            _print_table(judged.drop(columns="line"), f"Risk of bias ({judged.attrs['tool']})")
        for code, title in judged.attrs["domains"].items():
            if not summary:
                click.echo(f"{code}: {title}")
        for finding in findings:
            click.echo(f"\n{finding}")
    if out is not None:
        from metamiq import plots

        save_picture(plots.rob_summary(judged, weights) if summary else plots.traffic_lights(judged), out)
    return EXIT_DISAGREES if findings else 0


def _notes(table: pd.DataFrame) -> None:
    for note in table.attrs.get("notes", ()):
        say(f"note: {note}")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    from metamiq.report import content

    return [{str(k): content.json_value(v) for k, v in row.items()} for row in table.to_dict(orient="records")]


def _print_json(value: dict[str, Any]) -> None:
    from metamiq.report.writing import json_text

    click.echo(json_text(value), nl=False)


def _print_table(table: pd.DataFrame, title: str) -> None:
    from metamiq.report.terminal import show_table

    show_table(table, {str(c): str(c) for c in table.columns}, title)


def _print_counts(flow: pd.DataFrame) -> None:
    shown = flow.assign(
        n=["not stated" if n != n else f"{int(n):,}" for n in flow["n"]],
        reason=[" ".join((reason or "").split()) for reason in flow["reason"]],
    )
    _print_table(shown[["key", "n", "reason"]], "Counts")


def _print_checks(checks: pd.DataFrame) -> None:
    words = {True: "agrees", False: "DOES NOT AGREE"}
    for row in checks.to_dict(orient="records"):
        click.echo(f"{words.get(row['holds'], 'open')}: {row['check']}")
        if row["finding"]:
            click.echo(f"  {row['finding']}")
