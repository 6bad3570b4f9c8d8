"""Public files that other programs wrote, with the values that those programs printed in them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import metamiq as mm
from metamiq.cli import main
from metamiq.datasets import FaultyDataError, StudyRow, read_table
from metamiq.datasets.aliases import ALIASES, simplified
from metamiq.datasets.layouts import LAYOUTS, layout_of

PRINTED = {"rel": 0, "abs": 5e-9}  # RevMan 5 printed eight decimals

FILES = Path(__file__).parent / "reference" / "program_files"  # its README has the address of each
PROGRAMS = {
    "RevMan 5 (analysis data)": ["revman_5"],
    "RevMan Web (data rows)": ["revman_web"],
    "Metapsy": ["metapsy"],
    "MetaInsight (wide)": ["metainsight_binary_wide", "metainsight_continuous_wide"],
    "MetaInsight (long)": ["metainsight_binary_long", "metainsight_continuous_long"],
}


def real(name: str) -> Path:
    return FILES / f"{name}.csv"


def changed(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "t.csv"
    file.write_text(text, encoding="utf-8")
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def pooled(*arguments: object) -> tuple[dict[str, float], str]:
    result = run("pool", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["results"][0], result.stderr


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.program)
def test_a_real_header_is_recognised_and_has_every_name_that_is_listed(layout):
    seen = set()
    for name in PROGRAMS[layout.program]:
        header = list(mm.datasets.read_csv_table(real(name)).frame)
        assert layout_of(header) is layout
        seen |= set(header)
    blocks = {column for block in layout.blocks for column in (*block.told_by, *block.columns)}
    listed = {*layout.names, *layout.left, *layout.analysis, *layout.summaries, *layout.alike} | blocks
    # A field that this export did not choose; the manual of R meta's read.rm5 names it.
    unseen = {"Variance"} if layout.program == "RevMan 5 (analysis data)" else set()
    assert listed - seen == unseen


def test_revman_5_gives_the_results_that_it_printed():
    file = real("revman_5")
    assert "the table has 2 analyses: Comparison Number 1, Outcome Number 1" in run("pool", file).stderr
    means, said = pooled(file, "--where", "Outcome Number=2", "--measure", "MD", "--method", "FE", "--test", "z")
    assert "rows that head or sum up others left out (line 2, 3, 11)" in said
    assert "5 of 12 rows read: Outcome Number = 2" in said
    for column, printed in (("estimate", -0.70938839), ("ci_low", -1.25848502), ("ci_high", -0.16029176)):
        assert means[column] == pytest.approx(printed, **PRINTED)
    assert means["statistic"] == pytest.approx(-2.53211477, **PRINTED)
    counts = mm.mantel_haenszel(read_table(file, where={"Outcome Number": "1"}), measure="OR").to_frame().iloc[0]
    for column, printed in (("estimate", 0.89686556), ("ci_low", 0.8405144), ("ci_high", 0.95699471)):
        assert math.exp(counts[column]) == pytest.approx(printed, **PRINTED)


def test_revman_5_writes_0_for_what_an_analysis_does_not_use():
    both = read_table(real("revman_5"))
    assert both["ai"].notna().tolist() == [True] * 7 + [False] * 5
    assert both["sd1i"].notna().tolist() == [False] * 7 + [True] * 5
    one = read_table(real("revman_5"), where={"Outcome Number": "2"})
    assert {"m1i", "sd1i", "n1i"} <= set(one)
    assert not {"ai", "ci", "Events 1", "Events 2"} & set(one), "columns of fillers only are gone"
    assert "'Events 1', 'Events 2' read as empty" in " ".join(one.attrs["notes"])


def test_revman_5_without_the_fields_that_tell_sums_from_studies_is_refused(tmp_path):
    fields = ("Comparison Number", "Outcome Number", "Name", "Events 1", "Total 1", "Events 2", "Total 2")
    table = mm.datasets.read_csv_table(real("revman_5")).frame.loc[:, list(fields)]
    with pytest.raises(FaultyDataError, match="must have a column that tells rows that sum up others from studies"):
        read_table(changed(tmp_path, table.to_csv(index=False)))
    heads = "\n".join(real("revman_5").read_text(encoding="utf-8").split("\n")[:3])
    with pytest.raises(FaultyDataError, match="every row of this one heads or sums up others"):
        read_table(changed(tmp_path, heads))


def test_revman_web_does_not_take_its_fillers_for_effects():
    file = real("revman_web")
    table = read_table(file)
    assert not {"yi", "sei", "m1i", "sd1i", "m2i", "sd2i"} & set(table)
    result = run("pool", file)
    assert result.exit_code == 2
    assert "The table must have yi and vi, or --measure must say what to compute" in result.stderr
    counts, said = pooled(file, "--measure", "RR")
    assert counts["estimate"] < 0
    assert "RevMan Web (data rows) writes 0 there" in said
    effects = mm.effect_sizes(table, "RR")
    printed = [1.178396, 0.926471, 0.2]  # its column Mean
    assert [math.exp(y) for y in effects["yi"]] == pytest.approx(printed, abs=5e-7)


def test_revman_web_generic_effects_are_kept_also_where_one_is_0(tmp_path):
    text = real("revman_web").read_text(encoding="utf-8")
    head = text.split("\n")[0]
    generic = "3,1,Made up,,{},{},2010,{},0.2,0,0,0,30,0,0,0,31,0,0,50,1,0.5,1.5,\n"
    rows = [generic.format("SUBGROUP_AND_OVERALL", s, y) for s, y in (("a", "0"), ("b", "0.3"), ("c", "-0.1"))]
    table = read_table(changed(tmp_path, "\n".join([head, "".join(rows)])))
    assert table["yi"].tolist() == [0.0, 0.3, -0.1]
    assert not {"ai", "ci", "m1i", "sd1i"} & set(table)
    rows[1] = rows[1].replace("SUBGROUP_AND_OVERALL", "OTHER")
    notes = " ".join(read_table(changed(tmp_path, "\n".join([head, "".join(rows)]))).attrs["notes"])
    assert "'Applicability' differs between rows (OTHER, SUBGROUP_AND_OVERALL)" in notes
    chosen = read_table(
        changed(tmp_path, text.replace(",0,0.2367", ",1,0.2367")), columns={"GIV Mean": "yi", "GIV SE": "sei"}
    )
    assert chosen["yi"].tolist() == [1.0, 0.0, 0.0], "what a user names is taken as it stands"


def test_metapsy_gives_the_effects_that_it_printed():
    table = read_table(real("metapsy"))
    assert table["yi"].tolist() == [1.149306878762145, 0.4604971453124095]
    assert table["sei"].tolist() == [0.5284272063178763, 0.2663191670272494]
    ours = mm.effect_sizes(table.drop(columns=["yi", "sei"]), "SMD")  # group 1 minus group 2: lower scores are better
    assert ours["yi"].tolist() == pytest.approx([-1.149306878762145, -0.4604971453124095], abs=0.003)


def test_metainsight_compares_two_treatments_at_a_time():
    file = real("metainsight_binary_wide")
    result = run("pool", file, "--measure", "OR")
    assert result.exit_code == 2
    assert '--where "T.1=Placebo" --where "T.2=Infliximab"' in result.stderr
    found, said = pooled(file, "--measure", "OR", "--where", "T.2=Infliximab")
    assert found["estimate"] < 0, "arm 1 against arm 2"
    assert "arm 1 (T.1) is compared with arm 2 (T.2)" in said
    means, _ = pooled(real("metainsight_continuous_wide"), "--measure", "MD")
    assert means["estimate"] < 0
    for name in PROGRAMS["MetaInsight (long)"]:
        assert "each row is one arm" in run("pool", real(name), "--measure", "OR").stderr


def test_cma_asks_which_effect_the_standard_error_belongs_to():
    file = real("cma")
    result = run("pool", file)
    assert result.exit_code == 2
    assert "\"Hedges's g\", 'Std diff in means' could each be it" in result.stderr
    table = read_table(file, columns={"Hedges's g": "yi"})
    assert table["n1i"].tolist() == [8, 8]
    assert table["n2i"].tolist() == [7, 7]
    assert table["sei"].tolist() == [0.4983, 0.5283]
    assert table["study"].tolist() == ["Alloway 2012"] * 2


def test_jasp_data_files_have_the_names_of_metafor():
    table = read_table(real("jasp"))
    assert {"study", "year", "n1i", "m1i", "sd1i", "n2i", "m2i", "sd2i", "ai", "bi", "ci", "di"} <= set(table)
    assert set(table) - set(StudyRow.model_fields) == {"type"}


def test_the_page_on_formats_names_every_layout_and_its_source():
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    listed = (FILES / "README.md").read_text(encoding="utf-8")
    for layout in LAYOUTS:
        assert f"| {layout.program} | {layout.source}" in page
    for file in FILES.glob("*.csv"):
        assert f"`{file.name}`" in listed
    quoted = {name for name in re.findall("`([^`]+)`", page.split("## Names that")[1].split("All other names")[0])}
    names = {name for aliases in ALIASES.values() for name in map(simplified, aliases)} | {*StudyRow.model_fields}
    unknown = {name for name in quoted if simplified(name) not in names and name not in names}
    assert unknown == {"escalc"}
