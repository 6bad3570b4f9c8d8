"""The rows of a table whose layout is known: which are studies, which cells hold nothing, what must not be pooled."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import pandas as pd

from metamiq.datasets.cells import CsvTable
from metamiq.datasets.faults import Fault, FaultyDataError
from metamiq.datasets.layouts import Layout

_NOTHING = re.compile(r"(?:0+(?:[.,]0*)?)?", re.ASCII)


def without_summaries(table: CsvTable, layout: Layout, file: str) -> CsvTable:
    """The rows that are studies: those that head or sum up others are left out, and noted.

    Raises
    ------
    DataError
        If the program writes such rows and the table lacks every column that tells them, or has no other rows.
    """
    frame = table.frame
    name = next((column for column, ours in layout.names.items() if ours == "study"), None)
    if not layout.summaries or name not in frame:
        return table
    signs = [column for column in layout.summaries if column in frame]
    if not signs:
        rule = f"a table of {layout.program} must have a column that tells rows that sum up others from studies"
        advice = f"Export it with all fields, or delete the rows that are no studies and rename {name!r} to 'study'."
        raise FaultyDataError([Fault(rule, f"it has none of {', '.join(layout.summaries)}", file, advice=advice)])
    values = [c for c in (*layout.names, *layout.left) if c in frame and layout.names.get(c) not in ("study", "year")]
    is_study = (frame[signs] == "").all(axis=1) & (frame[values] != "").any(axis=1)
    if not is_study.any():
        rule, came = "a table must have rows of studies", "every row of this one heads or sums up others"
        raise FaultyDataError([Fault(rule, came, file, advice="Export the data of the studies too.")])
    if is_study.all():
        return table
    out = [str(line) for line, kept in zip(table.lines, is_study, strict=True) if not kept]
    shown = f"{', '.join(out[:10])}{' ...' if len(out) > 10 else ''}"
    return table.only(is_study.tolist(), f"rows that head or sum up others left out (line {shown})")


def without_fillers(table: CsvTable, layout: Layout, chosen: Collection[str]) -> CsvTable:
    """Empty the cells in which a program writes 0 for what an analysis does not use; a column of these only goes.

    The columns of a block are not used by an analysis in which they hold nothing but 0 while another block holds more.
    Columns in `chosen` are kept as they are.
    """
    frame = table.frame.copy()
    blocks = [[c for c in block.told_by if c in frame] for block in layout.blocks]
    if not any(blocks):
        return table
    by = [frame[name] for name in layout.analysis if name in frame] or [pd.Series(0, index=frame.index)]
    used = []
    for told_by in blocks:
        something = frame[told_by].map(lambda cell: _NOTHING.fullmatch(cell) is None).any(axis=1)
        used.append(something.groupby(by).transform("any"))
    cleared = set()
    for block, is_used in zip(layout.blocks, used, strict=True):
        others = sum(other for other in used if other is not is_used) > 0
        for column in (c for c in block.columns if c in frame and c not in chosen):
            fillers = ~is_used & others & (frame[column] != "")
            if fillers.any():
                cleared.add(column)
                frame[column] = frame[column].mask(fillers, "")
    if not cleared:
        return table
    gone = [column for column in frame if column in cleared and (frame[column] == "").all()]
    names = ", ".join(repr(column) for column in frame if column in cleared)
    note = f"{names} read as empty where an analysis does not use them: {layout.program} writes 0 there"
    return table._replace(frame=frame.drop(columns=gone), notes=(*table.notes, note))


def remarks(layout: Layout, table: CsvTable, renamed: Mapping[str, str]) -> list[str]:
    """What a user must know of a table of this layout, whose columns are `renamed`."""
    header = list(table.frame)
    notes = [f"layout of {layout.program} recognised" + (f": {layout.note}" if layout.note else "")]
    for name, ours in layout.names.items():
        if name in header and name not in renamed and name != ours:
            notes.append(f"{name!r} not used: {ours} stands in another column")
    for reason in dict.fromkeys(layout.left.values()):
        left = [
            repr(name) for name, why in layout.left.items() if why == reason and name in header and name not in renamed
        ]
        notes += [f"{', '.join(left)} left as found: {reason}"] if left else []
    for column in (name for name in layout.alike if name in header):
        kinds = sorted({cell for cell in table.frame[column] if cell})
        if len(kinds) > 1:
            notes.append(f"{column!r} differs between rows ({', '.join(kinds[:5])}): check that they belong together")
    return notes


def several(layout: Layout, table: CsvTable) -> str:
    """Why the rows must not be pooled together, in words; empty when they may be."""
    columns = [name for name in layout.analysis if name in table.frame]
    kinds = list(dict.fromkeys(zip(*(table.frame[name] for name in columns), strict=True)))
    if len(kinds) < 2:
        return ""
    shown = "; ".join(", ".join(f"{n} {v}" for n, v in zip(columns, kind, strict=True)) for kind in kinds[:10])
    return (
        f"The rows of one analysis can be pooled, but the table has {len(kinds)} analyses: {shown}"
        f"{' ...' if len(kinds) > 10 else ''}. Choose one, for instance "
        + " ".join(f'--where "{name}={value}"' for name, value in zip(columns, kinds[0], strict=True))
        + " (in Python: read_table(..., where={...}))."
    )
