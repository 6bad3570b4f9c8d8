"""Henmi-Copas, profile-likelihood and bootstrap intervals: as printed, by a second way, and by their properties."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

from metamiq.pooling import intervals
from metamiq.pooling.quadratic_form import tails

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
HC = [
    case
    for case in json.loads((REFERENCE / "intervals.json").read_text(encoding="utf-8"))["cases"]
    if case["interval"] == "HC"
]

# Cisapride against placebo, 13 trials: Hartung & Knapp (2001), Statistics in Medicine 20, 3875-3889, as log odds ratios
# with 0.5 added to every cell; the counts are those in the introduction of R's pimeta.
EVENTS_1 = np.array([15, 12, 29, 42, 14, 44, 14, 29, 10, 17, 38, 19, 21])
N_1 = np.array([16, 16, 34, 56, 22, 54, 17, 58, 14, 26, 44, 29, 38])
EVENTS_2 = np.array([9, 1, 18, 31, 6, 17, 7, 23, 3, 6, 12, 22, 19])
N_2 = np.array([16, 16, 34, 56, 22, 55, 15, 58, 15, 27, 45, 30, 38])
CELLS = np.array([EVENTS_1, N_1 - EVENTS_1, EVENTS_2, N_2 - EVENTS_2]) + 0.5
CISAPRIDE = (np.log(CELLS[0] * CELLS[3] / CELLS[1] / CELLS[2]), (1 / CELLS).sum(axis=0))


def agrees(printed: str, computed: float) -> bool:
    """Whether `computed` rounds to `printed` at the precision of the print."""
    half_unit = Decimal(1).scaleb(Decimal(printed).as_tuple().exponent) / 2
    return abs(Decimal(repr(float(computed))) - Decimal(printed)) <= half_unit


def data(name):
    columns = TABLES[name]["columns"]
    return np.array(columns["yi"]), np.array(columns["vi"])


def random_table(seed, most=15):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, most))
    v = 10 ** rng.uniform(-2, 1, k)
    return rng.normal(size=k) * np.sqrt(v + 10 ** rng.uniform(-3, 1)), v


def test_henmi_copas_as_printed():
    """Henmi & Copas (2010), page 2978: acupuncture for nausea."""
    hc = intervals.henmi_copas(*data("lee2004_OR"))
    for printed, computed in (("-0.5145", hc.estimate), ("-0.9994", hc.interval.low), ("-0.0295", hc.interval.high)):
        assert agrees(printed, computed)
    assert agrees("0.3325", hc.tau2)


@pytest.mark.parametrize("case", HC, ids=[case["id"] for case in HC])
def test_henmi_copas_matches_metafor(case):
    hc = intervals.henmi_copas(*data(case["table"]))
    ours = [hc.estimate, hc.se, hc.interval.low, hc.interval.high]
    theirs = [case[name] for name in ("estimate", "se", "ci_low", "ci_high")]
    # Their quadrature and root are good to about 1e-8 of the interval's width.
    assert_allclose(ours, theirs, rtol=0, atol=1e-7 * (theirs[3] - theirs[2]))


def test_henmi_copas_without_heterogeneity():
    """At tau2 = 0 the mean and Q are independent, Q exactly chi-squared: the quantile by another integral."""
    y, v = np.array([0.3, 0.2, 0.25, 0.4, 0.1]), np.array([0.1, 0.2, 0.05, 0.3, 0.15])
    w = 1 / v
    hc = intervals.henmi_copas(y, v, level=0.9)
    assert hc.tau2 == 0
    u = (hc.interval.high - hc.estimate) * np.sqrt(w.sum())
    per_tau2 = w.sum() - (w**2).sum() / w.sum()

    def inside(q):  # P(|Z| <= u sqrt(1 + tau2_DL(q) W2 / W1)) times the density of q
        tau2 = max(0.0, (q - 4) / per_tau2)
        return (1 - 2 * stats.norm.sf(u * np.sqrt(1 + tau2 * (w**2).sum() / w.sum()))) * stats.chi2.pdf(q, 4)

    coverage = integrate.quad(inside, 0, 4)[0] + integrate.quad(inside, 4, np.inf)[0]
    assert_allclose(coverage, 0.9, atol=1e-9)


@pytest.mark.parametrize(
    ("y", "v", "ends"),
    [
        ([0.4, -0.8], [1.0, 1e-7], [-1121.7392815122, 1120.1392817522]),
        ([0.4, -0.8, 1.5, 0.2], [1.0, 1e-3, 1e-6, 1e-10], [-5.7601454334908, 6.1604052075274]),
    ],
)
def test_henmi_copas_keeps_its_digits_beside_a_study_with_all_the_weight(y, v, ends):
    """With 40 digits and dense matrices the probability within these ends is 0.95 to the 13th decimal."""
    assert_allclose(intervals.henmi_copas(y, v).interval, ends, rtol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_henmi_copas_follows_units_and_level(seed):
    y, v = random_table(seed)
    hc, wide = intervals.henmi_copas(y, v), intervals.henmi_copas(y, v, level=0.99)
    assert wide.interval.low < hc.interval.low < hc.estimate < hc.interval.high < wide.interval.high
    moved = intervals.henmi_copas(5 - 2 * y, 4 * v)
    expected = [5 - 2 * hc.interval.high, 5 - 2 * hc.interval.low]
    assert_allclose(moved.interval, expected, rtol=1e-7, atol=1e-7 * hc.se)


def negative_loglik(mu, tau2, y, v):
    return 0.5 * float((np.log(2 * np.pi * (v + tau2)) + (y - mu) ** 2 / (v + tau2)).sum())


def by_grid(mu, y, v):
    """The profile by brute force: the best of 4,000 values of tau2, polished by a bounded search."""
    grid = np.append(0.0, np.geomspace(1e-6, 1e4, 4000))
    s = v + grid[:, None]
    heights = 0.5 * (np.log(2 * np.pi * s) + (y - mu) ** 2 / s).sum(axis=1)
    best = int(heights.argmin())
    around = (grid[max(best - 1, 0)], grid[min(best + 1, 4000)])
    found = optimize.minimize_scalar(
        lambda x: negative_loglik(mu, x, y, v), bounds=around, method="bounded", options={"xatol": 1e-12}
    )
    return min(float(heights[best]), float(found.fun))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.8, 0.95]))
def test_profile_likelihood_ends_by_brute_force(seed, level):
    y, v = random_table(seed)
    low, high = intervals.profile_likelihood_mean(y, v, level=level)
    means = np.linspace(low, high, 41)
    best = min(by_grid(mu, y, v) for mu in means)
    drop = 0.5 * stats.chi2.isf(1 - level, 1)
    for end in (low, high):
        # The true peak lies between two of the 41 means: at most a hair above the best of them.
        assert drop - 0.02 <= by_grid(end, y, v) - best <= drop + 1e-6


def test_profile_likelihood_with_equal_variances_by_hand():
    # With v + tau2 free, 2 (max l - l(mu)) = k ln(1 + (mean - mu)^2 / s^2), s^2 the maximum-likelihood variance.
    y, v = np.array([0.0, 3.0, 5.0, 9.0, 1.0]), 0.5
    half = np.sqrt(y.var() * np.expm1(stats.chi2.isf(0.05, 1) / 5))
    expected = [y.mean() - half, y.mean() + half]
    assert_allclose(intervals.profile_likelihood_mean(y, np.full(5, v)), expected, rtol=1e-9)


def test_profile_likelihood_without_heterogeneity_starts_as_the_normal_interval():
    y, v = np.array([0.30, 0.31, 0.29]), np.array([1.0, 2.0, 1.5])
    w = 1 / v
    mean = (w * y).sum() / w.sum()
    half = 1.959963984540054 / np.sqrt(w.sum())
    # While tau2 stays at 0 the profile is a parabola; here it leaves 0 only beyond the ends at 50%.
    low, high = intervals.profile_likelihood_mean(y, v, level=0.5)
    assert_allclose([low, high], [mean + s * stats.norm.ppf(0.75) / np.sqrt(w.sum()) for s in (-1, 1)], rtol=1e-9)
    low, high = intervals.profile_likelihood_mean(y, v)
    assert high - low > 2 * half


def test_nagashima_as_printed():
    """R's pimeta 1.1 on the cisapride trials, 25,000 draws: odds ratios 0.533 to 33.692, of the mean 2.224 to 7.820."""
    mean, new = intervals._bootstrap(*CISAPRIDE, 400_000, np.random.default_rng(1))
    # Their quantiles have standard errors of about 0.02 (new study) and 0.005 (mean) on the log scale.
    assert_allclose(np.quantile(new, [0.025, 0.975]), np.log([0.533, 33.692]), atol=0.05)
    assert_allclose(np.quantile(mean, [0.025, 0.975]), np.log([2.224, 7.820]), atol=0.015)
    assert_allclose((new < 0).mean(), 0.075, atol=0.005)


@pytest.mark.parametrize("seed", range(6))
def test_tau2_draws_are_quantiles_of_the_exact_distribution(seed):
    y, v = random_table(seed, most=30)
    a, x = 1 / v, np.ones((len(y), 1))
    q = float((a * (y - (a * y).sum() / a.sum()) ** 2).sum())
    levels = np.array([1e-4, 0.01, 0.1, 0.3, 0.5, 0.8, 0.95, 0.999, 1 - 1e-6])
    at_zero = tails(q, a, v, x).upper
    for level, tau2 in zip(levels, intervals._tau2_quantiles(y, v, levels), strict=True):
        if tau2 == 0:
            assert level <= at_zero
        else:
            # The table's interpolation is good to 1e-3 of tau2.
            assert (
                tails(q, a, v + 0.999 * tau2, x).upper - 1e-9 <= level <= tails(q, a, v + 1.001 * tau2, x).upper + 1e-9
            )


def test_nagashima_with_many_large_studies_is_the_normal_interval():
    rng = np.random.default_rng(3)  # invented data
    y, v = rng.normal(0.4, 0.5, 300), np.full(300, 1e-4)
    low, high = intervals.nagashima(y, v, n=40_000, seed=1)
    assert_allclose([low, high], y.mean() + np.array([-1, 1]) * 1.96 * y.std(), atol=0.06)


def test_nagashima_is_repeatable_and_widens_with_the_level():
    y, v = data("normand1999_SMD")
    assert intervals.nagashima(y, v, n=2000, seed=7) == intervals.nagashima(y, v, n=2000, seed=7)
    assert intervals.nagashima(y, v, n=2000, seed=7) != intervals.nagashima(y, v, n=2000, seed=8)
    inner, outer = (intervals.nagashima(y, v, n=2000, level=level) for level in (0.8, 0.99))
    assert outer.low < inner.low < inner.high < outer.high


def test_nagashima_without_any_spread():
    assert_allclose(intervals.nagashima([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], n=100), [1, 1])


def test_one_effect_size_has_no_such_interval():
    hc = intervals.henmi_copas([0.4], [0.1])
    assert hc.estimate == 0.4
    assert np.isnan(hc.interval).all()
    assert np.isnan(intervals.profile_likelihood_mean([0.4], [0.1])).all()
    assert np.isnan(intervals.nagashima([0.4], [0.1])).all()


@pytest.mark.parametrize("interval", [intervals.henmi_copas, intervals.profile_likelihood_mean, intervals.nagashima])
def test_choices_are_checked(interval):
    with pytest.raises(ValueError, match="level must lie between 0 and 1, not 95"):
        interval([0.1, 0.2], [0.1, 0.1], level=95)
    with pytest.raises(ValueError, match="vi = 0"):
        interval([0.1, 0.2], [0.1, 0.0])


def test_number_of_draws_is_checked():
    with pytest.raises(ValueError, match="n must be at least 1, not 0"):
        intervals.nagashima([0.1, 0.2], [0.1, 0.1], n=0)
