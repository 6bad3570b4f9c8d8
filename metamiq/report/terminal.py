"""The short answer on a terminal."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from metamiq.protocol.compliance import Compliance, note_of
from metamiq.question import Answers
from metamiq.report import content
from metamiq.report.planned import with_sentence
from metamiq.wording import fixed

_BLANK_ENDS = re.compile(r"[ \t]+((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


class _Console(Console):
    """A console whose lines do not end in blanks, neither where text wraps nor where a table pads its cells."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as printed:
            super().print(*objects, **options)
        self.file.write(_BLANK_ENDS.sub(r"\1", printed.get()))
        self.file.flush()


def console() -> Console:
    """Standard output; plain text of a fixed width when it is not a terminal."""
    made = _Console(highlight=False, markup=False, emoji=False)
    return made if made.is_terminal else _Console(highlight=False, markup=False, emoji=False, width=110)


def _text(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        whole = math.isfinite(value) and value == int(value) and abs(value) >= 1
        return f"{value:.0f}" if whole else fixed(value)
    return str(value)


def show_table(table: pd.DataFrame, columns: dict[str, str], title: str) -> None:
    """Print some columns of a table, under the given headings, and the labels of analyses."""
    if "planned" in table:
        columns = {**columns, "planned": "planned"}
    out = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    for name, heading in columns.items():
        out.add_column(heading, justify="right" if pd.api.types.is_numeric_dtype(table[name]) else "left")
    for row in table.to_dict(orient="records"):
        out.add_row(*(f"{row[name]:.3f}" if name == "p_value" else _text(row[name]) for name in columns))
    printer = console()
    printer.print(out)
    printer.print()


def show_verdicts(verdicts: pd.DataFrame) -> None:
    """Print each published claim with its verdict and the reason."""
    printer = console()
    printer.print("Published claims (Marker & Norton 2018)", style="bold")
    for row in verdicts.to_dict(orient="records"):
        thin = ", thin evidence" if row["thin"] else ""
        label = f" [{row['planned']}]" if row.get("planned") else ""
        printer.print(f"\n{row['claim_id']}: {row['verdict'].upper()}{thin}{label}", style="bold")
        printer.print(f"  published: {row['published']}   ours: {row['ours']}", soft_wrap=False)
        printer.print(f"  {row['reason']}")
    printer.print()


def show_answers(answers: Answers, tables: dict[str, pd.DataFrame], planned: Compliance | None = None) -> None:
    """Print the answer, the tables behind it and the verdicts; what was planned, or that there is no protocol."""
    printer = console()
    printer.print(content.QUESTION, style="bold")
    for sentence in with_sentence(content.answer(answers), planned):
        printer.print(sentence)
    printer.print()
    effects = tables["effects"].assign(
        g=[
            fixed(r["yi"]) if r["kind"] == "point" else f"{_text(r['yi_low'])} to {_text(r['yi_high'])}"
            for r in tables["effects"].to_dict(orient="records")
        ]
    )
    show_table(
        effects,
        {
            **{"label": "trial", "disorder": "disorder", "n1i": "n MI", "n2i": "n CBT", "n_source": "sizes"},
            **{"report": "reported", "kind": "kind", "g": "g, or its bounds"},
        },
        "Trials pooled",
    )
    show_table(
        tables["estimates"],
        {"analysis": "pooled effect", "k_points": "points", "k_bounds": "bounds", "estimate": "g", "ci_low": "low",
         "ci_high": "high", "p_value": "p", "tau2": "tau2"},
        "Choices of trials",
    )  # fmt: skip
    show_table(
        tables["groups"],
        {"disorder": "disorder", "k_points": "points", "k_bounds": "bounds", "estimate": "g", "ci_low": "low",
         "ci_high": "high"},
        "By disorder",
    )  # fmt: skip
    show_verdicts(tables["verdicts"])
    printer.print(note_of(planned))
    if planned is not None and planned.missing:
        printer.print(planned.missing)
