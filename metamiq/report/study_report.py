"""The report on any study table, as a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metamiq import plots
from metamiq.errors import DataError
from metamiq.explaining.methods import methods_paragraph
from metamiq.plots.scale import Scale
from metamiq.pooling.records import PooledEffect
from metamiq.protocol.compliance import as_dict
from metamiq.question import CannotFit
from metamiq.report import derivations, differences, glossary, methods, what_if
from metamiq.report.content import json_value
from metamiq.report.document import (
    Block,
    Calculator,
    Cell,
    Document,
    Downloads,
    Explanations,
    Figure,
    Panel,
    Section,
    Terms,
    Text,
    grid,
)
from metamiq.report.planned import LEAST_POINTS, label_small_study, label_tables, mark, study_report, with_sentence
from metamiq.report.review import NOTHING, Review, outcomes_of_table, review_parts
from metamiq.report.small_study import small_study_blocks, small_study_data, small_study_table
from metamiq.report.versions import versions
from metamiq.report.writing import csv_text, json_text
from metamiq.sensitivity.deletion import cumulative, leave_one_out
from metamiq.sensitivity.small_study_overview import small_study_effects
from metamiq.tails import critical_value
from metamiq.wording import fixed, from_studies, p_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metamiq.protocol.record import Protocol
    from metamiq.sensitivity.small_study_overview import SmallStudyEffects

_FUNNEL = (
    "Effects against their standard errors. Grey regions say how significant an effect there is: gaps where results "
    "are not significant suggest missing ones. Not to be read with fewer than 10 studies, or where standard errors are "
    "about the same."
)


def document(
    fit: PooledEffect,
    name: str,
    groups: tuple[str, str] = ("group 1", "group 2"),
    protocol: Protocol | None = None,
    vtype: str | None = None,
    review: Review = NOTHING,
) -> Document:
    """Put together the report on a pooled study table.

    Parameters
    ----------
    fit : PooledEffect
        From `random_effects`.
    name : str
        What the table is called.
    groups : tuple of str
        Names of group 1 and group 2; a positive effect means more in group 1.
    protocol : Protocol, optional
        By which every analysis is labelled planned or not planned.
    vtype : str, optional
        Variance formula of the effect sizes, where it was not the measure's own; for the labels.
    review : Review, optional
        Flow of studies, risk of bias, certainty of the evidence; see `review.find_review`.
    """
    measure, title = fit.measure, _title(fit, name, protocol)
    found = small_study_effects(fit) if fit.k >= LEAST_POINTS else None
    unlabelled = _tables(fit)
    panel = what_if.study_table(fit, groups, "g" if measure == "SMD" else Scale(measure).logarithm or "mean")
    further = differences.planned_differences(fit, protocol)
    beside = [(x.kind, x.what, x.failed) for x in further]
    planned = None if protocol is None else study_report(protocol, fit, vtype, unlabelled, panel, found, beside)
    small, tables = label_small_study(found, planned), label_tables(unlabelled, planned)
    shown = review_parts(fit.effects, fit.effects, lambda: outcomes_of_table(fit), review)
    tables |= shown.tables
    tables |= differences.tables(further)
    figures = _figures(fit, groups, review.beside(fit.effects))
    explained = derivations.study_table(fit, measure)
    known = {item.key for item in explained}
    answer, pooled_so = _answer(fit, "" if protocol is None else f"Table: {name}. "), methods_paragraph(fit)
    paragraphs = [pooled_so, *differences.paragraphs(further, pooled_so)]
    data = {
        "title": title,
        "answer": answer,
        "pooled": {str(k): json_value(v) for k, v in fit.to_frame().iloc[0].to_dict().items()}
        | {c: json_value(getattr(fit, c)) for c in ("k", "n_studies", "tau2", "I2", "method", "test", "level")}
        | ({} if planned is None else {"planned": planned.label("pooled")}),
        "measure": measure,
        "tables": {
            key: [{str(k): json_value(v) for k, v in row.items()} for row in table.to_dict(orient="records")]
            for key, table in tables.items()
        },
        "small_study": small_study_data(small) if small else {"methods": [], "caution": _left_out(fit)},
        "protocol": as_dict(planned),
        **methods.data(paragraphs),
        "glossary": glossary.GENERAL,
        "versions": versions(),
        "derivations": {item.key: {"title": item.title, "text": item.text} for item in explained},
    }
    files = tables | ({"small_study": small_study_table(small)} if small else {})
    asked = Text(panel.reason) if isinstance(panel, CannotFit) else Panel(panel.payload(), what_if.describe(panel))
    without = (Text(_left_out(fit), soft=True),) if _left_out(fit) else ()
    sections = [
        Section("forest", "Forest plot", _drawn(figures, ("forest", "Effect sizes, their mean and its intervals."))),
        *shown.findings,
        *([Section("what-if", "What if", (asked,))] if fit.k > 1 else []),
        Section("studies", "Studies", (_studies(tables["effects"], known, measure), *without)),
        *shown.studies,
        *differences.sections(further, planned),
        *(
            [Section("sensitivity", "How far each study moves it", _sensitivity(tables, figures, fit))]
            if fit.k > 1
            else []
        ),
        *([Section("small-study", "Small-study effects", _small_study(small, figures))] if small else []),
        Section("derivations", "How each number came about", (Explanations(explained),)),
        Section("calculator", "Calculator", (Text("Hedges g from what a paper prints, step by step."), Calculator())),
        Section(
            "methods",
            "Methods",
            methods.blocks(paragraphs, ", ".join(f"{n} {v}" for n, v in versions().items())),
        ),
        Section("words", "Words", (Terms(glossary.GENERAL),)),
        Section(
            "downloads",
            "Data and results",
            (Downloads({"results.json": json_text(data), **{f"{k}.csv": csv_text(t) for k, t in files.items()}}),),
        ),
    ]
    said, marked = with_sentence(answer, planned), mark(sections, planned)
    return Document(title, tuple(said), (("pooled", "the mean"),), tuple(marked), data)


def _title(fit: PooledEffect, name: str, protocol: Protocol | None) -> str:
    if protocol is not None:
        return protocol.title
    return f"{name}: a {'fixed-effect' if fit.method == 'FE' else 'random-effects'} meta-analysis"


def _left_out(fit: PooledEffect) -> str:
    """Why sections are missing that have nothing to say about so few effect sizes; nothing where none is."""
    if fit.k >= LEAST_POINTS:
        return ""
    if fit.k > 1:
        return f"Left out: small-study effects, whose tests and corrections need at least {LEAST_POINTS} effect sizes."
    return "Left out, as one effect size cannot show it: what if, how far each study moves it, small-study effects."


def _answer(fit: PooledEffect, table: str) -> list[str]:
    percent = f"{100 * fit.level:g}%"
    scale = Scale(fit.measure)
    ratio, shown = scale.short if scale.is_ratio else "", scale.text

    def with_interval(text: Callable[[float], str], p_value: str = "") -> str:
        middle, low, high = (text(x) for x in (fit.estimate, fit.ci_low, fit.ci_high))
        return middle if np.isnan(fit.ci_low) else f"{middle} ({percent} interval {low} to {high}{p_value})"

    p_value = f"; {p_text(fit.p_value)}"
    if ratio:
        first = f"The mean {ratio} of {from_studies(fit.k, fit.n_studies)} is {with_interval(shown, p_value)}."
        first += f" Its logarithm, with which all is computed: {with_interval(fixed)}."
    else:
        first = f"The mean of {from_studies(fit.k, fit.n_studies)} is {with_interval(fixed, p_value)}."
    if np.isnan(fit.tau2):
        second = "With one effect size nothing can be said about how studies differ."
    else:
        second = f"Studies differ with tau2 = {fixed(fit.tau2, 3)} (I2 = {fit.I2:.0f}%)"
        if np.isfinite(fit.pi_low):
            low, high = (shown(x) if ratio else fixed(x) for x in (fit.pi_low, fit.pi_high))
            second += f"; in a new one the true {ratio or 'effect'} may lie between {low} and {high}"
        second += "."
    return [
        first,
        *filter(None, [fit.caution]),
        second,
        f"{table}Measure: {fit.measure or 'as in yi'}. Estimator {fit.method}, test {fit.test}.",
    ]


def _tables(fit: PooledEffect) -> dict[str, pd.DataFrame]:
    effects = pd.DataFrame(fit.effects).reset_index(drop=True)
    half = float(critical_value(fit.level)) * np.sqrt(fit.source.vi)
    effects = effects.assign(
        row=[str(x) for x in fit.source.labels()],
        ci_low=fit.source.yi - half,
        ci_high=fit.source.yi + half,
        weight=100.0 * fit.weights,
    )
    out: dict[str, pd.DataFrame] = {"effects": effects}
    if fit.k == 1:
        return out
    for key, name, refits in (("leave_one_out", "without", leave_one_out), ("cumulative", "added", cumulative)):
        try:
            table = refits(fit).reset_index()
        except DataError:  # no year
            continue
        columns = [name, "k", "estimate", "ci_low", "ci_high", "tau2", "I2"]
        out[key] = table[[c for c in columns if c in table]]
    return out


def _figures(fit: PooledEffect, groups: tuple[str, str], risk_of_bias: pd.DataFrame | None) -> dict[str, str]:
    out: dict[str, str] = {}

    def add(name: str, draw: Callable[[], Axes]) -> None:
        try:
            figure = draw().figure.figure
        except DataError:
            return
        assert figure is not None
        out[name] = plots.svg_text(figure)
        plots.release(figure)

    add("forest", lambda: plots.forest(fit, groups=groups, risk_of_bias=risk_of_bias))
    if fit.k > 1:
        add("leave_one_out", lambda: plots.leave_one_out(fit, groups=groups))
    if fit.k >= LEAST_POINTS:
        add("funnel", lambda: plots.funnel(fit))
    if "year" in fit.effects and fit.k > 1:
        add("cumulative", lambda: plots.cumulative(fit, groups=groups))
    return out


def _drawn(figures: dict[str, str], *wanted: tuple[str, str]) -> tuple[Block, ...]:
    return tuple(Figure(name, figures[name], caption) for name, caption in wanted if name in figures)


def _studies(effects: pd.DataFrame, known: set[str], measure: str | None) -> Block:
    numbered = effects.assign(place=range(len(effects)))

    def effect(row: dict[str, Any]) -> Cell:
        key = f"row-{row['place']}"
        return Cell(fixed(row["yi"], 3).replace("-", "\N{MINUS SIGN}"), True, why=key if key in known else "")

    return grid(
        "effects",
        numbered,
        "Effect size, sampling variance, interval and weight of each row.",
        ["row", "yi", "vi", "ci_low", "ci_high", "weight"],
        cells={"yi": effect, "weight": lambda r: Cell(fixed(r["weight"], 1), True, why="pooled")},
        heads={"row": "study", "yi": Scale(measure).logarithm or "effect", "weight": "weight %"},
    )


def _small_study(small: SmallStudyEffects, figures: dict[str, str]) -> tuple[Block, ...]:
    return (*_drawn(figures, ("funnel", _FUNNEL)), *small_study_blocks(small))


def _sensitivity(tables: dict[str, pd.DataFrame], figures: dict[str, str], fit: PooledEffect) -> tuple[Block, ...]:
    one = "study" if fit.k == fit.n_studies else "effect size"
    out: list[Block] = list(_drawn(figures, ("leave_one_out", f"The mean without each {one} in turn.")))
    if "leave_one_out" in tables:
        out.append(grid("leave_one_out", tables["leave_one_out"], f"Leaving one out: the mean without this {one}."))
    out += _drawn(figures, ("cumulative", "The mean as studies were published."))
    return tuple(out)
