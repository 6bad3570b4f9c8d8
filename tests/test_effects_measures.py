"""effect_sizes and its manners; test_reference_effects.py holds every measure against metafor."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from metamiq.effects.change import pre_post_control
from metamiq.effects.continuous import hedges_g
from metamiq.effects.measures import MEASURES, effect_sizes, measure_table
from metamiq.effects.reported import g_from_t
from metamiq.errors import DataError

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "datasets.json").read_text())["tables"]


def test_the_table_of_measures_is_complete():
    table = measure_table()
    assert table["measure"].tolist() == list(MEASURES)
    assert table["measure"].is_unique
    assert table["columns"].str.len().min() > 0


def test_unknown_measure_lists_the_known_in_order():
    with pytest.raises(ValueError, match=r"measure must be one of 'AS', 'COR', 'CVR'.*not 'smd'"):
        effect_sizes(pd.DataFrame(), "smd")


def test_unknown_option_lists_the_known():
    table = pd.DataFrame(TABLES["normand1999_means"]["columns"])
    with pytest.raises(ValueError, match="Options of measure 'SMD' are 'correction', 'vtype'; 'add' is not"):
        effect_sizes(table, "SMD", add=1)
    with pytest.raises(ValueError, match="vtype must be one of"):
        effect_sizes(table, "SMD", vtype="HO")


def test_missing_columns_are_named():
    with pytest.raises(DataError, match=r"has no m2i, n2i, sd2i\. Its columns are study, m1i, sd1i, n1i"):
        effect_sizes(pd.DataFrame(columns=["study", "m1i", "sd1i", "n1i"]), "SMD")
    with pytest.raises(DataError, match=r"ai n1i ci n2i \(or bi and di"):
        effect_sizes(pd.DataFrame({"ai": [1], "ci": [2]}), "OR")


def test_absent_stays_absent_and_nothing_else_changes():
    table = pd.DataFrame(TABLES["normand1999_means"]["columns"]).set_index(np.arange(9) * 10)
    table.attrs["note"] = "kept"
    table.loc[20, "sd2i"] = np.nan
    before = table.copy()
    out = effect_sizes(table, "SMD")
    assert out.loc[20, ["yi", "vi"]].isna().all()
    assert out[["yi", "vi"]].notna().sum().tolist() == [8, 8]
    assert out.index.equals(table.index)
    assert out.attrs == {"note": "kept", "measure": "SMD"}
    pd.testing.assert_frame_equal(table, before)


def test_all_bad_rows_are_named_with_study_and_row():
    table = pd.DataFrame(
        {
            "study": ["smith2010", "jones2011", "lee2012", "kim2013"],
            "m1i": [1, np.nan, 2, 3],
            "sd1i": [0.0, 1, 2, 1],
            "n1i": [20, 20, 1, 20],
            "m2i": 0,
            "sd2i": 1,
            "n2i": 20,
        }
    )
    with pytest.raises(DataError) as problem:
        effect_sizes(table, "SMD")
    text = str(problem.value)
    assert "sd1i must be greater than 0, but study 'smith2010' (row 1) has 0" in text
    assert "n1i must be at least 2, but study 'lee2012' (row 3) has 1" in text
    assert "jones2011" not in text


def test_cells_that_are_not_numbers_are_named():
    table = pd.DataFrame({"trial_id": ["a", "b"], "ri": ["0.5", "high"], "ni": [20, 30]})
    with pytest.raises(DataError, match=r"ri must be a number, but trial_id 'b' \(row 2\) has 'high'"):
        effect_sizes(table, "COR")


def test_counts_either_way_row_by_row():
    table = pd.DataFrame(
        {
            "ai": [4, 4, 4, 4],
            "bi": [np.nan, 119, 119, np.nan],
            "n1i": [123, np.nan, 123, np.nan],
            "ci": 11,
            "di": [np.nan, 128, 128, 128],
            "n2i": [139, np.nan, 139, 139],
        }
    )
    out = effect_sizes(table, "OR")
    assert_allclose(out["yi"][:3], -0.9386941409, rtol=1e-9)
    assert np.isnan(out["yi"][3])
    with pytest.raises(DataError, match=r"ai \+ bi must equal n1i, but row 3 has ai 4, bi 119, n1i 100"):
        effect_sizes(table.assign(n1i=[123, np.nan, 100, np.nan]), "OR")


def test_t_statistics_stand_in_for_means():
    table = pd.DataFrame(
        {
            "ti": [np.nan, 2.5, np.nan],
            "n1i": [15, 20, 20],
            "n2i": [14, 22, 20],
            "m1i": [18.9, np.nan, np.nan],
            "sd1i": [7.4, np.nan, np.nan],
            "m2i": [24.3, np.nan, np.nan],
            "sd2i": [6.1, np.nan, np.nan],
        }
    )
    out = effect_sizes(table, "SMD")
    assert_allclose(out.loc[0, ["yi", "vi"]].astype(float), hedges_g(18.9, 7.4, 15, 24.3, 6.1, 14))
    assert_allclose(out.loc[1, ["yi", "vi"]].astype(float), g_from_t(2.5, 20, 22)[:2])
    assert out.loc[2, ["yi", "vi"]].isna().all()
    assert_allclose(effect_sizes(table[["ti", "n1i", "n2i"]], "SMD")["yi"][1], out["yi"][1])


def test_pre_post_control_by_column_names():
    arm_1, arm_2 = (3.34, 1.76, 3.28, 2.07, 34), (3.81, 1.79, 8.43, 0.83, 34)
    names = [f"{s}{g}i_{t}" for g in (1, 2) for t in ("pre", "post") for s in ("m", "sd")]
    row = dict(zip(names, [*arm_1[:4], *arm_2[:4]], strict=True)) | {"n1i": 34, "n2i": 34, "ri": 0.5}
    for code, standardiser in (("PPC_PRE", "pooled_pre"), ("PPC_POST", "pooled_post"), ("PPC_ALL", "all_four")):
        out = effect_sizes(pd.DataFrame([row]), code)
        truth = pre_post_control(*arm_1, *arm_2, 0.5, standardiser=standardiser)
        assert_allclose(out[["yi", "vi"]].iloc[0].astype(float), truth)
    without = pd.DataFrame([row]).drop(columns=["sd1i_post", "sd2i_post"])
    assert np.isfinite(effect_sizes(without, "PPC_PRE")["yi"][0])
    with pytest.raises(DataError, match="has no sd1i_post, sd2i_post"):
        effect_sizes(without, "PPC_ALL")
    with pytest.raises(DataError, match="has no ri"):
        effect_sizes(pd.DataFrame([row]).drop(columns="ri"), "PPC_PRE")


def test_old_yi_and_vi_are_replaced():
    table = pd.DataFrame({"ri": [0.5], "ni": [20], "yi": [9.0], "vi": [9.0]})
    assert effect_sizes(table, "COR")["yi"][0] == 0.5


def test_an_empty_table_gives_an_empty_table():
    out = effect_sizes(pd.DataFrame({"ri": [], "ni": []}), "ZCOR")
    assert len(out) == 0
    assert {"yi", "vi"} <= set(out.columns)
