"""Two-by-two tables: printed values, zero cells, conversions, invariants."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from metamiq.effects.association import (
    or_to_d,
    phi_coefficient,
    probit_difference,
    tetrachoric,
    yule_q,
    yule_y,
)
from metamiq.effects.binary import (
    arcsine_difference,
    log_odds_ratio,
    log_risk_ratio,
    peto_log_odds_ratio,
    risk_difference,
)
from metamiq.effects.cells_2x2 import two_by_two
from metamiq.effects.proportion import arcsine_proportion, freeman_tukey, logit_proportion, proportion
from metamiq.errors import DataError

PRINTED_10 = {"rtol": 1e-9}  # other software's value at the ten digits it printed
TABLES = json.loads((Path(__file__).parent / "reference" / "datasets.json").read_text())["tables"]
BCG_1 = 4, 123, 11, 139  # Aronson 1948: 4 of 123 against 11 of 139
FLEISS = 135, 150, 40, 50  # Fleiss & Berlin 2009, Table 13.4: a 135 b 15 c 40 d 10


@pytest.mark.parametrize(
    ("measure", "yi", "vi"),
    [
        (log_risk_ratio, -0.8893113339, 0.325584765),
        (log_odds_ratio, -0.9386941409, 0.3571249523),
        (risk_difference, -0.04661636544, 0.0007800686649),
        (arcsine_difference, -0.1038355771, 0.003831081476),
        (peto_log_odds_ratio, -0.8603833473, 0.2828361819),
    ],
)
def test_one_bcg_trial(measure, yi, vi):
    assert_allclose(measure(*BCG_1), [yi, vi], **PRINTED_10)


@pytest.mark.parametrize(
    ("measure", "yi", "se"),
    [
        (phi_coefficient, 0.1309307341, 0.07891095472),
        (yule_q, 0.3846153846, 0.1900873184),
        (yule_y, 0.2, 0.1070825227),
        (probit_difference, 0.439930332, 0.2455772025),
        (or_to_d, 0.4470892604, 0.2459903707),
    ],
)
def test_fleiss_and_berlin(measure, yi, se):
    effect = measure(*FLEISS)
    assert_allclose([effect.yi, effect.vi**0.5], [yi, se], **PRINTED_10)


def test_or_to_d_with_a_normal_outcome():
    effect = or_to_d(*FLEISS, distribution="normal")
    assert_allclose([effect.yi, effect.vi**0.5], [0.4914728583, 0.2704104108], **PRINTED_10)


def test_tetrachoric_solves_its_equation():
    """metafor 3.8 prints 0.260255405 (SE 0.1422868222): its optimiser stops 1.3e-5 short of the root."""
    r, v = tetrachoric(*FLEISS)
    h, k = stats.norm.ppf([150 / 200, 175 / 200])
    angle, weight = np.polynomial.legendre.leggauss(80)
    angle, weight = (angle + 1) / 2 * np.arcsin(r), weight / 2 * np.arcsin(r)
    grown = np.exp(-(h**2 + k**2 - 2 * h * k * np.sin(angle)) / (2 * np.cos(angle) ** 2)) @ weight / (2 * np.pi)
    assert_allclose(0.75 * 0.875 + grown, 135 / 200, rtol=1e-13)
    assert abs(r - 0.260255405) < 2e-5
    assert abs(v**0.5 - 0.1422868222) < 2e-6


def test_tetrachoric_of_an_even_table_is_a_sine():
    """Cut at both medians, the probability of cell 11 is 1/4 + arcsin(r) / (2 pi)."""
    for a in (5, 12, 20, 33):
        r, _ = tetrachoric(a, 40, 40 - a, 40)
        assert_allclose(r, np.sin(2 * np.pi * (a / 80 - 0.25)), rtol=1e-10, atol=1e-12)


def test_tetrachoric_variance_is_that_of_simulated_tables():
    rng = np.random.default_rng(3)
    counts = rng.multinomial(2000, [0.4, 0.2, 0.1, 0.3], size=4000).astype(float)
    a, b, c, d = counts.T
    effect = tetrachoric(a, None, c, None, bi=b, di=d)
    assert abs(effect.vi.mean() / effect.yi.var() - 1) < 0.08  # three errors of a variance from 4,000 draws


def test_hine_1989_risk_differences_in_points():
    """Normand (1999), Table III."""
    table = pd.DataFrame(TABLES["hine1989_counts"]["columns"])
    yi, vi = risk_difference(table["ai"], table["n1i"], table["ci"], table["n2i"])
    assert_allclose(
        100 * yi, [2.802623733, 0, 1.971112999, 1.796116505, 3.533447684, 4.403131115], rtol=1e-9, atol=1e-12
    )
    assert_allclose(
        1e4 * vi, [17.75747745, 37.56574005, 8.13233989, 10.89975195, 8.011403299, 6.132030614], **PRINTED_10
    )


def test_zero_cell_adds_a_half_to_that_table_only():
    yi, vi = log_odds_ratio([0, 4], [10, 123], [4, 11], [10, 139])
    assert_allclose([yi[0], vi[0]], [-2.676797658, 2.471306471], **PRINTED_10)
    assert_allclose([yi[1], vi[1]], log_odds_ratio(*BCG_1))


def test_zero_cell_options_by_hand():
    counts = [0, 4, 0], [10, 20, 12], [4, 11, 0], [10, 20, 8]

    def cells(**options):
        return np.array([two_by_two(*counts, **options).a, two_by_two(*counts, **options).d])

    plain = np.array([[0, 4, 0], [6, 9, 8.0]])
    assert_allclose(cells(to="none"), plain)
    assert_allclose(cells(), plain + np.array([0.5, 0, 0.5]))
    assert_allclose(cells(to="all", add=0.25), plain + 0.25)
    assert_allclose(cells(to="if0all"), plain + 0.5)
    assert_allclose(cells(to="if0all")[:, 1], two_by_two(4, 20, 11, 20, add=0.5, to="all")[0::3])
    dropped = cells(drop00=True)
    assert np.isnan(dropped[:, 2]).all()
    assert_allclose(dropped[:, :2], plain[:, :2] + np.array([0.5, 0]))


def test_undefined_values_are_nan():
    for measure in (log_odds_ratio, log_risk_ratio):
        effect = measure(0, 10, 4, 10, to="none")
        assert np.isnan(effect.yi)
        assert np.isnan(effect.vi)
    assert np.isnan(tetrachoric(0, 10, 4, 10).yi)
    assert np.isnan(phi_coefficient(0, 10, 0, 10).yi)
    # At -1 and 1 there is no variance, and none is left by rounding to weigh more than all other rows together.
    assert_allclose(phi_coefficient([5, 3, 0], [5, 3, 4], [0, 0, 9], [6, 9, 9]), [[1, 1, -1], [0, 0, 0]], rtol=0)
    assert np.isnan(peto_log_odds_ratio(0, 10, 0, 10, to="none").yi)


@pytest.mark.parametrize(("measure", "power"), [(yule_q, 1), (yule_y, 0.5)])
def test_yule_keeps_the_digits_of_its_variance_next_to_one(measure, power):
    """1 - Q^2 is 4 w / (1 + w)^2 with w = (1/OR)^power."""
    w = (3.0 * 2.0 / (1e7 * 1e7)) ** power
    vi = (4 * w / (1 + w) ** 2) ** 2 * (2e-7 + 1 / 2 + 1 / 3) / (4 if measure is yule_q else 16)
    assert_allclose(measure(1e7, 1e7 + 2, 3, 1e7 + 3).vi, vi, rtol=1e-12)


def test_cells_and_totals_may_be_given_either_way():
    whole = log_odds_ratio(4, 123, 11, 139)
    assert_allclose(log_odds_ratio(4, None, 11, None, bi=119, di=128), whole)
    assert_allclose(log_odds_ratio(4, 123, 11, 139, bi=119, di=128), whole)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"ai": 12, "n1i": 10, "ci": 4, "n2i": 10}, "ai must not exceed n1i, but row 1 has ai 12, n1i 10"),
        ({"ai": -1, "n1i": 10, "ci": 4, "n2i": 10}, "ai must be 0 or more, but row 1 has -1"),
        ({"ai": 1, "n1i": 10, "ci": 4, "n2i": 10, "bi": 8}, r"ai \+ bi must equal n1i"),
        ({"ai": 1, "n1i": None, "ci": 4, "n2i": 10}, "n1i or bi must be given"),
        ({"ai": np.nan, "n1i": 10, "ci": 4, "n2i": 10}, "ai must be a finite number, but row 1 has no value"),
    ],
)
def test_impossible_counts(counts, message):
    with pytest.raises(DataError, match=message):
        log_odds_ratio(**counts)


def test_zero_cell_options_are_checked():
    with pytest.raises(ValueError, match="to must be one of"):
        log_odds_ratio(*BCG_1, to="some")
    with pytest.raises(ValueError, match="add must be 0 or more"):
        log_odds_ratio(*BCG_1, add=-1)


tables = st.tuples(*[st.integers(1, 200)] * 4)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_swapping_groups_turns_the_sign(cells):
    a, b, c, d = cells
    measures = (log_odds_ratio, log_risk_ratio, risk_difference, arcsine_difference, peto_log_odds_ratio)
    measures += (phi_coefficient, yule_q, yule_y, tetrachoric, probit_difference, or_to_d)
    for measure in measures:
        there, back = measure(a, a + b, c, c + d), measure(c, c + d, a, a + b)
        assert_allclose(there.yi, -back.yi, rtol=1e-9, atol=1e-9)
        assert_allclose(there.vi, back.vi, rtol=1e-8, atol=1e-12)
        assert there.vi > 0


def test_double_arcsine_of_miller_1978():
    """Miller (1978) gives the sum of the two arcsines, twice our mean: 1.1391 1.2888 1.5253 0.9515."""
    yi, vi = freeman_tukey([3, 6, 10, 1], [11, 17, 21, 6])
    assert_allclose(2 * yi, [1.139078484, 1.288831326, 1.525278938, 0.951539328], rtol=1e-9)
    assert_allclose(vi, 1 / (4 * np.array([11, 17, 21, 6]) + 2))


def test_single_proportions_by_hand():
    assert_allclose(proportion(3, 12), [0.25, 0.25 * 0.75 / 12])
    assert_allclose(logit_proportion(3, 12), [np.log(3 / 9), 1 / 3 + 1 / 9])
    assert_allclose(logit_proportion(0, 12), [np.log(0.5 / 12.5), 2 + 1 / 12.5])
    assert np.isnan(logit_proportion(0, 12, add=0).yi)
    assert_allclose(arcsine_proportion(3, 12), [np.pi / 6, 1 / 48])
    with pytest.raises(DataError, match="xi must not exceed ni"):
        proportion(13, 12)
