"""`metamiq effect`, `explain`, `compare`, `which` and `quiz`: from what a paper prints to g, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_dataset, open_source, read_study_table, say

if TYPE_CHECKING:
    from metamiq.effects.derivation import Derivation

_FORMATS = click.Choice(["text", "latex", "markdown", "json"])
_FAVOURS = click.Choice(["mi", "cbt", "1", "2"])


def _numbers(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One option per number, kept as text so that its printed digits are known."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = click.option(f"--{name.replace('_', '-')}", name, metavar="X")(command)
        return command

    return add


def _pair(flag: str, name: str, meaning: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(flag, name, nargs=2, metavar="LOW HIGH", help=meaning)


@click.command()
@_numbers("m1", "sd1", "se1", "n1", "m2", "sd2", "se2", "n2")
@click.option("--n", metavar="X", help="Both groups together; split evenly when the arms are not given.")
@click.option("--t", metavar="X", help="t of two independent groups, positive when group 1 did better.")
@click.option("--df", metavar="X", help="Degrees of freedom of the test.")
@click.option("--f", metavar="X", help="F with one numerator degree of freedom; needs --favours.")
@click.option("--p", metavar="X", help="Two-sided p-value; needs --favours.")
@click.option("--d", metavar="X", help="Cohen's d between the groups, uncorrected.")
@click.option("--g", metavar="X", help="Hedges' g.")
@click.option("--r", metavar="X", help="Correlation between group and outcome.")
@click.option("--md", metavar="X", help="Difference in means.")
@click.option("--se", metavar="X", help="Standard error of --md, --d or --g.")
@click.option("--or", "odds_ratio", metavar="X", help="Odds ratio; needs --ci.")
@_pair("--ci", "ci", "Interval of --or, --g, --d or --md; alone, of g.")
@click.option("--median1", metavar="X", help="Median of group 1, with --quartiles1 or --range1.")
@_pair("--quartiles1", "quartiles1", "Quartiles of group 1.")
@_pair("--range1", "range1", "Smallest and largest value of group 1.")
@click.option("--median2", metavar="X", help="Median of group 2.")
@_pair("--quartiles2", "quartiles2", "Quartiles of group 2.")
@_pair("--range2", "range2", "Smallest and largest value of group 2.")
@click.option("--events1", metavar="X", help="People with the event in group 1, of --n1.")
@click.option("--events2", metavar="X", help="People with the event in group 2, of --n2.")
@click.option("--favours", type=_FAVOURS, help="Group that did better: mi is group 1, cbt is group 2.")
@click.option("--significant", type=_FAVOURS, help="Only a verdict is known: significant, in favour of this group.")
@click.option("--nonsignificant", is_flag=True, help="Only a verdict is known: not significant.")
@click.option("--lower-is-better", is_flag=True, help="A lower mean, or fewer events, is the better result.")
@click.option("--vtype", default="LS", show_default=True, help="Variance of g: LS, LS2 or UB.")
@click.option("--correction", default="exact", show_default=True, help="J: exact, approx or none.")
@click.option("--level", default=0.95, show_default=True, help="Coverage of the interval that is printed.")
@click.option("--ci-level", default=0.95, show_default=True, help="Coverage of the reported --ci.")
@click.option("--plain", is_flag=True, help="Say also in plain words what g means.")
@click.option("--base-rate", type=float, help="Share of group 2 that responds, for the number needed to treat.")
@click.option("--scale", default="", help="Name of a scale, to say g in its points; needs --scale-sd.")
@click.option("--scale-sd", type=float, help="Standard deviation on that scale, from a source of your own.")
@click.option("--format", "form", type=_FORMATS, default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@guarded
def effect(
    ci: tuple[str, str] | None,
    favours: str | None,
    significant: str | None,
    nonsignificant: bool,
    lower_is_better: bool,
    vtype: str,
    correction: str,
    level: float,
    ci_level: float,
    plain: bool,
    base_rate: float | None,
    scale: str,
    scale_sd: float | None,
    form: str,
    as_json: bool,
    **given: Any,
) -> int | None:
    """Hedges' g from whatever a report prints, with each step.

    \b
    Examples:
      metamiq effect --t 2.51 --n1 8 --n2 8
      metamiq effect --m1 16.75 --sd1 9.66 --n1 8 --m2 8.13 --sd2 6.01 --n2 8
      metamiq effect --significant mi --n1 20 --n2 20

    Group 1 is the arm under study. Too little says what is missing; numbers that contradict each other are shown, and
    the exit code is 1.
    """
    from metamiq.errors import DataError
    from metamiq.explaining.plain_words import plain_words
    from metamiq.explaining.reported import convert

    if significant and nonsignificant:
        raise DataError("A result is either --significant or --nonsignificant, but both came. Give one.")
    numbers: dict[str, Any] = {}
    for name, value in given.items():
        if value in (None, ()):
            continue
        if name[:-1] == "quartiles":
            numbers |= {f"q1_{name[-1]}": value[0], f"q3_{name[-1]}": value[1]}
        elif name[:-1] == "range":
            numbers |= {f"min{name[-1]}": value[0], f"max{name[-1]}": value[1]}
        else:
            numbers[name] = value
    if ci:
        numbers |= {"ci_low": ci[0], "ci_high": ci[1]}
    verdict = "significant" if significant else "nonsignificant" if nonsignificant else None
    found = convert(
        favours=significant or favours,
        verdict=verdict,
        vtype=vtype,
        correction=correction,
        level=level,
        ci_level=ci_level,
        lower_is_better=lower_is_better,
        **numbers,
    )
    words = None
    if plain or base_rate is not None or scale_sd is not None or scale:
        if "estimate" not in found.derivation.results:
            raise DataError("A bound has no single g to put in plain words. Leave out --plain, or give numbers.")
        words = plain_words(found.derivation["estimate"], base_rate=base_rate, scale=scale, sd=scale_sd)
    form = "json" if as_json else form
    if form == "json":
        _json(
            {
                **found.derivation.to_dict(),
                "route": found.route,
                "checks": [{"from": c.words, "g": c.g, "agrees": c.agrees} for c in found.checks],
                "disagreements": list(found.disagreements),
                "plain_words": words.text() if words else None,
            }
        )
    else:
        _print(found.derivation, form)
        if words:
            click.echo("\n" + words.text())
    for text in found.disagreements:
        say(f"disagreement: {text}")
    return EXIT_DISAGREES if found.disagreements else None


@click.command()
@click.argument("name")
@click.option(
    "--dataset", default="mi_cbt_anxiety", show_default=True, help="Bundled dataset, a folder, or a CSV file."
)
@click.option("--measure", help="Effect size of a study table: SMD, OR, ZCOR, PPC_PRE ...")
@click.option("--pooled", is_flag=True, help="Explain the pooled mean of the whole table; NAME is then the measure.")
@click.option("--method", default="REML", show_default=True, help="Estimator of tau2, with --pooled.")
@click.option("--test", default="knha", show_default=True, help="knha, z, t or adhoc, with --pooled.")
@click.option("--moderator", help="Explain the slope of this moderator, with --pooled.")
@click.option("--level", default=0.95, show_default=True, help="Coverage of intervals.")
@click.option("--format", "form", type=_FORMATS, default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@guarded
def explain(
    name: str,
    dataset: str,
    measure: str | None,
    pooled: bool,
    method: str,
    test: str,
    moderator: str | None,
    level: float,
    form: str,
    as_json: bool,
) -> None:
    """Each step of the number behind a trial, a result, a row of a study table, or a pooled mean.

    \b
    Examples:
      metamiq explain merlo2010
      metamiq explain edinburgh --dataset normand1999
      metamiq explain SMD --pooled --dataset normand1999
    """
    from metamiq.effects.measures import effect_sizes
    from metamiq.explaining import explain as explain_number
    from metamiq.pooling.models import random_effects
    from metamiq.pooling.regression import meta_regression

    opened = open_source(dataset)
    if pooled:
        effects = opened.table if name == "yi" else effect_sizes(opened.table, name)
        fit: Any = (
            meta_regression(effects, moderator, method=method, test=test, level=level)
            if moderator
            else random_effects(effects, method=method, test=test, level=level)
        )
        found = explain_number(fit)
    else:
        found = explain_number(opened.content, name, measure=measure, level=level)
    form = "json" if as_json else form
    if form == "json":
        _json(found.to_dict())
    else:
        _print(found, form)


@click.command()
@click.option("--m1", type=float, help="Mean of group 1.")
@click.option("--sd1", type=float, help="SD of group 1.")
@click.option("--n1", type=float, help="Size of group 1.")
@click.option("--m2", type=float, help="Mean of group 2.")
@click.option("--sd2", type=float, help="SD of group 2.")
@click.option("--n2", type=float, help="Size of group 2.")
@click.option("--table", "table", type=click.Path(path_type=Path), help="A study table (CSV): compare whole analyses.")
@click.option("--dataset", help="A bundled dataset or folder: compare whole analyses.")
@click.option("--measure", help="Effect size of the table; not needed when it has yi and vi.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def compare(table: Path | None, dataset: str | None, measure: str | None, as_json: bool, **trial: float | None) -> None:
    """What other programs give for the same data, and which formula differs.

    \b
    Examples:
      metamiq compare --m1 18.9 --sd1 7.4 --n1 15 --m2 24.3 --sd2 6.1 --n2 14
      metamiq compare --dataset normand1999 --measure SMD
    """
    from metamiq.errors import DataError
    from metamiq.explaining.presets import PRESETS, compare_presets
    from metamiq.explaining.programs import compare_programs

    if table is not None or dataset is not None:
        frame = read_study_table(table) if table is not None else open_dataset(str(dataset)).trials
        found = compare_presets(frame, measure)
        notes = [f"{p.name}: {p.program}. {p.source}." + (f" Not checked: {p.not_known}." if p.not_known else "")
                 for p in PRESETS.values()]  # fmt: skip
        if as_json:
            _json({"presets": _records(found), "sources": notes})
            return
        shown = ["preset", "estimate", "ci_low", "ci_high", "pi_low", "pi_high", "tau2", "I2"]
        click.echo(found[shown].to_string(index=False, float_format=lambda x: f"{x:.4f}", na_rep=""))
        click.echo(found[["preset", "method", "test", "prediction", "i2_from"]].to_string(index=False))
        for note in notes:
            say(note)
        return
    missing = [f"--{name}" for name, value in trial.items() if value is None]
    if missing:
        raise DataError(f"Give one trial (still missing: {', '.join(missing)}), or --dataset or --table.")
    numbers = {name: value for name, value in trial.items() if value is not None}
    found = compare_programs(**{f"{name}i": value for name, value in numbers.items()})
    if as_json:
        _json({"programs": _records(found)})
        return
    click.echo(f"{'program':<28} {'g':>11} {'variance':>11}  as metafor's default, but")
    for row in found.to_dict("records"):
        click.echo(f"{row['program']!s:<28} {row['yi']:>11.7f} {row['vi']:>11.8f}  {row['differs'] or '-'}")


@click.command()
@_numbers("m1", "sd1", "n1", "m2", "sd2", "n2", "t", "df", "r")
@_numbers("m1_pre", "sd1_pre", "m1_post", "sd1_post", "m2_pre", "sd2_pre", "m2_post", "sd2_post")
@click.option("--d", metavar="X", help="The d that was printed.")
@click.option("--g", metavar="X", help="The g that was printed.")
@click.option("--effect", metavar="X", help="An effect size that was printed, d or g unknown.")
@click.option("--v", metavar="X", help="The variance that was printed.")
@click.option("--se", metavar="X", help="The standard error that was printed.")
@_pair("--ci", "ci", "The interval that was printed.")
@click.option("--level", default=0.95, show_default=True, help="Coverage of that interval.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def which(ci: tuple[str, str] | None, level: float, as_json: bool, **given: str | None) -> int | None:
    """Which formula gives the number that someone printed.

    \b
    Examples:
      metamiq which --t 2.51 --df 14 --d 1.34
      metamiq which --m1 18.9 --sd1 7.4 --n1 15 --m2 24.3 --sd2 6.1 --n2 14 --g -0.7712691 --v 0.14071627

    Exit code 1 when no formula tried gives it; the nearest are shown.
    """
    from metamiq.errors import DataError
    from metamiq.explaining.sleuth import which as search

    printed: dict[str, Any] = {name: given.pop(name) for name in ("d", "g", "effect", "v", "se")}
    if ci:
        printed |= {"ci_low": ci[0], "ci_high": ci[1]}
    inputs: dict[str, float] = {}
    for name, text in given.items():
        if text is None:
            continue
        try:
            inputs[name] = float(text.replace(",", ".").replace("−", "-"))
        except ValueError as problem:
            raise DataError(f"--{name.replace('_', '-')} must be a number, not {text!r}.") from problem
    found = search(inputs, level=level, **printed)
    if as_json:
        _json({"printed": dict(found.printed), "suspects": _records(found.to_frame())})
    else:
        click.echo(found.summary())
    return None if found.matches else EXIT_DISAGREES


@click.command()
@click.option("--seed", type=int, help="The same seed gives the same exercise.")
@click.option("--kind", type=click.Choice(["SMD", "t", "PPC_PRE"]), help="Kind of exercise; any by default.")
@click.option("--answer", metavar="X", help="Answer at once, without being asked.")
@click.option("--solution", is_flag=True, help="Show the steps to the answer; without --answer, at once.")
@guarded
def quiz(seed: int | None, kind: str | None, answer: str | None, solution: bool) -> int | None:
    """An exercise from published numbers; a wrong answer is told its likely slip.

    \b
    Example:
      metamiq quiz --seed 1

    Exit code 1 when the answer is wrong.
    """
    from metamiq.explaining.quiz import exercise

    if answer is not None and seed is None:
        raise ValueError("--answer needs --seed, so that the question is the same one.")
    task = exercise(seed, kind)
    click.echo(f"{task.question}\n({task.source})")
    if solution and answer is None:
        click.echo("\n" + task.solution.to_text())
        return None
    if answer is None:
        answer = str(click.prompt("Your answer", type=str, err=True))
    verdict = task.check(answer)
    click.echo(verdict.text())
    if solution or not verdict.right:
        click.echo("\n" + task.solution.to_text())
    return None if verdict.right else EXIT_DISAGREES


def _print(found: Derivation, form: str) -> None:
    text = {"text": found.to_text, "latex": found.to_latex, "markdown": found.to_markdown}[form]()
    click.echo(text.rstrip("\n"))


def _json(content: dict[str, Any]) -> None:
    from metamiq.report.writing import json_text

    click.echo(json_text(content), nl=False)


def _records(frame: Any) -> list[dict[str, Any]]:
    from metamiq.report.content import json_value

    return [{str(k): json_value(v) for k, v in row.items()} for row in frame.to_dict(orient="records")]
