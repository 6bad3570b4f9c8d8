"""Whether the counts of a PRISMA 2020 flow diagram add up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from metamiq.datasets.faults import Fault, quoted
from metamiq.datasets.flow import (
    IDENTIFIED,
    KEYS,
    OTHER_IDENTIFIED,
    OTHER_REPORTS,
    PREVIOUS,
    REMOVED,
    TOTALS,
    has_counts,
)
from metamiq.errors import DataError

_ADVICE = "Check these counts against the search log; leave a count empty if it is not known."


@dataclass(frozen=True, slots=True)
class Box:
    """The counts under one key.

    Attributes
    ----------
    key : str
        As in the file.
    total : int or None
        As stated, or the sum of the parts when each is stated; None when it is not known.
    parts : tuple of (str, int or None)
        Reasons or sources with their counts, in the order of the file.
    line : int or None
        Line of the file on which it first stands.
    stated : int or None
        The total as the file has it.
    """

    key: str
    total: int | None
    parts: tuple[tuple[str, int | None], ...]
    line: int | None
    stated: int | None

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest value that the total can have."""
        if self.total is not None:
            return self.total, self.total
        return sum(n for _, n in self.parts if n is not None), math.inf


def flow_boxes(flow: pd.DataFrame) -> dict[str, Box]:
    """The counts of a flow by key: stated totals, and parts with their reasons.

    Raises
    ------
    DataError
        If the columns ``key`` and ``n`` are missing, or a key is none of the known ones.

    Examples
    --------
    >>> made_up = pd.DataFrame({"key": ["databases", "databases"], "n": [80, 40], "reason": ["A", "B"]})
    >>> flow_boxes(made_up)["databases"].total
    120
    """
    if not {"key", "n"} <= set(flow):
        raise DataError(
            f"A flow must have the columns key and n, but it has {', '.join(map(str, flow.columns))}. "
            "Read it with read_flow."
        )
    unknown = sorted({str(key) for key in flow["key"]} - set(KEYS))
    if unknown:
        raise DataError(
            f"Every key must be one of {', '.join(KEYS)}, but {', '.join(map(quoted, unknown))} came. "
            "Correct it; flow_template has them all."
        )
    counts = pd.to_numeric(flow["n"], errors="coerce").tolist()
    reasons = flow["reason"].tolist() if "reason" in flow else [None] * len(flow)
    lines = flow["line"].tolist() if "line" in flow else [None] * len(flow)
    rows: dict[str, list[tuple[str, int | None, int | None]]] = {}
    for key, n, reason, line in zip(flow["key"], counts, reasons, lines, strict=True):
        named = "" if reason is None or pd.isna(reason) else str(reason).strip()
        rows.setdefault(str(key), []).append((named, None if math.isnan(n) else int(n), line))
    out = {}
    for key, given in rows.items():
        parts = tuple((reason, n) for reason, n, _ in given if reason)
        stated = next((n for reason, n, _ in given if not reason and n is not None), None)
        known = [n for _, n in parts if n is not None]
        # A row without reason and without count says that the total is not stated.
        whole = bool(parts) and len(known) == len(parts) and len(parts) == len(given)
        out[key] = Box(key, stated if stated is not None else sum(known) if whole else None, parts, given[0][2], stated)
    return out


def flow_arithmetic(flow: pd.DataFrame) -> pd.DataFrame:
    """Check that the counts of a flow diagram follow from each other.

    records_screened = identified - removed; reports_sought = records_screened - records_excluded; reports_assessed =
    reports_sought - reports_not_retrieved; reports_included = reports_assessed - reports_excluded, with those found by
    other methods; totals = previous + new; a total is the sum of its reasons; studies are no more than their reports.
    A count that is not stated is unknown, and a check is done as far as the others allow: 120 screened cannot lose 130.
    Of a group (sources; removals) the keys that the file leaves out count as none when another of the group is there.

    Parameters
    ----------
    flow : DataFrame
        As `read_flow` returns it: ``key n``, and ``reason line`` if there are any.

    Returns
    -------
    DataFrame
        One row per check: ``check`` (the rule), ``holds`` (True, False, or None when too little is stated), ``finding``
        (a sentence with file and line where it does not hold, why it cannot be done where too little is stated, else
        empty) and ``line``.

    Raises
    ------
    DataError
        If `flow` is no such table.

    References
    ----------
    Page MJ et al. (2021). The PRISMA 2020 statement. BMJ 372:n71.

    Examples
    --------
    Made-up counts that do not add up:

    >>> flow = pd.DataFrame({"key": ["records_screened", "records_excluded", "reports_sought"], "n": [120, 90, 40]})
    >>> checks = flow_arithmetic(flow)
    >>> print(checks.loc[checks["holds"].eq(False), "finding"].item())
    reports_sought must be records_screened - records_excluded = 120 - 90 = 30, but it is 40 (the table). Check ...
    """
    boxes = flow_boxes(flow)
    check = _Checks(boxes, str(flow.attrs.get("file", "the table")))
    previous = has_counts(flow, PREVIOUS)
    other = has_counts(flow, OTHER_IDENTIFIED + OTHER_REPORTS)
    for box in boxes.values():
        check.parts(box)
    check.equal("records_screened", check.given(IDENTIFIED), check.given(REMOVED))
    check.equal("reports_sought", ["records_screened"], ["records_excluded"])
    check.equal("reports_assessed", ["reports_sought"], ["reports_not_retrieved"])
    if other:
        check.at_most("other_reports_sought", check.given(OTHER_IDENTIFIED))
        check.equal("other_reports_assessed", ["other_reports_sought"], ["other_reports_not_retrieved"])
    assessed = ["reports_assessed"] + ["other_reports_assessed"] * other
    excluded = ["reports_excluded"] + ["other_reports_excluded"] * other
    if "reports_included" in boxes:
        check.equal("reports_included", assessed, excluded)
        check.at_most("studies_included", ["reports_included"])
    else:
        check.studies(assessed, excluded)
    if previous and "previous_reports" in boxes:
        check.at_most("previous_studies", ["previous_reports"])
    for total, new, old in zip(TOTALS, ("studies_included", "reports_included"), PREVIOUS, strict=True):
        if total in boxes:
            check.equal(total, [old, new] if previous else [new], [])
    if set(TOTALS) <= set(boxes):
        check.at_most("total_studies", ["total_reports"])
    return pd.DataFrame(check.rows, columns=["check", "holds", "finding", "line"]).astype({"holds": object})


def _sum_text(plus: Sequence[str], minus: Sequence[str]) -> str:
    return " + ".join(plus) + "".join(f" - {key}" for key in minus)


class _Checks:
    """The checks of one flow, as they are made."""

    def __init__(self, boxes: dict[str, Box], file: str) -> None:
        self.boxes, self.file = boxes, file
        self.rows: list[tuple[str, bool | None, str, int | None]] = []

    def given(self, group: Sequence[str]) -> list[str]:
        """Keys of a group that the file has; all of them, unknown, when it has none."""
        return [key for key in group if key in self.boxes] or list(group)

    def _range(self, key: str) -> tuple[float, float]:
        return self.boxes[key].range if key in self.boxes else (0.0, math.inf)

    def _sum(self, keys: Iterable[str]) -> tuple[float, float]:
        ranges = [self._range(key) for key in keys]
        return sum(low for low, _ in ranges), sum(high for _, high in ranges)

    def _line(self, key: str, others: Iterable[str]) -> int | None:
        return next((self.boxes[k].line for k in (key, *others) if k in self.boxes), None)

    def _unknown(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key not in self.boxes or self.boxes[key].total is None]

    def _add(self, rule: str, holds: bool | None, finding: str, line: int | None) -> None:
        self.rows.append((rule, holds, finding, line))

    def _compare(self, key: str, sign: str, plus: Sequence[str], minus: Sequence[str]) -> None:
        rule = f"{key} {sign} {_sum_text(plus, minus)}"
        low, high = self._range(key)
        (plus_low, plus_high), (minus_low, minus_high) = self._sum(plus), self._sum(minus)
        least, most = plus_low - minus_high, plus_high - minus_low
        line = self._line(key, (*plus, *minus))
        unknown = self._unknown((key, *plus, *minus))
        if low > most or (sign == "=" and high < least):
            came = f"it is {int(low)}" if low == high else f"it cannot be below {int(low)}"
            verb = "be" if sign == "=" else "not exceed"
            broken = Fault(f"{key} must {verb} {self._expected(plus, minus, low > most)}", came, self.file, line)
            self._add(rule, False, f"{broken} {_ADVICE}", line)
        elif not unknown and (sign == "=" or high <= least):
            self._add(rule, True, "", line)
        else:
            self._add(rule, None, f"cannot be checked: not stated are {', '.join(unknown)}", line)

    def _expected(self, plus: Sequence[str], minus: Sequence[str], too_much: bool) -> str:
        """The sum in words, in figures (a count that is not known by its key), and what it comes to."""
        totals = {key: self.boxes[key].total if key in self.boxes else None for key in (*plus, *minus)}
        shown = {key: key if n is None else str(n) for key, n in totals.items()}
        (plus_low, plus_high), (minus_low, minus_high) = self._sum(plus), self._sum(minus)
        end = plus_high - minus_low if too_much else plus_low - minus_high
        figures = _sum_text([shown[k] for k in plus], [shown[k] for k in minus])
        steps = [_sum_text(plus, minus), figures, str(int(end))]
        if None in totals.values():
            return f"{' = '.join(dict.fromkeys(steps[:2]))}, which is at {'most' if too_much else 'least'} {int(end)}"
        return " = ".join(dict.fromkeys(steps))

    def equal(self, key: str, plus: Sequence[str], minus: Sequence[str]) -> None:
        """`key` is what the others add up to."""
        self._compare(key, "=", plus, minus)

    def at_most(self, key: str, plus: Sequence[str], minus: Sequence[str] = ()) -> None:
        """`key` does not exceed what the others add up to."""
        self._compare(key, "<=", plus, minus)

    def studies(self, assessed: Sequence[str], excluded: Sequence[str]) -> None:
        """Without `reports_included`: as many studies as reports are left, or fewer, which can then not be checked."""
        self.at_most("studies_included", assessed, excluded)
        rule, holds, _, line = self.rows[-1]
        (low, high), least = self._range("studies_included"), self._sum(assessed)[0] - self._sum(excluded)[1]
        if holds and high < least:
            why = f"cannot be checked: {int(least)} reports are left for {int(low)} studies; add reports_included"
            self.rows[-1] = (rule, None, why, line)

    def parts(self, box: Box) -> None:
        """A stated total is the sum of its reasons or sources."""
        if not box.parts or box.stated is None:
            return
        known = [n for _, n in box.parts if n is not None]
        whole = len(known) == len(box.parts)
        rule = f"{box.key} = the sum of its rows"
        if sum(known) > box.stated or (whole and sum(known) != box.stated):
            must = f"{box.key} must be the sum of its rows ({sum(known)}{'' if whole else ' or more'})"
            fault = Fault(must, f"its total is stated as {box.stated}", self.file, box.line, advice=_ADVICE)
            self._add(rule, False, str(fault), box.line)
        else:
            self._add(rule, True if whole else None, "" if whole else "cannot be checked: a row has no count", box.line)
