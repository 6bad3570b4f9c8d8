"""Leave-one-out and cumulative fits equal the fits of those rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

SAME = {"rtol": 1e-8, "atol": 1e-12}  # an iterative estimator on the same rows


@pytest.fixture
def effects():
    rng = np.random.default_rng(8)  # made-up numbers
    vi = rng.uniform(0.02, 0.2, 9)
    return pd.DataFrame(
        {
            "study": list("abcdefghi"),
            "year": [2005, 2001, 2003, 2003, 2010, 1999, 2012, 2008, 2007],
            "yi": rng.normal(0.4, np.sqrt(vi + 0.05)),
            "vi": vi,
            "x": rng.normal(size=9),
        }
    )


@pytest.mark.parametrize(("method", "test"), [("REML", "knha"), ("DL", "z"), ("FE", "z")])
def test_leave_one_out_is_the_fit_without_the_row(effects, method, test):
    out = mm.leave_one_out(mm.random_effects(effects, method=method, test=test))
    assert out.index.tolist() == list("abcdefghi")
    for name in "aei":
        alone = mm.random_effects(effects[effects["study"] != name], method=method, test=test)
        for column in ("estimate", "se", "p_value", "ci_low", "ci_high", "tau2", "Q", "Q_p", "I2", "H2"):
            assert_allclose(out.loc[name, column], getattr(alone, column), **SAME)
        assert out.loc[name, "k"] == 8


def test_leave_one_out_of_a_regression(effects):
    out = mm.leave_one_out(mm.meta_regression(effects, "x"))
    alone = mm.meta_regression(effects[effects["study"] != "c"], "x")
    assert_allclose(out.loc["c", ["tau2", "Intercept", "x"]].astype(float), [alone.tau2, *alone.beta], **SAME)


def test_leave_one_out_of_points_and_bounds():
    table = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    out = mm.leave_one_out(mm.random_effects_bounded(table))
    assert len(out) == 15
    alone = mm.random_effects_bounded(table[table["trial_id"] != "soucy2021"])
    row = out.loc["soucy2021"]
    assert_allclose(row[["estimate", "tau2"]].astype(float), [alone.estimate, alone.tau2], rtol=1e-7)
    assert_allclose(row[["ci_low", "ci_high"]].astype(float), alone.ci(), rtol=1e-6)
    with_formula = mm.leave_one_out(mm.random_effects_bounded(table, "mi_sessions"))
    assert {"Intercept", "mi_sessions", "tau2"} <= set(with_formula.columns)


def test_cumulative_adds_rows_in_order(effects):
    fit = mm.random_effects(effects)
    out = mm.cumulative(fit, by="year")
    assert out.index.tolist() == list("fbcdaihеg".replace("е", "e"))
    assert out["year"].is_monotonic_increasing
    assert out["k"].tolist() == list(range(1, 10))
    first_four = effects[effects["study"].isin(list("fbcd"))]
    assert_allclose(out.iloc[3]["estimate"], mm.random_effects(first_four).estimate, **SAME)
    assert_allclose(out.iloc[-1]["estimate"], fit.estimate, **SAME)
    assert np.isnan(out.iloc[0]["tau2"])
    latest = mm.cumulative(fit, by="year", ascending=False)
    assert latest.index.tolist()[:3] == ["g", "e", "h"]
    assert latest.index.tolist()[-4:] == ["c", "d", "b", "f"]  # ties in the table's order
    precise = mm.cumulative(fit, by="precision")
    assert precise.index[0] == effects.loc[effects["vi"].idxmin(), "study"]


def test_faults(effects):
    fit = mm.random_effects(effects)
    with pytest.raises(mm.DataError, match="'size' is not among study, vi, x, year, yi"):
        mm.cumulative(fit, by="size")
    with pytest.raises(mm.DataError, match="missing for b"):
        mm.cumulative(mm.random_effects(effects.assign(year=effects["year"].where(effects["study"] != "b"))))
    with pytest.raises(mm.DataError, match="at least two rows"):
        mm.leave_one_out(mm.random_effects(yi=[1], vi=[1]))
    with pytest.raises(ValueError, match="weights of its own"):
        mm.leave_one_out(mm.random_effects(effects, weights="equal"))
