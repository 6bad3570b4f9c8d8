"""Everything behind an answer in one zip file, and checking such a file digit by digit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from metamiq.datasets import Dataset, datapackage, read_dataset
from metamiq.errors import DataError
from metamiq.explaining.methods import joined
from metamiq.explaining.methods_first_question import first_question_methods
from metamiq.living.archive import SUMS, as_json, data_of, licence_text, load, packed, unpack, unpacked_data
from metamiq.living.difference import QUANTITIES
from metamiq.living.pictures import svg_of
from metamiq.living.spreadsheet import formulas
from metamiq.living.table_bundle import compare_table
from metamiq.living.table_settings import KIND
from metamiq.living.verification import (
    Fault,
    Verification,
    differing,
    other_versions,
    verification,
    versions,
    wrong_files,
    wrong_sums,
)
from metamiq.protocol.first_question import first_question_compliance
from metamiq.protocol.reading import protocol_beside
from metamiq.protocol.record import NO_PROTOCOL
from metamiq.question import Answers, CannotFit
from metamiq.verdicts import audit

_FIGURE = "figures/forest.svg"
_PARTS = ("LICENSE.txt", "README.txt", "methods.txt", "results.json", "settings.json")
_README = """{title}

data/            the tables, datapackage.json, which explains every column, and protocol.toml where there is one
results.json     the pooled answer, the effect or bound of each trial, the verdicts; every number with all its digits;
                 with a protocol which analyses were planned
settings.json    how they were computed, and with which versions
methods.txt      the methods paragraph, from the settings used, with its references
figures/         the forest plot
SHA256SUMS       checksum of every file (sha256sum -c SHA256SUMS)

`metamiq verify FILE.zip` checks the sums, computes everything again but the figure, and says where a digit differs.
"""


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
    >>> import io, zipfile
    >>> content = bundle(mm.load_dataset("mi_cbt_anxiety"))
    >>> zipfile.ZipFile(io.BytesIO(content)).namelist()[:3]
    ['LICENSE.txt', 'README.txt', 'SHA256SUMS']
    """
    from metamiq import plots

    answers = Answers(ds)
    package = datapackage(ds.path)
    files = data_of(ds.path)
    files["README.txt"] = _README.format(title=package.get("title", ds.name)).encode("utf-8")
    files["LICENSE.txt"] = licence_text(package).encode("utf-8")
    files["settings.json"] = as_json({**_settings(ds), "dataset": ds.name, "versions": versions("matplotlib")})
    paragraphs = joined(*first_question_methods(answers))
    files["methods.txt"] = f"{paragraphs}\n".encode()
    files["results.json"] = as_json(_results(answers))
    if not isinstance(answers.pooled, CannotFit):
        files[_FIGURE] = svg_of(plots.forest(answers.pooled, groups=("MI + CBT", "CBT"))).encode("utf-8")
    return packed(files)


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
        (ds.where(name, position), f"{column} {problem}")
        for name, table in ds.tables.items()
        for position, column, problem in formulas(table)
    ]


def verify(path: str | PathLike[str]) -> Verification:
    """Check a bundle of a dataset or of a study table: its checksums, and every number computed again from its data.

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
    files = unpack(Path(path))
    settings = load(files["settings.json"], "settings.json", path) if "settings.json" in files else {}
    of_table = settings.get("kind") == KIND
    needed = {SUMS, "results.json", "settings.json", *(() if of_table else ("data/trials.csv",))}
    if lacking := sorted(needed - set(files)):
        raise DataError(f"{path} must be a bundle of metamiq, but it has no {', '.join(lacking)}.")
    faults = wrong_sums(files)
    known = {fault.place for fault in faults}
    stored = load(files["results.json"], "results.json", path)
    held = {name: content for name, content in files.items() if name != SUMS}
    found, n_values = (compare_table if of_table else _compare_dataset)(held, settings, stored, path)
    faults += [fault for fault in found if fault.place not in known]
    return verification(faults, files, n_values, settings)


def _compare_dataset(
    files: Mapping[str, bytes], settings: Mapping[str, Any], stored: Mapping[str, Any], path: object
) -> tuple[list[Fault], int]:
    """Compute the bundle of a dataset again: what differs, and how many values were compared."""
    with unpacked_data(files) as folder:
        ds = read_dataset(folder)
        answers = Answers(ds)
        here, computed = _settings(ds), json.loads(as_json(_results(answers)))
        words = f"{joined(*first_question_methods(answers))}\n"
    data = [name for name in files if name.startswith("data/")]
    faults = wrong_files([name for name in files if name != _FIGURE], [*data, *_PARTS])
    if "metamiq" not in other_versions(settings):  # another version may say the same in other words
        said = {name: x for name, x in settings.items() if name not in ("dataset", "versions")}
        faults += differing(said, json.loads(as_json(here)), "settings.json")[0]
        if files.get("methods.txt", words.encode()).decode("utf-8", "replace") != words:
            faults.append(Fault("methods.txt", "other words", "those of the settings"))
    found, n_values = differing(dict(stored), computed, "results.json")
    return [*faults, *found], n_values


def _settings(ds: Dataset) -> dict[str, Any]:
    protocol = protocol_beside(ds.path)
    return {
        "effect": "Hedges' g, exact small-sample correction, positive when MI + CBT did better",
        "model": "random effects by maximum likelihood, points and bounds together, profile-likelihood intervals",
        "level": 0.95,
        "protocol": NO_PROTOCOL if protocol is None else protocol.note,
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
