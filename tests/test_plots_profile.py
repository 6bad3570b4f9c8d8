"""Profile likelihoods of means, tau2 and coefficients against the intervals that the fits have, and by brute force."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

import metamiq as mm
from metamiq import plots
from metamiq.errors import DataError

DROP = stats.chi2.ppf(0.95, 1) / 2
GRID = {"atol": 2e-3}  # a curve of 83 values, read by linear interpolation


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(11)  # synthetic
    frame = mm.load_dataset("bcg").trials
    return mm.effect_sizes(frame, "RR").assign(group=rng.choice(["a", "b"], len(frame)))


@pytest.fixture(scope="module")
def evidence():
    return mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))


def at(rows, of, value):
    return np.interp(value, rows[of], rows["loglik"])


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_tau2_falls_by_the_drop_at_the_ends_of_its_interval(table, method):
    fit = mm.random_effects(table, method=method)
    rows = plots.profile_rows(fit, "tau2")
    assert_allclose(at(rows, "tau2", fit.tau2), 0.0, atol=1e-9)
    assert_allclose([at(rows, "tau2", end) for end in fit.tau2_ci(0.95, "PL")], -DROP, **GRID)


def test_tau2_of_a_regression_and_of_bounds(table, evidence):
    fit = mm.meta_regression(table, "latitude")
    rows = plots.profile_rows(fit, "tau2")
    assert_allclose(at(rows, "tau2", fit.tau2_ci(0.95, "PL").high), -DROP, **GRID)
    fit = mm.random_effects_bounded(evidence)
    rows = plots.profile_rows(fit, "tau2")
    assert_allclose(at(rows, "tau2", fit.tau2_ci(0.95).high), -DROP, **GRID)
    assert rows["tau2"].min() == 0.0


def test_coefficients_of_bounds_have_the_interval_of_the_fit(evidence):
    fit = mm.random_effects_bounded(evidence, moderators="mi_sessions")
    rows = plots.profile_rows(fit, "mi_sessions")
    low, high = fit.coefficients.loc["mi_sessions", ["ci_low", "ci_high"]]
    assert_allclose([at(rows, "mi_sessions", low), at(rows, "mi_sessions", high)], -DROP, **GRID)


def test_a_coefficient_by_brute_force(table):
    fit = mm.meta_regression(table, "latitude", method="ML")
    rows = plots.profile_rows(fit, "latitude")
    y, v, x = fit.source.yi, fit.source.vi, table["latitude"].to_numpy()

    def best(b):
        def minus(p):
            return -stats.norm.logpdf(y, p[0] + b * x, np.sqrt(v + p[1] ** 2)).sum()

        options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000}
        return -min(optimize.minimize(minus, (0.0, t), method="Nelder-Mead", options=options).fun for t in (0.05, 0.4))

    for i in (0, 20, 60, 82):
        gap = best(rows["latitude"][i]) - best(fit.beta[1])
        assert_allclose(rows["loglik"][i], gap, atol=1e-6)


def test_the_mean_has_the_interval_of_hardy_and_thompson(table):
    from metamiq.pooling.intervals import profile_likelihood_mean

    ci = profile_likelihood_mean(table["yi"], table["vi"])
    rows = plots.profile_rows(mm.random_effects(table), "mean")
    assert_allclose([at(rows, "mean", end) for end in ci], -DROP, **GRID)
    low, high = (float(np.exp(end)) for end in ci)
    label = plots.profile_likelihood(mm.random_effects(table)).get_label()
    assert f"95% profile interval of the mean {low:.2f} to {high:.2f}" in label


@pytest.mark.parametrize("of", ["tau2", "latitude", "Intercept"])
def test_every_parameter_is_drawn_readably(table, of):
    ax = plots.profile_likelihood(mm.meta_regression(table, "latitude"), of)
    assert plots.text_faults(ax.figure) == []
    assert of.replace("tau2", "τ²") in ax.get_xlabel()
    assert "95% profile interval of" in ax.get_label()


def test_what_has_no_profile_is_refused(table, evidence):
    with pytest.raises(DataError, match="tau2 needs a model that estimates it"):
        plots.profile_likelihood(mm.fixed_effect(table), "tau2")
    with pytest.raises(DataError, match="of must be one of 'mean', 'tau2', not 'latitude'"):
        plots.profile_likelihood(mm.random_effects(table), "latitude")
    with pytest.raises(DataError, match="of must be one of 'Intercept', 'latitude', 'tau2', not 'year'"):
        plots.profile_likelihood(mm.meta_regression(table, "latitude"), "year")
    with pytest.raises(DataError, match="needs one mean, but the model has moderators"):
        plots.profile_likelihood(mm.meta_regression(table, "latitude"))
    with pytest.raises(DataError, match=r"this one \(MH\) has weights of its own"):
        plots.profile_likelihood(mm.mantel_haenszel(mm.load_dataset("bcg").trials))
