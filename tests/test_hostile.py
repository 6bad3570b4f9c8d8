"""Hostile input: the right number, or one clear sentence; never a warning (pytest makes them errors) or a traceback.

All tables here are synthetic.
"""

from __future__ import annotations

import errno
import gzip
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from numpy.testing import assert_allclose
from scipy import integrate, stats

import metamiq as mm
from metamiq.cli import main

SAME_NUMBERS = {"rtol": 1e-12}  # the same arithmetic on the same numbers
FLOAT32 = {"rtol": 1e-6}  # the inputs carry seven digits

K = 8
TABLE = pd.DataFrame(
    {
        "study": list("abcdefgh"),
        "yi": [0.1, 0.5, 0.9, 0.2, 0.6, 0.3, 0.4, 0.8],
        "vi": [0.04, 0.02, 0.05, 0.03, 0.02, 0.03, 0.04, 0.01],
        "dose": [1.0, 2, 4, 1, 3, 5, 2, 6],
        "group": list("ppqqpqpp"),
        "cluster": list("mmnnoopp"),
    }
)

FITS: dict[str, Callable[[Any], Any]] = {
    "random_effects": mm.random_effects,
    "fixed_effect": mm.fixed_effect,
    "meta_regression": lambda t: mm.meta_regression(t, "dose + group"),
    "subgroups": lambda t: mm.subgroups(t, "group"),
    "multilevel": lambda t: mm.multilevel(t, cluster="cluster"),
    "robust": lambda t: mm.robust(mm.random_effects(t), cluster="cluster"),
    "bayes_random_effects": mm.bayes_random_effects,
}


def _numbers(fit: Any) -> np.ndarray:
    table = fit.coefficients if hasattr(fit, "coefficients") else fit.to_frame()
    return table.select_dtypes("number").to_numpy(float)


SAME = {
    "nullable": TABLE.convert_dtypes(),
    "objects": TABLE.astype(object),
    "numbers as text": TABLE.astype({"yi": str, "vi": str}),
    "string dtype": TABLE.astype({"study": "string", "group": "string", "cluster": "string"}),
    "categories": TABLE.astype({"study": "category", "group": "category", "cluster": "category"}),
    "unused category": TABLE.assign(group=pd.Categorical(TABLE["group"], categories=list("zpqa"))),
    "whole doses": TABLE.astype({"dose": "Int64"}),
    "duplicate index": TABLE.set_axis([0, 0, 0, 1, 1, 1, 2, 2]),
    "text index": TABLE.set_axis(list("stuvwxyz")),
    "multi-index": TABLE.set_index(["study", "group"], drop=False),
    "column names that are no text": TABLE.assign(x=1).rename(columns={"x": 0}),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", SAME)
def test_the_same_data_in_another_guise_give_the_same_numbers(kind, fit):
    assert_allclose(_numbers(FITS[fit](SAME[kind])), _numbers(FITS[fit](TABLE)), **SAME_NUMBERS)


@pytest.mark.parametrize("fit", FITS)
def test_single_precision_is_read_as_it_is(fit):
    single = TABLE.astype({"yi": "float32", "vi": "float32"})
    as_double = single.astype({"yi": float, "vi": float})
    assert_allclose(_numbers(FITS[fit](single)), _numbers(FITS[fit](as_double)), **FLOAT32)


REFUSED = {
    "empty": (TABLE.iloc[:0], "empty|at least"),
    "effect missing": (TABLE.assign(yi=TABLE["yi"].mask(TABLE["study"] == "a")), "yi must be finite"),
    "nullable effect missing": (TABLE.convert_dtypes().assign(yi=pd.array([pd.NA] * K, dtype="Float64")), "finite"),
    "effect infinite": (TABLE.assign(yi=np.inf), "yi must be finite"),
    "variance infinite": (TABLE.assign(vi=np.inf), "vi finite"),
    "variance negative": (TABLE.assign(vi=-0.1), "greater than 0"),
    "variance 0": (TABLE.assign(vi=0.0), "greater than 0"),
    "variance vanishing": (TABLE.assign(vi=1e-300), "between 1e-50 and 1e"),
    "variance immense": (TABLE.assign(vi=1e300), "between 1e-50 and 1e"),
    "effect immense": (TABLE.assign(yi=TABLE["yi"] * 1e300), "at most 1e"),
    "text": (TABLE.assign(yi=list("abcdefgh")), "holds text"),
    "truth values": (TABLE.assign(yi=True), "holds truth values"),
    "dates": (TABLE.assign(yi=pd.Timestamp("2020-01-01")), "holds dates"),
    "durations": (TABLE.assign(yi=pd.Timedelta(1, "D")), "holds durations"),
    "complex numbers": (TABLE.assign(yi=TABLE["yi"] + 1j), "holds complex numbers"),
    "no variance": (TABLE.drop(columns="vi"), "columns yi and vi"),
    "a column twice": (pd.concat([TABLE, TABLE[["yi"]]], axis=1), "Column names must differ, but yi"),
    "columns in two levels": (TABLE.set_axis(pd.MultiIndex.from_product([["t"], TABLE.columns]), axis=1), "columns yi"),
    "a list": ([[0.1, 0.2], [0.3, 0.4]], "DataFrame"),
    "a dict": ({"yi": [0.1], "vi": [0.2]}, "DataFrame"),
    "an array": (TABLE[["yi", "vi"]].to_numpy(), "DataFrame"),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_pooled_is_refused_in_one_sentence(kind, fit):
    table, said = REFUSED[kind]
    with pytest.raises(ValueError, match=said):  # DataError is a ValueError
        FITS[fit](table)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("fit", ["random_effects", "fixed_effect", "meta_regression", "subgroups", "multilevel"])
def test_another_unit_gives_the_same_answer_in_that_unit(fit, scale):
    scaled = TABLE.assign(yi=TABLE["yi"] * scale, vi=TABLE["vi"] * scale**2)
    here, there = FITS[fit](TABLE), FITS[fit](scaled)
    columns = ["estimate", "ci_low", "ci_high"]
    a, b = ((f.coefficients if hasattr(f, "coefficients") else f.to_frame())[columns] for f in (here, there))
    assert_allclose(b.to_numpy() / scale, a.to_numpy(), rtol=1e-6)  # an iteration may stop elsewhere


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("0", "at least one term"),
        ("-1", "at least one term"),
        ("dose | group", "one part"),
        ("(", "could not be read"),
        ("dose +", "could not be read"),
        ("__import__('os').system('true')", "could not be read|must be a column"),
        ("loge(dose)", "may hold"),
        ("log(dose - 1)", "must be finite"),
        ("log(dose - 2)", "must be finite"),
        ("lag(dose)", "must be finite"),
        ("yi", "other than the effect"),
        (None, "must be text"),
        (["dose"], "must be text"),
        ("day", "numbers or text"),
        ("lists", "numbers or text"),
        ("huge", "in size"),
    ],
)
def test_a_formula_that_says_nothing_clear_is_refused(formula, said):
    table = TABLE.assign(day=pd.Timestamp("2020-01-01"), lists=[[1]] * K, huge=1e200 * TABLE["dose"])
    with pytest.raises(ValueError, match=said) as caught:
        mm.meta_regression(table, formula)
    assert "\x1b" not in str(caught.value)  # no terminal colours in a message


def test_numbers_beside_an_empty_cell_are_numbers_not_levels():
    table = TABLE.assign(dose=pd.Series([1, None, 4, 1, 3, 5, 2, 6], dtype=object))
    assert mm.meta_regression(table, "dose").names == ("Intercept", "dose")


def test_text_in_new_rows_leaves_the_fit_as_it_was():
    reg = mm.meta_regression(TABLE, "dose")
    before = reg.predict(TABLE)
    with pytest.raises(mm.DataError, match="must hold numbers, as in the fitted data"):
        reg.predict(pd.DataFrame({"dose": ["high"]}))
    pd.testing.assert_frame_equal(reg.predict(TABLE), before)


def test_new_rows_beyond_a_transformation_are_refused():
    with pytest.raises(mm.DataError, match="must be finite"):
        mm.meta_regression(TABLE, "log(dose)").predict(pd.DataFrame({"dose": [0, 1]}))
    with pytest.raises(ValueError, match="could not be applied to the new rows"):
        mm.meta_regression(TABLE, "bs(dose, df=4)").predict(pd.DataFrame({"dose": [100]}))


def test_a_regression_of_zeros_has_an_undefined_test():
    reg = mm.meta_regression(TABLE.assign(yi=0.0), "dose")
    assert np.isnan(reg.QM)
    assert "QE(6) = 0.000" in reg.summary()


@pytest.mark.parametrize("contrast", ["x", [[np.nan, 0]], [1, 2, 3], None])
def test_a_contrast_must_be_finite_numbers_one_per_coefficient(contrast):
    reg = mm.meta_regression(TABLE, "dose")
    for ask in (reg.wald_test, reg.contrast):
        with pytest.raises(ValueError, match="contrast must"):
            ask(contrast)


@pytest.mark.parametrize("level", [0, 1, 95, -0.1, np.nan, "0.95", True, [0.9]])
def test_a_level_is_a_proportion_wherever_it_is_asked_for(level):
    fit, reg = mm.random_effects(TABLE), mm.meta_regression(TABLE, "dose")
    asks: list[Callable[[], Any]] = [
        lambda: mm.random_effects(TABLE, level=level),
        lambda: fit.ci(level),
        lambda: fit.ci(level, "PL"),
        lambda: fit.pi(level),
        lambda: fit.to_frame(level),
        lambda: fit.tau2_ci(level),
        lambda: reg.predict(TABLE, level),
        lambda: mm.bayes_random_effects(TABLE, level=level),
        lambda: mm.multilevel(TABLE, cluster="cluster", level=level),
    ]
    for ask in asks:
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            ask()


@pytest.mark.parametrize(("seed", "said"), [(-1, "at least 0"), (1.5, "whole number"), ("a", "whole number")])
def test_a_seed_is_a_whole_number(seed, said):
    fit = mm.random_effects(TABLE)
    for ask in (lambda: mm.bootstrap(fit, n=10, seed=seed), lambda: fit.pi(0.95, "nagashima", seed=seed)):
        with pytest.raises(ValueError, match=f"seed must be .*{said}"):
            ask()


@pytest.mark.parametrize("n", [0, -1, 2.5, "a", True])
def test_a_number_of_repetitions_is_a_whole_number(n):
    fit = mm.random_effects(TABLE)
    for ask in (lambda: mm.bootstrap(fit, n=n), lambda: mm.permutation_test(fit, n=n), lambda: mm.subsets(fit, n=n)):
        with pytest.raises(ValueError, match="n must be"):
            ask()


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1e300])
def test_the_scale_of_weights_does_not_matter(scale):
    weights = np.arange(1.0, K + 1)
    there, here = (mm.random_effects(TABLE, weights=w) for w in (weights * scale, weights))
    assert_allclose([there.estimate, there.se], [here.estimate, here.se], rtol=1e-10)  # closed form after tau2


@pytest.mark.parametrize("tau2", [-1, np.nan, np.inf, "a", [1]])
def test_a_known_tau2_is_a_number(tau2):
    with pytest.raises(ValueError, match="tau2 must be a finite number"):
        mm.random_effects(TABLE, tau2=tau2)


@pytest.mark.parametrize(
    ("yi", "vi", "said"),
    [
        ([0.1, 0.2], [0.1], "same length"),
        (["a", "b"], [0.1, 0.2], "holds text"),
        ([[0.1, 0.2], [0.3, 0.4]], [[0.1, 0.2], [0.3, 0.4]], "one row of numbers"),
        ([], [], "empty"),
        ([0.1, np.nan], [0.1, 0.2], "finite"),
        ([0.1, 1e300], [0.1, 0.2], "at most"),
        ([True, False], [0.1, 0.2], "truth values"),
    ],
)
def test_arrays_that_cannot_be_pooled_are_refused(yi, vi, said):
    with pytest.raises(mm.DataError if said != "one row of numbers" else ValueError, match=said):
        mm.random_effects(yi=yi, vi=vi)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, pd.array, lambda x: pd.Series(x, index=[9, 9, 9])])
def test_arrays_of_any_kind_are_read_alike(kind):
    yi, vi = [0.1, 0.5, 0.9], [0.04, 0.02, 0.05]
    assert mm.random_effects(yi=kind(yi), vi=kind(vi)).estimate == mm.random_effects(yi=yi, vi=vi).estimate


MEASURES = list(mm.measure_table()["measure"])
NEEDED = dict(zip(MEASURES, mm.measure_table()["columns"], strict=True))
ARMS = pd.DataFrame(
    {
        **{"m1i": [5.0, 4, 3], "sd1i": [1.0, 1, 2], "n1i": [10.0, 12, 20]},
        **{"m2i": [4.0, 4, 2], "sd2i": [1.0, 1, 2], "n2i": [11.0, 12, 19]},
        **{"ai": [1.0, 2, 3], "ci": [2.0, 3, 1], "xi": [1.0, 5, 10], "ni": [10.0, 20, 30], "ri": [0.1, 0.5, -0.3]},
        **{f"m{g}i_{t}": [5.0, 4, 3] for g in (1, 2) for t in ("pre", "post")},
        **{f"sd{g}i_{t}": [1.0, 1, 2] for g in (1, 2) for t in ("pre", "post")},
    }
)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_measure_makes_an_infinity_or_half_a_number(measure):
    for column in set(ARMS) & set(NEEDED[measure].split()):
        for value in (1e300, -1e300, 1e150, 1e16, 1e-300, np.inf, -1.0, 0.0):
            try:
                es = mm.effect_sizes(ARMS.assign(**{column: [ARMS[column][0], value, ARMS[column][2]]}), measure)
            except mm.DataError:
                continue
            assert (es["yi"].isna() == es["vi"].isna()).all()
            assert np.isfinite(es[["yi", "vi"]].fillna(0.0)).all(axis=None)
            assert (es["vi"].fillna(0.0) >= 0).all()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("value", "said"), [(True, "truth values"), (pd.Timestamp("2020-01-01"), "dates"), (1j, "complex numbers")]
)
def test_no_measure_takes_other_things_for_numbers(measure, value, said):
    with pytest.raises(mm.DataError, match=f"must hold numbers, but it holds {said}"):
        mm.effect_sizes(ARMS.assign(**dict.fromkeys(ARMS, value)), measure)


@pytest.mark.parametrize("value", ["x", 1 + 1j, True, 10**400, {}, pd.Timestamp("2020-01-01")])
def test_a_calculator_refuses_what_is_not_a_number(value):
    for ask in (lambda: mm.hedges_g(value, 1, 10, 0, 1, 10), lambda: mm.g_from_t(value, 10, 10)):
        with pytest.raises(mm.DataError, match="must hold numbers"):
            ask()
    with pytest.raises(mm.DataError, match="must hold numbers"):
        mm.small_sample_correction(value)


def test_the_correction_of_an_infinite_sample_is_none():
    assert mm.small_sample_correction(np.inf) == 1.0


@pytest.mark.parametrize(("g", "n"), [(8.0, 20), (-8.0, 20), (10.0, 2), (50.0, 5), (0.5, 20)])
def test_the_exact_interval_of_a_large_effect_solves_its_equation(g, n):
    dof, scale = 2 * n - 2, (2 / n) ** 0.5
    t = g / float(mm.small_sample_correction(dof)) / scale

    def below(nc: float) -> float:  # P(T <= t) = E Phi(t V - nc), V = chi / sqrt(dof), by quadrature
        ends = stats.chi.ppf([1e-15, 1 - 1e-15], dof)
        parts = stats.chi.ppf([0.01, 0.025, 0.05, 0.5, 0.95, 0.975, 0.99], dof)
        inside = lambda c: stats.chi.pdf(c, dof) * stats.norm.cdf(t * c / dof**0.5 - nc)  # noqa: E731
        return integrate.quad(inside, *ends, points=parts, limit=500)[0]

    low, high = mm.hedges_g_ci(g, n, n)
    assert_allclose([below(low / scale), below(high / scale)], [0.975, 0.025], rtol=1e-6)  # the quadrature's


@pytest.fixture
def study_table(tmp_path: Path) -> Path:
    path = tmp_path / "studies.csv"
    TABLE.to_csv(path, index=False)
    return path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_figure_that_cannot_be_written_is_one_sentence(study_table, tmp_path):
    result = _run("pool", study_table, "--forest", tmp_path / "absent" / "forest.svg")
    assert result.exit_code == 2
    assert "forest.svg could not be read or written: No such file or directory." in result.stderr


@pytest.mark.parametrize(("name", "start"), [("forest.svg", b"<?xml"), ("forest.PNG", b"\x89PNG"), ("f.pdf", b"%PDF-")])
def test_a_figure_is_what_its_name_says(study_table, tmp_path, name, start):
    assert _run("pool", study_table, "--forest", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_figure_of_another_kind_is_refused_before_the_work(study_table, tmp_path):
    result = _run("pool", study_table, "--forest", tmp_path / "forest.eps")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "must name a file that ends in .svg, .pdf or .png" in result.stderr


def test_an_output_that_is_full_is_one_sentence(study_table, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mm.random_effects(TABLE).__class__, "summary", full)
    result = _run("pool", study_table)
    assert result.exit_code == 2
    assert result.stderr.endswith("the output could not be read or written: No space left on device.\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"study,yi,vi\na,1,1\n"), "compressed file"),
        (b"PK\x03\x04rest", "spreadsheet or another zipped file"),
        (b"\xd0\xcf\x11\xe0rest", "old spreadsheet"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, said):
    path = tmp_path / "studies.csv"
    path.write_bytes(content)
    with pytest.raises(mm.DataError, match=said):
        mm.read_table(path)


@pytest.mark.parametrize("dataset", [None, TABLE, "mi_cbt_anxiety", mm.load_dataset("bcg")])
def test_trial_effects_of_something_else_is_refused(dataset):
    with pytest.raises(ValueError, match="must have"):
        mm.trial_effects(dataset)


COUNTS = pd.DataFrame(
    {"study": list("abcd"), "ai": [0, 1, 3, 5], "n1i": [10, 20, 30, 10], "ci": [0, 3, 2, 10], "n2i": [10, 22, 31, 10]}
)
NO_REFIT: dict[str, Callable[[], Any]] = {
    "a multilevel model": lambda: mm.multilevel(TABLE, cluster="cluster"),
    "robust": lambda: mm.robust(mm.random_effects(TABLE), cluster="cluster"),
    "subgroups": lambda: mm.subgroups(TABLE, "group"),
    "a posterior": lambda: mm.bayes_random_effects(TABLE),
    "counts": lambda: mm.mantel_haenszel(COUNTS),
    "counts with a random effect": lambda: mm.glmm(COUNTS),
    "weights of its own": lambda: mm.random_effects(TABLE, weights="equal"),
    "a tau2 that was given": lambda: mm.random_effects(TABLE, tau2=0.1),
    "a table": lambda: TABLE,
    "nothing": lambda: None,
    "text": lambda: "REML",
}
REFITS: dict[str, Callable[[Any], Any]] = {
    "leave_one_out": mm.leave_one_out,
    "cumulative": lambda fit: mm.cumulative(fit, by="study"),
    "influence": mm.influence,
    "subsets": mm.subsets,
    "gosh_clusters": mm.gosh_clusters,
    "bootstrap": lambda fit: mm.bootstrap(fit, n=10),
    "parametric bootstrap": lambda fit: mm.bootstrap(fit, n=10, kind="parametric"),
}


@pytest.mark.parametrize("refit", REFITS)
@pytest.mark.parametrize("kind", NO_REFIT)
def test_a_model_is_not_refitted_as_another_one(kind, refit):
    with pytest.raises(ValueError, match=r"needs|estimates tau2 anew"):
        REFITS[refit](NO_REFIT[kind]())


@pytest.mark.parametrize("method", [mm.egger_test, mm.trim_and_fill, mm.p_curve, mm.harbord_test, mm.worst_case])
@pytest.mark.parametrize("fit", [None, "REML", 1.0])
def test_small_study_methods_name_what_they_need(method, fit):
    with pytest.raises(ValueError, match="needs a"):
        method(fit)


NOT_A_FIT: dict[str, Callable[[Any], Any]] = {
    **REFITS,
    **{f.__name__: f for f in (mm.egger_test, mm.begg_test, mm.trim_and_fill, mm.fail_safe_n, mm.pet_peese)},
    **{f.__name__: f for f in (mm.selection_model, mm.p_curve, mm.p_uniform_star, mm.excess_significance)},
    **{f.__name__: f for f in (mm.worst_case, mm.limit_meta_analysis, mm.flip_set, mm.permutation_test)},
}


@pytest.mark.parametrize("method", NOT_A_FIT)
def test_a_table_in_place_of_a_fit_is_one_sentence(method):
    with pytest.raises(ValueError, match="needs a fit") as caught:
        NOT_A_FIT[method](TABLE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda x: mm.suspects(x, 0.5), "needs a table"),
        (lambda x: mm.suspects(TABLE, x), "value must be a finite number"),
        (lambda x: mm.sweep_rho(x, cluster="cluster"), "needs a table"),
        (lambda x: mm.sweep_r(x, "SMCC"), "needs a table"),
        (lambda x: mm.sweep(x, [0, 1]), "fit_at must be a function"),
        (lambda x: mm.simulate(x, n=1), "designs must be"),
        (lambda x: mm.diff(x, x), "diff compares two datasets, or their folders, not a PooledEffect"),
    ],
)
def test_a_fit_where_something_else_is_needed_is_one_sentence(ask, said):
    with pytest.raises(ValueError, match=said):
        ask(mm.random_effects(TABLE))


@pytest.mark.parametrize("fit", FITS)
def test_a_fit_is_shown_in_one_line(fit):
    shown = repr(FITS[fit](TABLE))
    assert "\n" not in shown
    assert len(shown) < 120
    assert shown == {
        "random_effects": "PooledEffect(estimate 0.4875 [0.2585, 0.7164], k = 8, REML, knha)",
        "meta_regression": "MetaRegression(Intercept, dose, group[T.q], k = 8, REML, knha)",
        "subgroups": "Subgroups(by group: p, q)",
    }.get(fit, shown)


def test_a_cumulative_analysis_needs_one_mean():
    with pytest.raises(mm.DataError, match="has moderators"):
        mm.cumulative(mm.meta_regression(TABLE, "dose"), by="study")


def test_a_given_tau2_has_no_standard_error_and_is_said_to_be_given():
    fit = mm.random_effects(TABLE, tau2=0.1)
    assert np.isnan(fit.tau2_se)
    assert "Random-effects model (tau2 given)" in fit.summary()


PICTURES: dict[str, Callable[[Any], Any]] = {
    "forest": mm.plots.forest,
    "funnel": mm.plots.funnel,
    "radial": mm.plots.radial,
    "baujat": mm.plots.baujat,
    "orchard": mm.plots.orchard,
    "albatross": mm.plots.albatross,
    "gosh": mm.plots.gosh,
    "influence": mm.plots.influence,
    "bubble": lambda fit: mm.plots.bubble(fit, "dose"),
}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("kind", ["a multilevel model", "robust", "a posterior", "nothing", "text"])
def test_a_picture_is_drawn_from_a_fit(kind, picture):
    if picture == "forest" and kind in ("a multilevel model", "a posterior"):
        svg = mm.plots.svg_text(mm.plots.forest(NO_REFIT[kind]()).figure.figure)
        assert ElementTree.fromstring(svg) is not None  # these two have a forest, and no other picture
        return
    with pytest.raises(ValueError, match=r"from a fit|needs a fit"):
        PICTURES[picture](NO_REFIT[kind]())


LABELS = ["研究", "مرحبا", "$x_{", '<script>alert(1)</script> & "it\'s"', "a\nb\tc\x07", "x" * 400, "🦆", ""]


@pytest.mark.parametrize("picture", ["forest", "baujat", "influence"])
def test_any_name_of_a_study_can_be_drawn(picture):
    ax = PICTURES[picture](mm.random_effects(TABLE.assign(study=LABELS)))
    svg = mm.plots.svg_text(ax.figure.figure)
    assert "<script" not in svg
    ElementTree.fromstring(svg)  # well-formed


@pytest.mark.parametrize("yi", [[0.1, 0.5], [0.3] * 4, [0.0] * 4])
def test_influence_that_is_undefined_is_drawn_empty(yi):
    ax = mm.plots.influence(mm.random_effects(yi=yi, vi=[0.1] * len(yi)))
    assert ElementTree.fromstring(mm.plots.svg_text(ax.figure.figure)) is not None


def test_a_ratio_beyond_floating_point_can_be_drawn():
    es = TABLE.assign(yi=[500.0, -800, 3, 4, 1, 2, 1, 2])
    es.attrs["measure"] = "OR"
    assert mm.plots.svg_text(mm.plots.radial(mm.random_effects(es)).figure.figure)


def _dersimonian_laird(yi: list[float], vi: list[float]) -> float:
    """The estimator by hand in exact fractions."""
    y, w = [Fraction(x) for x in yi], [1 / Fraction(x) for x in vi]
    total = sum(w)
    mean = sum(a * b for a, b in zip(w, y, strict=True)) / total
    Q = sum(a * (b - mean) ** 2 for a, b in zip(w, y, strict=True))
    return float(max(Fraction(0), (Q - (len(y) - 1)) / (total - sum(a * a for a in w) / total)))


@pytest.mark.parametrize("exponent", [4, 8, 12, 16, 20, 30, 40])
@pytest.mark.parametrize("at", [0, 2, 3])
def test_one_dominating_study_loses_no_digits(exponent, at):
    yi, vi = [0.0, 1.0, 3.0, -2.0], [0.1, 0.1, 0.2, 0.1]
    vi[at] = 10.0**-exponent
    fit = mm.random_effects(yi=yi, vi=vi, method="DL")
    assert_allclose(fit.tau2, _dersimonian_laird(yi, vi), rtol=1e-12)  # closed form


@pytest.mark.parametrize("span", [2, 6, 12])
def test_variances_over_many_orders_lose_no_digits(span):
    rng = np.random.default_rng(span)
    vi = 10.0 ** rng.uniform(-span / 2, span / 2, 12)
    yi = rng.normal(0, np.sqrt(vi + 0.1))
    assert_allclose(
        mm.random_effects(yi=yi, vi=vi, method="DL").tau2, _dersimonian_laird(list(yi), list(vi)), rtol=1e-10
    )


def test_a_row_that_counts_twice_beside_a_dominating_one_is_two_rows():
    yi, vi = [0.0, 1.0, 3.0, -2.0], [1e-13, 0.1, 0.2, 0.1]
    often = mm.batch.random_effects(yi, vi, weights=[[2, 1, 0, 3]], method="DL")
    rows = mm.random_effects(yi=np.repeat(yi, [2, 1, 0, 3]), vi=np.repeat(vi, [2, 1, 0, 3]), method="DL")
    assert_allclose(often.tau2, [rows.tau2], rtol=1e-10)


def test_counts_beyond_whole_floats_are_refused():
    large = COUNTS.assign(ai=1e17, ci=3e17, n1i=1e18, n2i=1e18)
    for ask in (mm.mantel_haenszel, mm.peto, mm.glmm):
        with pytest.raises(mm.DataError, match="must be at most 9,007,199,254,740,992"):
            ask(large)


def test_the_exact_conditional_model_says_when_it_would_take_for_ever():
    many = COUNTS.assign(ai=10**6, ci=10**6, n1i=10**7, n2i=10**7)
    with pytest.raises(mm.DataError, match=r"8,000,004\. With so many events use model='UM.FS'"):
        mm.glmm(many, "CM.EL")


def _posterior_mean(yi: np.ndarray, vi: np.ndarray, scale: float) -> tuple[float, float]:
    """Mean and SD of mu under a flat prior and a half-normal tau, on a grid of log tau."""
    log_tau = np.linspace(np.log(1e-6 * scale), np.log(10 * (np.ptp(yi) + scale)), 100_001)
    tau2 = np.exp(2 * log_tau)[:, None]
    w = 1 / (vi + tau2)
    total, mean = w.sum(axis=1), (w * yi).sum(axis=1) / w.sum(axis=1)
    log_density = 0.5 * np.log(w).sum(axis=1) - 0.5 * np.log(total) - 0.5 * (w * (yi - mean[:, None]) ** 2).sum(axis=1)
    log_density += log_tau - 0.5 * tau2[:, 0] / scale**2
    share = np.exp(log_density - log_density.max())
    share /= share.sum()
    centre = share @ mean
    return float(centre), float(np.sqrt(share @ (1 / total + (mean - centre) ** 2)))


@pytest.mark.parametrize("unit", [1.0, 1e2, 1e3, 1e4, 1e5])
def test_effects_far_beyond_the_prior_of_tau_are_pooled_rightly(unit):
    yi = TABLE["yi"].to_numpy() * unit
    fit = mm.bayes_random_effects(yi=yi, vi=TABLE["vi"], tau_prior="halfnormal", tau_scale=0.5)
    assert_allclose((fit.estimate, fit.se), _posterior_mean(yi, TABLE["vi"].to_numpy(), 0.5), rtol=1e-7)  # the grid's


def test_effects_out_of_reach_of_the_prior_of_tau_are_refused():
    with pytest.raises(mm.ConvergenceError, match="scales too far apart"):
        mm.bayes_random_effects(TABLE.assign(yi=TABLE["yi"] * 1e8), tau_prior="halfnormal", tau_scale=0.5)


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_subgroups_without_any_spread_have_an_undefined_difference(value):
    sub = mm.subgroups(TABLE.assign(yi=value), "group", test="knha")
    assert np.isnan(sub.Q_between)
    assert sub.summary()


def test_a_regression_of_zeros_has_no_variance_to_inflate():
    assert mm.meta_regression(TABLE.assign(yi=0.0), "dose + group").vif()["gvif"].isna().all()


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: mm.subgroups(TABLE, ["group"]), "name of one column"),
        (lambda: mm.screen_moderators(TABLE, "dose"), "list of at least one formula"),
        (lambda: mm.multilevel(TABLE, cluster="cluster", rho="a"), "rho must be"),
        (lambda: mm.bayes_random_effects(TABLE, tau_scale="a"), "tau_scale must be a finite number"),
        (lambda: mm.effect_sizes(pd.concat([ARMS, ARMS], axis=1), "SMD"), "Column names must differ"),
    ],
)
def test_an_argument_of_another_kind_is_named(ask, said):
    with pytest.raises(ValueError, match=said):
        ask()


DEGENERATE = {
    "one row": (TABLE.iloc[:1], "no degrees of freedom"),
    "equal effects": (TABLE.assign(yi=0.3), "All effect sizes are equal"),
}


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("test", ["knha", "z"])
def test_an_interval_that_says_nothing_is_said_to(tmp_path, kind, test):
    table, words = DEGENERATE[kind]
    table.to_csv(tmp_path / "t.csv", index=False)
    for arguments in (["pool"], ["pool", "--json"], ["report", "--out", "-", "--format", "md"]):
        result = _run(arguments[0], tmp_path / "t.csv", *arguments[1:], "--test", test)
        assert result.exit_code == 0
        assert (words in result.stdout) == (test == "knha"), arguments
        assert "interval nan" not in result.stdout.split("## Forest plot")[0]
        assert "nan%" not in result.stdout


def test_equal_arms_have_an_odds_ratio_of_exactly_1():
    es = mm.effect_sizes(pd.DataFrame({"ai": [10, 3], "n1i": [10, 7], "ci": [10, 3], "n2i": [10, 7]}), "OR")
    assert (es["yi"] == 0).all()
    assert np.isnan(mm.random_effects(es).p_value)


def test_variances_of_very_different_size_can_be_left_out_one_by_one():
    table = pd.DataFrame({"yi": [1.0, 2, 3, 4], "vi": [1e-10, 1, 1e10, 1e20]})
    fit = mm.random_effects(table, test="z")
    left_out = mm.leave_one_out(fit)
    for i in range(4):
        alone = mm.random_effects(table.drop(index=i), test="z")
        assert_allclose(left_out["tau2"].iloc[i], alone.tau2, atol=1e-8)  # the likelihood is flat below
        assert_allclose(left_out["estimate"].iloc[i], alone.estimate, rtol=1e-6)


def test_precision_that_is_nothing_beside_tau2_is_no_regressor():
    fit = mm.random_effects(yi=[1.0, 2, 3, 4], vi=[1e-40, 2e-40, 1e-39, 1e-41])
    with pytest.raises(mm.DataError, match="are nothing"):
        mm.limit_meta_analysis(fit)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_published_value_is_a_number(study_table, value):
    for arguments in (["multiverse", "--value", value], ["suspects", study_table, value]):
        result = _run(*arguments)
        assert result.exit_code == 2
        assert f"must be a finite number, not {value}" in result.stderr


@pytest.mark.parametrize(("ends", "said"), [(("nan", "1"), "finite"), (("2", "1"), "lower and then the upper")])
def test_a_published_interval_is_two_numbers_in_order(study_table, ends, said):
    result = _run("suspects", study_table, "0.5", "--ci", *ends)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_slip_out_of_range_is_no_suspect():
    table = TABLE.assign(yi=TABLE["yi"] * 1e20, vi=TABLE["vi"] * 1e40)  # a variance squared would overflow
    found = mm.suspects(table, 5e19, half_unit=1e17)
    assert np.isfinite(found["estimate"]).all()
    with pytest.raises(mm.DataError, match="not so in row 1"):
        mm.suspects(TABLE.assign(yi=1e60), 1.0)


@pytest.mark.parametrize("level", ["0", "0.9999999999999999"])
@pytest.mark.parametrize("command", ["sensitivity", "multiverse"])
def test_a_level_is_refused_of_a_dataset_too(command, level):
    result = _run(command, "mi_cbt_anxiety", "--level", level)
    assert result.exit_code == 2
    assert "level must" in result.stderr


@pytest.mark.parametrize("option", ["--measure", "--method", "--test", "--sheet", "--where", "--column"])
@pytest.mark.parametrize("command", ["sensitivity", "report", "grade", "small-study"])
def test_an_option_that_would_not_be_heeded_is_refused(command, option):
    result = _run(command, "mi_cbt_anxiety", option, "a=b")
    assert result.exit_code == 2
    assert option in result.stderr


def test_a_row_without_an_outcome_is_not_lost(tmp_path):
    TABLE.assign(outcome=["x", "y"] * 3 + ["x", None]).to_csv(tmp_path / "t.csv", index=False)
    result = _run("grade", tmp_path / "t.csv")
    assert result.exit_code == 2
    assert "row 8 does not" in result.stderr
