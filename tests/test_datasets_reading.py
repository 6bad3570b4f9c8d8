"""read_dataset: the bundled evidence, every fault with its file, line and trial, and what is kept.

Tables other than the bundled evidence are made up.
"""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from metamiq.datasets import FaultyDataError, available_datasets, load_dataset, read_dataset
from metamiq.errors import DataError

TRIALS = """\
trial_id,label,year,disorder,role,n_mi,n_cbt,n_total,overlaps_with,reason,published_by_2018_04,note
aa2010,Aa 2010,2010,GAD,candidate,20,21,41,,,yes,
bb2012,Bb 2012,2012,OCD,candidate,,,60,,,yes,"two
lines"
cc2020,Cc 2020,2020,tics,excluded,,,,aa2010,no CBT,no,
"""
RESULTS = """\
result_id,trial_id,domain,outcome,timepoint,report,favours,value,p,n_mi,n_cbt,certainty,source,note
aa2010-post,aa2010,symptoms,worry,post,d,mi,0.40,,20,21,reported,abstract,
bb2012-post,bb2012,symptoms,OCD severity,post,significant,mi,,,,,reported,abstract,
"""
DROPOUT = """\
trial_id,stage,arm,n,dropouts,certainty,source
aa2010,treatment,mi,20,2,reported,abstract
aa2010,treatment,cbt,21,4,reported,abstract
"""
CLAIMS = """\
claim_id,quantity,reported,source
k,number of trials,12,abstract
"""


def dataset(folder, **tables):
    """Write a small dataset; a table given as None is left out."""
    tables = {"trials": TRIALS, "results": RESULTS, "dropout": DROPOUT, "claims": CLAIMS, **tables}
    for name, content in tables.items():
        if content is not None:
            (folder / f"{name}.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def faults(folder):
    with pytest.raises(FaultyDataError) as caught:
        read_dataset(folder)
    for fault in caught.value.faults:
        assert str(fault) in str(caught.value)
    return caught.value.faults


def only(folder):
    (fault,) = faults(folder)
    return fault


def test_bundled_evidence():
    ds = load_dataset("mi_cbt_anxiety")
    assert (len(ds.trials), len(ds.results), len(ds.dropout), len(ds.claims)) == (31, 29, 6, 7)
    assert (ds.trials["role"] == "candidate").sum() == 20
    assert ds.notes == ()
    assert repr(ds) == "Dataset 'mi_cbt_anxiety': 31 trials (20 candidates), 29 results, 6 dropout, 7 claims"
    peynenburg = ds.results.set_index("result_id").loc["peynenburg2022-anxiety-post"]
    assert (peynenburg["value"], peynenburg["n_mi"], peynenburg["n_cbt"]) == (0.25, 153, 155)
    assert ds.published.empty
    assert "printed" in ds.published


def test_types_and_missing_cells(tmp_path):
    ds = read_dataset(dataset(tmp_path))
    assert ds.trials["year"].tolist() == [2010, 2012, 2020]
    assert ds.trials["year"].dtype == "int64"  # complete and whole
    assert ds.trials["n_mi"].dtype == "float64"  # cells are empty
    assert pd.isna(ds.trials.at[1, "n_mi"])
    assert ds.trials["overlaps_with"].tolist() == [None, None, "aa2010"]
    assert ds.trials.at[1, "note"] == "two\nlines"
    assert ds.results.at[0, "value"] == 0.4


def test_columns_that_the_file_lacks_are_there_and_empty(tmp_path):
    ds = read_dataset(dataset(tmp_path))
    assert ds.trials["mi_sessions"].isna().all()
    assert ds.trials["mi_sessions"].dtype == "float64"
    assert ds.trials["doi"].tolist() == [None] * 3
    assert ds.results["ci_low"].isna().all()


def test_tables_without_a_file_are_empty_and_have_their_columns(tmp_path):
    ds = read_dataset(dataset(tmp_path, results=None, dropout=None, claims=None))
    assert ds.results.empty
    assert {"result_id", "trial_id", "report", "value"} <= set(ds.results)
    assert list(ds.tables) == ["trials", "results", "dropout", "claims", "published"]
    assert repr(ds).endswith("3 trials (2 candidates)")


def test_where_knows_file_and_line(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    dataset(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    ds = read_dataset("mine")
    assert ds.where("trials", 2) == "mine/trials.csv, line 5"  # after a note of two lines
    filtered = ds.results[ds.results["report"] == "significant"]
    assert ds.where("results", filtered.index[0]) == "mine/results.csv, line 3"
    assert read_dataset(tmp_path / "mine").where("claims", 0) == "mine/claims.csv, line 2"
    with pytest.raises(ValueError, match="table must be one of 'trials', 'results'"):
        ds.where("nothing", 0)
    with pytest.raises(ValueError, match="index must be from 0 to 1 for table 'results', not 9"):
        ds.where("results", 9)


def test_user_columns_are_kept(tmp_path):
    lines = TRIALS.replace('"two\nlines"', "").splitlines()
    trials = "\n".join([lines[0] + ",dose,code", lines[1] + ",1.5,007", lines[2] + ",,008", lines[3] + ",2,009"]) + "\n"
    ds = read_dataset(dataset(tmp_path, trials=trials))
    assert ds.trials["dose"].tolist()[::2] == [1.5, 2.0]
    assert ds.trials["code"].tolist() == ["007", "008", "009"]  # leading zeros: a code, not a number
    assert ds.notes == ("trials.csv: columns kept that the dictionary does not know: code, dose",)


def in_dialect(content, separator=",", mark=".", line_end="\n", encoding="utf-8"):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, lineterminator=line_end)
    for row in csv.reader(io.StringIO(content)):
        writer.writerow(
            cell.replace(".", mark) if cell.lstrip("-").replace(".", "").isdigit() else cell for cell in row
        )
    return buffer.getvalue().encode(encoding)


@pytest.mark.parametrize(
    ("dialect", "notes"),
    [
        ({"encoding": "utf-8-sig"}, {"results.csv: UTF-8 with a byte order mark read"}),
        ({"encoding": "utf-16"}, {"results.csv: UTF-16 read"}),
        ({"line_end": "\r\n"}, {"results.csv: Windows line ends (CRLF) read"}),
        (
            {"separator": ";", "mark": ","},
            {"results.csv: semicolon separators read", "results.csv: decimal commas read"},
        ),
        ({"separator": "\t", "mark": ","}, {"results.csv: tab separators read", "results.csv: decimal commas read"}),
    ],
)
def test_dialects_give_the_same_tables_and_are_said(tmp_path, dialect, notes):
    plain = tmp_path / "plain"
    other = tmp_path / "other"
    plain.mkdir()
    other.mkdir()
    expected = read_dataset(dataset(plain))
    got = read_dataset(dataset(other, results=in_dialect(RESULTS, **dialect)))
    pd.testing.assert_frame_equal(got.results, expected.results)
    assert set(got.notes) == notes


@pytest.mark.parametrize("name", ["trials", "results", "dropout", "claims"])
def test_the_evidence_reads_back_the_same_in_another_dialect(tmp_path, name):
    source = load_dataset("mi_cbt_anxiety")
    for table in ("trials", "results", "dropout", "claims"):
        content = (source.path / f"{table}.csv").read_text(encoding="utf-8")
        changed = in_dialect(content, ";", ",", "\r\n", "utf-8-sig") if table == name else content.encode()
        (tmp_path / f"{table}.csv").write_bytes(changed)
    if name == "claims":  # 'reported' is text as printed, so a changed mark is a changed text
        assert read_dataset(tmp_path).claims.at[0, "claim_id"] == source.claims.at[0, "claim_id"]
    else:
        pd.testing.assert_frame_equal(read_dataset(tmp_path).tables[name], source.tables[name])


def edited(content, old, new):
    assert old in content
    return content.replace(old, new, 1)


CASES = [
    # table, old, new, line, trial, column, words of the message
    ("trials", "GAD", "gad", 2, "aa2010", "disorder", "disorder of a candidate must be one of 'GAD'"),
    ("trials", "candidate,20", "maybe,20", 2, "aa2010", "role", "role must be one of 'candidate', 'excluded'"),
    ("trials", "20,21,41", "1,21,41", 2, "aa2010", "n_mi", "n_mi must be at least 2, but trial 'aa2010' has 1"),
    ("trials", "20,21,41", "-20,21,41", 2, "aa2010", "n_mi", "must be at least 2, but trial 'aa2010' has -20"),
    ("trials", "20,21,41", "20.5,21,42", 2, "aa2010", "n_mi", "must be a whole number, but trial 'aa2010' has 20.5"),
    ("trials", "20,21,41", "20,42,41", 2, "aa2010", "n_cbt", "n_cbt must not exceed n_total"),
    ("trials", "20,21,41", "20,21,40", 2, "aa2010", "n_total", "20 + 21 = 41 and n_total is 40"),
    ("trials", "20,21,41", "20 people,21,41", 2, "aa2010", "n_mi", "n_mi must be a finite number"),
    ("trials", "20,21,41", "nan,21,41", 2, "aa2010", "n_mi", "has 'nan'"),
    ("trials", ",60,", ",inf,", 3, "bb2012", "n_total", "has 'inf'"),
    ("trials", ",60,", ',"1,234",', 3, None, None, "decimal comma or a thousands separator"),
    (
        "trials",
        "Aa 2010,2010",
        ",2010",
        2,
        "aa2010",
        "label",
        "label must be filled, but it is empty for trial 'aa2010'",
    ),
    ("trials", "Bb 2012,2012", "Bb 2012,212", 3, "bb2012", "year", "year must be at least 1900"),
    ("trials", "no CBT", "", 5, "cc2020", "reason", "reason must be filled when role is 'excluded'"),
    ("trials", ",,,yes,", ",,why,yes,", 2, "aa2010", "reason", "reason must be empty when role is 'candidate'"),
    ("trials", "no CBT,no", "no CBT,yes", 5, "cc2020", "published_by_2018_04", "must be 'no' for a trial of 2020"),
    ("trials", "aa2010,no CBT", "aa2011,no CBT", 5, "cc2020", "overlaps_with", "Did you mean 'aa2010'?"),
    ("trials", "aa2010,no CBT", "cc2020,no CBT", 5, "cc2020", "overlaps_with", "must name another trial"),
    ("trials", "aa2010,Aa", "a a,Aa", 2, "a a", "trial_id", "must be a short key of letters"),
    ("trials", "bb2012,Bb", "aa2010,Bb", 3, "aa2010", "trial_id", "stands on line 2 already"),
    ("results", "d,mi,0.40", "cohen,mi,0.40", 2, "aa2010", "report", "report must be one of 'd', 'g'"),
    ("results", "significant,mi", "significnt,mi", 3, "bb2012", "report", "Did you mean 'significant'?"),
    (
        "results",
        "significant,mi",
        "significant,",
        3,
        "bb2012",
        "favours",
        "must be filled when report is 'significant'",
    ),
    ("results", "significant,mi", "direction,", 3, "bb2012", "favours", "must be filled when report is 'direction'"),
    ("results", "d,mi,0.40", "d,me,0.40", 2, "aa2010", "favours", "favours must be one of 'mi', 'cbt'"),
    ("results", "d,mi,0.40", "d,mi,", 2, "aa2010", "value", "value must be filled when report is 'd'"),
    ("results", "0.40,,", "0.40,1.2,", 2, "aa2010", "p", "p must be at most 1, but result 'aa2010-post' of trial"),
    ("results", "0.40,,", "0.40,-.1,", 2, "aa2010", "p", "p must be at least 0"),
    ("results", "20,21,rep", "1,21,rep", 2, "aa2010", "n_mi", "n_mi must be at least 2"),
    ("results", "20,21,rep", "42,21,rep", 2, "aa2010", "n_mi", "must not exceed the size of its trial (41)"),
    ("results", "post,aa2010", "post,aa2011", 2, "aa2011", "trial_id", "must be a trial_id of trials.csv"),
    ("results", "bb2012-post", "aa2010-post", 3, "bb2012", "result_id", "result_id must differ from row to row"),
    ("results", "reported,abstract", ",abstract", 2, "aa2010", "certainty", "certainty must be filled"),
    ("results", "reported,abstract", "reported,", 2, "aa2010", "source", "source must be filled"),
    ("dropout", "mi,20,2", "mi,20,22", 2, "aa2010", "dropouts", "dropouts must not exceed n"),
    ("dropout", "mi,20,2", "mi,,2", 2, "aa2010", "n", "n must be filled when dropouts is"),
    ("dropout", "mi,20,2", "mi,50,2", 2, "aa2010", "n", "must not exceed the size of its trial (41)"),
    ("dropout", "cbt,21", "mi,21", 3, "aa2010", "trial_id", "trial_id + stage + arm must differ"),
    ("dropout", "mi,20", "tau,20", 2, "aa2010", "arm", "arm must be one of 'mi', 'cbt'"),
    ("claims", "k,number", ",number", 2, None, "claim_id", "claim_id must be filled"),
]


@pytest.mark.parametrize(
    ("table", "old", "new", "line", "trial", "column", "words"), CASES, ids=[f"{c[0]}-{c[5]}-{c[2]}" for c in CASES]
)
def test_a_fault_says_what_where_and_whose(tmp_path, table, old, new, line, trial, column, words):
    tables = {"trials": TRIALS, "results": RESULTS, "dropout": DROPOUT, "claims": CLAIMS}
    folder = dataset(tmp_path, **{table: edited(tables[table], old, new)})
    found = faults(folder)
    fault = next(f for f in found if f.column == column and f.file == str(folder / f"{table}.csv"))
    assert words in str(fault)
    assert fault.trial == trial
    if trial is not None:
        assert f"({folder / table}.csv, line {line})." in str(fault)
        assert trial in str(fault)


def test_negative_and_zero_sd(tmp_path):
    results = (
        "result_id,trial_id,domain,timepoint,report,favours,mean_mi,sd_mi,mean_cbt,sd_cbt,certainty,source\n"
        "aa2010-post,aa2010,symptoms,post,means,mi,10,-2,12,0,reported,abstract\n"
    )
    text = "\n".join(map(str, faults(dataset(tmp_path, results=results))))
    assert "sd_mi must be greater than 0, but result 'aa2010-post' of trial 'aa2010' has -2" in text
    assert "sd_cbt must be greater than 0, but result 'aa2010-post' of trial 'aa2010' has 0" in text


def test_an_interval_runs_upwards(tmp_path):
    results = (
        "result_id,trial_id,domain,timepoint,report,ci_low,ci_high,certainty,source\n"
        "aa2010-post,aa2010,symptoms,post,ci,0.5,0.5,reported,abstract\n"
    )
    assert "ci_low must be below ci_high, but for result 'aa2010-post'" in str(only(dataset(tmp_path, results=results)))


def test_means_need_their_sds(tmp_path):
    results = (
        "result_id,trial_id,domain,timepoint,report,mean_mi,mean_cbt,certainty,source\n"
        "aa2010-post,aa2010,symptoms,post,means,1,2,reported,abstract\n"
    )
    assert {fault.column for fault in faults(dataset(tmp_path, results=results))} == {"sd_mi", "sd_cbt", "favours"}


def test_all_faults_of_all_files_come_at_once(tmp_path):
    folder = dataset(
        tmp_path,
        trials=edited(edited(TRIALS, "GAD", "fear"), ",60,", ",sixty,"),
        results=edited(edited(RESULTS, "0.40,,20", "0.40,2,1"), "bb2012,symptoms", "zz,symptoms"),
        dropout=edited(DROPOUT, "mi,20,2", "mi,20,22"),
        claims="claim_id,quantity,reported,source\n",
    )
    found = faults(folder)
    places = {(fault.file.rsplit("/", 1)[-1], fault.line, fault.column) for fault in found}
    assert places == {
        ("trials.csv", 2, "disorder"),
        ("trials.csv", 3, "n_total"),
        ("results.csv", 2, "p"),
        ("results.csv", 2, "n_mi"),
        ("results.csv", 3, "trial_id"),
        ("dropout.csv", 2, "dropouts"),
        ("claims.csv", 1, None),
    }


def test_a_row_shows_faults_of_columns_and_across_columns(tmp_path):
    found = faults(
        dataset(tmp_path, trials=edited(TRIALS, "2010,GAD,candidate,20,21,41", "10,fear,candidate,50,21,41"))
    )
    assert {fault.column for fault in found} == {"year", "disorder", "n_mi"}


def test_a_long_list_of_faults_is_cut_and_kept(tmp_path):
    rows = "".join(f"t{i:03d},T {i},2010,GAD,candidate,1\n" for i in range(80))
    with pytest.raises(FaultyDataError, match="30 more") as caught:
        read_dataset(
            dataset(tmp_path, trials="trial_id,label,year,disorder,role,n_mi\n" + rows, results=None, dropout=None)
        )
    assert len(caught.value.faults) == 80


def test_missing_folder_file_and_column(tmp_path):
    assert "a dataset must be a folder, but it was not found" in str(only(tmp_path / "none"))
    assert "the folder has results.csv" in str(only(dataset(tmp_path, trials=None, dropout=None, claims=None)))
    file = tmp_path / "results.csv"
    assert "but it is a file" in str(only(file))
    trials = edited(TRIALS, "disorder", "disordr")
    fault = only(dataset(tmp_path, trials=trials))
    assert "must have the column 'disorder'" in str(fault)
    assert "Did you mean it by 'disordr'?" in str(fault)


def test_a_column_name_in_other_case_is_refused_rather_than_ignored(tmp_path):
    fault = only(dataset(tmp_path, trials=edited(TRIALS, "n_mi", "N_MI")))
    assert "must be named 'n_mi', but the header has 'N_MI'" in str(fault)


def test_mixed_decimal_marks(tmp_path):
    results = edited(RESULTS, "d,mi,0.40,,20", 'd,mi,0.40,"0,03",20')
    fault = only(dataset(tmp_path, results=results))
    assert "p must be a finite number" in str(fault)
    assert "use one mark throughout" in str(fault)


@pytest.mark.parametrize("cell", ["1 234", "1'234", "1,234.5"])
def test_thousands_separators(tmp_path, cell):
    fault = only(dataset(tmp_path, trials=edited(TRIALS, ",60,", f',"{cell}",')))
    assert "Write it without a thousands separator." in str(fault)


def test_na_of_r_is_missing_and_said(tmp_path):
    ds = read_dataset(dataset(tmp_path, trials=edited(TRIALS, ",60,", ",NA,")))
    assert pd.isna(ds.trials.at[1, "n_total"])
    assert ds.notes == ("trials.csv: 'NA' read as missing in 1 cell of numbers",)


def test_a_typographic_minus_is_a_minus(tmp_path):
    ds = read_dataset(dataset(tmp_path, results=edited(RESULTS, "d,mi,0.40", "d,cbt,\u22120.40")))
    assert ds.results.at[0, "value"] == -0.4


def test_a_study_table_is_a_dataset_too(tmp_path):
    (tmp_path / "trials.csv").write_text("study,m1i,sd1i,n1i,m2i,sd2i,n2i,ward\na,1,2,3,4,5,6,north\n")
    (tmp_path / "published.csv").write_text("label,analysis,quantity,printed,citation\nx,pooled,estimate,0.50,Book\n")
    ds = read_dataset(tmp_path)
    assert list(ds.trials) == ["study", "m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i", "ward"]
    assert ds.published.at[0, "printed"] == "0.50"
    assert repr(ds) == f"Dataset '{tmp_path.name}': study table of 1 row, 1 published"
    assert ds.notes == ()


def test_load_dataset_by_name():
    names = available_datasets()
    assert names == sorted(names)
    for name in ("nothing", "../data/mi_cbt_anxiety", "", ".", "/etc", "mi_cbt_anxiety/"):
        with pytest.raises(ValueError, match="must be one of the bundled datasets") as caught:
            load_dataset(name)
        assert not isinstance(caught.value, DataError)
        assert "'mi_cbt_anxiety'" in str(caught.value)


def test_an_installed_wheel_finds_its_data(tmp_path, monkeypatch):
    from metamiq.datasets import bundled

    home = tmp_path / "_data" / "small"
    home.mkdir(parents=True)
    dataset(home)
    monkeypatch.setattr(bundled, "_PACKAGE", tmp_path)
    assert available_datasets() == ["small"]
    assert len(load_dataset("small").trials) == 3
