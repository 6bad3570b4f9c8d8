"""The commands effect, explain, compare, which and quiz."""

import json

import pytest
from click.testing import CliRunner

from metamiq.cli import main


def run(*arguments, **options):
    return CliRunner().invoke(main, list(arguments), **options)


def test_effect_from_t():
    result = run("effect", "--t", "2.51", "--n1", "8", "--n2", "8")
    assert result.exit_code == 0
    assert "g = 1.186, 95% interval 0.124 to 2.249" in result.stdout
    assert "d = t·√(1/n₁ + 1/n₂)" in result.stdout
    assert "assumed: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "g"),
    [
        ("--m1 16.75 --sd1 9.66 --n1 8 --m2 8.13 --sd2 6.01 --n2 8", 1.0129),
        ("--m1 10 --se1 0.6 --n1 21 --m2 8.4 --se2 0.7 --n2 18 --lower-is-better", -0.5494),
        ("--p 0.05 --favours cbt --n1 20 --n2 20", -0.6274),
        ("--f 6.3001 --df 14 --favours mi", 1.1863),
        ("--or 2 --ci 1 4 --n1 50 --n2 50", 0.3792),
        ("--ci 0.1 0.9", 0.5),
        ("--d 0.25 --n1 153 --n2 155", 0.2494),
        ("--r 0.3 --n1 25 --n2 25", 0.6066),
        ("--md 4 --se 1.6 --n 40", 0.7748),
        ("--median1 20 --quartiles1 14 29 --median2 25 --quartiles2 18 33 --n1 40 --n2 38", -0.3680),
        ("--median1 20 --range1 4 49 --median2 25 --range2 8 53 --n1 40 --n2 38", None),
        ("--events1 9 --events2 3 --n1 20 --n2 22", None),
    ],
)
def test_effect_from_everything(arguments, g):
    result = run("effect", *arguments.split(), "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    if g is not None:
        assert content["results"]["estimate"] == pytest.approx(g, abs=6e-5)
    assert content["steps"]
    assert content["disagreements"] == []


def test_effect_from_a_verdict():
    result = run("effect", "--significant", "mi", "--n1", "20", "--n2", "20", "--json")
    assert json.loads(result.stdout)["results"] == {"yi_low": pytest.approx(0.6274, abs=5e-5), "yi_high": "inf"}
    assert "-0.627 to 0.627" in run("effect", "--nonsignificant", "--n", "40").stdout
    assert run("effect", "--significant", "mi", "--nonsignificant").exit_code == 2
    assert run("effect", "--nonsignificant", "--n", "40", "--plain").exit_code == 2


def test_effect_too_little_and_too_much():
    little = run("effect", "--t", "2.51")
    assert little.exit_code == 2
    assert "Missing: n1 and n2" in little.stderr
    much = run("effect", "--t", "2.51", "--n1", "8", "--n2", "8", "--d", "1.34")
    assert much.exit_code == 1
    assert "disagreement: t and sizes give g = 1.186, but d and sizes give 1.267" in much.stderr
    assert "2t/√df" in much.stderr


@pytest.mark.parametrize(("form", "sign"), [("latex", r"\begin{align*}"), ("markdown", "### ")])
def test_effect_in_other_forms(form, sign):
    assert sign in run("effect", "--t", "2.51", "--n1", "8", "--n2", "8", "--format", form).stdout


def test_effect_in_plain_words():
    out = run("effect", "--g", "0.5", "--n", "40", "--base-rate", "0.2", "--scale", "Y-BOCS", "--scale-sd", "6").stdout
    assert "6.0 people" in out
    assert "On Y-BOCS with SD 6 that is 3.0 points" in out


def test_explain():
    assert "g lies between −c and c: -1.014 to 1.014" in run("explain", "merlo2010").stdout
    assert "g = -0.355" in run("explain", "edinburgh", "--dataset", "normand1999").stdout
    assert run("explain", "nobody").exit_code == 2
    pooled = json.loads(run("explain", "SMD", "--pooled", "--dataset", "normand1999", "--json").stdout)
    assert pooled["results"]["estimate"] == pytest.approx(-0.5371, abs=5e-5)
    slope = run("explain", "yi", "--pooled", "--dataset", "lipsey2001", "--moderator", "intensity")
    assert "b₁ = Sxy/Sxx" in slope.stdout


def test_compare():
    trial = ["--m1", "18.9", "--sd1", "7.4", "--n1", "15", "--m2", "24.3", "--sd2", "6.1", "--n2", "14"]
    out = run("compare", *trial).stdout
    assert "R compute.es                  -0.7712691  0.14071627" in out
    assert len(json.loads(run("compare", *trial, "--json").stdout)["programs"]) >= 8
    table = run("compare", "--dataset", "normand1999", "--measure", "SMD")
    assert "revman2025" in table.stdout
    assert "Not checked" in table.stderr
    assert len(json.loads(run("compare", "--dataset", "borenstein2009", "--json").stdout)["presets"]) == 6
    lacking = run("compare", "--m1", "3")
    assert lacking.exit_code == 2
    assert "--sd1" in lacking.stderr


def test_which():
    result = run("which", "--t", "2.51", "--df", "14", "--d", "1.34")
    assert result.exit_code == 0
    assert "2t/√df" in result.stdout
    assert run("which", "--t", "2.51", "--df", "14", "--d", "9.99").exit_code == 1
    assert run("which", "--t", "x", "--df", "14", "--d", "1.34").exit_code == 2
    content = json.loads(run("which", "--t", "2.51", "--df", "14", "--d", "1.34", "--json").stdout)
    assert content["suspects"][0]["matches"] is True


def test_quiz():
    asked = run("quiz", "--kind", "t", input="1.186\n")
    assert asked.exit_code == 0
    assert asked.stdout.rstrip().endswith("Right.")
    wrong = run("quiz", "--seed", "1", "--kind", "t", "--answer", "1.34")
    assert wrong.exit_code == 1
    assert "likely slip: 2t/√df" in wrong.stdout
    assert "d = t·√(1/n₁ + 1/n₂)" in wrong.stdout
    assert run("quiz", "--answer", "1.34").exit_code == 2


@pytest.mark.parametrize("command", ["effect", "explain", "compare", "which", "quiz"])
def test_help_begins_with_an_example(command):
    assert f"metamiq {command}" in run(command, "--help").stdout


def test_a_quiz_shows_its_solution_without_asking():
    shown = run("quiz", "--seed", "1", "--kind", "t", "--solution")
    assert shown.exit_code == 0
    assert "1.186" in shown.stdout
    assert "Your answer" not in shown.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--m1 10 --sd1 1.2 --n1 50 --m2 16 --sd2 1.1 --n2 50", "if the SDs were standard errors, it would be -0.73"),
        ("--t 20 --n1 10 --n2 10", "more often a slip than a finding"),
        ("--events1 18.75 --n1 48 --events2 30 --n2 50", "events1 = 18.75: people are whole numbers"),
        ("--m1 10 --sd1 5 --n1 50 --m2 12 --sd2 6 --n2 50", None),
    ],
)
def test_effect_tells_what_is_implausible(arguments, words):
    said = " ".join(run("effect", *arguments.split()).stdout.split())
    assert words in said if words else "overlap" not in said and "whole" not in said


def test_effect_calls_a_p_below_a_threshold_a_verdict():
    assert "is a verdict" in run("effect", "--p", "<0.05", "--n1", "20", "--n2", "20").stderr
