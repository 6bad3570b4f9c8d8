"""The explained numbers are the engine's, on every route and for any input."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq.effects.measures import MEASURES
from metamiq.effects.quantiles import mean_sd_from_quantiles
from metamiq.explaining.measures import RECIPES, explain_row
from metamiq.explaining.reported import QUANTITIES, convert
from metamiq.explaining.route_steps import Settings
from metamiq.explaining.routes import ROUTES

CLOSED_FORM = {"rtol": 1e-9}  # the same formula, summed in another order
QUICK = settings(max_examples=10, deadline=None)

reals = st.floats(-20, 20).map(lambda x: round(x, 3))
positive = st.floats(0.1, 20).map(lambda x: round(x, 3))
sizes = st.integers(3, 400).map(float)


def draw_inputs(data, route):
    """Numbers that a report could print, for what a route needs."""
    x = {}
    for name in route.needs:
        if name.startswith(("n", "events")):
            x[name] = data.draw(sizes)
        elif name.startswith(("sd", "se")) or name == "odds_ratio":
            x[name] = data.draw(positive)
        elif name == "p":
            x[name] = data.draw(st.floats(0.0001, 1))
        elif name == "r":
            x[name] = data.draw(st.floats(-0.95, 0.95))
        elif name == "f":
            x[name] = data.draw(positive)
        elif name == "favours":
            continue
        else:
            x[name] = data.draw(reals)
    for i in (1, 2):
        if f"events{i}" in x:
            x[f"events{i}"] = float(data.draw(st.integers(0, int(x[f"n{i}"]))))
        if f"median{i}" in x:
            spread = data.draw(positive)
            if f"q1_{i}" in x:
                x |= {f"q1_{i}": x[f"median{i}"] - spread, f"q3_{i}": x[f"median{i}"] + data.draw(positive)}
            if f"min{i}" in x:
                x |= {f"min{i}": x[f"median{i}"] - spread, f"max{i}": x[f"median{i}"] + data.draw(positive)}
    if "ci_low" in x:
        middle = next((x[name] for name in ("odds_ratio", "md", "d", "g") if name in x), data.draw(reals))
        x |= {"ci_low": middle / 1.7, "ci_high": middle * 2.1} if "odds_ratio" in x else {}
        x |= (
            {"ci_low": middle - data.draw(positive), "ci_high": middle + data.draw(positive)}
            if "odds_ratio" not in x
            else {}
        )
    return x


@pytest.mark.parametrize("route", ROUTES, ids=[r.words for r in ROUTES])
@QUICK
@given(data=st.data())
def test_every_route_gives_the_engine_s_numbers(route, data):
    x = draw_inputs(data, route)
    options = {
        "vtype": data.draw(st.sampled_from(["LS", "LS2", "UB"])),
        "correction": data.draw(st.sampled_from(["exact", "approx", "none"])),
        "lower_is_better": data.draw(st.booleans()),
        "favours": data.draw(st.sampled_from(["mi", "cbt"])) if "favours" in route.needs else None,
    }
    assume("sd1" not in x or abs(x["m1"] - x["m2"]) < 40)
    found = convert(**x, **options)
    assert found.route == route.words
    derivation = found.derivation
    side = {"mi": 1.0, "cbt": -1.0, None: 0.0}[options["favours"]]
    own = {**x, "favours": side, "ci_level": 0.95}
    engine = route.engine(own, Settings(options["vtype"], options["correction"], 0.95, options["lower_is_better"]))
    # atol: logs of equal odds cancel to 1e-17 in one order of terms and to 0 in another.
    assert_allclose([derivation["estimate"], derivation["variance"]], engine, **CLOSED_FORM, atol=1e-14)
    steps = {s.name: s.result for s in derivation.steps}
    assert_allclose(derivation["ci_high"] - derivation["ci_low"], 2 * 1.959963984540054 * steps["se"], rtol=1e-9)
    assert all((derivation.to_text(), derivation.to_latex(), derivation.to_markdown()))


def test_every_quantity_belongs_to_a_route():
    used = {name for route in ROUTES for name in route.needs} | {"n", "df"}
    assert set(QUANTITIES) == used - {"favours"}


COLUMNS = {
    "n1i": 12, "n2i": 15, "ni": 20, "ri": 0.4, "xi": 7, "ai": 4, "ci": 6,
    "m1i": 8.2, "sd1i": 2.1, "m2i": 6.9, "sd2i": 3.3,
    "m1i_pre": 5.0, "sd1i_pre": 2.0, "m1i_post": 8.0, "sd1i_post": 2.5,
    "m2i_pre": 5.5, "sd2i_pre": 2.2, "m2i_post": 6.0, "sd2i_post": 1.9,
}  # fmt: skip


@pytest.mark.parametrize("measure", sorted(RECIPES))
@QUICK
@given(data=st.data())
def test_every_measure_gives_the_engine_s_numbers(measure, data):
    row = {}
    for column in MEASURES[measure].columns:
        typical = COLUMNS[column]
        if column in ("n1i", "n2i", "ni"):
            row[column] = float(data.draw(st.integers(8, 300)))
        elif column == "ri":
            row[column] = data.draw(st.floats(-0.9, 0.9))
        elif column in ("ai", "ci", "xi"):
            row[column] = float(data.draw(st.integers(0, 8)))
        else:
            row[column] = typical * data.draw(st.floats(0.2, 3))
    engine = mm.effect_sizes(pd.DataFrame([row]), measure)
    assume(np.isfinite(engine["yi"].iloc[0]))
    found = explain_row(row, measure)
    assert_allclose([found["estimate"], found["variance"]], engine[["yi", "vi"]].iloc[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("vtype", ["LS", "LS2", "UB"])
def test_variance_formulas_of_g(vtype):
    row = {"m1i": 18.9, "sd1i": 7.4, "n1i": 15, "m2i": 24.3, "sd2i": 6.1, "n2i": 14, "study": "x"}
    expected = {"LS": 0.14835045, "LS2": 0.14070354, "UB": 0.14987001}[vtype]  # metafor, eight digits printed
    assert_allclose(explain_row(row, "SMD", vtype=vtype)["variance"], expected, atol=5e-9)


def test_a_row_by_hand():
    found = mm.explain(t=2.51, n1=8, n2=8)
    assert found.steps[0].put_in == "2.51·√(1/8 + 1/8)"
    assert_allclose(found.steps[0].result, 1.255)  # 2.51 / 2
    assert found.steps[2].formula == "Γ(df/2)/(√(df/2)·Γ((df − 1)/2))"
    assert_allclose(found["estimate"], 1.1863, atol=5e-5)


METHODS = ["REML", "ML", "DL", "PM", "EB", "HE", "HS", "SJ", "HSk", "PMM", "DL2", "CA2", "FE"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 0.5)), min_size=2, max_size=9),
    st.sampled_from(METHODS),
    st.sampled_from(["z", "t", "knha", "adhoc"]),
    st.sampled_from([None, "equal", "ivhet"]),
    st.sampled_from(["test", "HTS"]),
)
def test_pooled_means_are_the_engine_s(rows, method, test, weights, pi_method):
    y, v = np.array(rows).T
    fit = mm.random_effects(yi=y, vi=v, method=method, test=test, weights=weights, pi_method=pi_method)
    found = mm.explain(fit)  # raises by itself when a step parts from the fit
    assert_allclose(
        [found["estimate"], found["se"], found["ci_low"], found["tau2"]],
        [fit.estimate, fit.se, fit.ci_low, fit.tau2],
        rtol=1e-7,
        atol=1e-9,
    )
    assert len(found.table.rows) == fit.k


def test_the_pooled_mean_of_one_study():
    found = mm.explain(mm.random_effects(yi=[0.3], vi=[0.04], test="z"))
    assert_allclose([found["estimate"], found["se"]], [0.3, 0.2])
    assert any("cannot be estimated" in note for note in found.notes)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 0.5), st.integers(0, 9)), min_size=4, max_size=9),
    st.sampled_from(["REML", "ML", "DL", "PM", "FE"]),
    st.sampled_from(["z", "t", "knha", "adhoc"]),
)
def test_slopes_are_the_engine_s(rows, method, test):
    frame = pd.DataFrame(rows, columns=["yi", "vi", "dose"])
    assume(frame["dose"].nunique() > 1)
    fit = mm.meta_regression(frame, "dose", method=method, test=test)
    found = mm.explain(fit, "dose")
    row = fit.coefficients.loc["dose"]
    assert_allclose(
        [found["estimate"], found["se"], found["ci_high"]], row[["estimate", "se", "ci_high"]], rtol=1e-6, atol=1e-9
    )


def test_the_mean_of_points_and_bounds():
    fit = mm.random_effects_bounded(mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")))
    found = mm.explain(fit)
    assert_allclose([found["estimate"], found["loglik"], found["ci_low"]], [fit.estimate, fit.loglik, fit.ci_low])
    rows = pd.DataFrame(found.table.rows, columns=found.table.columns).set_index("study")
    assert list(rows.index) == list(fit.labels)
    assert_allclose(rows["ln L"].sum(), fit.loglik)
    # A bound pulls towards itself: significant ones upwards, those around zero downwards.
    effects = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")).set_index("trial_id")
    assert (rows["pull"][effects["report"] == "significant"] > 0).all()
    assert (rows["pull"][effects["report"] == "nonsignificant"] < 0).all()
    assert_allclose(rows.loc["merlo2010", "to"], effects.loc["merlo2010", "yi_high"])


def test_points_and_bounds_with_moderators_are_not_explained():
    effects = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    with pytest.raises(ValueError, match="leave the moderators out"):
        mm.explain(mm.random_effects_bounded(effects, moderators="year"))


def test_a_factor_of_two_levels_and_too_many_columns():
    frame = pd.DataFrame({"yi": [0.1, 0.4, 0.3, 0.9], "vi": [0.1] * 4, "arm": ["a", "b", "a", "b"], "x": [1, 2, 4, 3]})
    found = mm.explain(mm.meta_regression(frame, "arm"))
    assert_allclose(found["estimate"], 0.45)  # (0.4 + 0.9)/2 - (0.1 + 0.3)/2
    assert any("xᵢ is 1 for arm[T.b]" in note for note in found.notes)
    with pytest.raises(ValueError, match="one moderator column"):
        mm.explain(mm.meta_regression(pd.concat([frame] * 2), "arm + x"))
    with pytest.raises(ValueError, match="term must be"):
        mm.explain(mm.meta_regression(frame, "arm"), "x")


def test_every_result_of_the_evidence_is_the_analysis_s_number():
    ds = mm.load_dataset("mi_cbt_anxiety")
    effects = mm.trial_effects(ds).set_index("trial_id")
    explained = 0
    for trial_id, row in effects.iterrows():
        found = mm.explain(ds, trial_id)
        if row["kind"] == "point":
            assert_allclose([found["estimate"], found["variance"]], [row["yi"], row["vi"]], **CLOSED_FORM)
        else:
            assert (found["yi_low"], found["yi_high"]) == pytest.approx((row["yi_low"], row["yi_high"]))
        explained += 1
    assert explained == len(effects) >= 15


def test_results_by_name_say_why_when_there_is_nothing():
    ds = mm.load_dataset("mi_cbt_anxiety")
    assert_allclose(mm.explain("merlo2010-change-mid")["estimate"], 1.0129, atol=5e-5)
    with pytest.raises(mm.DataError, match="arm means without standard deviations"):
        mm.explain(ds, "navidian2009-ybocs-post")
    with pytest.raises(mm.DataError, match="no CBT arm"):
        mm.explain(ds, "walker2023")
    with pytest.raises(mm.DataError, match="There is no trial or result 'nobody'"):
        mm.explain(ds, "nobody")


@pytest.mark.parametrize("name", mm.available_datasets())
def test_a_row_of_every_bundled_dataset(name):
    ds = mm.load_dataset(name)
    if not ds.results.empty:
        return
    key = next(c for c in ("trial_id", "study") if c in ds.trials and ds.trials[c].notna().all())
    for cell in ds.trials[key].head(3):
        if cell == "bjerkenstedt":  # a trial of which the review gives no counts
            with pytest.raises(mm.DataError, match="do not say which effect size is meant"):
                mm.explain(ds, str(cell))
            continue
        found = mm.explain(ds, str(cell))
        assert found["ci_low"] < found["estimate"] < found["ci_high"]


def test_wrong_questions_are_answered_in_a_sentence():
    frame = mm.load_dataset("normand1999").trials
    with pytest.raises(mm.DataError, match="There is no row 'nowhere'"):
        mm.explain(frame, "nowhere")
    with pytest.raises(ValueError, match="measure must be one of"):
        mm.explain(frame, "edinburgh", measure="XYZ")
    with pytest.raises(ValueError, match="explain takes"):
        mm.explain(3)
    with pytest.raises(ValueError, match="not both"):
        mm.explain(frame, "edinburgh", t=2)
    with pytest.raises(ValueError, match="Say which"):
        mm.explain(frame)
    with pytest.raises(ValueError, match="needs a dataset"):
        mm.explain(name="edinburgh")


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"t": 2.5}, "Missing: n1 and n2 \\(for t and sizes\\).*total n, or df"),
        ({"m1": 3, "m2": 4, "n1": 20, "n2": 20}, "sd1 and sd2 \\(for means, SDs and sizes\\)"),
        ({}, "needs more than nothing. Enough would be"),
        ({"p": 0.03, "n": 40}, "Missing: favours"),
        ({"t": "two"}, "t must be a number, not 'two'"),
        ({"verdict": "significant", "n1": 9, "n2": 9}, "needs the group that did better"),
        ({"verdict": "nonsignificant"}, "once n1 and n2 are given"),
    ],
)
def test_too_little_says_what_would_do(given_, message):
    with pytest.raises(mm.DataError, match=message):
        convert(**given_)


def test_too_much_that_agrees_and_that_does_not():
    agree = convert(m1="10.0", sd1="3.0", m2="8.0", sd2="3.0", n1=20, n2=20, t="2.11", p="0.04", favours="mi")
    assert [c.agrees for c in agree.checks] == [True, True]
    assert agree.disagreements == ()
    differ = convert(t="2.51", n1=8, n2=8, d="1.34")
    assert not differ.checks[0].agrees
    assert "g = 1.186, but d and sizes give 1.267" in differ.disagreements[0]
    assert "2t/√df" in differ.disagreements[1]  # which formula the printed d follows
    assert any(note.startswith("DISAGREEMENT") for note in differ.derivation.notes)
    assert "df = 20" in convert(t=2, n1=8, n2=8, df=20).disagreements[0]
    assert "n = 20" in convert(t=2, n1=8, n2=8, n=20).disagreements[0]


def test_the_exact_interval_is_there_where_it_holds():
    low, high = mm.hedges_g_ci(mm.g_from_t(2.51, 8, 8).yi, 8, 8)
    notes = convert(t=2.51, n1=8, n2=8).derivation.notes
    assert f"is {low:.3f} to {high:.3f}" in notes[0]
    assert not any("exact" in note for note in convert(odds_ratio=2, ci_low=1, ci_high=4, n=100).derivation.notes)


def test_assumed_sizes_are_said():
    found = convert(t=2.51, df=14)
    assert found.derivation.assumptions[0] == "arms of 8 and 8: df + 2 = 16 split evenly"
    assert_allclose(found.derivation["estimate"], convert(t=2.51, n1=8, n2=8).derivation["estimate"])


def test_an_interval_belongs_to_its_own_estimate():
    assert convert(odds_ratio=2, ci_low=1, ci_high=4, n=100).route.startswith("odds ratio")
    assert convert(m1=3, m2=4, ci_low=-3, ci_high=1, n1=20, n2=20).route.startswith("mean difference")
    assert convert(g=0.5, ci_low=0.1, ci_high=0.9).route == "g and its interval"
    with pytest.raises(mm.DataError, match="n1 and n2"):
        convert(d=0.5, ci_low=0.1, ci_high=0.9)


@QUICK
@given(sizes, sizes, st.sampled_from(["mi", "cbt"]), st.sampled_from(["significant", "nonsignificant", "direction"]))
def test_bounds_are_the_engine_s(n1, n2, arm, verdict):
    found = mm.explain(verdict=verdict, favours=arm, n1=n1, n2=n2)
    assert (found["yi_low"], found["yi_high"]) == tuple(mm.bound(verdict, arm, n1, n2))


def test_quantiles_of_a_normal_sample_give_its_mean_and_sd():
    # Expected order statistics of a large normal sample, mean 50, SD 10: the formulas are built on these.
    mean, sd, _ = mean_sd_from_quantiles(50, 100_000, q1=50 - 6.744898, q3=50 + 6.744898)
    assert_allclose([mean, sd], [50, 10], rtol=1e-4)
    # R metaBLUE's documented example of Luo et al. (2018): 1, 4, 10 as smallest, median, largest of 30.
    assert_allclose(mean_sd_from_quantiles(4, 30, minimum=1, maximum=10).mean, 4.356748, atol=5e-7)


@QUICK
@given(st.floats(-5, 5), positive, positive, positive, positive, st.integers(5, 500), st.floats(0.1, 9))
def test_quantile_estimates_move_and_stretch_with_the_data(m, a, b, c, d, n, factor):
    q = {"q1": m - a, "q3": m + b, "minimum": m - a - c, "maximum": m + b + d}
    base = mean_sd_from_quantiles(m, n, **q)
    moved = mean_sd_from_quantiles(factor * m + 3, n, **{k: factor * x + 3 for k, x in q.items()})
    assert_allclose([moved.mean, moved.sd], [factor * base.mean + 3, factor * base.sd], rtol=1e-9, atol=1e-9)


def test_quantiles_out_of_order_are_refused():
    with pytest.raises(mm.DataError, match="q1 must not exceed median"):
        mean_sd_from_quantiles(3, 20, q1=4, q3=9)
    with pytest.raises(mm.DataError, match="neither came"):
        mean_sd_from_quantiles(3, 20, q1=1)


def test_skewed_quartiles_are_noted():
    skewed = {"median1": 11, "q1_1": 10, "q3_1": 30, "median2": 11, "q1_2": 9, "q3_2": 13, "n1": 40, "n2": 40}
    notes = convert(**skewed).derivation.notes
    assert sum("skewed" in note for note in notes) == 1
    both = convert(**skewed, min1=1, max1=60, min2=2, max2=30).derivation
    assert any(s.formula.startswith("w₁·(min₁ + max₁)/2") for s in both.steps)


MEANS = {"m1": 10.2, "sd1": 3.1, "m2": 8.4, "sd2": 2.7, "n1": 21, "n2": 18}


@pytest.mark.parametrize(
    ("reported", "public"),
    [
        (MEANS, lambda: mm.hedges_g(10.2, 3.1, 21, 8.4, 2.7, 18)),
        ({"m1": 10.2, "se1": 0.6, "m2": 8.4, "se2": 0.7, "n1": 21, "n2": 18},
         lambda: mm.hedges_g(10.2, 0.6 * 21**0.5, 21, 8.4, 0.7 * 18**0.5, 18)),
        ({"t": 2.2, "n1": 21, "n2": 18}, lambda: mm.g_from_t(2.2, 21, 18)),
        ({"f": 4.8, "favours": "cbt", "n1": 21, "n2": 18}, lambda: mm.g_from_f(4.8, 21, 18, "cbt")),
        ({"p": 0.03, "favours": "mi", "n1": 21, "n2": 18}, lambda: mm.g_from_p(0.03, 21, 18, "mi")),
        ({"r": 0.3, "n1": 21, "n2": 18}, lambda: mm.g_from_r(0.3, 21, 18)),
        ({"d": 0.6, "n1": 21, "n2": 18}, lambda: mm.g_from_d(0.6, 21, 18)),
        ({"g": 0.6, "n1": 21, "n2": 18}, lambda: mm.g_from_d(0.6, 21, 18, reported="g")),
        ({"d": 0.6, "se": 0.3, "n1": 21, "n2": 18}, lambda: mm.g_from_se(0.6, 0.3, 21, 18, scale="d")),
        ({"md": 4.0, "se": 1.6, "n1": 21, "n2": 18}, lambda: mm.g_from_se(4.0, 1.6, 21, 18, scale="md")),
        ({"md": 4.0, "ci_low": 1.0, "ci_high": 7.0, "n1": 21, "n2": 18},
         lambda: mm.g_from_ci(1.0, 7.0, 21, 18, scale="md")),
        ({"g": 0.6, "ci_low": 0.1, "ci_high": 1.1}, lambda: mm.g_from_ci(0.1, 1.1, estimate=0.6)),
        ({"odds_ratio": 2.0, "ci_low": 1.0, "ci_high": 4.0, "n1": 50, "n2": 50},
         lambda: mm.g_from_or(2.0, 1.0, 4.0, 50, 50)),
    ],
)  # fmt: skip
def test_routes_give_what_the_public_functions_give(reported, public):
    found = mm.explain(**reported)
    assert_allclose([found["estimate"], found["variance"]], public()[:2], **CLOSED_FORM)
