"""The other pictures: their tables by hand, their marks as objects, and no text over text in any of them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.testing import assert_allclose
from scipy import stats

import metamiq as mm
from metamiq import plots
from metamiq.errors import DataError
from metamiq.plots.canvas import apart
from metamiq.pooling.regression import meta_regression
from metamiq.pooling.subgroups import subgroups

CLOSED_FORM = {"rtol": 1e-10}
ITERATIVE = {"rtol": 1e-6, "atol": 1e-8}


def synthetic(k=12, seed=3, measure="SMD"):
    """A made-up effects table with counts, groups, a dose and years."""
    rng = np.random.default_rng(seed)
    n1, n2 = rng.integers(10, 150, (2, k))
    frame = pd.DataFrame({"study": [f"Author {i} et al." for i in range(k)], "n1i": n1, "n2i": n2})
    frame["ai"], frame["ci"] = rng.binomial(n1, 0.3), rng.binomial(n2, 0.4)
    frame["vi"] = 1 / n1 + 1 / n2
    frame["yi"] = 0.4 + rng.normal(0, 0.25, k) + rng.normal(size=k) * np.sqrt(frame["vi"])
    frame["dose"], frame["year"] = rng.integers(1, 6, k), 2000 + np.arange(k) // 2
    frame["group"] = [("a", "b", "c")[i % 3] for i in range(k)]
    frame.attrs["measure"] = measure
    return frame


@pytest.fixture(scope="module")
def pooled():
    return mm.random_effects(synthetic())


@pytest.fixture(scope="module")
def evidence():
    return mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))


@pytest.fixture(scope="module")
def bounded(evidence):
    return mm.random_effects_bounded(evidence)


def table_of_estimates(k=8):
    """Made-up estimates, the first one without an interval."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"k": np.arange(1, k + 1), "estimate": rng.normal(0.4, 0.1, k)})
    table["ci_low"], table["ci_high"] = table["estimate"] - 0.3, table["estimate"] + 0.3
    table["tau2"], table["I2"], table["year"] = 0.05, 40.0, 2000 + np.arange(k)
    table.loc[0, ["ci_low", "ci_high", "tau2", "I2"]] = np.nan
    return table.set_axis([f"row {i + 1}" for i in range(k)])


def bars(ax):
    return [p for p in ax.patches if isinstance(p, Polygon) and p.get_gid() == "bound"]


def every_picture(pooled, bounded):
    """Name and Axes of one picture of each kind, from points and from points and bounds."""
    frame = synthetic()
    counts = mm.random_effects(synthetic(measure="OR"))
    yield "bubble", plots.bubble(meta_regression(frame, "dose + year"), "year")
    yield "bubble of bounds", plots.bubble(mm.random_effects_bounded(bounded.effects, "mi_sessions"), "mi_sessions")
    yield "group means", plots.group_means(subgroups(frame, "group"))
    yield "group means of bounds", plots.group_means(mm.random_effects_bounded(bounded.effects, "disorder"))
    for name in ("funnel", "radial", "orchard", "albatross", "profile_likelihood", "drapery"):
        for fit in (pooled, bounded, counts):
            yield name, getattr(plots, name)(fit)
    yield "orchard of groups", plots.orchard(subgroups(frame, "group"))
    for name in ("baujat", "normal_quantile"):
        yield name, getattr(plots, name)(pooled)
    yield "labbe", plots.labbe(counts, groups=("MI + CBT", "CBT alone"))
    table = table_of_estimates(pooled.k)
    yield "leave one out", plots.leave_one_out(pooled, table=table)
    yield "cumulative", plots.cumulative(pooled, table=table.set_axis(frame["study"]))
    yield "gosh", plots.gosh(subset_table(), highlight=1, name="Author 2")
    yield "influence", plots.influence(influence_table())
    yield "specification curve", plots.specification_curve(multiverse(), ["method", "test"], reference=(0.59, "0.59"))


def subset_table():
    rng = np.random.default_rng(1)
    return pd.DataFrame({"members": np.arange(1, 201), "estimate": rng.normal(size=200), "I2": rng.uniform(0, 90, 200)})


def influence_table():
    rng = np.random.default_rng(2)
    columns = ["rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "Q_del", "hat", "weight"]
    return pd.DataFrame(rng.normal(size=(10, 8)), columns=columns, index=[f"Author {i} et al." for i in range(10)])


def multiverse():
    rng = np.random.default_rng(4)
    table = pd.MultiIndex.from_product([["DL", "REML", "PM"], ["z", "knha"]], names=["method", "test"]).to_frame(
        index=False
    )
    estimate = rng.normal(0.4, 0.1, len(table))
    return table.assign(estimate=estimate, ci_low=estimate - 0.2, ci_high=estimate + 0.2)


def test_every_picture_is_readable_and_speaks(pooled, bounded):
    for name, ax in every_picture(pooled, bounded):
        assert plots.text_faults(ax.figure) == [], name
        assert len(str(ax.get_label())) > 20, name


def test_pictures_say_what_bounds_rest_on(bounded):
    for name in ("forest", "funnel", "radial", "orchard", "albatross", "profile_likelihood", "drapery"):
        ax = getattr(plots, name)(bounded)
        words = " ".join(" ".join(text.split()) for text, _ in plots.text_boxes(ax.figure))
        assert "rest on a two-sided 5% t test" in words, name


def test_pictures_fit_into_the_callers_axes(pooled, bounded):
    figure = Figure(figsize=(14, 12), layout="constrained")
    axes = figure.subplots(2, 2)
    drawn = [
        plots.funnel(pooled, ax=axes[0, 0]),
        plots.albatross(bounded, ax=axes[0, 1]),
        plots.baujat(pooled, ax=axes[1, 0]),
        plots.drapery(pooled, ax=axes[1, 1]),
    ]
    assert drawn == [*axes.flat]
    assert plots.text_faults(figure) == []


def test_bubble_line_is_the_models_prediction():
    frame = synthetic()
    reg = meta_regression(frame, "dose + group")
    line = plots.bubble_line(reg, "dose", at={"group": "b"})
    expected = reg.predict(pd.DataFrame({"dose": line["x"], "group": "b"}))
    assert_allclose(line["ci_high"], expected["ci_high"], **CLOSED_FORM)
    assert_allclose(line["pi_low"], expected["pi_low"], **CLOSED_FORM)
    at_reference = plots.bubble_line(reg, "dose")
    assert_allclose(
        at_reference["estimate"],
        reg.predict(pd.DataFrame({"dose": line["x"], "group": "a"}))["estimate"],
        **CLOSED_FORM,
    )


def test_bubble_draws_each_row_once_beside_its_ties(evidence):
    fit = mm.random_effects_bounded(evidence, "mi_sessions")
    rows = plots.bubble_rows(fit, "mi_sessions")
    assert len(rows) == fit.k
    assert rows["x_drawn"].is_unique
    assert (abs(rows["x_drawn"] - rows["x"]) <= 0.35 + 1e-12).all()
    ax = plots.bubble(fit, "mi_sessions")
    assert len(bars(ax)) == (rows["kind"] == "bound").sum()


@pytest.mark.parametrize(
    ("moderator", "message"),
    [("colour", "must be a column of the effects table"), ("study", "has none"), ("year", "must be in the model")],
)
def test_bubble_needs_a_numeric_moderator_of_the_model(moderator, message):
    with pytest.raises(DataError, match=message):
        plots.bubble(meta_regression(synthetic(), "dose"), moderator)


def test_group_means_are_those_of_the_fit(evidence):
    fit = mm.random_effects_bounded(evidence, "disorder")
    rows, means = plots.group_rows(fit), fit.group_means()
    assert_allclose(rows[["yi", "ci_low", "ci_high"]], means[["estimate", "ci_low", "ci_high"]], **ITERATIVE)
    assert rows["label"].tolist() == means.index.tolist()
    sub = subgroups(synthetic(), "group")
    assert_allclose(plots.group_rows(sub)["yi"], sub.table["estimate"], **CLOSED_FORM)
    with pytest.raises(DataError, match="group_means needs subgroups"):
        plots.group_means(mm.random_effects_bounded(evidence))


def test_funnel_puts_every_row_at_its_standard_error(pooled, bounded):
    ax = plots.funnel(pooled, filled=pd.DataFrame({"yi": [-0.2], "vi": [0.09]}))
    points, added = (c.get_offsets() for c in ax.collections[-2:])
    assert_allclose(points[:, 1], np.sqrt(pooled.effects["vi"]), **CLOSED_FORM)
    assert_allclose(added, [[-0.2, 0.3]], **CLOSED_FORM)
    assert ax.get_ylim()[1] == 0  # the most precise at the top
    drawn = bars(plots.funnel(bounded))
    assert len(drawn) == bounded.k_bounds


def test_standard_error_of_a_bound_is_that_of_an_estimate_from_its_arms(bounded):
    rows = plots.effect_table(bounded)
    n1, n2 = rows["n1i"], rows["n2i"]
    expected = np.sqrt(1 / n1 + 1 / n2 + bounded.estimate**2 / (2 * (n1 + n2)))
    is_bound = rows["kind"] == "bound"
    assert_allclose(rows["sei"][is_bound], expected[is_bound], **CLOSED_FORM)
    assert_allclose(rows["sei"][~is_bound] ** 2, bounded.effects["vi"].to_numpy()[~is_bound], **CLOSED_FORM)


def test_slope_of_the_radial_line_is_the_mean(pooled):
    ax = plots.radial(pooled)
    line = next(line for line in ax.lines if line.get_color() == "#000000")
    (x0, x1), (y0, y1) = line.get_data()
    assert_allclose((y1 - y0) / (x1 - x0), pooled.estimate, **CLOSED_FORM)
    rows = plots.radial_rows(pooled)
    assert_allclose(rows["y"] / rows["x"], pooled.effects["yi"], **CLOSED_FORM)


def test_baujat_parts_add_up_to_q_and_match_deletion():
    frame = synthetic()
    fit = mm.fixed_effect(frame)
    rows = plots.baujat_rows(fit)
    assert_allclose(rows["x"].sum(), fit.Q, **CLOSED_FORM)
    without = mm.fixed_effect(frame.drop(index=4))
    assert_allclose(rows["y"][4], (fit.estimate - without.estimate) ** 2 / without.se**2, rtol=1e-8)


def test_quantiles_and_their_band(pooled):
    rows = plots.quantile_rows(pooled)
    assert rows["residual"].is_monotonic_increasing
    i = np.arange(1, pooled.k + 1)
    assert_allclose(rows["low"], stats.norm.ppf(stats.beta.ppf(0.025, i, pooled.k + 1 - i)), **ITERATIVE)
    assert ((rows["low"] < rows["quantile"]) & (rows["quantile"] < rows["high"])).all()
    with pytest.raises(DataError, match="needs at least three rows, but the fit has 2"):
        plots.normal_quantile(mm.random_effects(synthetic(2)))


@pytest.mark.parametrize("measure", ["OR", "RR", "RD"])
def test_labbe_curve_has_the_pooled_effect_everywhere(measure):
    frame = synthetic(measure=measure)
    frame["yi"] *= 0.3
    fit = mm.fixed_effect(frame)
    ax = plots.labbe(fit)
    risk2, risk1 = (a[5:] for a in ax.lines[1].get_data())
    got = {
        "OR": np.log(risk1 / (1 - risk1) / (risk2 / (1 - risk2))),
        "RR": np.log(risk1 / risk2),
        "RD": risk1 - risk2,
    }[measure]
    assert_allclose(got, fit.estimate, rtol=1e-8)
    assert_allclose(ax.collections[0].get_offsets(), np.column_stack([frame.ci / frame.n2i, frame.ai / frame.n1i]))


def test_labbe_needs_counts(pooled):
    with pytest.raises(DataError, match="needs the counts ai, n1i, ci and n2i, but ai, ci is not a column"):
        plots.labbe(mm.random_effects(synthetic().drop(columns=["ai", "ci"])))


def test_verdicts_at_five_percent_end_at_p_005(bounded):
    rows = plots.albatross_rows(bounded)
    reports = bounded.effects["report"].to_numpy()
    significant = (rows["kind"] == "bound").to_numpy() & (reports == "significant")
    within = (rows["kind"] == "bound").to_numpy() & (reports == "nonsignificant")
    assert significant.any()
    assert within.any()
    at = -np.log10(0.05)
    assert_allclose(rows["at_low"][significant], at, rtol=1e-6)
    assert np.isposinf(rows["at_high"][significant]).all()
    assert_allclose(rows["at_low"][within], -at, rtol=1e-6)
    assert_allclose(rows["at_high"][within], at, rtol=1e-6)


def test_albatross_points_by_hand():
    es = pd.DataFrame(
        {"study": ["a", "b"], "yi": [0.5, -0.5], "vi": [0.0625, 0.0625], "n1i": [30, 30], "n2i": [30, 30]}
    )
    rows = plots.albatross_rows(mm.fixed_effect(es))
    p = 2 * stats.norm.sf(2.0)
    assert_allclose(rows["at"], [-np.log10(p), np.log10(p)], **CLOSED_FORM)
    assert rows["n"].tolist() == [60, 60]


def test_albatross_needs_arm_sizes():
    fit = mm.random_effects(yi=[0.1, 0.5], vi=[0.04, 0.02])
    with pytest.raises(DataError, match="needs arm sizes n1i and n2i for every row, but row 1, row 2 has none"):
        plots.albatross(fit)


def test_profile_falls_by_the_interval_drop_at_the_interval(pooled, bounded):
    rows = plots.profile_rows(bounded)
    drop = stats.chi2.ppf(0.95, 1) / 2
    ends = np.interp([bounded.ci_low, bounded.ci_high], rows["mean"], rows["loglik"])
    assert_allclose(ends, -drop, rtol=0.01)  # linear between grid points
    ml = mm.random_effects(synthetic(), method="ML")
    rows = plots.profile_rows(ml)
    assert_allclose(rows["mean"][rows["loglik"].idxmax()], ml.estimate, atol=1e-9)
    interval = ml.ci(method="PL")
    assert_allclose(np.interp([*interval], rows["mean"], rows["loglik"]), -drop, rtol=0.01)


def test_drapery_cuts_the_interval_at_its_level(pooled):
    rows = plots.drapery_rows(pooled)
    left = rows[rows["value"] <= pooled.estimate]
    assert_allclose(np.interp(0.05, left["mean"], left["value"]), pooled.ci_low, atol=0.01)
    assert_allclose(np.interp(0.05, left["prediction"], left["value"]), pooled.pi_low, atol=0.01)


def test_estimates_show_what_is_not_estimable():
    rows = plots.estimate_rows(table_of_estimates())
    assert "[" not in rows["effect_text"][0]
    assert rows["tau2_text"].tolist()[:2] == ["", "0.050"]
    assert rows["I2_text"].tolist()[:2] == ["", "40%"]
    with pytest.raises(DataError, match="must have the columns estimate, ci_low and ci_high, but ci_low, ci_high"):
        plots.estimates(pd.DataFrame({"estimate": [0.1]}))


def test_cumulative_names_rows_in_the_order_added(bounded):
    order = np.argsort(bounded.effects["year"].to_numpy(), kind="stable")
    table = table_of_estimates(bounded.k).set_axis([bounded.labels[i] for i in order])
    table["year"] = bounded.effects["year"].to_numpy()[order]
    ax = plots.cumulative(bounded, table=table)
    labels = bounded.effects["label"].to_numpy()[order]
    words = {text for text, _ in plots.text_boxes(ax.figure)}
    for label, year in zip(labels, table["year"], strict=True):
        assert {f"+ {label}", f"+ {label} {year}"} & words


def test_gosh_counts_every_subset():
    table = subset_table()
    ax = plots.gosh(table)
    counts = np.expm1(np.ma.filled(ax.collections[0].get_array(), 0.0))
    assert_allclose(counts.sum(), len(table), **ITERATIVE)
    with pytest.raises(DataError, match="A GOSH plot needs the columns estimate, I2, but I2 is not among"):
        plots.gosh(table.drop(columns="I2"))


def test_influence_marks_the_extreme_row_of_each_panel():
    table = influence_table()
    ax = plots.influence(table)
    assert len(ax.child_axes) == table.shape[1]
    marked = ax.child_axes[0].lines[-1]
    assert marked.get_xdata()[0] == table["rstudent"].iloc[np.argmax(np.abs(table["rstudent"]))]


def test_specifications_are_in_order():
    table = multiverse()
    upper, lower = plots.specification_curve(table, ["method", "test"]).child_axes
    estimates = next(line for line in upper.lines if line.get_marker() == ".").get_ydata()
    assert_allclose(estimates, np.sort(table["estimate"]), **CLOSED_FORM)
    assert sum(len(line.get_xdata()) for line in lower.lines) == 2 * len(table)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), max_size=12), st.floats(0.01, 2))
def test_marks_move_apart_as_little_as_needed(positions, gap):
    moved = apart(positions, gap)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(moved[order]) >= gap * (1 - 1e-9) - 1e-9).all()
    assert_allclose(moved.mean() if len(moved) else 0, np.mean(positions) if positions else 0, atol=1e-9)
    far = np.diff(np.sort(positions)) >= gap if len(positions) > 1 else np.zeros(0)
    if far.all():
        assert_allclose(moved, positions, atol=1e-12)


def test_models_with_moderators_have_no_funnel():
    with pytest.raises(DataError, match="A funnel plot needs one mean, but the model has moderators"):
        plots.funnel(meta_regression(synthetic(), "dose"))


@pytest.mark.parametrize("name", ["funnel", "albatross", "baujat", "gosh"])
def test_svg_has_the_same_bytes_on_each_run(pooled, name):
    def draw():
        ax = plots.gosh(subset_table()) if name == "gosh" else getattr(plots, name)(pooled)
        return plots.svg_text(ax.figure)

    assert draw() == draw()


def test_refits_of_a_real_fit_are_drawn_readably(pooled):
    table = mm.influence(pooled)
    ax = plots.influence(table)
    for drawn in (ax, plots.gosh(mm.subsets(pooled)), plots.cumulative(pooled, "yi"), plots.leave_one_out(pooled)):
        assert plots.text_faults(drawn.figure) == []
    # Cook's distance cannot be below 0, so its extreme is its largest value, however many rows lie near it.
    assert f"Cook's distance {table['cook_d'].max():.2f}" in ax.get_label()


def test_influence_marks_the_largest_cooks_distance_though_the_smallest_is_further_from_the_median():
    table = pd.DataFrame({"cook_d": [0.0, 0.9, 0.95, 1.0]}, index=list("abcd"))
    assert plots.influence(table).get_label().endswith("Cook's distance 1.00 (d).")


def test_long_names_stay_apart_and_inside_the_figure():
    names = [f"Papadopoulos-Alexandrescu, van der Westhuizen & Müller {1990 + i} (cohort {i})" for i in range(12)]
    rng = np.random.default_rng(8)  # synthetic
    groups = ["cognitive behaviour therapy in groups with homework", "waiting list", "exposure"]
    table = pd.DataFrame({"study": names, "yi": rng.normal(0, 0.3, 12), "vi": 0.05, "group": groups * 4})
    ax = plots.influence(mm.random_effects(table))
    shown = [text for text, _ in plots.text_boxes(ax.figure) if text.startswith("Papadopoulos")]
    assert len(set(shown)) == len(names)
    assert all(text.endswith(f"(cohort {i})") for i, text in enumerate(shown))
    ax = plots.orchard(mm.subgroups(table, "group", test="knha"))
    assert "waiting list\n(k = 4)" in [text for text, _ in plots.text_boxes(ax.figure)]
    for dpi in (60, 75, 100, 200):
        ax.figure.set_dpi(dpi)
        assert plots.text_faults(ax.figure) == []


def test_ticks_of_p_values_have_true_minus_signs():
    fit = mm.random_effects(yi=[0.9, 1.1, 0.2], vi=[0.01, 0.02, 0.03])
    effects = fit.effects.assign(n1i=[100, 200, 50], n2i=[100, 200, 50])
    drawn = [text for text, _ in plots.text_boxes(plots.albatross(mm.random_effects(effects)).figure)]
    assert "1e−12" in drawn
