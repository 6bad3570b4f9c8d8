"""Changes to a dataset folder that are all there or not at all, whatever happens in between.

A change is staged in ``.history/next`` and becomes valid in one step, when ``.history/journal.json`` is renamed into
place. From then on it can be finished by whoever opens the folder next: moving the staged files is repeatable. Before,
it does not exist. ``.history/version`` lets a reader notice that the files changed under its hands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from metamiq.errors import DataError

HISTORY = ".history"
_JOURNAL = "journal.json"
_NEXT = "next"
_VERSION = "version"
_WAIT = 10.0  # seconds for another process to finish; a change takes milliseconds
_NAME = re.compile(r"[^./\\:\0][^/\\:\0]*")  # in the folder itself, and not hidden


def version_of(folder: Path) -> int:
    """Version of a dataset folder: 1 until something was changed by a transaction.

    Raises
    ------
    DataError
        If ``.history/version`` holds anything but a number.
    """
    file = folder / HISTORY / _VERSION
    try:
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return 1
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} must be readable, but the system says {str(error)!r}.") from None
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise DataError(f"{file} must hold the number of the version, but it holds {text[:40]!r}. Correct it.")
    return int(text)


def settled(folder: Path) -> int:
    """Finish a change that was cut short, if there is one, and return the version of the folder.

    Raises
    ------
    DataError
        If there is one and it cannot be finished.
    """
    if not is_pending(folder):
        return version_of(folder)
    with locked(folder):
        finish(folder)
    return version_of(folder)


def is_pending(folder: Path) -> bool:
    """Whether a change is valid and not finished."""
    return os.path.lexists(folder / HISTORY / _JOURNAL)


def is_steady(folder: Path, version: int) -> bool:
    """Whether what was read since `settled` returned `version` belongs together."""
    return not is_pending(folder) and version_of(folder) == version


def commit(folder: Path, files: Mapping[str, bytes | None], version: int) -> None:
    """Replace files of a folder, all of them or none; the caller holds the lock.

    Parameters
    ----------
    folder : Path
        The dataset folder.
    files : mapping of str to bytes or None
        Names, without folders, and contents; None deletes the file.
    version : int
        Number of the version that these files make.

    Raises
    ------
    OSError
        If the system refuses a step; then nothing has changed, unless the journal stands, in which case the change
        will be finished when the folder is opened next.
    """
    history = folder / HISTORY
    staged = history / _NEXT
    if staged.exists():  # left by a process that died before its change became valid
        shutil.rmtree(staged)
    staged.mkdir()
    for name, content in files.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"files must be plain names, not {name!r}.")
        if content is not None:
            write_synced(staged / name, content)
    sync_folder(staged)
    digests = {name: None if content is None else _sha(content) for name, content in files.items()}
    record = json.dumps({"version": version, "files": digests}, indent=2) + "\n"
    draft = history / f"{_JOURNAL}.draft"
    write_synced(draft, record.encode("ascii"))
    sync_folder(history)
    move(draft, history / _JOURNAL)  # the change becomes valid here
    sync_folder(history)
    finish(folder)


def finish(folder: Path) -> None:
    """Carry out the change that the journal records; the caller holds the lock. Repeating it does no harm.

    Raises
    ------
    DataError
        If the journal cannot be understood, a staged file is not what it says, or the system refuses a step.
    """
    history = folder / HISTORY
    if not is_pending(folder):
        return
    version, digests = _read_journal(history / _JOURNAL)
    problem = f"{folder} has an unfinished change (version {version})"
    for name, digest in digests.items():
        if digest is None:
            continue
        staged = history / _NEXT / name
        holder = staged if os.path.lexists(staged) else folder / name
        if holder.is_symlink() or not holder.is_file() or _digest(holder) != digest:
            raise DataError(
                f"{problem} that must be finished first, but {name} is not what the journal says. The version before "
                f"is in {history / str(version - 1)}; put its files back and delete {history / _JOURNAL}."
            )
    try:
        for name, digest in digests.items():
            if digest is None:
                remove(folder / name)
            elif (history / _NEXT / name).exists():
                move(history / _NEXT / name, folder / name)
        sync_folder(folder)
        draft = history / f"{_VERSION}.draft"
        write_synced(draft, f"{version}\n".encode("ascii"))
        move(draft, history / _VERSION)
        sync_folder(history)
        remove(history / _JOURNAL)
        sync_folder(history)
    except OSError as error:
        raise DataError(
            f"{problem}, which is safe but not in place yet: the system says {error.strerror!r}. "
            "It will be finished when the folder is opened next and can be written."
        ) from error
    shutil.rmtree(history / _NEXT, ignore_errors=True)


def _read_journal(file: Path) -> tuple[int, dict[str, str | None]]:
    try:
        if file.is_symlink() or file.parent.is_symlink():
            raise ValueError("it is a symbolic link")
        record = json.loads(file.read_text(encoding="ascii"))
        version, digests = int(record["version"]), dict(record["files"])
        for name, digest in digests.items():
            if not _NAME.fullmatch(name) or not (digest is None or re.fullmatch(r"[0-9a-f]{64}", digest)):
                raise ValueError(f"it names {name!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} must be the journal of a change that metamiq began, but {error}. If you did not expect it, "
            "delete it; the tables stay as they are."
        ) from None
    return version, digests


def _digest(file: Path) -> str:
    return _sha(file.read_bytes())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# The only ways in which anything is written; the tests make each of them fail.


def write_synced(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with open(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def move(source: Path, target: Path) -> None:
    """Put a file in the place of another in one step."""
    os.replace(source, target)


def remove(file: Path) -> None:
    """Delete a file that may be gone already."""
    file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until renames in a folder are on the disk; systems that cannot open folders do so themselves."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path, wait: float = _WAIT) -> Iterator[None]:
    """Hold the folder against other writers; the lock dies with its process.

    Raises
    ------
    DataError
        If the folder cannot be written, or another process keeps the lock for longer than `wait` seconds.
    """
    history = folder / HISTORY
    try:
        if history.is_symlink():
            raise DataError(f"{history} must be a folder of its own, but it is a symbolic link. Remove the link.")
        history.mkdir(exist_ok=True)
        handle = os.open(history / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise DataError(
            f"{folder} must be a folder that you can write, but the system says {error.strerror!r}. "
            "Nothing was changed. Copy the dataset to a folder of your own (metamiq copy-dataset)."
        ) from error
    try:
        until = time.monotonic() + wait
        while not _try_lock(handle):
            if time.monotonic() > until:
                raise DataError(
                    f"Only one process at a time may change {folder}, but another one has been at it for {wait:g} "
                    "seconds. Nothing was changed. Try again when it has finished."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
