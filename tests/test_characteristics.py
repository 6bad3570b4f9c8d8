"""The study characteristics table. Tables made up here are synthetic and say so; the others are bundled data."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import metamiq as mm
from metamiq.cli import main
from metamiq.report.characteristics import ABSENT, block, characteristics, describes, shown

FORMULA = '=HYPERLINK("http://bad.example","x")'
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def ds():
    return mm.load_dataset("mi_cbt_anxiety")


@pytest.fixture(scope="module")
def trials(ds):
    return characteristics(ds)


def run(*arguments):
    return CliRunner().invoke(main, ["characteristics", *map(str, arguments)])


def test_each_candidate_has_one_row_of_text(ds, trials):
    candidates = ds.trials[ds.trials["role"] == "candidate"]
    assert trials["study"].tolist() == candidates["label"].tolist()
    assert all(isinstance(x, str) and x for x in trials.to_numpy().ravel())


def test_what_the_data_hold_stands_there_and_nothing_else(ds, trials):
    """Cell by cell: the number in trials.csv, or "not reported" where the cell is empty."""
    candidates = ds.trials[ds.trials["role"] == "candidate"].reset_index(drop=True)
    for column, heading in (
        ("disorder", "disorder"), ("population", "population"), ("n_mi", "n MI + CBT"), ("n_cbt", "n comparison"),
        ("n_total", "n of both"), ("mi_sessions", "MI sessions"), ("comparator", "comparison"),
    ):  # fmt: skip
        for value, cell in zip(candidates[column], trials[heading], strict=True):
            if pd.isna(value):
                assert cell == ABSENT
            elif isinstance(value, str):
                assert cell == value
            else:
                assert float(cell) == value
    assert (trials["n MI + CBT"] == ABSENT).sum() == candidates["n_mi"].isna().sum() > 0


def test_outcomes_come_with_their_time_points(ds, trials):
    cell = trials.set_index("study").loc["McCabe et al. 2019", "outcomes and time points"]
    times = ds.results.loc[ds.results["trial_id"] == "mccabe2019", "timepoint"]
    assert all(time in cell for time in times)
    assert cell.startswith("OCD severity (Y-BOCS, clinician): ")


def test_sources_name_identifiers_and_what_was_read(trials):
    row = trials.set_index("study").loc["Coffey et al. 2016"]
    assert row["sources"] == "doi:10.1037/adb0000201; PMID 27786516; NCT01409707; read: abstract"
    assert row["arms"] == "3"
    assert trials.set_index("study").loc["Hsieh et al. 2012", "arms"] == "2 compared"


def test_the_page_links_the_study_and_keeps_every_study(trials):
    made = block(trials)
    assert len(made.rows) == len(trials)
    assert {len(row) for row in made.rows} == {len(made.head)}
    linked = {row[0].text: row[0].href for row in made.rows}
    assert linked["Coffey et al. 2016"] == "https://doi.org/10.1037/adb0000201"
    assert linked["Hsieh et al. 2012"] == ""
    sizes = {row[0].text: row[2].text for row in made.rows}
    assert sizes["Barrera, Smith & Norton 2016"] == "20 v 19"
    assert sizes["Dean et al. 2016"] == "96 in both"
    assert sizes["Coffey et al. 2016"] == "3 arms in all"


def test_a_study_table_shows_what_is_no_effect_size():
    table = characteristics(mm.load_dataset("bcg"))
    assert list(table) == [
        "study", "year", "events and n of group 1", "events and n of group 2", "latitude", "allocation",
    ]  # fmt: skip
    effects = mm.effect_sizes(mm.load_dataset("bcg").trials, "RR")
    assert characteristics(effects).equals(table)
    linde = characteristics(mm.load_dataset("linde2005"))
    assert linde.loc[0, "events and n of group 1"] == ABSENT


def test_rows_of_one_study_are_put_together():
    made_up = pd.DataFrame(
        {
            "study": ["a", "b", "a", "a", "a", "a"],
            "ni": [20, 31, 20, 20, 20, 20],
            "outcome": ["pain", "pain", "sleep", "mood", "work", "joy"],
            "weeks": [1, 2, 3, 4, 5, 6.5],
            "country": ["X", None, "X", "X", None, "X"],
            "yi": 0.1,
            "vi": 0.2,
        }
    )
    table = characteristics(made_up)
    assert table["study"].tolist() == ["a", "b"]
    assert table["effects"].tolist() == ["5", "1"]
    assert table["n"].tolist() == ["20", "31"]
    assert table["outcome"].tolist() == ["pain; sleep; mood; work and 1 more", "pain"]
    assert table["weeks"].tolist() == ["1 to 6.5", "2"]
    assert table["country"].tolist() == ["X", ABSENT]


def test_columns_without_a_value_are_left_out_and_names_alone_describe_nothing():
    made_up = pd.DataFrame({"study": ["a"], "yi": [0.1], "vi": [0.2], "empty": [np.nan]})
    table = characteristics(made_up)
    assert list(table) == ["study"]
    assert not describes(table)
    assert describes(characteristics(mm.load_dataset("bcg")))
    unnamed = characteristics(pd.DataFrame({"dose": [1, 2]}))
    assert unnamed["study"].tolist() == ["row 1", "row 2"]


def test_two_columns_never_share_a_heading():
    made_up = pd.DataFrame({"study": ["a"], "n1i": [5], "n of group 1": ["other"], "year": [2000]})
    table = characteristics(made_up)
    assert table.columns.is_unique
    assert table.loc[0, "n of group 1"] == "5"
    assert table.iloc[0].tolist() == ["a", "2000", "5", "other"]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (pd.DataFrame({"study": []}), mm.DataError, "at least one study to describe"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), mm.DataError, "Column names must differ"),
        ("bcg", ValueError, "takes a Dataset or a study table"),
    ],
)
def test_what_cannot_be_described_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        characteristics(wrong)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.floats(-1e9, 1e9), st.text(max_size=5))), min_size=1
    )
)
@settings(max_examples=50, deadline=None)
def test_every_study_has_a_row_and_no_cell_is_empty(rows):
    """Synthetic tables of any content."""
    table = characteristics(pd.DataFrame(rows, columns=["study", "anything"], dtype=object))
    assert table["study"].tolist() == list(dict.fromkeys(name for name, _ in rows))
    assert all(isinstance(x, str) and x for x in table.to_numpy().ravel())


def test_numbers_are_shown_with_all_that_matters():
    assert [shown(x) for x in (1234567.0, 0.1 + 0.2, -3, True, np.int64(7))] == ["1234567", "0.3", "-3", "True", "7"]


def test_the_command_writes_five_forms(tmp_path):
    said = run("bcg")
    assert said.exit_code == 0
    assert "Aronson 1948\n  year: 1948\n  events and n of group 1: 4 of 123" in said.output
    assert json.loads(run("bcg", "--format", "json").output)["studies"][0]["latitude"] == "44"
    assert "| Aronson 1948 | 1948 | 4 of 123 |" in run("bcg", "--format", "markdown").output
    csv = run("bcg", "--format", "csv").output.splitlines()
    assert csv[0].startswith("study,year,events and n of group 1")
    page = tmp_path / "table.html"
    assert run("bcg", "--out", page).exit_code == 0
    assert '<th scope="col">latitude</th>' in page.read_text(encoding="utf-8")
    refused = run("bcg", "--out", tmp_path / "table.docx")
    assert refused.exit_code == 2
    assert "must end in" in refused.output
    assert not (tmp_path / "table.docx").exists()


def test_nothing_in_a_table_runs_in_a_spreadsheet_or_a_page(tmp_path):
    """Synthetic, and hostile: a formula and a script in cells of a table that never met the reader."""
    made_up = pd.DataFrame({"study": ["a", SCRIPT], "yi": 0.1, "vi": 0.2, "note 2": [FORMULA, "fine"]})
    table = characteristics(made_up)
    from metamiq.report.document import Document, Section
    from metamiq.report.markdown import markdown
    from metamiq.report.page import page
    from metamiq.report.writing import csv_text

    whole = Document("made up", (), (), (Section("characteristics", "Study characteristics", (block(table),)),), {})
    html = page(whole)
    assert SCRIPT not in html
    assert "&lt;script&gt;" in html
    assert SCRIPT not in markdown(whole)
    assert re.search(r'^a,"\'=HYPERLINK', csv_text(table), re.MULTILINE)
