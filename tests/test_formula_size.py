"""How far a formula grows is known before its matrix is made. The data are made up."""

import math

import formulaic
import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq.pooling.design import design_matrix
from metamiq.pooling.formula_size import check_columns, check_terms

K = 60


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "yi": rng.normal(size=K),
            "vi": 0.04,
            **{name: rng.normal(size=K) for name in "abc"},
            "disorder": ["GAD", "OCD", "SAD"] * (K // 3),
            "rated by": ["self", "clinician"] * (K // 2),
            "study": [f"s{i}" for i in range(K)],
            "weeks": np.arange(K) % 25.0,
        }
    )


@pytest.fixture
def no_matrix(monkeypatch):
    """What would be made: a formula that is refused for its size makes nothing."""

    def made(*_args, **_kwargs):
        raise AssertionError("a matrix was made")

    monkeypatch.setattr(formulaic.SimpleFormula, "get_model_matrix", made)


GROWING = [
    "(a + b + c + d + e + f + g)**15",
    "((a + b)**4 + (c + d)**4)**4",
    "(a + b + c + d)^9",
    "*".join("abcdefghijklmnop"),
    "(a + b + c + d + e)/(f + g + h)*(a + b + c + d + e)**5",
    "a**1000000000",
    "(a + b)**" + "9" * 5000,
]


@pytest.mark.parametrize("formula", GROWING)
def test_a_formula_of_too_many_terms_is_refused_before_they_are_written_out(formula, table, monkeypatch):
    monkeypatch.setattr(formulaic, "Formula", None)
    with pytest.raises(ValueError, match="must come to at most 10,000 terms before equal ones are joined") as raised:
        mm.meta_regression(table, formula)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("formula", ["a + " * 10_000 + "a", "(" * 6_000 + "a" + ")" * 6_000])
def test_a_formula_without_end_is_not_read(formula, table):
    with pytest.raises(ValueError, match=r"must have at most 10,000 signs, but this one has \d\d,\d\d\d\."):
        mm.meta_regression(table, formula)


@pytest.mark.parametrize(
    ("formula", "n"),
    [
        ("a", 1),
        ("a + b + c - 1", 3),
        ("a*b*c", 7),
        ("(a + b + c)**2", 6),
        ("a:b + 2:c", 2),
        ("(a + b)/c + a", 3),
        ("disorder*bs(a, df=4)", 3),
    ],
)
def test_what_is_counted_is_no_less_than_what_formulaic_writes_out(formula, n, monkeypatch):
    assert len([term for term in formulaic.Formula(formula) if str(term) != "1"]) == n
    monkeypatch.setattr("metamiq.pooling.formula_size._MOST_TERMS", n - 1)
    with pytest.raises(ValueError, match="terms"):
        check_terms(formula)


WIDE = {
    "study:C(weeks)": ("study:C(weeks)", 59 * 24),
    "a + study*disorder": ("study:disorder", 59 * 2),
    "I(study):`rated by`:C(weeks, contr.treatment(3))": ("study:rated by:C", 59 * 24),
    "bs(a, df=1000000000)": ("bs(a, df=1000000000)", 10**9 - 1),
    "poly(a, 70):b": ("poly(a, 70):b", 69),
    "poly(a, degree=40) + poly(b, degree=40)": ("poly(a, degree=40)", 39),
    "C(`rated by`):study:C(disorder, levels=['OCD', 'GAD', 'SAD'])": ("study", 59 * 2),
    "C(a * 2):C(b > 0) + c": ("C(a * 2):C(b > 0)", 59),
    "lag(study):disorder": ("lag(study):disorder", 59 * 2),
}


@pytest.mark.parametrize("formula", [x for x in WIDE if not x.startswith(("C(", "I(", "lag"))])
def test_more_columns_than_rows_are_refused_and_no_matrix_is_made(formula, table, no_matrix):
    term, n = WIDE[formula]
    with pytest.raises(mm.DataError, match="must have no more columns than rows") as raised:
        mm.meta_regression(table, formula)
    assert f"({term} alone {n:,}) for the 60 rows" in str(raised.value)


def test_the_matrix_of_one_factor_is_sparse(table, monkeypatch):
    asked = []
    made = formulaic.SimpleFormula.get_model_matrix

    def seen(self, *args, **kwargs):
        asked.append((str(self), kwargs.get("output")))
        return made(self, *args, **kwargs)

    monkeypatch.setattr(formulaic.SimpleFormula, "get_model_matrix", seen)
    with pytest.raises(mm.DataError, match="columns than rows"):
        design_matrix("C(a * 2):C(b * 3)", table)
    assert asked == [("C(a * 2)", "sparse"), ("C(b * 3)", "sparse")]


@pytest.mark.parametrize("formula", WIDE)
def test_what_is_refused_could_not_be_fitted(formula, table):
    """The bound never exceeds what formulaic makes, which is what would have been refused after it was made."""
    if "1000000000" in formula:
        formula = formula.replace("1000000000", "100")
    with pytest.raises(mm.DataError, match=r"alone [\d,]+\) for the 60 rows"):
        mm.meta_regression(table, formula)
    with np.errstate(all="ignore"):
        matrix = formulaic.Formula(formula).get_model_matrix(table, context={}, na_action="ignore")
    assert matrix.shape[1] > K


ORDINARY = [
    "a",
    "disorder",
    "disorder*a",
    "a*b*c",
    "(a + b + c)**2",
    "(a + b + c)**3",
    "bs(a, df=4)",
    "0 + cr(a, df=4)",
    "poly(a, 3)",
    "C(disorder)",
    "C(disorder, contr.treatment('OCD'))",
    "C(disorder, contr.treatment('OCD')):a + b",
    "C(weeks)",
    "C(a > 0):C(b > 0)",
    "C(disorder == 'OCD')",
    "disorder*`rated by`",
    "C(`rated by`)*C(disorder)",
    "0 + disorder",
    "np.log(np.abs(a) + 1) + I(b**2)",
    "scale(a)*center(b)",
    "0 + C(weeks):C(`rated by`)",
    "1",
]


@pytest.mark.parametrize("formula", ORDINARY)
def test_an_ordinary_formula_is_coded_as_before_and_counted_to_no_more_than_it_has(formula, table, monkeypatch):
    design = design_matrix(formula, table)
    expected = formulaic.Formula(formula).get_model_matrix(table, context={}, na_action="ignore")
    assert design.names == tuple(expected.columns)
    np.testing.assert_array_equal(design.X, np.asarray(expected, dtype=float))
    # As many cells as it has are enough.
    monkeypatch.setattr("metamiq.pooling.formula_size._MOST_CELLS", K * len(design.names))
    check_columns(formulaic.Formula(formula), table, formula)


def test_a_matrix_that_cannot_be_held_is_refused(table, monkeypatch):
    monkeypatch.setattr("metamiq.pooling.formula_size._MOST_CELLS", 2 * K)
    mm.meta_regression(table, "a")
    with pytest.raises(mm.DataError, match=r"must have at most 120 cells, but 'a \+ b' needs at least 3 columns"):
        mm.meta_regression(table, "a + b")


def test_a_size_that_must_be_computed_is_refused(table):
    with pytest.raises(ValueError, match="must be whole numbers, not '1000 \\* 1000"):
        mm.meta_regression(table, "bs(a, df=1000 * 1000 * 1000)")


def test_every_kind_of_regression_has_the_guard(table):
    for fit in (mm.meta_regression, lambda t, f: mm.multilevel(t, moderators=f)):
        with pytest.raises(mm.DataError, match=f"needs at least {1 + math.prod((59, 24)):,} columns"):
            fit(table, "study:C(weeks)")
