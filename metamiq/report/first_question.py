"""The report on MI added to CBT, as a document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metamiq.explaining.methods_first_question import first_question_methods
from metamiq.question import Answers, CannotFit
from metamiq.report import content, derivations, glossary, methods, what_if
from metamiq.report.choices import ChoicesFound
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
    Verdicts,
    cell_text,
    grid,
)
from metamiq.report.planned import LEAST_POINTS, label_small_study, mark, with_sentence
from metamiq.report.review import ReviewParts
from metamiq.report.versions import versions
from metamiq.report.writing import csv_text, json_text
from metamiq.verdicts import Audit
from metamiq.wording import count, fixed

if TYPE_CHECKING:
    from metamiq.protocol.compliance import Compliance
    from metamiq.sensitivity.small_study_overview import SmallStudyEffects


def document(
    answers: Answers,
    audit: Audit,
    tables: dict[str, pd.DataFrame],
    figures: dict[str, str],
    panel: what_if.WhatIf | CannotFit | None = None,
    choices: ChoicesFound | CannotFit | None = None,
    planned: Compliance | None = None,
    small: SmallStudyEffects | None = None,
    review: ReviewParts = ReviewParts(),  # noqa: B008  frozen, and empty
) -> Document:
    """Put together what was computed.

    Parameters
    ----------
    answers, audit
        What was computed.
    tables : dict
        From `content.tables`.
    figures : dict
        Name to SVG element, from `figures.first_question`.
    panel : WhatIf or CannotFit, optional
        From `what_if.first_question`; without it the page has no "what if".
    choices : ChoicesFound or CannotFit, optional
        From `choices.choices_of`; without it the page has no section on all choices at once.
    planned : Compliance, optional
        From `planned.first_question`; without it the report says that there is no protocol.
    small : SmallStudyEffects, optional
        From `small_study_of`; computed here when it is not given.
    review : ReviewParts, optional
        From `review.review_parts`: study characteristics, and what else a review reports.
    """
    explained = derivations.first_question(answers, audit)
    known = {item.key for item in explained}
    paragraphs = first_question_methods(answers)
    looked = _small_study(answers, figures, small_study_of(answers) if small is None else small, planned)
    data = content.results(answers, audit, tables, planned) | {
        "small_study": [b.text if isinstance(b, Text) else b.caption for b in looked if isinstance(b, Text | Figure)],
        **methods.data(paragraphs),
        "glossary": glossary.first_question(),
        "versions": versions(),
        "derivations": {item.key: {"title": item.title, "text": item.text} for item in explained},
    }
    sections = [
        Section("forest", "Forest plot", _drawn(figures, ("forest", _FOREST))),
        Section("verdicts", "Does the published answer hold?", _verdicts(tables)),
        *review.findings,
        *_what_if(panel),
        Section("trials", "Trials and sources", _trials(tables, known)),
        *review.studies,
        Section("moderators", "Moderators", _moderators(tables, figures)),
        Section("dropout", "Dropout", _dropout(tables, figures)),
        Section("sensitivity", "How far each choice moves it", _sensitivity(tables, figures)),
        *_choices(choices),
        Section("small-study", "Small-study effects", looked),
        Section("missing", "What is missing, and where to find it", _missing(tables)),
        Section("derivations", "How each number came about", (Text(_OPEN), Explanations(explained))),
        Section("calculator", "Calculator", (Text(_CALCULATOR), Calculator())),
        Section("methods", "Methods", methods.blocks(paragraphs, _made(answers))),
        Section("words", "Words", (Terms(glossary.first_question()),)),
        Section("downloads", "Data and results", _downloads(tables, data)),
    ]
    links = tuple(link for link in _EXPLAINED if link[0] in known)
    said = with_sentence(content.answer(answers), planned)
    return Document(content.QUESTION, tuple(said), links, tuple(mark(sections, planned)), data)


_FOREST = (
    "Filled squares are effect sizes, hatched bars are bounds: what a verdict says about g. The diamond is the pooled "
    "mean with its interval, the bar below it where the effect in a new trial may lie."
)
_EXPLAINED = (("pooled", "pooled g, its interval and the weights"), ("tau2", "tau2, I2 and the prediction interval"))
_OPEN = "Every underlined number of this page leads here."
_CALCULATOR = "Hedges g from what a paper prints, step by step. Group 1 is the treatment, group 2 the comparison."


def _drawn(figures: dict[str, str], *wanted: tuple[str, str]) -> tuple[Block, ...]:
    return tuple(Figure(name, figures[name], caption) for name, caption in wanted if name in figures)


def _verdicts(tables: dict[str, pd.DataFrame]) -> tuple[Block, ...]:
    lead = Text(
        "Marker & Norton (2018) pooled twelve trials. Their trial list could not be read; these verdicts compare their "
        "claims with the evidence that could."
    )
    return lead, Verdicts(tuple(_record(r) for r in tables["verdicts"].to_dict(orient="records")))


def _record(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in row.items()}


def _what_if(panel: what_if.WhatIf | CannotFit | None) -> tuple[Section, ...]:
    if panel is None:
        return ()
    if isinstance(panel, CannotFit):
        return (Section("what-if", "What if", (Text(panel.reason),)),)
    return (Section("what-if", "What if", (Panel(panel.payload(), what_if.describe(panel)),)),)


def _trials(tables: dict[str, pd.DataFrame], known: set[str]) -> tuple[Block, ...]:
    def trial(row: dict[str, Any]) -> Cell:
        doi = cell_text(row["doi"])
        return Cell(row["label"], href=f"https://doi.org/{doi}" if doi else "")

    def effect(row: dict[str, Any]) -> Cell:
        text = fixed(row["yi"]) if row["kind"] == "point" else f"{_end(row['yi_low'])} to {_end(row['yi_high'])}"
        key = f"trial-{row['trial_id']}"
        return Cell(text.replace("-", "\N{MINUS SIGN}"), True, why=key if key in known else "", source=_source(row))

    def size(column: str) -> Any:
        def made(row: dict[str, Any]) -> Cell:
            text = cell_text(row[column])
            if row["n_source"] == "reported":
                return Cell(text, True)
            mark = "*" if row["n_source"] == "assumed" else "\N{DAGGER}"
            return Cell(f"{text}{mark}", True, source=cell_text(row["assumption"]) or f"{row['n_source']} arm sizes")

        return made

    effects = grid(
        "effects",
        tables["effects"],
        "One row per usable trial. g of a point, or the bounds that a verdict leaves; * assumed and \N{DAGGER} derived "
        "arm sizes. Hover over, tap or focus an underlined number for its source; open it for its steps.",
        ["label", "disorder", "mi_sessions", "n1i", "n2i", "outcome", "report", "g", "weight"],
        cells={
            "label": trial,
            "g": effect,
            "n1i": size("n1i"),
            "n2i": size("n2i"),
            "weight": lambda r: (
                Cell(fixed(r["weight"], 1), True, why="pooled") if r["weight"] == r["weight"] else Cell("")
            ),
        },
        heads={"label": "trial", "report": "reported", "g": "g, or its bounds", "weight": "weight %"},
    )
    excluded = grid("excluded", tables["excluded"], "Not pooled, and why.", ["label", "role", "reason"])
    return effects, excluded


def _end(value: float) -> str:
    return "\N{INFINITY}" if np.isposinf(value) else "-\N{INFINITY}" if np.isneginf(value) else fixed(value)


def _source(row: dict[str, Any]) -> str:
    parts = [f"Source: {cell_text(row['source']) or 'not stated'}, {row['label']}; {cell_text(row['certainty'])}."]
    parts += [f"{cell_text(row['route'])[:1].upper()}{cell_text(row['route'])[1:]}."]
    parts += [f"{x[:1].upper()}{x[1:].rstrip('.')}." for c in ("assumption", "note") if (x := cell_text(row[c]))]
    return " ".join(parts)


def _moderators(tables: dict[str, pd.DataFrame], figures: dict[str, str]) -> tuple[Block, ...]:
    return (
        *_drawn(
            figures,
            ("disorder", "Mean effect by disorder, one common tau2."),
            ("dose", "Effect against the number of MI sessions."),
            ("era", "Trials published by April 2018 against later ones."),
        ),
        grid("groups", tables["groups"], "Mean effect by disorder, one common tau2."),
        grid(
            "moderators",
            tables["moderators"],
            "Coefficients, profile-likelihood intervals and likelihood-ratio tests.",
            ["moderator", "term", "estimate", "ci_low", "ci_high", "p_value", "term_p", "note"],
            cells={"term": lambda r: Cell(re.sub(r"^.*\[T\.(.*)\]$", r"\1", cell_text(r["term"])))},
        ),
    )


def _dropout(tables: dict[str, pd.DataFrame], figures: dict[str, str]) -> tuple[Block, ...]:
    caption = "A ratio below 1, or a difference below 0, means less dropout with MI + CBT."
    return (*_drawn(figures, ("dropout", "Odds ratios of dropout.")), grid("dropout", tables["dropout"], caption))


def _sensitivity(tables: dict[str, pd.DataFrame], figures: dict[str, str]) -> tuple[Block, ...]:
    out: list[Block] = [grid("estimates", tables["estimates"], "The pooled effect under each choice of trials.")]
    out += _drawn(figures, ("leave_one_out", "The pooled mean without each trial in turn."))
    if not tables["leave_one_out"].empty:
        out.append(grid("leave_one_out", tables["leave_one_out"], "Leaving one out: the mean without this trial."))
    out += _drawn(figures, ("cumulative", "The pooled mean as trials were published."))
    return tuple(out)


def _choices(found: ChoicesFound | CannotFit | None) -> tuple[Section, ...]:
    if found is None:
        return ()
    if isinstance(found, CannotFit):
        return (Section("choices", "All choices at once", (Text(found.reason),)),)
    blocks: list[Block] = [
        Text(
            "Every defensible choice that the dataset's folder declares, crossed with every other. No single one of "
            "these analyses is the right one; their spread is what the choices are worth."
        ),
        *(Text(line) for line in found.summary),
        Figure(
            "choices",
            found.svg,
            f"{found.drawn} of {found.fitted:,} specifications, evenly spaced in the order of their estimates, above "
            "the choices that move the answer most.",
        ),
        grid(
            "choices",
            found.moves,
            "Which choice moves the answer most: share of the variance of the estimates between its options, and the "
            "options with the lowest and the highest mean.",
            heads={"eta2": "share %", "lowest": "lowest mean", "highest": "highest mean"},
        ),
        grid("options", found.options, "What the specifications of each option come to."),
    ]
    return (Section("choices", "All choices at once", tuple(blocks)),)


def small_study_of(answers: Answers) -> SmallStudyEffects | None:
    """What every method says of the effect sizes alone; None where they are too few."""
    fit = answers.points_only
    if isinstance(fit, CannotFit) or fit.k < LEAST_POINTS:
        return None
    # Loaded here only: it takes time, and this evidence has no use for it yet.
    from metamiq.sensitivity.small_study_overview import small_study_effects

    return small_study_effects(fit)


def _small_study(
    answers: Answers, figures: dict[str, str], found: SmallStudyEffects | None, planned: Compliance | None
) -> tuple[Block, ...]:
    fit = answers.points_only
    points = 0 if isinstance(fit, CannotFit) else fit.k
    counts = f"{count(points, 'effect size')} and {count(len(answers.effects) - points, 'bound')}"
    drawn = _drawn(
        figures,
        (
            "albatross",
            f"Participants against p-value: {counts}. A bar holds every p-value that the trial's verdict allows, and "
            "does not say where in it; the curves are where effects of one size lie. It shows which verdicts trials of "
            "which size gave. It must not be read as a funnel: it cannot show that small trials report larger effects.",
        ),
    )
    why = (
        "Funnel plots and their tests compare effect sizes with their standard errors; a verdict has neither. Here "
        f"there are {counts}."
    )
    if found is None:
        reason = f" {fit.reason}" if isinstance(fit, CannotFit) else ""
        return (
            Text(
                f"Small-study effects cannot be looked for in this evidence. {why} Tests and corrections need at least "
                f"{LEAST_POINTS} effect sizes, and should have 10 or more.{reason} A funnel plot is left out: with so "
                "few points there is no shape to see."
            ),
            Text(
                "That does not show that there are none: a literature in which small trials are published when they "
                "are significant would look like this too."
            ),
            *drawn,
        )
    from metamiq.report.small_study import small_study_blocks

    return (
        Text(f"{why} The bounds have no part in what follows."),
        *drawn,
        *small_study_blocks(label_small_study(found, planned)),
    )


def _missing(tables: dict[str, pd.DataFrame]) -> tuple[Block, ...]:
    columns = ["label", "disorder", "mi_sessions", "now", "lacks", "where"]
    caption = "Candidate trials that are not effect sizes yet: each number found turns a bound into a point."
    return (grid("missing", tables["missing"], caption, columns, heads={"label": "trial"}),)


def _made(answers: Answers) -> str:
    return f"Dataset {answers.ds.name}. " + ", ".join(f"{n} {v}" for n, v in versions().items()) + "."


def _downloads(tables: dict[str, pd.DataFrame], data: dict[str, Any]) -> tuple[Block, ...]:
    files = {f"{name}.csv": csv_text(table) for name, table in tables.items()}
    return Text("Everything that this page shows, at full precision."), Downloads(
        {"results.json": json_text(data), **files}
    )
