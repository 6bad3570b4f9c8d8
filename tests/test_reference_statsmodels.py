"""statsmodels' meta-analysis module, run here beside ours on every reference table."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
EFFECTS = [name for name, table in TABLES.items() if {"yi", "vi"} <= set(table["columns"])]
MEANS = [name for name, table in TABLES.items() if {"m1i", "sd1i", "m2i", "sd2i", "n2i"} <= set(table["columns"])]

CLOSED_FORM = 1e-9  # the same sums in another order
ITERATIVE = 1e-6  # statsmodels stops where Q is within STOP of its degrees of freedom
STOP = 1e-6  # below that a rounding error past the root makes statsmodels give tau2 = 0


def frame(name):
    return pd.DataFrame(TABLES[name]["columns"])


def theirs_of(name, method):
    from statsmodels.stats.meta_analysis import combine_effects

    effects = frame(name)
    yi, vi = effects["yi"].to_numpy(float), effects["vi"].to_numpy(float)
    with np.errstate(invalid="ignore"):  # its DL tau2 may be so far below 0 that weights are negative
        return combine_effects(yi, vi, method_re=method, **({"atol": STOP} if method == "pm" else {}))


@pytest.mark.parametrize("name", EFFECTS)
def test_fixed_effect_matches_statsmodels(name):
    ours, theirs = mm.fixed_effect(frame(name)), theirs_of(name, "dl")
    expected = [theirs.mean_effect_fe, theirs.sd_eff_w_fe]
    assert_allclose([ours.estimate, ours.se], expected, rtol=CLOSED_FORM, atol=CLOSED_FORM * ours.se)
    assert_allclose(ours.Q, theirs.q, rtol=CLOSED_FORM)


@pytest.mark.parametrize("method", ["DL", "PM"])
@pytest.mark.parametrize("name", EFFECTS)
def test_random_effects_match_statsmodels(name, method):
    theirs = theirs_of(name, method.lower())
    z, knha = (mm.random_effects(frame(name), method=method, test=test) for test in ("z", "knha"))
    if theirs.tau2 < 0:  # statsmodels does not truncate DL at 0; see docs/agreement.md
        assert method == "DL"
        assert z.tau2 == 0
        return
    rtol = CLOSED_FORM if method == "DL" else ITERATIVE
    assert_allclose(z.tau2, theirs.tau2, rtol=rtol, atol=rtol * frame(name)["vi"].mean())
    expected = [theirs.mean_effect_re, theirs.sd_eff_w_re, theirs.sd_eff_w_re_hksj]
    assert_allclose([z.estimate, z.se, knha.se], expected, rtol=rtol, atol=rtol * z.se)


def test_statsmodels_gives_negative_variances():
    """The known difference: on some table its DL tau2 is below 0."""
    assert min(theirs_of(name, "dl").tau2 for name in EFFECTS) < 0


@pytest.mark.parametrize("name", MEANS)
def test_standardized_mean_differences_match_statsmodels(name):
    from statsmodels.stats.meta_analysis import effectsize_smd

    table = frame(name)
    columns = [table[c].to_numpy(float) for c in ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")]
    ours = mm.hedges_g(*columns, correction="approx")
    assert_allclose(ours.yi, effectsize_smd(*columns)[0], rtol=CLOSED_FORM, atol=1e-14)


def test_the_tables_are_many():
    assert len(EFFECTS) >= 39
    assert len(MEANS) >= 3
    assert np.isfinite(theirs_of("bcg_RR", "pm").tau2)
