"""`metamiq new-trial`, `todo`, `copy-dataset`, `add`, `restore`, `diff`, `reconcile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_dataset, say

if TYPE_CHECKING:
    from metamiq.living.dry_run import Plan

_BUNDLED = "mi_cbt_anxiety"
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.command("new-trial")
@click.option(
    "--dataset", default=_BUNDLED, show_default=True, help="Dataset that the trial is for: a name or a folder."
)
@click.option("--trial", help="A trial of the dataset to complete or correct: its keys are filled in.")
@click.option("--format", "form", type=click.Choice(["csv", "toml", "xlsx"]), default="csv", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; by default new-trial.FORMAT."
)
@guarded
def new_trial(dataset: str, trial: str | None, form: str, out: Path | None) -> None:
    """Write a template for a new trial: every field with meaning, unit, allowed values and an example.

    \b
    Example:
      metamiq new-trial --trial westra2009 --format toml
    """
    from metamiq.errors import DataError
    from metamiq.files import at_home, new_file
    from metamiq.living.template import template_text, template_workbook

    ds = open_dataset(dataset)
    content = template_workbook(ds, trial) if form == "xlsx" else template_text(form, ds, trial).encode()
    target = out or Path(f"new-trial.{form}")
    try:
        new_file(at_home(target), content)
    except FileExistsError:
        raise DataError(f"The template must be a new file, but {target} exists. Choose another --out.") from None
    except OSError as error:
        raise DataError(f"{target} must be writable, but the system says {error.strerror!r}. Choose --out.") from None
    place = "" if dataset == _BUNDLED else f" --dataset {dataset}"
    say(f"written: {target} (fill in the column value; then: metamiq add {target}{place})")


@click.command()
@click.argument("dataset", default=_BUNDLED)
@_JSON
@guarded
def todo(dataset: str, as_json: bool) -> None:
    """List which trials of DATASET lack which numbers, what each would buy, and where it is published.

    \b
    Example:
      metamiq todo mi_cbt_anxiety
    """
    from metamiq.living.todo import todo as list_gaps
    from metamiq.report import content, terminal
    from metamiq.report.writing import json_text

    table = list_gaps(open_dataset(dataset))
    if as_json:
        rows = [{str(k): content.json_value(v) for k, v in r.items()} for r in table.to_dict(orient="records")]
        click.echo(json_text({"dataset": dataset, "trials": rows}), nl=False)
        return
    columns = {"label": "trial", "now": "now", "n1i": "n MI", "n2i": "n CBT", "width_now": "width",
               "width_expected": "as a point", "narrower": "narrower %"}  # fmt: skip
    terminal.show_table(
        table,
        columns,
        "What is known now, and how wide the pooled 95% interval is and would be if the trial were a point",
    )
    for row in table.to_dict(orient="records"):
        if row["where"] or row["why_not"]:
            click.echo(f"{row['label']}: {row['where'] or row['why_not']}")


@click.command("copy-dataset")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@guarded
def copy_dataset(name: str, folder: Path) -> None:
    """Copy the bundled dataset NAME to a new FOLDER of your own, where it can be changed.

    \b
    Example:
      metamiq copy-dataset mi_cbt_anxiety my-evidence
    """
    from metamiq.living.folders import copy_dataset as copy

    say(f"written: {copy(name, folder)} (to change it: metamiq add FILE --dataset {folder})")


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--dataset", default=_BUNDLED, show_default=True, help="Folder of the dataset; a bundled name for a dry run."
)
@click.option("--remove", multiple=True, metavar="ID", help="In place of FILE: take this trial, or result, out.")
@click.option("--replace", is_flag=True, help="Allow corrections of rows that are in the dataset.")
@click.option("--accept", "accepted", is_flag=True, help="Write the change; without it nothing is written.")
@click.option("--why", "--because", default="", help="Reason for the change, in place of the template's.")
@click.option("--by", default="", help="Who read the source, in place of the template's.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the comparison and its figures."
)
@_JSON
@guarded
def add(
    file: Path | None,
    dataset: str,
    remove: tuple[str, ...],
    replace: bool,
    accepted: bool,
    why: str,
    by: str,
    out: Path | None,
    as_json: bool,
) -> int:
    """Check the filled template FILE and show the answer before and after; write only with --accept.

    \b
    Examples:
      metamiq add new-trial.csv --dataset my-evidence
      metamiq add --remove westra2009 --because "retracted" --dataset my-evidence

    Corrections, and numbers for a trial that is a bound so far, work the same way with --replace. Exit code 1: the
    rules of `check` find an error that was not there before.
    """
    from metamiq.errors import DataError
    from metamiq.living.dry_run import plan
    from metamiq.living.removal import plan_removal
    from metamiq.living.transaction import accept
    from metamiq.report.writing import json_text

    if (file is None) == (not remove):
        raise ValueError("Give either the FILE of a filled template or --remove ID.")
    ds = open_dataset(dataset)
    if accepted and not Path(dataset).is_dir():
        raise DataError(
            f"The data that come with metamiq must stay as they are, but --dataset is {dataset!r}. Copy them first: "
            f"metamiq copy-dataset {dataset} FOLDER, then --dataset FOLDER."
        )
    if file is None:
        change = plan_removal(ds.path, remove, why=why, by=by)
    else:
        change = plan(ds.path, file, replace=replace, why=why, by=by)
    version = accept(change) if accepted else None
    if as_json:
        click.echo(json_text({**_as_dict(change), "accepted": accepted, "version": version}), nl=False)
    else:
        click.echo(change.summary())
    if out is not None:
        _write_comparison(change, out)
    if version is not None:
        say(f"written: version {version} of {change.folder}; the version before is kept in its .history folder")
    else:
        say("nothing was written to the dataset; --accept writes this change")
    return EXIT_DISAGREES if len(change.errors) else 0


def _as_dict(change: Plan) -> dict[str, Any]:
    return {**change.difference.to_dict(), "new_findings": change.findings.to_dict(orient="records")}


def _write_comparison(change: Plan, out: Path) -> None:
    from metamiq.living.pictures import pictures
    from metamiq.report.writing import csv_text, json_text, write_folder

    files: dict[str, str | bytes] = {
        "difference.md": change.difference.to_markdown(),
        "difference.json": json_text(_as_dict(change)),
        "trials.csv": csv_text(change.difference.trials),
        **pictures(change.difference),
    }
    written = write_folder(out, files)
    say(f"written: {len(written)} files in {out}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("version", type=int)
@click.option("--why", required=True, help="Reason, for CHANGES.md.")
@guarded
def restore(folder: Path, version: int, why: str) -> None:
    """Make VERSION of the dataset FOLDER the newest one; what came since stays in the history.

    \b
    Example:
      metamiq restore my-evidence 1 --why "the added trial was a duplicate"
    """
    from metamiq.living.transaction import restore as put_back

    say(f"written: version {put_back(folder, version, why=why)} of {folder}, which is version {version} again")


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--markdown", is_flag=True, help="Print Markdown instead of text.")
@_JSON
@guarded
def diff(old: str, new: str, markdown: bool, as_json: bool) -> int:
    """Say what differs between OLD and NEW, in the data and in the answer.

    \b
    Example:
      metamiq diff my-evidence@1 my-evidence

    Each is a folder, a bundled dataset's name, or FOLDER@VERSION. Exit code 1: they differ.
    """
    from metamiq.datasets import available_datasets, load_dataset
    from metamiq.living.compare import diff as compare
    from metamiq.report.writing import json_text

    bundled = available_datasets()
    ends = [load_dataset(x) if x in bundled and not Path(x).is_dir() else x for x in (old, new)]
    difference = compare(*ends)
    if as_json:
        click.echo(json_text(difference.to_dict()), nl=False)
    else:
        click.echo(difference.to_markdown() if markdown else difference.summary(), nl=not markdown)
    return 0 if difference.is_empty else EXIT_DISAGREES


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--dataset", help="Folder that the filled templates A and B are for.")
@click.option("--decide", type=click.Path(path_type=Path), help="Differences with choice (A, B or a value) filled in.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for differences.csv and agreed.csv."
)
@_JSON
@guarded
def reconcile(a: str, b: str, dataset: str | None, decide: Path | None, out: Path | None, as_json: bool) -> int:
    """Compare two people's extractions A and B: folders, or filled templates with --dataset.

    \b
    Example:
      metamiq reconcile ann.toml bob.toml --dataset my-evidence --out agreed

    Differences come in the order of what they do to the pooled g. A third person fills choice, source and locator in
    differences.csv and gives it back with --decide; agreed.csv then holds what must change in A, and is a file for
    `metamiq add --replace` on A alone. Exit code 1: something is undecided.
    """
    from metamiq.living.reconcile import reconcile as compare
    from metamiq.report import content
    from metamiq.report.writing import csv_text, json_text, write_folder

    found = compare(a, b, base=dataset, decisions=decide)
    if as_json:
        tables = {"differences": found.differences, "agreement": found.agreement}
        rows = {
            name: [{str(k): content.json_value(v) for k, v in r.items()} for r in table.to_dict(orient="records")]
            for name, table in tables.items()
        }
        click.echo(json_text({**rows, "undecided": found.undecided}), nl=False)
    else:
        click.echo(found.summary())
    if out is not None:
        files: dict[str, str | bytes] = {
            "differences.csv": csv_text(found.differences),
            "agreement.csv": csv_text(found.agreement),
        }
        if len(found.differences) and not found.undecided:
            files["agreed.csv"] = found.agreed_csv()
        say(f"written: {', '.join(str(path) for path in write_folder(out, files))}")
    if len(found.differences):
        folder = out or Path("FOLDER")
        place = f" --dataset {dataset}" if dataset else ""
        table = folder / "differences.csv"
        if found.undecided and out is None:
            say("next: --out FOLDER writes differences.csv, in which a third person decides")
        elif found.undecided:
            say(f"next: fill in choice in {table}; then: metamiq reconcile {a} {b}{place} --decide {table} --out {out}")
        elif out is not None and str(files["agreed.csv"]).count("\n") == 1:
            say("next: nothing, as every difference was decided for A, which stands as it is")
        elif out is not None:
            first = f"metamiq add {a} --dataset {dataset} --replace --accept; then: " if dataset else ""
            say(
                f"next: {first}metamiq add {folder / 'agreed.csv'} --dataset {dataset or a} --replace (agreed.csv "
                "holds what must change in A, and is not for B)"
            )
    return EXIT_DISAGREES if found.undecided else 0
