"""Forest plots: the table behind them by hand, and the drawing as objects: marks, text boxes, files."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.text import Text
from numpy.testing import assert_allclose

import metamiq as mm
from metamiq import plots
from metamiq.errors import DataError
from metamiq.plots.row_drawing import axis_limits
from metamiq.plots.scale import Scale
from metamiq.pooling.regression import meta_regression
from metamiq.pooling.subgroups import subgroups

CLOSED_FORM = {"rtol": 1e-10}
ITERATIVE = {"rtol": 1e-6}  # the same rows in another order


def synthetic(k=5, bounds=0, seed=1, measure=None):
    """A made-up effects table: `k` rows of which the last `bounds` are bounds."""
    rng = np.random.default_rng(seed)
    n1, n2 = rng.integers(8, 200, (2, k))
    frame = pd.DataFrame({"study": [f"study {i}" for i in range(k)], "n1i": n1, "n2i": n2})
    frame["yi"], frame["vi"] = rng.normal(0.4, 0.4, k), 1 / n1 + 1 / n2
    frame["yi_low"], frame["yi_high"] = np.nan, np.nan
    for i in range(k - bounds, k):
        frame.loc[i, ["yi", "vi"]] = np.nan
        limit = 1.97 * np.sqrt(1 / n1[i] + 1 / n2[i])
        frame.loc[i, ["yi_low", "yi_high"]] = (limit, np.inf) if i % 2 else (-limit, limit)
    if measure:
        frame.attrs["measure"] = measure
    return frame


def boxes(figure):
    return plots.text_boxes(figure)


def assert_readable(figure):
    assert boxes(figure)
    assert plots.text_faults(figure) == []


def test_faults_of_text_are_found():
    figure = Figure()
    figure.text(0.4, 0.5, "over")
    figure.text(0.41, 0.5, "under")
    figure.text(0.99, 0.2, "beyond the edge")
    assert plots.text_faults(figure) == [
        "'beyond the edge' leaves the figure.",
        "'over' and 'under' lie over each other.",
    ]


@pytest.fixture(scope="module")
def evidence():
    return mm.random_effects_bounded(mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")))


def counts(fit):
    return f"{fit.k_points} point{'s' * (fit.k_points != 1)}, {fit.k_bounds} bound{'s' * (fit.k_bounds != 1)}"


def test_rows_by_hand():
    es = pd.DataFrame({"study": ["a", "b"], "yi": [0.2, -0.5], "vi": [0.04, 0.09], "n1i": [30, 20], "n2i": [31, 22]})
    rows = plots.forest_rows(mm.fixed_effect(es), 0.95)
    assert rows["kind"].tolist() == ["point", "point", "mean"]
    assert_allclose(rows["ci_low"][:2], [0.2 - 1.959963984540054 * 0.2, -0.5 - 1.959963984540054 * 0.3], **CLOSED_FORM)
    assert_allclose(rows["weight"][:2], [25 / (25 + 1 / 0.09), (1 / 0.09) / (25 + 1 / 0.09)], **CLOSED_FORM)
    assert rows["effect_text"].tolist()[:2] == ["0.20 [−0.19, 0.59]", "−0.50 [−1.09, 0.09]"]
    assert rows["n1_text"].tolist() == ["30", "20", ""]
    assert rows["weight_text"].tolist() == ["69.2%", "30.8%", "100.0%"]


def test_level_reaches_every_interval():
    fit = mm.random_effects(synthetic(6))
    rows = plots.forest_rows(fit, 0.8)
    assert_allclose(rows["ci_low"].iloc[-2:], [fit.ci(0.8).low, fit.pi(0.8).low], **CLOSED_FORM)
    assert rows["label"].iloc[-1] == "80% prediction interval"
    with pytest.raises(ValueError, match="level must lie between 0 and 1, not 95"):
        plots.forest_rows(fit, 95)


def test_rows_of_bounds(evidence):
    rows = plots.forest_rows(evidence)
    bounds = rows[rows["kind"] == "bound"]
    assert len(bounds) == evidence.k_bounds
    assert bounds["yi"].isna().all()
    open_ended = bounds[np.isposinf(bounds["ci_high"])]
    assert open_ended["effect_text"].str.startswith("> ").all()
    assert len(open_ended) == (evidence.effects["yi_high"] == np.inf).sum()
    assumed = evidence.effects["n_source"].eq("assumed").to_numpy()
    assert rows["n1_text"].iloc[: evidence.k].str.startswith("≈").to_numpy().tolist() == assumed.tolist()


def test_a_mark_for_every_row(evidence):
    ax = plots.forest(evidence, reference=(0.59, "published: 0.59"), groups=("MI + CBT", "CBT alone"))
    bars = [p for p in ax.patches if p.get_gid() == "bound"]
    diamonds = [p for p in ax.patches if p.get_gid() == "diamond"]
    assert len(bars) == evidence.k_bounds
    assert all(p.get_hatch() for p in bars)
    assert len(ax.collections) == evidence.k_points
    assert len(diamonds) == 1
    ends = diamonds[0].get_xy()[:, 0]
    assert_allclose([ends.min(), ends.max()], [evidence.ci_low, evidence.ci_high], rtol=1e-6)
    drawn = [t for t, _ in boxes(ax.figure)]
    assert "published: 0.59" in drawn
    assert "← Favours CBT alone" in drawn
    assert "Favours MI + CBT →" in drawn
    assert any(t.startswith(f"k = {evidence.k} ({counts(evidence)})") for t in drawn)
    assert any("rest on a two-sided 5% t test" in t for t in drawn)
    assert_readable(ax.figure)


def test_bar_of_an_unlimited_bound_ends_in_an_arrow_at_the_edge(evidence):
    ax = plots.forest(evidence)
    right = ax.get_xlim()[1]
    rows = plots.forest_rows(evidence)
    bars = [p for p in ax.patches if p.get_gid() == "bound"]
    for bar, (_, row) in zip(bars, rows[rows["kind"] == "bound"].iterrows(), strict=True):
        xy = np.asarray(bar.get_xy())[:-1]
        at_end = xy[np.isclose(xy[:, 0], xy[:, 0].max())]
        if np.isinf(row["ci_high"]):
            assert len(at_end) == 1  # a tip
            assert_allclose(at_end[0, 0], right)
        else:
            assert len(at_end) == 2  # a flat end
            assert_allclose(at_end[0, 0], row["ci_high"])


def test_squares_have_areas_by_weight():
    fit = mm.random_effects(yi=[0.1, 0.5, 0.9], vi=[0.1, 0.05, 0.2])
    ax = plots.forest(fit)
    sizes = np.array([c.get_sizes()[0] for c in ax.collections])
    assert_allclose(sizes / sizes[0], fit.weights / fit.weights[0], rtol=1e-10)


@pytest.mark.parametrize("measure", ["OR", "RR", "ROM", "PETO"])
def test_ratios_have_a_log_axis_in_ratios(measure):
    fit = mm.random_effects(synthetic(6, measure=measure))
    ax = plots.forest(fit, reference=(1.5, "published: 1.50"))
    assert ax.get_xscale() == "log"
    diamond = np.asarray(next(p for p in ax.patches if p.get_gid() == "diamond").get_xy())[:, 0]
    assert_allclose([diamond.min(), diamond.max()], np.exp([fit.ci_low, fit.ci_high]), rtol=1e-10)
    lines = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--" and line.get_color() == "#009E73"]
    assert lines == [pytest.approx(1.5)]
    assert any(text.endswith("(log scale)") for text, _ in boxes(ax.figure))
    assert_readable(ax.figure)


def test_a_ratio_reference_must_be_positive():
    with pytest.raises(ValueError, match=r"must be greater than 0, as its axis shows it, not -0\.2"):
        plots.forest(mm.random_effects(synthetic(6, measure="OR")), reference=(-0.2, "x"))


@pytest.mark.parametrize(
    ("measure", "better", "expected"),
    [
        ("SMD", "higher", ("Favours usual care", "Favours MI")),
        ("SMD", "lower", ("Favours MI", "Favours usual care")),
        ("OR", "lower", ("Favours MI", "Favours usual care")),
        ("SMD", None, ("Lower in MI", "Higher in MI")),
        (None, None, ("Lower in MI", "Higher in MI")),
        ("OR", None, ("Fewer in MI", "More in MI")),
        ("ZCOR", "higher", None),
    ],
)
def test_words_below_the_axis_follow_the_sign_and_what_is_better(measure, better, expected):
    assert Scale(measure).favours(("MI", "usual care"), better) == expected


def test_names_alone_favour_no_arm():
    # Anxiety scores, of which fewer are better: to say "favours CBT" on the left would be the opposite of the truth.
    table = synthetic(4)
    fit = mm.random_effects(table)
    words = [t for t, _ in boxes(plots.forest(fit, groups=("MI + CBT", "CBT")).figure)]
    assert "← Lower in MI + CBT" in words
    assert not any("Favours" in t for t in words)
    table.attrs["better"] = "lower"
    words = [t for t, _ in boxes(plots.forest(mm.random_effects(table), groups=("MI + CBT", "CBT")).figure)]
    assert "← Favours MI + CBT" in words


def test_nothing_is_favoured_between_groups_without_names():
    # Such as days in hospital, of which fewer are better; the table does not say so.
    assert Scale("SMD").favours(("group 1", "group 2")) == ("Lower in group 1", "Higher in group 1")


@pytest.mark.parametrize("k", [1, 2, 3, 100])
def test_any_number_of_rows(k):
    ax = plots.forest(mm.random_effects(synthetic(k)))
    assert_readable(ax.figure)
    assert ax.figure.get_figheight() > 0.2 * k


def test_height_follows_rows():
    heights = [plots.forest(mm.random_effects(synthetic(k))).figure.get_figheight() for k in (10, 20, 40)]
    assert_allclose(heights[2] - heights[1], 2 * (heights[1] - heights[0]), rtol=1e-9)


LABELS = st.text(st.characters(codec="latin-1"), max_size=120)


@settings(max_examples=15, deadline=None)
@given(
    labels=st.lists(LABELS, min_size=4, max_size=12),
    bounds=st.integers(0, 3),
    seed=st.integers(0, 10_000),
    measure=st.sampled_from([None, "SMD", "OR"]),
    scale=st.sampled_from([0.001, 1.0, 30.0]),
    reference=st.floats(0.05, 5),
    groups=st.tuples(LABELS, LABELS),
)
def test_no_text_over_text(labels, bounds, seed, measure, scale, reference, groups):
    frame = synthetic(len(labels), bounds, seed, measure).assign(study=labels)
    frame.attrs["measure"] = measure
    if not bounds:  # arm sizes fix the scale of bounds
        frame["yi"] *= scale
        frame["vi"] *= scale**2
    fit = mm.random_effects_bounded(frame)
    ax = plots.forest(fit, reference=(reference, "published: " + labels[0]), groups=groups)
    assert_readable(ax.figure)


@pytest.mark.parametrize("engine", [None, "constrained"])
def test_inside_axes_of_the_caller(evidence, engine):
    figure = Figure(figsize=(16, 12), layout=engine)
    first, second = figure.subplots(2, 1)
    assert plots.forest(evidence, ax=first) is first
    plots.forest(mm.random_effects(synthetic(4)), ax=second)
    assert_readable(figure)


def test_small_axes_reduce_the_type():
    figure = Figure(figsize=(4, 2.5))
    ax = figure.add_axes((0, 0, 1, 1))
    plots.forest(mm.random_effects(synthetic(20)), ax=ax)
    assert max(t.get_fontsize() for t in figure.findobj(Text) if t.get_text()) < 9


@pytest.mark.parametrize("value", [1e308, -1e9, float("inf"), float("nan")])
def test_a_reference_must_fit_on_one_axis_with_the_effects(value):
    with pytest.raises(ValueError, match=r"The reference must be (comparable|a finite)"):
        plots.forest(mm.random_effects(synthetic(4)), reference=(value, "published"))
    table = pd.DataFrame({"method": ["a", "b"], "estimate": [0.1, 0.4]})
    with pytest.raises(ValueError, match=r"The reference must be (comparable|a finite)"):
        plots.specification_curve(table, ["method"], reference=(value, "published"))


def test_subgroups_have_their_own_diamonds():
    frame = synthetic(9).assign(disorder=list("abcabcabc"))
    sub = subgroups(frame, "disorder", test="z")
    rows = plots.forest_rows(sub)
    assert rows["kind"].eq("heading").sum() == 3
    means = rows[rows["kind"] == "subtotal"]
    assert_allclose(means["yi"], sub.table["estimate"], **CLOSED_FORM)
    assert rows["label"].iloc[1:4].tolist() == ["study 0", "study 3", "study 6"]
    ax = plots.forest(sub, columns={"disorder": "Disorder"})
    assert sum(p.get_gid() == "diamond" for p in ax.patches) == 4  # the groups, and all of them
    assert_readable(ax.figure)


@pytest.mark.parametrize("common_tau2", [False, True])
@pytest.mark.parametrize("layout", ["default", "revman", "apa"])
def test_below_subgroups_stands_one_mean_of_all_rows(layout, common_tau2):
    # The column names no group for one row: it is in no group and not in the mean below them.
    frame = synthetic(10).assign(disorder=[*"abcabcabc", None])
    sub = subgroups(frame, "disorder", test="knha", common_tau2=common_tau2, pi_method="HTS")
    whole = mm.random_effects(frame.iloc[:9], test="knha", pi_method="HTS")
    rows = plots.forest_rows(sub)
    mean, prediction = rows.iloc[-2], rows.iloc[-1]
    assert_allclose(mean[["yi", "ci_low", "ci_high"]].tolist(), [whole.estimate, *whole.ci()], **ITERATIVE)
    assert_allclose(prediction[["ci_low", "ci_high"]].tolist(), whole.pi(), **ITERATIVE)
    assert mean["label"] == f"Mean of all groups (τ² = {whole.tau2:.3f}, I² = {whole.I2:.0f}%)"
    shown = rows[rows["kind"] == "point"].set_index("label")["weight"]
    assert_allclose(shown[frame["study"].iloc[:9].tolist()], whole.weights, **ITERATIVE)
    shares = rows.loc[rows["kind"] == "subtotal", "weight_text"].tolist()
    assert shares == [f"{100 * whole.weights[i::3].sum():.1f}%" for i in range(3)]
    ax = plots.forest(sub, layout=layout)
    assert_readable(ax.figure)
    drawn = " ".join(t for t, _ in boxes(ax.figure))
    own = "Total" if layout == "revman" else "Mean of all groups"
    own += f": a fit of its own to all 9 rows, which ignores groups: τ² = {whole.tau2:.3f} (REML, test knha)"
    assert own in drawn
    if layout != "revman":
        letter = "F(2, 6)" if common_tau2 else "Q(2)"
        assert "k = 9 in 3 groups; 1 left out, disorder unknown" in drawn
        assert f"difference between groups: {letter} = {sub.Q_between:.2f}, p = {sub.Q_p:.3f}" in drawn
    assert f"Mean of all groups {whole.estimate:.2f} (" in ax.get_label()


def test_negative_numbers_of_columns_have_the_sign_of_the_axis():
    frame = synthetic(3).assign(change=[-1.5, 2.0, np.nan])
    drawn = [t for t, _ in boxes(plots.forest(mm.random_effects(frame), columns=["change"]).figure)]
    assert "−1.5" in drawn
    assert not [t for t in drawn if t.startswith("-")]


def test_under_a_common_effect_the_mean_of_all_groups_is_the_same_model():
    frame = synthetic(6).assign(disorder=list("aabbcc"))
    sub = subgroups(frame, "disorder", method="FE")
    rows = plots.forest_rows(sub)
    assert rows["label"].iloc[-1] == "Fixed-effect mean of all groups"
    assert_allclose(rows["yi"].iloc[-1], mm.fixed_effect(frame).estimate, **CLOSED_FORM)
    assert "a fit of its own" not in " ".join(t for t, _ in boxes(plots.forest(sub).figure))


def test_groups_of_points_and_bounds(evidence):
    effects = evidence.effects
    fit = mm.random_effects_bounded(effects, moderators="disorder")
    ax = plots.forest(fit, columns=["disorder"])
    rows = plots.forest_rows(fit)
    assert_allclose(rows.loc[rows["kind"] == "subtotal", "yi"], fit.group_means()["estimate"], **CLOSED_FORM)
    inside = None
    by_label = dict(zip(effects["label"], effects["disorder"], strict=True))
    for _, row in rows.iterrows():
        if row["kind"] == "heading":
            inside = row["label"]
        elif row["kind"] in ("point", "bound"):
            assert by_label[row["label"]] == inside
    assert any(f"disorder: χ²({effects['disorder'].nunique() - 1})" in t for t, _ in boxes(ax.figure))
    mean = rows[rows["kind"] == "mean"].iloc[0]
    assert mean["label"] == "Mean of all groups (1 point, 14 bounds)"
    assert_allclose([mean["yi"], mean["ci_low"], mean["ci_high"]], [evidence.estimate, *evidence.ci()], **ITERATIVE)
    assert_readable(ax.figure)


def test_a_regression_shows_its_rows():
    frame = synthetic(8).assign(dose=range(8))
    reg = meta_regression(frame, "dose")
    assert plots.forest_rows(reg)["kind"].eq("point").all()
    assert_readable(plots.forest(reg).figure)


def test_columns_must_exist():
    with pytest.raises(DataError, match="Every column to show must be in the effects table, but dose is not among"):
        plots.forest(mm.random_effects(synthetic(4)), columns=["dose"])


def test_wide_intervals_are_cut_not_the_estimates():
    rows = pd.DataFrame({"kind": ["point", "point"], "yi": [0.1, 0.3], "ci_low": [0.0, -50.0], "ci_high": [0.2, 50.0]})
    low, high = axis_limits(rows, [0.0])
    assert low < 0 < 0.3 < high
    assert axis_limits(rows.iloc[:1], [0.0])[1] < 0.5


def test_same_bytes_on_each_run(evidence, tmp_path):
    first, second = (plots.save_svg(plots.forest(evidence).figure, tmp_path / f"{i}.svg") for i in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    again = plots.forest(evidence).figure
    assert plots.svg_text(again) == plots.svg_text(again)


def test_svg_keeps_text_and_speaks(evidence, tmp_path):
    import xml.etree.ElementTree as ET

    path = plots.save_svg(plots.forest(evidence, groups=("a < b", "c & d")).figure, tmp_path / "forest.svg")
    root = ET.parse(path).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert [root.find(name + t).text for t in ("title", "desc")] == [
        plots.alt_text(evidence).split(". ")[0],
        plots.alt_text(evidence),
    ]
    words = " ".join("".join(t.itertext()) for t in root.iter(name + "text"))
    assert "Peters et al. 2019" in words
    assert "Favours a < b" in words


def test_alt_text_has_the_main_numbers(evidence):
    text = plots.alt_text(evidence)
    for part in (f"{evidence.estimate:.2f}", f"{evidence.ci_high:.2f}", f"{evidence.k} trials ({counts(evidence)})"):
        assert part in text


def test_greyscale_needs_no_colour(evidence):
    """Points, bounds and means differ in shape or filling."""
    ax = plots.forest(evidence)
    bars = [p for p in ax.patches if p.get_gid() == "bound"]
    diamond = next(p for p in ax.patches if isinstance(p, Polygon) and p.get_gid() == "diamond")
    assert {p.get_facecolor()[:3] for p in bars} == {(1.0, 1.0, 1.0)}
    assert all(p.get_hatch() for p in bars)
    assert diamond.get_hatch() is None
    assert ax.collections[0].get_facecolor()[0, :3].sum() < 1.5


def test_figures_stay_out_of_pyplot_unless_it_is_there(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    ax = plots.forest(mm.random_effects(synthetic(3)))
    assert type(ax.figure) is Figure
    assert ax.figure.canvas.manager is None


def test_rows_sort_within_their_group():
    frame = synthetic(9).assign(group=list("abcabcabc"), year=[2009, 2001, 2005, 2003, 2002, 2004, 2001, 2008, 2000])
    rows = plots.forest_rows(subgroups(frame, "group"), sort_by="year")
    assert rows["label"][rows["kind"] == "point"].tolist() == [f"study {i}" for i in (6, 3, 0, 1, 4, 7, 8, 5, 2)]
    assert rows["kind"].tolist() == ["heading", *["point"] * 3, "subtotal"] * 3 + ["mean", "prediction"]
    ax = plots.forest(subgroups(frame, "group"), sort_by="year", columns=["year"])
    words = [t for t, _ in boxes(ax.figure)]
    assert [w for w in words if w.startswith("20")] == [
        "2001",
        "2003",
        "2009",
        "2001",
        "2002",
        "2008",
        "2000",
        "2004",
        "2005",
    ]
    with pytest.raises(DataError, match="sort_by must be a column of the effects table, but 'dose' is not among"):
        plots.forest(mm.random_effects(frame), sort_by="dose")


def test_bounds_without_a_value_sort_last():
    fit = mm.random_effects_bounded(synthetic(6, bounds=3))
    rows = plots.forest_rows(fit, sort_by="yi")
    assert rows["kind"].tolist()[:6] == ["point"] * 3 + ["bound"] * 3
    assert rows["yi"][:3].is_monotonic_increasing


def test_other_models_stand_below():
    frame = synthetic(6)
    fixed = mm.fixed_effect(frame)
    ax = plots.forest(mm.random_effects(frame), also={"Fixed effect": fixed})
    diamonds = [np.asarray(p.get_xy())[:, 0] for p in ax.patches if p.get_gid() == "diamond"]
    assert_allclose([diamonds[1].min(), diamonds[1].max()], [fixed.ci_low, fixed.ci_high], rtol=1e-10)
    assert_readable(ax.figure)


def test_counts_without_events_are_shown_but_not_drawn():
    from metamiq.pooling.counts import mantel_haenszel

    table = pd.DataFrame(
        {"study": list("abc"), "ai": [2, 0, 7], "n1i": [20, 30, 50], "ci": [3, 0, 9], "n2i": [20, 30, 52]}
    )
    fit = mantel_haenszel(table)
    rows = plots.forest_rows(fit)
    assert rows["effect_text"][1] == "not estimable"
    assert rows["n1_text"].tolist()[:3] == ["2/20", "0/30", "7/50"]
    assert rows["label"].iloc[-1] == "Mantel-Haenszel mean"
    assert_readable(plots.forest(fit).figure)


def test_pdf_is_the_same_on_every_run_with_its_letters_inside(evidence, tmp_path):
    first, second = (plots.save_pdf(plots.forest(evidence).figure, tmp_path / f"{i}.pdf") for i in (1, 2))
    content = first.read_bytes()
    assert content == second.read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"CreationDate" not in content
    assert b"/FontFile2" in content  # TrueType inside: text that can be searched and edited, as journals ask
    assert b"/Title" in content


def test_pictures_are_the_same_from_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    fit = mm.random_effects(yi=[0.1, 0.4, 0.2], vi=[0.04, 0.05, 0.03])
    with ThreadPoolExecutor(4) as pool:
        drawn = set(pool.map(lambda _: plots.svg_text(plots.forest(fit).figure), range(8)))
    assert len(drawn) == 1
