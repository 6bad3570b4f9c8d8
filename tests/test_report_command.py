"""`metamiq report`: a page, Markdown or JSON of a dataset or of any study table."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import metamiq as mm
from metamiq.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *args: runner.invoke(main, ["report", *args], catch_exceptions=False)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "made_up.csv"
    path.write_text("study,year,yi,vi\na,2001,0.1,0.04\nb,2003,0.5,0.02\nc,2002,0.9,0.05\n", encoding="utf-8")
    return str(path)


def test_a_table_gives_one_page(run, table, tmp_path):
    result = run(table, "--groups", "treated", "control")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "written: report.html" in result.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    fit = mm.random_effects(yi=[0.1, 0.5, 0.9], vi=[0.04, 0.02, 0.05])
    assert f"The mean of 3 effect sizes from 3 studies is {fit.estimate:.2f}" in page
    assert "The interval lies above 0: larger in treated." in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made_up.csv", "report.html"]


def test_a_negative_number_has_one_sign_for_readers_and_another_for_programs(run, tmp_path):
    # Synthetic; dates, ranges and identifiers keep their hyphens.
    rows = "r-1,-0.9,0.02,-3\nNCT-22,-0.8,0.03,4\n2010-2015,-0.7,0.04,-5\n"
    (tmp_path / "below.csv").write_text("study,yi,vi,dose\n" + rows, encoding="utf-8")
    for kind in ("html", "md", "json"):
        assert run("below.csv", "--out", f"below.{kind}").exit_code == 0
    page, text, data = ((tmp_path / f"below.{kind}").read_text(encoding="utf-8") for kind in ("html", "md", "json"))
    mean = f"{mm.random_effects(yi=[-0.9, -0.8, -0.7], vi=[0.02, 0.03, 0.04]).estimate:.2f}"
    assert f"is {mean}" in data
    assert f"is −{mean[1:]}" in page
    assert f"is −{mean[1:]}" in text
    assert "NCT-22" in page
    assert "2010-2015" in page
    shown = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.S)
    assert re.findall(r"(?<![\w.)])-\.?\d\S*", shown) == []
    assert "−0.90 (variance 0.02)" in page  # in the panel, whose data the page's script shows
    assert re.findall(r"(?<![\w.)])-\.?\d\S*", text) == []


def test_the_ending_of_the_file_says_the_format(run, table, tmp_path):
    run(table, "--out", "a.md")
    run(table, "--out", "a.json")
    assert (tmp_path / "a.md").read_text(encoding="utf-8").startswith("# made\\_up: a random-effects meta-analysis")
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert data["pooled"]["k"] == 3
    assert [row["added"] for row in data["tables"]["cumulative"]] == ["a", "c", "b"]
    again = run(table, "--out", "-", "--format", "json")
    assert again.stdout == (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_ratio_is_told_as_a_ratio(run, tmp_path):
    (tmp_path / "counts.csv").write_text(
        "study,ai,n1i,ci,n2i\na,4,40,9,40\nb,5,50,9,52\nc,8,60,15,58\n", encoding="utf-8"
    )
    text = run("counts.csv", "--measure", "RR", "--out", "-", "--format", "md").stdout
    fit = mm.random_effects(mm.effect_sizes(mm.read_table(tmp_path / "counts.csv"), "RR"))
    middle, low, high = np.exp([fit.estimate, *fit.ci()])
    assert (
        f"The mean risk ratio of 3 effect sizes from 3 studies is {middle:.2f} (95% interval {low:.2f} to {high:.2f};"
        in text
    )
    assert f"Its logarithm, with which all is computed: −{-fit.estimate:.2f} (95% interval" in text
    low, high = np.exp(fit.pi())
    assert f"the true risk ratio may lie between {low:.2f} and {high:.2f}." in text
    assert "| log risk ratio |" in text  # the column of effects
    plan = 'title = "made up"\n[plan]\nmeasure = "RR"\nmethod = "REML"\n[analyses]\nsubgroups = ["n1i"]\n'
    (tmp_path / "protocol.toml").write_text(plan, encoding="utf-8")
    text = run("counts.csv", "--protocol", "protocol.toml", "--out", "-", "--format", "md").stdout
    assert "Means by n1i, on the scale of the log risk ratio." in text
    (tmp_path / "protocol.toml").unlink()
    (tmp_path / "wide.csv").write_text("study,ai,n1i,ci,n2i\na,1,4,3,4\nb,90,100,1,100\n", encoding="utf-8")
    assert "inf" not in run("wide.csv", "--measure", "OR", "--out", "-", "--format", "md").stdout.split("## ")[0]


def test_a_hartung_knapp_interval_that_is_too_narrow_is_told_where_it_is(run, table, tmp_path):
    (tmp_path / "narrow.csv").write_text("study,yi,vi\na,0.30,0.1\nb,0.32,0.1\nc,0.31,0.1\n", encoding="utf-8")
    told = "The Hartung-Knapp interval is narrower than that of one common effect"
    assert told in run("narrow.csv", "--out", "-").stdout
    assert told not in run("narrow.csv", "--test", "adhoc", "--out", "-").stdout
    assert told not in run(table, "--out", "-").stdout


def test_a_bundled_table_needs_its_measure(run):
    result = run("normand1999", "--out", "-", "--format", "md")
    assert result.exit_code == 2
    assert "--measure must say what to compute" in result.stderr
    assert "Hedges" in run("normand1999", "--measure", "SMD", "--out", "-", "--format", "md").stdout


@pytest.mark.parametrize("rows", ["x,0.1,0.04\n", "x,0.1,0.04\ny,0.3,0.03\n", "x,0.1,0.04\nx,0.3,0.03\nz,1,0.1\n"])
def test_few_or_repeated_rows_are_no_obstacle(run, tmp_path, rows):
    (tmp_path / "few.csv").write_text("study,yi,vi\n" + rows, encoding="utf-8")
    for kind in ("html", "md", "json"):
        result = run("few.csv", "--out", f"few.{kind}")
        assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("k", [1, 2, 3])
def test_sections_without_anything_to_say_are_left_out(run, tmp_path, k):
    rows = "a,2001,0.1,0.04\nb,2002,0.3,0.03\nc,2003,0.2,0.02\n".splitlines()[:k]
    (tmp_path / "few.csv").write_text("study,year,yi,vi\n" + "\n".join(rows) + "\n", encoding="utf-8")
    page = run("few.csv", "--out", "-").stdout
    for key, least in (("studies", 1), ("what-if", 2), ("sensitivity", 2), ("small-study", 3)):
        assert (f'<section id="{key}"' in page) == (f'href="#{key}"' in page) == (k >= least), key
    assert page.count("Left out") == (k < 3)
    assert '<section id="characteristics"' not in page  # names and years say nothing that is new
    assert "not used: " not in page or k == 3
    data = json.loads(run("few.csv", "--out", "-", "--format", "json").stdout)
    assert bool(data["small_study"]["methods"]) == (k >= 3)
    (tmp_path / "protocol.toml").write_text(
        'title = "made up"\n[plan]\nmeasure = "MD"\nmethod = "REML"\n[analyses]\n'
        'sensitivity = ["leave_one_out", "cumulative", "fail_safe_n"]\n',
        encoding="utf-8",
    )
    text = run("few.csv", "--out", "-", "--format", "md").stdout
    assert ("there are fewer than 3 effect sizes" in text) == (k < 3)
    assert ("it needs more studies than one" in text) == (k == 1)


def test_names_from_a_table_cannot_become_markup(run, tmp_path):
    evil = '<script>alert(1)</script>,0.1,0.04\n"a|b",0.5,0.02\n</script><b>,0.2,0.03\n[x](http://y),1,0.1\n'
    (tmp_path / "evil.csv").write_text("study,yi,vi\n" + evil, encoding="utf-8")
    assert run("evil.csv", "--out", "evil.html").exit_code == 0
    page = (tmp_path / "evil.html").read_text(encoding="utf-8")
    assert page.count("<script>") == page.count("</script>") - 1 == 1
    assert "&lt;script&gt;alert(1)" in page
    text = run("evil.csv", "--out", "-", "--format", "md").stdout
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "<script>" not in prose
    assert "[x](http" not in prose


def test_what_cannot_be_reported_is_one_sentence(run, tmp_path):
    assert run("absent.csv").exit_code == 2
    assert run("nothing").exit_code == 2
    (tmp_path / "taken").mkdir()
    (tmp_path / "ok.csv").write_text("study,yi,vi\nx,0.1,0.04\ny,0.3,0.03\n", encoding="utf-8")
    result = run("ok.csv", "--out", "taken/x.html/y.html")
    assert result.exit_code == 0  # folders on the way are made
    result = run("ok.csv", "--format", "pdf")
    assert result.exit_code == 2
