"""What is true of any data: row order, sign, scale, duplication."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import metamiq as mm

METHODS = ["DL", "REML", "ML", "PM", "HE", "SJ", "HS", "FE"]
# Two optimisers' last steps on reordered sums.
ITERATIVE = {"rtol": 1e-8, "atol": 1e-12}


@st.composite
def effect_tables(draw, least=2, most=25):
    k = draw(st.integers(least, most))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    vi = 10.0 ** rng.uniform(-2, 0, k)
    tau = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return rng.normal(draw(st.floats(-2, 2)), np.sqrt(vi + tau**2)), vi, seed


@pytest.mark.parametrize("method", METHODS)
@given(table=effect_tables())
@settings(max_examples=25, deadline=None)
def test_row_order_sign_scale_and_shift(method, table):
    yi, vi, seed = table
    fit = mm.random_effects(yi=yi, vi=vi, method=method, test="z")
    order = np.random.default_rng(seed).permutation(len(yi))
    again = mm.random_effects(yi=yi[order], vi=vi[order], method=method, test="z")
    flipped = mm.random_effects(yi=-yi, vi=vi, method=method, test="z")
    scaled = mm.random_effects(yi=10 * yi, vi=100 * vi, method=method, test="z")
    moved = mm.random_effects(yi=yi + 5, vi=vi, method=method, test="z")
    for other, estimate, se, tau2 in (
        (again, fit.estimate, fit.se, fit.tau2),
        (flipped, -fit.estimate, fit.se, fit.tau2),
        (scaled, 10 * fit.estimate, 10 * fit.se, 100 * fit.tau2),
        (moved, fit.estimate + 5, fit.se, fit.tau2),
    ):
        assert_allclose([other.estimate, other.se, other.tau2], [estimate, se, tau2], rtol=1e-7, atol=1e-9)
    assert_allclose(fit.weights.sum(), 1.0, rtol=1e-12)
    assert min(yi) <= fit.estimate <= max(yi)
    assert 0 <= fit.I2 <= 100


@given(table=effect_tables())
@settings(max_examples=25, deadline=None)
def test_duplicating_every_row_keeps_the_fixed_mean_and_narrows_it(table):
    yi, vi, _ = table
    once = mm.fixed_effect(yi=yi, vi=vi)
    twice = mm.fixed_effect(yi=np.tile(yi, 2), vi=np.tile(vi, 2))
    assert_allclose(twice.estimate, once.estimate, rtol=1e-10, atol=1e-12)
    assert_allclose(twice.se, once.se / np.sqrt(2), rtol=1e-12)
    assert_allclose(twice.Q, 2 * once.Q, rtol=1e-9, atol=1e-12)


@given(table=effect_tables(least=4))
@settings(max_examples=25, deadline=None)
def test_hartung_knapp_is_the_plain_error_times_the_generalised_q(table):
    yi, vi, _ = table
    plain = mm.random_effects(yi=yi, vi=vi, method="DL", test="z")
    hk = mm.random_effects(yi=yi, vi=vi, method="DL", test="knha")
    q = ((yi - plain.estimate) ** 2 / (vi + plain.tau2)).sum() / (len(yi) - 1)
    assert_allclose(hk.se, plain.se * np.sqrt(q), **ITERATIVE)


def test_a_hundred_thousand_rows_are_pooled():
    rng = np.random.default_rng(0)
    vi = rng.uniform(0.01, 0.2, 100_000)
    fit = mm.random_effects(yi=rng.normal(0.3, np.sqrt(vi + 0.05)), vi=vi)
    assert abs(fit.estimate - 0.3) < 0.01
    assert abs(fit.tau2 - 0.05) < 0.01


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_extreme_units_do_not_matter(scale):
    rng = np.random.default_rng(1)
    vi = rng.uniform(0.05, 0.4, 12)
    yi = rng.normal(0.3, np.sqrt(vi + 0.2))
    for method in METHODS:
        plain = mm.random_effects(yi=yi, vi=vi, method=method)
        other = mm.random_effects(yi=yi * scale, vi=vi * scale**2, method=method)
        assert_allclose(other.estimate / scale, plain.estimate, rtol=1e-7)
        assert_allclose(other.tau2 / scale**2, plain.tau2, rtol=1e-7)


@pytest.mark.parametrize("test", ["knha", "z"])
@pytest.mark.parametrize("method", METHODS)
def test_units_order_and_sides_with_variances_over_twelve_orders(method, test):
    rng = np.random.default_rng(12)
    for k in (2, 5, 12):
        vi = 10.0 ** rng.uniform(-6, 6, k)
        yi = rng.normal(0, np.sqrt(vi + rng.choice([0.0, 1.0, 100.0])))
        order = rng.permutation(k)
        fit = mm.random_effects(yi=yi, vi=vi, method=method, test=test)
        for factor, rows in ((1e6, slice(None)), (1e-6, slice(None)), (-1.0, slice(None)), (1.0, order)):
            other = mm.random_effects(yi=factor * yi[rows], vi=factor**2 * vi[rows], method=method, test=test)
            assert_allclose(other.estimate / factor, fit.estimate, rtol=1e-9, atol=1e-9 * fit.se)
            assert_allclose([other.I2, other.Q, other.p_value], [fit.I2, fit.Q, fit.p_value], rtol=1e-9, atol=1e-12)
            assert_allclose(other.se / abs(factor), fit.se, rtol=1e-9)
            for kind in ("QP", "PL", "GENQ") if method in ("DL", "REML") else ():
                # The exact law of Q with weights like these is a quadrature.
                ends = np.array(other.tau2_ci(method=kind)) / factor**2
                assert_allclose(ends, fit.tau2_ci(method=kind), rtol=1e-9, atol=1e-9 * vi.min())
