"""Fail-safe numbers: metafor's, and what they say of themselves."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.sensitivity.fail_safe import fail_safe_n

REFERENCE = Path(__file__).parent / "reference"


def load(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


TABLES = load("datasets.json")["tables"]
SMALL = [c for c in load("small_study.json")["cases"] if c["what"] == "fsn"]
WIDE = [c for c in load("sensitivity.json")["cases"] if c["what"] == "fail_safe_n"]


def fit_of(name):
    return random_effects(pd.DataFrame(TABLES[name]["columns"])[["yi", "vi"]])


@pytest.mark.parametrize("case", [*SMALL, *WIDE], ids=[c["id"] + "-" + c["what"] for c in [*SMALL, *WIDE]])
def test_matches_metafor(case):
    fit = fit_of(case["table"])
    for kind in ("rosenthal", "rosenberg"):
        assert fail_safe_n(fit, kind).n == case[kind]
    if "target" in case:
        assert fail_safe_n(fit, "orwin", target=case["target"]).n == case["orwin"]
        weighted = np.average(fit.source.yi, weights=1 / fit.source.vi)
        if np.sign(weighted) == np.sign(case["target"]):
            assert fail_safe_n(fit, "orwin", target=case["target"], weighted=True).n == case["orwin_weighted"]
    else:
        assert fail_safe_n(fit, "orwin").n == case["orwin"]


def test_becker_expectancy_data():
    # Numbers of metafor for the data of Becker (2005): target 0.05 for teacher expectancy.
    fit = fit_of("raudenbush1985")
    assert [fail_safe_n(fit, k).n for k in ("rosenthal", "rosenberg")] == [26, 0]
    assert fail_safe_n(fit, "orwin", 0.05).n == 44


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 2), st.floats(0.01, 0.2)), min_size=3, max_size=12))
def test_as_many_studies_without_effect_do_what_they_promise(pairs):
    yi, vi = map(np.array, zip(*pairs, strict=True))
    fit = fixed_effect(yi=yi, vi=vi)
    k = len(yi)
    n = fail_safe_n(fit, "rosenthal").n
    z = (yi / np.sqrt(vi)).sum()
    assert z / np.sqrt(k + n) <= 1.6448536269514722 * (1 + 1e-9)
    if n > 0:
        assert z / np.sqrt(k + n - 1) > 1.6448536269514722 * (1 - 1e-9)
    target = yi.mean() / 3
    n = fail_safe_n(fit, "orwin", target).n
    assert yi.sum() / (k + n) <= target * (1 + 1e-9)
    assert n == 2 * k
    # Rosenberg's studies have the average weight, so the z of the fixed-effect mean shrinks as that of k of k + n.
    n = fail_safe_n(fit, "rosenberg").n
    assert abs(fit.statistic) * np.sqrt(k / (k + n)) <= 1.959963984540054 * (1 + 1e-9)
    flipped = fixed_effect(yi=-yi, vi=vi)
    for kind in ("rosenthal", "orwin", "rosenberg"):
        assert fail_safe_n(flipped, kind).n == fail_safe_n(fit, kind).n


def test_targets_and_levels():
    fit = fit_of("hackshaw1998")
    assert fail_safe_n(fit, target=0.05).n == fail_safe_n(fit).n == 393
    assert fail_safe_n(fit, target=0.01).n == fail_safe_n(fit, level=0.99).n < 393
    assert fail_safe_n(fit).tolerance == 195
    with pytest.raises(ValueError, match="must have the sign of the mean"):
        fail_safe_n(fit, "orwin", -0.1)
    with pytest.raises(ValueError, match="other than 0"):
        fail_safe_n(fit, "orwin", 0.0)
    with pytest.raises(ValueError, match=r"between 0 and 0\.5"):
        fail_safe_n(fit, target=0.7)
    with pytest.raises(ValueError, match="kind must be"):
        fail_safe_n(fit, "general")


def test_cautions_are_printed():
    result = fail_safe_n(fit_of("bcg_RR"))
    assert any("no estimate of bias" in text for text in result.cautions)
    assert any("I2 = " in text for text in result.cautions)
    assert all(text in result.summary() for text in result.cautions)
    assert_allclose(result.observed, 0.0, atol=1e-9)
