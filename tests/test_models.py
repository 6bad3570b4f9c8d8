"""One mean: by hand, edge cases, messages, and what the record answers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import metamiq as mm
from metamiq.pooling.wls import tables

CLOSED_FORM = {"rtol": 1e-12}  # the same arithmetic in another order
YI, VI = np.array([0.1, 0.5, 0.9, 0.2]), np.array([0.04, 0.02, 0.05, 0.03])


def test_fixed_effect_by_hand():
    fit = mm.fixed_effect(yi=YI, vi=VI)
    w = 1 / VI
    mean = (w * YI).sum() / w.sum()
    assert_allclose(fit.estimate, mean, **CLOSED_FORM)
    assert_allclose(fit.se, w.sum() ** -0.5, **CLOSED_FORM)
    assert_allclose(fit.Q, (w * (YI - mean) ** 2).sum(), **CLOSED_FORM)
    assert_allclose(fit.Q_p, stats.chi2.sf(fit.Q, 3), **CLOSED_FORM)
    assert_allclose(fit.I2, 100 * (fit.Q - 3) / fit.Q, **CLOSED_FORM)
    assert_allclose(fit.H2, fit.Q / 3, **CLOSED_FORM)
    assert (fit.tau2, fit.dof, fit.Q_df, fit.k, fit.n_studies) == (0.0, None, 3, 4, 4)
    assert_allclose(fit.ci(0.9), mean + np.array([-1, 1]) * stats.norm.ppf(0.95) * fit.se, **CLOSED_FORM)


def test_dersimonian_laird_by_hand():
    fit = mm.random_effects(yi=YI, vi=VI, method="DL", test="z")
    w = 1 / VI
    Q = mm.fixed_effect(yi=YI, vi=VI).Q
    tau2 = (Q - 3) / (w.sum() - (w**2).sum() / w.sum())
    assert_allclose(fit.tau2, tau2, **CLOSED_FORM)
    ws = 1 / (VI + tau2)
    assert_allclose(fit.estimate, (ws * YI).sum() / ws.sum(), **CLOSED_FORM)
    assert_allclose(fit.se, ws.sum() ** -0.5, **CLOSED_FORM)
    assert_allclose(fit.weights, ws / ws.sum(), **CLOSED_FORM)
    s2 = 3 * w.sum() / (w.sum() ** 2 - (w**2).sum())
    assert_allclose(fit.I2, 100 * tau2 / (tau2 + s2), **CLOSED_FORM)


def test_hartung_knapp_by_hand():
    plain = mm.random_effects(yi=YI, vi=VI, method="DL", test="z")
    fit = mm.random_effects(yi=YI, vi=VI, method="DL", test="knha")
    ws = 1 / (VI + plain.tau2)
    s2 = (ws * (YI - plain.estimate) ** 2).sum() / 3
    assert_allclose(fit.se, plain.se * np.sqrt(s2), **CLOSED_FORM)
    assert fit.dof == 3
    assert_allclose(fit.p_value, 2 * stats.t.sf(abs(fit.estimate / fit.se), 3), **CLOSED_FORM)
    adhoc = mm.random_effects(yi=YI, vi=VI, method="DL", test="adhoc")
    assert_allclose(adhoc.se, max(plain.se, fit.se), **CLOSED_FORM)
    t = mm.random_effects(yi=YI, vi=VI, method="DL", test="t")
    assert (t.se, t.dof) == (plain.se, 3)


def test_defaults_are_reml_with_hartung_knapp():
    fit = mm.random_effects(yi=YI, vi=VI)
    assert (fit.method, fit.test, fit.level) == ("REML", "knha", 0.95)
    assert fit.pi_low < fit.ci_low < fit.estimate < fit.ci_high < fit.pi_high


def test_prediction_intervals():
    fit = mm.random_effects(yi=YI, vi=VI)
    spread = np.sqrt(fit.se**2 + fit.tau2)
    assert_allclose(fit.pi().high, fit.estimate + stats.t.ppf(0.975, 3) * spread, **CLOSED_FORM)
    assert_allclose(fit.pi(method="HTS").high, fit.estimate + stats.t.ppf(0.975, 2) * spread, **CLOSED_FORM)
    hts = mm.random_effects(yi=YI, vi=VI, pi_method="HTS")
    assert hts.pi() == fit.pi(method="HTS")
    two = mm.random_effects(yi=YI[:2], vi=VI[:2], pi_method="HTS")
    assert np.isnan(two.pi()).all()
    assert fit.pi(method="nagashima", seed=3) == fit.pi(method="nagashima", seed=3)


def test_equal_ivhet_and_custom_weights():
    equal = mm.random_effects(yi=YI, vi=VI, weights="equal", test="z")
    assert_allclose(equal.estimate, YI.mean(), **CLOSED_FORM)
    assert_allclose(equal.se, np.sqrt((VI + equal.tau2).sum()) / 4, **CLOSED_FORM)
    ivhet = mm.random_effects(yi=YI, vi=VI, method="DL", weights="ivhet", test="z")
    assert_allclose(ivhet.estimate, mm.fixed_effect(yi=YI, vi=VI).estimate, **CLOSED_FORM)
    w = 1 / VI
    assert_allclose(ivhet.se, np.sqrt((w**2 * (VI + ivhet.tau2)).sum()) / w.sum(), **CLOSED_FORM)
    custom = mm.random_effects(yi=YI, vi=VI, weights=[1, 0, 0, 0], test="z")
    assert_allclose([custom.estimate, custom.se], [YI[0], np.sqrt(VI[0] + custom.tau2)], **CLOSED_FORM)


def test_birge_multiplies_the_variance():
    plain, birge = mm.fixed_effect(yi=YI, vi=VI), mm.fixed_effect(yi=YI, vi=VI, dispersion="birge")
    assert_allclose(birge.se, plain.se * np.sqrt(plain.Q / 3), **CLOSED_FORM)
    assert birge.estimate == plain.estimate


def test_known_tau2_is_not_estimated():
    fit = mm.random_effects(yi=YI, vi=VI, tau2=0.3, test="z")
    w = 1 / (VI + 0.3)
    assert_allclose([fit.tau2, fit.estimate], [0.3, (w * YI).sum() / w.sum()], **CLOSED_FORM)
    with pytest.raises(ValueError, match="tau2 must be a finite number, 0 or greater, not -1"):
        mm.random_effects(yi=YI, vi=VI, tau2=-1)


def test_one_study_has_no_tau2():
    fit = mm.random_effects(yi=[0.4], vi=[0.05], test="z")
    assert (fit.estimate, fit.k) == (0.4, 1)
    assert_allclose(fit.se, np.sqrt(0.05), **CLOSED_FORM)
    assert np.isnan([fit.tau2, fit.I2, fit.tau2_se, fit.Q_p, *fit.pi(), *fit.tau2_ci()]).all()
    assert np.isnan(mm.random_effects(yi=[0.4], vi=[0.05]).se)


def test_identical_effects_have_no_heterogeneity():
    fit = mm.random_effects(yi=[0.3] * 5, vi=[0.02, 0.05, 0.04, 0.03, 0.1], test="z")
    assert (fit.tau2, fit.I2, fit.H2) == (0.0, 0.0, 1.0)
    assert_allclose(fit.estimate, 0.3, **CLOSED_FORM)


def test_a_table_gives_the_same_as_its_arrays_and_is_kept():
    table = pd.DataFrame({"study": ["a", "a", "b", "c"], "yi": YI, "vi": VI, "year": [2001, 2002, 2003, 2004]})
    fit = mm.random_effects(table)
    same = mm.random_effects(yi=YI, vi=VI)
    assert fit.estimate == same.estimate
    assert (fit.k, fit.n_studies) == (4, 3)
    assert list(fit.effects.columns) == ["study", "yi", "vi", "year"]
    table.loc[0, "yi"] = 99.0  # the caller's table is the caller's
    assert fit.effects["yi"].tolist() == YI.tolist()
    handed_out = fit.effects
    handed_out.loc[0, "yi"] = 99.0
    assert fit.effects["yi"].tolist() == YI.tolist()


def test_records_are_frozen():
    fit = mm.random_effects(yi=YI, vi=VI)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.estimate = 1.0
    with pytest.raises(ValueError, match="read-only"):
        fit.source.yi[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        fit.weights[0] = 1.0


def test_to_frame_has_the_closed_set_of_columns():
    frame = mm.random_effects(yi=YI, vi=VI).to_frame()
    assert frame.index.name == "term"
    assert list(frame.columns) == [
        *("estimate", "se", "statistic", "dof", "p_value"),
        *("ci_low", "ci_high", "pi_low", "pi_high"),
    ]


def test_summary_says_what_was_done():
    text = mm.random_effects(yi=YI, vi=VI).summary()
    for words in ("REML", "knha", "k = 4", "4 studies", "prediction interval", "tau2", "I2", "Q(3)"):
        assert words in text
    assert "*" not in text
    ratio = pd.DataFrame({"yi": YI, "vi": VI})
    ratio.attrs["measure"] = "OR"
    assert "log scale; ratio" in mm.random_effects(ratio).summary()


# Synthetic: little spread, ordinary spread, and little spread in many studies.
@pytest.mark.parametrize(
    ("yi", "vi"),
    [([0.30, 0.32, 0.31], [0.1] * 3), (YI, VI), (np.linspace(0, 0.5, 40), np.full(40, 0.1)), ([0.3, 0.4], [0.1, 0.1])],
)
def test_a_hartung_knapp_interval_narrower_than_the_common_effects_is_told(yi, vi):
    def width(test, method="REML"):
        low, high = mm.random_effects(yi=yi, vi=vi, test=test, method=method).ci()
        return high - low

    fit = mm.random_effects(yi=yi, vi=vi)
    narrow = width("knha") < width("z", "FE")
    assert fit.is_narrower_than_common == narrow
    assert ("narrower than that of one common effect" in fit.summary()) == narrow
    assert ("Test adhoc" in fit.summary()) == narrow
    assert width("adhoc") >= width("z", "FE")  # so that what the caution names does avoid it
    for test in ("adhoc", "z", "t"):
        assert mm.random_effects(yi=yi, vi=vi, test=test).caution == ""
    names = ["a" if i < len(yi) - 1 else "b" for i in range(len(yi))]
    parted = mm.subgroups(pd.DataFrame({"yi": yi, "vi": vi, "g": names}), "g", test="knha")
    own = [name for name, part in parted.fits.items() if part.is_narrower_than_common]
    line = "narrower than that of one common effect (test adhoc avoids it): " + ", ".join(own)
    assert (line in parted.summary()) == bool(own)


def test_the_four_tables_have_both_kinds():
    assert mm.random_effects(yi=[0.30, 0.32, 0.31], vi=[0.1] * 3).is_narrower_than_common
    assert mm.random_effects(yi=np.linspace(0, 0.5, 40), vi=np.full(40, 0.1)).is_narrower_than_common
    assert not mm.random_effects(yi=YI, vi=VI).is_narrower_than_common


def test_shrunken_effects_lie_between_their_own_and_the_mean():
    fit = mm.random_effects(yi=YI, vi=VI, method="DL", test="z")
    blup = fit.shrunken()["estimate"].to_numpy()
    assert ((blup - fit.estimate) * (YI - fit.estimate) >= 0).all()
    assert (np.abs(blup - fit.estimate) < np.abs(YI - fit.estimate)).all()


def test_loglik_is_the_normal_density():
    fit = mm.random_effects(yi=YI, vi=VI, method="ML", test="z")
    direct = stats.norm.logpdf(YI, fit.estimate, np.sqrt(VI + fit.tau2)).sum()
    assert_allclose(fit.loglik, direct, **CLOSED_FORM)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "reml2"}, r"method must be one of 'CA2', 'DL', .* not 'reml2'"),
        ({"test": "wald"}, r"test must be one of 'adhoc', 'knha', 't', 'z', not 'wald'"),
        ({"level": 95}, "level must lie between 0 and 1, not 95"),
        ({"weights": "big"}, "weights must be numbers, 'equal' or 'ivhet', not 'big'"),
        ({"pi_method": "no"}, "pi_method must be one of 'HTS', 'nagashima', 'test', not 'no'"),
    ],
)
def test_unknown_choices_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        mm.random_effects(yi=YI, vi=VI, **arguments)


def test_faults_in_a_table_name_the_study():
    table = pd.DataFrame({"study": ["a", "b", "c"], "yi": [0.1, np.nan, 0.2], "vi": [0.1, 0.1, -1.0]})
    with pytest.raises(mm.DataError, match=r"'b' has yi = nan and vi = 0.1 \(2 such rows: b, c\)"):
        mm.random_effects(table)
    with pytest.raises(mm.DataError, match="must have the columns yi and vi, but vi is missing among study, yi"):
        mm.random_effects(table[["study", "yi"]])
    with pytest.raises(mm.DataError, match="the table is empty"):
        mm.random_effects(table.iloc[:0])
    bounds = table.assign(yi_low=0.0, yi_high=1.0)
    with pytest.raises(mm.DataError, match="random_effects_bounded"):
        mm.random_effects(bounds)
    with pytest.raises(mm.DataError, match="it holds text"):
        mm.random_effects(table.assign(yi="much"))


def test_faults_in_arrays():
    with pytest.raises(mm.DataError, match=r"row 2 has yi = inf and vi = 1 \(1 such rows in all\)"):
        mm.random_effects(yi=[1, np.inf], vi=[1, 1])
    with pytest.raises(mm.DataError, match="yi and vi must have the same length, but they have 3 and 2"):
        mm.random_effects(yi=[1, 2, 3], vi=[1, 1])
    with pytest.raises(ValueError, match="or both yi= and vi="):
        mm.random_effects(yi=[1, 2])
    with pytest.raises(ValueError, match="not both"):
        mm.random_effects(pd.DataFrame({"yi": YI, "vi": VI}), yi=YI, vi=VI)
    with pytest.raises(ValueError, match="must be a DataFrame"):
        mm.random_effects(YI)
    with pytest.raises(mm.DataError, match="must have one value per effect size"):
        mm.random_effects(yi=YI, vi=VI, weights=[1, 2])


def test_masked_rows_may_hold_anything():
    t = tables([[0.1, np.nan, 0.3]], [[0.1, -1.0, 0.2]], mask=[[True, False, True]])
    assert t.k.tolist() == [2.0]


@pytest.mark.parametrize("value", [0.3, -0.6041399006508774, 597235.4539511])
def test_equal_effect_sizes_are_said_to_be_equal(value):
    # The mean of the second and the third differs from them by a rounding.
    fit = mm.random_effects(yi=[value] * 7, vi=[0.1, 0.2, 0.3, 0.01, 1.0, 0.7, 0.15])
    assert fit.caution.startswith("All effect sizes are equal")
    assert not fit.is_narrower_than_common


def test_series_are_paired_by_one_index():
    yi = pd.Series([0.1, 0.2, 0.4])
    with pytest.raises(mm.DataError, match="yi and vi must have the same index"):
        mm.random_effects(yi=yi, vi=pd.Series([0.01, 0.02, 0.03], index=[2, 1, 0]))
    with pytest.raises(mm.DataError, match="m1i and sd1i must have the same index"):
        mm.hedges_g(m1i=yi, sd1i=pd.Series([1, 1, 1], index=[2, 1, 0]), n1i=9, m2i=0, sd2i=1, n2i=9)
    same = mm.random_effects(yi=yi.set_axis([7, 7, 9]), vi=pd.Series([0.01, 0.02, 0.03], index=[7, 7, 9]))
    assert same.estimate == mm.random_effects(yi=yi.tolist(), vi=[0.01, 0.02, 0.03]).estimate


def test_a_masked_value_is_missing_and_a_generator_is_named():
    with pytest.raises(mm.DataError, match="row 2 has yi = nan"):
        mm.random_effects(yi=np.ma.array([0.1, 9.0, 0.3], mask=[False, True, False]), vi=[1, 1, 1])
    with pytest.raises(mm.DataError, match="yi must be a list, an array or a column, not a generator"):
        mm.random_effects(yi=(x for x in (0.1, 0.2)), vi=[1, 1])


@pytest.mark.parametrize(
    ("choice", "meant"),
    [({"test": "hksj"}, "knha"), ({"method": "RELM"}, "REML"), ({"method": "dl"}, "DL"), ({"method": "fixed"}, "FE")],
)
def test_a_misspelt_choice_is_told_the_likely_one(choice, meant):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        mm.random_effects(yi=[0.1, 0.2], vi=[1, 1], **choice)
    with pytest.raises(ValueError, match=r"not 'elephant'\.$"):
        mm.random_effects(yi=[0.1, 0.2], vi=[1, 1], method="elephant")


@pytest.mark.parametrize(
    ("name", "measure", "line"),
    [
        ("bcg", "RR", "(log scale; ratio 0.489, 0.330 to 0.726; prediction interval 0.136 to 1.763)"),
        (  # metafor: predict(rma(...), transf=transf.ztor)
            "mcdaniel1994",
            "ZCOR",
            "(Fisher's z; correlation 0.233, 0.200 to 0.266; prediction interval -0.102 to 0.521)",
        ),
        ("bcg", "RD", None),
    ],
)
def test_a_mean_is_told_in_units_that_readers_think_in(name, measure, line):
    effects = mm.effect_sizes(mm.load_dataset(name).trials, measure)
    last = mm.random_effects(effects).summary().splitlines()[-1]
    assert (last == line) if line else last.startswith("Q(")
    assert "prediction" not in mm.fixed_effect(effects).summary()
    scale = "log scale" if measure == "RR" else "Fisher's z" if measure == "ZCOR" else None
    moderated = mm.meta_regression(effects.assign(x=range(len(effects))), "x").summary()
    assert f"(coefficients: {scale})" in moderated if scale else "(coefficients" not in moderated


def test_a_p_value_is_never_printed_as_nought():
    effects = mm.effect_sizes(mm.load_dataset("mcdaniel1994").trials, "ZCOR").assign(vi=1e-6)
    for fit in (mm.subgroups(effects, "type"), mm.robust(mm.random_effects(effects, test="z"), cluster="study")):
        assert "<0.0001" in fit.summary()
    assert "(REML, test z)" in mm.subgroups(effects, "type").summary()


def test_more_subgroups_than_anybody_reads_are_refused():
    table = pd.DataFrame({"yi": 0.1, "vi": 0.1, "group": np.arange(1_001)})
    with pytest.raises(mm.DataError, match="at most 1,000, but 'group' names 1,001"):
        mm.subgroups(table, "group")
