"""A study table and its answer in one zip file, and computing such a bundle again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metamiq.datasets import Dataset, datapackage
from metamiq.errors import ConvergenceError, DataError
from metamiq.living.archive import as_json, data_of, is_plain, licence_text, packed
from metamiq.living.codebook import MEANINGS, read_meanings
from metamiq.living.pictures import svg_of
from metamiq.living.table_answer import PROTOCOL, TableAnswer, table_answer
from metamiq.living.table_settings import KIND, Reading, TableAnalysis
from metamiq.living.verification import Fault, differing, differing_cells, other_versions, versions, wrong_files
from metamiq.protocol.record import Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DRAWN = 2_000  # rows of a forest plot
_PARTS = ("LICENSE.txt", "README.txt", "results.json", "settings.json")
_NO_LICENCE = "No licence is stated; ask the owner of the data."
_README = """{title}

data/            the data as they were read, byte for byte
table.csv        the table as it was understood: our column names, numbers as numbers
codebook.csv     which column was taken for what, and what each means
meanings.csv     what whoever made the table says that its columns mean, where it was said; codebook.csv has it
settings.json    how the table was read and pooled, and with which versions
results.json     each row's effect size, variance and weight, the mean, heterogeneity, the prediction interval, and
                 subgroups and moderators; every number with all its digits
methods.txt      the methods paragraph, from the settings used, with its references
figures/         forest and funnel plot (of at most {most:,} rows)
protocol.toml    what was planned, where there is a protocol
SHA256SUMS       checksum of every file (sha256sum -c SHA256SUMS)

`metamiq verify FILE.zip` checks the sums, reads and computes everything again but the figures, and says where a digit
differs.
"""


class TableBundle(NamedTuple):
    """A bundle, the planned analyses that could not be done, each with the reason, and columns without a meaning."""

    content: bytes
    not_done: list[str]
    unexplained: list[str]


def bundle_table(
    source: Path | Dataset,
    analysis: TableAnalysis,
    *,
    reading: Reading | None = None,
    protocol: Protocol | None = None,
    meanings: Path | None = None,
    licence: str | None = None,
) -> TableBundle:
    """Pack a study table with its answer: data, codebook, settings, results, figures, checksums, licence.

    Parameters
    ----------
    source : Path or Dataset
        The file (CSV or .xlsx), or a dataset that is a study table.
    analysis : TableAnalysis
        How it is pooled.
    reading : Reading, optional
        How the file is read.
    protocol : Protocol, optional
        By which analyses are planned or not.
    meanings : Path, optional
        What the columns of a file mean: a CSV file as `read_meanings` reads it. A dataset has its own.
    licence : str, optional
        Licence of the data, in words; a dataset has its own.

    Returns
    -------
    TableBundle
        Its `content` is a zip file; the same for the same data, settings and versions.

    Raises
    ------
    DataError
        If the table or the meanings cannot be read, the table cannot be pooled, or a subgroup analysis or moderator
        that no protocol plans cannot be done.
    ValueError
        If meanings are given with a dataset.

    Examples
    --------
    >>> import io, zipfile
    >>> import metamiq as mm
    >>> made = bundle_table(mm.load_dataset("bcg"), TableAnalysis(measure="RR"))
    >>> print(*[n for n in zipfile.ZipFile(io.BytesIO(made.content)).namelist() if "." in n and "/" not in n])
    LICENSE.txt README.txt codebook.csv methods.txt results.json settings.json table.csv
    """
    files, table, title, stated = _data(source, Reading() if reading is None else reading)
    if protocol is not None:
        files[PROTOCOL] = Path(protocol.file).read_bytes()
    if meanings is not None:
        if isinstance(source, Dataset):
            raise ValueError("A dataset says in its datapackage.json what its columns mean. Leave the codebook out.")
        read_meanings(meanings)  # faults are told of this file, not of the bundle's
        files[MEANINGS] = meanings.read_bytes()
    settings = json.loads(as_json({"kind": KIND, "table": table, "analysis": analysis.to_dict()}))
    answer = table_answer(files, settings, "the bundle")
    planned = () if protocol is None else (*protocol.analyses.subgroups, *protocol.analyses.moderators)
    failed = [one for one in answer.beside if one.failed]
    for one in failed:
        if one.what not in planned:
            raise DataError(one.failed)
    figures = _figures(answer)
    more = {"protocol": answer.protocol_note, "figures": sorted(figures)}
    texts = {**answer.texts, "README.txt": _README.format(title=title, most=MOST_DRAWN)}
    texts["LICENSE.txt"] = f"{(licence or stated or _NO_LICENCE).strip()}\n"
    files |= {name: text.encode("utf-8") for name, text in {**texts, **figures}.items()}
    files["settings.json"] = as_json({**settings, **more, "versions": versions("formulaic", "matplotlib")})
    files["results.json"] = as_json(answer.results)
    not_done = [f"{one.kind} {one.what}: {one.failed}" for one in failed]
    return TableBundle(packed(files), not_done, answer.unexplained)


def compare_table(
    files: Mapping[str, bytes], settings: Mapping[str, Any], stored: Mapping[str, Any], path: object
) -> tuple[list[Fault], int]:
    """Compute a bundle again: what differs, and how many values were compared.

    Parameters
    ----------
    files : mapping of str to bytes
        All of the bundle but its checksums.
    settings, stored : mapping
        Its settings.json and results.json.
    path : object
        The bundle, for messages.

    Raises
    ------
    DataError
        If its settings are none, or its data cannot be pooled by them.
    """
    try:
        answer = table_answer(files, settings, path)
    except (ValueError, ConvergenceError) as error:
        raise DataError(f"The data of {path} cannot be pooled again by its settings: {error}") from None
    except MemoryError:
        raise DataError(f"The settings of {path} ask for more memory than there is to pool its data again.") from None
    data = [name for name in files if name.startswith("data/")]
    own = data if "dataset" in settings["table"] else [f"data/{settings['table']['file']}"]
    drawn = [name for name in _pictures(answer) if name in _names(settings.get("figures"))]
    given = [name for name in (PROTOCOL, MEANINGS) if name in files]
    faults = wrong_files(files, [*own, *_PARTS, *answer.texts, *drawn, *given])
    same_program = "metamiq" not in other_versions(settings)
    checked = ("kind", "table", "analysis", "protocol", "figures")
    here = {name: settings[name] for name in checked if name in settings}
    here |= {"protocol": answer.protocol_note} if same_program else {}
    said = {name: x for name, x in settings.items() if name != "versions"}
    faults += differing(said, here, "settings.json")[0]
    n_values = 0  # what was read, before what follows from it
    for name, text in answer.texts.items():
        there = files.get(name, b"").decode("utf-8", "replace")
        if name in files and name.endswith(".csv"):
            found, n_cells = differing_cells(there, text, name)
            faults, n_values = [*faults, *found], n_values + n_cells
        elif name in files and same_program and there != text:  # another version may say the same in other words
            faults.append(Fault(name, "other words", "those of the settings"))
    found, n_results = differing(dict(stored), json.loads(as_json(answer.results)), "results.json")
    return [*faults, *found], n_values + n_results


def _names(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _data(source: Path | Dataset, reading: Reading) -> tuple[dict[str, bytes], dict[str, Any], str, str | None]:
    """The files of the data, how settings.json says that they are read, a title, and the licence that they state."""
    if isinstance(source, Dataset):
        package = datapackage(source.path)
        stated = licence_text(package) if package.get("licenses") else None
        return data_of(source.path), {"dataset": source.name}, str(package.get("title", source.name)), stated
    name = source.name if is_plain(f"data/{source.name}") else f"original{source.suffix.lower()}"
    how = {"sheet": reading.sheet, "columns": dict(reading.columns), "where": dict(reading.where)}
    files = {f"data/{name}": source.read_bytes()}
    return files, {"file": name, "named": source.name, **how}, source.stem, None


def _pictures(answer: TableAnswer) -> dict[str, Callable[[], Axes]]:
    """How each figure of a bundle is drawn; none of a table too large to be read in one."""
    from metamiq import plots

    fit, folder = answer.fit, "figures/"
    if fit.k > MOST_DRAWN:
        return {}
    wanted: dict[str, Callable[[], Axes]] = {f"{folder}forest.svg": partial(plots.forest, fit)}
    if fit.k > 1:
        wanted[f"{folder}funnel.svg"] = partial(plots.funnel, fit)
    for i, parted in enumerate(answer.parted, start=1):
        wanted[f"{folder}subgroups_{i}.svg"] = partial(plots.forest, parted)
    return wanted


def _figures(answer: TableAnswer) -> dict[str, str]:
    out = {}
    for name, draw in _pictures(answer).items():
        try:
            out[name] = svg_of(draw())
        except DataError:  # nothing to be drawn
            continue
    return out
