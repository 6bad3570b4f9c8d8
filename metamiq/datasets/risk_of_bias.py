"""Risk-of-bias judgements: reading robvis' CSV format, and what the tool's own rule says about them.

A judgement is one of the tool's words in small letters, or None where a domain was not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from os import PathLike
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from pydantic import Field, create_model

from metamiq.datasets.cells import CsvTable
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import Fault, FaultyDataError, control_character, quoted
from metamiq.datasets.keys import Source, duplicate_faults
from metamiq.datasets.models import Row, Text
from metamiq.datasets.risk_of_bias_tools import TOOLS, WORDS, Tool, word_of
from metamiq.datasets.rules import Problem
from metamiq.datasets.validate import check_rows
from metamiq.datasets.workbook import is_workbook, read_workbook
from metamiq.errors import DataError


class RiskOfBiasRow(Row):
    """One study of a risk-of-bias table; the columns of its tool's domains (``D1``, ``D2`` ...) come in between."""

    KEY: ClassVar[tuple[str, ...]] = ("study",)

    study: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="Name of the study.")
    overall: Text = Field(None, description="Judgement over all domains.")
    weight: Annotated[float | None, Field(ge=0)] = Field(None, description="Weight of the study in a summary.")

    def problems(self) -> Iterator[Problem]:
        """A name is plain text: it is printed and drawn."""
        if sign := control_character(self.study or ""):
            yield Problem("study", "study must be plain text", f"it holds {sign!r}", "Type it again.")


def read_risk_of_bias(path: str | PathLike[str], tool: str | None = None) -> pd.DataFrame:
    r"""Read a table of risk-of-bias judgements in the format of robvis.

    The first column is the study, the next ones are the tool's domains in its order under any name, then follow
    ``Overall`` and, if there is one, ``Weight``. A judgement is a word or its first letter, in any case: Low, Some
    concerns, High, No information (NI) in RoB 2 and QUADAS-2; Low, Moderate, Serious, Critical, No information in
    ROBINS-I; Low, Unclear, High in ROB1, the template for any domains, whose names are those of the columns. An empty
    cell is a domain that was not judged.

    Parameters
    ----------
    path : str or path-like
        The file: CSV in any dialect that `read_table` reads, or the first sheet of an .xlsx workbook.
    tool : {"ROB2", "ROB2-Cluster", "ROBINS-I", "QUADAS-2", "ROB1"}, optional
        By default the one tool with this number of domains and these judgements; when several fit, they are listed in
        the message and none is chosen.

    Returns
    -------
    DataFrame
        ``study``, a column per domain (``D1``, ``D2`` ...), ``overall``, ``weight`` if there is one, ``line``.
        ``attrs["tool"]`` is the tool, ``attrs["domains"]`` the domain of each column, ``attrs["file"]`` the file,
        ``attrs["notes"]`` what was noticed.

    Raises
    ------
    DataError
        If the file cannot be read, ``Overall`` is missing, no tool or more than one fits, a judgement is none of the
        tool's, or a study stands there twice. All faults are in one message, with their lines.
    ValueError
        If `tool` is none of those named.

    References
    ----------
    McGuinness LA, Higgins JPT (2021). Risk-of-bias VISualization (robvis). Research Synthesis Methods 12:55-61.

    Examples
    --------
    Made-up judgements:

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name, "rob.csv")
    >>> _ = file.write_text("Study,D1,D2,D3,D4,D5,Overall\nA,Low,Low,some concerns,L,Low,S\n")
    >>> rob = read_risk_of_bias(file)
    >>> print(rob.attrs["tool"], rob.loc[0, "D3"], rob.loc[0, "overall"], sep=", ")
    ROB2, some concerns, some concerns
    >>> folder.cleanup()
    """
    if tool is not None and tool not in TOOLS:
        raise ValueError(f"tool must be one of {', '.join(map(repr, TOOLS))}, not {tool!r}.")
    file = str(path)
    table = read_workbook(path, stored_values=True) if is_workbook(path) else read_csv_table(path)
    header = [str(name) for name in table.frame]
    overall, weight = _places(header, file, table.header_line)
    headings = header[1:overall]
    chosen = TOOLS[tool] if tool is not None else _detect(table, headings, overall, file)
    if chosen.domains and len(headings) != len(chosen.domains):
        rule = f"{chosen.name} must have {len(chosen.domains)} domains between the study and Overall"
        came = f"there are {len(headings)}: {', '.join(map(quoted, headings))}"
        advice = "Add or delete columns, or name another tool."
        raise FaultyDataError([Fault(rule, came, file, table.header_line, advice=advice)])
    codes = [f"D{i}" for i in range(1, len(headings) + 1)] if not chosen.domains else list(chosen.domains)
    named = ["study", *codes, "overall", *(["weight"] if weight is not None else [])]
    frame = table.frame.iloc[:, [0, *range(1, overall + 1), *([weight] if weight is not None else [])]].copy()
    frame.columns = pd.Index(named)
    for column in (*codes, "overall"):
        frame[column] = pd.Series([word_of(cell, chosen) or cell for cell in frame[column]], dtype=object)
    checked = check_rows(table._replace(frame=frame), _model(chosen.words, tuple(codes)), file)
    spelled = {code: heading for code, heading in zip(codes, headings, strict=True) if code != heading}
    faults = [_with_heading(fault, spelled) for fault in checked.faults]
    if checked.frame is None:
        raise FaultyDataError(faults)
    faults += duplicate_faults(Source(checked.frame, file, table.lines), RiskOfBiasRow.KEY)
    if faults:
        raise FaultyDataError(faults)
    rob = checked.frame.assign(line=list(table.lines))
    titles = [heading.replace(".", " ").replace("_", " ") for heading in headings]
    rob.attrs.update(
        file=file,
        tool=chosen.name,
        domains=dict(chosen.domains) or dict(zip(codes, titles, strict=True)),
        notes=[*table.notes, *checked.notes, *([] if tool else [f"judgements and domains taken for {chosen.title}"])],
    )
    return rob


def domains_of(rob: pd.DataFrame) -> dict[str, str]:
    """The domain of each column of a risk-of-bias table; the column's own name when the table does not say.

    Examples
    --------
    >>> domains_of(pd.DataFrame({"study": ["A"], "D1": ["low"], "overall": ["low"]}))
    {'D1': 'D1'}
    """
    if "study" not in rob or "overall" not in rob:
        raise DataError(
            f"Judgements must have the columns study and overall, but the columns are "
            f"{', '.join(map(str, rob.columns))}. Read them with read_risk_of_bias."
        )
    titles: Mapping[str, str] = rob.attrs.get("domains", {})
    columns = [str(c) for c in rob.columns if c not in ("study", "overall", "weight", "line")]
    faults = sorted({str(w) for c in (*columns, "overall") for w in rob[c] if not pd.isna(w) and w not in WORDS})
    if faults:
        raise DataError(
            f"Every judgement must be one of {', '.join(WORDS)}, but {', '.join(map(quoted, faults))} came. "
            "Read the file with read_risk_of_bias, which takes other spellings and letters."
        )
    return {column: titles.get(column, column) for column in columns}


def risk_of_bias_findings(rob: pd.DataFrame) -> list[str]:
    """Where the overall judgement is milder than the worst domain, which RoB 2 and ROBINS-I do not allow.

    Nothing is changed; a domain or an overall judgement of "no information" says nothing about severity, and neither
    does an empty cell.

    Parameters
    ----------
    rob : DataFrame
        As `read_risk_of_bias` returns it.

    Returns
    -------
    list of str
        One sentence per study, with file and line; empty for other tools, whose rules differ.

    References
    ----------
    Sterne JAC et al. (2019). RoB 2: a revised tool for assessing risk of bias in randomised trials. BMJ 366:l4898.
    Sterne JAC et al. (2016). ROBINS-I. BMJ 355:i4919.

    Examples
    --------
    Made-up judgements:

    >>> rob = pd.DataFrame({"study": ["A"], "D1": ["high"], "D2": ["low"], "overall": ["low"]})
    >>> rob.attrs["tool"] = "ROB2"
    >>> print(*risk_of_bias_findings(rob))
    The overall judgement must be at least as severe as the worst domain, but study 'A' has 'low' overall and 'high' ...
    """
    columns = list(domains_of(rob))
    tool = TOOLS.get(str(rob.attrs.get("tool")))
    if tool is None or not tool.worst_decides:
        return []
    rank = {word: i for i, word in enumerate(tool.words) if word != "no information"}
    findings = []
    for i, row in enumerate(rob.to_dict("records")):
        worst = max((rank[row[c]] for c in columns if row[c] in rank), default=-1)
        if row["overall"] in rank and rank[row["overall"]] < worst:
            word = tool.words[worst]
            places = ", ".join(c for c in columns if row[c] == word)
            fault = Fault(
                "The overall judgement must be at least as severe as the worst domain",
                f"study {quoted(row['study'])} has {row['overall']!r} overall and {word!r} in {places}",
                str(rob.attrs.get("file", f"row {i + 1}")),
                row.get("line"),
                str(row["study"]),
                "overall",
                f"Correct one of them ({tool.title}), or say in the review why the overall judgement is milder.",
            )
            findings.append(str(fault))
    return findings


def _places(header: Sequence[str], file: str, line: int) -> tuple[int, int | None]:
    """Positions of the overall judgement and, if there is one, of the weight: they end the table."""
    names = [name.casefold().strip() for name in header]
    weight = len(names) - 1 if names[-1] in ("weight", "weights") else None
    overall = (len(names) if weight is None else weight) - 1
    if overall < 2 or not names[overall].startswith("overall"):
        rule = "the columns must be the study, a column per domain, Overall and, if there is one, Weight"
        came = f"they are {', '.join(map(quoted, header))}"
        advice = (
            "Name the column Overall and put it behind the domains; leave its cells empty if there is no judgement."
        )
        raise FaultyDataError([Fault(rule, came, file, line, advice=advice)])
    return overall, weight


def _detect(table: CsvTable, headings: Sequence[str], overall: int, file: str) -> Tool:
    """The one tool that fits; a table that is fit for several, or for none, is asked about."""
    cells = {cell.casefold() for i in range(1, overall + 1) for cell in table.frame.iloc[:, i] if cell}
    right = [tool for tool in TOOLS.values() if not tool.domains or len(tool.domains) == len(headings)]
    fits = [tool for tool in right if all(word_of(cell, tool) for cell in cells)]
    # The template for any tool fits nearly everything: it counts only where the words are its own.
    own = {"low", "unclear", "high", "no information"}
    special = [tool for tool in fits if tool.domains]
    if special and any(word_of(cell, special[0]) not in own for cell in cells):
        fits = special
    if len(fits) == 1:
        return fits[0]
    line = table.header_line
    if fits:
        rule = "it must be clear which tool the judgements are from"
        came = f"{len(headings)} domains with {', '.join(sorted(cells)) or 'no judgement'} fit "
        came += " and ".join(f"{tool.name} ({tool.title})" for tool in fits)
        advice = f"Name the tool: {' or '.join(f'tool={tool.name!r}' for tool in fits)}; in a terminal --tool."
        raise FaultyDataError([Fault(rule, came, file, line, advice=advice)])
    # Name what does not fit the tool that comes nearest, so that a typing error is found at once.
    nearest = max(right, key=lambda tool: (sum(bool(word_of(cell, tool)) for cell in cells), bool(tool.domains)))
    strange = sorted(cell for cell in cells if not word_of(cell, nearest))
    rule = "domains and judgements must be those of one tool"
    came = f"{len(headings)} domains come nearest to {nearest.name} ({', '.join(nearest.words)}), which does not have "
    came += ", ".join(map(quoted, strange[:10]))
    advice = f"Correct them, or name the tool ({', '.join(TOOLS)})."
    places = [
        table.lines[row]
        for row in range(len(table.frame))
        if {c.casefold() for c in table.frame.iloc[row, 1 : overall + 1]} & set(strange)
    ]
    raise FaultyDataError([Fault(rule, came, file, places[0] if places else line, advice=advice)])


@cache
def _model(words: tuple[str, ...], codes: tuple[str, ...]) -> type[RiskOfBiasRow]:
    """The row model of one tool, whose domains and overall judgement take its words."""
    judgement: Any = Literal[words] | None
    fields: dict[str, Any] = {code: (judgement, Field(None, description="Judgement of a domain.")) for code in codes}
    fields["overall"] = (judgement, Field(None, description="Judgement over all domains."))
    return create_model("ToolRow", __base__=RiskOfBiasRow, **fields)


def _with_heading(fault: Fault, spelled: Mapping[str, str]) -> Fault:
    if fault.column is None or fault.column not in spelled:
        return fault
    return replace(fault, rule=f"{fault.rule} ({fault.column} is the column {quoted(spelled[fault.column])})")
