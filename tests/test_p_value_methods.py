"""p-uniform* against its own software and by brute force; the p-curve against its definitions.

The worked examples of the p-curve app and of R's dmetar are in test_small_study_published.py.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import optimize, stats

from metamiq.errors import DataError
from metamiq.pooling.models import random_effects
from metamiq.sensitivity.p_value_methods import p_curve, p_uniform_star

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]


def fit_of(name):
    return random_effects(pd.DataFrame(TABLES[name]["columns"])[["yi", "vi"]])


def brute_force(yi, vi):
    """The likelihood of p-uniform* written with scipy.stats."""
    cut = stats.norm.ppf(0.975) * np.sqrt(vi)

    def minus(x):
        s = np.sqrt(vi + x[1] ** 2)
        side = np.where(yi >= cut, stats.norm.logsf(cut, x[0], s), stats.norm.logcdf(cut, x[0], s))
        return -(stats.norm.logpdf(yi, x[0], s) - side).sum()

    starts = [(m, t) for m in (0.0, yi.mean(), yi.mean() / 2) for t in (0.05, 0.2, 0.5)]
    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
    found = [optimize.minimize(minus, x, method="Nelder-Mead", options=options) for x in starts]
    best = min(found, key=lambda r: r.fun)
    return best.x[0], best.x[1] ** 2, -best.fun


def test_p_uniform_star_of_passive_smoking():
    # R's package puniform: 0.19224863 (0.057574478 to 0.38724772), tau2 0.015490212; it stops at about 1e-5.
    ours = p_uniform_star(fit_of("hackshaw1998"))
    assert_allclose([ours.estimate, *ours.ci()], [0.19224863, 0.057574478, 0.38724772], rtol=2e-4)
    assert_allclose(ours.tau2, 0.015490212, rtol=2e-4)
    assert ours.k_significant == 7


@pytest.mark.parametrize("name", ["hackshaw1998", "baskerville2012", "dorn2007_RR", "normand1999_MD"])
def test_p_uniform_star_is_the_maximum(name):
    fit = fit_of(name)
    sign = 1 if fit.estimate > 0 else -1
    mean, tau2, loglik = brute_force(sign * fit.source.yi, fit.source.vi)
    ours = p_uniform_star(fit)
    assert_allclose(ours.loglik, loglik, atol=1e-7)
    assert_allclose(ours.estimate, sign * mean, rtol=1e-4)
    assert_allclose(ours.tau2, tau2, rtol=1e-3, atol=1e-6)


def test_profiles():
    ours = p_uniform_star(fit_of("hackshaw1998"))
    drop = stats.chi2.ppf(0.95, 1)
    for end in ours.ci():
        assert_allclose(ours._profile(end), drop, rtol=1e-6)
    low, high = ours.tau2_ci()
    assert low == 0.0
    assert_allclose(ours._profile_tau2(high), drop, rtol=1e-6)
    assert_allclose(ours.statistic**2, ours._profile(0.0), rtol=1e-9)
    wide = ours.ci(0.99)
    assert wide.low < ours.ci_low < ours.estimate < ours.ci_high < wide.high


def test_p_uniform_star_turns_with_the_sign():
    fit = fit_of("baskerville2012")
    flipped = random_effects(yi=-fit.source.yi, vi=fit.source.vi)
    ours, theirs = p_uniform_star(fit), p_uniform_star(flipped)
    assert_allclose(theirs.estimate, -ours.estimate, rtol=1e-7)
    assert_allclose(theirs.ci()[::-1], [-x for x in ours.ci()], rtol=1e-6)
    assert_allclose(theirs.tau2, ours.tau2, rtol=1e-6, atol=1e-10)
    scaled = p_uniform_star(random_effects(yi=3 * fit.source.yi, vi=9 * fit.source.vi))
    assert_allclose(scaled.estimate, 3 * ours.estimate, rtol=1e-6)


def test_p_uniform_star_recovers_a_mean_under_selection():
    # Synthetic: true effect 0.3, tau 0.1; one in ten nonsignificant results is seen.
    rng = np.random.default_rng(7)
    vi = rng.uniform(0.01, 0.09, 4000)
    yi = rng.normal(0.3, np.sqrt(vi + 0.01))
    seen = (yi / np.sqrt(vi) > 1.96) | (rng.uniform(size=4000) < 0.1)
    fit = random_effects(yi=yi[seen], vi=vi[seen])
    ours = p_uniform_star(fit)
    assert fit.estimate > 0.37
    assert_allclose(ours.estimate, 0.3, atol=3 * ours.se)
    assert ours.se < 0.02


def test_p_curve_by_its_definition():
    z = np.array([2.0, 2.3, 2.6, 3.4, 4.0, 1.2])
    ours = p_curve(random_effects(yi=z, vi=np.ones(6)))
    p = 2 * stats.norm.sf(z[:5])
    assert ours.k_significant == 5
    assert_allclose(np.sort(ours.p_values), np.sort(p))
    assert_allclose(ours.full.right_z, stats.norm.ppf(p / 0.05).sum() / np.sqrt(5))
    half = p[p < 0.025]
    assert ours.half.k == 4
    assert_allclose(ours.half.right_z, stats.norm.ppf(half / 0.025).sum() / np.sqrt(4))
    assert_allclose(ours.binomial_p, stats.binom.sf(3, 5, 0.5))
    # Squares of z are noncentral chi-squared with 1 degree of freedom; power 1/3 fixes its noncentrality.
    cut = stats.chi2.ppf(0.95, 1)
    shift = optimize.brentq(lambda c: stats.ncx2.sf(cut, 1, c) - 1 / 3, 0.1, 10)
    pp = stats.ncx2.sf(z[:5] ** 2, 1, shift) / (1 / 3)
    assert_allclose(ours.full.flat_p, stats.norm.sf(stats.norm.ppf(pp).sum() / np.sqrt(5)), rtol=1e-7)
    share = stats.ncx2.sf(stats.chi2.ppf(0.975, 1), 1, shift) / (1 / 3)
    assert_allclose(ours.flat_binomial_p, stats.binom.cdf(4, 5, share), rtol=1e-8)


def test_p_curve_power():
    ours = p_curve(random_effects(yi=[2.0, 2.3, 2.6, 3.4, 4.0, 3.1], vi=np.ones(6)))
    low, high = ours.power_ci()
    assert 0.05 <= low < ours.power < high <= 0.99
    cut = stats.chi2.ppf(0.95, 1)
    shift = optimize.brentq(lambda c: stats.ncx2.sf(cut, 1, c) - ours.power, 0.01, 50)
    z = np.array([2.0, 2.3, 2.6, 3.4, 4.0, 3.1])
    assert_allclose(stats.norm.ppf(stats.ncx2.sf(z**2, 1, shift) / ours.power).sum(), 0.0, atol=1e-6)


def test_p_curve_without_an_effect_and_with_one():
    # Synthetic: p-values spread evenly below 0.05; and z-values of studies with high power.
    even = stats.norm.isf(np.linspace(0.001, 0.049, 25) / 2)
    flat = p_curve(random_effects(yi=even, vi=np.ones(25)))
    assert not flat.evidential
    assert flat.inadequate
    assert_allclose(flat.histogram(), 0.2, atol=0.05)
    strong = p_curve(random_effects(yi=stats.norm.ppf(np.linspace(0.3, 0.97, 25), 3.5), vi=np.ones(25)))
    assert strong.evidential
    assert not strong.inadequate
    assert strong.power > 0.8


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 6).map(lambda x: round(x, 3)), min_size=3, max_size=15), st.floats(0.2, 5))
def test_p_curve_sign_and_scale(z, scale):
    z = np.array(z)
    here = random_effects(yi=z, vi=np.ones(len(z)))
    if (z > 1.96).sum() == 0:
        with pytest.raises(DataError, match="none of the"):
            p_curve(here)
        return
    ours = p_curve(here)
    for other in (-1.0, scale):
        theirs = p_curve(random_effects(yi=other * z, vi=np.full(len(z), other**2)))
        assert_allclose([theirs.full.right_p, theirs.full.flat_p], [ours.full.right_p, ours.full.flat_p], rtol=1e-7)
    assert 0.05 <= ours.power <= 0.99


def test_cautions_are_printed():
    fit = random_effects(yi=[0.5, 0.6, 0.7, -0.9, 0.4], vi=[0.02, 0.03, 0.05, 0.01, 0.1])
    curve, uniform = p_curve(fit), p_uniform_star(fit_of("bcg_RR"))
    assert any("Only 3 significant" in text for text in curve.cautions)
    assert any("against the mean's direction, and left out: 1 result." in text for text in curve.cautions)
    for result in (curve, uniform):
        assert all(text in result.summary() for text in result.cautions)
    with pytest.raises(ValueError, match="alternative must be"):
        p_uniform_star(fit, alternative="both")
