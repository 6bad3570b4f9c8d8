"""Dataset folders as sets of files: copying, comparing, and which of them may be changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import metamiq
from metamiq.datasets import load_dataset
from metamiq.datasets.journal import HISTORY
from metamiq.errors import DataError

_PACKAGE = Path(metamiq.__file__).resolve().parent


def copy_dataset(name: str, folder: str | PathLike[str]) -> Path:
    """Copy a bundled dataset to a folder of your own, where it can be changed.

    Parameters
    ----------
    name : str
        One of `available_datasets`.
    folder : str or path-like
        A folder that does not exist yet.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If there is no dataset of that name.
    DataError
        If the folder exists or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from metamiq.datasets import read_dataset
    >>> home = tempfile.TemporaryDirectory()
    >>> read_dataset(copy_dataset("mi_cbt_anxiety", Path(home.name) / "mine"))
    Dataset 'mine': 31 trials (20 candidates), 29 results, 6 dropout, 7 claims
    >>> home.cleanup()
    """
    source, target = load_dataset(name).path, Path(folder)
    if os.path.lexists(target):
        raise DataError(f"The folder of the copy must be new, but {target} exists. Choose another name.")
    draft = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        for file in files_of(source):
            shutil.copyfile(file, draft / file.name)
        draft.chmod(0o755)
        os.rename(draft, target)
    except OSError as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        raise DataError(
            f"{target} must be a place that you can write, but the system says {error.strerror!r}. Nothing was copied."
        ) from error
    return target


def refuse_foreign(folder: Path) -> None:
    """Refuse the data that came with the package, and folders in which a name leads elsewhere."""
    if folder.resolve().is_relative_to(_PACKAGE):
        raise DataError(
            f"The data that come with metamiq must stay as they are, but {folder} is in the installed package. Copy "
            "them to a folder of your own (metamiq copy-dataset NAME FOLDER) and change that."
        )
    links = [p for p in (folder / HISTORY, *folder.iterdir()) if p.is_symlink()]
    if links:
        listed = ", ".join(sorted(str(p) for p in links))
        raise DataError(f"A dataset to be changed must hold its own files, but these are symbolic links: {listed}.")


def files_of(folder: Path) -> list[Path]:
    """The files of a version, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink() and not p.name.startswith("."))


def fingerprint(folder: Path) -> str:
    """A text that differs when any file of the folder does."""
    digest = hashlib.sha256()
    for file in files_of(folder):
        digest.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def stage(folder: Path, changed: Mapping[str, bytes | None], scratch: Path) -> Path:
    """A copy of the folder under its own name, with the changed files in it."""
    staged = scratch / folder.resolve().name
    staged.mkdir()
    for file in files_of(folder):
        if file.name not in changed:
            shutil.copyfile(file, staged / file.name)
    for name, content in changed.items():
        if content is None:
            continue
        (staged / name).write_bytes(content)
    return staged
