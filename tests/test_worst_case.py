"""The worst case of publication bias: the closed forms of the paper, robumeta, and the correction at its S-value."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import DataError
from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.pooling.robust import robust
from metamiq.sensitivity.worst_case import _robust, worst_case

REFERENCE = Path(__file__).parent / "reference"


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


TABLES = load("datasets.json")["tables"]
CASES = [c for c in load("small_study.json")["cases"] if c["what"] == "weighted_mean"]


def table(name):
    return pd.DataFrame(TABLES[name]["columns"])[["yi", "vi"]]


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_weighted_means_of_robumeta(case):
    fit = random_effects(table(case["table"]))
    ours = worst_case(fit)
    assert ours.k_affirmative == case["affirmative"]
    assert_allclose(ours.corrected(case["eta"]).estimate, case["estimate"], rtol=1e-7)
    # robumeta takes the sampling variances alone for the working covariance, we add tau2: the same formula at theirs.
    yi, vi = fit.source.yi, fit.source.vi
    affirmative = ours.side * yi / np.sqrt(vi) > 1.959963984540054
    h = np.where(affirmative, 1, case["eta"]) / (vi + fit.tau2)
    h = h / h.sum()
    se, _ = _robust(yi - h @ yi, h, vi)
    assert_allclose(se, case["se"], rtol=1e-7)


def test_without_correction_the_variance_is_cr2():
    fit = random_effects(table("bcg_RR").assign(study=range(13)))
    theirs = robust(fit, "study").coefficients.iloc[0]
    ours = worst_case(fit).corrected(1)
    assert_allclose([ours.estimate, ours.se, ours.dof], theirs[["estimate", "se", "dof"]], rtol=1e-8)
    assert_allclose(ours.ci(), theirs[["ci_low", "ci_high"]], rtol=1e-7)


def test_by_hand():
    # Invented. Two affirmative (z = 2.5, 3) and two nonaffirmative results with variance 0.04.
    fit = fixed_effect(yi=[0.5, 0.6, 0.1, -0.2], vi=[0.04] * 4)
    ours = worst_case(fit, model="fixed")
    assert (ours.k_affirmative, ours.k_nonaffirmative) == (2, 2)
    assert_allclose(ours.estimate, -0.05)
    # (1.1 + eta (-0.1)) = 0 at eta = 11
    assert_allclose(ours.s_value, 11.0)
    at = ours.corrected(3)
    assert_allclose(at.estimate, (1.1 - 0.3) / 8)
    assert_allclose(at.se, np.sqrt((2 + 2 * 9) * 0.04) / 8)
    assert 1 < ours.s_value_ci < 11
    # Bringing the mean to 0.25, its own value, needs no bias.
    assert_allclose(worst_case(fit, 0.25, model="fixed").s_value, 1.0)
    assert worst_case(fit, 0.3, model="fixed").s_value == 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1, 2), st.floats(0.02, 0.5)), min_size=4, max_size=15),
    st.sampled_from(["fixed", "robust"]),
    st.floats(0.2, 5),
)
def test_the_correction_at_the_s_value_does_it(pairs, model, scale):
    yi, vi = (np.array(x).round(4) for x in zip(*pairs, strict=True))
    fit = random_effects(yi=yi, vi=vi, method="DL")
    z = np.sign(fit.estimate) * yi / np.sqrt(vi)
    assume((z < 1.9).sum() >= 2)
    assume(abs(fit.estimate) > 1e-6)
    ours = worst_case(fit, model=model)
    if 1 < ours.s_value < np.inf:
        assert_allclose(ours.corrected(ours.s_value).estimate, 0.0, atol=1e-8)
    if 1 < ours.s_value_ci < np.inf:
        ci = ours.corrected(ours.s_value_ci).ci()
        assert_allclose(ci.low if ours.side > 0 else ci.high, 0.0, atol=1e-7)
    flipped = worst_case(random_effects(yi=-yi, vi=vi, method="DL"), model=model)
    scaled = worst_case(random_effects(yi=scale * yi, vi=scale**2 * vi, method="DL"), model=model)
    for other, factor in ((flipped, -1), (scaled, scale)):
        assert_allclose(other.estimate, factor * ours.estimate, rtol=1e-7, atol=1e-10)
        if ours.k_affirmative == other.k_affirmative:
            assert_allclose(min(other.s_value, 1e6), min(ours.s_value, 1e6), rtol=1e-4)


def test_refusals_and_cautions():
    with pytest.raises(DataError, match="all 3 are significant"):
        worst_case(random_effects(yi=[1, 1.1, 0.9], vi=[0.01, 0.01, 0.02]))
    with pytest.raises(ValueError, match="model must be"):
        worst_case(random_effects(yi=[1, 0.1, 0.9], vi=[0.01, 0.1, 0.02]), model="random")
    result = worst_case(random_effects(yi=[1, 0.1, 0.9], vi=[0.01, 0.1, 0.02]))
    assert any("rests on 1 nonaffirmative result only" in text for text in result.cautions)
    assert all(text in result.summary() for text in result.cautions)
    assert "no ratio suffices" in result.summary()
    with pytest.raises(ValueError, match="ratio must be 1 or greater"):
        result.corrected(0.5)
