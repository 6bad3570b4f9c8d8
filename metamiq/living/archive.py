"""The zip file of a bundle: packed the same each time, unpacked with suspicion."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metamiq.datasets.faults import quoted
from metamiq.datasets.zip_file import read_entry
from metamiq.errors import DataError
from metamiq.living.folders import files_of

SUMS = "SHA256SUMS"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same data give the same bytes
_LARGEST = 100_000_000
_MOST_FILES = 1_000
_RATIO = 200  # real tables are packed 3 to 20 times
_DEEPEST = 20  # levels in results.json and settings.json; real ones have five at most
_NAME = re.compile(r"(?:(?:data|figures)/)?[A-Za-z0-9_][A-Za-z0-9_. -]{0,199}")


def packed(files: Mapping[str, bytes]) -> bytes:
    """A zip file of `files` with their checksums; the same bytes for the same files."""
    if (size := sum(map(len, files.values()))) > _LARGEST:
        raise DataError(f"A bundle must hold at most {_LARGEST:,} bytes, or nobody could check it, but has {size:,}.")
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    whole = {**files, SUMS: sums.encode("utf-8")}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(whole):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, whole[name])
    return out.getvalue()


def data_of(folder: Path) -> dict[str, bytes]:
    """The files of a dataset's folder, as a bundle holds them.

    Raises
    ------
    DataError
        If one of them is a symbolic link.
    """
    links = sorted(p.name for p in folder.iterdir() if p.is_symlink() and not p.name.startswith("."))
    if links:
        raise DataError(f"A dataset to be packed must hold its own files, but {', '.join(links)} is a symbolic link.")
    return {f"data/{file.name}": file.read_bytes() for file in files_of(folder)}


def is_plain(name: str) -> bool:
    """Whether a bundle may hold a file of this name."""
    return _NAME.fullmatch(name) is not None


def as_json(value: Any) -> bytes:
    """JSON in which every number has all its digits; what is not finite is a word."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {str(k): plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(item) for item in x]
        x = x.item() if isinstance(x, np.generic) else x
        return str(x) if isinstance(x, float) and not math.isfinite(x) else x

    return (json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def unpack(file: Path) -> dict[str, bytes]:
    """The files of a bundle, by name.

    Raises
    ------
    DataError
        If the file is no zip file, or holds names that lead out of it, links, or more than it should.
    """
    if file.exists() and not file.is_file():  # of a device zipfile would read without end
        raise DataError(f"{file} must be a zip file, but it is no ordinary file.")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            wrong = [n for n, times in Counter(names).items() if not is_plain(n) or times > 1]
            wrong += [e.filename for e in entries if stat.S_ISLNK(e.external_attr >> 16) or e.flag_bits & 1]
            if wrong:
                listed = ", ".join(map(quoted, wrong[:5]))
                raise DataError(f"{file} must hold plain files of a bundle, each once, but it has {listed}.")
            if len(entries) > _MOST_FILES:
                raise DataError(f"{file} must hold at most {_MOST_FILES:,} files, but it has {len(entries):,}.")
            size = sum(entry.file_size for entry in entries)
            if size > _LARGEST:
                raise DataError(f"{file} must unpack to at most {_LARGEST:,} bytes, but it says {size:,}.")
            for entry in entries:
                if entry.file_size > 1_000_000 and entry.file_size > _RATIO * entry.compress_size:
                    raise DataError(
                        f"The parts of {file} must be packed at most {_RATIO}-fold, but {entry.filename} says "
                        f"{entry.file_size:,} bytes from {entry.compress_size:,}."
                    )
            return {entry.filename: read_entry(archive, entry) for entry in entries}
    except DataError:
        raise
    except Exception as error:  # OSError, and whatever a zip file that was tampered with makes zipfile raise
        raise DataError(f"{file} must be a zip file that can be read, but it is not ({error}).") from None


@contextmanager
def unpacked_data(files: Mapping[str, bytes]) -> Iterator[Path]:
    """The files of a bundle's data in a folder of their own, as long as they are read.

    Raises
    ------
    DataError
        In place of a ValueError from within: of files that are named as in the bundle.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()
        for name, content in files.items():
            if name.startswith("data/"):
                (Path(scratch) / name).write_bytes(content)
        try:
            yield folder
        except ValueError as error:
            raise DataError(str(error).replace(f"{scratch}{os.sep}", "")) from None


def load(content: bytes, name: str, path: object) -> dict[str, Any]:
    """The object of a JSON file.

    Raises
    ------
    DataError
        If it is none, too deep, or has a key twice, of which readers may take either.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
        if twice:
            raise ValueError(f"the key {twice[0][:80]!r} stands twice")
        return dict(pairs)

    try:
        value = json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} in {path} must be JSON, but it is not ({error}).") from None
    if _depth(value) > _DEEPEST:
        raise DataError(f"{name} in {path} must be JSON of at most {_DEEPEST} levels, but it has more.")
    if not isinstance(value, dict):
        raise DataError(f"{name} in {path} must be one JSON object, but it is a {type(value).__name__}.")
    return value


def _depth(value: Any) -> int:
    """Levels of nested lists and objects, without recursion."""
    depth, level = 0, [value]
    while level:
        level = [y for x in level if isinstance(x, dict | list) for y in (x.values() if isinstance(x, dict) else x)]
        depth += bool(level)
    return depth


def licence_text(package: Mapping[str, Any]) -> str:
    """The licences of a data package, a line each."""
    given = [x for x in package.get("licenses", []) if isinstance(x, dict)]
    lines = [" ".join(str(x[key]) for key in ("title", "name", "path") if key in x) for x in given]
    return "\n".join(lines or ["No licence is stated in data/datapackage.json; ask the owner of the data."]) + "\n"
