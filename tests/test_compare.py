"""Other programs' numbers for the same data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.explaining.presets import PRESETS
from metamiq.explaining.programs import PROGRAMS

TRIAL = (18.9, 7.4, 15, 24.3, 6.1, 14)
# What each program gives for that trial, to the digits that it was recorded with.
PRINTED = [
    ("metafor, LS (default)", -0.7712342, 0.14835045),
    ("metafor, LS2", -0.7712342, 0.14070354),
    ("metafor, UB", -0.7712342, 0.14987001),
    ("R meta", -0.7712342, 0.14987001),
    ("statsmodels", -0.7712691, 0.14996387),
    ("RevMan 5", -0.7712691, 0.14996387),  # recorded as R meta with exact.smd = FALSE
    ("R esc", -0.7712691, 0.14895161),
    ("R compute.es", -0.7712691, 0.14071627),
    ("PyMARE", -0.7712691, 0.14147599),
    ("metafor, SMD1 (Glass)", -0.8330008728, 0.1628770400),  # metafor 3.8-1, ten digits
]


@pytest.mark.parametrize(("program", "g", "variance"), PRINTED)
def test_one_trial_in_other_programs(program, g, variance):
    table = mm.compare_programs(*TRIAL).set_index("program")
    assert_allclose(table.loc[program, "yi"], g, rtol=0, atol=5.1e-8)  # half a unit of the last digit
    assert_allclose(table.loc[program, "vi"], variance, rtol=0, atol=5.1e-9)


def test_what_differs_is_said():
    table = mm.compare_programs(*TRIAL).set_index("program")
    assert table.loc["metafor, LS (default)", "differs"] == ""
    assert table.loc["RevMan 5", "differs"] == "J = 1 − 3/(4·(n₁ + n₂) − 9); v = 1/n₁ + 1/n₂ + g²/(2·(n₁ + n₂ − 3.94))"
    assert "SD of group 2" in table.loc["metafor, SMD1 (Glass)", "differs"]
    assert table["source"].str.len().min() > 0


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-50, 50), st.floats(0.5, 20), st.integers(4, 300), st.floats(-50, 50), st.floats(0.5, 20),
    st.integers(4, 300),
)  # fmt: skip
def test_formulas_are_the_engine_s_where_the_engine_has_them(m1, sd1, n1, m2, sd2, n2):
    table = mm.compare_programs(m1, sd1, n1, m2, sd2, n2).set_index("program")
    for program, vtype in (("metafor, LS (default)", "LS"), ("metafor, LS2", "LS2"), ("R meta", "UB")):
        assert_allclose(
            table.loc[program, ["yi", "vi"]].astype(float),
            mm.hedges_g(m1, sd1, n1, m2, sd2, n2, vtype=vtype),
            rtol=1e-9,
        )
    glass = mm.glass_delta(m1i=m1, n1i=n1, m2i=m2, sd2i=sd2, n2i=n2)
    assert_allclose(table.loc["metafor, SMD1 (Glass)", ["yi", "vi"]].astype(float), glass, rtol=1e-9)


def test_impossible_values_are_refused():
    with pytest.raises(mm.DataError, match="sd1i must be greater than 0"):
        mm.compare_programs(1, -1, 10, 2, 1, 10)


@pytest.fixture
def trials():
    return mm.load_dataset("normand1999").trials


def test_presets_name_known_programs_and_sources():
    assert set(PRESETS) == {"revman5", "revman2025", "metafor", "meta", "cma", "jasp"}
    assert {p.smd for p in PRESETS.values()} <= {p.name for p in PROGRAMS}
    assert all(p.source for p in PRESETS.values())


def test_the_metafor_preset_is_the_engine(trials):
    a = mm.analyse(trials, "SMD", preset="metafor")
    fit = mm.random_effects(mm.effect_sizes(trials, "SMD"), method="REML", test="z")
    assert_allclose([a.fit.estimate, a.fit.tau2, a.I2, *a.pi], [fit.estimate, fit.tau2, fit.I2, *fit.pi()])


def test_revman5_by_hand(trials):
    a = mm.analyse(trials, "SMD", preset="revman5")
    N = (trials["n1i"] + trials["n2i"]).to_numpy(float)
    d, _ = mm.hedges_g(*(trials[c] for c in ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i")), correction="none")
    g = d * (1 - 3 / (4 * N - 9))
    v = N / (trials["n1i"] * trials["n2i"]).to_numpy(float) + g**2 / (2 * (N - 3.94))
    w = 1 / v
    Q = np.sum(w * (g - np.sum(w * g) / w.sum()) ** 2)
    tau2 = max(0, (Q - 8) / (w.sum() - np.sum(w**2) / w.sum()))
    w = 1 / (v + tau2)
    mean, se = np.sum(w * g) / w.sum(), w.sum() ** -0.5
    assert_allclose([a.fit.estimate, a.fit.ci_low, a.fit.tau2], [mean, mean - 1.959963985 * se, tau2], rtol=1e-8)
    assert_allclose(a.I2, 100 * (Q - 8) / Q)
    assert np.isnan(a.pi.low)


def test_i2_and_prediction_follow_the_preset():
    # The six standardised differences of Borenstein et al. (2009) under DL; intervals recorded from other programs.
    six = mm.load_dataset("borenstein2009").trials
    a = mm.analyse(six, preset="cma")
    assert_allclose(a.pi, [-0.2526, 0.9690], atol=1.5e-3)  # t(k - 2), from variances printed with four digits
    table = mm.compare_presets(six).set_index("preset")
    assert table.loc["meta", "I2"] == pytest.approx(table.loc["revman5", "I2"])  # both from Q
    assert table.loc["metafor", "I2"] != pytest.approx(table.loc["meta", "I2"], rel=1e-3)
    assert table.loc["jasp", "ci_low"] == pytest.approx(table.loc["revman2025", "ci_low"])


def test_other_measures_and_errors(trials):
    assert len(mm.compare_presets(trials, "MD")) == 6
    with pytest.raises(ValueError, match="preset must be one of"):
        mm.analyse(trials, "SMD", preset="excel")
    with pytest.raises(mm.DataError, match="Without a measure"):
        mm.analyse(trials, preset="meta")
    text = mm.analyse(trials, "SMD", preset="cma").summary()
    assert "not checked: all of it" in text
    assert "prediction interval" in text
