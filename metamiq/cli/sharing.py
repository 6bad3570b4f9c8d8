"""`metamiq bundle`, `verify`, `export`: an answer for other people and other programs."""

from __future__ import annotations

from pathlib import Path

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_dataset, say

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
    from metamiq.report.writing import write_folder

    ds = open_dataset(dataset)
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
@click.argument("dataset", default=_BUNDLED)
@click.option(
    "--to", "program", type=click.Choice(["r", "metafor", "meta", "metapsy", "jasp"]), default="r", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("export"), show_default=True)
@guarded
def export(dataset: str, program: str, out: Path) -> None:
    """Write the effects of DATASET for another program, or an R script that redoes the analysis.

    \b
    Example:
      metamiq export mi_cbt_anxiety --to r --out in-r

    Only the R script can take bounds; tables for other programs hold the trials that are effect sizes.
    """
    from metamiq.effects.trials import trial_effects
    from metamiq.living.exports import export_r, export_table
    from metamiq.report.writing import write_folder

    ds = open_dataset(dataset)
    effects = trial_effects(ds)
    if program == "r":
        files = export_r(ds)
    else:
        files = {f"{program}.csv": export_table(effects, program)}
        bounds = int((effects["kind"] == "bound").sum())
        say(f"note: {len(effects) - bounds} of {len(effects)} trials are effect sizes; {bounds} bounds are left out")
    say(f"written: {', '.join(str(path) for path in write_folder(out, dict(files)))}")
