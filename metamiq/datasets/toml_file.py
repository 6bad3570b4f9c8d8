"""A TOML file that a person wrote -> its content, or one sentence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from metamiq.datasets.opening import ADVICE, NoFileError, read_bytes
from metamiq.errors import DataError

LARGEST_FILE = 1_000_000
_LARGEST_NUMBER = 1024  # bits: that of a float; a hexadecimal number has no limit, and Python writes out none so long
_MOST_DOTS = 100  # of a key: tomllib remembers every part of each, so that few bytes would take much memory
_QUOTED = re.compile(rb"\"[^\"\n]*\"|'[^'\n]*'|#.*")
DEEPEST = 20  # levels; a dotted key alone can nest so deep that nothing can walk through it


def parse_toml(raw: bytes) -> dict[str, Any]:
    """TOML with either line end, with or without a byte order mark.

    Raises
    ------
    ValueError
        If it is none; the message says where. RecursionError is never raised.
    """
    if any(line.count(b".") > _MOST_DOTS for line in _QUOTED.sub(b"", raw).splitlines()):
        raise ValueError(f"a key may have at most {_MOST_DOTS} dots")
    try:
        content = tomllib.loads(raw.decode("utf-8-sig").replace("\r\n", "\n"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        if any(isinstance(x, int) and x.bit_length() > _LARGEST_NUMBER for x in level):
            raise ValueError("it has a whole number that is too large")
        level = [x for x in level if isinstance(x, dict | list)]
        if not level:
            return content
        level = [inner for x in level for inner in (x.values() if isinstance(x, dict) else x)]
    raise ValueError(f"it may be nested {DEEPEST} levels deep, not deeper")


def read_toml(file: Path, what: str) -> dict[str, Any]:
    """The content of a file of at most a million bytes.

    Parameters
    ----------
    file : Path
        Its name.
    what : str
        What it holds, to begin the sentence with.

    Raises
    ------
    DataError
        If it is not there, cannot be read, is too large or no TOML in UTF-8.

    Examples
    --------
    >>> read_toml(Path("absent.toml"), "The file of choices")
    Traceback (most recent call last):
    metamiq.errors.DataError: The file of choices must be there, but absent.toml was not found.
    """
    try:
        raw = read_bytes(file, LARGEST_FILE)
    except NoFileError as error:
        raise DataError(f"{what} must be a file, but {file} is {error.strerror}. {ADVICE}") from None
    except FileNotFoundError:
        raise DataError(f"{what} must be there, but {file} was not found.") from None
    except OSError as error:
        raise DataError(f"{what} {file} must be readable, but the system says {error.strerror!r}.") from None
    if len(raw) > LARGEST_FILE:
        raise DataError(f"{what} must have at most {LARGEST_FILE:,} bytes, but {file} has more.")
    try:
        return parse_toml(raw)
    except ValueError as error:
        raise DataError(f"{file} must be TOML in UTF-8, but it cannot be read: {error}.") from None
