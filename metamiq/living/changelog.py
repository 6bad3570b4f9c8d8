"""What a transaction writes down about itself: provenance.csv, value by value, and an entry of CHANGES.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import metamiq
from metamiq.living.difference import Difference, describe_rows, plain_text
from metamiq.living.dry_run import Plan
from metamiq.living.merging import CellChange
from metamiq.wording import fixed

PROVENANCE = "provenance.csv"
CHANGES = "CHANGES.md"
_PROVENANCE = ("version", "date", "table", "row", "column", "before", "after", "source", "locator", "by")
_TITLE = "# Changes\n"


def provenance(folder: Path, plan: Plan, version: int, date: str) -> bytes:
    """The content of provenance.csv with one line more for each cell that the plan changes."""
    file = folder / PROVENANCE
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if not file.exists():
        writer.writerow(_PROVENANCE)
    for c in plan.changes:
        writer.writerow([version, date, c.table, c.key, c.column, c.before, c.after, c.source, c.locator, plan.by])
    old = file.read_bytes() if file.exists() else b""
    return old + (b"\n" if old and not old.endswith(b"\n") else b"") + out.getvalue().encode("utf-8")


def entry(plan: Plan, version: int, date: str) -> str:
    """The entry of CHANGES.md for a plan; text from the data is escaped."""
    read = [c for c in plan.changes if not c.is_gone]
    sources = dict.fromkeys(f"{plain_text(c.source)} ({plain_text(c.locator)})" for c in read)
    rows = dict.fromkeys((c.table, c.key, c.is_new, c.is_gone) for c in plan.changes)
    data = []
    for table, key, is_new, is_gone in rows:
        cells = (c for c in plan.changes if (c.table, c.key) == (table, key))
        what = "added." if is_new else "removed." if is_gone else f"changed: {_cells(cells)}"
        data.append(f"{table} `{plain_text(key)}`: {what}")
    if sources:
        data.append(f"Read in {'; '.join(sources)}.")
    return entry_text(version, date, plan.why, plan.by, data, plan.difference)


def _cells(changes: Iterable[CellChange]) -> str:
    return "; ".join(
        f"{c.column} {plain_text(c.before) or '(empty)'} -> {plain_text(c.after) or '(empty)'}" for c in changes
    )


def entry_text(version: int, date: str, why: str, by: str, data: Iterable[str], difference: Difference) -> str:
    """One entry under the headings that living reviews use: what changed in data, methods and results."""
    values = {str(r["quantity"]): r for r in difference.answer.to_dict("records")}

    def ends(digits: int, *names: str) -> str:
        shown = [" to ".join(fixed(float(values[name][end]), digits) for name in names) for end in ("before", "after")]
        return " -> ".join(shown)

    results = [
        f"k {ends(0, 'k')} (points {ends(0, 'k_points')}, bounds {ends(0, 'k_bounds')}).",
        f"Pooled g {ends(2, 'estimate')}; 95% interval {ends(2, 'ci_low', 'ci_high')}; prediction interval "
        f"{ends(2, 'pi_low', 'pi_high')}; tau2 {ends(3, 'tau2')}.",
        *(plain_text(sentence) for sentence in difference.moved or ("No conclusion is different.",)),
    ]
    methods = (
        f"As before: random-effects maximum likelihood of points and bounds, metamiq {metamiq.__version__}, both "
        "states computed by the same code."
    )
    lines = [f"## Version {version} ({date})", "", plain_text(why) + (f" ({plain_text(by)})" if by else ""), ""]
    lines += [f"### Data: {describe_rows(difference.data)}", "", *(f"- {line}" for line in data), ""]
    lines += ["### Methods", "", f"- {methods}", "", "### Results", "", *(f"- {line}" for line in results)]
    return "\n".join(lines) + "\n"


def changes_file(folder: Path, entry: str) -> bytes:
    """The content of CHANGES.md with the entry on top."""
    file = folder / CHANGES
    old = file.read_text(encoding="utf-8") if file.exists() else _TITLE
    title, rest = (_TITLE, old[len(_TITLE) :]) if old.startswith(_TITLE) else (_TITLE, "\n" + old)
    return f"{title}\n{entry}{rest}".encode()
