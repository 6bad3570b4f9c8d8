"""Sweeps of an unknown correlation: each point is the fit at that value, and tipping points are roots."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

ROOT = {"atol": 1e-6}  # the search stops at 1e-7 of the correlation; the interval is smooth in it


@pytest.fixture
def repeated():
    rng = np.random.default_rng(3)  # made-up numbers
    n = rng.integers(15, 60, 8).astype(float)
    return pd.DataFrame(
        {"study": list("abcdefgh"), "m1i": rng.normal(2.0, 0.8, 8), "m2i": 0.0, "sd1i": 8.0, "sd2i": 8.5, "ni": n}
    )


@pytest.fixture
def outcomes():
    rng = np.random.default_rng(4)  # made-up numbers
    return pd.DataFrame(
        {
            "study": list("aaabbccdeeef"),
            "yi": rng.normal(0.25, 0.2, 12),
            "vi": rng.uniform(0.03, 0.1, 12),
        }
    )


def test_each_point_is_the_fit_at_that_value(repeated):
    curve = mm.sweep_r(repeated, "SMCC", [0.2, 0.8, 0.5])
    assert curve.table.index.tolist() == [0.2, 0.5, 0.8]
    for r in (0.2, 0.5, 0.8):
        fit = mm.random_effects(mm.effect_sizes(repeated.assign(ri=r), "SMCC"))
        assert_allclose(
            curve.table.loc[r, ["estimate", "se", "ci_low", "ci_high", "p_value", "tau2"]].astype(float),
            [fit.estimate, fit.se, fit.ci_low, fit.ci_high, fit.p_value, fit.tau2],
            rtol=1e-12,
        )


def test_the_tipping_point_is_where_an_end_of_the_interval_meets_the_null(repeated):
    low = mm.sweep_r(repeated, "SMCR", [-0.9, 0.95]).table["ci_low"]
    null = float(low.mean())
    curve = mm.sweep_r(repeated, "SMCR", np.linspace(-0.9, 0.95, 20), null=null)
    assert len(curve.tipping) == 1
    r = curve.tipping[0]
    fit = mm.random_effects(mm.effect_sizes(repeated.assign(ri=r), "SMCR"))
    assert_allclose(fit.ci_low, null, **ROOT)
    assert f"it tips at r = {r:.2f}" in curve.summary()


def test_a_tipping_point_by_hand():
    # Equal variances v: the interval is mean +- 1.96 sqrt(v / 3), which touches 0 at v = 3 (mean / 1.96)^2.
    curve = mm.sweep(lambda v: mm.fixed_effect(yi=[0.3, 0.5, 0.2], vi=[v] * 3), [0.01, 0.1, 0.3])
    assert_allclose(curve.tipping, [3 * ((1 / 3) / 1.959963984540054) ** 2], rtol=1e-6)
    assert curve.summary().splitlines()[0].startswith("As value goes from 0.01 to 0.3, the mean goes from 0.33 to 0.33")


def test_known_correlations_are_kept(repeated):
    some = repeated.assign(ri=[0.6, 0.7] + [np.nan] * 6)
    curve = mm.sweep_r(some, "MC", [0.1, 0.4])
    fit = mm.random_effects(mm.effect_sizes(some.assign(ri=[0.6, 0.7] + [0.4] * 6), "MC"))
    assert_allclose(curve.table.loc[0.4, "estimate"], fit.estimate, rtol=1e-12)
    with pytest.raises(mm.DataError, match="all 8 rows have it"):
        mm.sweep_r(repeated.assign(ri=0.5), "MC")


def test_rho_by_composites_and_by_correlated_effects(outcomes):
    curve = mm.sweep_rho(outcomes, values=[0.1, 0.5, 0.9])
    fit = mm.random_effects(mm.aggregate(outcomes, "study", 0.5, weighted=False))
    assert_allclose(curve.table.loc[0.5, ["estimate", "se"]].astype(float), [fit.estimate, fit.se], rtol=1e-12)
    che = mm.sweep_rho(outcomes, values=[0.1, 0.6], model="che")
    fit = mm.multilevel(outcomes, "study", rho=0.6, structure="che", robust="CR2")
    assert_allclose(che.table.loc[0.6, ["estimate", "se"]].astype(float), [fit.estimate, fit.se], rtol=1e-9)
    assert_allclose(che.table.loc[0.6, ["ci_low", "ci_high"]].astype(float), fit.ci(), rtol=1e-9)


def test_a_conclusion_that_does_not_tip_is_said_to_hold(outcomes):
    curve = mm.sweep_rho(outcomes.assign(yi=outcomes["yi"] + 3))
    assert curve.tipping == ()
    assert curve.summary().endswith("The interval lies above 0 at every value.")
    assert len(curve.table) == 19


def test_faults(repeated, outcomes):
    with pytest.raises(ValueError, match="at least two numbers"):
        mm.sweep_r(repeated, "MC", [0.5])
    with pytest.raises(ValueError, match=r"measure must be one of 'MC', .*, not 'SMD'"):
        mm.sweep_r(repeated, "SMD")
    with pytest.raises(ValueError, match="not 'COR'"):
        mm.sweep_r(repeated, "COR")
    with pytest.raises(ValueError, match="model must be one of"):
        mm.sweep_rho(outcomes, model="none")
    with pytest.raises(mm.DataError, match="there is no rho to sweep"):
        mm.sweep_rho(outcomes.drop_duplicates("study"))
