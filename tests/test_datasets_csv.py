"""read_csv_table: every dialect, right line numbers, and clear refusals. All tables here are made up."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metamiq.datasets import FaultyDataError, read_csv_table, read_table
from metamiq.datasets.cells import LONGEST_CELL
from metamiq.errors import DataError


def write(folder, content, name="table.csv"):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def message(file):
    with pytest.raises(DataError) as caught:
        read_csv_table(file)
    text = str(caught.value)
    assert file.name in text
    return text


def test_plain_file_needs_no_note(tmp_path):
    table = read_csv_table(write(tmp_path, "study,yi\na,0.5\nb,\n"))
    assert table.frame.to_dict("list") == {"study": ["a", "b"], "yi": ["0.5", ""]}
    assert table.lines == (2, 3)
    assert table.notes == ()
    assert table.separator == ","


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"study;yi\na;1\n", "semicolon separators read"),
        (b"study\tyi\na\t1\n", "tab separators read"),
        (b"study|yi\na|1\n", "bar separators read"),
        (b"\xef\xbb\xbfstudy,yi\na,1\n", "UTF-8 with a byte order mark read"),
        ("\ufeffstudy,yi\na,1\n".encode("utf-16-le"), "UTF-16 read"),
        ("\ufeffstudy,yi\na,1\n".encode("utf-16-be"), "UTF-16 read"),
        (b"study,yi\r\na,1\r\n", "Windows line ends (CRLF) read"),
        (b"sep=;\nstudy;yi\na;1\n", "first line 'sep=' skipped"),
        (b"study,yi\n\n,\na,1\n", "empty rows skipped (line 3)"),
        (b"study,yi,\na,1,\n", "empty column 3 at the right edge skipped"),
        (b',study,yi\n"1",a,1\n', "unnamed first column skipped: it only counts the rows"),
    ],
)
def test_dialect_is_read_and_said(tmp_path, content, note):
    table = read_csv_table(write(tmp_path, content))
    assert table.frame.to_dict("list") == {"study": ["a"], "yi": ["1"]}
    assert note in table.notes


def test_old_mac_line_ends(tmp_path):
    assert read_csv_table(write(tmp_path, b"study,yi\ra,1\rb,2\r")).lines == (2, 3)


def test_lines_count_line_ends_inside_quotes(tmp_path):
    table = read_csv_table(write(tmp_path, 'study,note\na,"one\ntwo\nthree"\nb,"four\r\nfive"\n\nc,\n'))
    assert table.lines == (2, 5, 8)
    assert table.frame["note"].tolist() == ["one\ntwo\nthree", "four\nfive", ""]


def test_lines_are_right_after_a_sep_line(tmp_path):
    assert read_csv_table(write(tmp_path, "sep=;\nstudy;yi\na;1\n")).lines == (3,)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["must have a header and at least one row", "the file is empty"]),
        (b"\n\n", ["the file is empty"]),
        (b"study,yi\n", ["must have at least one row", "there is only a header"]),
        (b"study,yi\n,\n\n", ["must have at least one row"]),
        (b"study,yi,yi\na,1,2\n", ["column names must differ", "'yi' stands there 2 times", "line 1"]),
        (b"study,,yi\na,b,2\n", ["every column must have a name", "column 2 has none"]),
        (b"study,yi\na,1\x00\n", ["must not hold a NUL byte", "line 2"]),
        (b"study,yi\na,1,2\nb\n", ["as many cells as the header (2)", "has 3: 'a'", "line 2", "has 1: 'b'", "line 3"]),
        (b"study,yi\nM\xfcller,1\n", ["text must be UTF-8", "byte 0xfc", "line 2", "CSV UTF-8"]),
        (b"\xff\xfes\x00t\x00u", ["text must be UTF-16-LE"]),
        (b"s\x00t\x00u\x00,\x00", ["NUL byte"]),
        (b'study,note\na,"open\nb,1\n', ["must be quoted as CSV asks", "line 2"]),
        (b'study,note\na,"x"y\n', ["must be quoted as CSV asks", "line 2"]),
        (b"PK\x03\x04rest", ["must be a CSV file", "spreadsheet"]),
        (b"study,yi\na,=1+1\n", ["cells must hold values", "column yi has a formula: '=1+1'", "line 2"]),
        (b'study,yi\n"=HYPERLINK(""http://x"")",1\n', ["column study has a formula"]),
        (b"study,yi\na,#DIV/0!\n", ["a spreadsheet error: '#DIV/0!'"]),
        (b"study,yi\na," + b"9" * (LONGEST_CELL + 1) + b"\n", ["at most 131,072 characters", "line 2"]),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_refusals(tmp_path, content, parts):
    text = message(write(tmp_path, content))
    for part in parts:
        assert part in text


def test_all_faults_of_a_file_come_at_once(tmp_path):
    with pytest.raises(FaultyDataError) as caught:
        read_csv_table(write(tmp_path, "a,a,b\n1,2\n1,=2,3\n"))
    assert len(caught.value.faults) == 3
    assert str(caught.value).startswith("3 faults were found")


def test_missing_file_and_folder(tmp_path):
    assert "the file must exist, but it was not found" in message(tmp_path / "none.csv")
    assert "must be a file, but this is a folder" in message(tmp_path)


def test_nul_in_the_name_is_refused():
    with pytest.raises(DataError, match="must be readable"):
        read_csv_table("a\0b.csv")


# Text that survives any dialect: no control characters, no outer blanks, nothing that reads as a number or a formula.
words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(',;\t" \n'), max_size=12)
notes = words.map(lambda text: f"x{text.strip()}x")
numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 4)) | st.none()


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(notes, numbers, st.integers(2, 9999)), min_size=1, max_size=6),
    dialect=st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", "."), ("|", ".")]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
@example(rows=[("x,x", 1.234, 1234)], dialect=(";", ","), encoding="utf-16", line_end="\r\n")
def test_every_dialect_reads_back_the_same(tmp_path_factory, rows, dialect, encoding, line_end):
    separator, mark = dialect
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, lineterminator=line_end)
    writer.writerow(["note", "yi", "n1i"])
    for note, yi, n in rows:
        writer.writerow([note, "" if yi is None else repr(yi).replace(".", mark), n])
    file = tmp_path_factory.mktemp("dialect") / "table.csv"
    file.write_bytes(buffer.getvalue().encode(encoding))
    frame = read_table(file)
    assert frame["note"].tolist() == [note for note, _, _ in rows]
    assert [None if yi != yi else yi for yi in frame["yi"]] == [yi for _, yi, _ in rows]
    assert frame["n1i"].tolist() == [n for _, _, n in rows]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='a1,;"\n\r\t=.|', max_size=80).map(str.encode))
def test_any_bytes_are_a_table_or_a_clear_refusal(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("bytes") / "table.csv"
    file.write_bytes(content)
    try:
        table = read_csv_table(file)
    except FaultyDataError:
        assert str(file) in message(file)
    else:
        assert len(table.frame) == len(table.lines) > 0
        assert sorted(set(table.lines)) == list(table.lines)
