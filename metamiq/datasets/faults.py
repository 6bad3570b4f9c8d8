"""What is wrong with a row, and where: collected first, raised together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from metamiq.errors import DataError

# Beyond this many, a list of faults is no longer read; the exception still carries all of them.
SHOWN = 50
# The categories Cc and Cs but for the line end, and what turns the direction of the text around it.
_CONTROL = re.compile("[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule that the data break.

    Attributes
    ----------
    rule : str
        What must hold, such as ``"n_mi must be at least 2"``.
    came : str
        What came in its place, such as ``"trial 'x2010' has '1'"``.
    file : str
        The file as the user named it.
    line : int or None
        Line of the file on which the row starts (the first line is 1); None when the file as a whole is meant.
    trial : str or None
        Trial (or study) of the row, when it is known.
    column : str or None
        Column of the value.
    advice : str
        What to do, as a sentence.
    """

    rule: str
    came: str
    file: str
    line: int | None = None
    trial: str | None = None
    column: str | None = None
    advice: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        sentence = f"{self.rule}, but {self.came} ({place})."
        return f"{sentence} {self.advice}" if self.advice else sentence


class FaultyDataError(DataError):
    """A `DataError` for data read from files; `faults` holds every fault that was found.

    Parameters
    ----------
    faults : iterable of Fault
        At least one; shown in order of file and line.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda f: (f.file, f.line or 0, f.column or "", f.rule)))
        super().__init__(_message(self.faults))


def _message(faults: tuple[Fault, ...]) -> str:
    if len(faults) == 1:
        return str(faults[0])
    lines = [f"{len(faults)} faults were found; nothing was read."]
    lines += [f"  {number}. {fault}" for number, fault in enumerate(faults[:SHOWN], start=1)]
    if len(faults) > SHOWN:
        lines.append(f"  ... and {len(faults) - SHOWN} more; `.faults` of this exception holds all of them.")
    return "\n".join(lines)


def quoted(value: object, limit: int = 60) -> str:
    """Show a value in a message: quoted, on one line, cut when long."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 4]}...{text[0]}"


def control_character(text: str) -> str:
    r"""The first sign that would change how a terminal or a page shows a text, other than a line break; empty if none.

    Examples
    --------
    >>> control_character("a\nb"), control_character("a\x1b[2J")
    ('', '\x1b')
    """
    found = _CONTROL.search(text)
    return found[0] if found else ""


def visible(text: str) -> str:
    r"""The text with every control character written out, for messages that quote what a user did not write.

    Examples
    --------
    >>> print(visible("\x1b[2Ja"))
    \x1b[2Ja
    """
    return _CONTROL.sub(lambda sign: repr(sign[0])[1:-1], text)
