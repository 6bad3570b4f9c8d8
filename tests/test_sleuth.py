"""The formula behind a printed number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metamiq as mm
from metamiq.effects.expression import Expression
from metamiq.explaining.sleuth import STANDARDISERS

TRIAL = {"m1": 18.9, "sd1": 7.4, "n1": 15, "m2": 24.3, "sd2": 6.1, "n2": 14}
PPC = {
    "m1_pre": 3.34, "sd1_pre": 1.76, "m1_post": 3.28, "sd1_post": 2.07, "n1": 34,
    "m2_pre": 3.81, "sd2_pre": 1.79, "m2_post": 8.43, "sd2_post": 0.83, "n2": 34,
}  # fmt: skip


def test_merlo_2010():
    for inputs in ({"t": 2.51, "df": 14}, {"t": 2.51, "n1": 8, "n2": 8}):
        found = mm.which(inputs, d="1.34")
        assert [s.words for s in found.matches] == ["2t/√df, right only for large equal groups; no J"]
        assert found.matches[0].value == pytest.approx(2 * 2.51 / 14**0.5)


@pytest.mark.parametrize(
    ("g", "v", "j", "variance"),
    [
        ("-0.7712342", "0.14835045", "J exact", "1/n₁ + 1/n₂ + g²/(2N)"),
        ("-0.7712342", "0.14070354", "J exact", "J²(1/n₁ + 1/n₂ + d²/(2N))"),
        ("-0.7712342", "0.14987001", "J exact", "White & Thomas 2005"),
        ("-0.7712691", "0.14996387", "J = 1 − 3/(4N − 9)", "as RevMan 5"),
        ("-0.7712691", "0.14895161", "J = 1 − 3/(4N − 9)", "d²/(2N), J left out"),
        ("-0.7712691", "0.14071627", "J = 1 − 3/(4N − 9)", "J²(1/n₁ + 1/n₂ + d²/(2N))"),
        ("-0.7712691", "0.14147599", "J = 1 − 3/(4N − 9)", "J²(1/n₁ + 1/n₂ + d²/(2(N − 2)))"),
        ("-0.8330008", "0.16287704", "J exact with n₂ − 1", "g²/(2n₂)"),
    ],
)
def test_one_trial_in_eight_programs(g, v, j, variance):
    first = mm.which(TRIAL, g=g, v=v).matches[0]
    assert f"; {j};" in first.words
    assert variance in first.words
    standardiser = "the SD of group 2" if j.endswith("n₂ − 1") else "over the pooled SD;"
    assert standardiser in first.words


@pytest.mark.parametrize(
    ("g", "standardiser"),
    [
        ("2.9338", "pooled SD after"),
        ("2.7556", "all four SDs"),
        ("2.755", "all four SDs"),
        ("2.6065", "pooled SD before"),
    ],
)
def test_pre_post_control(g, standardiser):
    found = mm.which(PPC, g=g)
    assert standardiser in found.matches[0].words
    assert all(standardiser in s.words or "root mean of the four" in s.words for s in found.matches)
    assert "sign turned round" in found.matches[0].words


def test_cut_digits_are_said_and_rounding_comes_first():
    assert "cut off" in mm.which(PPC, g="2.755").matches[0].words
    assert "cut off" not in mm.which(PPC, g="2.7556").matches[0].words


def test_intervals_and_standard_errors():
    g, v = mm.hedges_g(*TRIAL.values())
    low, high = g - 1.959964 * v**0.5, g + 1.959964 * v**0.5
    found = mm.which(TRIAL, ci_low=f"{low:.4f}", ci_high=f"{high:.4f}")
    assert found.matches[0].words.endswith("v = 1/n₁ + 1/n₂ + g²/(2N)")
    assert mm.which(TRIAL, g=f"{g:.4f}", se=f"{v**0.5:.4f}").matches[0].oddity == 0
    exact = mm.hedges_g_ci(g, 15, 14)
    found = mm.which(TRIAL, ci_low=f"{exact.ci_low:.4f}", ci_high=f"{exact.ci_high:.4f}")
    assert "noncentral t" in found.matches[0].words


def test_nothing_fits():
    found = mm.which(TRIAL, g="-2.00")
    assert not found.matches
    assert found.summary().startswith("No formula tried gives g = -2.00. The nearest:")
    assert [s.off for s in found.nearest] == sorted(s.off for s in found.nearest)
    assert list(found.to_frame()["matches"]) == [False] * 5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.floats(1, 9), st.floats(1, 9), st.integers(5, 60), st.integers(5, 60), st.floats(1, 9))
def test_what_a_formula_made_is_found_again(position, sd1, sd2, n1, n2, difference):
    inputs = {"m1": difference, "sd1": sd1, "n1": n1, "m2": 0.0, "sd2": sd2, "n2": n2}
    words, formula, _ = STANDARDISERS[position]
    d = float(Expression(formula).value(inputs))
    assert any(s.words.startswith(words) for s in mm.which(inputs, d=f"{d:.8f}").matches)


def test_questions_that_cannot_be_answered():
    with pytest.raises(mm.DataError, match="Say what was printed"):
        mm.which(TRIAL)
    with pytest.raises(mm.DataError, match="must allow some formula"):
        mm.which({"m1": 3.0}, d="0.5")
    with pytest.raises(mm.DataError, match="g must be a number"):
        mm.which(TRIAL, g="half")
    with pytest.raises(ValueError, match="printed must be among"):
        mm.which(TRIAL, h="0.5")


def test_everything_that_was_printed_is_shown():
    inputs = {"m1": 18.9, "sd1": 7.4, "n1": 15, "m2": 24.3, "sd2": 6.1, "n2": 14}
    found = mm.which(inputs, g="-0.7712691", v="0.14071627")
    assert "g -0.771269, v 0.140716  mean difference" in found.summary()
    assert found.to_frame().loc[0, ["g", "v"]].astype(float).tolist() == pytest.approx([-0.7712691, 0.14071627])
    both = mm.which(inputs, g="-0.7712342", v="0.14071627")
    assert not both.matches, "the g of one formula and the variance of another are no match"
