"""The simulation harness. All data are made by chance here, under a truth that the test states."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from metamiq import batch
from metamiq.effects.correction import small_sample_correction
from metamiq.sensitivity.simulated_trials import SimulationDesign, as_designs, blocks, draw
from metamiq.sensitivity.simulation import Bounded, Estimates, Pooled, simulate

CLOSED_FORM = {"rtol": 1e-12}
SIGMAS = 5  # Monte Carlo standard errors: one test in a million fails by chance, and seeds are fixed


def close(a, b, mcse):
    return abs(a - b) <= SIGMAS * mcse


# The trials


def test_g_has_the_distribution_of_its_noncentral_t():
    n, d = 12, 0.7
    sample = draw(SimulationDesign(k=1, mu=d, arms=(n, n)), 20_000, 3)
    m = 2 * n - 2
    scale = small_sample_correction(m) * np.sqrt(2 / n)
    law = stats.nct(m, d / np.sqrt(2 / n))
    assert stats.kstest(sample.full_yi[:, 0] / scale, law.cdf).pvalue > 0.001
    assert close(sample.full_yi.mean(), d, sample.full_yi.std() / np.sqrt(20_000))  # J makes it unbiased


def test_true_effects_spread_with_tau2():
    sample = draw(SimulationDesign(k=5, mu=0.2, tau2=0.3, arms=(3000, 3000)), 4000, 5)
    g = sample.full_yi.ravel()
    assert close(g.var(), 0.3 + 2 / 3000, 0.3 * np.sqrt(2 / len(g)))


def test_variance_is_that_of_a_reported_g():
    s = draw(SimulationDesign(k=6, mu=0.5), 50, 1)
    assert_allclose(s.full_vi, 1 / s.n1i + 1 / s.n2i + s.full_yi**2 / (2 * (s.n1i + s.n2i)), **CLOSED_FORM)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["all", "nonsignificant"]),
    st.integers(0, 2**32),
)
def test_a_bound_holds_the_g_it_hides(mu, tau2, share, among, seed):
    design = SimulationDesign(k=8, mu=mu, tau2=tau2, bounds=share, bounds_among=among, arms=(2, 30))
    s = draw(design, 20, seed)
    hidden = s.is_bound
    assert ((s.yi_low < s.full_yi) & (s.full_yi < s.yi_high))[hidden].all()
    assert_array_equal(s.yi[~hidden], s.full_yi[~hidden])
    assert np.isnan(s.yi_low[~hidden]).all()
    assert ((s.n1i >= 2) & (s.n1i <= 30)).all()
    if among == "all":
        assert (hidden.sum(axis=1) == round(8 * share)).all()
    else:
        assert np.isfinite(s.yi_high[hidden]).all()  # no significant trial among them


def test_a_verdict_is_that_of_the_t_test():
    s = draw(SimulationDesign(k=10, mu=0.4, tau2=0.2, bounds=1.0), 200, 11)
    m = s.n1i + s.n2i - 2
    t = s.full_yi / small_sample_correction(m) / np.sqrt(1 / s.n1i + 1 / s.n2i)
    significant = 2 * stats.t.sf(np.abs(t), m) < 0.05
    assert_array_equal(np.isinf(s.yi_low) | np.isinf(s.yi_high), significant)


def test_selection_hides_what_is_not_significant_in_favour():
    sample = draw(SimulationDesign(k=10, mu=0.0, arms=(20, 20), selection=0.1), 400, 2)
    share = 0.025 / (0.025 + 0.975 * 0.1)
    c = small_sample_correction(38) * stats.t.ppf(0.975, 38) * np.sqrt(0.1)
    assert close((sample.full_yi > c).mean(), share, np.sqrt(share * (1 - share) / 4000))


def test_same_seed_same_trials():
    one, two = (draw(SimulationDesign(k=5, tau2=0.1, selection=0.5), 30, 9) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert_array_equal(a, b)
    assert not np.array_equal(one.full_yi, draw(SimulationDesign(k=5, tau2=0.1, selection=0.5), 30, 10).full_yi)


# The measures


def known(sample, level):
    """Estimates whose measures can be counted by hand: two meta-analyses, and one that fails."""
    r = len(sample.yi)
    estimate = np.resize([0.3, 0.7, np.nan], r)
    return Estimates(estimate, np.resize([-0.1, 0.6, np.nan], r), np.resize([0.5, 0.8, np.nan], r))


def test_measures_by_hand():
    row = simulate(SimulationDesign(k=2, mu=0.4), {"known": known}, n=3).iloc[0]
    assert row["estimator"] == "known"
    assert (row["n"], row["converged"]) == (3, 2 / 3)
    assert_allclose(
        row[["mean", "bias", "coverage", "width", "power"]].astype(float), [0.5, 0.1, 0.5, 0.4, 0.5], **CLOSED_FORM
    )
    sd = np.sqrt(0.08)
    assert_allclose(row["empirical_se"], sd, **CLOSED_FORM)
    assert_allclose(row["bias_mcse"], sd / np.sqrt(2), **CLOSED_FORM)
    assert_allclose(row["empirical_se_mcse"], sd / np.sqrt(2), **CLOSED_FORM)
    assert_allclose([row["coverage_mcse"], row["power_mcse"]], 0.5 / np.sqrt(2), **CLOSED_FORM)


def test_nothing_converged_is_nan():
    def never(sample, level):
        return Estimates(*[np.full(len(sample.yi), np.nan)] * 3)

    row = simulate(SimulationDesign(k=2), {"never": never}, n=4).iloc[0]
    assert row["converged"] == 0
    assert row[["mean", "bias", "bias_mcse", "coverage", "width", "power"]].isna().all()


def test_a_normal_mean_of_like_trials_covers_as_it_claims():
    """tau2 = 0 and large arms: the fixed-effect interval is exact there."""
    designs = SimulationDesign(k=5, mu=0.2, arms=(400, 400))
    for level in (0.8, 0.95):
        row = simulate(designs, {"FE": Pooled("full", "FE", "z")}, n=3000, seed=4, level=level).iloc[0]
        assert close(row["coverage"], level, row["coverage_mcse"])
        z = stats.norm.ppf((1 + level) / 2)
        se = np.sqrt((2 / 400 + 0.04 / 1600) / 5)
        assert_allclose(row["width"], 2 * z * se, rtol=1e-2)
        power = stats.norm.sf(z - 0.2 / se) + stats.norm.cdf(-z - 0.2 / se)
        assert close(row["power"], power, max(row["power_mcse"], 2e-3))


def test_bounds_carry_what_is_in_them_and_g_of_zero_does_not():
    table = simulate(
        {"k": 40, "mu": 0.4, "tau2": 0.1, "bounds": 0.5}, ["bounded", "zero", "points", "full"], n=500, seed=2
    ).set_index("estimator")
    assert abs(table.loc["bounded", "bias"]) < 0.03
    assert table.loc["zero", "bias"] < -0.05
    assert table.loc["zero", "coverage"] < 0.7
    assert table.loc["bounded", "coverage"] > 0.9
    assert table.loc["full", "width"] < table.loc["bounded", "width"] < table.loc["points", "width"]


def test_dropping_bounds_of_nonsignificant_trials_alone_is_biased_and_the_model_is_not():
    design = SimulationDesign(k=40, mu=0.2, tau2=0.05, bounds=1.0, bounds_among="nonsignificant")
    table = simulate(design, ["bounded", "points"], n=400, seed=6).set_index("estimator")
    assert table.loc["points", "bias"] > 0.2
    assert abs(table.loc["bounded", "bias"]) < 0.03


def test_estimators_are_the_fits_of_the_sample():
    design = SimulationDesign(k=8, mu=0.3, bounds=0.5)
    sample = draw(design, 20, 8)
    bounded = batch.random_effects_bounded(*sample[:6], level=0.9)
    for ours, theirs in zip(Bounded()(sample, 0.9), (bounded.estimate, *bounded.ci()), strict=True):
        assert_array_equal(ours, theirs)
    points = batch.random_effects(sample.yi[:, 4:], sample.vi[:, 4:], method="DL", test="z", level=0.9)
    assert_allclose(Pooled("points", "DL", "z")(sample, 0.9).estimate, points.estimate, rtol=1e-10)
    zero = Pooled("zero")(sample, 0.9).estimate
    y = np.where(sample.is_bound, 0.0, sample.yi)
    up, down = np.isinf(sample.yi_high), np.isinf(sample.yi_low)
    y[up], y[down] = sample.yi_low[up], sample.yi_high[down]
    v = 1 / sample.n1i + 1 / sample.n2i + y**2 / (2 * (sample.n1i + sample.n2i))
    assert_allclose(zero, batch.random_effects(y, v).estimate, rtol=1e-10)


def test_points_of_none_do_not_converge():
    row = simulate(SimulationDesign(k=3, bounds=1.0), ["points"], n=5).iloc[0]
    assert row["converged"] == 0


# The grid


def test_grid_is_every_combination_in_order():
    table = simulate({"k": [3, 4], "mu": 0.1, "bounds": [0.0, 1.0], "arms": (10, 12)}, ["full"], n=2)
    assert table[["k", "bounds"]].to_numpy().tolist() == [[3, 0], [3, 1], [4, 0], [4, 1]]
    assert (table["mu"] == 0.1).all()
    assert table["arms"].tolist() == [(10, 12)] * 4
    assert [(d.k, d.arms) for d in as_designs([SimulationDesign(k=2), SimulationDesign(k=3)])] == [
        (2, (20, 60)),
        (3, (20, 60)),
    ]


def test_blocks_hold_every_replication():
    assert blocks(600, 250) == [250, 250, 100]
    assert simulate(SimulationDesign(k=2), ["full"], n=501)["n"].item() == 501


# Workers

GRID = {"k": [4, 6], "mu": 0.3, "tau2": 0.05, "bounds": 0.5}


def test_bits_are_the_same_whatever_the_workers():
    pytest.importorskip("joblib")
    alone = simulate(GRID, n=300, seed=12)
    pd.testing.assert_frame_equal(simulate(GRID, n=300, seed=12, n_jobs=2), alone, check_exact=True)
    assert not alone["mean"].equals(simulate(GRID, n=300, seed=13)["mean"])


def test_an_active_parallel_config_is_used():
    joblib = pytest.importorskip("joblib")
    alone = simulate(GRID, n=300, seed=12)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        shared = simulate(GRID, n=300, seed=12)
    pd.testing.assert_frame_equal(shared, alone, check_exact=True)


def test_a_local_dask_cluster_gives_the_same_bits():
    joblib = pytest.importorskip("joblib")
    distributed = pytest.importorskip("distributed")
    alone = simulate(GRID, n=300, seed=12)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        shared = simulate(GRID, n=300, seed=12)
    pd.testing.assert_frame_equal(shared, alone, check_exact=True)


def test_workers_without_joblib_are_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"n_jobs=2 needs joblib.*metamiq\[parallel\]"):
        simulate(GRID, n=4, n_jobs=2)
    assert len(simulate(GRID, ["full"], n=4)) == 2


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be a whole number"),
        ({"k": 2.5}, "k must be a whole number"),
        ({"k": 3, "tau2": -1.0}, "tau2 must be finite and not negative"),
        ({"k": 3, "arms": (30, 20)}, "arms must be two sizes"),
        ({"k": 3, "arms": (1, 20)}, "arms must be two sizes"),
        ({"k": 3, "bounds": 1.5, "selection": 0.0}, r"bounds must lie .*; selection must be above 0"),
        ({"k": 3, "bounds_among": "some"}, "bounds_among must be one of 'all', 'nonsignificant'"),
    ],
)
def test_a_design_that_cannot_be_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimulationDesign(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"designs": {"k": 3, "size": 2}}, "must give k, and otherwise only .*this one gives k, size"),
        ({"designs": {"mu": 3}}, "must give k"),
        ({"designs": []}, "designs must be a SimulationDesign"),
        ({"designs": {"k": 3}, "estimators": ["REML"]}, "among 'bounded', 'full', 'points', 'zero'.*not 'REML'"),
        ({"designs": {"k": 3}, "estimators": []}, "not none"),
        ({"designs": {"k": 3}, "estimators": {"a": 1}}, "must be a function.*'a'"),
        ({"designs": {"k": 3}, "n": 0}, "n must be a whole number"),
        ({"designs": {"k": 3}, "level": 95}, "level must lie between 0 and 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)


def test_rows_must_be_known():
    with pytest.raises(ValueError, match="rows must be one of 'full', 'points', 'zero', not 'all'"):
        Pooled("all")
