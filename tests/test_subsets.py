"""Subsets, bootstrap and permutations: against direct fits, other software and arithmetic."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

import metamiq as mm

YI, VI = np.array([0.1, 0.5, 0.9, 0.2, 0.6]), np.array([0.04, 0.02, 0.05, 0.03, 0.06])


@pytest.fixture
def hine():
    return mm.effect_sizes(mm.load_dataset("hine1989").trials, "RD")


def test_every_subset_is_there_once_and_right():
    fit = mm.random_effects(yi=YI, vi=VI)
    out = mm.subsets(fit).set_index("members")
    assert out.index.tolist() == list(range(1, 32))
    for members in (1, 3, 21, 31):
        rows = [i for i in range(5) if members >> i & 1]
        alone = mm.random_effects(yi=YI[rows], vi=VI[rows])
        got = out.loc[members, ["k", "estimate", "se", "tau2", "I2"]].astype(float)
        assert_allclose(got, [alone.k, alone.estimate, alone.se, alone.tau2, alone.I2], rtol=1e-8, atol=1e-12)
    assert len(mm.subsets(fit, smallest=3)) == 16


def test_subsets_match_the_fixed_effect_summaries_of_other_software(hine):
    # metafor 3.8 gosh() of dat.hine1989, fixed effect: 63 subsets, mean and median of the estimates.
    out = mm.subsets(mm.fixed_effect(hine))["estimate"]
    assert len(out) == 63
    assert_allclose([out.mean(), out.median(), out.std()], [0.02816965597, 0.02944432034, 0.007470255649], rtol=1e-9)


def test_a_sample_of_subsets_is_repeatable():
    rng = np.random.default_rng(0)
    fit = mm.random_effects(yi=rng.normal(size=30), vi=rng.uniform(0.1, 1, 30), method="DL", test="z")
    one, two = mm.subsets(fit, n=500, seed=4), mm.subsets(fit, n=500, seed=4)
    assert one.equals(two)
    assert len(one) == 500
    assert abs(one["k"].mean() - 15) < 1
    with pytest.raises(mm.DataError, match="63 bits"):
        mm.subsets(mm.random_effects(yi=np.zeros(64), vi=np.ones(64)))
    with pytest.raises(ValueError, match="n must be at least 1"):
        mm.subsets(fit, n=0)


def test_subsets_of_points_and_bounds():
    table = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")).iloc[:6]
    fit = mm.random_effects_bounded(table)
    out = mm.subsets(fit).set_index("members")
    assert len(out) == 63
    assert_allclose(out.loc[63, "estimate"], fit.estimate, rtol=1e-8)
    only_open = sum(1 << i for i in range(6) if np.isinf(table["yi_high"].iloc[i]))
    assert np.isnan(out.loc[only_open, "estimate"])  # nothing stops the mean from above


def test_bootstrap_of_cases_counts_rows():
    fit = mm.random_effects(yi=YI, vi=VI, method="DL", test="z")
    boot = mm.bootstrap(fit, n=300, seed=5)
    counts = np.random.default_rng(5).multinomial(5, np.full(5, 0.2), size=300)
    rows = np.repeat(np.arange(5), counts[7])
    assert_allclose(boot.estimate[7], mm.random_effects(yi=YI[rows], vi=VI[rows], method="DL").estimate, rtol=1e-10)
    assert mm.bootstrap(fit, n=300, seed=5).estimate.tolist() == boot.estimate.tolist()
    assert mm.bootstrap(fit, n=300, seed=6).estimate.tolist() != boot.estimate.tolist()
    low, high = boot.ci(0.9)
    assert_allclose([low, high], np.quantile(boot.estimate, [0.05, 0.95]))


def test_parametric_bootstrap_has_the_model_s_error():
    fit = mm.fixed_effect(yi=YI, vi=VI)
    boot = mm.bootstrap(fit, n=20_000, seed=1, kind="parametric")
    assert_allclose(boot.se, fit.se, rtol=0.02)  # Monte Carlo error of an SD from 20,000 draws: 0.5%
    assert abs(boot.bias) < 4 * fit.se / np.sqrt(20_000)
    low, high = boot.ci(method="bca")
    assert_allclose([low, high], fit.ci(), atol=0.05 * fit.se * 4)


def test_bca_of_a_symmetric_statistic_is_the_percentile_interval():
    y = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    fit = mm.fixed_effect(yi=y, vi=np.ones(5))
    boot = mm.bootstrap(fit, n=20_000, seed=2)
    assert_allclose(boot.ci(method="bca"), boot.ci(), atol=0.1)


def test_bootstrap_refuses():
    fit = mm.random_effects(yi=YI, vi=VI)
    with pytest.raises(ValueError, match="kind must be one of"):
        mm.bootstrap(fit, kind="wild")
    with pytest.raises(mm.DataError, match="at least two rows"):
        mm.bootstrap(mm.random_effects(yi=[1.0], vi=[1.0]))
    with pytest.raises(ValueError, match="method must be one of"):
        mm.bootstrap(fit, n=10).ci(method="t")


def test_sign_flips_by_hand():
    fit = mm.fixed_effect(yi=YI, vi=VI)
    test = mm.permutation_test(fit)
    w = 1 / VI
    z = [abs((w * YI * s).sum()) / np.sqrt(w.sum()) for s in itertools.product([1, -1], repeat=5)]
    assert (test.n, test.exact) == (32, True)
    assert test.p_value == np.mean(np.array(z) >= z[0] * (1 - 1e-9))


def test_exact_permutation_tests_of_hine1989(hine):
    # metafor 3.8 permutest() of dat.hine1989: p = 0.0625 for the mean.
    assert mm.permutation_test(mm.random_effects(hine, test="z"), n=64).p_value == 0.0625


def test_permutation_interval_of_follmann_and_proschan():
    # The interval holds the values of the mean that are not rejected: just inside it p is above 5%, outside below.
    rng = np.random.default_rng(3)
    vi = rng.uniform(0.05, 0.3, 8)
    yi = rng.normal(0.8, np.sqrt(vi))
    test = mm.permutation_test(mm.random_effects(yi=yi, vi=vi, method="DL", test="z"))
    low, high = test.ci()
    for end, inside in ((low, 1e-4), (high, -1e-4)):
        p_in = mm.permutation_test(mm.random_effects(yi=yi - end - inside, vi=vi, method="DL", test="z")).p_value
        p_out = mm.permutation_test(mm.random_effects(yi=yi - end + inside, vi=vi, method="DL", test="z")).p_value
        assert p_out < 0.05 <= p_in
    with pytest.raises(mm.DataError, match="No value can be rejected"):
        mm.permutation_test(mm.random_effects(yi=YI, vi=VI)).ci()


def test_orders_of_a_moderator():
    effects = mm.effect_sizes(mm.load_dataset("hine1989").trials, "RD").assign(x=[1.0, 2.0, 4.0, 3.0, 5.0, 6.0])
    reg = mm.meta_regression(effects, "x")
    exact = mm.permutation_test(reg, n=720)
    assert (exact.n, exact.exact) == (720, True)
    sample = mm.permutation_test(reg, n=600, seed=1)
    assert (sample.n, sample.exact) == (600, False)
    assert abs(sample.p_value - exact.p_value) < 0.1
    # One moderator: the omnibus F is the square of its t.
    assert exact.table.loc["x", "p_permutation"] == exact.table.loc["moderators", "p_permutation"]
    with pytest.raises(mm.DataError, match="too many to try"):
        mm.permutation_test(mm.random_effects(yi=np.zeros(30), vi=np.ones(30)), exact=True)
