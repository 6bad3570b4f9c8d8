"""Layouts of forest plots, means and SDs per arm, and risk-of-bias dots, as drawn objects. All data are made up."""

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq import plots
from metamiq.errors import DataError
from metamiq.plots import revman
from metamiq.plots.style import COLOURED

LAYOUTS = ("default", "revman", "apa")


def raw(k=5):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"study": [f"Author {i} et al. 201{i}" for i in range(k)]})
    for arm, shift in ((1, 3.0), (2, 0.0)):
        frame[f"m{arm}i"] = rng.normal(20 + shift, 1.5, k).round(2)
        frame[f"sd{arm}i"] = rng.uniform(5, 9, k).round(2)
        frame[f"n{arm}i"] = rng.integers(18, 90, k)
    return frame


def judged(frame):
    words = ["low", "some", "high", "unclear", None, "Some concerns", "LOW"]
    for j, domain in enumerate(("rob_randomisation", "rob_missing_data", "rob_overall")):
        frame[domain] = [words[(i + j) % len(words)] for i in range(len(frame))]
    return frame


@pytest.fixture(scope="module")
def means():
    return mm.random_effects(mm.effect_sizes(judged(raw()), "MD"))


def texts(ax):
    return [t for t, _ in plots.text_boxes(ax.figure)]


def boxes(ax):
    return dict(plots.text_boxes(ax.figure))


def dots(ax):
    return [line for line in ax.lines if line.get_gid() == "risk of bias"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["means", "regression", "subgroups", "fixed", "counts", "bounds"])
def test_every_layout_of_every_fit_is_readable(layout, kind, means):
    frame = judged(raw(6)).assign(group=list("aabbbb"))
    table = mm.effect_sizes(frame, "SMD")
    bounded = table.assign(yi_low=np.nan, yi_high=np.nan)
    bounded.loc[0, ["yi", "vi"]] = np.nan
    bounded.loc[0, "yi_low"], bounded.loc[0, "yi_high"] = 0.4, np.inf
    counts = frame[["study", "n1i", "n2i"]].assign(ai=[3, 5, 2, 7, 4, 1], ci=[6, 4, 5, 9, 8, 3])
    fit = {
        "means": lambda: means,
        "regression": lambda: mm.meta_regression(table, "group"),
        "subgroups": lambda: mm.subgroups(table, by="group"),
        "fixed": lambda: mm.fixed_effect(table),
        "counts": lambda: mm.mantel_haenszel(counts, measure="OR"),
        "bounds": lambda: mm.random_effects_bounded(bounded),
    }[kind]()
    ax = plots.forest(fit, layout=layout, arms=True, groups=("MI + CBT", "CBT"))
    assert plots.text_faults(ax.figure) == []


def test_revman_has_all_numbers_left_of_the_plot_and_totals(means):
    ax = plots.forest(means, layout="revman", groups=("MI + CBT", "CBT"))
    drawn, plot = boxes(ax), ax.get_window_extent()
    n1, n2 = (int(means.effects[c].sum()) for c in ("n1i", "n2i"))
    for text in ("Total (95% CI)", str(n1), str(n2), "Weight", "Mean", "SD", "Total", "MI + CBT", "CBT", "100.0%"):
        assert drawn[text].x1 < plot.x0, text
    assert "Mean Difference\nIV, Random, 95% CI" in drawn
    assert "Study or Subgroup" in drawn
    assert drawn["MI + CBT"].y0 > drawn["SD"].y0
    for column in ("m1i", "sd1i", "m2i", "sd2i"):
        assert {f"{v:.2f}" for v in means.effects[column]} <= set(texts(ax))


def test_revman_names_the_weighing_of_the_fit():
    table = mm.effect_sizes(raw(), "MD")
    assert any(
        "IV, Fixed, 90% CI" in t for t in texts(plots.forest(mm.fixed_effect(table), layout="revman", level=0.9))
    )


def counts(k=7):
    rng = np.random.default_rng(5)  # synthetic
    frame = pd.DataFrame({"study": list("abcdefg")[:k], "ai": rng.integers(3, 20, k), "n1i": rng.integers(40, 60, k)})
    return frame.assign(ci=rng.integers(5, 25, k), n2i=rng.integers(40, 60, k), group=list("xxxyyyz")[:k])


def lines_of(fit, **options):
    ax = plots.forest(fit, layout="revman", **options)
    assert plots.text_faults(ax.figure) == []
    return texts(ax)


def test_revman_lines_of_one_mean():
    fit = mm.mantel_haenszel(counts(), measure="OR")
    shown = lines_of(fit)
    for text in (
        "Odds Ratio\nM-H, Fixed, 95% CI",
        "Total (95% CI)",
        "Total events",
        f"Heterogeneity: Chi² = {fit.Q:.2f}, df = 6 ({revman.p(fit.Q_p)}); I² = {fit.I2:.0f}%",
        f"Test for overall effect: Z = {abs(fit.statistic):.2f} ({revman.p(fit.p_value)})",
        *(f"{counts()[c].sum()}" for c in ("ai", "n1i", "ci", "n2i")),
    ):
        assert text in shown, text
    assert shown.count("Events") == shown.count("Total") == 2
    for column in ("ai", "n1i", "ci", "n2i"):
        assert {str(v) for v in counts()[column]} <= set(shown)
    assert not any("events/n" in t for t in shown)
    knha = mm.random_effects(mm.effect_sizes(raw(), "MD"))
    t = f"Test for overall effect: T = {abs(knha.statistic):.2f}, df = 4 ({revman.p(knha.p_value)})"
    assert t in lines_of(knha)
    assert any(text.startswith(f"Heterogeneity: Tau² = {knha.tau2:.2f}; Chi² = ") for text in lines_of(knha))


def test_revman_lines_of_subgroups():
    table = mm.effect_sizes(counts(), "RR")
    fit = mm.subgroups(table, by="group", method="DL")
    rows = revman.revman_rows(plots.forest_rows(fit), fit, 0.95)
    whole = mm.random_effects(table, method="DL", test="z")
    sub = rows[rows["kind"] == "subtotal"].reset_index(drop=True)
    for name, row in zip("xyz", sub.to_dict(orient="records"), strict=True):
        part = counts().query("group == @name")
        assert row["label"] == "Subtotal (95% CI)"
        assert row["total1_text"] == f"{part['n1i'].sum()}"
        assert row["total2_text"] == f"{part['n2i'].sum()}"
        share = whole.weights[(table["group"] == name).to_numpy()].sum()
        assert row["weight_text"] == f"{100 * share:.1f}%"
        assert row["yi"] == fit.fits[name].estimate
    events = rows[rows["label"] == "Total events"]
    assert events["events1_text"].tolist() == [
        *(f"{counts().query('group == @name')['ai'].sum()}" for name in "xyz"),
        f"{counts()['ai'].sum()}",
    ]
    total = rows[rows["label"] == "Total (95% CI)"].iloc[0]
    assert [total["yi"], total["ci_low"], total["ci_high"]] == [whole.estimate, *whole.ci()]
    notes = rows.loc[rows["kind"] == "note", "label"].tolist()
    assert notes[:2] == [
        f"Heterogeneity: Tau² = {fit.fits['x'].tau2:.2f}; Chi² = {fit.fits['x'].Q:.2f}, df = 2 "
        f"({revman.p(fit.fits['x'].Q_p)}); I² = {fit.fits['x'].I2:.0f}%",
        f"Test for overall effect: Z = {abs(fit.fits['x'].statistic):.2f} ({revman.p(fit.fits['x'].p_value)})",
    ]
    assert "Heterogeneity: Not applicable" in notes  # z has one row
    I2 = max(0.0, 100 * (fit.Q_between - fit.Q_df) / fit.Q_between)
    difference = f"Chi² = {fit.Q_between:.2f}, df = {fit.Q_df:g} ({revman.p(fit.Q_p)}), I² = {I2:.0f}%"
    assert notes[-1] == f"Test for subgroup differences: {difference}"
    assert notes[-1] in lines_of(fit)


@pytest.mark.parametrize("test", ["z", "knha"])
def test_revman_lines_of_subgroups_with_one_tau2(test):
    table = mm.effect_sizes(counts(), "RR")
    fit = mm.subgroups(table, by="group", test=test, common_tau2=True)
    letter = "Chi²" if test == "z" else "F"
    assert any(t.startswith(f"Test for subgroup differences: {letter} = {fit.Q_between:.2f}") for t in lines_of(fit))


def test_revman_lines_of_bounds():
    evidence = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    fit = mm.random_effects_bounded(evidence)
    shown = lines_of(fit)
    assert f"Test for overall effect: Z = {abs(fit.statistic):.2f} ({revman.p(fit.p_value)})" in shown
    assert any(t.startswith("Heterogeneity: Tau² = 0.06 (P = ") for t in shown)
    by = mm.random_effects_bounded(evidence, moderators="disorder")
    shown = lines_of(by)
    assert shown.count("Subtotal (95% CI)") == 6
    assert "≈80" in shown
    assert any(t.startswith("Test for subgroup differences: Chi² = ") for t in shown)


def test_revman_keeps_other_models_last_and_a_posterior_has_no_test():
    table = mm.effect_sizes(raw().assign(group=list("xxyyy")), "MD")
    fit = mm.subgroups(table, by="group")
    rows = revman.revman_rows(plots.forest_rows(fit, also={"Fixed": mm.fixed_effect(table)}), fit, 0.95)
    labels = rows["label"].tolist()
    assert labels.index("Fixed") > labels.index("Total (95% CI)")
    posterior = lines_of(mm.bayes_random_effects(table, tau_prior="halfnormal", tau_scale=1.0))
    assert any(t.startswith("Probability of an effect above 0: ") for t in posterior)
    assert not any(t.startswith("Test for overall effect") for t in posterior)


def test_apa_has_a_note_and_names_the_effect(means):
    shown = texts(plots.forest(means, layout="apa"))
    assert any(t.startswith("Note. k = ") for t in shown)
    assert "Mean difference [95% CI]" in shown


def test_only_the_whole_is_called_total():
    table = mm.effect_sizes(raw().assign(year=range(2001, 2006)), "MD")
    other = {"Fixed effect": mm.fixed_effect(table)}
    regression = texts(plots.forest(mm.meta_regression(table, "year"), layout="revman", also=other))
    assert "Fixed effect" in regression
    assert not any(t.startswith("Total (") for t in regression)
    whole = texts(plots.forest(mm.random_effects(table), layout="revman", also=other))
    assert whole.count("Total (95% CI)") == 1
    assert "Fixed effect" in whole


def test_arms_are_shown_when_asked(means):
    value = f"{means.effects['m1i'].iloc[0]:.2f}"
    assert value not in texts(plots.forest(means))
    assert value in texts(plots.forest(means, arms=True))
    assert value not in texts(plots.forest(means, layout="revman", arms=False))


def test_apa_has_no_colour_and_no_weights(means):
    ax = plots.forest(means, layout="apa", reference=(0.5, "published"))
    assert "Weight" not in texts(ax)
    used = [line.get_color() for line in ax.lines] + [t.get_color() for t in ax.texts]
    used += [c for collection in ax.collections for c in collection.get_facecolor()]
    used += [patch.get_facecolor() for patch in ax.patches] + [patch.get_edgecolor() for patch in ax.patches]
    assert used
    for colour in used:
        r, g, b = matplotlib.colors.to_rgb(colour)
        assert r == g == b, colour


def test_risk_of_bias_is_a_dot_with_a_symbol_for_each_judgement(means):
    ax = plots.forest(means)
    given = means.effects[["rob_randomisation", "rob_missing_data", "rob_overall"]]
    assert len(dots(ax)) == int(given.notna().to_numpy().sum())
    signs = [t for t in texts(ax) if t in COLOURED.dots and t != "n"]  # n is the header of group sizes
    assert len(signs) == len(dots(ax))
    assert signs.count("−") == int((given == "high").to_numpy().sum())
    words = " ".join(" ".join(texts(ax)).split())
    assert "Risk of bias: A randomisation, B missing data, C overall. Symbols: + low, ! some concerns" in words


def test_symbols_stand_on_their_dots(means):
    ax = plots.forest(means)
    signs = [box for text, box in plots.text_boxes(ax.figure) if text in COLOURED.dots and text != "n"]
    for dot, box in zip(dots(ax), signs, strict=True):
        x, y = dot.get_transform().transform(dot.get_xydata()[0])
        assert abs((box.x0 + box.x1) / 2 - x) < 1
        assert abs((box.y0 + box.y1) / 2 - y) < 3


def test_dots_follow_their_rows_when_sorted(means):
    ax = plots.forest(means, sort_by="yi")
    order = np.argsort(means.effects["yi"].to_numpy())
    first = sorted(d.get_ydata()[0] for d in dots(ax) if d.get_color() == COLOURED.dots["−"])
    high = (means.effects.filter(like="rob_") == "high").to_numpy()[order]
    heights = sorted({d.get_ydata()[0] for d in dots(ax)})
    expected = [heights[i] for i, row in enumerate(high) for _ in range(int(row.sum()))]
    assert first == expected


def test_unknown_judgements_are_named():
    table = mm.effect_sizes(raw().assign(rob_blinding=["low", "medium", "high", "low", "low"]), "MD")
    with pytest.raises(DataError, match="rob_blinding has 'medium' in row 2"):
        plots.forest(mm.random_effects(table))


def test_unknown_layout_is_refused(means):
    with pytest.raises(ValueError, match="layout must be one of 'apa', 'default', 'revman', not 'jama'"):
        plots.forest(means, layout="jama")
