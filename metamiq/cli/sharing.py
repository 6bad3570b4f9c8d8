"""`metamiq bundle`, `verify`, `export`: an answer for other people and other programs."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metamiq.cli.common import (
    EXIT_DISAGREES,
    Source,
    group_options,
    guarded,
    is_table,
    open_source,
    pairs,
    refuse_choices,
    say,
    table_options,
)
from metamiq.cli.protocol import protocol_for, protocol_option

if TYPE_CHECKING:
    from metamiq.living.table_settings import Reading

_BUNDLED = "mi_cbt_anxiety"
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.command()
@click.argument("source", metavar="DATASET|FILE", default=_BUNDLED)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; by default NAME.zip.")
@click.option("--measure", help="Effect-size measure of a study table, when it has no yi and vi.")
@click.option("--method", help="Estimator of tau2 for a study table. Default: the protocol's, or REML.")
@click.option("--test", help="knha, z, t or adhoc, for a study table. Default: the protocol's, or knha.")
@click.option("--level", type=float, help="Coverage of intervals of a study table. Default: the protocol's, or 0.95.")
@protocol_option
@click.option(
    "--subgroups", multiple=True, metavar="COLUMN", help="Subgroups of a study table, too. Default: the protocol's."
)
@click.option("--common-tau2", is_flag=True, help="With subgroups: one tau2 for all of them.")
@click.option("--moderators", multiple=True, metavar="FORMULA", help="Meta-regression, too. Default: the protocol's.")
@group_options
@click.option(
    "--codebook",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What the columns of a study table mean: CSV with column, meaning and, if you like, unit.",
)
@click.option(
    "--licence", metavar="TEXT|FILE", help='Licence of a study table\'s data: "CC BY 4.0", or a file with it.'
)
@table_options
@guarded
def bundle(
    source: str,
    out: Path | None,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
    **choices: Any,
) -> None:
    """Pack DATASET, or the study table FILE, with its answer in one zip file, ready for a repository.

    \b
    Examples:
      metamiq bundle mi_cbt_anxiety --out answer.zip
      metamiq bundle trials.csv --measure SMD --codebook codebook.csv --licence "CC BY 4.0"

    Data, data dictionary or codebook, settings, results, figures, checksums and licence, as OSF or Zenodo ask for;
    `metamiq verify` computes it again and compares each digit.
    """
    from metamiq.living.bundle import bundle as pack
    from metamiq.living.bundle import dangers
    from metamiq.living.table_settings import Reading
    from metamiq.report.writing import write_folder

    for file in filter(None, (Path(source) if is_table(source) else None, choices["codebook"])):
        if file.exists() and not file.is_file():
            raise ValueError(f"A bundle holds its files byte for byte, but {file} is no ordinary file. Save it in one.")
    opened = open_source(source, sheet, columns, where)
    target = out or Path(f"{opened.name}.zip")
    if opened.dataset is None and target.exists() and target.samefile(opened.path):
        raise ValueError(f"--out must not be the table itself, but {target} is. Choose another --out.")
    if opened.evidence is None:
        reading = Reading(columns=pairs("--column", columns), sheet=sheet, where=pairs("--where", where))
        content = _table_bundle(opened, reading, **choices)
    else:
        given = sorted(name.replace("_", "-") for name, x in choices.items() if x)
        if given:
            raise ValueError(
                f"--{' and --'.join(given)} cannot be chosen for a dataset of evidence: it is pooled by its own rules, "
                "and its folder has protocol and licence (datapackage.json). Leave it out, or give a study table."
            )
        for place, problem in dangers(opened.evidence):
            say(f"note: {place}: {problem}; the bundle holds the table as it is")
        content = pack(opened.evidence)
    write_folder(target.parent, {target.name: content})
    say(f"written: {target}")


def _table_bundle(
    opened: Source,
    reading: Reading,
    *,
    protocol: str | None,
    subgroups: tuple[str, ...],
    common_tau2: bool,
    moderators: tuple[str, ...],
    groups: tuple[str, str] | None,
    better: str | None,
    codebook: Path | None,
    licence: str | None,
    **given: Any,
) -> bytes:
    """The bundle of a study table; what was noticed goes to stderr."""
    from metamiq.cli.study_tables import settings_of, with_effects
    from metamiq.living.spreadsheet import formulas
    from metamiq.living.table_bundle import bundle_table
    from metamiq.living.table_settings import TableAnalysis

    plan = protocol_for(protocol, opened.home)
    use = settings_of(plan, opened.table, **given)
    with_effects(opened.table, use.measure, use.vtype)  # says which rows are left out
    for position, column, problem in formulas(opened.table):
        say(f"note: row {position + 1}: {column} {problem}; the bundle holds the file as it is")
    if plan is not None:
        subgroups = subgroups or plan.analyses.subgroups
        moderators = moderators or plan.analyses.moderators
    if common_tau2 and not subgroups:
        raise ValueError("--common-tau2 is about subgroups. Give --subgroups COLUMN as well.")
    if licence is None and opened.dataset is None:
        say('note: no licence is stated, so that nobody may use the data; --licence "CC BY 4.0" states one')
    analysis = TableAnalysis(
        measure=use.measure,
        vtype=use.vtype,
        method=use.method,
        test=use.test,
        level=use.level,
        pi_method=use.pi_method,
        subgroups=tuple(subgroups),
        common_tau2=common_tau2,
        moderators=tuple(moderators),
        groups=groups,
        better=better,
    )
    made = bundle_table(
        opened.dataset or opened.path,
        analysis,
        reading=reading,
        protocol=plan,
        meanings=codebook,
        licence=_licence(licence),
    )
    if made.unexplained:
        say(
            f"note: nobody says what these columns mean: {', '.join(made.unexplained)}; --codebook FILE does (CSV with "
            "column,meaning,unit)"
        )
    for failed in made.not_done:
        say(f"note: planned, but not done: {failed}")
    return made.content


def _licence(given: str | None) -> str | None:
    """The text of a licence, or of the file that holds it."""
    from metamiq.errors import DataError

    try:
        if given is None or not Path(given).is_file():
            return given
        content = Path(given).read_bytes()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a text, then
            return given
        raise
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"The licence must be text in UTF-8, but {given} is not. Write its name instead.") from None


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
    from metamiq.report.content import json_rows
    from metamiq.report.writing import json_text

    found = compare(file)
    if as_json:
        shown = {"files": found.n_files, "values": found.n_values, "other_versions": found.versions}
        click.echo(json_text({**shown, "faults": json_rows(found.faults), "agrees": found.agrees}), nl=False)
    else:
        click.echo(found.summary())
    return 0 if found.agrees else EXIT_DISAGREES


@click.command()
@click.argument("source", metavar="DATASET|FILE", default=_BUNDLED)
@click.option(
    "--to",
    "program",
    type=click.Choice(["r", "metafor", "meta", "metapsy", "jasp", "revman"]),
    help="Default: r for a dataset, metafor for a study table.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("export"), show_default=True)
@click.option("--measure", help="Effect-size measure of a study table, when it has no yi and vi.")
@protocol_option
@table_options
@guarded
def export(
    source: str,
    program: str | None,
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
      metamiq export trials.csv --measure SMD
      metamiq export trials.csv --measure SMD --to jasp

    Only the R script can take bounds; tables for other programs hold the trials that are effect sizes, and what else a
    study table says of them. What is known of a program's format, and what is not, is said with the table. Effects of a
    study table are computed as its protocol says.
    """
    from metamiq.effects.trials import trial_effects
    from metamiq.living.exports import PROGRAMS, export_files, export_r, further_columns
    from metamiq.report.writing import write_folder

    opened = open_source(source, sheet, columns, where)
    if opened.evidence is None:
        from metamiq.cli.study_tables import settings_of, with_effects

        program = program or "metafor"
        if program == "r":
            raise ValueError(
                "--to r is for a dataset of evidence. Of a study table choose --to metafor, which has an R script, too."
            )
        use = settings_of(protocol_for(protocol, opened.home), opened.table, measure=measure)
        table = with_effects(opened.table, use.measure, use.vtype)
        say(f"note: {PROGRAMS[program].known}")
        files = export_files(
            table,
            program,
            groups=("group1", "group2"),
            further=further_columns(opened.table),
            method=use.method,
            test=use.test,
            level=use.level,
        )
    else:
        refuse_choices(measure=measure)
        effects = trial_effects(opened.evidence)
        if program in (None, "r"):
            files = export_r(opened.evidence)
        else:
            files = export_files(effects, program)
            say(f"note: {PROGRAMS[program].known}")
            bounds = int((effects["kind"] == "bound").sum())
            say(
                f"note: {len(effects) - bounds} of {len(effects)} trials are effect sizes; {bounds} bounds are left out"
            )
    say(f"written: {', '.join(str(path) for path in write_folder(out, dict(files)))}")
