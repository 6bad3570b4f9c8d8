"""Both tails of the distribution of y'P_a y, where they are known exactly and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from metamiq.pooling.quadratic_form import tails

TRAPEZOID = {"rtol": 1e-11}  # rounding of a sum of about a hundred terms; the rule itself is exact to 1e-16


@pytest.mark.parametrize("k", [2, 3, 7, 40, 1000])
@pytest.mark.parametrize("p", [1e-25, 1e-3, 0.4, 0.6, 1 - 1e-9])
def test_inverse_variance_weights_give_chi_squared(k, p):
    v = 10 ** np.random.default_rng(k).uniform(-3, 3, k)
    q = stats.chi2.ppf(p, k - 1)
    expected = [stats.chi2.cdf(q, k - 1), stats.chi2.sf(q, k - 1)]
    assert_allclose(tails(q, 1 / v, v, np.ones((k, 1))), expected, **TRAPEZOID)


def test_upper_tail_keeps_its_precision_far_out():
    q = stats.chi2.isf(1e-60, 9)
    assert_allclose(tails(q, np.ones(10), np.ones(10), np.ones((10, 1))).upper, 1e-60, rtol=1e-9)


@pytest.mark.parametrize("ratio", [0.01, 1.0, 3.0, 50.0])
def test_two_rows_are_one_scaled_square(ratio):
    # y'P_a y = a1 a2 / (a1 + a2) (y1 - y2)^2
    a, s = np.array([2.0, 0.3]), np.array([0.5, 4.0])
    scale = a.prod() / a.sum() * s.sum()
    expected = [stats.chi2.cdf(ratio, 1), stats.chi2.sf(ratio, 1)]
    assert_allclose(tails(ratio * scale, a, s, np.ones((2, 1))), expected, **TRAPEZOID)


@pytest.mark.parametrize("weights", [(1.0, 2.0, 5.0), (1e-4, 1.0, 300.0)])
@pytest.mark.parametrize("q", [0.01, 1.0, 20.0, 2000.0])
def test_paired_eigenvalues_are_sums_of_exponentials(weights, q):
    """Weights in pairs, and a design that takes out one row: independent exponentials of mean 2 lambda."""
    lam = np.array(weights)
    a = np.concatenate([[7.0], np.repeat(lam, 2)])
    x = np.eye(7)[:, :1]
    rate = 1 / (2 * lam)
    part = np.array([np.prod([r / (r - rate[i]) for j, r in enumerate(rate) if j != i]) for i in range(3)])
    # Far down the closed form subtracts nearly equal terms: hence the absolute tolerance.
    upper = float((part * np.exp(-rate * q)).sum())
    both = tails(q, a, np.ones(7), x)
    assert_allclose(both, [1 - upper, upper], rtol=1e-9, atol=1e-14)


def mixture_of_chi_squared(q, lam):
    """Ruben's (1962) series: a mixture of chi-squared distributions with n, n + 2, n + 4, ... degrees of freedom."""
    beta, n = lam.min(), len(lam)
    c = [float(np.sqrt(beta / lam).prod())]
    g = [float(((1 - beta / lam) ** m).sum()) for m in range(1, 3000)]
    while 1 - sum(c) > 1e-13 and len(c) < 3000:
        m = len(c)
        c.append(float(np.dot(g[:m][::-1], c)) / (2 * m))
    return float(np.dot(c, stats.chi2.cdf(q / beta, n + 2 * np.arange(len(c)))))


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_rubens_series(seed):
    rng = np.random.default_rng(seed)
    k, p = int(rng.integers(5, 12)), int(rng.integers(1, 4))
    x = np.column_stack([np.ones(k), rng.normal(size=(k, p - 1))])
    a, s = 10 ** rng.uniform(-0.4, 0.4, k), 10 ** rng.uniform(-0.4, 0.4, k)
    weighted = a[:, None] * x
    form = np.diag(a) - weighted @ np.linalg.solve(x.T @ weighted, weighted.T)
    lam = np.sort(np.linalg.eigvalsh(np.sqrt(s)[:, None] * form * np.sqrt(s)))[p:]
    for share in (0.2, 0.7, 1.0, 2.0):
        q = share * float(lam.sum())
        # The eigenvalues carry about 1e-15, the series stops at 1e-13.
        assert_allclose(tails(q, a, s, x).lower, mixture_of_chi_squared(q, lam), rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_tails_add_to_one_and_move_with_q_and_tau2(seed):
    rng = np.random.default_rng(seed)
    k, p = int(rng.integers(3, 40)), int(rng.integers(1, 3))
    x = np.column_stack([np.ones(k), rng.normal(size=(k, p - 1))])
    v = 10 ** rng.uniform(-3, 3, k)
    a = v ** -rng.uniform(0, 1.5)
    tau2 = 10 ** rng.uniform(-3, 3)
    q = float((a * (v + tau2)).sum()) * 10 ** rng.uniform(-2, 0.5)
    at, further, spread = (tails(*args, x) for args in ((q, a, v + tau2), (1.2 * q, a, v + tau2), (q, a, v + 2 * tau2)))
    assert_allclose(at.lower + at.upper, 1.0, rtol=1e-14)
    assert further.upper <= at.upper * (1 + 1e-12) + 1e-15
    assert spread.lower <= at.lower * (1 + 1e-12) + 1e-15
    # Units of y do not matter.
    assert_allclose(tails(1e6 * q, a, 1e6 * (v + tau2), x), at, **TRAPEZOID, atol=1e-15)


def test_nothing_lies_below_zero():
    assert tails(0.0, np.ones(3), np.ones(3), np.ones((3, 1))) == (0.0, 1.0)
