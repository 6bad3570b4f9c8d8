"""PET-PEESE and limit meta-analysis: other software's numbers, statsmodels, and the models' own identities."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import DataError
from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.sensitivity.limit import limit_meta_analysis
from metamiq.sensitivity.pet_peese import pet_peese

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
ITERATIVE = {"rtol": 2e-3}  # the stored mixed models were run at metafor's default stopping rule


def table(name):
    return pd.DataFrame(TABLES[name]["columns"])


def test_pet_and_peese_of_passive_smoking():
    # R: lm(yi ~ sqrt(vi), weights = 1/vi) and lm(yi ~ vi, weights = 1/vi).
    ours = pet_peese(random_effects(table("hackshaw1998")))
    assert_allclose([ours.pet.estimate, ours.pet.se], [0.005037323075, 0.08590232661], rtol=1e-9)
    assert_allclose([ours.peese.estimate, ours.peese.se], [0.1200807647, 0.05190339892], rtol=1e-9)
    assert ours.chosen == "PET"
    assert ours.estimate == ours.pet.estimate


def test_mixed_models_of_passive_smoking():
    # metafor: rma(yi, vi, mods = ~ sqrt(vi)) and mods = ~ vi.
    ours = pet_peese(random_effects(table("hackshaw1998"), test="z"), model="mixed")
    assert_allclose([ours.pet.estimate, ours.pet.se], [0.02160966788, 0.1015586732], **ITERATIVE)
    assert_allclose([ours.peese.estimate, ours.peese.se], [0.1405468423, 0.06176068076], **ITERATIVE)
    assert ours.dof is None


def test_the_conditional_rule():
    # Invented: a clear effect with small studies a little higher, and the same with the mean's sign turned.
    vi = np.linspace(0.005, 0.2, 20)
    yi = 0.5 + 0.3 * vi + 0.02 * np.cos(np.arange(20))
    for sign in (1, -1):
        ours = pet_peese(fixed_effect(yi=sign * yi, vi=vi))
        assert ours.chosen == "PEESE"
        assert_allclose(ours.estimate, sign * 0.5, atol=0.02)
        assert ours.ci_low < ours.estimate < ours.ci_high
    # PET significantly on the other side of 0 is no evidence for the mean.
    ours = pet_peese(fixed_effect(yi=-0.3 + 3 * np.sqrt(vi), vi=vi))
    assert ours.pet.p_value < 0.01
    assert ours.chosen == "PET"


def test_limit_meta_analysis_of_passive_smoking():
    # R's package metasens, with DerSimonian and Laird's tau2: 0.088141455 (0.07801516).
    ours = limit_meta_analysis(random_effects(table("hackshaw1998"), method="DL"))
    assert_allclose([ours.estimate, ours.se], [0.088141455, 0.07801516], rtol=1e-7)


def test_limit_is_the_radial_regression():
    import statsmodels.api as sm

    es = table("bcg_RR")
    fit = random_effects(es)
    s = np.sqrt(es["vi"] + fit.tau2)
    line = sm.OLS(es["yi"] / s, np.column_stack([np.ones(len(s)), 1 / s])).fit()
    gradient = np.array([np.sqrt(fit.tau2), 1.0])
    ours = limit_meta_analysis(fit)
    assert_allclose(ours.estimate, gradient @ line.params, rtol=1e-8)
    assert_allclose(ours.se, np.sqrt(gradient @ line.normalized_cov_params @ gradient), rtol=1e-8)
    assert_allclose(ours.Q, fit.Q, rtol=1e-9)
    assert 0 <= ours.Q_small <= ours.Q
    assert_allclose(ours.Q_small + ours.Q_residual, ours.Q, rtol=1e-9)
    assert 0 <= ours.G2 <= 100


def test_without_heterogeneity_the_limit_is_pet():
    es = table("egger2001_OR").head(8)
    fit = fixed_effect(es)
    ours = limit_meta_analysis(fit)
    assert_allclose(ours.estimate, pet_peese(fit).pet.estimate, rtol=1e-8)
    assert np.isnan(ours.G2)
    assert any("tau2 is 0" in text for text in ours.cautions)


pairs = st.lists(
    st.tuples(st.floats(-2, 2), st.floats(0.01, 1)).map(lambda p: (round(p[0], 3), round(p[1], 4))),
    min_size=4,
    max_size=15,
    unique_by=(lambda p: p[0], lambda p: p[1]),
)


@settings(max_examples=30, deadline=None)
@given(pairs, st.randoms(use_true_random=False), st.floats(0.1, 10))
def test_signs_orders_and_scales(rows, random, scale):
    yi, vi = map(np.array, zip(*rows, strict=True))
    order = list(range(len(yi)))
    random.shuffle(order)
    for method in (pet_peese, limit_meta_analysis):
        here = method(random_effects(yi=yi, vi=vi, method="DL"))
        flipped = method(random_effects(yi=-yi, vi=vi, method="DL"))
        shuffled = method(random_effects(yi=yi[order], vi=vi[order], method="DL"))
        scaled = method(random_effects(yi=scale * yi, vi=scale**2 * vi, method="DL"))
        tolerance = {"rtol": 1e-6, "atol": 1e-8}
        assert_allclose(flipped.estimate, -here.estimate, **tolerance)
        assert_allclose(shuffled.estimate, here.estimate, **tolerance)
        assert_allclose(scaled.estimate, scale * here.estimate, rtol=1e-6, atol=1e-8 * scale)
        assert_allclose(scaled.se, scale * here.se, **tolerance)


def test_refusals_and_cautions():
    alike = random_effects(yi=[0.1, 0.2, 0.4], vi=[0.1, 0.1, 0.1])
    with pytest.raises(DataError, match=r"sampling variance is 0\.1 for all"):
        limit_meta_analysis(alike)
    with pytest.raises(DataError, match="for every row"):
        pet_peese(alike)
    few = random_effects(yi=[0.1, 0.2, 0.4, 0.6], vi=[0.1, 0.11, 0.12, 0.1])
    for result in (pet_peese(few), limit_meta_analysis(few)):
        assert any("k = 4" in text for text in result.cautions)
        assert any("hardly differs" in text for text in result.cautions)
        assert all(text in result.summary() for text in result.cautions)
    assert any("fewer than 20" in text for text in pet_peese(random_effects(table("bcg_RR"))).cautions)
