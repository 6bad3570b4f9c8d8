"""Trim and fill: metafor's numbers, a table whose missing study is known, and what must hold of any table."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import ConvergenceError, DataError
from metamiq.pooling.models import fixed_effect, random_effects
from metamiq.sensitivity.trim_and_fill import trim_and_fill

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
CASES = [
    c
    for c in json.loads((REFERENCE / "sensitivity.json").read_text(encoding="utf-8"))["cases"]
    if c["what"] == "trim_and_fill"
]
CLOSED_FORM = 1e-9
ITERATIVE = 1e-5  # two searches for tau2, at each step of the trimming


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_matches_metafor(case):
    columns = TABLES[case["table"]]["columns"]
    method = "FE" if case["method"] == "EE" else case["method"]
    fit = random_effects(yi=columns["yi"], vi=columns["vi"], method=method, test="z")
    ours = trim_and_fill(fit, case["estimator"])
    assert (ours.k0, ours.side) == (case["k0"], case["side"])
    rtol = ITERATIVE if method == "REML" else CLOSED_FORM
    assert_allclose(
        [ours.estimate, ours.se, ours.ci_low, ours.ci_high],
        [case["estimate"], case["se"], case["ci_low"], case["ci_high"]],
        rtol=rtol,
        atol=rtol * np.sqrt(np.mean(columns["vi"])),
    )
    assert_allclose(ours.tau2, case["tau2"], rtol=rtol, atol=rtol * np.mean(columns["vi"]))
    assert_allclose(np.sort(ours.filled["yi"]), np.sort(case["filled"]), rtol=rtol, atol=rtol)
    if case["k0"] > 0:  # metafor puts negative estimates into the variance of L0 and Q0; ours then is that at 0
        assert_allclose(ours.k0_se, case["se_k0"], rtol=CLOSED_FORM)
    if case["p_k0"] is not None:
        assert_allclose(ours.k0_p, case["p_k0"], rtol=CLOSED_FORM)


def test_by_hand():
    # Invented: mean 0 without the three largest; the ranks of |y| above 0 are 6 to 8 and one of 1 to 5.
    yi = np.array([-0.2, -0.1, 0.0001, 0.1, 0.2, 1.0, 1.1, 1.2])
    fit = fixed_effect(yi=yi, vi=np.full(8, 0.1))
    ours = trim_and_fill(fit, "R0", side="left")
    # Trimming 3: the mean is 0.00002, the rightmost run above it has ranks 6, 7, 8: R0 = 2. Trimming 2 of these leaves
    # the mean at 1.0001 / 6 = 0.16668: the largest deviations from it are those of 1.2, 1.1 and 1.0 again.
    assert ours.k0 == 2
    assert_allclose(ours.estimate, 1.0001 / 6, rtol=1e-12)
    assert_allclose(np.sort(ours.filled["yi"]), np.sort(2 * 1.0001 / 6 - yi[-2:]), rtol=1e-12)
    assert ours.filled["mirrors"].tolist() == ["row 7", "row 8"]


def test_named_models():
    fit = random_effects(yi=TABLES["hackshaw1998"]["columns"]["yi"], vi=TABLES["hackshaw1998"]["columns"]["vi"])
    fixed = fixed_effect(fit.effects)
    assert trim_and_fill(fit, model="fixed").k0 == trim_and_fill(fixed).k0
    assert trim_and_fill(fit, model="random").estimate == trim_and_fill(fit).estimate
    both = trim_and_fill(fit, model="fixed-random")
    assert both.k0 == trim_and_fill(fit, model="fixed").k0
    assert both.fit.method == "REML"
    assert both.fit.test == "knha"
    assert trim_and_fill(fixed, model="random").fit.method == "REML"


pairs = st.lists(
    st.tuples(st.floats(-2, 2), st.floats(0.01, 1)).map(lambda p: (round(p[0], 3), round(p[1], 4))),
    min_size=5,
    max_size=15,
    unique_by=(lambda p: p[0], lambda p: p[1]),
)


@settings(max_examples=40, deadline=None)
@given(pairs, st.sampled_from(["L0", "R0"]), st.randoms(use_true_random=False))
def test_sign_order_and_no_studies_to_fill(table, estimator, random):
    yi, vi = map(np.array, zip(*table, strict=True))
    order = list(range(len(yi)))
    random.shuffle(order)
    try:
        here = trim_and_fill(fixed_effect(yi=yi, vi=vi), estimator)
    except ConvergenceError:
        return
    flipped = trim_and_fill(fixed_effect(yi=-yi, vi=vi), estimator)
    shuffled = trim_and_fill(fixed_effect(yi=yi[order], vi=vi[order]), estimator)
    assert flipped.k0 == here.k0 == shuffled.k0
    assert flipped.side != here.side
    assert_allclose(flipped.estimate, -here.estimate, rtol=1e-9, atol=1e-12)
    assert_allclose(shuffled.estimate, here.estimate, rtol=1e-9, atol=1e-12)
    assert len(here.filled) == here.k0
    if here.k0 == 0:
        assert here.estimate == here.original.estimate


def test_refusals_and_cautions():
    fit = random_effects(yi=[0.1, 0.5, 0.9], vi=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="estimator must be one of"):
        trim_and_fill(fit, "L1")
    with pytest.raises(ValueError, match="side must be"):
        trim_and_fill(fit, side="top")
    with pytest.raises(ValueError, match="model must be one of"):
        trim_and_fill(fit, model="both")
    with pytest.raises(DataError, match="inverse-variance weights"):
        trim_and_fill(random_effects(yi=[0.1, 0.5, 0.9], vi=[0.1, 0.2, 0.3], weights="equal"))
    result = trim_and_fill(fit)
    assert all(text in result.summary() for text in result.cautions)
    assert any("k = 3" in text for text in result.cautions)


def test_labels_name_what_is_mirrored():
    es = pd.DataFrame({"study": list("abcdefgh"), "yi": [-0.2, -0.1, 0.0001, 0.1, 0.2, 1.0, 1.1, 1.2], "vi": 0.1})
    assert trim_and_fill(fixed_effect(es), "R0", side="left").filled["mirrors"].tolist() == ["g", "h"]
