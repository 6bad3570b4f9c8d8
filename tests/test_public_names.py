"""Every public name of the design, line by line, on bundled data; and what a newcomer would try first."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import metamiq as mm

RESULTS = "estimate se statistic dof p_value ci_low ci_high"


@pytest.fixture(scope="module")
def evidence():
    ds = mm.load_dataset("mi_cbt_anxiety")
    effects = mm.trial_effects(ds)
    return ds, effects, mm.random_effects_bounded(effects, moderators=None)


@pytest.fixture(scope="module")
def stroke():
    es = mm.effect_sizes(mm.load_dataset("normand1999").trials, "SMD")
    return es, mm.random_effects(es, method="REML", test="knha", level=0.95)


@pytest.fixture(scope="module")
def vaccine():
    counts = mm.load_dataset("bcg").trials
    es = mm.effect_sizes(counts, "RR")
    return counts, es, mm.meta_regression(es, "latitude", method="REML", test="knha")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def has(record, names):
    return [name for name in names.split() if not hasattr(record, name)] == []


def test_datasets_and_effects(evidence):
    ds, effects, bounded = evidence
    again = mm.read_dataset(ds.path)
    assert has(again, "trials results dropout claims path")
    assert {"trial_id", "yi", "vi", "yi_low", "yi_high"} <= set(effects.columns)
    assert has(bounded, "estimate ci_low ci_high pi_low pi_high k p_value tau2")
    g = mm.hedges_g([94], [22], [60], [92], [20], [60], vtype="LS")
    assert has(g, "yi vi")


def test_fits(stroke, vaccine):
    es, fit = stroke
    counts, rr, reg = vaccine
    assert has(
        fit,
        f"{RESULTS} pi_low pi_high k n_studies tau2 tau2_se Q Q_df Q_p I2 H2 method test level weights ci tau2_ci "
        "to_frame summary",
    )
    assert mm.fixed_effect(es).k == mm.random_effects(yi=es["yi"], vi=es["vi"]).k == 9
    assert has(reg, "QM QM_df QM_p QE QE_df QE_p tau2 R2 I2 predict")
    assert list(reg.coefficients.columns) == RESULTS.split()
    assert len(reg.predict(rr)) == 13
    scaled = mm.location_scale(rr, "latitude", "year", method="REML", test="knha", level=0.95)
    assert has(scaled, "coefficients scale_coefficients QM QM_p QS QS_p lrt lrt_p tau2 predict to_frame summary")
    assert mm.subgroups(rr, by="allocation", method="REML", test="z", common_tau2=False).summary()
    schools = mm.load_dataset("konstantopoulos2011").trials
    mlm = mm.multilevel(schools, cluster="district", rho=0.6, structure="che", robust="CR2")
    assert has(mlm, "coefficients sigma2")
    assert mm.mantel_haenszel(counts, measure="OR").estimate < 0 > mm.peto(counts).estimate
    assert mm.bayes_random_effects(es, tau_prior="halfnormal", tau_scale=0.5).tau2 > 0


def test_sensitivity(stroke, vaccine):
    _, fit = stroke
    _, rr, reg = vaccine
    assert len(mm.leave_one_out(fit)) == 9
    assert len(mm.cumulative(mm.random_effects(rr), by="year")) == 13
    assert {"rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "Q_del", "hat", "weight"} <= set(mm.influence(fit))
    assert len(mm.subsets(fit)) == 2**9 - 1
    assert mm.bootstrap(fit, n=100, seed=1).summary().startswith("Bootstrap (cases, seed 1): 100 replications")
    assert mm.permutation_test(reg, n=100, seed=1).summary().startswith("Permutation test, 100 arrangements, seed 1")
    assert has(mm.egger_test(fit), "statistic dof p_value intercept")
    assert has(mm.begg_test(fit), "tau p_value")
    assert has(mm.trim_and_fill(fit), "k0 side estimate ci_low ci_high filled")
    for options in ({"kind": "rosenthal"}, {"kind": "orwin", "target": -0.1}, {"kind": "rosenberg"}):
        assert has(mm.fail_safe_n(fit, **options), "n")
    assert mm.pet_peese(fit).summary()
    assert has(mm.selection_model(fit, steps=(0.025,)), "estimate se tau2 weights lrt_p")
    assert mm.p_curve(fit).summary()
    assert mm.p_uniform_star(fit).summary()
    assert has(mm.excess_significance(fit), "observed expected p_value")


def test_batch(stroke):
    es, fit = stroke
    many = mm.batch.random_effects(es["yi"].to_numpy()[None], es["vi"].to_numpy()[None], mask=None, method="REML")
    np.testing.assert_allclose(many.estimate, [fit.estimate], rtol=1e-10)  # one core


def test_explain_check_diff_audit(evidence):
    ds, _, _ = evidence
    found = mm.explain(ds, "merlo2010")
    assert found.to_text()
    assert found.to_latex()
    assert found.to_dict()["steps"]
    assert "73 rows" in mm.check(ds).summary()
    assert "no difference" in mm.diff(ds, ds).summary()
    assert "CONSISTENT" in mm.audit(ds).summary()


@pytest.mark.parametrize("name", ["forest", "funnel", "baujat", "radial", "gosh", "influence", "albatross", "orchard"])
def test_each_picture_of_a_fit(stroke, name):
    assert getattr(mm.plots, name)(stroke[1]).get_label()


def test_pictures_that_need_more(vaccine):
    _, rr, reg = vaccine
    assert mm.plots.bubble(reg).get_xlabel() == "latitude"
    assert mm.plots.labbe(mm.random_effects(rr)).get_label()
    assert mm.plots.cumulative(mm.random_effects(rr), by="year").get_label()


@pytest.mark.parametrize(
    "name", ["forest", "funnel", "baujat", "radial", "labbe", "albatross", "orchard", "bubble", "cumulative"]
)
def test_a_table_is_no_fit_to_draw(stroke, name):
    with pytest.raises(ValueError, match="drawn from a fit, not from a table"):
        getattr(mm.plots, name)(stroke[0])


@pytest.mark.parametrize(
    "name",
    ["leave_one_out", "cumulative", "influence", "subsets", "flip_set", "bootstrap", "permutation_test", "egger_test"],
)
def test_a_table_is_no_fit_to_stress(stroke, name):
    with pytest.raises(ValueError, match="needs a fit"):
        getattr(mm, name)(stroke[0])


@pytest.mark.parametrize(
    "name",
    ["p_curve", "p_uniform_star", "pet_peese", "excess_significance", "limit_meta_analysis", "bootstrap", "subsets"],
)
def test_a_regression_has_no_one_mean(vaccine, name):
    with pytest.raises(mm.DataError, match="needs one mean, but the model has moderators"):
        getattr(mm, name)(vaccine[2])


@pytest.mark.parametrize("name", ["bootstrap", "permutation_test"])
def test_bounds_cannot_be_drawn_again(evidence, name):
    with pytest.raises(mm.DataError, match="14 of 15 rows are bounds"):
        getattr(mm, name)(evidence[2])


def test_pictures_of_bounds(evidence):
    bounded = evidence[2]
    assert mm.plots.influence(bounded).child_axes
    with pytest.raises(mm.DataError, match="A Baujat plot needs an effect size for every row"):
        mm.plots.baujat(bounded)


def test_pictures_of_a_regression(vaccine):
    reg = vaccine[2]
    assert mm.plots.influence(reg).child_axes
    for name in ("gosh", "labbe"):
        with pytest.raises(mm.DataError, match="needs one mean"):
            getattr(mm.plots, name)(reg)
    with pytest.raises(ValueError, match="moderator must say which column to draw; the model has none"):
        mm.plots.bubble(mm.random_effects(vaccine[1]))


def test_what_a_newcomer_gives_is_answered(vaccine):
    with pytest.raises(ValueError, match=r"Of a dataset take \.trials"):
        mm.effect_sizes(mm.load_dataset("normand1999"), "SMD")
    with pytest.raises(mm.DataError, match="by must be a column of the table, but 'alloc' is not among"):
        mm.subgroups(vaccine[1], by="alloc")


def test_small_results_show_plain_numbers():
    one = mm.hedges_g(16.75, 9.66, 8, 8.13, 6.01, 8)
    assert "float64" not in repr(one)
    assert repr(one).startswith("EffectSizes(yi=1.01288")
    assert mm.random_effects(mm.effect_sizes(mm.load_dataset("bcg").trials, "RR")).summary().count("p < 0.0001") == 1
    given = mm.explain(odds_ratio=2, ci_low=0.9, ci_high=4.4, n1=40, n2=40).to_text().split("\n\n")[0]
    assert "OR = 2, lower = 0.9, upper = 4.4" in given
    assert "level = 0.95" in given
