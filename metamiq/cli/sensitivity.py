"""`metamiq sensitivity`, `metamiq suspects` and `metamiq multiverse`: how far an answer hangs on rows and choices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metamiq.cli.common import check_picture, guarded, open_dataset, read_study_table, save_picture, say, table_options
from metamiq.cli.protocol import protocol_for, protocol_option
from metamiq.cli.study_tables import fit_options

if TYPE_CHECKING:
    import pandas as pd

    from metamiq.pooling.bounded_fit import BoundedFit
    from metamiq.pooling.records import PooledEffect

PICTURES = ("leave_one_out", "influence", "cumulative", "baujat", "gosh")


@click.command()
@fit_options
@click.option(
    "--by", help='Column, or "precision", in whose order rows are added up. Default: year, where there is one.'
)
@click.option("--gosh", is_flag=True, help="Fit every subset of the rows, too, and say which rows make clusters.")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for leave_one_out.svg, influence.svg, cumulative.svg, baujat.svg (and gosh.svg).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def sensitivity(by: str | None, gosh: bool, figures: Path | None, as_json: bool, **choices: Any) -> None:
    """Say how far the answer of a study table hangs on single rows.

    \b
    Example:
      metamiq sensitivity trials.csv --measure SMD --figures pictures

    The rows that move the mean most, in words; the smallest set of rows without which the conclusion would be another;
    the fit without each row; influence statistics; and the fit as rows were added.

    FILE is a study table (CSV or .xlsx) or a bundled dataset's name.
    """
    from metamiq.cli.study_tables import check_size, fit_of
    from metamiq.protocol.compliance import as_dict, labels_in_words
    from metamiq.report.writing import json_text

    fitted = fit_of(**choices)
    fit = fitted.fit
    # Each row is left out in turn, from all rows.
    check_size(fit.effects, "Sensitivity", 5_000)
    if figures is not None:
        check_size(fit.effects, "A picture with each row", 1_000)
    found, refused = _found(fit, by, gosh)
    planned = fitted.compliance(
        [(_NAMES[name], refused.get(name, "")) for name in (*found, *refused) if name in _NAMES]
    )
    if as_json:
        click.echo(json_text({**_json(found), "refused": refused, "protocol": as_dict(planned)}), nl=False)
    else:
        click.echo(_text(fit, found))
        click.echo(f"\n{labels_in_words(planned)}")
        for name, why in refused.items():
            say(f"note: no {name.replace('_', ' ')}: {why}")
    if figures is not None:
        _draw(fit, found, figures)


def _found(fit: PooledEffect | BoundedFit, by: str | None, gosh: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """What could be computed, by name, and why the rest could not."""
    from metamiq.errors import ConvergenceError
    from metamiq.sensitivity.deletion import cumulative, leave_one_out
    from metamiq.sensitivity.flip import flip_set
    from metamiq.sensitivity.gosh import gosh_clusters
    from metamiq.sensitivity.influence import influence, influence_summary

    order = by or ("year" if "year" in fit.effects else None)
    asked: dict[str, Any] = {
        "summary": lambda: influence_summary(fit),
        "flip_set": lambda: flip_set(fit),
        "leave_one_out": lambda: leave_one_out(fit),
        "influence": lambda: influence(fit),
    }
    if order is not None:
        asked["cumulative"] = lambda: cumulative(fit, order)
    if gosh:
        asked["gosh"] = lambda: gosh_clusters(fit)
    found, refused = {}, {}
    for name, compute in asked.items():
        try:
            found[name] = compute()
        except (ValueError, ConvergenceError) as error:
            if name == "cumulative" and by is not None:
                raise  # asked for by name
            refused[name] = str(error)
    return found, refused


# The names of a protocol; the summary is a reading of the others.
_NAMES = {name: name for name in ("flip_set", "leave_one_out", "influence", "cumulative")} | {"gosh": "subsets"}
_HEADINGS = {
    "leave_one_out": "Without each row",
    "influence": "Influence statistics",
    "cumulative": "As rows were added",
}
_SHOWN = {
    "leave_one_out": ("estimate", "ci_low", "ci_high", "p_value", "tau2", "I2"),
    "influence": ("rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "Q_del", "hat", "weight"),
    "cumulative": ("k", "estimate", "ci_low", "ci_high", "tau2", "I2"),
}


def _text(fit: PooledEffect | BoundedFit, found: dict[str, Any]) -> str:
    from metamiq.wording import fixed

    ci = fit.ci()
    scale = ""
    if fit.measure in ("OR", "RR", "PETO", "ROM", "IRR"):
        scale = " (in tables ratios are logarithms)"
    out = [
        f"All {fit.k} rows: mean {fixed(fit.estimate)} ({100 * fit.level:g}% CI {fixed(ci.low)} to "
        f"{fixed(ci.high)}){scale}"
    ]
    if getattr(fit, "caution", ""):
        out.append(fit.caution)  # type: ignore[union-attr]
    if "summary" in found:
        out.append(found["summary"])
    if "flip_set" in found:
        out.append(found["flip_set"].summary())
    for name, heading in _HEADINGS.items():
        if name in found:
            table: pd.DataFrame = found[name]
            shown = [c for c in _SHOWN[name] if c in table]
            first = [c for c in table.columns if c not in shown][:1] if name == "cumulative" else []
            first = [c for c in first if table.columns.get_loc(c) == 0 and c not in ("k", "estimate")]
            text = table[[*first, *shown]].to_string(
                float_format=lambda x: f"{x:.3f}", na_rep="", formatters={"p_value": _p, "I2": _percent}
            )
            out += ["", heading, text]
    if "gosh" in found:
        out += ["", "All subsets of the rows", found["gosh"].summary()]
    return "\n".join(out)


def _p(p: float) -> str:
    return "" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _percent(share: float) -> str:
    return "" if share != share else f"{share:.1f}"


def _json(found: dict[str, Any]) -> dict[str, Any]:
    from metamiq.report.content import json_rows

    out: dict[str, Any] = {}
    for name in found:
        if name == "summary":
            out[name] = found[name].splitlines()
        elif name == "flip_set":
            flips = found[name]
            rows = json_rows(flips.sets.drop(columns="without"))
            for row, names in zip(rows, flips.sets["without"], strict=True):
                row["without"] = list(names)
            out[name] = {"size": flips.size, "sets": rows, "searched": flips.searched, "summary": flips.summary()}
        elif name == "gosh":
            clusters = found[name]
            out[name] = {
                "clusters": json_rows(clusters.centres.reset_index()),
                "rows": json_rows(clusters.membership.reset_index()),
            }
        else:
            out[name] = json_rows(found[name].reset_index())
    return out


def _draw(fit: PooledEffect | BoundedFit, found: dict[str, Any], folder: Path) -> None:
    from metamiq import plots
    from metamiq.files import at_home

    folder = at_home(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draw: dict[str, Any] = {
        "leave_one_out": lambda: plots.leave_one_out(fit, table=found["leave_one_out"]),
        "influence": lambda: plots.influence(found["influence"]),
        "cumulative": lambda: plots.cumulative(fit, str(found["cumulative"].columns[0]), table=found["cumulative"]),
        "baujat": lambda: plots.baujat(fit),  # type: ignore[arg-type]  # says itself what it cannot draw
        "gosh": lambda: plots.gosh(found["gosh"].subsets, measure=fit.measure),
    }
    for name in PICTURES:
        if name == "baujat" or name in found:
            try:
                save_picture(draw[name](), folder / f"{name}.svg")
            except ValueError as error:
                say(f"note: no {name}.svg: {error}")


class _TakesNegativeNumbers(click.Command):
    """A command whose arguments may be negative numbers, which are no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.ignore_unknown_options = any(re.fullmatch(r"-\.?\d.*", given) for given in args)
        return super().parse_args(ctx, args)


@click.command(cls=_TakesNegativeNumbers)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("value", metavar="VALUE")
@click.option("--ci", nargs=2, type=float, help="The published interval, low and high: without it many slips may fit.")
@click.option("--measure", default="SMD", show_default=True, help="Measure of a table with means and SDs.")
@click.option("--method", default="REML", show_default=True, help="Estimator of tau2, as the publication says.")
@click.option("--test", default="knha", show_default=True, help="knha, z, t or adhoc, as the publication says.")
@table_options
@click.option("--most", type=click.IntRange(min=1), default=10, show_default=True, help="How many slips to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def suspects(
    file: Path,
    value: str,
    ci: tuple[float, float] | None,
    measure: str,
    method: str,
    test: str,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
    most: int,
    as_json: bool,
) -> None:
    """Which single slip in one row of FILE would explain the published VALUE.

    \b
    Example:
      metamiq suspects trials.csv 0.59 --ci 0.31 0.87
      metamiq suspects trials.csv -0.30

    Arms swapped, a standard error entered as an SD, a lost sign, a moved decimal point, a row left out or counted
    twice: each slip is made in each row, the table is pooled again, and the nearest to VALUE come first. Ratios are
    given as logarithms. VALUE is given with the digits that were printed: a slip fits if it comes to VALUE when
    rounded. What fits is a place to look, not a finding.
    """
    from decimal import Decimal, InvalidOperation

    from metamiq.arguments import check_finite
    from metamiq.report.content import json_rows
    from metamiq.report.writing import json_text
    from metamiq.sensitivity.suspects import suspects as rank

    try:
        printed = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"VALUE must be the number that was printed, such as 0.59, not {value!r}.") from None
    target = float(printed)
    check_finite("VALUE", target)
    table = read_study_table(file, sheet, columns, where)
    half_unit = 0.5 * 10.0 ** int(printed.as_tuple().exponent)
    found = rank(table, target, ci=ci or None, half_unit=half_unit, measure=measure, method=method, test=test)
    if as_json:
        click.echo(json_text({"value": target, "slips": json_rows(found)}), nl=False)
        return
    agree = int(found["agrees"].sum())
    click.echo(f"{len(found) - 1} slips tried; {agree} of them come to {value} when rounded. The nearest:")
    shown = found.head(most)[["trial", "error", "yi", "vi", "estimate", "ci_low", "ci_high", "distance", "agrees"]]
    shown = shown.assign(agrees=shown["agrees"].map({True: "yes", False: "no"}))
    click.echo(shown.to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep=""))
    own = float(found.loc[found["error"] == "nothing", "estimate"].iloc[0])
    if own * target < 0:
        click.echo(
            f"The mean of this table is {own:.3f}: if the publication counts the other way round, turn VALUE's sign."
        )
    click.echo("What fits is a place to look, not a finding: the source decides.")


@click.command()
@click.argument("dataset", default="mi_cbt_anxiety")
@click.option("--value", type=float, help="A published value to compare with.")
@click.option("--level", default=0.95, show_default=True, help="Coverage of intervals.")
@protocol_option
@click.option("--curve", type=click.Path(path_type=Path, dir_okay=False), help="Write a specification curve here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def multiverse(
    dataset: str, value: float | None, level: float, protocol: str | None, curve: Path | None, as_json: bool
) -> None:
    """Run all defensible choices that DATASET declares, crossed with each other.

    \b
    Example:
      metamiq multiverse mi_cbt_anxiety --value 0.59 --curve curve.svg

    DATASET is a bundled dataset's name or a folder with a choices.toml. Prints the share of specifications on each side
    of no effect, which choice moves the answer most, and what the specifications of each option come to.
    """
    from metamiq.arguments import check_comparable, check_finite
    from metamiq.protocol.compliance import Analysis, Ask, as_dict, comply, labels_in_words
    from metamiq.report.content import json_rows
    from metamiq.report.writing import json_text
    from metamiq.sensitivity.multiverse import multiverse as run

    check_picture(curve, "--curve")
    if value is not None:
        check_finite("--value", value)
    ds = open_dataset(dataset)
    plan = protocol_for(protocol, ds.path)
    wanted = Analysis("multiverse", "all choices at once", (Ask("sensitivity", "multiverse"),))
    planned = None if plan is None else comply(plan, [wanted])
    found = run(ds, level=level)
    if value is not None:
        check_comparable("--value", value, found.table["estimate"])
    moves, options = found.decomposition().reset_index(), found.options().reset_index()
    if as_json:
        answer: dict[str, Any] = {
            "summary": found.summary(value).splitlines(),
            "shares": json_rows(found.share().to_frame().T)[0],
        }
        answer |= {"choices": json_rows(moves), "options": json_rows(options), "protocol": as_dict(planned)}
        click.echo(json_text(answer), nl=False)
    else:
        click.echo(found.summary(value))
        click.echo("")
        click.echo(options.to_string(index=False, float_format=lambda x: f"{x:.2f}", na_rep=""))
        click.echo(f"\n{labels_in_words(planned)}")
    if curve is not None:
        from metamiq import plots

        names = [str(c) for c in moves["choice"].head(5)]
        reference = None if value is None else (value, f"published {value:g}")
        save_picture(plots.specification_curve(found.curve(), names, measure=found.measure, reference=reference), curve)
