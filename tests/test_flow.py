"""PRISMA 2020 counts: reading, arithmetic and the diagram as drawn objects. All counts and reasons are made up."""

import json
from xml.etree import ElementTree

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import metamiq as mm
from metamiq import plots
from metamiq.cli import main
from metamiq.datasets.columns import columns_of
from metamiq.datasets.flow import KEYS, MEANINGS, FlowRow
from metamiq.errors import DataError

NEW = {
    "databases": 900,
    "registers": 100,
    "duplicates_removed": 150,
    "automation_removed": 30,
    "other_removed": 20,
    "records_screened": 800,
    "records_excluded": 700,
    "reports_sought": 100,
    "reports_not_retrieved": 10,
    "reports_assessed": 90,
    "reports_excluded": 60,
    "studies_included": 25,
    "reports_included": 30,
}
OTHER = {
    "websites": 8,
    "organisations": 2,
    "citation_searching": 12,
    "other_reports_sought": 20,
    "other_reports_not_retrieved": 2,
    "other_reports_assessed": 18,
    "other_reports_excluded": 13,
    "studies_included": 29,
    "reports_included": 35,
}
UPDATED = {"previous_studies": 12, "previous_reports": 15, "total_studies": 41, "total_reports": 50}
FULL = {**NEW, **OTHER, **UPDATED}


def table(counts, parts=()):
    """A flow from counts by key, and (key, n, reason) rows in addition."""
    rows = [(key, n, None) for key, n in counts.items()] + list(parts)
    return pd.DataFrame(rows, columns=["key", "n", "reason"])


def broken(flow):
    checks = mm.flow_arithmetic(flow)
    return checks.loc[checks["holds"].eq(False), "finding"].tolist()


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="counts.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, list(args), catch_exceptions=False)


# Reading


def test_every_key_has_a_meaning():
    assert set(MEANINGS) == set(KEYS) == set(columns_of(FlowRow)["key"].limits["enum"])


def test_the_template_reads_as_it_stands_and_states_nothing(write):
    for updated in (False, True):
        flow = mm.read_flow(write(mm.flow_template(updated)))
        assert flow["n"].isna().all()
        assert ("total_studies" in flow["key"].tolist()) is updated
        assert not broken(flow)
    assert set(flow["key"]) == set(KEYS)


def test_counts_reasons_lines_and_notes(write):
    text = "key;n;reason\nrecords_screened;120;\n\nreports_excluded;4;no control group\nreports_excluded;;wrong age\n"
    flow = mm.read_flow(write(text))
    assert flow["key"].tolist() == ["records_screened", "reports_excluded", "reports_excluded"]
    assert flow["n"].fillna(-1).tolist() == [120, 4, -1]
    assert flow["reason"].tolist() == [None, "no control group", "wrong age"]
    assert flow["line"].tolist() == [2, 4, 5]
    assert "semicolon separators read" in flow.attrs["notes"]
    assert any(note.startswith("not in the file, so not stated: records_excluded") for note in flow.attrs["notes"])


def test_all_faults_come_at_once_with_their_lines(write):
    lines = ["key,n,reason", "databases,-1,", "records_screned,5,", "reports_sought,2.5,", "reports_assessed,12 or so,"]
    path = write("\n".join([*lines, "studies_included,3,", "studies_included,4,"]))
    with pytest.raises(DataError) as caught:
        mm.read_flow(path)
    message = str(caught.value)
    assert "5 faults" in message
    for line in (2, 3, 4, 5, 7):
        assert f"{path}, line {line})" in message
    assert "Did you mean 'records_screened'?" in message
    assert "studies_included must stand once" in message


def test_the_same_reason_twice_is_a_fault_but_a_total_beside_reasons_is_not(write):
    rows = "key,n,reason\nreports_excluded,9,\nreports_excluded,4,no control\nreports_excluded,5,wrong age\n"
    assert len(mm.read_flow(write(rows))) == 3
    with pytest.raises(DataError, match=r"'No control' stands on line 3 already \(.*line 5\)"):
        mm.read_flow(write(rows + "reports_excluded,1,No control\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("key,n\n", "there is only a header"),
        ("box,count\na,1\n", "its columns are 'box', 'count'"),
        ("key,n\nrecords_screened,=1+1\n", "a formula"),
        ("key,n,reason\nreports_excluded,1,\x1b[2J\n", "text must not hold control characters"),
        (f"key,n,reason\nreports_excluded,1,{'long ' * 50}\n", "reason must have at most 200 characters"),
        ("key,n\nrecords_screened,1000000000000\n", "n must be at most 1e+09"),
        ('key,n\nrecords_screened,"1,200"\n', "decimal comma or a thousands separator"),
        ("key,n\nrecords_screened,inf\n", "n must be a finite number"),
    ],
)
def test_hostile_and_empty_files_are_refused_in_a_sentence(write, text, said):
    with pytest.raises(DataError, match="(?s)" + said.replace("+", r"\+")):
        mm.read_flow(write(text))


def test_a_workbook_is_read_as_well(tmp_path):
    pytest.importorskip("openpyxl")
    table({"databases": 12, "records_screened": 12}).to_excel(tmp_path / "counts.xlsx", index=False)
    assert mm.read_flow(tmp_path / "counts.xlsx")["n"].tolist() == [12, 12]


# The template of the R package PRISMA2020: its columns and keys, with counts of our own.

PRISMA2020 = """data,node,box,description,boxtext,tooltips,url,n
NA,n4,prevstud,grey,grey,grey,x.html,0
previous_studies,n5,box1,d,t,t,x.html,{previous}
previous_reports,NA,box1,d,t,NA,x.html,{previous}
database_results,n7,box2,d,t,t,x.html,900
database_specific_results,NA,box2,d,t,NA,x.html,"{databases}"
register_results,NA,box2,d,t,NA,NA,NA
website_results,n17,box11,d,t,t,x.html,0
citations_results,NA,box11,d,t,NA,NA,0
duplicates,n8,box3,d,t,t,x.html,100
records_screened,n9,box4,d,t,t,x.html,800
records_excluded,n10,box5,d,t,t,x.html,700
dbr_sought_reports,n11,box6,d,t,t,x.html,100
dbr_notretrieved_reports,n12,box7,d,t,t,x.html,10
dbr_assessed,n13,box8,d,t,t,x.html,90
dbr_excluded,n14,box9,d,t,t,x.html,"no control, or a waiting list, 40; wrong age, 20"
other_excluded,n21,box15,d,t,t,x.html,"Reason1, xxx; Reason2, xxx"
new_studies,n15,box10,d,t,t,x.html,25
new_reports,NA,box10,d,t,NA,NA,30
total_studies,n22,box16,d,t,t,x.html,{total}
total_reports,NA,box16,d,t,NA,NA,{total}
identification,n1,identification,blue,blue,blue,x.html,0
"""


def test_the_prisma2020_template_of_a_new_review(write):
    flow = mm.read_flow(write(PRISMA2020.format(previous=0, total=0, databases="One, 500; Two, 400")))
    assert not set(flow["key"]) & {*UPDATED, "websites", "registers", "other_reports_excluded"}
    assert flow.loc[flow["key"] == "databases", "reason"].tolist() == [None, "One", "Two"]
    excluded = flow[flow["key"] == "reports_excluded"]
    assert list(zip(excluded["reason"], excluded["n"], excluded["line"], strict=True)) == [
        ("no control, or a waiting list", 40, 16),
        ("wrong age", 20, 16),
    ]
    assert mm.flow_arithmetic(flow)["holds"].eq(True).all()
    assert "all counts of a previous review are 0: taken for absent" in flow.attrs["notes"]
    assert any("line 17" in note and "example, skipped" in note for note in flow.attrs["notes"])


def test_the_prisma2020_template_of_an_updated_review(write):
    flow = mm.read_flow(write(PRISMA2020.format(previous=7, total=37, databases="Database 1, xxx")))
    assert flow.loc[flow["key"] == "databases", "n"].tolist() == [900]
    found = broken(flow)
    assert len(found) == 1
    assert "total_studies must be previous_studies + studies_included = 7 + 25 = 32, but it is 37" in found[0]


def test_an_unknown_row_of_the_prisma2020_template_is_named(write):
    with pytest.raises(DataError, match=r"it is 'databse_results' \(.*line 2\)"):
        mm.read_flow(write("data,box,n\ndatabse_results,box2,4\n"))


# Arithmetic


@pytest.mark.parametrize("counts", [NEW, {**NEW, **OTHER}, FULL], ids=["new", "other methods", "updated"])
def test_counts_that_add_up(counts):
    checks = mm.flow_arithmetic(table(counts))
    assert checks["holds"].eq(True).all()
    assert (checks["finding"] == "").all()


@pytest.mark.parametrize("key", FULL)
@pytest.mark.parametrize("change", [-1, 1])
def test_one_count_that_is_off_is_found(key, change):
    """Every count but those that are only bounded (a study may have several reports) is tied by a check."""
    slack = {"websites", "organisations", "citation_searching"}
    found = broken(table({**FULL, key: FULL[key] + change}))
    assert bool(found) is (key not in slack)


def test_breaks_are_sentences_with_file_and_line(write):
    lines = ["key,n", *(f"{key},{n}" for key, n in {**NEW, "records_screened": 790, "reports_assessed": 91}.items())]
    path = write("\n".join(lines))
    assert broken(mm.read_flow(path)) == [
        "records_screened must be databases + registers - duplicates_removed - automation_removed - other_removed = "
        f"900 + 100 - 150 - 30 - 20 = 800, but it is 790 ({path}, line 7). Check these counts against the search log; "
        "leave a count empty if it is not known.",
        "reports_sought must be records_screened - records_excluded = 790 - 700 = 90, but it is 100 "
        f"({path}, line 9). Check these counts against the search log; leave a count empty if it is not known.",
        "reports_assessed must be reports_sought - reports_not_retrieved = 100 - 10 = 90, but it is 91 "
        f"({path}, line 11). Check these counts against the search log; leave a count empty if it is not known.",
        "reports_included must be reports_assessed - reports_excluded = 91 - 60 = 31, but it is 30 "
        f"({path}, line 14). Check these counts against the search log; leave a count empty if it is not known.",
    ]


def test_sources_and_removals_that_are_left_out_count_as_none():
    small = {"databases": 100, "duplicates_removed": 10, "records_screened": 90}
    assert mm.flow_arithmetic(table(small))["holds"].iloc[0] is True
    assert mm.flow_arithmetic(table({"databases": 100, "records_screened": 90}))["holds"].iloc[0] is None


def test_what_is_not_stated_is_checked_as_far_as_it_goes():
    assert "at most 100" in broken(table({"databases": 100, "records_screened": 101}))[0]
    assert (
        "= 120 - 130 = -10, but it cannot be below 0"
        in broken(table({"records_screened": 120, "records_excluded": 130}))[0]
    )
    parts = [("reports_excluded", 8, "a"), ("reports_excluded", None, "b")]
    found = broken(table({"reports_assessed": 10, "reports_included": 3}, parts))
    assert found[0].startswith("reports_included must be reports_assessed - reports_excluded = 10 - reports_excluded")
    assert "at most 2, but it is 3" in found[0]


def test_reasons_add_up_to_their_total():
    parts = [("reports_excluded", 40, "a"), ("reports_excluded", 20, "b")]
    assert not broken(table(NEW, parts))
    assert "must be the sum of its rows (61), but its total is stated as 60" in "".join(
        broken(table(NEW, [*parts, ("reports_excluded", 1, "c")]))
    )
    without = {key: n for key, n in NEW.items() if key != "reports_excluded"}
    assert mm.flow_arithmetic(table(without, parts))["holds"].eq(True).all()


def test_studies_are_no_more_than_their_reports():
    assert "studies_included must not exceed" in broken(table({**NEW, "studies_included": 31}))[0]
    without = {key: n for key, n in NEW.items() if key != "reports_included"}
    last = mm.flow_arithmetic(table(without)).iloc[-1]
    assert last["holds"] is None  # several reports may belong to one study
    assert "30 reports are left for 25 studies" in last["finding"]
    assert mm.flow_arithmetic(table({**without, "studies_included": 30})).iloc[-1]["holds"] is True


COUNTS = st.integers(0, 50) | st.none()


@settings(max_examples=40, deadline=None)
@given(screened=COUNTS, excluded=COUNTS, sought=COUNTS)
def test_a_check_never_blames_what_can_be(screened, excluded, sought):
    """By trying every value of what is not stated: False only when none fits, True only when all is stated."""
    given_counts = (screened, excluded, sought)
    flow = table(dict(zip(("records_screened", "records_excluded", "reports_sought"), given_counts, strict=True)))
    checks = mm.flow_arithmetic(flow)
    holds = checks.loc[checks["check"] == "reports_sought = records_screened - records_excluded", "holds"].item()
    choices = [range(101) if n is None else [n] for n in given_counts]
    possible = any(a - b in choices[2] for a in choices[0] for b in choices[1])
    assert holds is (False if not possible else True if None not in given_counts else None)


def test_a_table_that_is_no_flow_is_refused():
    with pytest.raises(DataError, match="must have the columns key and n"):
        mm.flow_arithmetic(pd.DataFrame({"box": [1]}))
    with pytest.raises(DataError, match="but 'screned' came"):
        plots.flow_diagram(table({"screned": 1}))


# The picture

LONG = "a reason that no reader will want to read to its end but that the authors wrote down all the same, twice over"
HOSTILE = ["<script>alert(1)</script>", "A & B < C", "$x^2$ costs $5", "לא מבוקר", "a" * 180, "naïve — “quoted”"]
CASES = {
    "smallest": table({"studies_included": 3}),
    "new": table(NEW),
    "updated with other methods": table(FULL),
    "previous without other": table({**NEW, **UPDATED}),
    "nothing stated": table(dict.fromkeys(FULL)),
    "large counts": table({key: 10**9 - i for i, key in enumerate(FULL)}),
    "long reasons": table(
        {**NEW, "reports_excluded": None}, [("reports_excluded", 10 * i, f"{LONG} {i}") for i in range(6)]
    ),
    "hostile reasons": table(
        FULL, [(k, 3, r) for r in HOSTILE for k in ("reports_excluded", "other_reports_excluded")]
    ),
    "many sources": table(FULL, [(k, 3, f"Source {i}") for i in range(28) for k in ("databases", "websites")]),
}


def patches(ax, start):
    return {p.get_gid(): p for p in ax.patches if str(p.get_gid()).startswith(start)}


@pytest.mark.parametrize("name", CASES)
def test_text_lies_in_its_box_and_on_nothing_else(name):
    ax = plots.flow_diagram(CASES[name])
    figure = ax.figure
    assert plots.text_faults(figure) == []
    figure.draw_without_rendering()
    holders = [p.get_window_extent() for p in ax.patches if str(p.get_gid()).startswith(("box", "heading", "phase"))]
    for i, one in enumerate(holders):
        for other in holders[:i]:
            assert not one.overlaps(other)
    for text, box in plots.text_boxes(figure):
        inside = [
            h for h in holders if h.x0 <= box.x0 and box.x1 <= h.x1 and h.y0 <= box.y0 + 0.5 and box.y1 - 0.5 <= h.y1
        ]
        assert len(inside) == 1, f"{text!r} lies in {len(inside)} boxes"


@pytest.mark.parametrize("name", ["new", "updated with other methods", "long reasons"])
def test_arrows_go_from_edge_to_edge_and_cross_no_box(name):
    ax = plots.flow_diagram(CASES[name])
    ax.figure.draw_without_rendering()
    arrows = [p for p in ax.patches if p.get_gid() == "arrow"]
    assert arrows
    boxes = [p.get_bbox() for p in patches(ax, "box").values()]
    for arrow in arrows:
        (x0, y0), (x1, y1) = arrow._posA_posB
        edges = [
            b for b in boxes if b.x0 - 0.1 <= x1 <= b.x1 + 0.1 and min(b.y0, b.y1) - 0.1 <= y1 <= max(b.y0, b.y1) + 0.1
        ]
        assert len(edges) == 1
        for b in boxes:
            for share in (0.05, 0.5, 0.95):
                x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                assert not (b.x0 < x < b.x1 and min(b.y0, b.y1) < y < max(b.y0, b.y1))


def test_which_parts_are_drawn():
    def boxes(counts):
        return {str(gid).removeprefix("box ") for gid in patches(plots.flow_diagram(table(counts)), "box")}

    new = boxes(NEW)
    assert new == {
        *("identified", "removed", "records_screened", "records_excluded", "reports_sought", "reports_not_retrieved"),
        *("reports_assessed", "reports_excluded", "included"),
    }
    assert boxes({**NEW, **OTHER}) - new == {
        *("other identified", "other_reports_sought", "other_reports_not_retrieved"),
        *("other_reports_assessed", "other_reports_excluded"),
    }
    assert boxes({**NEW, **UPDATED}) - new == {"previous", "total"}
    assert boxes({**NEW, **dict.fromkeys(UPDATED)}) == new  # rows without counts


def test_what_the_boxes_say():
    rows = plots.flow_rows(table({**NEW, **UPDATED, "registers": None}, [("databases", 900, "One")]))
    said = {box: group["text"].tolist() for box, group in rows.groupby("box")}
    assert said["identified"] == [
        "Records identified from:",
        "Databases (n = 900):",
        "One (n = 900)",
        "Registers (n = not stated)",
    ]
    assert said["included"] == ["New studies included in review (n = 25)", "Reports of new included studies (n = 30)"]
    assert said["total"] == ["Total studies included in review (n = 41)", "Reports of total included studies (n = 50)"]
    unstated = plots.flow_rows(table({"studies_included": 3}))
    assert unstated.loc[unstated["box"] == "removed", "text"].tolist() == [
        "Records removed before screening (n = not stated)"
    ]


def test_many_reasons_are_added_up_in_one_line():
    rows = plots.flow_rows(table(NEW, [("reports_excluded", 1, f"reason {i}") for i in range(42)]))
    excluded = rows.loc[rows["box"] == "reports_excluded", "text"].tolist()
    assert len(excluded) == 32
    assert excluded[-1] == "and 12 more (n = 12)"


def test_a_count_is_never_broken_across_lines():
    ax = plots.flow_diagram(CASES["updated with other methods"])
    for text, _ in plots.text_boxes(ax.figure):
        assert text.count("(n = ") == text.count("(n")


def test_it_can_be_drawn_into_the_place_of_axes():
    figure = Figure(figsize=(8, 6), layout="constrained")
    first, second = figure.subplots(1, 2)
    assert plots.flow_diagram(CASES["new"], ax=second) is second
    assert plots.text_faults(figure) == []
    assert min(box.x0 for _, box in plots.text_boxes(figure) if _ == "Screening") > first.get_window_extent().x1


def test_svg_is_the_same_each_time_and_keeps_text_as_text():
    one, two = (plots.svg_text(plots.flow_diagram(CASES["hostile reasons"]).figure) for _ in range(2))
    assert one == two
    assert "<script" not in one
    said = "".join(ElementTree.fromstring(one).itertext())
    assert "<script>alert(1)</script>" in said.replace("\n", "")
    assert "לא מבוקר" in said
    assert "PRISMA 2020 flow diagram. Records identified from databases and registers: 1,000;" in said


def test_boxes_differ_without_colour_only_by_shade():
    """No fill is so dark that black letters on it could not be read when printed in grey."""
    for patch in plots.flow_diagram(CASES["updated with other methods"]).patches:
        if patch.get_gid() != "arrow":
            r, g, b = patch.get_facecolor()[:3]
            assert 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.8


# The command


def test_the_command_prints_a_template_that_it_reads(run, tmp_path):
    shown = run("prisma")
    assert shown.exit_code == 0
    assert shown.stdout == mm.flow_template()
    assert "previous_studies" in run("prisma", "--updated").stdout
    (tmp_path / "counts.csv").write_text(shown.stdout, encoding="utf-8")
    again = run("prisma", "counts.csv", "--out", "flow.svg")
    assert again.exit_code == 0
    assert (tmp_path / "flow.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_the_command_ends_with_1_when_counts_do_not_add_up(run, write):
    write("key,n\n" + "\n".join(f"{k},{n}" for k, n in NEW.items()))
    good = run("prisma", "counts.csv")
    assert good.exit_code == 0
    assert any(line.split() == ["records_screened", "800"] for line in good.stdout.splitlines())
    write("key,n\n" + "\n".join(f"{k},{n}" for k, n in {**NEW, "reports_sought": 99}.items()))
    bad = run("prisma", "counts.csv", "--out", "flow.png")
    assert bad.exit_code == 1
    assert "DOES NOT AGREE: reports_sought = records_screened - records_excluded" in bad.stdout
    assert "100, but it is 99 (counts.csv, line 9)" in bad.stdout
    found = json.loads(run("prisma", "counts.csv", "--json").stdout)
    assert found["agrees"] is False
    assert sum(check["holds"] is False for check in found["checks"]) == 2


def test_the_command_says_what_it_cannot_do(run, write):
    write("key,n\nrecords_screened,1\n")
    for args in (["nothing.csv"], ["counts.csv", "--out", "flow.jpg"], ["--out", "flow.svg"], ["--json"]):
        result = run("prisma", *args)
        assert result.exit_code == 2
        assert result.stderr.startswith("metamiq: ")
        assert "Traceback" not in result.stderr
