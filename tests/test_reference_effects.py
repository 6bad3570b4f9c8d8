"""Every effect size of tests/reference/effects.json (metafor 3.8) against `effect_sizes`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import hyp2f1

import metamiq as mm

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text(encoding="utf-8"))["tables"]
CASES = json.loads((REFERENCE / "effects.json").read_text(encoding="utf-8"))["cases"]

CLOSED_FORM = {"rtol": 1e-10, "atol": 1e-14}  # same arithmetic in another order; risk differences of 0 are 0


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_effect_sizes_match_metafor(case):
    frame = pd.DataFrame(TABLES[case["table"]]["columns"]).rename(columns=case.get("rename", {}))
    effects = mm.effect_sizes(frame, case["measure"], **(case["options"] or {}))
    # Rows where the other program is known to be off, or to have changed since, are no target: see known_difference.
    apart = case.get("apart", {"yi": [], "vi": []})
    for column in ("yi", "vi"):
        # A row for which one program gives no number has none in the other.
        ours, theirs = effects[column].to_numpy(), np.array(case[column], dtype=float)
        compared = np.setdiff1d(np.arange(len(ours)), apart[column])
        assert_allclose(ours[compared], theirs[compared], **CLOSED_FORM)


def test_variances_that_newer_metafor_corrected():
    """SMDH and SMD1H as metafor 4.6 and later print them, first four studies of Normand (1999)."""
    frame = pd.DataFrame(TABLES["normand1999_means"]["columns"])[:4]
    smdh = [0.01315480545, 0.06739171722, 0.05148033027, 0.1960559061]
    assert_allclose(mm.effect_sizes(frame, "SMDH")["vi"], smdh, rtol=1e-9)  # printed to ten digits
    smd1h = [0.01026557731, 0.1381790975]
    assert_allclose(mm.effect_sizes(frame, "SMD1H")["vi"][:2], smd1h, rtol=1e-9)


def test_every_measure_of_the_reference_is_there():
    assert len(CASES) > 300
    assert {case["measure"] for case in CASES} >= {"SMD", "SMDH", "SMD1", "MD", "ROM", "OR", "RR", "RD", "ZCOR", "SMCC"}


def test_unbiased_correlation_near_zero():
    """Where metafor's value is off: r 2F1(1/2, 1/2; (n - 2)/2; 1 - r^2), Olkin & Pratt (1958), by scipy."""
    frame = pd.DataFrame(TABLES["cohen1981_correlations"]["columns"]).query("abs(ri) < 0.05")
    expected = frame["ri"] * hyp2f1(0.5, 0.5, (frame["ni"] - 2) / 2, 1 - frame["ri"] ** 2)
    assert len(frame) > 0
    assert_allclose(mm.effect_sizes(frame, "UCOR")["yi"], expected, rtol=1e-9)
