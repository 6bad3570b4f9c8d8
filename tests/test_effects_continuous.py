"""Effect sizes of two independent groups: hand calculations, printed values, other software, invariants."""

import json
from fractions import Fraction
from math import isqrt, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special, stats

from metamiq.effects.continuous import glass_delta, hedges_g, smd_heteroscedastic
from metamiq.effects.correction import small_sample_correction
from metamiq.effects.raw_means import log_cv_ratio, log_ratio_of_means, log_variability_ratio, mean_difference
from metamiq.effects.smd_interval import hedges_g_ci
from metamiq.errors import DataError

CLOSED_FORM = {"rtol": 1e-10}  # the same arithmetic in another order
PRINTED_10 = {"rtol": 1e-9}  # other software's value at the ten digits it printed

TABLES = json.loads((Path(__file__).parent / "reference" / "datasets.json").read_text())["tables"]
NORMAND = pd.DataFrame(TABLES["normand1999_means"]["columns"])
TWO_GROUPS = ["m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"]


def normand(rows: int = 4) -> list[np.ndarray]:
    return [NORMAND[name].to_numpy(dtype=float)[:rows] for name in TWO_GROUPS]


def test_textbook_example_by_hand():
    """Means 103 and 100, SDs 5.5 and 4.5, 50 each: the worked example of Borenstein et al. (2009), ch. 4."""
    d, vd = hedges_g(103, 5.5, 50, 100, 4.5, 50, correction="none", vtype="LS2")
    assert_allclose(d, 3 / sqrt((5.5**2 + 4.5**2) / 2), **CLOSED_FORM)
    assert_allclose(vd, 0.04178217822, **PRINTED_10)
    g, vg = hedges_g(103, 5.5, 50, 100, 4.5, 50, vtype="LS2")
    assert_allclose([g, vg], [0.592439623, 0.04114320731], **PRINTED_10)
    g, vg = hedges_g(103, 5.5, 50, 100, 4.5, 50, vtype="LS2", correction="approx")
    assert_allclose([g, vg], [0.5924415803, 0.04114347916], **PRINTED_10)


@pytest.mark.parametrize(
    ("vtype", "vi"),
    [
        ("LS", [0.01306467554, 0.0644688761, 0.04581211028, 0.1606177359]),
        ("LS2", [0.0130022562, 0.06290938925, 0.04552667479, 0.1557283376]),
        ("UB", [0.01306715039, 0.06452963218, 0.0462968455, 0.1663642906]),
        ("AV", [0.01437115278, 0.07095865431, 0.0306328209, 0.1241496432]),
    ],
)
def test_g_and_its_four_variances_on_normand(vtype, vi):
    g = hedges_g(*normand(), vtype=vtype)
    assert_allclose(g.yi, [-0.3551696409, -0.3479400227, -2.31756916, -1.887982253], **PRINTED_10)
    assert_allclose(g.vi, vi, **PRINTED_10)


def test_one_trial_in_other_software():
    """n 15 and 14, means 18.9 and 24.3, SDs 7.4 and 6.1: metafor LS, LS2, UB; statsmodels' approximate J; Glass."""
    trial = 18.9, 7.4, 15, 24.3, 6.1, 14
    assert_allclose(hedges_g(*trial), [-0.7712342, 0.14835045], rtol=1e-7)
    assert_allclose(hedges_g(*trial, vtype="LS2").vi, 0.14070354, rtol=1e-7)
    assert_allclose(hedges_g(*trial, vtype="UB").vi, 0.14987001, rtol=1e-7)
    assert_allclose(hedges_g(*trial, correction="approx").yi, -0.7712691, rtol=1e-7)
    assert_allclose(glass_delta(*trial), [-0.8330008, 0.16287704], rtol=1e-7)


def test_smdh_has_the_corrected_variance():
    """metafor 4.6 corrected the variance; these are its values, not those of 3.8."""
    g = smd_heteroscedastic(*normand())
    assert_allclose(g.yi, [-0.3553416016, -0.3464890755, -2.301791534, -1.887982253], **PRINTED_10)
    assert_allclose(g.vi, [0.01315480545, 0.06739171722, 0.05148033027, 0.1960559061], **PRINTED_10)


def test_glass_delta_equal_and_unequal_sds():
    g = glass_delta(*normand(2))
    assert_allclose(g.yi, [-0.310985052, -0.4877882486], **PRINTED_10)
    assert_allclose(g.vi, [0.01317184272, 0.06722583601], **PRINTED_10)
    unequal = glass_delta(*normand(2), heteroscedastic=True)
    assert_allclose(unequal.yi, g.yi, **CLOSED_FORM)
    assert_allclose(unequal.vi, [0.01026557731, 0.1381790975], **PRINTED_10)


def test_glass_delta_of_two_people_is_undefined():
    g = glass_delta(5, 2, 10, 4, 2, 2)
    assert np.isnan(g.yi)
    assert np.isnan(g.vi)


def test_glass_delta_needs_the_sd_of_group_1_only_when_sds_differ():
    assert np.isfinite(glass_delta(5, None, 10, 4, 2, 10).yi)
    with pytest.raises(DataError, match="sd1i must be given"):
        glass_delta(5, None, 10, 4, 2, 10, heteroscedastic=True)


def test_lajeunesse_correction_by_hand():
    u1, u2 = 1.2**2 / (5 * 6.0**2), 0.9**2 / (4 * 4.0**2)
    trial = 6.0, 1.2, 5, 4.0, 0.9, 4
    assert_allclose(log_ratio_of_means(*trial), [np.log(1.5) + (u1 - u2) / 2, u1 + u2], **CLOSED_FORM)
    assert_allclose(log_ratio_of_means(*trial, vtype="SO").vi, u1 + u2 + (u1**2 + u2**2) / 2, **CLOSED_FORM)
    assert_allclose(log_ratio_of_means(*trial, correct=False).yi, np.log(1.5), **CLOSED_FORM)


def test_lajeunesse_correction_gives_the_pooled_value_of_metafor_5():
    """On Curtis & Wang (1998), DerSimonian-Laird: 0.2519 corrected, 0.2531 plain, both with the first-order variance.

    The second-order variance would give 0.2516.
    """
    table = pd.DataFrame(TABLES["curtis1998_means"]["columns"])
    for correct, printed in ((True, 0.2519), (False, 0.2531)):
        yi, vi = log_ratio_of_means(*(table[name] for name in TWO_GROUPS), correct=correct)
        w = 1 / vi
        mean = np.sum(w * yi) / np.sum(w)
        Q = np.sum(w * (yi - mean) ** 2)
        tau2 = (Q - len(yi) + 1) / (np.sum(w) - np.sum(w**2) / np.sum(w))
        pooled = np.sum(yi / (vi + tau2)) / np.sum(1 / (vi + tau2))
        assert abs(pooled - printed) <= 0.5e-4


def test_j_against_exact_fractions():
    """J(m) J(m + 1) = (m - 1) / sqrt(m (m + 1)): exact in integers, on both sides of the switch to a series."""
    for m in (2, 3, 8, 18, 149, 150, 151, 1000, 10**6, 10**12):
        scale = 10**40
        exact = Fraction((m - 1) * scale, isqrt(m * (m + 1) * scale**2))
        product = small_sample_correction(m) * small_sample_correction(m + 1)
        assert_allclose(product, float(exact), rtol=5e-16)


def test_j_values_from_hedges_1981():
    """Ten digits from other software at m = 8, 18, 38; exact and approximate."""
    assert_allclose(small_sample_correction([8, 18, 38]), [0.9027033337, 0.957646427, 0.9801104021], **PRINTED_10)
    approx = small_sample_correction([8, 18, 38], "approx")
    assert_allclose(approx, [0.9032258065, 0.9577464789, 0.9801324503], **PRINTED_10)


def test_j_is_undefined_at_one_degree_of_freedom():
    assert np.isnan(small_sample_correction([1.0, 0.0, -3.0])).all()


def test_bad_rows_are_reported_together():
    with pytest.raises(DataError) as problem:
        hedges_g([1, 2, np.nan, 4], [1, -2, 1, 1], [1, 10, 10, 10], 0, [1, 1, 1, 0], 10)
    text = str(problem.value)
    assert "m1i must be a finite number, but row 3 has no value" in text
    assert "sd1i must be greater than 0, but row 2 has -2" in text
    assert "sd2i must be greater than 0, but row 4 has 0" in text
    assert "n1i must be at least 2, but row 1 has 1" in text


@pytest.mark.parametrize("option", [{"vtype": "XX"}, {"correction": "hedges"}])
def test_unknown_options_name_the_known_ones(option):
    with pytest.raises(ValueError, match="must be one of"):
        hedges_g(1, 1, 10, 0, 1, 10, **option)


def test_shapes_that_do_not_fit():
    with pytest.raises(DataError, match="one length"):
        hedges_g([1, 2, 3], [1, 1], 10, 0, 1, 10)


def test_exact_interval_inverts_the_noncentral_t():
    n1, n2 = np.array([20.0, 5, 100]), np.array([20.0, 9, 80])
    g = np.array([0.5, -1.2, 3.0])
    m, scale = n1 + n2 - 2, np.sqrt(1 / n1 + 1 / n2)
    low, high = hedges_g_ci(g, n1, n2, level=0.9)
    t = g / small_sample_correction(m) / scale
    assert_allclose(special.nctdtr(m, low / scale, t), 0.95, rtol=1e-8)
    assert_allclose(special.nctdtr(m, high / scale, t), 0.05, rtol=1e-7)


def test_exact_interval_covers_what_it_says():
    """Made-up normal samples: coverage of 4,000 intervals at 90% within three simulation errors."""
    rng = np.random.default_rng(1)
    n1, n2, delta = 6, 9, 0.8
    x, y = rng.normal(delta, 1, (4000, n1)), rng.normal(0, 1, (4000, n2))
    g, _ = hedges_g(x.mean(1), x.std(1, ddof=1), n1, y.mean(1), y.std(1, ddof=1), n2)
    low, high = hedges_g_ci(g, n1, n2, level=0.9)
    assert abs(np.mean((low < delta) & (delta < high)) - 0.9) < 3 * sqrt(0.9 * 0.1 / 4000)


def test_normal_interval_by_hand():
    low, high = hedges_g_ci(0.5, 20, 20, method="normal")
    half = stats.norm.ppf(0.975) * sqrt(0.1 + 0.25 / 80)
    assert_allclose([low, high], [0.5 - half, 0.5 + half], **CLOSED_FORM)


groups = st.tuples(
    st.floats(-50, 50),
    st.floats(0.5, 20),
    st.integers(2, 400),
    st.floats(-50, 50),
    st.floats(0.5, 20),
    st.integers(2, 400),
)
quick = settings(max_examples=40, deadline=None)


@quick
@given(groups)
def test_swapping_the_groups_turns_the_sign(x):
    there = hedges_g(*x), smd_heteroscedastic(*x), mean_difference(*x), log_variability_ratio(x[1], x[2], x[4], x[5])
    back = (
        hedges_g(*x[3:], *x[:3]),
        smd_heteroscedastic(*x[3:], *x[:3]),
        mean_difference(*x[3:], *x[:3]),
        log_variability_ratio(x[4], x[5], x[1], x[2]),
    )
    for one, other in zip(there, back, strict=True):
        assert_allclose(one.yi, -other.yi, rtol=1e-12, atol=1e-15)
        assert_allclose(one.vi, other.vi, rtol=1e-12)


@quick
@given(groups, st.floats(0.01, 100), st.floats(-20, 20))
def test_g_does_not_depend_on_the_units(x, factor, shift):
    rescaled = (x[0] * factor + shift, x[1] * factor, x[2], x[3] * factor + shift, x[4] * factor, x[5])
    for measure in (hedges_g, smd_heteroscedastic, glass_delta):
        # The shift costs digits of the difference of the means.
        assert_allclose(measure(*rescaled), measure(*x), rtol=1e-9, atol=1e-9)


@quick
@given(st.lists(groups, min_size=1, max_size=5))
def test_scalars_and_arrays_agree(rows):
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    together = hedges_g(*columns, vtype="UB")
    for i, row in enumerate(rows):
        one = hedges_g(*row, vtype="UB")
        assert isinstance(one.yi, float)
        assert_allclose([together.yi[i], together.vi[i]], one, rtol=1e-14)


def test_large_samples_need_no_correction():
    d = hedges_g(0.5, 1, 10**6, 0, 1, 10**6, correction="none")
    for vtype in ("LS", "LS2", "UB"):
        assert_allclose(hedges_g(0.5, 1, 10**6, 0, 1, 10**6, vtype=vtype), d, rtol=1e-5)
    assert_allclose(smd_heteroscedastic(0.5, 1, 10**6, 0, 1, 10**6), d, rtol=1e-5)


def test_unbiased_variance_is_unbiased():
    """Made-up samples of 5 and 5 at delta = 1: the mean of UB is the variance of g, within simulation error."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(1, 1, (200_000, 5)), rng.normal(0, 1, (200_000, 5))
    g, vi = hedges_g(x.mean(1), x.std(1, ddof=1), 5, y.mean(1), y.std(1, ddof=1), 5, vtype="UB")
    assert abs(g.mean() - 1) < 0.01
    assert abs(vi.mean() / g.var() - 1) < 0.02


def test_cv_ratio_is_sd_ratio_minus_mean_ratio():
    x = 6.0, 1.2, 5, 4.0, 0.9, 4
    cv, vr, rom = log_cv_ratio(*x), log_variability_ratio(1.2, 5, 0.9, 4), log_ratio_of_means(*x, correct=False)
    assert_allclose(cv, [vr.yi - rom.yi, vr.vi + rom.vi], **CLOSED_FORM)


@pytest.mark.parametrize("means", [(0.0, 4.0), (-1.0, 4.0)])
def test_ratio_of_means_needs_one_sign(means):
    with pytest.raises(DataError, match="same sign and not be 0"):
        log_ratio_of_means(means[0], 1, 5, means[1], 1, 5)
