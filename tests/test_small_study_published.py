"""Small-study effects, selection models and the p-curve against worked examples that others have published.

ThirdWave: 18 trials of third-wave psychotherapies (g and its standard error) that come with R's package dmetar,
analysed in Harrer, Cuijpers, Furukawa & Ebert (2021), Doing Meta-Analysis with R, chapter 9. What the book prints was
made by R's packages meta, metafor, metasens and dmetar. The six correlations are an example of the p-curve app
(p-curve.com) whose output stands beside the text of the book's first online edition.

No worked example with readable data was found for p-uniform* beyond passive smoking (test_p_value_methods.py), nor for
the worst case of Mathur & VanderWeele beyond the weighted means of robumeta (test_worst_case.py).
"""

from decimal import Decimal

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from metamiq.pooling.models import random_effects
from metamiq.sensitivity.limit import limit_meta_analysis
from metamiq.sensitivity.p_value_methods import p_curve
from metamiq.sensitivity.pet_peese import pet_peese
from metamiq.sensitivity.selection_models import selection_model
from metamiq.sensitivity.small_study import egger_test
from metamiq.sensitivity.trim_and_fill import trim_and_fill

# fmt: off
G = np.array([
    0.7091362, 0.3548641, 1.7911700, 0.1824552, 0.4218509, 0.6300000, 0.7248838, 0.5286638, 0.2840000,
    1.2750682, 0.1036082, 0.3883906, 0.5407398, 0.4261593, 0.5153969, 1.4797260, 0.6125782, 0.6000000,
])
SE = np.array([
    0.2608202, 0.1963624, 0.3455692, 0.1177874, 0.1448128, 0.1960000, 0.2246641, 0.2104609, 0.1680000,
    0.3371997, 0.1947275, 0.2307689, 0.2443133, 0.2579379, 0.3512737, 0.3152817, 0.2266834, 0.2490000,
])
N1 = np.array([62, 72, 44, 135, 103, 71, 69, 68, 95, 43, 79, 61, 62, 60, 43, 42, 64, 63])
N2 = np.array([51, 78, 41, 115, 100, 79, 62, 72, 80, 44, 72, 67, 59, 54, 41, 51, 66, 55])
# fmt: on
OUTLIERS = [2, 15]  # rows that the book leaves out of some analyses


@pytest.fixture(scope="module")
def third_wave():
    return random_effects(yi=G, vi=SE**2)


@pytest.fixture(scope="module")
def without_outliers():
    return random_effects(yi=np.delete(G, OUTLIERS), vi=np.delete(SE, OUTLIERS) ** 2)


def agrees(printed, computed):
    """Whether `computed` rounds to `printed` at the printed precision; a unit in the last place for cut digits."""
    unit = float(Decimal(1).scaleb(Decimal(printed).as_tuple().exponent))
    return abs(float(printed) - float(computed)) <= 0.5 * unit * (1 + 1e-9)


def check(printed, computed):
    wrong = [(p, float(c)) for p, c in zip(printed.split(), computed, strict=True) if not agrees(p, c)]
    assert not wrong


def test_egger(third_wave):
    ours = egger_test(third_wave)
    check("4.111 4.677 0.00025", [ours.intercept, ours.statistic, ours.p_value])
    # The ends of the book's interval, 2.347 to 5.875, lie 1.96 x 0.9 from its middle: dmetar takes the normal quantile
    # and a standard error of one decimal. Ours is the interval of the t test, and wider.
    assert_allclose(4.111 - 1.96 * round(ours.se, 1), 2.347, atol=1e-9)
    assert_allclose(ours.ci(), [2.247733, 5.974538], rtol=1e-6)


def test_trim_and_fill(third_wave, without_outliers):
    # meta trims under the fixed-effect model and pools under the fit's own.
    ours = trim_and_fill(third_wave, model="fixed-random")
    assert ours.k0 == 8
    check("0.3428 0.1015 0.5841 0.2557", [ours.estimate, ours.ci_low, ours.ci_high, ours.fit.tau2])
    filled = ours.filled.sort_values("yi")["yi"].to_numpy()
    check("-1.1391 -0.8277 -0.6230 -0.0729 -0.0571 0.0220 0.0395 0.0520", filled)
    ours = trim_and_fill(without_outliers, model="fixed-random")
    assert ours.k0 == 6
    check("0.3391 0.1904 0.4878 0.0421", [ours.estimate, ours.ci_low, ours.ci_high, ours.fit.tau2])


def test_pet_peese():
    # The book takes standard errors without the effect in them, as weights and as predictors.
    ours = pet_peese(random_effects(yi=G, vi=1 / N1 + 1 / N2))
    assert ours.chosen == "PET"
    check("-1.35 -0.44", [ours.pet.estimate, ours.peese.estimate])


def test_limit_meta_analysis(third_wave):
    ours = limit_meta_analysis(third_wave)
    assert agrees("-0.0345", ours.estimate)
    # The book cuts the study estimates after two digits.
    printed = [
        -0.05,
        -0.09,
        0.34,
        0,
        0.13,
        0.13,
        0.09,
        0,
        -0.05,
        0.04,
        -0.29,
        -0.18,
        -0.11,
        -0.25,
        -0.48,
        0.26,
        0,
        -0.09,
    ]
    assert_allclose(ours.shrunken["yi"], printed, atol=0.0101)
    # Its interval rests on the slope's error of a radial regression without tau2, as metasens had it; the metasens of
    # today (test_pet_peese.py) has the error of beta + tau alpha, which is ours and here wider.
    precision = 1 / SE
    earlier = 1 / np.sqrt(((precision - precision.mean()) ** 2).sum())
    half = stats.norm.ppf(0.975) * earlier
    check("-0.3630 0.2940", [ours.estimate - half, ours.estimate + half])
    assert_allclose(ours.se, 0.198870, rtol=1e-5)


@pytest.mark.parametrize(
    ("step", "printed"),
    [
        (0.025, "0.5893 0.1274 4.6260 0.3396 0.8390 0.0337 1.1500 0.8755"),
        (0.05, "0.3661 0.1755 2.0863 0.0222 0.7100 3.9970 0.1786 0.1665"),
    ],
)
def test_three_parameter_selection_model(third_wave, step, printed):
    ours = selection_model(third_wave, steps=(step,))
    found = [ours.estimate, ours.se, ours.statistic, *ours.ci(), ours.lrt, ours.delta[1], ours.delta_se[1]]
    # metafor's search stops earlier than ours: a unit in the last printed place.
    assert_allclose(found, [float(x) for x in printed.split()], atol=1.01e-4)


def as_divided_by_the_app(ours):
    """The half curve's test of flatness as the app and dmetar have it.

    They divide P(|Z| > z), at a power of one third, by the share of significant results that have p < 0.025 (0.71),
    not by the probability of p < 0.025 (0.24). What they combine is 1 less this ratio: two thirds or more for every
    result, and not uniform under their hypothesis, so that the test hardly ever finds a half curve flat.
    """

    def tail(shift, z):
        return stats.norm.sf(z - shift) + stats.norm.cdf(-z - shift)

    five, half = stats.norm.isf(0.025), stats.norm.isf(0.0125)
    third = optimize.brentq(lambda shift: tail(shift, five) - 1 / 3, 0.1, 5)
    z = stats.norm.isf(ours.p_values / 2)
    ratio = tail(third, z[z > half]) / (3 * tail(third, half))
    return stats.norm.ppf(1 - ratio).sum() / np.sqrt(len(ratio))


def test_p_curve(without_outliers):
    ours = p_curve(without_outliers)
    assert (ours.k, ours.k_significant, ours.half.k) == (16, 9, 8)
    check("0.020 -3.797 -2.743 0.003", [ours.binomial_p, ours.full.right_z, ours.half.right_z, ours.half.right_p])
    check("0.952 1.540 0.938", [ours.flat_binomial_p, ours.full.flat_z, ours.full.flat_p])
    check("0.66 0.311 0.878", [ours.power, *ours.power_ci(0.90)])
    assert ours.evidential
    assert not ours.inadequate
    # Of the half curve's flatness the book prints 3.422; ours has the right probability below.
    assert agrees("3.422", as_divided_by_the_app(ours))
    assert_allclose(ours.half.flat_z, 0.878085, rtol=1e-5)


def test_p_curve_of_the_app():
    r = np.array([0.2, 0.13, 0.36, 0.35, 0.36, 0.08])
    dof = np.array([98, 127, 183, 58, 144, 118])
    p = 2 * stats.t.sf(r * np.sqrt(dof / (1 - r**2)), dof)
    printed = [0.0460362864600541, 0.142000097517023, 4.8255102669259e-7, 0.00611873230761173, 8.07904976118934e-6]
    assert_allclose(p, [*printed, 0.385078772368438], rtol=1e-8)
    ours = p_curve(random_effects(yi=stats.norm.isf(p / 2), vi=np.ones(6)))
    assert (ours.k_significant, ours.half.k) == (4, 3)
    found = [ours.full.right_z, ours.full.right_p, ours.half.right_z, ours.half.right_p, ours.binomial_p]
    assert_allclose(found, [-3.811016, 0.00006919847, -4.744766, 0.000001043735, 0.3125], rtol=5e-7)


def test_flatness_and_power_of_the_app():
    # Against a power of one third the app uses noncentral F with the study's degrees of freedom, ours noncentral
    # chi-squared: close for such sizes, and on the same side.
    p = np.array([0.0460362864600541, 0.142000097517023, 4.8255102669259e-7, 0.00611873230761173, 8.07904976118934e-6])
    ours = p_curve(random_effects(yi=stats.norm.isf(p / 2), vi=np.ones(5)))
    assert_allclose([ours.full.flat_z, ours.flat_binomial_p], [2.27954, 0.745896], atol=0.08)
    assert_allclose([*ours.power_ci(0.90), ours.power], [0.5391935, 0.9884643, 0.9], atol=0.03)
