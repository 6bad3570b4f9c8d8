"""Every picture of every kind of fit: drawn readably and with the main numbers in words, or refused in one sentence."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq import plots

K = 9


@cache
def fit_of(kind):
    rng = np.random.default_rng(3)  # synthetic tables of means and of counts; the bounds are the bundled evidence
    study = [f"trial {i // 2}" for i in range(K)]
    shared = {"year": range(2000, 2000 + K), "dose": np.arange(K) * 1.0, "group": list("ab" * 4 + "a")}
    counts = pd.DataFrame(
        {"study": list("abcdefghi"), "ai": rng.integers(3, 20, K), "n1i": 50, "ci": rng.integers(5, 25, K), "n2i": 52}
    ).assign(**shared)
    means = pd.DataFrame(
        {"study": study, "m1i": rng.normal(10, 1, K), "sd1i": 3.0, "n1i": rng.integers(20, 60, K)}
    ).assign(m2i=9.0, sd2i=3.1, n2i=rng.integers(20, 60, K), **shared)
    g = mm.effect_sizes(means, "SMD")
    evidence = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    return {
        "random": lambda: mm.random_effects(g),
        "fixed": lambda: mm.fixed_effect(mm.effect_sizes(counts, "OR")),
        "Mantel-Haenszel": lambda: mm.mantel_haenszel(counts, measure="OR"),
        "risk difference": lambda: mm.mantel_haenszel(counts, measure="RD"),
        "Peto": lambda: mm.peto(counts),
        "GLMM": lambda: mm.glmm(counts),
        "regression": lambda: mm.meta_regression(g, "dose"),
        "subgroups": lambda: mm.subgroups(g, by="group"),
        "bounds": lambda: mm.random_effects_bounded(evidence),
        "bounds by group": lambda: mm.random_effects_bounded(evidence, moderators="disorder"),
        "bounds by dose": lambda: mm.random_effects_bounded(evidence, moderators="mi_sessions"),
        "multilevel": lambda: mm.multilevel(g, cluster="study", structure="three-level"),
        "multilevel by dose": lambda: mm.multilevel(g, cluster="study", moderators="dose", robust="CR2"),
        "posterior": lambda: mm.bayes_random_effects(g, tau_prior="halfnormal", tau_scale=0.5),
    }[kind]()


COUNTS = ["Mantel-Haenszel", "risk difference", "Peto", "GLMM"]
MEANS = ["random", "fixed", *COUNTS, "bounds"]
MODERATORS = ["regression", "subgroups", "bounds by group", "bounds by dose"]
KINDS = [*MEANS, *MODERATORS, "multilevel", "multilevel by dose", "posterior"]
DRAWN = {
    "forest": KINDS,
    "funnel": MEANS,
    "radial": MEANS,
    "bubble": [*MEANS, "regression", "bounds by dose"],
    "baujat": ["random", "fixed"],
    "labbe": ["fixed", *COUNTS],
    "influence": ["random", "fixed", "regression", "bounds", "bounds by group", "bounds by dose"],
    "cumulative": ["random", "fixed", "bounds"],
    "leave_one_out": ["random", "fixed", "bounds"],
    "orchard": [*MEANS, "subgroups"],
    "albatross": [*MEANS, "regression", "bounds by group", "bounds by dose"],
    "profile_likelihood": ["random", "fixed", "bounds"],
    "normal_quantile": ["random", "fixed"],
    "drapery": MEANS,
    "group_means": ["subgroups", "bounds by group"],
}


def draw(picture, kind):
    fit = fit_of(kind)
    if picture == "bubble":
        return plots.bubble(fit, "mi_sessions" if kind.startswith("bounds") else "dose")
    return getattr(plots, picture)(fit)


@pytest.mark.parametrize(
    ("picture", "kind"),
    [(p, k) for p in DRAWN for k in KINDS],
    ids=lambda value: value.replace(" ", "_"),
)
def test_drawn_or_refused(picture, kind):
    if kind in DRAWN[picture]:
        ax = draw(picture, kind)
        assert plots.text_faults(ax.figure) == []
        assert re.search(r"\d\.\d", ax.get_label()), "the alternative text must have the main numbers"
        return
    with pytest.raises(ValueError, match=r"^\w.*\.$") as refusal:
        draw(picture, kind)
    text = str(refusal.value)
    assert len(text) < 320
    assert re.search(r"needs|is drawn from|must be", text), text


@pytest.mark.parametrize("picture", DRAWN)
def test_the_same_bytes_each_time(picture):
    kind = DRAWN[picture][-1]

    def svg():
        return plots.svg_text(draw(picture, kind).figure)

    first = svg()
    assert first == svg()
    assert "<desc>" in first


def test_a_forest_of_a_multilevel_model_names_its_parts():
    fit = fit_of("multilevel")
    rows = plots.forest_rows(fit)
    mean = rows[rows["kind"] == "mean"].iloc[0]
    assert mean["label"] == "Three-level mean"
    np.testing.assert_allclose([mean["yi"], mean["ci_low"], mean["ci_high"]], [fit.estimate, *fit.ci()])
    np.testing.assert_allclose(rows["weight"].iloc[:K], fit.weights)
    np.testing.assert_allclose(rows.loc[rows["kind"] == "prediction", ["ci_low", "ci_high"]].iloc[0], fit.pi())
    words = " ".join(t for t, _ in plots.text_boxes(plots.forest(fit).figure))
    assert "k = 9 in 5 clusters (study); variance between them" in " ".join(words.split())


def test_a_forest_of_a_posterior_has_credible_intervals_and_priors():
    fit = fit_of("posterior")
    rows = plots.forest_rows(fit, level=0.9)
    mean = rows[rows["kind"] == "mean"].iloc[0]
    assert mean["label"] == "Posterior mean, 90% credible interval"
    np.testing.assert_allclose([mean["ci_low"], mean["ci_high"]], fit.ci(0.9))
    ax = plots.forest(fit)
    words = " ".join(" ".join(t for t, _ in plots.text_boxes(ax.figure)).split())
    assert "Priors: mean flat; τ" in words
    assert "probability above no effect" in ax.get_label()


def test_gosh_of_bounds_stands_on_tau2():
    evidence = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety")).head(7)
    assert plots.gosh(mm.random_effects_bounded(evidence)).get_ylabel() == "τ²"
    for kind, words in (
        ("GLMM", "has weights of its own"),
        ("regression", "needs one mean"),
        ("posterior", "is drawn"),
    ):
        with pytest.raises(ValueError, match=words):
            plots.gosh(fit_of(kind))
