"""Judgements on the certainty of evidence (GRADE): reading what people wrote, and the level that follows from it.

Nothing here judges. A judgement is a person's, and stands only with the reason for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.faults import control_character, quoted
from metamiq.datasets.toml_file import read_toml
from metamiq.errors import DataError

LEVELS = ("very low", "low", "moderate", "high")
#: Where the certainty starts, by design.
DESIGNS = {"randomised": 4, "observational": 2, "observational, ROBINS-I": 4}
_SERIOUS = {"not serious": 0, "serious": -1, "very serious": -2}
#: Reasons to rate down and up: what may be written, and how many levels it moves.
DOWN: dict[str, dict[str, int]] = {
    "risk_of_bias": {**_SERIOUS, "extremely serious": -3},
    "inconsistency": _SERIOUS,
    "indirectness": _SERIOUS,
    "imprecision": _SERIOUS,
    "publication_bias": {"undetected": 0, "likely": -1, "very likely": -2},
}
UP: dict[str, dict[str, int]] = {
    "large_effect": {"no": 0, "large": 1, "very large": 2},
    "dose_response": {"no": 0, "yes": 1},
    "plausible_confounding": {"no": 0, "would reduce the effect": 1, "would suggest a spurious effect": 1},
}
DOMAINS = {**DOWN, **UP}
TITLES = {
    "risk_of_bias": "risk of bias",
    "inconsistency": "inconsistency",
    "indirectness": "indirectness",
    "imprecision": "imprecision",
    "publication_bias": "publication bias",
    "large_effect": "large effect",
    "dose_response": "dose-response gradient",
    "plausible_confounding": "plausible confounding",
}
_ROBINS_ONLY = "extremely serious"
_OTHER = ("design", "assumed_risk")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person judged in one domain, and why."""

    domain: str
    judgement: str
    reason: str

    @property
    def levels(self) -> int:
        """How many levels it moves the certainty."""
        return DOMAINS[self.domain][self.judgement]


@dataclass(frozen=True, slots=True)
class Judged:
    """Everything that a person stated on one outcome; what is not stated is not there."""

    outcome: str
    design: str = ""
    assumed_risk: float | None = None
    assumed_risk_source: str = ""
    judgements: Mapping[str, Judgement] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """What must be stated before the certainty follows: the design and the five reasons to rate down."""
        needed = [] if self.design else ["design"]
        return (*needed, *(TITLES[domain] for domain in DOWN if domain not in self.judgements))

    @property
    def certainty(self) -> str | None:
        """High, moderate, low or very low; None until the design and all five reasons to rate down are judged.

        Examples
        --------
        >>> Judged("a", "randomised").certainty is None
        True
        >>> all_five = {d: Judgement(d, next(iter(DOWN[d])), "why") for d in DOWN}
        >>> Judged("a", "observational", judgements=all_five).certainty
        'low'
        """
        if self.missing:
            return None
        level = DESIGNS[self.design] + sum(j.levels for j in self.judgements.values())
        return LEVELS[min(max(level, 1), 4) - 1]

    @property
    def caution(self) -> str:
        """What GRADE says against rating up here; empty when it is not against its advice."""
        up = [TITLES[d] for d in UP if d in self.judgements and self.judgements[d].levels]
        if not up:
            return ""
        named = " and ".join(up)
        if self.design == "randomised":
            return f"Rated up for {named}: GRADE rates up observational studies, as a rule (@grade2011b)."
        if any(d in self.judgements and self.judgements[d].levels for d in DOWN):
            return f"Rated up for {named} although there is a reason to rate down, which is not usual (@grade2019)."
        return ""


def read_judgements(path: str | PathLike[str], outcomes: Sequence[str]) -> dict[str, Judged]:
    """Read a file of judgements, TOML or CSV; `template` writes an empty one.

    Parameters
    ----------
    path : str or path-like
        ``grade.toml``, with a table ``[[outcome]]`` for each outcome; or a CSV file with the columns ``outcome``,
        ``domain``, ``judgement``, ``reason``, where ``domain`` may also be ``design`` or ``assumed_risk`` (its reason
        is where the risk is from). A judgement that is empty has not been made.
    outcomes : sequence of str
        Names of the outcomes that there are. When there is one, the file may call it as it likes.

    Returns
    -------
    dict of str to Judged
        By outcome; one for each of `outcomes`, in their order.

    Raises
    ------
    DataError
        If the file cannot be read, a name or a judgement is unknown, a judgement has no reason or a reason no
        judgement. All faults are in one message.
    """
    file = Path(path)
    is_csv = file.suffix.lower() in (".csv", ".tsv", ".txt")
    entries, faults = _from_csv(file) if is_csv else _from_toml(file)
    for name, cells in entries:
        texts = [name] * (name not in outcomes) + [str(part) for pair in cells.values() for part in pair]
        if sign := next(filter(None, map(control_character, texts)), ""):
            faults.append(f"what is said of {quoted(name)} must be plain text, but has the sign {sign!r}")
    out = {name: Judged(name) for name in outcomes}
    if len(outcomes) == len(entries) == 1 and entries[0][0]:  # there is no doubt, whatever it is called
        out[outcomes[0]] = _judged(*entries.pop(), faults)
    for name, cells in entries:
        if name not in out:
            named = ", ".join(map(repr, outcomes))
            faults.append(f"an outcome must be one of {named}, but there is {quoted(name)}")
            continue
        if out[name] != Judged(name):
            faults.append(f"each outcome must be there once, but {quoted(name)} is there again")
            continue
        out[name] = _judged(name, cells, faults)
    if faults:
        raise DataError(f"{file}: {'; '.join(faults)}. Correct it, or write a new one with metamiq grade --template.")
    return out


Cells = dict[str, tuple[Any, Any]]  # by domain, or design or assumed_risk: what was stated, and the reason or source


def _judged(name: str, cells: Cells, faults: list[str]) -> Judged:
    where = f"of {quoted(name)}"
    design = _word(cells.get("design", ("", ""))[0])
    if design and design not in DESIGNS:
        faults.append(f"design {where} must be one of {', '.join(map(repr, DESIGNS))}, not {quoted(design)}")
    risk, source = _risk(*cells.get("assumed_risk", ("", "")), where, faults)
    judgements = {}
    for domain, allowed in DOMAINS.items():
        given, reason = (_word(x) for x in cells.get(domain, ("", "")))
        if not given and reason:
            faults.append(f"{domain} {where} has a reason but no judgement")
        elif given and given not in allowed:
            faults.append(f"{domain} {where} must be one of {', '.join(map(repr, allowed))}, not {quoted(given)}")
        elif given and not reason:
            faults.append(f"{domain} {where} is judged {given!r} without a reason; say why")
        elif given == _ROBINS_ONLY and design != "observational, ROBINS-I":
            faults.append(f"{domain} {where} can be {given!r} only when design is 'observational, ROBINS-I'")
        elif given:
            judgements[domain] = Judgement(domain, given, reason)
    return Judged(name, design, risk, source, judgements)


def _word(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else " ".join(str(value).split())


def _risk(value: Any, source: Any, where: str, faults: list[str]) -> tuple[float | None, str]:
    text, said = _word(value), _word(source)
    if not text:
        if said:
            faults.append(f"assumed_risk {where} has a source but no number")
        return None, ""
    try:
        risk = math.nan if isinstance(value, bool) else float(text)
    except ValueError:
        risk = math.nan
    if not 0 < risk < 1:
        faults.append(f"assumed_risk {where} must lie between 0 and 1 (0.2 for 200 in 1000), not {quoted(text)}")
        return None, ""
    if not said:
        faults.append(f"assumed_risk {where} must say where it is from, in assumed_risk_source (reason in a CSV file)")
    return risk, said


def _from_toml(file: Path) -> tuple[list[tuple[str, Cells]], list[str]]:
    content = read_toml(file, "The file of judgements")
    faults: list[str] = []
    _refuse_unknown(content, ("outcome",), "at the top", faults)
    tables = content.get("outcome", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        return [], [*faults, "outcomes must be tables of the form [[outcome]]"]
    entries = []
    for i, table in enumerate(tables, start=1):
        name = _word(table.get("name"))
        if not name:
            faults.append(f"outcome {i} must have a name")
            continue
        _refuse_unknown(table, ("name", *_OTHER, "assumed_risk_source", *DOMAINS), f"of {quoted(name)}", faults)
        cells: Cells = {
            "design": (table.get("design"), ""),
            "assumed_risk": (table.get("assumed_risk"), table.get("assumed_risk_source")),
        }
        for domain in DOMAINS:
            part = table.get(domain, {})
            if not isinstance(part, dict):
                faults.append(f"{domain} of {quoted(name)} must have judgement and reason, but it is {quoted(part)}")
                continue
            _refuse_unknown(part, ("judgement", "reason"), f"of {domain} of {quoted(name)}", faults)
            cells[domain] = (part.get("judgement"), part.get("reason"))
        entries.append((name, cells))
    return entries, faults


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str, faults: list[str]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        faults.append(f"keys {where} must be {', '.join(known)}, not {', '.join(map(quoted, unknown[:5]))}")


def _from_csv(file: Path) -> tuple[list[tuple[str, Cells]], list[str]]:
    table = read_csv_table(file)
    lacking = [c for c in ("outcome", "domain", "judgement", "reason") if c not in table.frame]
    if lacking:
        return [], [f"the columns must be outcome, domain, judgement, reason, but {', '.join(lacking)} is missing"]
    faults: list[str] = []
    entries: dict[str, Cells] = {}
    for line, row in zip(table.lines, table.frame.to_dict(orient="records"), strict=True):
        name, domain = _word(row["outcome"]), _word(row["domain"])
        cells = entries.setdefault(name, {})
        if domain not in (*_OTHER, *DOMAINS):
            faults.append(f"domain must be one of {', '.join((*_OTHER, *DOMAINS))}, but line {line} has {domain!r}")
        elif domain in cells:
            faults.append(f"each domain of {quoted(name)} must be there once, but line {line} has {domain} again")
        else:
            cells[domain] = (row["judgement"], row["reason"])
    return list(entries.items()), faults


def template(outcomes: Sequence[str], binary: Sequence[str] = ()) -> str:
    """An empty file of judgements for these outcomes, with what may be written.

    Parameters
    ----------
    outcomes : sequence of str
        Names of the outcomes.
    binary : sequence of str
        Those of them that people have or have not, for which a risk can be assumed.

    Examples
    --------
    >>> print(template(["pain"]).splitlines()[-4])
    [outcome.plausible_confounding]
    """
    lines = [
        "# Certainty of the evidence (GRADE), to be filled in by people. What is left empty has not been judged, and",
        "# a judgement without its reason is refused. The certainty is given once the design and the five reasons to",
        "# rate down are judged. See the GRADE Handbook (Schünemann, Brożek, Guyatt & Oxman 2013), chapter 5.",
    ]
    for name in outcomes:
        lines += ["", "[[outcome]]", f"name = {_quoted(name)}", f'design = ""  # {_choices(DESIGNS)}']
        if name in binary:
            lines += [
                "# assumed_risk = 0.2  # events per person in group 2; without it there are no absolute effects",
                '# assumed_risk_source = "where this risk is from"',
            ]
        for domain, allowed in DOMAINS.items():
            lines += [
                *([f"# Reasons to rate {'down' if domain in DOWN else 'up'}"] if domain in _FIRST else []),
                f"[outcome.{domain}]",
                f'judgement = ""  # {_choices(allowed)}',
                'reason = ""',
            ]
    return "\n".join(lines) + "\n\n"


_FIRST = (next(iter(DOWN)), next(iter(UP)))


def _choices(words: Iterable[str]) -> str:
    return " | ".join(words)


def _quoted(text: str) -> str:
    """Text as a TOML string."""
    escaped = "".join(
        f"\\u{ord(c):04X}" if ord(c) < 32 or ord(c) == 127 else f"\\{c}" if c in '"\\' else c for c in text
    )
    return f'"{escaped}"'
