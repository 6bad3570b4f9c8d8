"""Correlations and conversions between scales."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from metamiq.effects.continuous import hedges_g
from metamiq.effects.correlation import biserial, correlation, fisher_z, point_biserial, unbiased_correlation
from metamiq.effects.scales import d_to_log_or, d_to_r, log_or_to_d, r_to_d
from metamiq.errors import DataError

PRINTED_10 = {"rtol": 1e-9, "atol": 1e-12}  # other software's value at the ten digits it printed
# McDaniel et al. (1994), rows 1, 13, 33 and 102.
R, N = [0.00, 0.62, 0.99, -0.13], [123, 15, 6, 41]
# The 20 pairs of Jacobs & Viechtbauer's example, split at the median of the first: means, SDs (10 and 10 people).
SPLIT = 4.7, 1.3374935098492586, 10, 3.6, 1.577621275493231, 10


def series(a: float, b: float, c: float, x: float) -> float:
    """Gauss's hypergeometric series, term by term."""
    terms, term = [1.0], 1.0
    for j in range(200_000):
        term *= (a + j) * (b + j) / ((c + j) * (j + 1)) * x
        terms.append(term)
        if term < 1e-20:
            break
    return math.fsum(terms)


def test_mcdaniel_1994():
    unbiased = unbiased_correlation(R, N)
    assert_allclose(unbiased.yi, [0, 0.6362937203, 0.9924811952, -0.1317366877], **PRINTED_10)
    z = fisher_z(R, N)
    assert_allclose(z.yi, [0, 0.7250050878, 2.646652412, -0.13073985], **PRINTED_10)
    assert_allclose(z.vi, [1 / 120, 1 / 12, 1 / 3, 1 / 38])
    assert_allclose(correlation(0.62, 15), [0.62, (1 - 0.62**2) ** 2 / 14])


@pytest.mark.parametrize(("r", "n"), [(-0.04, 12), (0.15, 1832), (0.3, 30), (0.9, 6), (0.05, 326), (0.5, 10**6)])
def test_unbiased_correlation_is_the_series(r, n):
    """At r = -0.04, n = 12 metafor 3.8 prints -0.04259002 for -0.04256730: its library loses digits there."""
    x = 1 - r**2
    G = r * series(0.5, 0.5, (n - 2) / 2, x)
    assert_allclose(unbiased_correlation(r, n).yi, G, rtol=1e-12)
    v = G**2 - 1 + (n - 3) / (n - 2) * x * series(1, 1, n / 2, x)
    # UB is a difference of numbers near 1, so what counts is the absolute error.
    assert_allclose(unbiased_correlation(r, n, vtype="UB").vi, v, rtol=1e-9, atol=1e-14)


def test_unbiased_correlation_is_unbiased():
    """Made-up bivariate normal samples of 8 with rho = 0.5; r itself is off by about 0.02."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((200_000, 8))
    y = 0.5 * x + np.sqrt(0.75) * rng.standard_normal((200_000, 8))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    r = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    # A part of the sample is enough for the function; its error is three times 0.3 / sqrt(20,000).
    assert abs(unbiased_correlation(r[:20_000], 8).yi.mean() - 0.5) < 0.0065
    assert r.mean() < 0.485


def test_the_ends_of_the_range():
    assert_allclose(unbiased_correlation([-1, 1, 0], 10).yi, [-1, 1, 0])
    assert_allclose(correlation([-1, 1], 10).vi, 0)
    with pytest.raises(DataError, match="strictly between -1 and 1, but row 2 has 1"):
        fisher_z([0.5, 1.0], 10)
    with pytest.raises(DataError, match=r"ri must be between -1 and 1, but row 1 has 1\.2; ni must be at least 4"):
        unbiased_correlation([1.2, 0.5], [10, 3])


@pytest.mark.parametrize("r", [0.1, -1e-3, 1e-9, -1e-13])
def test_unbiased_correlation_of_four_people_near_zero(r):
    """For n = 4 both hypergeometric functions have another name: 2 K / pi, and -log(r^2) / (1 - r^2)."""
    G = r * 2 / math.pi * special.ellipkm1(r**2)
    # The integrand has a peak of width r at one end.
    assert_allclose(unbiased_correlation(r, 4).yi, G, rtol=1e-6)
    assert_allclose(unbiased_correlation(r, 4, vtype="UB").vi, G**2 - 1 - math.log(abs(r)), rtol=1e-6)


def test_unbiased_correlation_where_the_variance_is_none_or_infinite():
    assert_array_equal(unbiased_correlation([-1, 1, 1], [4, 5, 1000]), [[-1, 1, 1], [0, 0, 0]])
    assert_array_equal(unbiased_correlation([-1, 1, 0], [4, 9, 4], vtype="UB"), [[-1, 1, 0], [0, 0, np.nan]])


def test_biserial_and_point_biserial_of_20_pairs():
    assert_allclose(point_biserial(*SPLIT), [0.3685138656, 0.0383919486], **PRINTED_10)
    assert_allclose(biserial(*SPLIT), [0.4618636375, 0.05700030816], **PRINTED_10)


def test_biserial_against_metafor_with_unequal_groups():
    """escalc('RPB') and escalc('RBIS') of metafor 3.8 for means 5 and 4, SDs 2 and 2.5, 12 and 8 people."""
    x = 5, 2, 12, 4, 2.5, 8
    assert_allclose(point_biserial(*x), [0.227736376923829, 0.048517730027445], rtol=1e-12)
    assert_allclose(biserial(*x), [0.288778931112981, 0.073898271630151], rtol=1e-12)


def test_d_as_log_odds_ratio_on_gibson_2002():
    """First four trials of Gibson et al. (2002); metafor's D2ORL and D2ORN."""
    trials = (
        [2.20, 17.60, 0.38, 2.09],
        [12.73, 24.20, 0.56, 5.93],
        [50, 140, 23, 97],
        [5.20, 34.10, 0.23, 2.66],
        [12.50, 38.80, 0.29, 4.95],
        [54, 136, 19, 94],
    )
    d = hedges_g(*trials, correction="none")
    logistic, normal = d_to_log_or(*d), d_to_log_or(*d, distribution="normal")
    assert_allclose(logistic.yi, [-0.4314798321, -0.9285424364, 0.5932463237, -0.1890146574], **PRINTED_10)
    assert_allclose(logistic.vi, [0.127615918, 0.04925120528, 0.3203784755, 0.06900828847], **PRINTED_10)
    assert_allclose(normal.yi, [-0.3925140437, -0.8446882551, 0.5396718366, -0.1719452497], **PRINTED_10)


@settings(max_examples=40, deadline=None)
@given(st.floats(-4, 4), st.floats(0.001, 2), st.integers(2, 500), st.integers(2, 500))
def test_conversions_come_back(d, v, n1, n2):
    r = d_to_r(d, v, n1, n2)
    assert_allclose(r_to_d(*r, n1, n2), [d, v], rtol=1e-9, atol=1e-12)
    for distribution in ("logistic", "normal"):
        log_or = d_to_log_or(d, v, distribution=distribution)
        assert_allclose(log_or_to_d(*log_or, distribution=distribution), [d, v], rtol=1e-12)


def test_conversions_check_their_input():
    with pytest.raises(DataError, match="vi must be at least 0, but row 1 has -1"):
        d_to_r(0.5, -1, 10, 10)
    with pytest.raises(DataError, match="strictly between -1 and 1"):
        r_to_d(1, 0.1, 10, 10)
    with pytest.raises(ValueError, match="distribution must be one of"):
        d_to_log_or(0.5, 0.1, distribution="cauchy")
