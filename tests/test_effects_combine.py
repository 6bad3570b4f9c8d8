"""Merging arms, sharing out controls, combining outcomes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.effects.combine import merge_arms, merge_counts, shared_control, split_shared_control
from metamiq.effects.composite import aggregate, composite
from metamiq.errors import DataError

PRINTED_10 = {"rtol": 1e-9}  # other software's value at the ten digits it printed
TABLES = json.loads((Path(__file__).parent / "reference" / "datasets.json").read_text())["tables"]
ASSINK = pd.DataFrame(TABLES["assink2016"]["columns"])


def test_merged_arms_are_one_group_of_the_same_people():
    """Made-up people in three arms of unequal size."""
    rng = np.random.default_rng(2)
    arms = [rng.normal(mean, 2, n) for mean, n in ((3, 12), (5, 30), (9, 7))]
    mean, sd, n = merge_arms([a.mean() for a in arms], [a.std(ddof=1) for a in arms], [len(a) for a in arms])
    everyone = np.concatenate(arms)
    assert_allclose([mean, sd, n], [everyone.mean(), everyone.std(ddof=1), 49], rtol=1e-12)


def test_arms_merge_along_the_last_axis():
    together = merge_arms([[1, 2], [3, 4]], [[1, 1], [2, 2]], [[10, 20], [30, 40]])
    for i in (0, 1):
        one = merge_arms([[1, 2], [3, 4]][i], [[1, 1], [2, 2]][i], [[10, 20], [30, 40]][i])
        assert_allclose([part[i] for part in together], one)
    assert_allclose(merge_counts([[3, 5], [1, 0]], [[20, 30], [9, 9]]), [[8, 1], [50, 18]])
    with pytest.raises(DataError, match="xi must not exceed ni"):
        merge_counts([3, 31], [20, 30])
    with pytest.raises(DataError, match="sdi must be greater than 0, but row 2 has 0"):
        merge_arms([1, 2], [1, 0], [10, 10])


def test_shared_controls_are_found_and_divided():
    table = pd.DataFrame(
        {
            "study": ["a", "a", "a", "b"],
            "m2i": [5.0, 5.0, 6.0, 5.0],
            "sd2i": [1.0, 1.0, 1.0, 1.0],
            "n2i": [40, 40, 40, 40],
        }
    )
    assert shared_control(table).tolist() == [2, 2, 1, 1]
    split = split_shared_control(table)
    assert split["n2i"].tolist() == [20, 20, 40, 40]
    assert split[["m2i", "sd2i"]].equals(table[["m2i", "sd2i"]])
    assert table["n2i"].tolist() == [40, 40, 40, 40]
    with pytest.raises(DataError, match="'study'"):
        shared_control(table.drop(columns="study"))
    with pytest.raises(DataError, match="a column of group 2"):
        shared_control(table[["study"]])


def test_aggregate_assink_2016_as_metafor():
    out = aggregate(ASSINK, "study", rho=0.6)
    assert_allclose(out["yi"][:5], [0.1628769719, 0.4060364168, 1.079003303, -0.0447, 1.549], **PRINTED_10)
    assert_allclose(out["vi"][:5], [0.01969667276, 0.005572331293, 0.08317447703, 0.0331, 0.1384], **PRINTED_10)
    plain = aggregate(ASSINK, "study", rho=0.6, weighted=False)
    assert_allclose(plain["yi"][[0, 2]], [0.3022833333, 1.46323], **PRINTED_10)
    assert_allclose(plain["vi"][[0, 2]], [0.03267857306, 0.1526971074], **PRINTED_10)
    assert out["n_effects"].sum() == len(ASSINK)


def test_aggregate_keeps_what_is_constant_and_says_what_it_is():
    table = pd.DataFrame(
        {
            "study": ["b", "a", "b"],
            "year": [2001, 2005, 2001],
            "outcome": ["x", "y", "z"],
            "region": [None, "n", None],
            "yi": [0.1, 0.2, 0.5],
            "vi": [0.1, 0.2, 0.1],
        },
        index=[7, 8, 9],
    )
    table.attrs["measure"] = "SMD"
    out = aggregate(table, "study", 0.5)
    assert list(out.columns) == ["study", "year", "region", "yi", "vi", "n_effects"]
    assert out["study"].tolist() == ["b", "a"]
    assert out.attrs["measure"] == "SMD"
    assert_allclose(out["yi"], [0.3, 0.2])


outcomes = st.lists(st.tuples(st.floats(-2, 2), st.floats(0.01, 2)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(outcomes, st.floats(0, 0.95), st.booleans())
def test_composite_is_the_matrix_formula(pairs, rho, weighted):
    y, v = np.array(pairs).T
    V = rho * np.sqrt(np.outer(v, v))
    np.fill_diagonal(V, v)
    if weighted:
        W = np.linalg.inv(V)
        mean, variance = W.sum(axis=0) @ y / W.sum(), 1 / W.sum()
    else:
        mean, variance = y.mean(), V.sum() / len(y) ** 2
    assert_allclose(composite(y, v, rho, weighted=weighted), [mean, variance], rtol=1e-8, atol=1e-10)


def test_composite_limits():
    """Perfect correlation: nothing gained from a second outcome; none: the variance halves."""
    assert_allclose(composite([0.3, 0.1], [0.05, 0.05], 1.0), [0.2, 0.05])
    assert_allclose(composite([0.3, 0.1], [0.05, 0.05], 0.0), [0.2, 0.025])
    assert_allclose(composite(0.3, 0.05, 0.5, weighted=True), [0.3, 0.05])


@pytest.mark.parametrize(
    ("change", "rho", "message"),
    [
        ({}, 1.2, "rho must lie between"),
        ({}, -0.9, "largest cluster has 3 rows"),
        ({}, 1.0, "rho must lie inside its limits for weighted means"),
        ({"vi": [0.1, 0.0, 0.1]}, 0.5, "vi must be greater than 0, but row 2 has 0"),
        ({"yi": [0.1, np.nan, 0.1]}, 0.5, "yi must be a finite number, but row 2 has no value"),
        ({"study": ["a", None, "a"]}, 0.5, "study must be filled in every row, but it is empty in row 2"),
    ],
)
def test_aggregate_refuses(change, rho, message):
    table = pd.DataFrame({"study": ["a", "a", "a"], "yi": [0.1, 0.2, 0.3], "vi": [0.1, 0.1, 0.1]} | change)
    with pytest.raises(DataError, match=message):
        aggregate(table, "study", rho)


def test_aggregate_names_missing_columns():
    with pytest.raises(DataError, match="must have the columns study, vi"):
        aggregate(pd.DataFrame({"yi": [1.0]}), "study", 0.5)
