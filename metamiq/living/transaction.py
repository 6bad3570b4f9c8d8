"""Changing a dataset folder: everything that a plan says, in one transaction, or nothing."""

from __future__ import annotations

import datetime
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

from metamiq.datasets import datapackage, read_dataset
from metamiq.datasets import journal as journals
from metamiq.datasets.datapackage import to_json
from metamiq.datasets.journal import HISTORY
from metamiq.errors import DataError
from metamiq.living.changelog import CHANGES, PROVENANCE, changes_file, entry, entry_text, provenance
from metamiq.living.compare import diff
from metamiq.living.dry_run import Plan
from metamiq.living.folders import files_of, fingerprint, refuse_foreign, stage

_MakeFiles = Callable[[Path, int], dict[str, bytes | None]]


def accept(plan: Plan, *, today: datetime.date | None = None) -> int:
    """Carry out a plan: tables, dictionary, ``provenance.csv`` and ``CHANGES.md``, all of them or none.

    The version before is kept in ``.history/<version>``. Nothing is half written whatever happens: see
    `metamiq.datasets.journal`.

    Parameters
    ----------
    plan : Plan
        From `plan`.
    today : date, optional
        Date of the entry.

    Returns
    -------
    int
        The new version.

    Raises
    ------
    DataError
        If the plan has errors or no reason, the folder is not yours to change, it has changed since the plan was
        made, or it cannot be written. Nothing has changed then.
    """
    if len(plan.errors):
        listed = "; ".join(f"{r['code']} {r['row']}: {r['found']}" for r in plan.errors.to_dict("records"))
        raise DataError(
            f"A change must not bring errors, but `check` finds {listed}. Correct the values, or set the finding aside "
            "with its reason (metamiq check --ignore)."
        )
    if not plan.why.strip():
        raise DataError("A change must have a reason, but none is given. Fill why in the template, or use --why.")
    date = (today or datetime.date.today()).isoformat()

    def files(folder: Path, version: int) -> dict[str, bytes | None]:
        return {
            **plan.tables,
            PROVENANCE: provenance(folder, plan, version, date),
            CHANGES: changes_file(folder, entry(plan, version, date)),
        }

    return _write(plan.folder, plan.base, files)


def restore(folder: str | PathLike[str], version: int, *, why: str, today: datetime.date | None = None) -> int:
    """Make an old version the newest one; what was changed since stays in the history.

    Parameters
    ----------
    folder : str or path-like
        The dataset folder.
    version : int
        A version that ``.history`` keeps.
    why : str
        The reason, for ``CHANGES.md``.
    today : date, optional
        Date of the entry.

    Returns
    -------
    int
        The new version.

    Raises
    ------
    DataError
        If that version is not kept, no reason is given, or the folder cannot be written.
    """
    path = Path(folder)
    if not path.is_dir():
        came = "is a file" if path.exists() else "was not found"
        raise DataError(f"The dataset must be a folder, but {path} {came}. Check the name.")
    journals.settled(path)
    old = path / HISTORY / str(int(version))
    if not old.is_dir():
        kept = sorted(int(p.name) for p in (path / HISTORY).glob("[0-9]*") if p.name.isdecimal())
        if not kept:
            raise DataError(
                f"{path} keeps no version before the present one (version {journals.version_of(path)}), so there is "
                "none to restore. Versions are kept from the first change by `metamiq add --accept`."
            )
        raise DataError(f"version must be one that {path} keeps ({', '.join(map(str, kept))}), not {version!r}.")
    if not why.strip():
        raise DataError("A change must have a reason, but none is given. Say why the old version is restored.")
    base = fingerprint(path)
    read_dataset(old)
    difference = diff(path, old)
    date = (today or datetime.date.today()).isoformat()

    def files(folder: Path, new: int) -> dict[str, bytes | None]:
        text = entry_text(new, date, why, "", [f"Version {version} restored."], difference)
        kept = (PROVENANCE, CHANGES)  # the record goes on
        content = {f.name: f.read_bytes() for f in files_of(old) if f.name not in kept}
        gone = {f.name: None for f in files_of(folder) if f.name not in content and f.name not in kept}
        return {**content, **gone, CHANGES: changes_file(folder, text)}

    return _write(path, base, files)


def _write(folder: Path, base: str, files: _MakeFiles) -> int:
    """The new version, written under the lock on what the plan was made from."""
    refuse_foreign(folder)
    with journals.locked(folder):
        journals.finish(folder)
        if fingerprint(folder) != base:
            raise DataError(
                f"{folder} must be as it was in the dry run, but it has changed since. Nothing was written. "
                "Run it again."
            )
        now = journals.version_of(folder)
        try:
            content = files(folder, now + 1)
            if (folder / "datapackage.json").exists():
                content["datapackage.json"] = _dictionary(folder, content, now + 1)
            _keep(folder, now)
            journals.commit(folder, content, now + 1)
        except OSError as error:
            if journals.is_pending(folder):
                raise DataError(
                    f"The change of {folder} is valid, but not in place yet: the system says {error.strerror!r}. It "
                    "will be finished when the folder is opened next and can be written."
                ) from error
            for leftover in ("next", "keeping"):
                shutil.rmtree(folder / HISTORY / leftover, ignore_errors=True)
            raise DataError(
                f"{folder} must be a folder that you can write, but the system says {error.strerror!r}. Nothing was "
                "changed. Check the space on the disk and the rights of the folder."
            ) from error
    return now + 1


def _dictionary(folder: Path, changed: Mapping[str, bytes | None], version: int) -> bytes:
    """The data dictionary of the folder with its changes, under the next release."""
    release = _next_release(datapackage(folder).get("version"), version)
    with tempfile.TemporaryDirectory() as scratch:
        package = datapackage(stage(folder, changed, Path(scratch)))
    resources = package.pop("resources")
    return to_json({**package, "version": release, "resources": resources}).encode("utf-8")


def _next_release(release: object, version: int) -> str:
    """The version that the dictionary states: a release x.y.z counts up y, anything else becomes the number.

    Examples
    --------
    >>> _next_release("1.0.0", 2), _next_release(None, 2)
    ('1.1.0', '2')
    """
    parts = re.fullmatch(r"(\d+)\.(\d+)\.\d+", str(release))
    return f"{parts[1]}.{int(parts[2]) + 1}.0" if parts else str(version)


def _keep(folder: Path, version: int) -> None:
    """Keep the files as they are; a copy that a crash left unfinished is made again."""
    target = folder / HISTORY / str(version)
    draft = folder / HISTORY / "keeping"
    for leftover in (draft, target):
        if leftover.exists():
            shutil.rmtree(leftover)
    draft.mkdir()
    for file in files_of(folder):
        journals.write_synced(draft / file.name, file.read_bytes())
    journals.sync_folder(draft)
    journals.move(draft, target)
