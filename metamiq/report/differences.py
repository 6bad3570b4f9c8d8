"""Subgroups and moderators that a protocol plans, as a section of the report on a study table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from metamiq import plots
from metamiq.explaining.methods import methods_paragraph
from metamiq.plots.forest_rows import measure_of
from metamiq.plots.scale import Scale
from metamiq.pooling.beside import Beside, analyses_beside
from metamiq.pooling.records import PooledEffect
from metamiq.pooling.regression_fit import MetaRegression
from metamiq.pooling.subgroups import Subgroups
from metamiq.report.document import Block, Figure, Section, Text, grid

if TYPE_CHECKING:
    from metamiq.explaining.methods import MethodsParagraph
    from metamiq.protocol.compliance import Compliance
    from metamiq.protocol.record import Protocol

_COLUMNS = ("k", "estimate", "ci_low", "ci_high", "p_value", "tau2", "I2")


def planned_differences(fit: PooledEffect, protocol: Protocol | None) -> list[Beside]:
    """Fit what the protocol plans, by the pooled mean's own method."""
    if protocol is None:
        return []
    further = protocol.analyses
    return analyses_beside(fit, by=further.subgroups, moderators=further.moderators)


def tables(found: Iterable[Beside]) -> dict[str, pd.DataFrame]:
    """Means of the subgroups, or coefficients of the moderators, of each analysis that could be done."""
    return {name: _table(one.fit) for name, one in _named(found) if one.fit is not None}


def _named(found: Iterable[Beside]) -> Iterator[tuple[str, Beside]]:
    """Each analysis with the name of its table and picture."""
    return ((f"difference_{i}", one) for i, one in enumerate(found, start=1))


def _table(fit: Subgroups | MetaRegression) -> pd.DataFrame:
    table = fit.to_frame()[list(_COLUMNS)] if isinstance(fit, Subgroups) else fit.coefficients
    return table.reset_index()


def sections(found: Iterable[Beside], planned: Compliance | None) -> list[Section]:
    """The section with every analysis: its label, test, picture and table; none where nothing is planned."""
    blocks: list[Block] = []
    for key, one in _named(found):
        parted = one.kind == "subgroup"
        name = f"Subgroups by {one.what}" if parted else f"Meta-regression on {one.what}"
        label = "" if planned is None else f": {planned.label(f'{one.kind} {one.what}')}"
        if one.fit is None:
            blocks.append(Text(f"{name}{label}, but it could not be done. {one.failed}"))
            continue
        blocks.append(Text(f"{name}{label}. {_test(one.fit)}"))
        picture = _picture(one.fit)
        if picture:
            shown = "Effects and their mean in each subgroup." if parted else f"Effects against {one.what}."
            blocks.append(Figure(key, picture, shown))
        logarithm = Scale(measure_of(one.fit)).logarithm
        scale = f", on the scale of the {logarithm}" if logarithm else ""
        caption = f"Means by {one.what}{scale}." if parted else f"Coefficients of {one.what}{scale}."
        blocks.append(grid(key, _table(one.fit), caption))
    return [Section("differences", "Why studies may differ", tuple(blocks))] if blocks else []


def paragraphs(found: Iterable[Beside], said: MethodsParagraph) -> list[MethodsParagraph]:
    """What a methods section says of these analyses beside `said`; no sentence twice."""
    known, out = set(said.sentences), []
    for one in found:
        if one.fit is not None:
            paragraph = methods_paragraph(one.fit)
            new = tuple(sentence for sentence in paragraph.sentences if sentence not in known)
            known |= set(new)
            out.append(replace(paragraph, sentences=new))
    return out


def _test(fit: Subgroups | MetaRegression) -> str:
    """The lines of the summary that say whether there is a difference, and what must be borne in mind with it."""
    lines = fit.summary().splitlines()
    if isinstance(fit, Subgroups):
        told = [
            line
            for line in lines
            if line.startswith(("between subgroups", "one row only", "Hartung-Knapp", "left out"))
        ]
    else:
        told = [line for line in lines if line.startswith(("moderators:", "residual:", "left out"))]
        told += [line for line in lines if ": compared with " in line]
    caution = [fit.caution] if isinstance(fit, MetaRegression) and fit.caution else []
    return " ".join([*(f"{line[:1].upper()}{line[1:]}." for line in told), *caution])


def _picture(fit: Subgroups | MetaRegression) -> str:
    try:
        axes = plots.forest(fit) if isinstance(fit, Subgroups) else plots.bubble(fit)
    except ValueError:  # several moderators, or a categorical one
        return ""
    figure = axes.figure.figure
    assert figure is not None
    svg = plots.svg_text(figure)
    plots.release(figure)
    return svg
