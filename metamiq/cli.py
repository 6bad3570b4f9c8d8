"""The command line: arguments in, report out. The work is done elsewhere, and imported when it is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

EXIT_DISAGREES = 1
EXIT_COULD_NOT_RUN = 2


def _say(message: str) -> None:
    click.echo(message, err=True)


def _guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn the errors a user can act on into one sentence and exit code 2, and a returned number into the exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from metamiq.errors import ConvergenceError

        try:
            code = command(*args, **kwargs)
        except (ValueError, ConvergenceError) as error:  # DataError is a ValueError
            _say(f"metamiq: {error}")
            sys.exit(EXIT_COULD_NOT_RUN)
        sys.exit(code or 0)

    return run


def _dataset(name_or_folder: str) -> Any:
    from metamiq.datasets import load_dataset, read_dataset

    if Path(name_or_folder).is_dir():
        ds = read_dataset(name_or_folder)
    elif any(sign in name_or_folder for sign in "/\\."):
        ds = read_dataset(name_or_folder)  # says that the folder is not there
    else:
        ds = load_dataset(name_or_folder)
    for note in ds.notes:
        _say(f"note: {note}")
    return ds


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="metamiq")
def main() -> None:
    """From what trial reports print to a pooled answer that anyone can audit.

    \b
    Example:
      metamiq reproduce --out answer
    """


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("metamiq-report"),
    show_default=True,
    help="Folder for report.html, results.json, figures and tables.",
)
@click.option("--dataset", default="mi_cbt_anxiety", show_default=True, help="A bundled dataset's name, or a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@_guarded
def reproduce(out: Path, dataset: str, as_json: bool) -> int:
    """Answer the first question: whether MI added to CBT helps with anxiety.

    \b
    Example:
      metamiq reproduce --out answer

    Reads the bundled evidence, pools effect sizes and bounds, tests moderators, compares with the published claims, and
    writes report.html, results.json, figures (SVG) and tables (CSV). Exit code 1: a published claim is inconsistent.
    """
    from metamiq.report import content, terminal
    from metamiq.report.reproduce import reproduce as run
    from metamiq.report.writing import json_text

    done = run(_dataset(dataset), out, _say)
    if as_json:
        click.echo(json_text(content.results(done.answers, done.audit, done.tables)), nl=False)
    else:
        terminal.show_answers(done.answers, done.tables)
    _say(
        f"written: {len(done.files)} files in {out}{'' if str(out).endswith('/') else '/'} (open {out / 'report.html'})"
    )
    return 0 if done.audit.agrees else EXIT_DISAGREES


@main.command()
@click.argument("dataset", default="mi_cbt_anxiety")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@_guarded
def audit(dataset: str, as_json: bool) -> int:
    """Compare published claims with the evidence of DATASET.

    \b
    Example:
      metamiq audit mi_cbt_anxiety

    DATASET is a bundled dataset's name or a folder. Exit code 1: a claim is inconsistent.
    """
    from metamiq.audit import audit as compare
    from metamiq.report import content, terminal
    from metamiq.report.writing import json_text

    verdicts = compare(_dataset(dataset))
    if as_json:
        rows = [{str(k): content.json_value(v) for k, v in r.items()} for r in verdicts.table.to_dict(orient="records")]
        click.echo(
            json_text({"dataset": verdicts.answers.ds.name, "verdicts": rows, "agrees": verdicts.agrees}), nl=False
        )
    else:
        terminal.show_verdicts(verdicts.table)
    return 0 if verdicts.agrees else EXIT_DISAGREES


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--measure", help="SMD, MD, ROM, OR, RR, RD, COR, ZCOR ...; not needed when the table has yi and vi.")
@click.option("--method", default="REML", show_default=True, help="Estimator of tau2: REML, DL, PM, ML, FE ...")
@click.option("--test", default="knha", show_default=True, help="knha, z, t or adhoc.")
@click.option("--level", default=0.95, show_default=True, help="Coverage of intervals.")
@click.option("--moderators", help='Formula, such as "disorder + mi_sessions".')
@click.option(
    "--forest", "figure", type=click.Path(path_type=Path, dir_okay=False), help="Write a forest plot (SVG) here."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@_guarded
def pool(
    file: Path,
    measure: str | None,
    method: str,
    test: str,
    level: float,
    moderators: str | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Pool any study table (CSV): columns by name or by a well-known alias.

    \b
    Example:
      metamiq pool trials.csv --measure SMD

    The table has yi and vi, or what the measure is computed from: m1i sd1i n1i m2i sd2i n2i for SMD, ai n1i ci n2i
    for OR.
    """
    from metamiq.datasets import read_table
    from metamiq.pooling.models import random_effects
    from metamiq.pooling.regression import meta_regression
    from metamiq.report import content
    from metamiq.report.writing import json_text

    table = read_table(file)
    for note in table.attrs.get("notes", ()):
        _say(f"note: {note}")
    effects = _with_effects(table, measure)
    fit: Any
    if moderators:
        fit = meta_regression(effects, moderators, method=method, test=test, level=level)
    else:
        fit = random_effects(effects, method=method, test=test, level=level)
    if as_json:
        rows = fit.to_frame().reset_index().to_dict(orient="records")
        stored = {c: getattr(fit, c) for c in ("k", "n_studies", "tau2", "I2", "H2", "method", "test", "level")}
        click.echo(
            json_text(
                {
                    "results": [{str(k): content.json_value(v) for k, v in row.items()} for row in rows],
                    **{k: content.json_value(v) for k, v in stored.items()},
                }
            ),
            nl=False,
        )
    else:
        click.echo(fit.summary())
    if figure is not None:
        from metamiq import plots

        drawn = plots.forest(fit).figure.figure
        plots.save_svg(drawn, figure)
        _say(f"written: {figure}")


def _with_effects(table: pd.DataFrame, measure: str | None) -> pd.DataFrame:
    from metamiq.effects.measures import effect_sizes
    from metamiq.errors import DataError

    if measure is not None:
        effects = effect_sizes(table, measure)
    elif {"yi", "vi"} <= set(table.columns):
        effects = table
    elif {"yi", "sei"} <= set(table.columns):
        effects = table.assign(vi=table["sei"] ** 2)
    else:
        raise DataError(
            "The table must have yi and vi, or --measure must say what to compute, but its columns are "
            f"{', '.join(map(str, table.columns))}. Give --measure SMD for means and SDs, --measure OR for counts."
        )
    missing = effects["yi"].isna() | effects["vi"].isna()
    if missing.any():
        label = next((c for c in ("study", "trial_id", "label") if c in effects), None)
        names = (
            [str(x) for x in effects.loc[missing, label]]
            if label
            else [f"row {i + 1}" for i in missing.to_numpy().nonzero()[0]]
        )
        _say(f"note: left out, no effect size: {', '.join(names)}")
        effects = effects.loc[~missing]
    return effects


@main.command()
@_guarded
def datasets() -> None:
    """List the bundled datasets.

    \b
    Example:
      metamiq datasets
    """
    from metamiq.datasets import available_datasets, load_dataset

    for name in available_datasets():
        click.echo(repr(load_dataset(name)))


if __name__ == "__main__":
    main()
