"""small-study, sensitivity, suspects and multiverse as a user types them."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from metamiq.cli import main
from metamiq.sensitivity.small_study_overview import small_study_effects


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Synthetic: small studies with larger effects.
    (tmp_path / "made_up.csv").write_text(
        "study,year,yi,vi\na,2001,0.1,0.01\nb,2002,0.02,0.012\nc,2003,0.45,0.02\nd,2004,0.5,0.04\ne,2005,0.9,0.09\n"
        "f,2006,0.8,0.08\ng,2007,0.6,0.05\nh,2008,0.3,0.06\n",
        encoding="utf-8",
    )
    runner = CliRunner()
    return lambda *args: runner.invoke(main, list(args), catch_exceptions=False)


def test_every_small_study_method_is_one_line_with_its_caution(run, tmp_path):
    shown = run("small-study", "made_up.csv", "--funnel", "f.svg")
    assert shown.exit_code == 0
    for name in (
        "Egger",
        "Begg",
        "Trim and fill",
        "PET-PEESE",
        "Limit",
        "Selection",
        "p-curve",
        "p-uniform*",
        "Excess",
    ):
        assert f"\n{name}" in shown.stdout
    assert "Fail-safe N" in shown.stdout
    assert "Worst case" in shown.stdout
    assert "Harbord" not in shown.stdout  # no counts
    assert "k = 8: with fewer than 10 effect sizes this should not be read" in shown.stdout
    assert "Not to be read when:" in shown.stdout
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").count("<svg") == 1
    methods = json.loads(run("small-study", "made_up.csv", "--json").stdout)["methods"]
    assert all(m["not_when"] and (m["cautions"] or m["refused"]) for m in methods if m["method"] != "p-uniform*")


def test_counts_have_their_own_tests(run):
    shown = run("small-study", "bcg", "--measure", "OR").stdout
    assert "\nHarbord" in shown
    assert "\nPeters" in shown
    assert "\nEgger with 1/sqrt(n)" in shown
    assert "corrected ratio" in shown


def test_numbers_are_those_of_each_method(run):
    from metamiq.pooling.models import random_effects
    from metamiq.sensitivity.pet_peese import pet_peese
    from metamiq.sensitivity.small_study import egger_test

    fit = random_effects(pd.read_csv("made_up.csv"))
    table = small_study_effects(fit).table.set_index("method")
    assert table.loc["Egger's regression", "p_value"] == egger_test(fit).p_value
    assert table.loc["PET-PEESE", "estimate"] == pet_peese(fit).estimate
    assert json.loads(run("small-study", "made_up.csv", "--json").stdout)["mean"] == fit.estimate


def test_two_rows_are_refused_method_by_method(run, tmp_path):
    (tmp_path / "two.csv").write_text("study,yi,vi\na,0.1,0.01\nb,0.2,0.02\n", encoding="utf-8")
    shown = run("small-study", "two.csv")
    assert shown.exit_code == 0
    assert "Could not be used:" in shown.stdout
    assert "needs at least 3 effect sizes, but there are 2" in shown.stdout


def test_bounds_have_no_small_study_effects(run):
    shown = run("small-study", "mi_cbt_anxiety")
    assert shown.exit_code == 2
    assert "14 of 15 rows are bounds" in shown.stderr


def test_sensitivity_says_what_hangs_on_single_rows(run, tmp_path):
    shown = run("sensitivity", "made_up.csv", "--figures", "pictures", "--gosh")
    assert shown.exit_code == 0
    for text in (
        "Without b, the mean rises",
        "Leaving out",
        "Without each row",
        "Influence statistics",
        "As rows were",
    ):
        assert text in shown.stdout
    names = {p.stem for p in (tmp_path / "pictures").iterdir()}
    assert names == {"leave_one_out", "influence", "cumulative", "baujat", "gosh"}
    data = json.loads(run("sensitivity", "made_up.csv", "--json").stdout)
    assert [row["without"] for row in data["leave_one_out"]] == list("abcdefgh")
    assert data["flip_set"]["size"] == len(data["flip_set"]["sets"][0]["without"])
    assert len(data["influence"]) == len(data["cumulative"]) == 8


def test_sensitivity_of_points_and_bounds(run):
    shown = run("sensitivity", "mi_cbt_anxiety")
    assert shown.exit_code == 0
    assert "Without jcp2021, g falls from 0.34 to 0.29" in shown.stdout


def test_an_order_that_is_not_there_is_refused(run):
    shown = run("sensitivity", "made_up.csv", "--by", "size")
    assert shown.exit_code == 2
    assert "by must be a column of the effects table, but 'size'" in shown.stderr


def test_one_row_has_nothing_to_leave_out(run, tmp_path):
    (tmp_path / "one.csv").write_text("study,yi,vi\na,0.1,0.01\n", encoding="utf-8")
    shown = run("sensitivity", "one.csv")
    assert shown.exit_code == 0
    assert "needs at least two rows" in shown.stderr


def test_suspects_name_the_swapped_trial(run, tmp_path):
    # Synthetic: the arms of e are swapped; the published value is that of the right table.
    rows = ["a,10,3,30,9,3.2,30", "b,12,4,40,10.8,3.8,42", "c,11,3.5,25,10,3,24", "d,10.5,2.9,60,9.4,3.1,58"]
    head = "study,m1i,sd1i,n1i,m2i,sd2i,n2i"
    (tmp_path / "right.csv").write_text("\n".join([head, *rows, "e,10.2,3,33,9.2,3,31"]), encoding="utf-8")
    (tmp_path / "wrong.csv").write_text("\n".join([head, *rows, "e,9.2,3,31,10.2,3,33"]), encoding="utf-8")
    right = json.loads(run("pool", "right.csv", "--measure", "SMD", "--json").stdout)["results"][0]
    ends = (f"{right['ci_low']:.2f}", f"{right['ci_high']:.2f}")
    shown = run("suspects", "wrong.csv", f"{right['estimate']:.2f}", "--ci", *ends)
    first = next(line for line in shown.stdout.splitlines() if line.endswith("yes"))
    assert first.split()[:3] == ["e", "arms", "swapped"]
    slips = json.loads(run("suspects", "wrong.csv", f"{right['estimate']:.2f}", "--json").stdout)["slips"]
    assert {"trial", "error", "estimate", "agrees"} <= set(slips[0])


def test_multiverse_without_choices_says_what_to_do(run):
    shown = run("multiverse", "bcg")
    assert shown.exit_code == 2
    assert "choices.toml was not found" in shown.stderr


@pytest.mark.parametrize("value", ["1e308", "-1e30"])
def test_multiverse_refuses_a_value_that_nothing_can_be_compared_with(run, value):
    shown = run("multiverse", "--value", value, "--curve", "curve.svg")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "--value must be comparable with the estimates, which lie between -0.15" in shown.stderr
    assert f"not {float(value):g}." in shown.stderr
    assert not Path("curve.svg").exists()


def test_multiverse_says_of_what_and_on_which_side(run, tmp_path):
    shown = run("multiverse", "--value", "0.59", "--curve", "curve.svg")
    assert shown.exit_code == 0
    assert "Of the estimates, 60% lie above 0 and 8% below 0, and 32% are exactly 0." in shown.stdout
    assert "Of the intervals, 13% lie wholly above 0 and 0% wholly below 0; 87% include 0." in shown.stdout
    assert "Against the published 0.59: 91% of the estimates lie below it and 9% above it" in shown.stdout
    assert (tmp_path / "curve.svg").exists()
