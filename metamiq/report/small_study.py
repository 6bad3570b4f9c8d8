"""The section on small-study effects and selection, as blocks and as data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from metamiq.pooling.records import RATIO_MEASURES
from metamiq.report.content import json_rows
from metamiq.report.document import Block, Cell, Text, cell_text, grid
from metamiq.sensitivity.small_study_overview import CAUTION, SmallStudyEffects, corrected_text
from metamiq.wording import p_text

_COLUMNS = ["method", "result", "p", "p_of", "corrected", "not_when"]


def small_study_blocks(found: SmallStudyEffects) -> tuple[Block, ...]:
    """Every method in one table with when it must not be read; then what holds here, and which methods it concerns."""
    ratio = found.measure in RATIO_MEASURES
    percent = f"{100 * found.level:g}%"
    heads = {
        "p_of": "p of",
        "corrected": f"corrected {'ratio' if ratio else 'mean'} ({percent} CI)",
        "not_when": "not to be read when",
    }

    def corrected(row: dict[str, Any]) -> Cell:
        text = corrected_text(row["estimate"], row["ci_low"], row["ci_high"], ratio=ratio)
        return Cell(text.replace("-", "\N{MINUS SIGN}"), True)

    table = found.table.assign(p="", corrected="")
    methods = grid(
        "small_study",
        table,
        "Every method, with its defaults; p is the p-value of what the column beside it says.",
        _COLUMNS,
        cells={
            "result": lambda r: Cell(r["result"] or f"not used: {r['refused']}"),
            "p": lambda r: Cell(
                "" if np.isnan(r["p_value"]) else p_text(r["p_value"]).removeprefix("p ").removeprefix("= "), True
            ),
            "p_of": lambda r: Cell("" if np.isnan(r["p_value"]) else r["p_of"]),
            "corrected": corrected,
        },
        heads=heads,
    )
    used = int((table["refused"] == "").sum())
    here = [
        Text(text + (f" ({', '.join(names)})" if len(names) < used else "")) for text, names in found.cautions.items()
    ]
    return Text(CAUTION), methods, *([Text("Bear in mind here:")] if here else []), *here


def small_study_data(found: SmallStudyEffects) -> dict[str, Any]:
    """The same as one JSON object."""
    rows = json_rows(found.table.drop(columns="cautions"))
    for row, cautions in zip(rows, found.table["cautions"], strict=True):
        row["cautions"] = list(cautions)
    return {"methods": rows, "caution": CAUTION}


def small_study_table(found: SmallStudyEffects) -> pd.DataFrame:
    """The same for a spreadsheet: cautions in one cell."""
    return found.table.assign(cautions=[" ".join(cell_text(c) for c in texts) for texts in found.table["cautions"]])
