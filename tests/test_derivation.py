"""Formulas written once: what is printed is what is computed."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamiq.effects.derivation import Table, Worksheet
from metamiq.effects.expression import Expression, number, symbol

VALUES = {"a": 3.0, "b": -2.0, "c": 0.5, "n1": 8.0}


@pytest.mark.parametrize(
    ("formula", "text", "put_in", "latex"),
    [
        ("a - (b - c)", "a − (b − c)", "3 − (−2 − 0.5)", "a - \\left(b - c\\right)"),
        ("a/(b*c)", "a/(b·c)", "3/((−2)·0.5)", "\\frac{a}{b \\cdot c}"),
        ("a*b/c", "a·b/c", "3·(−2)/0.5", "\\frac{a \\cdot b}{c}"),
        ("b**2", "b²", "(−2)²", "b^{2}"),
        ("(a + b)**2", "(a + b)²", "(3 + (−2))²", "\\left(a + b\\right)^{2}"),
        ("-sqrt(a)", "−√(a)", "−√(3)", "-\\sqrt{a}"),
        ("n1**0.75", "n₁^0.75", "8^0.75", "n_{1}^{0.75}"),
        ("J(n1)", "J(n₁)", "J(8)", "J\\left(n_{1}\\right)"),
    ],
)
def test_brackets_are_where_they_must_be(formula, text, put_in, latex):
    e = Expression(formula)
    assert (e.text(), e.text(VALUES), e.latex()) == (text, put_in, latex)


OPERATIONS = st.sampled_from(["+", "-", "*", "/"])


@st.composite
def formulas(draw, depth=3):
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["a", "b", "c", "2", "sqrt(a)", "(-a)"]))
    left, right = draw(formulas(depth=depth - 1)), draw(formulas(depth=depth - 1))
    whole = f"({left}){draw(OPERATIONS)}({right})"
    return f"({whole})**2" if draw(st.booleans()) else whole


def from_text(text):
    """Read the printed formula back as arithmetic, independently of how it was written."""
    text = text.replace("√", "math.sqrt").replace("·", "*").replace("−", "-").replace("²", "**2")
    return eval(text, {"math": math})


@settings(max_examples=50, deadline=None)
@given(formulas())
def test_the_numbers_put_in_give_the_result(formula):
    e = Expression(formula)
    try:
        value = float(e.value({k: np.float64(v) for k, v in VALUES.items()}))
        printed = from_text(e.text(VALUES))
    except (ZeroDivisionError, FloatingPointError, RuntimeWarning):
        return
    assert math.isclose(value, printed, rel_tol=1e-9, abs_tol=1e-9)


def test_only_arithmetic_is_a_formula():
    with pytest.raises(ValueError, match="may not contain"):
        Expression("a if b else c").value(VALUES)
    with pytest.raises(ValueError, match="may not contain"):
        Expression("[a]").text()


def test_symbols_and_numbers():
    assert symbol("sd1_pre") == "SD₁,pre"
    assert symbol("tau2", latex=True) == r"\tau^2"
    assert number(-np.inf) == "−∞"
    assert number(np.nan) == "NaN"
    assert number(2.5e-7, latex=True) == r"2.5 \cdot 10^{-7}"


def sheet():
    s = Worksheet("A sum, 100% & more")
    s.given(a=1, b=2)
    s.columns(yi=[1.0, 2.0, 4.0])
    s.table = Table(("study", "yi"), (("x_1", 1.0), ("z", 2.0)))
    s.step("c", "their sum", "a + b", unit="points", source="Nobody (1900)")
    s.step("W", "a column's sum", "sum(yi)*c")
    s.found("tau2", "from elsewhere", 0.5)
    s.assumptions.append("nothing")
    s.notes.append("a note")
    return s


def test_four_ways_to_say_the_same():
    d = sheet().derivation(["c", "W"], "done")
    text, markdown, latex, data = d.to_text(), d.to_markdown(), d.to_latex(), d.to_dict()
    assert "c = a + b\n      = 1 + 2\n      = 3 points" in text
    assert "W = Σyᵢ·c\n      = 7·3\n      = 21" in text
    assert "assumed: nothing" in text
    assert "$c = a + b = 1 + 2 = 3$ points (Nobody (1900))" in markdown
    assert r"100\% \& more" in latex
    assert latex.count(r"\begin{align*}") == latex.count(r"\end{align*}") == 3
    assert r"x\_1" in latex
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [s["result"] for s in data["steps"]] == [3.0, 21.0, 0.5]
    assert data["steps"][0]["inputs"] == {"a": 1.0, "b": 2.0}
    assert d["W"] == 21.0
    assert str(d) == text


def test_json_holds_infinities_as_text():
    d = sheet().derivation({"high": float("inf")})
    assert json.loads(json.dumps(d.to_dict(), allow_nan=False))["results"] == {"high": "inf"}


def test_text_is_aligned_and_fits():
    s = Worksheet("A long formula")
    s.given(a=1.234567, b=2.345678)
    s.step("c", "many terms", " + ".join(["a*b"] * 30))
    lines = s.derivation().to_text().splitlines()
    assert max(map(len, lines)) <= 80
    block = [line for line in lines if re.match(r" {4}c? +=|    c =", line)]
    assert len({line.index("=") for line in block}) == 1


def test_an_explanation_that_parts_from_the_engine_is_refused():
    s = sheet()
    s.matches("c", 3.0)
    with pytest.raises(RuntimeError, match=r"the engine gives 3\.1"):
        s.matches("c", 3.1)
