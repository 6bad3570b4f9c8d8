"""The methods paragraph says what a fit holds, and cites what it says.

Tables made up here are synthetic; the others are bundled data.
"""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import metamiq as mm
from metamiq.explaining import methods_effects, methods_mean, methods_models
from metamiq.explaining.methods import joined, methods_paragraph, written
from metamiq.explaining.references import REFERENCES
from metamiq.pooling.tau2 import METHODS


@pytest.fixture(scope="module")
def bcg():
    return mm.load_dataset("bcg").trials


@pytest.fixture(scope="module")
def ratios(bcg):
    return mm.effect_sizes(bcg, "RR")


@pytest.fixture(scope="module")
def means():
    return mm.load_dataset("normand1999").trials


SYNTHETIC = pd.DataFrame(
    {
        "study": [*"aabbccdd"],
        "yi": [0.1, 0.4, 0.5, 0.8, 0.9, 0.6, 0.0, 0.3],
        "vi": 0.02,
        "dose": [1, 2, 1, 3, 2, 4, 1, 2],
        "kind": [*"xxyyxyxy"],
    }
)


def test_a_default_fit_in_full(ratios):
    said = methods_paragraph(mm.random_effects(ratios))
    assert said.sentences[:3] == (
        "The effect of each row is the log risk ratio.",
        "13 effect sizes from 13 studies were pooled in a random-effects model.",
        "The between-study variance tau2 was estimated by restricted maximum likelihood (REML; Viechtbauer 2005).",
    )
    assert "95% confidence interval and the test of the mean use the Hartung-Knapp-Sidik-Jonkman" in said.text
    assert "t distribution with k - 1 degrees of freedom" in said.text
    assert said.text.endswith(f" Computed with metamiq {mm.__version__}.")
    assert [r.split(" (")[0].split(",")[0] for r in said.references] == [
        "Cochran", "Hartung", "Higgins", "Higgins", "Sidik", "Viechtbauer", "Viechtbauer",
    ]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_estimator_is_named_with_a_reference(ratios, method):
    said = methods_paragraph(mm.random_effects(ratios, method=method, test="z"))
    sentence = next(s for s in said.sentences if s.startswith("The between-study variance"))
    assert f"({method}; " in sentence
    assert said.references


@pytest.mark.parametrize(
    ("settings", "words", "without"),
    [
        ({"test": "z"}, "the ordinary standard error and the normal distribution", "Hartung"),
        ({"test": "t"}, "the ordinary standard error and the t distribution", "Hartung"),
        ({"test": "adhoc"}, "never made smaller than the ordinary one", "Cheung"),
        ({"level": 0.9}, "The 90% confidence interval", "95%"),
        ({"tau2": 0.25}, "not estimated but set to tau2 = 0.25", "REML"),
        ({"pi_method": "HTS"}, "with the t distribution of k - 2 degrees of freedom", "same distribution"),
        ({"pi_method": "nagashima"}, "bootstrap of Nagashima et al. 2019", "sqrt(SE^2"),
        ({"weights": "equal"}, "the same weight", "Doi"),
        ({"weights": "ivhet"}, "weights of the fixed-effect model, 1 / vi (Doi et al. 2015)", "the same weight"),
        ({"weights": np.arange(1.0, 14.0)}, "weights that the analyst gave", "Doi"),
    ],
)
def test_a_setting_changes_its_sentence(ratios, settings, words, without):
    said = str(methods_paragraph(mm.random_effects(ratios, **settings)))
    assert words in said
    assert without not in said


def test_one_common_effect_and_its_dispersion(ratios):
    plain = str(methods_paragraph(mm.fixed_effect(ratios)))
    assert "by inverse variance under one common effect" in plain
    assert "prediction" not in plain
    assert "Birge" not in plain
    assert "Birge 1932; Stanley & Doucouliagos 2015" in str(
        methods_paragraph(mm.fixed_effect(ratios, dispersion="birge"))
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "exact small-sample correction (Hedges 1981) and large-sample variances (Hedges 1982)"),
        ({"vtype": "LS2"}, "multiplied by the squared correction (Borenstein et al. 2009)"),
        ({"vtype": "UB"}, "unbiased variances (Hedges 1983)"),
        ({"vtype": "AV"}, "large-sample variances at the mean effect"),
        ({"correction": "approx"}, "approximate small-sample correction 1 - 3 / (4 m - 1)"),
        ({"correction": "none"}, "no small-sample correction"),
    ],
)
def test_the_variance_formula_is_found_in_the_numbers(means, options, words):
    fit = mm.random_effects(mm.effect_sizes(means, "SMD", **options))
    assert words in methods_paragraph(fit).sentences[0]


def test_a_formula_that_does_not_give_the_numbers_is_not_named(means):
    effects = mm.effect_sizes(means, "SMD")
    changed = effects.assign(vi=effects["vi"] * 1.01)
    said = methods_paragraph(mm.random_effects(changed)).sentences[0]
    assert "as the table gives them" in said
    assert "Hedges 1982" not in said
    other_program = mm.analyse(means, "SMD", preset="revman5").fit
    assert "as the table gives them" in methods_paragraph(other_program).sentences[0]


def test_what_was_added_to_zero_cells_is_found_in_the_numbers(bcg):
    catheters = mm.load_dataset("nielweise2007").trials
    said = {
        to: methods_paragraph(mm.random_effects(mm.effect_sizes(catheters, "OR", to=to))).sentences[0]
        for to in ("only0", "all")
    }
    assert said["only0"].endswith("; 0.5 was added to each cell in tables with a zero cell.")
    assert said["all"].endswith("; 0.5 was added to each cell in all tables.")
    assert "added" not in methods_paragraph(mm.random_effects(mm.effect_sizes(bcg, "OR"))).sentences[0]


def test_numbers_without_a_measure_are_taken_as_given():
    said = methods_paragraph(mm.random_effects(yi=[0.1, 0.5], vi=[0.04, 0.02], test="z"))
    assert said.sentences[0].startswith("Effect sizes and their sampling variances were taken as the table gives them")
    alone = methods_paragraph(mm.random_effects(yi=[0.1], vi=[0.04], test="z"))
    assert "With one effect size there is no estimate" in alone.text
    assert "Heterogeneity" not in alone.text
    assert "References" not in str(alone)


def test_counts(bcg):
    pooled = {m: str(methods_paragraph(mm.mantel_haenszel(bcg, m))) for m in ("OR", "RR", "RD")}
    assert "Robins et al. 1986" in pooled["OR"]
    assert "Greenland & Robins 1985" in pooled["RR"]
    assert "Sato et al. 1989" in pooled["RD"]
    assert "Tarone 1985" in pooled["OR"]
    assert "Tarone" not in pooled["RR"]
    assert all("without a correction for zero cells" in text for text in pooled.values())
    catheters = mm.load_dataset("nielweise2007").trials
    corrected = str(methods_paragraph(mm.mantel_haenszel(catheters, "OR", add=(0.5, 0.5), to=("only0", "all"))))
    assert "without a correction" not in corrected
    assert "Peto's one-step method (Yusuf et al. 1985)" in str(methods_paragraph(mm.peto(bcg)))
    exact = str(methods_paragraph(mm.glmm(catheters, "CM.EL", test="t")))
    assert "CM.EL; Stijnen et al. 2010" in exact
    assert "1 table without events, or with nothing but events, in both groups was left out" in exact
    assert "Turner et al. 2000" in str(methods_paragraph(mm.glmm(bcg)))


def test_moderators_and_subgroups(ratios):
    regression = methods_paragraph(mm.meta_regression(ratios, "allocation + latitude", method="DL", test="z"))
    assert "meta-regression on allocation + latitude" in regression.text
    assert "allocation with alternate" in regression.text
    assert "Wald tests (chi-squared)" in regression.text
    assert "The residual between-study variance tau2" in regression.text
    apart = methods_paragraph(mm.subgroups(ratios, "allocation"))
    assert "13 effect sizes in 3 subgroups by allocation" in apart.text
    assert "of its own" in apart.text
    together = methods_paragraph(mm.subgroups(ratios, "allocation", common_tau2=True, test="knha"))
    assert "common to all subgroups" in together.text
    assert "Rubio-Aparicio et al. 2020" in together.text
    assert "Q between them (F;" in together.text


def test_clusters_priors_and_bounds():
    three = methods_paragraph(mm.multilevel(SYNTHETIC, structure="three-level"))
    assert "8 effect sizes in 4 clusters (study)" in three.text
    assert "rho" not in three.text
    che = methods_paragraph(mm.multilevel(SYNTHETIC, structure="che", rho=0.4, robust="CR2", method="ML"))
    assert "rho = 0.4" in che.text
    assert "maximum likelihood (ML)" in che.text
    assert "cluster-robust (CR2) with Satterthwaite" in che.text
    bayes = methods_paragraph(mm.bayes_random_effects(SYNTHETIC, mu_prior=(0, 1), tau_scale=0.25, interval="shortest"))
    assert "normal prior (mean 0, SD 1)" in bayes.text
    assert "half-normal(scale 0.25)" in bayes.text
    assert "shortest (highest density)" in bayes.text
    evidence = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    bounded = methods_paragraph(mm.random_effects_bounded(evidence))
    n_bounds, assumed = (evidence["kind"] == "bound").sum(), (evidence["n_source"] == "assumed").sum()
    assert f"{n_bounds} rows are bounds (after Hedges & Olkin 1980; Bushman & Wang 1996)" in bounded.text
    assert f"arm sizes assumed in {assumed}" in bounded.text
    moderated = methods_paragraph(mm.random_effects_bounded(evidence, "disorder"))
    assert "with moderators (disorder)" in moderated.text
    assert "prediction interval" not in moderated.text


def test_bounds_of_any_table():
    table = pd.DataFrame(
        {"yi": [0.4, np.nan], "vi": [0.02, np.nan], "yi_low": np.nan, "yi_high": np.nan, "n1i": 30, "n2i": 30}
    )
    table.loc[1, ["yi_low", "yi_high"]] = -0.5, 0.5
    said = methods_paragraph(mm.random_effects_bounded(table)).text
    assert said.startswith("1 row of 2 is a point: effect sizes. 1 row is a bound")
    assert "verdict" not in said


def test_no_other_object_is_a_fit():
    with pytest.raises(ValueError, match="takes a fit, such as random_effects gives, not a DataFrame"):
        methods_paragraph(SYNTHETIC)


def test_every_citation_is_a_reference_and_every_reference_is_used():
    from metamiq.report import grade, grade_judgements

    sources = [methods_effects, methods_mean, methods_models, grade, grade_judgements]
    cited = {key for module in sources for key in re.findall(r"@(\w+\d{4}[ab]?)", inspect.getsource(module))}
    known_by_table = set(methods_effects._CITED.values())
    assert cited <= set(REFERENCES)
    assert cited | known_by_table == set(REFERENCES)


def test_a_reference_is_cited_by_its_own_name_and_year():
    for key, reference in REFERENCES.items():
        year = re.search(r"\d{4}[ab]?", reference.short).group()
        assert f"({year})" in reference.full, key
        assert year in key, key
        name = reference.short.split()[0]
        assert name in reference.full, key


def test_names_in_the_data_are_no_citations():
    table = SYNTHETIC.rename(columns={"study": "@viechtbauer"})
    fit = mm.multilevel(table, cluster="@viechtbauer", structure="three-level")
    assert "(@viechtbauer)" in methods_paragraph(fit).text


def test_paragraphs_are_joined_without_saying_things_twice(ratios):
    one, two = methods_paragraph(mm.random_effects(ratios)), methods_paragraph(mm.random_effects(ratios, test="z"))
    both = joined("First this.", one, two)
    assert both.text.count("were pooled in a random-effects model") == 1
    assert both.text.count("Computed with") == 1
    assert both.sentences[0] == "First this."
    assert set(both.references) == set(one.references) | set(two.references)


def test_an_author_alone_comes_before_the_same_author_with_others():
    said = written(["@hedges1980 @hedges1981 @hedges1982"])
    assert [re.search(r"\d{4}", r).group() for r in said.references] == ["1981", "1982", "1980"]


def test_the_report_has_no_methods_of_its_own():
    """One implementation: no file of the report names an estimator's long form."""
    folder = Path(inspect.getfile(mm)).parent / "report"
    for file in folder.glob("*.py"):
        texts = [n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)]
        assert not any("restricted maximum likelihood" in t for t in texts if isinstance(t, str)), file
