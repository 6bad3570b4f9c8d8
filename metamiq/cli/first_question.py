"""`metamiq reproduce` and `metamiq audit`."""

from __future__ import annotations

from pathlib import Path

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_dataset, say
from metamiq.cli.protocol import protocol_for, protocol_option


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("metamiq-report"),
    show_default=True,
    help="Folder for report.html, results.json, figures and tables.",
)
@click.option("--dataset", default="mi_cbt_anxiety", show_default=True, help="A bundled dataset's name, or a folder.")
@protocol_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def reproduce(out: Path, dataset: str, protocol: str | None, as_json: bool) -> int:
    """Answer the first question: whether MI added to CBT helps with anxiety.

    \b
    Example:
      metamiq reproduce --out answer

    Reads the bundled evidence, pools effect sizes and bounds, tests moderators, compares with the published claims, and
    writes report.html, results.json, figures (SVG) and tables (CSV). Exit code 1: a published claim is inconsistent.
    """
    from metamiq.report.second_process import SecondProcess

    with SecondProcess() as second:
        from metamiq.report import content, terminal
        from metamiq.report.reproduce import reproduce as run
        from metamiq.report.review import find_review
        from metamiq.report.writing import json_text

        ds = open_dataset(dataset)
        done = run(ds, out, say, second, protocol_for(protocol, ds.path), find_review(ds.path))
    if as_json:
        click.echo(json_text(content.results(done.answers, done.audit, done.tables, done.planned)), nl=False)
    else:
        terminal.show_answers(done.answers, done.tables, done.planned)
    say(
        f"written: {len(done.files)} files in {out}{'' if str(out).endswith('/') else '/'} (open {out / 'report.html'})"
    )
    return 0 if done.audit.agrees else EXIT_DISAGREES


@click.command()
@click.argument("dataset", default="mi_cbt_anxiety")
@protocol_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def audit(dataset: str, protocol: str | None, as_json: bool) -> int:
    """Compare published claims with the evidence of DATASET.

    \b
    Example:
      metamiq audit mi_cbt_anxiety

    DATASET is a bundled dataset's name or a folder. Exit code 1: a claim is inconsistent.
    """
    from metamiq.protocol.record import NO_PROTOCOL
    from metamiq.report import content, terminal
    from metamiq.report.writing import json_text
    from metamiq.verdicts import audit as compare

    ds = open_dataset(dataset)
    plan = protocol_for(protocol, ds.path)
    verdicts = compare(ds)
    table, note = verdicts.table, NO_PROTOCOL
    if plan is not None:
        label, note = plan.planned("sensitivity", "audit").label, plan.note
        table = table.assign(planned=label)
    if as_json:
        answer = {"dataset": ds.name, "verdicts": content.json_rows(table), "agrees": verdicts.agrees}
        click.echo(json_text(answer | {"protocol": {"note": note}}), nl=False)
    else:
        terminal.show_verdicts(table)
        click.echo(note)
    return 0 if verdicts.agrees else EXIT_DISAGREES
