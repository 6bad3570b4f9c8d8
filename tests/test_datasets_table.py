"""read_table: other programs' column names, numbers as numbers, and clear refusals. All tables here are made up."""

from __future__ import annotations

import pytest

from metamiq.datasets import read_table
from metamiq.datasets.aliases import ALIASES, simplified
from metamiq.datasets.study_models import StudyRow
from metamiq.errors import DataError

SMD = ["m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"]
COUNTS = ["ai", "n1i", "ci", "n2i"]


def table(folder, content):
    file = folder / "table.csv"
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("program", "header", "ours"),
    [
        ("metafor", "study,m1i,sd1i,n1i,m2i,sd2i,n2i", ["study", *SMD]),
        ("R meta", "studlab,mean.e,sd.e,n.e,mean.c,sd.c,n.c", ["study", *SMD]),
        ("R meta, capitals", "Study,Mean.e,Sd.e,N.e,Mean.c,Sd.c,N.c", ["study", *SMD]),
        ("RevMan 5", "Study,Mean 1,SD 1,Total 1,Mean 2,SD 2,Total 2", ["study", *SMD]),
        (
            "RevMan",
            "Study,Experimental Mean,Experimental SD,Experimental Total,Control Mean,Control SD,Control Total",
            ["study", *SMD],
        ),
        ("Metapsy", "study,mean_arm1,sd_arm1,n_arm1,mean_arm2,sd_arm2,n_arm2", ["study", *SMD]),
        ("MetaInsight", "Study,Mean.1,SD.1,N.1,Mean.2,SD.2,N.2", ["study", *SMD]),
        (
            "CMA",
            "Study name,Group-A Mean,Group-A Std-Dev,Group-A Sample size,"
            "Group-B Mean,Group-B Std-Dev,Group-B Sample size",
            ["study", *SMD],
        ),
        ("esc", "study,grp1m,grp1sd,grp1n,grp2m,grp2sd,grp2n", ["study", *SMD]),
        ("hand-made", "Author,mean1,sd1,n1,mean2,sd2,n2", ["study", *SMD]),
        ("R meta, counts", "studlab,event.e,n.e,event.c,n.c", ["study", *COUNTS]),
        ("RevMan, counts", "Study,Events 1,Total 1,Events 2,Total 2", ["study", *COUNTS]),
        ("R meta, effects", "studlab,TE,seTE,lower,upper", ["study", "yi", "sei", "ci_low", "ci_high"]),
        ("JASP", "Study,Effect size,Standard error", ["study", "yi", "sei"]),
        ("Metapsy, effects", "study,.g,.g_se", ["study", "yi", "sei"]),
    ],
)
def test_other_programs_names(tmp_path, program, header, ours):
    # Numbers that fit every one of these columns at once, growing from left to right.
    row = "a," + ",".join(f"{3 + i}" for i in range(len(ours) - 1))
    frame = read_table(table(tmp_path, f"{header}\n{row}\n"))
    assert list(frame) == ours, program
    renamed = [(theirs, name) for theirs, name in zip(header.split(","), ours, strict=True) if theirs != name]
    notes = [note for note in frame.attrs["notes"] if not note.startswith("layout of ")]
    assert notes == [f"{theirs!r} taken for {name}" for theirs, name in renamed]
    assert frame.attrs["file"].endswith("table.csv")


def test_aliases_name_known_columns_and_never_two_of_them():
    assert set(ALIASES) <= set(StudyRow.model_fields)
    owners = {}
    for ours, names in ALIASES.items():
        for name in names:
            assert owners.setdefault(simplified(name), ours) == ours
            assert name not in StudyRow.model_fields


def test_two_columns_for_one_name_are_asked_about(tmp_path):
    file = table(tmp_path, "study,g,smd,se\na,0.5,0.6,0.1\n")
    with pytest.raises(DataError) as caught:
        read_table(file)
    text = str(caught.value)
    assert "one column must stand for yi, but 'g', 'smd' could each be it" in text
    assert "columns={'g': 'yi'}" in text
    frame = read_table(file, columns={"g": "yi"})
    assert frame["yi"].tolist() == [0.5]
    assert frame["smd"].tolist() == [0.6]


def test_our_own_names_win(tmp_path):
    frame = read_table(table(tmp_path, "Study,Author,yi,vi,g,CI\na,b,0.5,0.1,9,0.1 to 0.9\n"))
    assert list(frame) == ["study", "Author", "yi", "vi", "g", "CI"]


def test_columns_must_exist_and_stay_distinct(tmp_path):
    file = table(tmp_path, "study,g,yi\na,0.5,0.6\n")
    with pytest.raises(ValueError, match=r"columns must name columns of .* \('g', 'study', 'yi'\), not 'h'"):
        read_table(file, columns={"h": "yi"})
    with pytest.raises(ValueError, match=r"two columns of .* would be 'yi'"):
        read_table(file, columns={"g": "yi"})


def test_types(tmp_path):
    frame = read_table(table(tmp_path, "study,yi,vi,dose,code,ward,empty\n1,1e-3,.5,2,01,,\n2,-2,1,,02,b,\n"))
    assert frame["study"].tolist() == ["1", "2"]  # a key is text
    assert frame["yi"].tolist() == [0.001, -2.0]
    assert frame["dose"].isna().tolist() == [False, True]
    assert frame["code"].tolist() == ["01", "02"]
    assert frame["ward"].tolist() == [None, "b"]
    assert frame["empty"].tolist() == [None, None]


def test_infinite_ends_of_a_bound_and_nothing_else_may_be_infinite(tmp_path):
    frame = read_table(table(tmp_path, "study,yi_low,yi_high\na,0.3,inf\nb,-inf,0.2\nc,,1\n"))
    assert frame["yi_high"].tolist()[0] == float("inf")
    assert frame["yi_low"].tolist()[1] == float("-inf")
    with pytest.raises(DataError, match="yi must be a finite number, but study 'a' has 'inf'"):
        read_table(table(tmp_path, "study,yi,vi\na,inf,1\n"))


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("study,sd1i", "a,0", "sd1i must be greater than 0, but study 'a' has 0 "),
        ("study,sd1i,n1i", "a,2,1", "n1i must be at least 2 when sd1i is filled, but for study 'a' n1i is 1"),
        ("study,n1i", "a,0", "n1i must be at least 1"),
        ("study,ai,n1i", "a,5,4", "ai must not exceed n1i, but for study 'a' ai is 5 and n1i is 4"),
        ("study,ci,di,n2i", "a,5,4,10", "ci + di must equal n2i, but for study 'a' 5 + 4 = 9 and n2i is 10"),
        ("study,ai", "a,-1", "ai must be at least 0"),
        ("study,ri", "a,1.2", "ri must be at most 1"),
        ("study,vi", "a,-0.1", "vi must be greater than 0"),
        ("study,yi_low,yi_high", "a,1,1", "yi_low must be below yi_high, but for study 'a' they are 1 and 1"),
        ("study,ci_low,ci_high", "a,1,0", "ci_low must be below ci_high"),
        ("study,yi", "a,nan", "has 'nan'"),
        ("study,yi", "a,0.5*", "yi must be a finite number, but study 'a' has '0.5*'"),
        ("study,yi", "a,1e999", "has '1e999'"),
        ("study,year", "a,2010a", "year must be a finite number"),
        ("study,SE", "a,-1", "sei must be greater than 0 (sei is the column 'SE'), but study 'a' has -1"),
        ("yi,vi", "1,0", "but row 1 has 0"),
    ],
)
def test_impossible_values_are_refused_with_their_line(tmp_path, header, row, words):
    with pytest.raises(DataError) as caught:
        read_table(table(tmp_path, f"{header}\n{row}\n"))
    assert words in str(caught.value)
    assert "table.csv, line 2)" in str(caught.value)


def test_a_comma_may_be_a_thousands_separator(tmp_path):
    with pytest.raises(DataError, match="decimal comma or a thousands separator"):
        read_table(table(tmp_path, 'study,n1i\na,"1,234"\n'))
    assert read_table(table(tmp_path, "study;m1i\na;1,234\n"))["m1i"].tolist() == [1.234]
    with pytest.raises(DataError, match=r"n1i .*thousands separator"):
        read_table(table(tmp_path, 'study,m1i,n1i\na,1.5,"1,234"\n'))


def test_numbers_with_the_other_mark_stay_text_and_are_mentioned(tmp_path):
    frame = read_table(table(tmp_path, "study;yi;version\na;0,5;1.2\n"))
    assert frame["version"].tolist() == ["1.2"]
    assert any("column 'version' kept as text" in note for note in frame.attrs["notes"])


def test_whole_numbers_beyond_exact_floats_are_not_rounded_to_int(tmp_path):
    frame = read_table(table(tmp_path, "study,serial\na,9007199254740993\n"))
    assert frame["serial"].dtype == "float64"
