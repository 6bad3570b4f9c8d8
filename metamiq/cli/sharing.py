"""`metamiq bundle`, `verify`, `export`: an answer for other people and other programs."""

from __future__ import annotations

from pathlib import Path

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_dataset, read_study_table, say, table_options
from metamiq.cli.protocol import protocol_for, protocol_option

_BUNDLED = "mi_cbt_anxiety"
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.command()
@click.argument("dataset", default=_BUNDLED)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; by default DATASET.zip.")
@guarded
def bundle(dataset: str, out: Path | None) -> None:
    """Pack DATASET with its answer in one zip file, ready for a repository such as OSF or Zenodo.

    \b
    Example:
      metamiq bundle mi_cbt_anxiety --out answer.zip

    Data, data dictionary, settings, results, figure, checksums and licence; `metamiq verify` checks it.
    """
    from metamiq.living.bundle import bundle as pack
    from metamiq.living.bundle import dangers
    from metamiq.report.writing import write_folder

    if Path(dataset).is_file():
        raise ValueError(
            f"A bundle is made of a dataset of evidence, by name or folder, but {dataset} is a file. Of a study table "
            "metamiq report writes one page that holds data and results."
        )
    ds = open_dataset(dataset)
    for place, problem in dangers(ds):
        say(f"note: {place}: {problem}; the bundle holds the table as it is")
    target = out or Path(f"{ds.name}.zip")
    write_folder(target.parent, {target.name: pack(ds)})
    say(f"written: {target}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_JSON
@guarded
def verify(file: Path, as_json: bool) -> int:
    """Check the bundle FILE: its checksums, and every number computed again.

    \b
    Example:
      metamiq verify answer.zip

    Exit code 1: a file or a digit differs; each is listed.
    """
    from metamiq.living.bundle import verify as compare
    from metamiq.report import content
    from metamiq.report.writing import json_text

    found = compare(file)
    if as_json:
        rows = [{str(k): content.json_value(v) for k, v in r.items()} for r in found.faults.to_dict(orient="records")]
        shown = {"files": found.n_files, "values": found.n_values, "faults": rows, "other_versions": found.versions}
        click.echo(json_text({**shown, "agrees": found.agrees}), nl=False)
    else:
        click.echo(found.summary())
    return 0 if found.agrees else EXIT_DISAGREES


@click.command()
@click.argument("dataset", metavar="DATASET|FILE", default=_BUNDLED)
@click.option(
    "--to",
    "program",
    type=click.Choice(["r", "metafor", "meta", "metapsy", "jasp", "revman"]),
    default="r",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("export"), show_default=True)
@click.option("--measure", help="Effect-size measure of a study table, when it has no yi and vi.")
@protocol_option
@table_options
@guarded
def export(
    dataset: str,
    program: str,
    out: Path,
    measure: str | None,
    protocol: str | None,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
) -> None:
    """Write the effects of DATASET, or of the study table FILE, for another program, or an R script.

    \b
    Examples:
      metamiq export mi_cbt_anxiety --to r --out in-r
      metamiq export trials.csv --measure SMD --to jasp

    Only the R script can take bounds; tables for other programs hold the trials that are effect sizes, and what else a
    study table says of them. What is known of a program's format, and what is not, is said with the table. Effects of a
    study table are computed as its protocol says.
    """
    from metamiq.effects.trials import trial_effects
    from metamiq.living.exports import PROGRAMS, export_files, export_r, further_columns
    from metamiq.report.writing import write_folder

    if Path(dataset).is_file():
        from metamiq.cli.study_tables import settings_of, with_effects

        if program == "r":
            raise ValueError("--to r is for a dataset of evidence. Of a study table choose --to metafor.")
        read = read_study_table(Path(dataset), sheet, columns, where)
        use = settings_of(protocol_for(protocol, Path(dataset).parent), read, measure=measure)
        table = with_effects(read, use.measure, use.vtype)
        say(f"note: {PROGRAMS[program].known}")
        files = export_files(
            table,
            program,
            groups=("group1", "group2"),
            further=further_columns(read),
            method=use.method,
            test=use.test,
            level=use.level,
        )
        say(f"written: {', '.join(str(path) for path in write_folder(out, dict(files)))}")
        return
    if measure or sheet or columns or where:
        raise ValueError("--measure, --sheet, --column and --where are for a study table in a file, not for a dataset.")
    ds = open_dataset(dataset)
    effects = trial_effects(ds)
    if program == "r":
        files = export_r(ds)
    else:
        files = export_files(effects, program)
        say(f"note: {PROGRAMS[program].known}")
        bounds = int((effects["kind"] == "bound").sum())
        say(f"note: {len(effects) - bounds} of {len(effects)} trials are effect sizes; {bounds} bounds are left out")
    say(f"written: {', '.join(str(path) for path in write_folder(out, dict(files)))}")
