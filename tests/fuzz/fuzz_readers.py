"""Coverage-guided fuzzing of the readers with atheris. Run by name; the tests replay what it found.

    pip install atheris
    python tests/fuzz/fuzz_readers.py table -max_total_time=120 found tests/fuzz/corpus/table

`table` is a study table as CSV, `dataset` the tables of a folder, `proposal` a filled template as TOML, `form` the same
as CSV, `workbook` the XML of a sheet (or a whole .xlsx), `bundle` the files of a bundle (or a whole zip). A reader may
give a result or raise a `ValueError` of one message; anything else is a finding. All content is made up.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

PARTS = b"\n--8<--\n"  # between the files of one input
#: The longest that a message may be: it shows a little of what came.
LONGEST_MESSAGE = 100_000

_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
    'ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" Target="{target}"/>'
    "</Relationships>"
)
_BOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.'
    'openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="t" sheetId="1" r:id="r1"/></sheets>'
    "</workbook>"
)


def table(content: bytes, folder: Path) -> None:
    """A study table."""
    from metamiq.datasets import read_table

    file = folder / "t.csv"
    file.write_bytes(content)
    read_table(file)


def dataset(content: bytes, folder: Path) -> None:
    """Trials, results and dropout."""
    from metamiq.datasets import datapackage, read_dataset

    home = folder / "mine"
    home.mkdir()
    names = ("trials.csv", "results.csv", "dropout.csv", "datapackage.json")
    for name, part in zip(names, content.split(PARTS), strict=False):
        (home / name).write_bytes(part)
    read_dataset(home)
    datapackage(home)


def proposal(content: bytes, folder: Path) -> None:
    """A filled template as TOML."""
    _proposal(folder / "p.toml", content)


def form(content: bytes, folder: Path) -> None:
    """A filled template as CSV."""
    _proposal(folder / "p.csv", content)


def _proposal(file: Path, content: bytes) -> None:
    from metamiq.living.merging import merge
    from metamiq.living.proposal import read_proposal

    file.write_bytes(content)
    merge(file.parent, read_proposal(file), replace=True)  # into a folder without tables: all rows are new


def workbook(content: bytes, folder: Path) -> None:
    """A sheet, or a whole workbook."""
    from metamiq.datasets import read_table

    file = folder / "t.xlsx"
    file.write_bytes(content if content.startswith(b"PK") else packed_sheet(content))
    read_table(file)


def packed_sheet(sheet: bytes) -> bytes:
    """The smallest workbook around the XML of a sheet."""
    parts = {
        "[Content_Types].xml": _TYPES.encode(),
        "_rels/.rels": _RELATIONS.format(kind="officeDocument", target="xl/workbook.xml").encode(),
        "xl/workbook.xml": _BOOK.encode(),
        "xl/_rels/workbook.xml.rels": _RELATIONS.format(kind="worksheet", target="worksheets/sheet1.xml").encode(),
        "xl/worksheets/sheet1.xml": sheet,
    }
    return _zip(parts)


def bundle(content: bytes, folder: Path) -> None:
    """The files of a bundle, or a whole zip file."""
    from metamiq.living.bundle import verify

    names = ("results.json", "settings.json", "SHA256SUMS", "data/trials.csv", "data/results.csv")
    file = folder / "b.zip"
    parts = dict(zip(names, content.split(PARTS), strict=False))
    file.write_bytes(content if content.startswith(b"PK") else _zip(parts))
    verify(file).summary()


def _zip(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), part)
    return out.getvalue()


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    f.__name__: f for f in (table, dataset, proposal, form, workbook, bundle)
}


def attempt(target: str, content: bytes) -> str:
    """Give the content to a reader; the message when it is refused, "" when it is read. Else whatever is raised."""
    from metamiq.errors import ConvergenceError, DataError

    message = ""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            TARGETS[target](content, Path(scratch))
        except DataError as error:
            message = str(error) or "a refusal must say why"
        except (ValueError, ConvergenceError) as error:
            message = str(error)
            if " must " not in message:
                raise  # not one of our sentences
    if len(message) > LONGEST_MESSAGE:
        raise RuntimeError(f"a message of {len(message):,} characters must show only a little of what came")
    return message


def main() -> None:
    """Fuzz one target; the rest of the command line is libFuzzer's."""
    import atheris

    target = sys.argv.pop(1)
    with atheris.instrument_imports(include=["metamiq.datasets", "metamiq.living", "openpyxl", "zipfile", "tomllib"]):
        attempt(target, b"")
    atheris.Setup(sys.argv, lambda content: attempt(target, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
