"""Whatever stands in the cells, a reader gives a table or a clear `DataError`. All changes to the data are made up."""

from __future__ import annotations

import csv
import importlib.util
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamiq.datasets import FaultyDataError, datapackage, load_dataset, read_dataset, read_table

_spec = importlib.util.spec_from_file_location("fuzz_readers", Path(__file__).parent / "fuzz" / "fuzz_readers.py")
fuzz = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz)
CORPUS = sorted(p for p in (Path(__file__).parent / "fuzz" / "corpus").glob("*/*") if p.is_file())

TABLES = ("trials", "results", "dropout", "claims")
cells = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "-1", "1e400", "nan", "=1", "\0", "1,5", "1.5", "cls", "NA", "mi", "candidate", '"', "\u2212\u0663"]
    ),
)
headers = st.lists(
    st.sampled_from(
        ["study", "yi", "vi", "n1i", "sd1i", "arm", "cls", "_fields_set", "model_config", "problems", "g", ""]
    )
    | st.text(max_size=6),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "evidence"
    shutil.copytree(load_dataset("mi_cbt_anxiety").path, folder)
    return folder


def reads_or_refuses(read, file):
    try:
        read()
    except FaultyDataError as error:
        return all(str(file) in fault.file and fault.rule and fault.came for fault in error.faults)
    return True


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(TABLES), st.integers(0, 40), st.integers(0, 25), cells)
def test_any_cell_of_the_evidence(copy, table, row, column, cell):
    file = copy / f"{table}.csv"
    before = file.read_bytes()
    rows = list(csv.reader(io.StringIO(before.decode(), newline="")))
    rows[row % len(rows)][column % len(rows[0])] = cell
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    try:
        file.write_bytes(buffer.getvalue().encode("utf-8", "surrogatepass"))
        assert reads_or_refuses(lambda: read_dataset(copy), copy)
        assert reads_or_refuses(lambda: datapackage(copy), copy)
    finally:
        file.write_bytes(before)


@settings(max_examples=50, deadline=None)
@given(headers, st.lists(st.lists(cells, min_size=1, max_size=5), max_size=3), st.sampled_from(",;\t"))
def test_any_study_table(tmp_path_factory, header, rows, separator):
    file = tmp_path_factory.mktemp("fuzz") / "table.csv"
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator).writerows([header, *([*row, *header][: len(header)] for row in rows)])
    file.write_bytes(buffer.getvalue().encode("utf-8", "surrogatepass"))
    assert reads_or_refuses(lambda: read_table(file), file)


def test_the_corpus_has_something_for_every_reader():
    assert {file.parent.name for file in CORPUS} == set(fuzz.TARGETS)


@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
def test_what_fuzzing_found_is_read_or_refused(target):
    if target == "workbook":
        pytest.importorskip("openpyxl")
    for file in CORPUS:
        if file.parent.name == target:
            fuzz.attempt(target, file.read_bytes())  # anything but a sentence is raised


@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
def test_seeds_are_read_and_not_only_refused(target):
    if target == "workbook":
        pytest.importorskip("openpyxl")
    read = [file.name for file in CORPUS if file.parent.name == target and not fuzz.attempt(target, file.read_bytes())]
    assert read, "a reader that is never past its first check is not fuzzed"


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(CORPUS), st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 3))
def test_any_change_of_the_corpus_is_read_or_refused(file, at, put, cut):
    content = file.read_bytes()
    at %= len(content) + 1
    fuzz.attempt(file.parent.name, content[:at] + put + content[at + cut :])
