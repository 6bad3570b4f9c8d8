"""Whole columns are read and cleared at once, and say exactly what cell by cell and row by row would be said.

All numbers are made up.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metamiq.cli import main
from metamiq.datasets import FaultyDataError, StudyRow, TrialRow, read_table
from metamiq.datasets.columns import columns_of
from metamiq.datasets.numbers import is_number, plain, read_numbers
from metamiq.datasets.screening import rows_to_check

KNOWN = columns_of(StudyRow)
SIGNS = st.text("0123456789.,+-\u2212eE_ nainf\u0663", max_size=8)
WRITTEN = st.one_of(SIGNS, st.floats(allow_nan=False).map(repr), st.integers().map(str))


@settings(max_examples=50, deadline=None)
@given(st.lists(WRITTEN, max_size=20), st.sampled_from(".,"))
@example(["1e999", "-1e999", "1_0", "", "NA", "1.", ".5", ",5", "+5e-2", "\u22121", "nan", "inf", "\u0663"], ".")
def test_a_column_of_numbers_is_read_as_its_cells_are(cells, mark):
    cells = [cell.replace(".", mark) for cell in cells]
    values = read_numbers(cells, mark)
    for cell, value in zip(cells, values, strict=True):
        assert math.isnan(value) != is_number(cell, mark)
        if is_number(cell, mark):
            assert value == float(plain(cell).replace(",", "."))


# Values at and beside every limit that the model has, so that a limit that is read wrongly shows.
LIMITS = sorted({0.0, 1.0, 2.0, *(float(v) for c in KNOWN.values() for v in c.limits.values())})
EDGES = sorted({edge for v in LIMITS for edge in (v, np.nextafter(v, 9e9), np.nextafter(v, -9e9), v + 0.5, -v)})
numbers = st.sampled_from([name for name, column in KNOWN.items() if column.is_number])
rows = st.lists(st.dictionaries(numbers, st.sampled_from([*EDGES, 1e308, 2e300]), max_size=9), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_the_rows_that_are_looked_at_are_those_that_the_model_refuses(table):
    names = {name for row in table for name in row}
    columns = {name: np.array([row.get(name, np.nan) for row in table]) for name in names}
    refused = []
    for position, row in enumerate(table):
        try:
            StudyRow(**row)
        except ValidationError:
            refused.append(position)
    assert rows_to_check(StudyRow, columns, len(table)) == refused


@pytest.mark.parametrize("column", sorted(KNOWN))
def test_every_limit_of_every_column_is_asked(column):
    if not KNOWN[column].is_number:
        assert rows_to_check(StudyRow, {column: ["a", "b"]}, 2) == []
        return
    values = np.array(EDGES)
    refused = [position for position, value in enumerate(EDGES) if not _fits({column: value})]
    assert rows_to_check(StudyRow, {column: values}, len(values)) == refused
    assert bool(refused) == bool(KNOWN[column].limits or KNOWN[column].type == "integer")


def _fits(row):
    try:
        StudyRow(**row)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"n1i": 1, "sd1i": 2}, 1), ({"n1i": 2, "sd1i": 2}, 0), ({"n2i": 1, "sd2i": 2}, 1), ({"n1i": 1, "sd2i": 2}, 0),
        ({"ai": 5, "n1i": 4}, 1), ({"ai": 4, "n1i": 4}, 0), ({"ci": 5, "n2i": 4}, 1), ({"ci": 5, "n1i": 4}, 0),
        ({"ai": 1, "bi": 2, "n1i": 4}, 1), ({"ai": 1, "bi": 3, "n1i": 4}, 0), ({"ai": 5, "bi": 0, "n1i": 4}, 1),
        ({"ci": 1, "di": 2, "n2i": 4}, 1), ({"ai": 1e308, "bi": 1e308, "n1i": 1.5e308}, 1),
        ({"ci_low": 1, "ci_high": 1}, 1), ({"ci_low": 0, "ci_high": 1}, 0),
        ({"yi_low": -math.inf, "yi_high": math.inf}, 0), ({"yi_low": 2, "yi_high": 1}, 1),
    ],
)  # fmt: skip
def test_rules_across_columns_hold_for_a_row_and_for_columns_alike(row, expected):
    assert len(list(StudyRow.model_construct(**row).problems())) == expected
    columns = {name: np.array([value, np.nan, value], dtype=float) for name, value in row.items()}
    assert rows_to_check(StudyRow, columns, 3) == [0, 2] * expected


def test_a_model_with_words_in_its_rules_is_asked_for_every_row():
    assert rows_to_check(TrialRow, {"year": np.array([2010.0, 2011.0])}, 2) == [0, 1]


def test_no_row_of_a_clean_table_is_looked_at_by_itself(tmp_path, monkeypatch):
    file = tmp_path / "t.csv"
    cells = "".join(f"s{i},{i % 7 - 3.5},{'' if i % 9 else 'NA'},{i % 5 + 2},\u2212{i % 4}\n" for i in range(2000))
    file.write_text(f"study,yi,vi,n1i,m1i\n{cells}", encoding="utf-8")
    monkeypatch.setattr(StudyRow, "model_validate", lambda row: pytest.fail(f"{row} was looked at"))
    frame = read_table(file)
    assert frame["yi"].tolist() == [i % 7 - 3.5 for i in range(2000)]
    assert frame["vi"].isna().all()
    assert frame["m1i"].tolist() == [-(i % 4) for i in range(2000)]
    assert [str(frame[name].dtype) for name in ("yi", "vi", "n1i", "m1i")] == ["float64", "float64", "int64", "int64"]


def test_the_faults_of_a_large_table_are_named_with_their_lines(tmp_path):
    rows = [f"s{i},{i / 100},0.5" for i in range(3000)]
    rows[999], rows[1999], rows[2999] = "s999,x,0.5", "s1999,1,0", "s2999,1e999,-1"
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["study,yi,vi", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(FaultyDataError) as caught:
        read_table(file)
    assert [(f.line, f.column, f.rule, f.came) for f in caught.value.faults] == [
        (1001, "yi", "yi must be a finite number", "study 's999' has 'x'"),
        (2001, "vi", "vi must be greater than 0", "study 's1999' has 0"),
        (3001, "vi", "vi must be greater than 0", "study 's2999' has -1"),
        (3001, "yi", "yi must be a finite number", "study 's2999' has '1e999'"),
    ]


@pytest.mark.parametrize("cell", ["=1+1", "#REF!", "\u202ea", "x" * 131_073])
def test_one_unusual_cell_among_many_is_found(tmp_path, cell):
    file = tmp_path / "t.csv"
    file.write_text("study,yi\n" + "a,1\n" * 2000 + f"{cell},1\n" + "a,1\n" * 10, encoding="utf-8")
    with pytest.raises(FaultyDataError) as caught:
        read_table(file)
    assert [fault.line for fault in caught.value.faults] == [2002]


def test_what_compares_rows_one_by_one_is_refused_before_hours_are_spent_on_it(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("study,yi,vi\n" + "".join(f"s{i},0.1,0.5\n" for i in range(50_001)), encoding="utf-8")
    for command, most in (("check", "50,000"), ("small-study", "20,000")):
        result = CliRunner().invoke(main, [command, str(file)])
        assert result.exit_code == 2
        assert f"at most {most}" in result.stderr
