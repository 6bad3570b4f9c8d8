"""I2, H2 and intervals for tau2: by hand, as printed, against metafor with moderators, and by their definitions."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from metamiq.errors import DataError
from metamiq.pooling import heterogeneity as het
from metamiq.pooling import tau2 as estimators
from metamiq.pooling.quadratic_form import tails
from metamiq.pooling.wls import fit_tau2, tables

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
MODELS = json.loads((REFERENCE / "univariate_extra.json").read_text(encoding="utf-8"))["cases"]

ROOT = {"rtol": 1e-9}  # a root found to the last bits, where the curve's own rounding is about 1e-13
ITERATIVE = {"rtol": 1e-6}  # two searches, two stopping rules


def agrees(printed: str, computed: float) -> bool:
    """Whether `computed` rounds to `printed` at the precision of the print."""
    half_unit = Decimal(1).scaleb(Decimal(printed).as_tuple().exponent) / 2
    return abs(Decimal(repr(float(computed))) - Decimal(printed)) <= half_unit


def data(name):
    columns = TABLES[name]["columns"]
    return np.array(columns["yi"]), np.array(columns["vi"])


def random_table(seed, moderators=1):
    rng = np.random.default_rng(seed)
    p = int(rng.integers(1, moderators + 2))
    k = int(rng.integers(p + 2, 25))
    v = 10 ** rng.uniform(-3, 1, k)
    y = rng.normal(size=k) * np.sqrt(v + 10 ** rng.uniform(-3, 2))
    x = None if p == 1 else np.column_stack([np.ones(k), rng.normal(size=(k, p - 1))])
    return y, v, x


def test_i2_and_h2_by_hand():
    # w = 1, 1, 1/2: sum 5/2, sum of squares 9/4, so tr P = 5/2 - (9/4) / (5/2) = 8/5 and s2 = 2 / (8/5) = 5/4.
    s2 = het.typical_variance(tables([0.0, 2.0, 4.0], [1.0, 1.0, 2.0]))
    assert_allclose(s2, 1.25, rtol=1e-14)
    assert_allclose(het.i2_from_tau2(2.25, s2), 100 * 2.25 / 3.5, rtol=1e-14)
    assert_allclose(het.h2_from_tau2(2.25, s2), 2.8, rtol=1e-14)
    assert_allclose(het.i2_from_q([5.6, 1.0, 0.0, 0.0], [2, 2, 2, 0]), [100 * 3.6 / 5.6, 0, 0, np.nan])
    assert het.i2_from_tau2(np.inf, 1.0) == 100
    assert het.h2_from_tau2(np.inf, 1.0) == np.inf


def test_i2_of_dl_is_i2_of_q():
    y, v = data("bcg_RR")
    t = tables(y, v)
    q = float(fit_tau2(t, np.zeros(1)).yPy()[0])
    i2 = het.i2_from_tau2(estimators.estimate(t, "DL"), het.typical_variance(t))
    assert_allclose(i2, het.i2_from_q(q, 12), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "interval", "method", "low", "high"),
    [
        ("collins1985b_OR", "QP", "DL", "0.0723", "2.2027"),  # Viechtbauer (2007), table II
        ("collins1985b_OR", "PL", "ML", None, "1.1308"),
        ("collins1985b_OR", "PL", "REML", "0.0427", "1.4747"),
    ],
)
def test_tau2_intervals_as_printed(name, interval, method, low, high):
    ends = het.tau2_interval(*data(name), interval=interval, method=method)
    assert low is None or agrees(low, ends.low)
    assert agrees(high, ends.high)


def test_one_printed_end_is_that_of_a_looser_search():
    """Viechtbauer (2007), table II prints 0.0266 for ML; the likelihood has fallen far enough at 0.026542 already."""
    low = het.tau2_interval(*data("collins1985b_OR"), interval="PL", method="ML").low
    assert_allclose(0.0266 - low, 5.77e-5, atol=1e-6)


def test_generalised_q_with_a_moderator_as_printed():
    """Jackson et al. (2014), first example: weights 1 / v, weights 1 / sqrt(v), and Q-profile."""
    y, v = data("jackson2014a")
    x = np.column_stack([np.ones(16), TABLES["jackson2014a"]["columns"]["x"]])
    for weights, low, high in ((None, "0.0029", "0.6907"), (v**-0.5, "0.0000", "1.1245")):
        ends = het.tau2_interval(y, v, x, interval="GENQ", weights=weights)
        assert agrees(low, ends.low)
        # The print rounds a search that stopped within 1e-4 of tau2: 1.12456 stands as 1.1245.
        assert_allclose(ends.high, float(high), atol=1e-4)
    ends = het.tau2_interval(y, v, x)
    assert agrees("0.0023", ends.low)
    assert agrees("1.4871", ends.high)


def test_test_based_interval_of_i2_as_printed():
    """Borenstein et al. (2009), six SMDs: 0 to 83.12, and 83.12700984 in R, both with 1.96 for the normal quantile."""
    low, high = het.higgins_thompson_interval(12.00535867, 6, level=1 - 2 * stats.norm.sf(1.96))
    assert low == 0
    assert_allclose(high, 83.12700984, rtol=1e-9)


def test_test_based_interval_by_hand():
    # Q = 30 > k = 11: SE = (ln 30 - ln 10) / (2 (sqrt 60 - sqrt 19)).
    se = np.log(3) / (2 * (np.sqrt(60) - np.sqrt(19)))
    ends = [100 * (1 - 1 / np.exp(0.5 * np.log(3) + side * 1.959963984540054 * se) ** 2) for side in (-1, 1)]
    assert_allclose(het.higgins_thompson_interval(30, 11), ends, rtol=1e-12)
    # Q = 9 <= k = 11: SE = sqrt((1 - 1 / (3 * 81)) / 18).
    high = 100 * (1 - np.exp(-np.log(0.9) - 2 * 1.959963984540054 * np.sqrt((1 - 1 / 243) / 18)))
    assert_allclose(het.higgins_thompson_interval(9, 11), [0, high], rtol=1e-12)
    assert het.higgins_thompson_interval(0.0, 5) == (0, 0)
    assert np.isnan(het.higgins_thompson_interval(3.0, 2)).all()


@pytest.mark.parametrize("case", MODELS, ids=[case["id"] for case in MODELS])
def test_residual_tau2_intervals_match_metafor(case):
    x = np.array(case["columns"]).T
    for theirs in case["intervals"]:
        choice = {key: theirs[key] for key in ("interval", "method", "level")}
        ours = het.tau2_interval(case["yi"], case["vi"], x, **choice)
        assert_allclose(ours, [theirs["tau2_low"], theirs["tau2_high"]], **ITERATIVE, err_msg=str(choice))


@pytest.mark.parametrize("interval", ["QP", "GENQ"])
def test_equal_variances_give_the_classical_interval(interval):
    # Q = (k - 1) s^2 / (v + tau2) is chi-squared, whatever the weights of GENQ are worth.
    y, v = np.array([0.0, 3.0, 5.0, 9.0, 1.0]), 0.5
    quantiles = stats.chi2.isf([0.025, 0.975], 4)
    expected = 4 * y.var(ddof=1) / quantiles - v
    assert_allclose(het.tau2_interval(y, np.full(5, v), interval=interval), expected, rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 0.99))
def test_each_end_satisfies_its_definition(seed, level):
    y, v, x = random_table(seed)
    t = tables(y, v, x)
    k_p, tail = int(t.dof[0]), (1 - level) / 2

    def q(tau2):
        return float(fit_tau2(t, np.array([tau2])).yPy()[0])

    low, high = het.tau2_interval(y, v, x, level=level)
    for end, target in ((low, stats.chi2.isf(tail, k_p)), (high, stats.chi2.isf(1 - tail, k_p))):
        if end > 0:
            assert_allclose(q(end), target, **ROOT)
        else:
            assert q(0.0) <= target
    for method in ("ML", "REML"):
        low, high = het.tau2_interval(y, v, x, level=level, interval="PL", method=method)
        peak = estimators.estimate(t, method)
        top = estimators.loglik(t, peak, method)[0]
        drop = 0.5 * stats.chi2.isf(1 - level, 1)
        assert low <= peak[0] <= high
        assert_allclose(top - estimators.loglik(t, np.array([high]), method)[0], drop, rtol=1e-7)
        fall = top - estimators.loglik(t, np.array([low]), method)[0]
        assert fall <= drop * (1 + 1e-7)
        if low > 0:
            assert_allclose(fall, drop, rtol=1e-7)
    a = v**-0.7
    design = np.ones((len(y), 1)) if x is None else x
    low, high = het.tau2_interval(y, v, x, level=level, interval="GENQ", weights=a)
    wx = a[:, None] * design
    r = y - design @ np.linalg.solve(design.T @ wx, wx.T @ y)
    observed = float((a * r**2).sum())
    for end, target in ((low, tail), (high, 1 - tail)):
        upper = tails(observed, a, v + end, design).upper
        if end > 0:
            assert_allclose(upper, target, **ROOT)
        else:
            assert upper >= target * (1 - 1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(het.TAU2_INTERVALS))
def test_intervals_nest_and_follow_the_units(seed, interval):
    y, v, x = random_table(seed)
    inner = het.tau2_interval(y, v, x, level=0.5, interval=interval)
    outer = het.tau2_interval(y, v, x, level=0.95, interval=interval)
    assert 0 <= outer.low <= inner.low <= inner.high <= outer.high
    shifted = het.tau2_interval(10 * y + 3, 100 * v, x, level=0.95, interval=interval)
    assert_allclose(shifted, 100 * np.array(outer), rtol=1e-6, atol=1e-9 * v.min())


def test_no_spread_gives_the_point_zero_and_one_study_nothing():
    assert het.tau2_interval([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == (0, 0)
    assert het.tau2_interval([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], interval="GENQ") == (0, 0)
    for interval in het.TAU2_INTERVALS:
        assert np.isnan(het.tau2_interval([0.3], [0.1], interval=interval)).all()
        assert np.isnan(het.tau2_interval([0.3, 1], [0.1, 1], np.eye(2), interval=interval)).all()


def test_choices_and_data_are_checked():
    y, v = [0.1, 0.9, 0.2], [0.04, 0.05, 0.03]
    with pytest.raises(ValueError, match="interval must be one of 'GENQ', 'PL', 'QP', not 'wald'"):
        het.tau2_interval(y, v, interval="wald")
    with pytest.raises(ValueError, match="level must lie between 0 and 1, not 95"):
        het.tau2_interval(y, v, level=95)
    with pytest.raises(ValueError, match="level must lie between 0 and 1, not 95"):
        het.higgins_thompson_interval(3.0, 5, level=95)
    for weights in ([1, 1, 0], [1, 1], [1, 1, np.nan]):
        with pytest.raises(DataError, match="weights must be 3 finite numbers greater than 0"):
            het.tau2_interval(y, v, interval="GENQ", weights=weights)
    for interval in het.TAU2_INTERVALS:
        with pytest.raises(DataError, match="X must have full column rank"):
            het.tau2_interval(y, v, np.ones((3, 2)), interval=interval)
        with pytest.raises(DataError, match="vi = -1"):
            het.tau2_interval(y, [0.1, -1, 0.2], interval=interval)
