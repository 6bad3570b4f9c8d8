"""Writing a report's files: all of them, or none."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from metamiq.errors import DataError
from metamiq.files import at_home, replace_file
from metamiq.living.spreadsheet import FORMULA_STARTS


def refuse_a_file(folder: Path) -> None:
    """Raise DataError where the output folder is a file."""
    folder = at_home(folder)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"The output folder must be a folder, but {folder} is a file. Choose another --out.")


def write_folder(folder: Path, files: dict[str, str | bytes]) -> list[Path]:
    """Write `files` (relative name to content) into `folder`; on any failure the folder stays as it was.

    Everything is written to a folder of its own first and moved into place file by file, each move atomic.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    folder = at_home(folder)
    refuse_a_file(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder that is there may be another file system than its parent's, or the only one that can be written.
        draft = Path(tempfile.mkdtemp(prefix=".metamiq-", dir=folder if folder.is_dir() else folder.parent))
    except OSError as error:
        raise DataError(
            f"The output folder {folder} must be writable: {error.strerror}. Choose another --out."
        ) from error
    written = []
    try:
        _refuse_links(folder, files)
        for name, content in files.items():
            part = draft / name
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        folder.mkdir(exist_ok=True)
        for name in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft / name, target)
            written.append(target)
    except OSError as error:
        raise DataError(
            f"The output folder {folder} must be writable: {error.strerror}. Choose another --out."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def _refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raise DataError where a folder in the output folder is a link; a link in place of a file is replaced."""
    for name in names:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise DataError(f"{folder / name} must be a file, but it is a folder. Remove it or choose another --out.")
        for inner in list((folder / name).parents)[: len(Path(name).parents) - 1]:
            if inner.is_symlink():
                raise DataError(
                    f"The output folder must hold its own folders, but {inner} is a symbolic link. Remove the link or "
                    "choose another --out."
                )


def write_file(path: Path, text: str) -> None:
    """Write one file, whole or not at all.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    path = at_home(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode("utf-8"))
    except OSError as error:
        raise DataError(f"The file {path} must be writable: {error.strerror}. Choose another --out.") from error


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV with full precision, safe to open in a spreadsheet."""
    safe = table.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]) and not pd.api.types.is_bool_dtype(safe[column]):
            safe[column] = [_plain(x) for x in safe[column]]
    names = [_plain(name) for name in safe.columns]
    return str(safe.to_csv(index=False, header=names, lineterminator="\n"))


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = re.sub(r"\r\n?", "\n", value)  # a bare carriage return is not quoted, and begins a row in a spreadsheet
    # A quote in front makes what a spreadsheet would run text again.
    return "'" + value if value.startswith(FORMULA_STARTS) and not _is_number(value) else value


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def json_text(value: Any) -> str:
    """JSON with a final line break; NaN is refused, for no reader agrees on it."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
