"""Hostile files through every reader and command: one clear sentence or a right answer, and nothing written elsewhere.

Every table, workbook, bundle and number here is made up.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import metamiq as mm
from metamiq.cli import main
from metamiq.datasets.cells import LONGEST_CELL
from metamiq.datasets.zip_file import read_entry
from metamiq.living.bundle import bundle, verify
from metamiq.living.proposal import read_proposal

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)

ROWS = "study,yi,vi\na,0.1,0.04\nb,0.5,0.02\nc,0.3,0.03\n"
RTL = "\u05de\u05d7\u05e7\u05e8"
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def room(tmp_path, monkeypatch):
    """An empty folder to work in, inside one that nothing may be written to."""
    inside = tmp_path / "outer" / "room"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    yield inside
    assert sorted(p.name for p in inside.parent.iterdir()) == ["room"], "nothing is written outside"


@pytest.fixture
def evidence(room):
    return examples.write_dataset(room / "mine")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def refused(result: Result, words: str) -> None:
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.splitlines()[-1] != ""
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stderr + result.stdout
    assert len(result.stderr) < 20_000, "a message shows a little of what came, not all of it"


# What is wrong with a table, and what is said about it. Study tables and the tables of a dataset are read alike.
BAD_CELLS = {
    "a formula": ("=HYPERLINK(\"http://x\")", "has a formula"),
    "an expression": ("=1+1", "has a formula"),
    "ten megabytes": ("x" * 10_000_000, f"at most {LONGEST_CELL:,} characters"),
    "a NUL byte": ("a\0b", "NUL byte"),
    "an escape": ("\x1b[2Ja", "control characters, but there is '\\x1b'"),
    "a turned text": ("abc\u202ecba", "control characters, but there is '\\u202e'"),
    "an isolate": ("\u2066abc", "control characters, but there is '\\u2066'"),
    "a deleted sign": ("a\x7fb", "control characters, but there is '\\x7f'"),
}  # fmt: skip
BAD_NUMBERS = {
    "nan": "nan", "NaN": "NaN", "infinity": "inf", "minus infinity": "-Infinity", "too large": "1e999",
    "digits of another script": "\u0663", "a date": "2020-01-05",
}  # fmt: skip
TABLE_COMMANDS: dict[str, Callable[[Path], Result]] = {
    "pool": lambda file: run("pool", file),
    "report": lambda file: run("report", file, "--out", "r.html"),
    "export": lambda file: run("export", file, "--to", "jasp"),
    "check": lambda file: run("check", file),
}


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def crossed(
    kinds: dict[str, object], commands: dict[str, object], main_command: str, one_kind: str
) -> list[tuple[str, str]]:
    """Every kind through one command, and one kind through every command: all of them share their reader."""
    return [*((kind, main_command) for kind in kinds), *((one_kind, c) for c in commands if c != main_command)]


@pytest.mark.parametrize(("kind", "command"), crossed(BAD_CELLS, TABLE_COMMANDS, "pool", "a turned text"))
def test_a_bad_cell_of_a_study_table(room, kind, command):
    cell, words = BAD_CELLS[kind]
    file = room / "t.csv"
    file.write_bytes(ROWS.replace("\na,", f"\n{quoted(cell)},").encode())
    refused(TABLE_COMMANDS[command](file), words)
    assert [p.name for p in room.iterdir()] == ["t.csv"], "nothing is written"


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
@pytest.mark.parametrize("kind", BAD_NUMBERS)
def test_what_is_no_finite_number(room, kind, ending):
    file = write_table(room / f"t.{ending}", ROWS.replace("0.02", BAD_NUMBERS[kind]))
    refused(run("pool", file), "vi must be a finite number")


DATASET_COMMANDS: dict[str, Callable[[Path], Result]] = {
    "check": lambda folder: run("check", folder),
    "audit": lambda folder: run("audit", folder),
    "todo": lambda folder: run("todo", folder),
    "diff": lambda folder: run("diff", folder, folder),
    "reconcile": lambda folder: run("reconcile", folder, folder),
    "export": lambda folder: run("export", folder),
    "bundle": lambda folder: run("bundle", folder),
    "report": lambda folder: run("report", folder),
    "new-trial": lambda folder: run("new-trial", "--dataset", folder),
    "add": lambda folder: run("add", "new.toml", "--dataset", folder, "--accept"),
    "remove": lambda folder: run("add", "--remove", "alpha2010", "--because", "x", "--dataset", folder, "--accept"),
}


@pytest.mark.parametrize(("kind", "command"), crossed(BAD_CELLS, DATASET_COMMANDS, "check", "a formula"))
def test_a_bad_cell_of_a_dataset(evidence, kind, command):
    cell, words = BAD_CELLS[kind]
    (evidence.parent / "new.toml").write_text(examples.NEW, encoding="utf-8")
    (evidence / "trials.csv").write_bytes(examples.TRIALS.replace("Alpha 2010", quoted(cell)).encode())
    before = examples.contents(evidence)
    refused(DATASET_COMMANDS[command](evidence), words)
    assert examples.contents(evidence) == before


@pytest.mark.parametrize("key", ["../../x", "/etc/passwd", "..", "a/b", "a\\b", "-rf", "a b", "C:x", "", "a\nb", RTL])
def test_a_key_that_is_a_path(evidence, key):
    for name in ("trials", "results"):
        text = (evidence / f"{name}.csv").read_text(encoding="utf-8")
        text = text.replace(",alpha2010,", f",{quoted(key)},").replace("\nalpha2010,", f"\n{quoted(key)},")
        (evidence / f"{name}.csv").write_text(text, encoding="utf-8")
    refused(run("bundle", evidence), "trial_id must be")


@pytest.mark.parametrize("header", ["study,yi,vi,yi", "study,yi,vi,", "=1,yi,vi", "study,yi,vi,\x1b[2J"])
def test_a_header_that_cannot_be_used(room, header):
    rows = "\n".join(f"s{i},0.{i},0.1,1"[: None if header.count(",") == 3 else -2] for i in range(3))
    file = room / "t.csv"
    file.write_text(f"{header}\n{rows}\n", encoding="utf-8")
    result = run("pool", file)
    assert result.exit_code == 2
    assert "column" in result.stderr or "control" in result.stderr


NAMES = [
    *(
        SCRIPT,
        RTL,
        "a & b",
        '"quoted"',
        "'single'",
        "{{ 7*7 }}",
        "x" * 5_000,
        "|a|b|",
        "`c`",
        "# d",
        "[e](javascript:x)",
    ),
    f"two\n\n{SCRIPT}",
    f"two\n{SCRIPT}",
    f"</code></pre>{SCRIPT}",
    f"]]>--></style></title></svg>{SCRIPT}",
]


@pytest.mark.parametrize("ending", ["html", "md", "json"])
def test_any_other_name_is_written_as_text(room, ending):
    file = room / "t.csv"
    rows = "".join(f"{quoted(name)},0.{i + 1},0.1\n" for i, name in enumerate(NAMES))
    file.write_text(f"study,yi,vi\n{rows}", encoding="utf-8")
    out = room / f"r.{ending}"
    result = run("report", file, "--out", out)
    assert result.exit_code == 0, result.output
    text = out.read_text(encoding="utf-8")
    if ending == "json":
        json.loads(text)
    elif ending == "html":
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    else:  # in Markdown a backslash makes it text, and so do the four blanks of a code block
        outside_code = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
        assert not re.search(r"(?<!\\)<(script|img)", outside_code)
        assert "](javascript:" not in outside_code.replace("\\]", "")
    assert RTL in text


# Workbooks


def write_table(file: Path, text: str) -> Path:
    """A table as CSV or as a workbook with numbers where there are numbers."""
    if file.suffix == ".csv":
        file.write_text(text, encoding="utf-8")
        return file
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in text.splitlines():
        book.active.append([_typed(cell) for cell in line.split(",")])
    book.save(file)
    return file


def _typed(cell: str) -> object:
    try:
        return float(cell) if cell.replace(".", "", 1).isdecimal() and cell.isascii() else cell
    except ValueError:
        return cell


def rewritten(file: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    """The workbook with one of its parts changed."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts.get(part, b""))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file


def more(sheet: bytes, rows: str) -> bytes:
    """The XML of a sheet with rows added."""
    return sheet.replace(b"</sheetData>", rows.encode() + b"</sheetData>")


SHEET = "xl/worksheets/sheet1.xml"
NO_NUMBERS = "<row r='5'><c r='A5' t='str'><v>d</v></c><c r='B5'><v>NaN</v></c><c r='C5'><v>1</v></c></row>"
WORKBOOKS = {
    "a bomb": (SHEET, lambda x: b" " * 50_000_001, "unpack to at most 50,000,000 bytes"),
    "a small bomb": (SHEET, lambda x: b" " * 5_000_000, "packed at most 200-fold"),
    "a bomb beside it": ("xl/media/a.bin", lambda x: b"\0" * 40_000_000, "packed at most 200-fold"),
    "a ten-megabyte cell": (
        SHEET,
        lambda x: more(x, f"<row r='9'><c r='A9' t='str'><v>{os.urandom(5_000_000).hex()}</v></c></row>"),
        "at most 131,072 characters",
    ),
    "an entity": (SHEET, lambda x: b'<!DOCTYPE a [<!ENTITY b "c">]>' + x, "XML entities"),
    "an entity in UTF-16": ("[Content_Types].xml", lambda x: '<!DOCTYPE a [<!ENTITY b "c">]>'.encode("utf-16"), "XML"),
    "an entity far down": (SHEET, lambda x: b"<!--" + b"-" * 9_000 + b'--><!doctype a [<!ENTITY b "c">]>' + x, "XML"),
    "an entity elsewhere": ("xl/a.bin", lambda x: b'<!DOCTYPE a [<!ENTITY b "c">]>' + x, "XML entities"),
    "a row without end": (SHEET, lambda x: more(x, "<row r='99999999999'><c r='A99999999999'/></row>"), "100,000 rows"),
    "many columns": (SHEET, lambda x: more(x, "<row r='9'><c r='XFD9'><v>1</v></c></row>"), "1,000 columns"),
    "nan": (SHEET, lambda x: more(x, NO_NUMBERS), "cannot be read"),
    "broken XML": (SHEET, lambda x: x[: len(x) // 2], "cannot be read"),
    "another encoding": (SHEET, lambda x: b"\xff\xfe" + x, "cannot be read"),
    "no sheet": ("xl/workbook.xml", lambda x: b"<workbook/>", "workbook"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "command"), crossed(WORKBOOKS, TABLE_COMMANDS, "pool", "a bomb"))
def test_a_bad_workbook(room, kind, command):
    part, change, words = WORKBOOKS[kind]
    file = rewritten(write_table(room / "t.xlsx", ROWS), part, change)
    refused(TABLE_COMMANDS[command](file), words)


@pytest.mark.parametrize("kind", BAD_CELLS)
def test_a_bad_cell_of_a_workbook(room, kind):
    cell, words = BAD_CELLS[kind]
    if kind in ("a NUL byte", "an escape", "ten megabytes"):
        pytest.skip("a workbook cannot hold it, or it is tried above")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["study", "yi", "vi"], [cell, 0.1, 0.1], ["b", 0.2, 0.1]):
        book.active.append(row)
    book.save("t.xlsx")
    refused(run("pool", "t.xlsx"), "a formula has none" if "formula" in words else words)


def test_a_bomb_whose_directory_understates_it_is_not_unpacked():
    """Even where the checksum is that of the few bytes that the directory tells of; the peak of memory tells."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", b" " * 50_000_000)
    content = out.getvalue()
    at = content.rfind(b"PK\x01\x02")
    told = zlib.crc32(b" " * 1_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little")
    content = content[: at + 16] + told[0] + content[at + 20 : at + 24] + told[1] + content[at + 28 :]
    tracemalloc.start()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert read_entry(archive, archive.infolist()[0]) == b" " * 1_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_workbook_packed_in_an_uncommon_way_is_refused(room, method):
    file = write_table(room / "t.xlsx", ROWS)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    refused(run("pool", file), "not by deflate")


def test_a_workbook_that_has_a_part_twice_is_refused(room):
    file = write_table(room / "t.xlsx", ROWS)
    with zipfile.ZipFile(file, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(SHEET, archive.read(SHEET))
    refused(run("pool", file), "must hold each part once")


def test_a_workbook_that_claims_wide_rows_is_given_up_soon(room):
    rows = "".join(f"<row r='{i}'><c r='XFD{i}'/></row>" for i in range(9, 20_000)).encode()
    file = rewritten(
        write_table(room / "t.xlsx", ROWS), SHEET, lambda x: x.replace(b"</sheetData>", rows + b"</sheetData>")
    )
    refused(run("pool", file), "at most 100,000 rows and 1,000 columns")


def test_a_workbook_is_read_as_values(room):
    openpyxl = pytest.importorskip("openpyxl")
    import datetime

    book = openpyxl.Workbook()
    for row in (
        ["study", "yi", "vi", "visit", "blind"],
        ["a", 0.1, 0.04, datetime.date(2020, 3, 1), True],
        [None] * 5,
        ["b", 1, 0.02, datetime.datetime(2020, 3, 1, 12, 30), False],
    ):
        book.active.append(row)
    book.create_sheet("second").append(["study"])
    book.save("t.xlsx")
    table = mm.read_table("t.xlsx")
    assert table["visit"].tolist() == ["2020-03-01", "2020-03-01 12:30:00"], "a date is no number"
    assert table["blind"].tolist() == ["TRUE", "FALSE"]
    assert table["yi"].tolist() == [0.1, 1.0]
    assert "sheet 'Sheet' read, not 'second'" in table.attrs["notes"]
    refused(run("pool", "t.xlsx", "--sheet", "third"), "sheet must be one of t.xlsx ('Sheet', 'second'), not 'third'")
    refused(run("pool", "t.xlsx", "--column", "visit=year", "--measure", "SMD"), "year must be a finite number")


def test_what_nobody_sees_in_a_workbook_is_told(room):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["study", "yi", "vi"], ["a", 0.1, 0.04], ["b", 0.2, 0.04], ["c", 0.3, 0.04], [None, 0.4, 0.04]):
        book.active.append(row)
    book.active.row_dimensions[3].hidden = book.active.row_dimensions[99].hidden = True
    book.active.merge_cells("A4:A5")
    book.save("t.xlsx")
    notes = mm.read_table("t.xlsx").attrs["notes"]
    assert "hidden rows are read, too (row 3)" in notes
    assert "of merged cells only the first has the value, and the others are empty (A4:A5)" in notes


def test_a_formula_is_read_as_the_value_that_was_stored_with_it(room):
    def stored(sheet: bytes) -> bytes:
        cells = "<c r='A5' t='str'><v>d</v></c><c r='B5'><f>B2*2</f><v>0.2</v></c><c r='C5'><v>0.1</v></c>"
        return more(sheet, f"<row r='5'>{cells}</row>")

    file = rewritten(write_table(room / "t.xlsx", ROWS), SHEET, stored)
    table = mm.read_table(file)
    assert table["yi"].tolist() == [0.1, 0.5, 0.3, 0.2]
    assert "1 formula read as the value that the spreadsheet program stored" in table.attrs["notes"]
    with pytest.raises(mm.DataError, match="has a formula"):
        read_proposal(file)


def test_without_openpyxl_it_is_one_sentence(room, monkeypatch):
    file = write_table(room / "t.xlsx", ROWS)
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    refused(run("pool", file), "openpyxl must be installed to read .xlsx, but it is not (")
    assert "pip install 'metamiq[excel]'" in run("pool", file).stderr


# Folders, links and other things that are no files


@pytest.mark.parametrize("command", ["bundle", "add", "remove"])
def test_links_in_a_dataset_are_neither_packed_nor_followed_in_writing(evidence, command):
    (evidence.parent / "new.toml").write_text(examples.NEW, encoding="utf-8")
    kept = evidence.parent / "elsewhere.csv"
    (evidence / "trials.csv").rename(kept)
    (evidence / "trials.csv").symlink_to(kept)
    refused(DATASET_COMMANDS[command](evidence), "symbolic link")
    assert kept.read_text(encoding="utf-8") == examples.TRIALS
    assert (evidence / "trials.csv").is_symlink()


@pytest.mark.parametrize("command", ["check", "diff", "todo", "report"])
def test_what_is_no_file_is_not_waited_for(evidence, command):
    (evidence / "results.csv").unlink()
    os.mkfifo(evidence / "results.csv")
    refused(DATASET_COMMANDS[command](evidence), "must be a file")
    (evidence / "results.csv").unlink()
    (evidence / "results.csv").symlink_to(evidence / "results.csv")
    refused(DATASET_COMMANDS[command](evidence), "results.csv")


def test_a_table_without_end_is_given_up(room, monkeypatch):
    monkeypatch.setattr("metamiq.datasets.csv_table.LARGEST_FILE", 1_000_000)
    with piped(b"1,2\n" * 1_000_000) as place:
        refused(run("pool", place), "at most 1,000,000 bytes")
    refused(run("pool", "/dev/zero"), "this is a device")


@contextlib.contextmanager
def piped(content: bytes) -> Iterator[str]:
    """What bash's `<(...)` gives a command: the end of a pipe to which another process writes."""
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as stream:
            stream.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
        thread.join(timeout=10)


WAITING: dict[str, Callable[[str], Result]] = {
    **{command: lambda file, command=command: run(command, file) for command in ("pool", "check", "rob", "prisma")},
    "report": lambda file: run("report", file, "--out", "r.html"),
    "small-study": lambda file: run("small-study", file),
    "sensitivity": lambda file: run("sensitivity", file),
    "characteristics": lambda file: run("characteristics", file),
    "explain": lambda file: run("explain", "a", "--dataset", file),
    "compare": lambda file: run("compare", "--table", file),
    "grade": lambda file: run("grade", file),
    "judgements": lambda file: run("grade", "t.csv", "--judgements", file),
    "protocol": lambda file: run("pool", "t.csv", "--protocol", file),
    "add": lambda file: run("add", file, "--dataset", "mi_cbt_anxiety"),
}


@pytest.mark.parametrize("command", WAITING)
def test_a_named_pipe_is_refused_and_not_waited_for(room, command):
    (room / "t.csv").write_text(ROWS, encoding="utf-8")
    os.mkfifo(room / "p.csv")
    result = WAITING[command]("p.csv")
    assert result.exit_code == 2
    assert re.search("must be a (TOML )?file", result.stderr)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["pool", "check", "report", "characteristics", "explain"])
def test_what_a_shell_gives_open_is_read(room, command):
    with piped(ROWS.encode()) as place:
        result = WAITING[command](place)
    assert result.exit_code == 0, result.output


def test_standard_input_is_read(room):
    call = [sys.executable, "-c", "from metamiq.cli import main; main()", "pool", "/dev/stdin"]
    done = subprocess.run(call, input=ROWS.encode(), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"k = 3" in done.stdout
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"the file is empty (/dev/stdin)" in done.stderr


OUTPUTS: dict[str, Callable[[Path], Result]] = {
    "reproduce": lambda out: run("report", "t.csv", "--out", out / "report.html"),
    "export": lambda out: run("export", "t.csv", "--to", "metafor", "--out", out),
    "reconcile": lambda out: run("reconcile", "mine", "mine", "--out", out),
    "bundle": lambda out: run("bundle", "mine", "--out", out / "b.zip"),
    "new-trial": lambda out: run("new-trial", "--out", out / "new.csv"),
    "pool": lambda out: run("pool", "t.csv", "--forest", out / "forest.svg"),
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_link_in_the_output_folder_is_not_followed(evidence, command):
    room = evidence.parent
    (room / "t.csv").write_text(ROWS, encoding="utf-8")
    treasure = room / "treasure"
    treasure.write_text("mine", encoding="utf-8")
    out = room / "out"
    out.mkdir()
    for name in ("report.html", "metafor.csv", "differences.csv", "b.zip", "new.csv", "forest.svg"):
        (out / name).symlink_to(treasure)
    OUTPUTS[command](out)
    assert treasure.read_text(encoding="utf-8") == "mine"


def test_a_linked_folder_in_the_output_folder_is_refused(evidence):
    room = evidence.parent
    elsewhere = room / "elsewhere"
    elsewhere.mkdir()
    (room / "answer").mkdir()
    (room / "answer" / "figures").symlink_to(elsewhere, target_is_directory=True)
    from metamiq.report.writing import write_folder

    with pytest.raises(mm.DataError, match="symbolic link"):
        write_folder(room / "answer", {"report.md": "x", "figures/a.svg": "x"})
    assert list(elsewhere.iterdir()) == []
    assert sorted(p.name for p in (room / "answer").iterdir()) == ["figures"], "all or nothing"


@pytest.mark.parametrize(
    "name", ["../../x", "/etc", "..", "mi_cbt_anxiety/../../..", "~root", "a\0b", "x" * 300, RTL, "\x1b[2J"]
)
@pytest.mark.parametrize("command", ["check", "copy-dataset", "todo", "diff", "new-trial", "bundle"])
def test_a_dataset_name_is_no_way_out(room, name, command):
    arguments = {
        "copy-dataset": ["copy-dataset", name, "copy"],
        "diff": ["diff", name, "mi_cbt_anxiety"],
        "new-trial": ["new-trial", "--dataset", name],
    }.get(command, [command, name])
    result = run(*arguments)
    assert result.exit_code == 2
    assert list(room.iterdir()) == []
    assert "\x1b" not in result.output


# Bundles


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return bundle(mm.read_dataset(examples.write_dataset(tmp_path_factory.mktemp("pack") / "mine")))


def repacked(
    packed: bytes, change: Callable[[dict[str, bytes]], None], extra: Callable[[zipfile.ZipFile], None]
) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        extra(archive)
    return out.getvalue()


def _link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("data/link.csv")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


def _edit(files: dict[str, bytes], name: str, old: bytes, new: bytes) -> None:
    files[name] = files[name].replace(old, new)


def _nothing(_: object) -> None:
    return None


def _deep(n: int) -> bytes:
    return b'{"a":' * n + b"1" + b"}" * n


ENTRIES = [
    "../../x",
    "/etc/x",
    "data/../../x",
    "data/a/b.csv",
    "C:\\x",
    "data\\x.csv",
    ".hidden",
    "data/.history",
    "a\nb",
]
BUNDLES = {
    **{f"entry {n}": (_nothing, lambda z, n=n: z.writestr(n, "x"), "plain files of a bundle") for n in ENTRIES},
    "a link": (_nothing, _link, "plain files of a bundle"),
    "a bomb": (_nothing, lambda z: z.writestr("data/bomb.csv", b"0" * 100_000_001), "unpack to at most"),
    "a small bomb": (_nothing, lambda z: z.writestr("data/bomb.csv", b"0" * 9_000_000), "packed at most"),
    "no JSON": (lambda f: f.update({"results.json": b"{"}), _nothing, "must be JSON"),
    "deep JSON": (lambda f: f.update({"results.json": _deep(100_000)}), _nothing, "must be JSON"),
    "rather deep JSON": (lambda f: f.update({"results.json": _deep(900)}), _nothing, "at most 20 levels"),
    "a list": (lambda f: f.update({"settings.json": b"[]"}), _nothing, "one JSON object"),
    "versions that are none": (lambda f: f.update({"settings.json": b'{"versions": [1]}'}), _nothing, ""),
    "no table": (lambda f: f.pop("data/trials.csv"), _nothing, "has no data/trials.csv"),
    "a formula": (lambda f: _edit(f, "data/trials.csv", b"Alpha 2010", b"=1"), _nothing, "a formula"),
    "sums that are no text": (lambda f: f.update({"SHA256SUMS": b"\xff\0\x1b[2J  x"}), _nothing, ""),
    "a number in colour": (lambda f: f.update({"results.json": b'{"pooled": {"k": "\\u001b[31m1"}}'}), _nothing, ""),
    "nan": (lambda f: f.update({"results.json": b'{"pooled": {"estimate": NaN, "k": 1e999}}'}), _nothing, ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_bad_bundle(room, packed, kind):
    change, extra, words = BUNDLES[kind]
    Path("b.zip").write_bytes(repacked(packed, change, extra))
    result = run("verify", "b.zip")
    assert "\x1b" not in result.output
    if words:
        refused(result, words)
    else:
        assert result.exit_code == 1, result.output
    assert [p.name for p in room.iterdir()] == ["b.zip"]


def test_a_bundle_with_an_entry_twice_or_cut_off(room, packed):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = repacked(packed, _nothing, lambda z: z.writestr("data/trials.csv", "x"))
    Path("twice.zip").write_bytes(twice)
    refused(run("verify", "twice.zip"), "each once")
    for size in (0, 10, len(packed) // 2, len(packed) - 30):
        Path("cut.zip").write_bytes(packed[:size])
        refused(run("verify", "cut.zip"), "must be a zip file")
    refused(run("verify", room), "must be a zip file")
    refused(run("verify", "absent.zip"), "must be a zip file")


def test_a_good_bundle_is_found_good(room, packed):
    Path("b.zip").write_bytes(packed)
    assert verify("b.zip").agrees


# What is written with the data


DICTIONARIES = [
    "{",
    "[]",
    "[" * 100_000,
    '{"resources": 5}',
    '{"resources": [1, null]}',
    '{"resources": [{"schema": 3}]}',
    '{"resources": [{"path": "trials.csv", "schema": {"fields": [1]}}]}',
    '{"resources": [{"name": "trials", "schema": {"fields": [], "primaryKey": 3}}]}',
    '{"licenses": "x", "title": 3}',
]


@pytest.mark.parametrize("content", DICTIONARIES)
@pytest.mark.parametrize("command", ["bundle", "add"])
def test_a_bad_dictionary(evidence, content, command):
    (evidence.parent / "new.toml").write_text(examples.NEW, encoding="utf-8")
    (evidence / "datapackage.json").write_text(content, encoding="utf-8")
    result = DATASET_COMMANDS[command](evidence)
    assert result.exit_code in (0, 2)
    assert "Traceback" not in result.output
    if result.exit_code == 2:
        assert "datapackage.json" in result.stderr


@pytest.mark.parametrize("reason", ["=HYPERLINK(1)", "a\x1b[2J", "a\rb", '"', "a\nb"])
def test_a_reason_for_ignoring_stays_readable(evidence, reason):
    first = run("check", evidence, "--ignore", "C01", "--reason", reason)
    assert first.exit_code in (0, 1, 2)
    again = run("check", evidence)
    assert again.exit_code in (0, 1), again.output


@pytest.mark.parametrize(
    "value", ["[" * 3_000 + "]" * 3_000, "{a=" * 500 + "1" + "}" * 500, "9" * 10_000, "1979-05-27", "0x" + "f" * 5_000]
)
def test_a_proposal_with_odd_values(evidence, value):
    Path("new.toml").write_text(examples.NEW.replace("sd_mi = 5.2", f"sd_mi = {value}"), encoding="utf-8")
    result = run("add", "new.toml", "--dataset", evidence)
    assert result.exit_code == 2, result.output[:500]
    assert len(result.stderr) < 5_000


def test_a_copy_is_not_made_through_a_link(room):
    (room / "real").mkdir()
    (room / "link").symlink_to(room / "real")
    refused(run("copy-dataset", "mi_cbt_anxiety", "link"), "must be new")
    (room / "dangling").symlink_to(room / "nowhere")
    refused(run("copy-dataset", "mi_cbt_anxiety", "dangling"), "must be new")
    assert not (room / "nowhere").exists()


def test_exported_names_of_a_dataset_are_not_run(room):
    folder = examples.write_dataset(room / "mine")
    text = examples.TRIALS.replace("Beta 2012", "@SUM(1+1)*cmd")
    (folder / "trials.csv").write_text(text, encoding="utf-8")
    assert run("export", folder, "--to", "jasp", "--out", "x").exit_code == 0
    assert "\n'@SUM" in (room / "x" / "jasp.csv").read_text(encoding="utf-8")
    shown = run("bundle", folder)
    assert shown.exit_code == 0
    assert "trials.csv, line 3" in shown.stderr
    assert "a spreadsheet runs as a formula" in shown.stderr
    shutil.rmtree(room / "x")


# Places that cannot be written, or not to the end


WRITTEN: dict[str, Callable[[Path], Result]] = {
    "report": lambda out: run("report", "t.csv", "--out", out / "r.html"),
    "forest": lambda out: run("pool", "t.csv", "--forest", out / "f.svg"),
    "png": lambda out: run("pool", "t.csv", "--forest", out / "f.png"),
    "figures": lambda out: run("sensitivity", "t.csv", "--figures", out),
    "export": lambda out: run("export", "t.csv", "--to", "metafor", "--out", out),
    "grade": lambda out: run("grade", "t.csv", "--out", out / "g.html"),
    "protocol": lambda out: run("protocol", "--out", out / "p.toml"),
    "new-trial": lambda out: run("new-trial", "--out", out / "n.csv"),
    "workbook": lambda out: run("new-trial", "--format", "xlsx", "--out", out / "n.xlsx"),
    "bundle": lambda out: run("bundle", "--out", out / "b.zip"),
}


class _Full:
    """A file on a disk on which three bytes are left."""

    def __init__(self, file: io.FileIO) -> None:
        self.file = file

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        self.file.write(content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


@pytest.mark.parametrize("command", WRITTEN)
def test_a_full_disk_leaves_nothing_half_written(room, monkeypatch, command):
    (room / "t.csv").write_text(ROWS, encoding="utf-8")
    out = room / "out"
    out.mkdir()
    import builtins

    real_open, real_fdopen = builtins.open, os.fdopen

    def full_open(file, mode="r", *rest, **options):
        made = real_open(file, mode, *rest, **options)
        return _Full(made) if str(out) in str(file) and set(mode) & set("wxa") else made

    monkeypatch.setattr(builtins, "open", full_open)
    monkeypatch.setattr(io, "open", full_open)
    monkeypatch.setattr(os, "fdopen", lambda handle, *rest, **options: _Full(real_fdopen(handle, *rest, **options)))
    result = WRITTEN[command](out)
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert "out" in result.stderr
    assert ".metamiq-" not in result.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", WRITTEN)
def test_a_home_that_is_unknown_is_one_sentence(room, command):
    (room / "t.csv").write_text(ROWS, encoding="utf-8")
    refused(WRITTEN[command](Path("~no-such-user-here")), "The home folder in ~no-such-user-here")


def test_a_folder_that_alone_can_be_written_is_enough(room, monkeypatch):
    from metamiq.report.writing import write_folder

    (room / "out").mkdir()
    real = os.replace

    def within(a, b):  # as where the output folder is a file system of its own
        if Path(a).is_relative_to(room / "out") != Path(b).is_relative_to(room / "out"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(a, b)

    monkeypatch.setattr(os, "replace", within)
    write_folder(room / "out", {"a.txt": "x", "tables/b.csv": "y"})
    assert sorted(p.name for p in (room / "out").rglob("*")) == ["a.txt", "b.csv", "tables"]


def test_a_folder_in_place_of_a_file_stops_all_files(room):
    from metamiq.report.writing import write_folder

    (room / "out" / "z.html").mkdir(parents=True)
    with pytest.raises(mm.DataError, match="must be a file, but it is a folder"):
        write_folder(room / "out", {"a.txt": "x", "z.html": "y"})
    assert [p.name for p in (room / "out").rglob("*")] == ["z.html"]


@pytest.mark.parametrize("command", ["pool t.csv", "protocol", "check --rules --json"])
def test_a_reader_that_has_gone_is_no_disagreement(room, command):
    (room / "t.csv").write_text(ROWS, encoding="utf-8")
    code = f"import sys; from metamiq.cli import main; main({command.split()!r})"
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 2
    assert said.strip() == ""


def test_ctrl_c_is_no_disagreement(room, monkeypatch):
    (room / "t.csv").write_text(ROWS, encoding="utf-8")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("metamiq.pooling.models.random_effects", stop)
    refused(run("pool", "t.csv"), "stopped before it was done")


def test_without_standard_error_work_goes_on(monkeypatch):
    from metamiq.progress import track

    monkeypatch.setattr(sys, "stderr", None)
    assert list(track([1, 2], 2, "adding")) == [1, 2]


DEEP = b"[a" + b".a" * 5000 + b"]\nx = 1\n"
BAD_TOML = {
    "nested deep by dots": (DEEP, "at most 100 dots"),
    "nested deep by brackets": (b"a = " + b"[" * 5000 + b"]" * 5000, "nested|read"),
    "a number without end": (b"a = " + b"9" * 10_000, "digits"),
    "no UTF-8": (b"a = '\xff'", "UTF-8"),
    "large": (b"#" * 1_000_001, "at most 1,000,000 bytes"),
    "no tables": (b"choice = [1, 2]\noutcome = 5\n", "tables|template's"),
}


@pytest.mark.parametrize("kind", BAD_TOML)
@pytest.mark.parametrize("command", ["protocol", "grade", "multiverse"])
def test_a_bad_toml_file(evidence, kind, command):
    content, words = BAD_TOML[kind]
    for name in ("protocol.toml", "grade.toml", "choices.toml"):
        (evidence / name).write_bytes(content)
    result = {
        "protocol": lambda: run("protocol", evidence / "protocol.toml"),
        "grade": lambda: run("grade", evidence, "--judgements", evidence / "grade.toml"),
        "multiverse": lambda: run("multiverse", evidence, "--protocol", "none"),
    }[command]()
    refused(result, "")
    assert re.search(words, result.stderr)
    assert f"{'choices' if command == 'multiverse' else command}.toml" in result.stderr


def test_judgements_without_end_are_given_up(evidence):
    refused(run("grade", evidence, "--judgements", "/dev/zero"), "is a device")


@pytest.mark.parametrize(
    ("rows", "command", "words"),
    [
        (1_001, ["suspects", "t.csv", "1"], "At most 1,000 rows"),
        (1_001, ["sensitivity", "t.csv", "--figures", "f"], "at most 1,000 effect sizes"),
        (5_001, ["sensitivity", "t.csv"], "at most 5,000 effect sizes"),
        (10_001, ["characteristics", "t.csv"], "at most 10,000 effect sizes"),
    ],
)
def test_more_rows_than_can_be_told_one_by_one(room, rows, command, words):
    lines = [f"s{i},{i % 7 / 10},0.1" for i in range(rows)]
    (room / "t.csv").write_text("study,yi,vi\n" + "\n".join(lines) + "\n", encoding="utf-8")
    refused(run(*command), words)


def test_a_device_is_no_bundle(room):
    refused(run("verify", "/dev/zero"), "no ordinary file")
