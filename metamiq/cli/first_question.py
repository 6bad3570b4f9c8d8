"""`metamiq reproduce` and `metamiq audit`."""

from __future__ import annotations

from pathlib import Path

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_dataset, say


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("metamiq-report"),
    show_default=True,
    help="Folder for report.html, results.json, figures and tables.",
)
@click.option("--dataset", default="mi_cbt_anxiety", show_default=True, help="A bundled dataset's name, or a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def reproduce(out: Path, dataset: str, as_json: bool) -> int:
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
        from metamiq.report.writing import json_text

        done = run(open_dataset(dataset), out, say, second)
    if as_json:
        click.echo(json_text(content.results(done.answers, done.audit, done.tables)), nl=False)
    else:
        terminal.show_answers(done.answers, done.tables)
    say(
        f"written: {len(done.files)} files in {out}{'' if str(out).endswith('/') else '/'} (open {out / 'report.html'})"
    )
    return 0 if done.audit.agrees else EXIT_DISAGREES


@click.command()
@click.argument("dataset", default="mi_cbt_anxiety")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def audit(dataset: str, as_json: bool) -> int:
    """Compare published claims with the evidence of DATASET.

    \b
    Example:
      metamiq audit mi_cbt_anxiety

    DATASET is a bundled dataset's name or a folder. Exit code 1: a claim is inconsistent.
    """
    from metamiq.report import content, terminal
    from metamiq.report.writing import json_text
    from metamiq.verdicts import audit as compare

    verdicts = compare(open_dataset(dataset))
    if as_json:
        rows = [{str(k): content.json_value(v) for k, v in r.items()} for r in verdicts.table.to_dict(orient="records")]
        click.echo(
            json_text({"dataset": verdicts.answers.ds.name, "verdicts": rows, "agrees": verdicts.agrees}), nl=False
        )
    else:
        terminal.show_verdicts(verdicts.table)
    return 0 if verdicts.agrees else EXIT_DISAGREES
