"""`metamiq pool` and `metamiq datasets`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from metamiq.cli.common import (
    check_picture,
    group_options,
    guarded,
    name_groups,
    open_source,
    read_judgements,
    read_study_table,
    refuse_choices,
    save_picture,
    say,
    table_options,
    tool_option,
)
from metamiq.cli.noticed import say_what_was_noticed
from metamiq.cli.protocol import protocol_for, protocol_option

if TYPE_CHECKING:
    import pandas as pd

    from metamiq.pooling.bounded_fit import BoundedFit
    from metamiq.pooling.records import PooledEffect
    from metamiq.pooling.subgroups import Subgroups
    from metamiq.protocol.compliance import Compliance
    from metamiq.protocol.record import Protocol
    from metamiq.protocol.study import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--measure", help="SMD, MD, ROM, OR, RR, RD, COR, ZCOR ...; not needed when the table has yi and vi.")
@click.option("--method", help="Estimator of tau2: REML, DL, PM, ML, FE ... Default: the protocol's, or REML.")
@click.option("--test", help="knha, z, t or adhoc. Default: the protocol's, or knha.")
@click.option("--level", type=float, help="Coverage of intervals. Default: the protocol's, or 0.95.")
@protocol_option
@click.option("--moderators", help='Formula of a meta-regression, such as "disorder + mi_sessions".')
@click.option("--subgroups", metavar="COLUMN", help="Pool the groups of this column, too, and test their difference.")
@click.option("--common-tau2", is_flag=True, help="With --subgroups: one tau2 for all of them, better for small ones.")
@group_options
@click.option(
    "--forest",
    "figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a forest plot here (.svg, .pdf or .png).",
)
@click.option(
    "--layout",
    type=click.Choice(["default", "revman", "apa"]),
    help="With --forest: revman has the columns, subtotals and totals of Cochrane reviews, apa no colour.",
)
@click.option(
    "--rob",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --forest: risk-of-bias judgements (CSV as robvis reads it) to show beside it.",
)
@tool_option
@click.option("--methods", is_flag=True, help="Write the methods paragraph below, with its references.")
@table_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def pool(
    file: Path,
    measure: str | None,
    method: str | None,
    test: str | None,
    level: float | None,
    protocol: str | None,
    moderators: str | None,
    subgroups: str | None,
    common_tau2: bool,
    groups: tuple[str, str] | None,
    better: str | None,
    figure: Path | None,
    layout: str | None,
    rob: Path | None,
    tool: str | None,
    methods: bool,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
    as_json: bool,
) -> None:
    """Pool any study table (CSV or .xlsx): columns by name or by a well-known alias.

    \b
    Examples:
      metamiq pool trials.csv --measure SMD
      metamiq pool trials.csv --measure SMD --subgroups disorder --forest forest.svg
      metamiq pool review.xlsx --sheet effects --column "Hedges=yi" --column "Error=sei"

    The table has yi and vi, or what the measure is computed from: m1i sd1i n1i m2i sd2i n2i for SMD, ai n1i ci n2i
    for OR.
    """
    from metamiq.pooling.models import random_effects
    from metamiq.pooling.regression import meta_regression
    from metamiq.pooling.subgroups import subgroups as pool_subgroups
    from metamiq.protocol.compliance import as_dict
    from metamiq.protocol.study import study_compliance
    from metamiq.report import content
    from metamiq.report.writing import json_text

    check_picture(figure, "--forest")
    if subgroups and moderators:
        raise ValueError("--subgroups and --moderators are two analyses: run metamiq pool once for each.")
    if common_tau2 and not subgroups:
        raise ValueError("--common-tau2 is about subgroups. Give --subgroups COLUMN as well.")
    if rob is not None and figure is None:
        raise ValueError("--rob needs a forest plot to stand beside. Give --forest forest.svg as well.")
    if layout is not None and figure is None:
        raise ValueError("--layout is that of a forest plot. Give --forest forest.svg as well.")
    judged = None if rob is None else read_judgements(rob, tool)
    table = read_study_table(file, sheet, columns, where)
    plan = protocol_for(protocol, file.parent)
    use = settings_of(plan, table, measure=measure, method=method, test=test, level=level)
    effects = with_effects(table, use.measure, use.vtype)
    name_groups(effects, groups, better)
    if figure is not None:
        check_size(effects, "A forest plot", 2_000)
    fit: Any
    if moderators:
        fit = meta_regression(effects, moderators, method=use.method, test=use.test, level=use.level)
    else:
        fit = random_effects(effects, method=use.method, test=use.test, level=use.level, pi_method=use.pi_method)
    parted = None
    if subgroups:
        parted = pool_subgroups(
            effects,
            subgroups,
            method=use.method,
            test=use.test,
            level=use.level,
            common_tau2=common_tau2,
            pi_method=use.pi_method,
        )
    planned = None
    if plan is not None:
        beside = [("subgroup", subgroups, "")] if subgroups else []
        planned = study_compliance(plan, fit, vtype=use.vtype, moderators=moderators, beside=beside)
    if judged is not None:
        from metamiq.datasets.risk_of_bias_join import join_risk_of_bias

        join_risk_of_bias(fit.effects, judged)  # refuses unmatched studies before anything is printed
    said = None
    if methods:
        from metamiq.explaining.methods import methods_paragraph

        said = methods_paragraph(fit if parted is None else parted)
    if as_json:
        rows = fit.to_frame().reset_index().to_dict(orient="records")
        stored = {
            c: getattr(fit, c) for c in ("measure", "k", "n_studies", "tau2", "I2", "H2", "method", "test", "level")
        }
        click.echo(
            json_text(
                {
                    "results": [{str(k): content.json_value(v) for k, v in row.items()} for row in rows],
                    **{k: content.json_value(v) for k, v in stored.items()},
                    **({} if planned is None else {"planned": planned.label("pooled")}),
                    **({} if parted is None else {"subgroups": _subgroups_json(parted)}),
                    "protocol": as_dict(planned),
                    **({"caution": fit.caution} if getattr(fit, "caution", "") else {}),
                    **({} if said is None else {"methods": said.to_dict()}),
                }
            ),
            nl=False,
        )
    else:
        click.echo(fit.summary())
        if parted is not None:
            click.echo(f"\n{parted.summary()}\n{_as_ratios(parted, fit.measure)}")
        click.echo(planned_lines(planned))
        if said is not None:
            click.echo(f"\n{said}")
    if figure is not None:
        from metamiq import plots

        save_picture(
            plots.forest(fit if parted is None else parted, layout=layout or "default", risk_of_bias=judged), figure
        )


def _as_ratios(parted: Subgroups, measure: str | None) -> str:
    """The means of subgroups in the units of a ratio, which their table holds as logarithms; else nothing."""
    from metamiq.plots.scale import Scale

    scale = Scale(measure)
    if not scale.is_ratio:
        return ""
    rows = parted.to_frame().reset_index().to_dict(orient="records")
    means = [
        f"{row[parted.by]} {scale.text(row['estimate'])} ({scale.text(row['ci_low'])} to {scale.text(row['ci_high'])})"
        for row in rows
    ]
    return f"(log scale; as ratios: {', '.join(means)})\n"


def _subgroups_json(parted: Subgroups) -> dict[str, Any]:
    from metamiq.report import content

    between = {"Q": parted.Q_between, "df": parted.Q_df, "p": parted.Q_p}
    return {
        "by": parted.by,
        "common_tau2": parted.common_tau2,
        "groups": content.json_rows(parted.to_frame().reset_index()),
        "between": {name: content.json_value(x) for name, x in between.items()},
    }


def settings_of(plan: Protocol | None, table: pd.DataFrame, **given: Any) -> Settings:
    """What to fit a table with: the user's settings, else the protocol's, which is said, else the usual ones."""
    from metamiq.protocol.study import settings_for

    has_effects = "yi" in table and ("vi" in table or "sei" in table or {"ci_low", "ci_high"} <= set(table.columns))
    use = settings_for(plan, needs_measure=not has_effects, **given)
    if use.taken:
        say(f"taken from the protocol: {use.describe()}")
    return use


def planned_lines(planned: Compliance | None) -> str:
    """Whether the pooled mean was planned, by which protocol, and what else was planned."""
    from metamiq.protocol.compliance import note_of

    if planned is None:
        return note_of(None)
    about = [planned.sentence("pooled")]
    for key in planned.table["key"]:
        if key != "pooled":
            about.append(f"{planned.name(key)}: {planned.label(key)}. {planned.why(key)}".strip())
    return "\n".join(filter(None, [*about, planned.protocol.note, planned.missing]))


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options of commands that fit one study table; `fit_of` takes what they give."""
    command = table_options(command)
    for option in (
        protocol_option,
        click.option("--level", type=float, help="Coverage of intervals. Default: the protocol's, or 0.95."),
        click.option("--test", help="knha, z, t or adhoc. Default: the protocol's, or knha."),
        click.option("--method", help="Estimator of tau2: REML, DL, PM, ML, FE ... Default: the protocol's, or REML."),
        click.option("--measure", help="SMD, MD, OR, RR ...; not needed when the table has yi and vi."),
        click.argument("source", metavar="FILE"),
    ):
        command = option(command)
    return command


class Fitted(NamedTuple):
    """A fit, the protocol that it goes by, and the variance formula that the protocol gave."""

    fit: PooledEffect | BoundedFit
    plan: Protocol | None
    vtype: str | None

    def compliance(self, done: Iterable[tuple[str, str]]) -> Compliance | None:
        """Labels of analyses beside the fit, each given with why it could not be done."""
        from metamiq.protocol.study import study_compliance

        return None if self.plan is None else study_compliance(self.plan, self.fit, vtype=self.vtype, done=done)


def fit_of(
    source: str,
    measure: str | None,
    method: str | None,
    test: str | None,
    level: float | None,
    protocol: str | None,
    sheet: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
) -> Fitted:
    """The fit of a study table: a file, or a bundled dataset, of which verdicts enter as bounds."""
    from metamiq.effects.trials import trial_effects
    from metamiq.pooling.bounded import random_effects_bounded
    from metamiq.pooling.models import random_effects

    opened = open_source(source, sheet, columns, where)
    plan = protocol_for(protocol, opened.home)
    if opened.evidence is not None:
        refuse_choices(measure=measure, method=method, test=test)
        if level is None:
            level = (None if plan is None else plan.plan.level) or 0.95
        return Fitted(random_effects_bounded(trial_effects(opened.evidence), level=level), plan, None)
    use = settings_of(plan, opened.table, measure=measure, method=method, test=test, level=level)
    effects = with_effects(opened.table, use.measure, use.vtype)
    fit = random_effects(effects, method=use.method, test=use.test, level=use.level, pi_method=use.pi_method)
    return Fitted(fit, plan, use.vtype)


def check_size(effects: pd.DataFrame, what: str, most: int) -> None:
    """Refuse more rows than can be drawn or told one by one, before hours are spent on it."""
    if len(effects) > most:
        raise ValueError(
            f"{what} is for at most {most:,} effect sizes, but there are {len(effects):,}. `metamiq pool` pools any "
            "number; choose rows with --where for the rest."
        )


def with_effects(table: pd.DataFrame, measure: str | None, vtype: str | None = None) -> pd.DataFrame:
    """The table with yi and vi, computed or its own; rows without an effect size are named and left out."""
    from metamiq.effects.study_effects import study_effects

    effects, left_out = study_effects(table, measure, vtype)
    say_what_was_noticed(table, effects, left_out, measure)
    return effects


@click.command()
@guarded
def datasets() -> None:
    """List the bundled datasets: name, rows, what it is about.

    \b
    Example:
      metamiq datasets
    """
    import json

    from metamiq.datasets import available_datasets, load_dataset

    names = available_datasets()
    wide = max(map(len, names))
    for name in names:
        ds = load_dataset(name)
        about = json.loads((ds.path / "datapackage.json").read_text(encoding="utf-8"))
        candidates = "" if ds.results.empty else f" ({(ds.trials['role'] == 'candidate').sum()} candidates)"
        click.echo(f"{name:<{wide}}  {len(ds.trials):>3}  {about['title']}{candidates}")
