"""Everything behind an answer in one zip file, and checking such a file digit by digit."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from metamiq.datasets import Dataset, datapackage, read_dataset
from metamiq.datasets.faults import visible
from metamiq.errors import DataError
from metamiq.explaining.methods import joined
from metamiq.explaining.methods_first_question import first_question_methods
from metamiq.living.difference import QUANTITIES
from metamiq.living.folders import files_of
from metamiq.living.proposal import text_fault
from metamiq.protocol.first_question import first_question_compliance
from metamiq.protocol.reading import protocol_beside
from metamiq.protocol.record import NO_PROTOCOL
from metamiq.question import Answers, CannotFit
from metamiq.verdicts import audit

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same data give the same bytes
_LARGEST = 100_000_000
_RATIO = 200  # real tables are packed 3 to 20 times
_DEEPEST = 20  # levels in results.json and settings.json; real ones have three
_NAME = re.compile(r"(?:(?:data|figures)/)?[A-Za-z0-9_][A-Za-z0-9_. -]*")
_SUMS = "SHA256SUMS"
_README = """{title}

data/            the tables, datapackage.json, which explains every column, and protocol.toml where there is one
results.json     the pooled answer, the effect or bound of each trial, the verdicts; every number with all its digits;
                 with a protocol which analyses were planned
settings.json    how they were computed, and with which versions
methods.txt      the methods paragraph, from the settings used, with its references
figures/         the forest plot
SHA256SUMS       checksum of every file (sha256sum -c SHA256SUMS)

`metamiq verify FILE.zip` checks the sums, computes everything again and says where a digit differs.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What checking a bundle found.

    Attributes
    ----------
    faults : DataFrame
        ``place stored computed digits``: checksums that do not fit, and numbers or words that differ; `digits` is to
        how many significant digits they agree, NaN where that has no meaning.
    n_files, n_values : int
        Files and values that were compared.
    versions : dict of str to (str, str)
        Programs of another version than the bundle's: stored, here.
    """

    faults: pd.DataFrame
    n_files: int
    n_values: int
    versions: dict[str, tuple[str, str]]

    @property
    def agrees(self) -> bool:
        """Whether every file and every value is the same."""
        return self.faults.empty

    def summary(self) -> str:
        """What was compared and each fault; the caller prints it."""
        # What a bundle says comes from somebody else.
        head = f"{self.n_files} files and {self.n_values} values compared; {len(self.faults)} differ."
        lines = [f"{r['place']}: stored {r['stored']}, here {r['computed']}"
                 + ("" if math.isnan(r["digits"]) else f" ({r['digits']:.0f} digits agree)")
                 for r in self.faults.to_dict(orient="records")]  # fmt: skip
        lines += [f"{name}: {old} then, {new} here" for name, (old, new) in self.versions.items()]
        return "\n".join(visible(line) for line in [head, *lines])


def bundle(ds: Dataset) -> bytes:
    """Pack a dataset with its answer: data, dictionary, settings, results, figure, checksums, licence.

    Parameters
    ----------
    ds : Dataset
        Evidence, from its folder.

    Returns
    -------
    bytes
        A zip file; the same for the same data and versions.

    Raises
    ------
    DataError
        If no trial of the dataset is usable, or one of its files is a symbolic link.

    Examples
    --------
    >>> import metamiq as mm
    >>> content = bundle(mm.load_dataset("mi_cbt_anxiety"))
    >>> zipfile.ZipFile(io.BytesIO(content)).namelist()[:3]
    ['LICENSE.txt', 'README.txt', 'SHA256SUMS']
    """
    from metamiq import plots

    answers = Answers(ds)
    package = datapackage(ds.path)
    if links := sorted(p.name for p in ds.path.iterdir() if p.is_symlink() and not p.name.startswith(".")):
        raise DataError(f"A dataset to be packed must hold its own files, but {', '.join(links)} is a symbolic link.")
    files: dict[str, bytes] = {f"data/{file.name}": file.read_bytes() for file in files_of(ds.path)}
    files["README.txt"] = _README.format(title=package.get("title", ds.name)).encode("utf-8")
    files["LICENSE.txt"] = _licence(package).encode("utf-8")
    protocol = protocol_beside(ds.path)
    note = NO_PROTOCOL if protocol is None else protocol.note
    files["settings.json"] = _json({**_settings(), "dataset": ds.name, "protocol": note})
    paragraphs = joined(*first_question_methods(answers))
    files["methods.txt"] = f"{paragraphs}\n".encode()
    files["results.json"] = _json(_results(answers))
    if not isinstance(answers.pooled, CannotFit):
        figure = plots.forest(answers.pooled, groups=("MI + CBT", "CBT")).figure.figure
        assert figure is not None
        files["figures/forest.svg"] = plots.svg_text(figure).encode("utf-8")
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    files[_SUMS] = sums.encode("utf-8")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return out.getvalue()


def dangers(ds: Dataset) -> list[tuple[str, str]]:
    """Cells of the tables that a spreadsheet would run, with the reason; a bundle holds the tables as they are.

    Parameters
    ----------
    ds : Dataset
        Evidence.

    Returns
    -------
    list of (str, str)
        File and line, and what is there.
    """
    return [
        (ds.where(name, position), f"{column} {problem.replace('it begins', 'begins')}")
        for name, table in ds.tables.items()
        for column in table.columns
        if not pd.api.types.is_numeric_dtype(table[column])
        for position, cell in enumerate(table[column])
        if isinstance(cell, str) and cell != "-" and (problem := text_fault(cell))
    ]


def verify(path: str | PathLike[str]) -> Verification:
    """Check a bundle: its checksums, and every number computed again from its data.

    Parameters
    ----------
    path : str or path-like
        The zip file.

    Returns
    -------
    Verification
        What differs, and by how many digits.

    Raises
    ------
    DataError
        If the file is no bundle, or holds names that lead out of it, links, or more than 100 MB.
    """
    files = _unpack(Path(path))
    lacking = sorted({_SUMS, "results.json", "settings.json", "data/trials.csv"} - set(files))
    if lacking:
        raise DataError(f"{path} must be a bundle of metamiq, but it has no {', '.join(lacking)}.")
    faults = _wrong_sums(files)
    stored, settings = (_load(files[name], name, path) for name in ("results.json", "settings.json"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()
        for name, content in files.items():
            if name.startswith("data/"):
                (folder / name.removeprefix("data/")).write_bytes(content)
        computed = json.loads(_json(_results(Answers(read_dataset(folder)))))
    old, new = _flat(stored), _flat(computed)
    for place in dict.fromkeys([*old, *new]):
        x, y = old.get(place, "nothing"), new.get(place, "nothing")
        if x != y:
            faults.append((f"results.json: {place}", x, y, _digits(x, y)))
    then, here = settings.get("versions"), _settings()["versions"]
    then = then if isinstance(then, dict) else {}
    other = {str(n): (str(v), here.get(n, "none")) for n, v in then.items() if here.get(n) != v}
    table = pd.DataFrame(faults, columns=["place", "stored", "computed", "digits"]).astype({"digits": float})
    return Verification(table, len(files) - 1, len(old), other)


def _settings() -> dict[str, Any]:
    names = ("metamiq", "numpy", "scipy", "pandas")
    return {
        "effect": "Hedges' g, exact small-sample correction, positive when MI + CBT did better",
        "model": "random effects by maximum likelihood, points and bounds together, profile-likelihood intervals",
        "level": 0.95,
        "versions": {name: version(name) for name in names},
    }


def _results(answers: Answers) -> dict[str, Any]:
    fit = answers.pooled
    pooled = {"reason": fit.reason} if isinstance(fit, CannotFit) else {n: float(getattr(fit, n)) for n in QUANTITIES}
    weights = [math.nan] * len(answers.effects) if isinstance(fit, CannotFit) else list(fit.weights)
    names = ("kind", "yi", "vi", "yi_low", "yi_high", "n1i", "n2i")
    trials = {
        str(row["trial_id"]): {**{name: row[name] for name in names}, "weight": float(weight)}
        for row, weight in zip(answers.effects.to_dict(orient="records"), weights, strict=True)
    }
    verdicts = {} if answers.ds.claims.empty else audit(answers).table.set_index("claim_id")["verdict"].to_dict()
    results = {"pooled": pooled, "trials": trials, "verdicts": verdicts}
    protocol = protocol_beside(answers.ds.path)
    if protocol is not None:
        done = [] if answers.ds.claims.empty else [("audit", "")]
        table = first_question_compliance(protocol, answers, done).table
        results["planned"] = dict(zip(table["analysis"], table["planned"], strict=True))
    return results


def _json(value: Any) -> bytes:
    """JSON in which every number has all its digits; what is not finite is a word."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {str(k): plain(v) for k, v in x.items()}
        return str(x) if isinstance(x, float) and not math.isfinite(x) else x

    return (json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _licence(package: Mapping[str, Any]) -> str:
    given = [x for x in package.get("licenses", []) if isinstance(x, dict)]
    lines = [" ".join(str(x[key]) for key in ("title", "name", "path") if key in x) for x in given]
    return "\n".join(lines or ["No licence is stated in data/datapackage.json; ask the owner of the data."]) + "\n"


def _unpack(file: Path) -> dict[str, bytes]:
    if file.exists() and not file.is_file():  # of a device zipfile would read without end
        raise DataError(f"{file} must be a zip file, but it is no ordinary file.")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            wrong = [n for n in names if not _NAME.fullmatch(n) or names.count(n) > 1]
            wrong += [e.filename for e in entries if stat.S_ISLNK(e.external_attr >> 16) or e.flag_bits & 1]
            if wrong:
                listed = ", ".join(map(repr, wrong[:5]))
                raise DataError(f"{file} must hold plain files of a bundle, each once, but it has {listed}.")
            size = sum(entry.file_size for entry in entries)
            if size > _LARGEST:
                raise DataError(f"{file} must unpack to at most {_LARGEST:,} bytes, but it says {size:,}.")
            for entry in entries:
                if entry.file_size > 1_000_000 and entry.file_size > _RATIO * entry.compress_size:
                    raise DataError(
                        f"The parts of {file} must be packed at most {_RATIO}-fold, but {entry.filename} says "
                        f"{entry.file_size:,} bytes from {entry.compress_size:,}."
                    )
            return {name: archive.read(name) for name in names}
    except DataError:
        raise
    except Exception as error:  # OSError, and whatever a zip file that was tampered with makes zipfile raise
        raise DataError(f"{file} must be a zip file that can be read, but it is not ({error}).") from None


def _load(content: bytes, name: str, path: object) -> dict[str, Any]:
    try:
        value = json.loads(content)
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


def _wrong_sums(files: Mapping[str, bytes]) -> list[tuple[str, str, str, float]]:
    stated = {}
    for line in files[_SUMS].decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        stated[name] = digest
    faults = []
    for name in sorted({*stated, *files} - {_SUMS}):
        here = hashlib.sha256(files[name]).hexdigest() if name in files else "no such file"
        if stated.get(name, "no checksum") != here:
            faults.append((name, stated.get(name, "no checksum"), here, math.nan))
    return faults


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for key, x in value.items():
        place = f"{before}.{key}" if before else str(key)
        out |= _flat(x, place) if isinstance(x, dict) else {place: repr(x) if isinstance(x, float) else str(x)}
    return out


def _digits(x: str, y: str) -> float:
    """Significant digits to which two numbers agree; NaN when one is none.

    Examples
    --------
    >>> _digits("0.34061", "0.34058"), _digits("mi", "cbt")
    (4.0, nan)
    """
    try:
        a, b = float(x), float(y)
    except ValueError:
        return math.nan
    if not (math.isfinite(a) and math.isfinite(b)) or max(abs(a), abs(b)) == 0:
        return math.nan
    gap = abs(a - b) / max(abs(a), abs(b))
    return math.inf if gap == 0 else float(max(0, math.floor(-math.log10(gap))))
