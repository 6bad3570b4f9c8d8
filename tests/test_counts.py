"""Mantel-Haenszel and Peto: by hand, against metafor and statsmodels, and what is true of any counts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from metamiq.errors import DataError
from metamiq.pooling.counts import mantel_haenszel, peto
from metamiq.pooling.records import RESULT_COLUMNS

HERE = Path(__file__).parent / "reference"
CLOSED_FORM = {"rtol": 1e-10, "atol": 1e-13}  # same arithmetic in another order; I2 may be 0
TARONE = {"rtol": 1e-8}  # metafor solves for the expected counts numerically
KEYS = ("k", "estimate", "se", "statistic", "p_value", "ci_low", "ci_high", "Q", "Q_df", "Q_p", "I2", "H2")

MORE = json.loads((HERE / "counts_glmm.json").read_text(encoding="utf-8"))
TABLES = json.loads((HERE / "datasets.json").read_text(encoding="utf-8"))["tables"]
CASES = [
    case
    for case in json.loads((HERE / "counts.json").read_text(encoding="utf-8"))["cases"] + MORE["cases"]
    if case["model"] in ("mantel_haenszel", "peto", "MH", "PETO")
]


def table_of(case):
    name = case["table"]
    return pd.DataFrame((MORE["tables"].get(name) or TABLES[name])["columns"])


def counts(*rows):
    return pd.DataFrame(rows, columns=["ai", "n1i", "ci", "n2i"])


def swapped(table):
    return table.rename(columns={"ai": "ci", "ci": "ai", "n1i": "n2i", "n2i": "n1i"})


# Two invented tables, worked with pencil: N = 40 and 60.
PAIR = counts((5, 20, 10, 20), (4, 30, 6, 30))


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_matches_metafor(case):
    table = table_of(case)
    if case["model"] in ("peto", "PETO"):
        fit = peto(table)
    elif case.get("corrected"):
        options = {"add": (0.5, 0.5), "to": ("only0", "only0"), "drop00": (True, True)}
        fit = mantel_haenszel(table, case["measure"], **options)
    else:
        fit = mantel_haenszel(table, case["measure"])
    for key in KEYS:
        if case.get(key) is not None:
            assert_allclose(getattr(fit, key), case[key], **CLOSED_FORM, err_msg=key)
    if case.get("CMH") is not None:
        assert_allclose(fit.cmh.statistic, case["CMH"], **CLOSED_FORM)
    if case.get("CMH_uncorrected") is not None:
        assert_allclose(mantel_haenszel(table, correct=False).cmh.statistic, case["CMH_uncorrected"], **CLOSED_FORM)
    if case.get("tarone") is not None:
        assert_allclose(fit.tarone.statistic, case["tarone"], **TARONE)


def test_odds_ratio_by_hand():
    # R = 5*10/40 + 4*24/60 = 2.85, S = 15*10/40 + 26*6/60 = 6.35
    fit = mantel_haenszel(PAIR)
    assert_allclose(fit.estimate, np.log(2.85 / 6.35), rtol=1e-14)
    P, Q, R, S = (
        np.array([15, 28]) / [40, 60],
        np.array([25, 32]) / [40, 60],
        np.array([1.25, 1.6]),
        np.array([3.75, 2.6]),
    )
    variance = (P @ R) / (2 * 2.85**2) + (P @ S + Q @ R) / (2 * 2.85 * 6.35) + (Q @ S) / (2 * 6.35**2)
    assert_allclose(fit.se**2, variance, rtol=1e-13)
    assert_allclose(fit.weights, [3.75 / 6.35, 2.6 / 6.35], rtol=1e-14)


def test_risk_ratio_and_difference_by_hand():
    # (5*20/40 + 4*30/60) / (10*20/40 + 6*30/60) = 4.5 / 8; (2.5 - 5 + 2 - 3) / (10 + 15) = -3.5 / 25
    assert_allclose(mantel_haenszel(PAIR, "RR").estimate, np.log(4.5 / 8), rtol=1e-14)
    assert_allclose(mantel_haenszel(PAIR, "RD").estimate, -3.5 / 25, rtol=1e-14)
    # Equal arms: the RR variance is sum (n^2 events - a c N) / N^2 over R S, the RD variance has no P but (c - a) / 4.
    assert_allclose(mantel_haenszel(PAIR, "RR").se ** 2, ((400 * 15 - 2000) / 1600 + (900 * 10 - 24 * 60) / 3600) / 36)
    P, Q = (5 + 2) / 4, (5 * 10 + 10 * 15) / 80 + (4 * 24 + 6 * 26) / 120
    assert_allclose(mantel_haenszel(PAIR, "RD").se ** 2, (-0.14 * P + Q) / 625, rtol=1e-13)


def test_peto_by_hand():
    V = np.array([20 * 20 * 15 * 25 / (1600 * 39), 30 * 30 * 10 * 50 / (3600 * 59)])
    fit = peto(PAIR)
    assert_allclose([fit.estimate, fit.se], [-3.5 / V.sum(), V.sum() ** -0.5], rtol=1e-14)
    assert_allclose(fit.cmh.statistic, fit.statistic**2, rtol=1e-13)
    assert_allclose(fit.weights, V / V.sum(), rtol=1e-14)


@pytest.mark.parametrize("name", ["bcg", "hine1989", "landenberger2005"])
def test_tests_agree_with_statsmodels(name):
    stratified_table = pytest.importorskip("statsmodels.stats.contingency_tables").StratifiedTable
    d = pd.DataFrame(TABLES[f"{name}_counts"]["columns"])
    tables = np.array([[d.ai, d.n1i - d.ai], [d.ci, d.n2i - d.ci]], dtype=float)
    other, fit = stratified_table(tables), mantel_haenszel(d)
    assert_allclose(fit.breslow_day.statistic, other.test_equal_odds().statistic, rtol=1e-9)
    assert_allclose(fit.tarone.statistic, other.test_equal_odds(adjust=True).statistic, rtol=1e-9)
    assert_allclose(fit.cmh.statistic, other.test_null_odds(correction=True).statistic, rtol=1e-12)
    assert_allclose([np.exp(fit.estimate), fit.se], [other.oddsratio_pooled, other.logodds_pooled_se], rtol=1e-12)


def test_breslow_day_at_an_odds_ratio_of_one():
    # The usual root formula divides by 1 - OR. Two mirrored tables have a pooled odds ratio of exactly 1; with 8 events
    # among 20 and 20 people 4 are expected in each group, with variance 1 / (2 / 4 + 2 / 16).
    fit = mantel_haenszel(counts((6, 20, 2, 20), (2, 20, 6, 20)))
    assert abs(fit.estimate) < 1e-15
    assert_allclose(fit.breslow_day.statistic, 2 * 4 * (2 / 4 + 2 / 16), rtol=1e-12)


def test_cmh_correction_never_passes_zero():
    fit = mantel_haenszel(counts((6, 20, 2, 20), (2, 20, 6, 20)))
    assert fit.cmh.statistic == 0
    assert fit.cmh.p_value == 1


def test_cells_or_totals():
    cells = PAIR.assign(bi=PAIR.n1i - PAIR.ai, di=PAIR.n2i - PAIR.ci)
    assert mantel_haenszel(cells.drop(columns=["n1i", "n2i"])).estimate == mantel_haenszel(PAIR).estimate
    assert mantel_haenszel(cells).se == mantel_haenszel(PAIR).se


def test_record():
    fit = mantel_haenszel(PAIR.assign(study=["a", "b"]), level=0.9)
    frame = fit.to_frame()
    assert list(frame.columns) == list(RESULT_COLUMNS)
    assert fit.ci(0.95).low < fit.ci_low < fit.estimate < fit.ci_high
    assert (fit.tau2, fit.k, fit.k_used, fit.n_studies, fit.measure, fit.dof) == (0, 2, 2, 2, "OR", None)
    assert (fit.pi_low, fit.pi_high) == (fit.ci_low, fit.ci_high)
    assert list(fit.effects["study"]) == ["a", "b"]
    assert np.isnan(fit.tau2_se)
    assert np.isnan(fit.loglik)
    assert "Mantel-Haenszel method, common effect (OR): k = 2 tables" in fit.summary()
    assert "90% CI" in fit.summary()
    assert "Tarone" not in mantel_haenszel(PAIR, "RD").summary()
    assert "ratio" not in mantel_haenszel(PAIR, "RD").summary()
    assert "Peto" in peto(PAIR).summary()
    with pytest.raises(ValueError, match="no tau2"):
        fit.tau2_ci()
    with pytest.raises(ValueError, match="'test'"):
        fit.ci(method="HC")
    with pytest.raises(ValueError, match="not 'nagashima'"):
        fit.pi(method="nagashima")


def test_one_study():
    fit = mantel_haenszel(PAIR.iloc[:1])
    assert_allclose(fit.estimate, np.log(5 * 10 / (15 * 10)))
    assert fit.Q_df == 0
    assert np.isnan(fit.Q_p)
    assert np.isnan(fit.I2)
    assert np.isnan(fit.tarone.p_value)


@pytest.mark.parametrize("pool", [mantel_haenszel, peto])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"ai": [-1, 4]}, "ai must be 0 or more, but 'one' has -1"),
        ({"ai": [21, 4]}, "ai must not exceed n1i, but 'one' has ai 21, n1i 20"),
        ({"ci": [10, 1.5]}, "ci must be a whole number, but 'two' has 1.5"),
        ({"ci": [10, np.nan]}, "ci must be a finite number, but 'two' has no value"),
        ({"n2i": ["x", "y"]}, "n2i must hold whole numbers, but it holds text"),
        ({"bi": [15, 27]}, "ai [+] bi must equal n1i, but 'two' has"),
        ({"ai": [0, 0], "ci": [0, 0]}, "both events and non-events, but none of the 2"),
    ],
)
def test_bad_counts_are_named(pool, bad, message):
    with pytest.raises(DataError, match=message):
        pool(PAIR.assign(study=["one", "two"]).assign(**bad))


def test_all_bad_rows_come_in_one_message():
    with pytest.raises(DataError, match=r"row 1 has -1.*whole number, but row 2 has 1.5"):
        mantel_haenszel(counts((-1, 20, 10, 20), (4, 30, 1.5, 30)))


def test_bad_tables_and_options():
    with pytest.raises(DataError, match=r"n2i \(or di\) is missing among ai, n1i, ci"):
        mantel_haenszel(PAIR.drop(columns="n2i"))
    with pytest.raises(DataError, match="the table is empty"):
        peto(PAIR.iloc[:0])
    with pytest.raises(ValueError, match="must be a DataFrame"):
        peto([1, 2])
    with pytest.raises(ValueError, match="measure must be one of 'OR', 'RD', 'RR', not 'SMD'"):
        mantel_haenszel(PAIR, "SMD")
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        peto(PAIR, level=95)


@pytest.mark.parametrize("measure", ["OR", "RR"])
def test_a_ratio_without_events_in_one_arm_is_refused(measure):
    table = counts((0, 20, 3, 20), (0, 30, 2, 30))
    with pytest.raises(DataError, match=r"must be finite and greater than 0, but it is 0.*metamiq.peto"):
        mantel_haenszel(table, measure)
    with pytest.raises(DataError, match="but it is infinite"):
        mantel_haenszel(swapped(table), measure)
    assert np.isfinite([peto(table).estimate, mantel_haenszel(table, "RD").estimate]).all()


@st.composite
def any_counts(draw):
    """Invented tables in which the odds ratio is finite: the first study has every kind of cell."""
    rows = [(2, 9, 3, 11)]
    for _ in range(draw(st.integers(1, 6))):
        n1, n2 = draw(st.integers(1, 200)), draw(st.integers(1, 200))
        rows.append((draw(st.integers(0, n1)), n1, draw(st.integers(0, n2)), n2))
    return counts(*rows)


@given(any_counts())
@settings(max_examples=40, deadline=None)
def test_swapping_groups_flips_the_sign(table):
    for pool in (mantel_haenszel, peto, lambda t: mantel_haenszel(t, "RD"), lambda t: mantel_haenszel(t, "RR")):
        a, b = pool(table), pool(swapped(table))
        assert_allclose([a.estimate, a.se, a.Q], [-b.estimate, b.se, b.Q], rtol=1e-9, atol=1e-12)


@given(any_counts())
@settings(max_examples=40, deadline=None)
def test_order_and_outcome_coding_do_not_matter(table):
    a, b = mantel_haenszel(table), mantel_haenszel(table.iloc[::-1])
    assert_allclose(
        [a.estimate, a.se, a.tarone.statistic], [b.estimate, b.se, b.tarone.statistic], rtol=1e-9, atol=1e-12
    )
    other = table.assign(ai=table.n1i - table.ai, ci=table.n2i - table.ci)
    for pool in (mantel_haenszel, peto):
        assert_allclose(pool(other).estimate, -pool(table).estimate, rtol=1e-9, atol=1e-12)
    assert_allclose(mantel_haenszel(other, "RD").se, mantel_haenszel(table, "RD").se, rtol=1e-9)


@given(any_counts(), st.integers(1, 100), st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_a_study_without_events_changes_nothing(table, n1, n2):
    more = pd.concat([table, counts((0, n1, 0, n2))], ignore_index=True)
    for measure in ("OR", "RR"):
        a, b = mantel_haenszel(table, measure), mantel_haenszel(more, measure)
        assert_allclose([a.estimate, a.se, a.Q, a.Q_df], [b.estimate, b.se, b.Q, b.Q_df], rtol=1e-10)
        assert b.weights[-1] == 0
        assert (b.k, b.k_used) == (a.k + 1, a.k_used)
    assert_allclose(mantel_haenszel(table).tarone, mantel_haenszel(more).tarone, rtol=1e-10)
    assert_allclose(peto(table).estimate, peto(more).estimate, rtol=1e-10)


@given(any_counts(), st.integers(2, 50))
@settings(max_examples=40, deadline=None)
def test_scale(table, factor):
    # A table that many times as large has the same ratio, and a variance that many times as small.
    for measure in ("OR", "RR", "RD"):
        a, b = mantel_haenszel(table, measure), mantel_haenszel(table * factor, measure)
        assert_allclose([b.estimate, b.se**2 * factor], [a.estimate, a.se**2], rtol=1e-9, atol=1e-12)
