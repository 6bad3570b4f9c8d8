"""Every dialect and layout that a study table may come in, through the command line. All numbers are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metamiq.cli import main
from metamiq.datasets import read_table
from metamiq.datasets.layouts import LAYOUTS, layout_of

PLAIN = "study,yi,vi,dose\na,0.5,0.04,1\nb,-0.25,0.02,2\nc,1.125,0.03,3\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def pooled(file: Path, *arguments: object) -> tuple[dict[str, float], str]:
    result = run("pool", file, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["results"][0], result.stderr


def commas(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


def numbered(text: str) -> str:
    head, *rows = text.splitlines()
    return "\n".join(["," + head, *(f"{i},{row}" for i, row in enumerate(rows, start=1))]) + "\n"


DIALECTS = {
    "semicolons": (PLAIN.replace(",", ";").encode(), "semicolon separators read"),
    "decimal commas": (commas(PLAIN).encode(), "decimal commas read"),
    "tabs": (PLAIN.replace(",", "\t").encode(), "tab separators read"),
    "tabs and decimal commas": (PLAIN.replace(",", "\t").replace(".", ",").encode(), "decimal commas read"),
    "bars": (PLAIN.replace(",", "|").encode(), "bar separators read"),
    "a mark at the start": (b"\xef\xbb\xbf" + PLAIN.encode(), "UTF-8 with a byte order mark read"),
    "UTF-16, little end first": (b"\xff\xfe" + PLAIN.encode("utf-16-le"), "UTF-16 read"),
    "UTF-16, big end first": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "UTF-16 read"),
    "Excel's Unicode text": (b"\xff\xfe" + PLAIN.replace(",", "\t").replace("\n", "\r\n").encode("utf-16-le"), "UTF-16"),  # noqa: E501
    "an unnamed index": (numbered(PLAIN).encode(), "unnamed first column skipped"),
    "Windows lines": (PLAIN.replace("\n", "\r\n").encode(), "Windows line ends"),
    "old Mac lines": (PLAIN.replace("\n", "\r").encode(), ""),
    "a separator line": (b"sep=;\r\n" + commas(PLAIN).encode(), "first line 'sep=' skipped"),
    "empty rows and columns": (PLAIN.replace("\n", ",,\n").replace("\nb", "\n,,,,,\nb").encode(), "empty rows skipped"),
    "typographic minus": (PLAIN.replace("-", "\u2212").encode(), ""),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_answer_and_is_named(tmp_path, dialect):
    content, note = DIALECTS[dialect]
    (tmp_path / "plain.csv").write_text(PLAIN, encoding="utf-8")
    (tmp_path / "t.csv").write_bytes(content)
    expected, said = pooled(tmp_path / "plain.csv")
    assert said == "", "nothing is said of a table that needs no interpretation"
    found, said = pooled(tmp_path / "t.csv")
    assert found == expected
    assert note in said


def test_a_workbook_gives_the_same_answer(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    (tmp_path / "plain.csv").write_text(PLAIN, encoding="utf-8")
    book = openpyxl.Workbook()
    book.active.append(["a cover sheet"])
    sheet = book.create_sheet("effects")
    for i, line in enumerate(PLAIN.splitlines()):
        sheet.append([float(x) if i and j else x for j, x in enumerate(line.split(","))])
    book.save(tmp_path / "t.xlsx")
    found, said = pooled(tmp_path / "t.xlsx", "--sheet", "effects")
    assert found == pooled(tmp_path / "plain.csv")[0]
    assert said == ""
    result = run("pool", tmp_path / "t.xlsx")
    assert result.exit_code == 2
    assert "Name the sheet that has the table." in result.stderr
    result = run("report", tmp_path / "t.xlsx", "--sheet", "effects", "--out", tmp_path / "r.json")
    assert result.exit_code == 0
    result = run("pool", tmp_path / "plain.csv", "--sheet", "effects")
    assert "sheet is for workbooks (.xlsx and .xlsm)" in result.stderr


RAW = "12,2,30,10,3,31"
# program: header, rows, arguments, what must be said
PROGRAMS = {
    "metafor": ("slab,year,m1i,sd1i,n1i,m2i,sd2i,n2i", "'slab' taken for study"),
    "R meta": ("studlab,year,mean.e,sd.e,n.e,mean.c,sd.c,n.c", "'mean.e' taken for m1i"),
    "RevMan 5": ("Study,Year of study,Mean 1,SD 1,Total 1,Mean 2,SD 2,Total 2", "'Total 2' taken for n2i"),
    "RevMan Web": (
        "Study,Study year,Experimental mean,Experimental SD,Experimental N,Control mean,Control SD,Control N",
        "'Experimental mean' taken for m1i",
    ),
    "Metapsy": ("study,year,mean_arm1,sd_arm1,n_arm1,mean_arm2,sd_arm2,n_arm2", "'n_arm1' taken for n1i"),
    "MetaInsight": ("Study,year,Mean.1,SD.1,N.1,Mean.2,SD.2,N.2", "'N.1' taken for n1i"),
    "CMA": (
        "Study name,year,Group-A Mean,Group-A Std-Dev,Group-A Sample size,Group-B Mean,Group-B Std-Dev,"
        "Group-B Sample size",
        "'Group-A Mean' taken for m1i",
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_tables_of_other_programs_are_pooled_alike(tmp_path, program):
    header, note = PROGRAMS[program]
    rows = f"a,2010,{RAW}\nb,2012,9,2,20,10,2,21\n"
    (tmp_path / "ours.csv").write_text(f"study,year,m1i,sd1i,n1i,m2i,sd2i,n2i\n{rows}", encoding="utf-8")
    (tmp_path / "t.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    found, said = pooled(tmp_path / "t.csv", "--measure", "SMD")
    assert found == pooled(tmp_path / "ours.csv", "--measure", "SMD")[0]
    assert note in said


DATA_ROWS = (
    "Analysis group,Analysis number,Analysis name,Subgroup,Study,Study year,GIV Mean,GIV SE,Experimental cases,"
    "Experimental N,Control cases,Control N,O-E,Variance,Weight,Mean,CI start,CI end,Footnotes\n"
    "1,1,Relapse,,A 2010,2010,,,3,30,5,31,,,50,0.62,0.2,2,\n"
    "1,1,Relapse,,B 2012,2012,,,4,40,9,41,,,50,0.46,0.2,2,\n"
    "1,2,Generic,,A 2010,2010,0.5,0.2,,30,,31,,,50,0.5,0.1,0.9,\n"
    "1,2,Generic,,B 2012,2012,0.3,0.1,,40,,41,,,50,0.3,0.1,0.5,\n"
)


def test_the_analyses_of_a_review_are_not_pooled_together(tmp_path):
    file = tmp_path / "CD-data-rows.csv"
    file.write_text(DATA_ROWS, encoding="utf-8")
    result = run("pool", file)
    assert result.exit_code == 2
    assert '--where "Analysis group=1" --where "Analysis number=1"' in result.stderr
    generic, said = pooled(file, "--where", "Analysis number=2")
    assert "'Variance' left as found: it belongs to O-E" in said
    assert "2 of 4 rows read: Analysis number = 2" in said
    counts, _ = pooled(file, "--where", "Analysis number=1", "--measure", "OR")
    (tmp_path / "a.csv").write_text("yi,sei\n0.5,0.2\n0.3,0.1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("ai,n1i,ci,n2i\n3,30,5,31\n4,40,9,41\n", encoding="utf-8")
    assert generic["estimate"] == pooled(tmp_path / "a.csv")[0]["estimate"]
    assert counts["estimate"] == pooled(tmp_path / "b.csv", "--measure", "OR")[0]["estimate"]
    assert "where must leave at least one row" in run("pool", file, "--where", "Study=C").stderr


def test_ratios_of_revman_5_are_not_taken_for_logarithms(tmp_path):
    file = tmp_path / "t.csv"
    header = "Comparison Number,Outcome Number,Study,Events 1,Total 1,Events 2,Total 2,Effect Estimate,CI Start,CI End"
    file.write_text(f"{header}\n1,1,A,3,30,5,31,0.6,0.2,2\n1,1,B,4,40,9,41,0.5,0.2,2\n", encoding="utf-8")
    table = read_table(file)
    assert "yi" not in table
    assert "'Effect Estimate', 'CI Start', 'CI End' left as found" in " ".join(table.attrs["notes"])
    assert pooled(file, "--measure", "OR")[0]["estimate"] < 0


def test_a_metapsy_table_in_its_own_dialect(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text(
        "study;condition_arm1;condition_arm2;n_arm1;n_arm2;totaln_arm1;totaln_arm2;precalc_g;.g;.g_se;.event_arm1\n"
        '"Smith, 2011";cbt;wlc;20;21;NA;NA;NA;0,52;0,31;NA\nJones, 2012;cbt;wlc;30;31;NA;NA;NA;0,12;0,21;NA\n',
        encoding="utf-8",
    )
    found, said = pooled(file)
    assert found["estimate"] > 0
    for note in ("layout of Metapsy recognised", "'.g' taken for yi", "'.g_se' taken for sei", "'precalc_g' not used"):
        assert note in said


def test_arms_beyond_two_and_rows_of_one_arm_are_spoken_of(tmp_path):
    wide = tmp_path / "wide.csv"
    wide.write_text("Study,T.1,R.1,N.1,T.2,R.2,N.2,T.3,R.3,N.3\nA,x,3,30,y,5,31,z,1,20\nB,x,4,40,y,9,41,NA,NA,NA\n")
    _, said = pooled(wide, "--measure", "OR")
    assert "arms 3 and more are not used" in said
    long = tmp_path / "long.csv"
    long.write_text("Study,T,N,R\nA,x,30,3\nA,y,31,5\n", encoding="utf-8")
    result = run("pool", long, "--measure", "OR")
    assert result.exit_code == 2
    assert "each row is one arm" in result.stderr


def test_it_asks_when_two_columns_could_be_meant(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("Study name,Std diff in means,Std Err,Hedges's g\na,0.5,0.2,0.48\nb,0.4,0.2,0.39\n")
    result = run("pool", file)
    assert result.exit_code == 2
    assert "\"Hedges's g\", 'Std diff in means' could each be it" in result.stderr
    assert '--column "Hedges\'s g=yi"' in result.stderr
    found, said = pooled(file, "--column", "Hedges's g=yi")
    assert '"Hedges\'s g" taken for yi' in said
    assert found["estimate"] < 0.5
    assert "--column must be of the form COLUMN=..., not 'yi'" in run("pool", file, "--column", "yi").stderr
    assert "columns must name columns of" in run("pool", file, "--column", "g=yi").stderr
    assert "not for a dataset" in run("report", "mi_cbt_anxiety", "--column", "g=yi").stderr


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.program)
def test_layouts_are_recognised_by_their_signs_alone(layout):
    for sign in layout.signs:
        assert layout_of(sorted(sign)) is not None
    assert not set(layout.left) & set(layout.names)


def test_the_names_of_dat_bcg_and_of_a_printed_forest_plot_are_understood(tmp_path):
    for header in (
        "author,tpos,tneg,cpos,cneg",
        "Study,Events Experimental,Total Experimental,Events Control,Total Control",
    ):
        (tmp_path / "t.csv").write_text(f"{header}\nAronson,4,119,11,128\n", encoding="utf-8")
        columns = read_table(tmp_path / "t.csv").columns
        assert set(columns) in ({"study", "ai", "bi", "ci", "di"}, {"study", "ai", "n1i", "ci", "n2i"})
