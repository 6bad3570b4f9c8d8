"""Writing one file: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from metamiq.errors import DataError


def at_home(path: Path) -> Path:
    """The path with ``~`` and ``~name`` read as home folders.

    Raises
    ------
    DataError
        If there is no such user.

    Examples
    --------
    >>> at_home(Path("~nobody-of-this-name/x.html"))
    Traceback (most recent call last):
    metamiq.errors.DataError: The home folder in ~nobody-of-this-name/x.html must be known, but it is not. Write the \
whole path.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise DataError(f"The home folder in {path} must be known, but it is not. Write the whole path.") from None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there; a link in its place is replaced, not followed."""
    try:
        handle, draft = tempfile.mkstemp(prefix=".metamiq-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(draft, 0o666 & ~mask)
            os.replace(draft, path)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # the user knows nothing of the draft
        raise


def new_file(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet; what a full disk left of it is removed."""
    with open(path, "xb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
