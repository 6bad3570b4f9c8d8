"""What a command that pools a study table says of the table beside its answer, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metamiq.cli.common import say

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 400  # a longer table is checked when somebody asks for it


def say_what_was_noticed(table: pd.DataFrame, effects: pd.DataFrame, left_out: list[str], measure: str | None) -> None:
    """Which rows gave no effect size and why, where standard errors come from, and whether there is much to check."""
    if left_out:
        lacks = _lacking(table.loc[~table.index.isin(effects.index)], measure)
        said = ", ".join(f"{name}{lack}" for name, lack in zip(left_out, lacks, strict=True))
        say(f"note: left out, no effect size: {said}")
    if measure is None and not {"vi", "sei"} & set(table.columns):
        say("note: standard errors from the intervals ci_low to ci_high, 95% where no ci_level says otherwise")
    if "file" in table.attrs and len(table) <= MOST_ROWS:
        _say_what_check_finds(table)


def _lacking(rows: pd.DataFrame, measure: str | None) -> list[str]:
    """Which of the numbers that an effect size comes from each row lacks, in brackets."""
    from metamiq.effects.measures import MEASURES

    needs = MEASURES[measure].columns if measure else ("yi", "vi", "sei", "ci_low", "ci_high")
    known = [name for name in needs if name in rows]
    lacks = [", ".join(name for name in known if not row[name]) for _, row in rows.notna().iterrows()]
    return [f" (no {names})" if names else "" for names in lacks]


def _say_what_check_finds(table: pd.DataFrame) -> None:
    """One line when the rules of `metamiq check` find errors or warnings: an answer should not come without them."""
    from metamiq.living.check import check
    from metamiq.wording import count

    grave = [row for row in check(table).table.itertuples() if row.severity != "note"]
    if grave:
        first = f"{grave[0].row}: {grave[0].found}"
        more = f", and {len(grave) - 1} more" if len(grave) > 1 else ""
        say(f"note: metamiq check has {count(len(grave), 'doubt')} about this table ({first}{more})")
