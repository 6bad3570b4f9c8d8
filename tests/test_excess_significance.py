"""Excess significance: metafor's numbers, and the laws that the tests refer to."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.sensitivity.excess_significance import excess_significance

REFERENCE = Path(__file__).parent / "reference"


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


TABLES = load("datasets.json")["tables"]
CASES = [c for c in load("small_study.json")["cases"] if c["what"] == "tes"]
WIDE = [c for c in load("sensitivity.json")["cases"] if c["what"] == "excess_significance"]
CLOSED_FORM = 1e-9
DEFAULT_RULE = 2e-5  # metafor fits the model again at its default stopping rule


def table(name):
    return pd.DataFrame(TABLES[name]["columns"])[["yi", "vi"]]


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_with_the_fits_own_effect_and_tau2(case):
    fit = fixed_effect(table(case["table"])) if case["method"] == "EE" else random_effects(table(case["table"]))
    ours = excess_significance(fit, case["test"])
    rtol = CLOSED_FORM if case["method"] == "EE" else DEFAULT_RULE
    assert ours.observed == case["observed"]
    assert_allclose(ours.expected, case["expected"], rtol=rtol)
    assert_allclose(ours.p_value, case["p_value"], rtol=10 * rtol)
    assert_allclose(ours.power, case["power"], rtol=10 * rtol)
    if case["theta_lim"] is None:
        assert np.isnan(ours.limit)
    else:
        assert_allclose(ours.limit, case["theta_lim"], rtol=5e-4)  # metafor stops its search at 1e-4


@pytest.mark.parametrize("case", WIDE, ids=[c["id"] for c in WIDE])
def test_as_first_published(case):
    ours = excess_significance(fixed_effect(table(case["table"])), case["test"])
    assert_allclose(ours.theta, case["theta"], rtol=CLOSED_FORM)
    assert ours.observed == case["observed"]
    assert_allclose([ours.expected, ours.p_value], [case["expected"], case["p_value"]], rtol=1e-8)


def test_dorn():
    # metafor's checks: O = 10, E = 4.923333, p = 0.003928794, 0.01159554, 0.007778529.
    fit = fixed_effect(table("dorn2007_RR"))
    p = [excess_significance(fit, test).p_value for test in ("chi2", "binom", "exact")]
    assert_allclose(p, [0.00392879371, 0.01159553891, 0.007778529379], rtol=1e-8)


def test_exact_law_is_the_sum_over_all_outcomes():
    fit = fixed_effect(table("borenstein2009"))
    ours = excess_significance(fit, "exact")
    total = 0.0
    for outcome in product([0, 1], repeat=fit.k):
        if sum(outcome) >= ours.observed:
            total += np.prod(np.where(outcome, ours.power, 1 - ours.power))
    assert_allclose(ours.p_value, total, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0.01, 1)), min_size=2, max_size=12),
    st.floats(0.1, 10),
    st.sampled_from(["chi2", "binom", "exact"]),
)
def test_sign_scale_and_power(pairs, scale, test):
    yi, vi = map(np.array, zip(*pairs, strict=True))
    fit = fixed_effect(yi=yi, vi=vi)
    here = excess_significance(fit, test)
    z = stats.norm.ppf(0.975)
    law = stats.norm(fit.estimate, np.sqrt(vi))
    assert_allclose(here.power, law.sf(z * np.sqrt(vi)) + law.cdf(-z * np.sqrt(vi)), rtol=1e-9)
    for other in (fixed_effect(yi=-yi, vi=vi), fixed_effect(yi=scale * yi, vi=scale**2 * vi)):
        there = excess_significance(other, test)
        if there.observed == here.observed:  # a p-value of exactly 0.05 may fall to either side
            assert_allclose(there.p_value, here.p_value, rtol=1e-6, atol=1e-9)
    assert 0 <= here.p_value <= 1


def test_the_limit_is_where_p_is_a_tenth():
    fit = random_effects(table("dorn2007_RR"))
    for test in ("chi2", "binom", "exact"):
        limit = excess_significance(fit, test).limit
        assert_allclose(excess_significance(fit, test, theta=limit).p_value, 0.10, rtol=1e-8)


def test_options_and_cautions():
    fit = random_effects(yi=[0.1, 0.5, 0.9], vi=[0.1, 0.02, 0.3])
    with pytest.raises(ValueError, match="test must be one of"):
        excess_significance(fit, "z")
    with pytest.raises(ValueError, match="tau2 finite and not negative"):
        excess_significance(fit, tau2=-1)
    result = excess_significance(fit)
    assert any("k = 3" in text for text in result.cautions)
    assert all(text in result.summary() for text in result.cautions)
    assert result.ratio == result.observed / result.expected
    assert excess_significance(random_effects(yi=[0.1, 0.2], vi=[1, 1]), "binom").p_value == 1.0
    # With a power of 1 for each study nothing can be in excess.
    certain = random_effects(yi=[5.0, 5.1, 5.2], vi=[0.01, 0.01, 0.02])
    assert [excess_significance(certain, test).p_value for test in ("chi2", "exact")] == [1.0, 1.0]
