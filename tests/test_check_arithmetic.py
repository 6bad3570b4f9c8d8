"""What whole numbers can give, against every list of whole numbers; and how far rounding goes."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamiq.living.rules.arithmetic import cohen_d, d_of_t, decimals, grim, grimmer

ANSWERS = st.lists(st.integers(0, 40), min_size=2, max_size=60)
QUICK = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("mean", "n", "items", "possible"),
    [
        (3.45, 10, 1, False),  # Brown & Heathers 2017: a tenth is the finest step of ten people
        (3.5, 10, 1, True),
        (17.23, 20, 1, False),  # Navidian et al. 2009 as in the bundled evidence
        (17.23, 13, 1, True),  # 224 / 13
        (3.45, 10, 2, True),
        (3.37, 10, 2, False),
        (3.07, 250, 1, True),  # too many people for two decimals
    ],
)
def test_grim_by_hand(mean, n, items, possible):
    assert grim(mean, n, items) is possible


def test_grimmer_knows_what_an_odd_sum_forbids():
    # Allard 2018: 18 people, mean 3.44, SD 2.47: the sum is 62 and no even sum of squares gives this SD.
    assert not grimmer(3.44, 2.47, 18)


@pytest.mark.parametrize("n", [3, 4, 6])
def test_grimmer_allows_exactly_what_some_whole_numbers_give(n):
    rows = np.array(list(combinations_with_replacement(range(8), n)))
    given_by_some = {
        (f"{mean:.2f}", f"{sd:.2f}")
        for mean, sd in zip(rows.mean(axis=1), rows.std(axis=1, ddof=1), strict=True)
        if sd < 1.5  # wider ones may need numbers beyond the list
    }
    for mean in {m for m, _ in given_by_some if 3 <= float(m) <= 4 and not m.endswith("0")}:
        for cents in range(1, 150):
            sd = f"{cents / 100:.2f}"
            if not sd.endswith("0"):  # a number cannot hold a trailing zero, and then stands for a wider range
                assert grimmer(float(mean), float(sd), n) == ((mean, sd) in given_by_some)


@QUICK
@given(ANSWERS, st.integers(1, 3))
def test_real_data_always_pass(answers, places):
    mean, sd = round(float(np.mean(answers)), places), round(float(np.std(answers, ddof=1)), places)
    assert grim(mean, len(answers))
    assert grimmer(mean, sd, len(answers))


@QUICK
@given(st.lists(st.lists(st.integers(1, 7), min_size=4, max_size=4), min_size=2, max_size=30))
def test_real_means_of_items_always_pass(people):
    scores = np.array(people).mean(axis=1)
    mean, sd = round(float(scores.mean()), 2), round(float(scores.std(ddof=1)), 2)
    assert grimmer(mean, sd, len(people), items=4)


@QUICK
@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.5, 9), st.floats(0.5, 9), st.integers(2, 90), st.integers(2, 90))
def test_span_of_d_holds_the_d_before_rounding(m1, m2, sd1, sd2, n1, n2):
    pooled = np.sqrt(((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / (n1 + n2 - 2))
    span = cohen_d(round(m1, 2), round(sd1, 2), n1, round(m2, 2), round(sd2, 2), n2)
    d = abs(m1 - m2) / pooled
    # A rounded number that ends in 0 has lost that digit, and its span only grows.
    assert span.low - 1e-9 <= d <= span.high + 1e-9
    assert span.low <= span.value <= span.high


def test_d_of_t_by_hand():
    assert f"{d_of_t(2.51, 8, 8).value:.4f}" == "1.2550"  # 2.51 / 2


@pytest.mark.parametrize(("value", "places"), [(3, 0), (3.0, 0), (3.10, 1), (-0.025, 3), (1e-12, 10)])
def test_decimals(value, places):
    assert decimals(value) == places
