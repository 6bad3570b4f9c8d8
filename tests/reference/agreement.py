"""Measure how many digits metamiq shares with other software and with publications, for docs/agreement.md.

    python tests/reference/agreement.py           measure, and write the measured tables into docs/agreement.md
    python tests/reference/agreement.py --check   measure, and fail if docs/agreement.md says anything else

The tests compare every stored number within a tolerance; `differences.py` runs the same tests and notes how much of it
they use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from differences import TESTS, Case, Row, digits, measure, tests_of

PAGE = TESTS.parent / "docs" / "agreement.md"


def of(key: str, *values: str) -> Callable[[Case], bool]:
    return lambda case: case["case"][key] in values


def method(*names: str) -> Callable[[Case], bool]:
    return lambda case: case["case"]["method"] in names


def structure(*names: str) -> Callable[[Case], bool]:
    return lambda case: case["case"]["structure"] in names


def regression(iterated: bool, year: bool) -> Callable[[Case], bool]:
    return lambda case: (case["case"]["method"] in ITERATED) == iterated and ("year" in case["case"]["formula"]) == year


STATSMODELS = "statsmodels 0.14"
CLUBSANDWICH = "clubSandwich 0.5.8"
ITERATED = ("ML", "REML", "EB", "PM", "PMM", "SJ")
# Why a number of published_numbers.csv is not reproduced to its last digit.
DEFAULT_RULE = "The number is metafor's at its default stopping rule."
REASONS = {
    ("A14", "RTET.yi"): "metafor's optimiser stops 1.3e-5 above the root, on the other side of a rounding.",
    ("B12", "PL.ML.lb"): "The end of the interval was searched for to 1e-4.",
    ("B14", "GENQ.ise.ci.ub"): "The end of the interval was searched for to 1e-4.",
    ("B15", "I2.ub"): "The book cuts 83.127 off; it also takes 1.96 for the normal quantile.",
}

METAFOR = "metafor 3.8"
EFFECTS = ("reference_effects::effect_sizes_match_metafor",)
FITS = ("reference_pooling::fits_match_metafor",)
INTERVALS = ("reference_pooling::intervals_match_metafor",)
REGRESSIONS = ("reference_regression::meta_regressions_match_metafor",)
GLMM = ("glmm::matches_a_converged_fit_elsewhere",)

ROWS = (
    Row("SMD (LS, LS2, UB, AV), SMDH, SMD1, SMD1H", METAFOR, EFFECTS, of("measure", "SMD", "SMDH", "SMD1", "SMD1H")),
    Row(
        "variances of SMDH, SMD1H, printed to 10 digits",
        "metafor 4.6 and later",
        ("reference_effects::variances_that_newer_metafor_corrected",),
    ),
    Row("MD, ROM, CVR, VR", METAFOR, EFFECTS, of("measure", "MD", "ROM", "CVR", "VR")),
    Row("SMCC, SMCR, SMCRH, MC, ROMC", METAFOR, EFFECTS, of("measure", "SMCC", "SMCR", "SMCRH", "MC", "ROMC")),
    Row(
        "OR, RR, RD, AS, PETO, every zero-cell option", METAFOR, EFFECTS, of("measure", "OR", "RR", "RD", "AS", "PETO")
    ),
    Row("PHI, YUQ, YUY", METAFOR, EFFECTS, of("measure", "PHI", "YUQ", "YUY")),
    Row(
        "OR2DL, OR2DN, PBIT, D2ORL, D2ORN", METAFOR, EFFECTS, of("measure", "OR2DL", "OR2DN", "PBIT", "D2ORL", "D2ORN")
    ),
    Row("COR, UCOR, ZCOR, RPB, RBIS", METAFOR, EFFECTS, of("measure", "COR", "UCOR", "ZCOR", "RPB", "RBIS")),
    Row(
        "g, Glass's delta of one trial, printed to 7 digits",
        "metafor, statsmodels, R meta, esc, compute.es, PyMARE",
        ("compare::one_trial_in_other_programs",),
    ),
    Row(
        "SMD with the approximate J",
        STATSMODELS,
        ("reference_statsmodels::standardized_mean_differences_match_statsmodels",),
    ),
    Row("composite of a trial's outcomes", METAFOR, ("effects_combine::aggregate_assink_2016_as_metafor",)),
    Row(
        "fixed effect; DL, HE, HS, HSk, DL2, CA2; z, t, Knapp-Hartung, ad hoc",
        METAFOR,
        FITS,
        method("EE", "DL", "HE", "HS", "HSk", "DL2", "CA2"),
    ),
    Row("ML, REML, EB, PM, PMM, SJ; the same tests", METAFOR, FITS, method(*ITERATED)),
    Row(
        "generalised Q with weights of one's own",
        METAFOR,
        ("reference_pooling::generalised_q_with_weights_of_ones_own",),
    ),
    Row("40 random tables: DL, HE, HS, ML, REML", METAFOR, ("reference_pooling::invented_tables_match_metafor",)),
    Row("30 awkward random tables: 25 effect measures", METAFOR, ("reference_random::effect_sizes_match_metafor",)),
    Row("6 of them: Mantel-Haenszel, Peto", METAFOR, ("reference_random::common_effects_match_metafor",)),
    Row(
        "8 random tables with clusters of one: CR0, CR1, CR1p, CR2",
        CLUBSANDWICH,
        ("reference_random::robust_variances_with_clusters_of_one_match_clubsandwich",),
    ),
    Row(
        "fixed effect, DL, Hartung-Knapp",
        STATSMODELS,
        (
            "reference_statsmodels::fixed_effect_matches_statsmodels",
            "reference_statsmodels::random_effects_match_statsmodels",
        ),
        lambda case: case.get("method") != "PM",
    ),
    Row(
        "PM",
        STATSMODELS,
        ("reference_statsmodels::random_effects_match_statsmodels",),
        lambda case: case["method"] == "PM",
    ),
    Row("tau2, I2, H2: Q-profile interval", METAFOR, INTERVALS, of("interval", "QP")),
    Row("tau2, I2, H2: profile-likelihood interval", METAFOR, INTERVALS, of("interval", "PL")),
    Row(
        "tau2 of meta-regressions: Q-profile, PL, generalised Q",
        METAFOR,
        ("heterogeneity::residual_tau2_intervals_match_metafor",),
    ),
    Row("Henmi-Copas interval", METAFOR, ("intervals::henmi_copas_matches_metafor",)),
    Row("bootstrap prediction interval, printed (25,000 draws)", "pimeta 1.1", ("intervals::nagashima_as_printed",)),
    Row("meta-regression, closed estimators", METAFOR, REGRESSIONS, regression(iterated=False, year=False)),
    Row("meta-regression, iterated estimators", METAFOR, REGRESSIONS, regression(iterated=True, year=False)),
    Row("meta-regression on calendar years", METAFOR, REGRESSIONS, lambda case: "year" in case["case"]["formula"]),
    Row(
        "location-scale models: coefficients, tau2, likelihoods, predictions",
        METAFOR,
        ("reference_location_scale::estimates_match_metafor",),
    ),
    Row(
        "location-scale models: errors and tests of the scale",
        METAFOR,
        ("reference_location_scale::errors_of_the_scale_match_metafor",),
    ),
    Row("subgroups, separate and common tau2", METAFOR, ("reference_regression::subgroups_match_metafor",)),
    Row("exact permutation tests", METAFOR, ("reference_sensitivity::exact_permutation_tests_match_metafor",)),
    Row("three-level model", METAFOR, ("multilevel::models_match_metafor",), structure("three-level")),
    Row("correlated and hierarchical effects (CHE)", METAFOR, ("multilevel::models_match_metafor",), structure("che")),
    Row(
        "AIC, BIC, F tests, predictions, profile intervals of both variances",
        METAFOR,
        ("multilevel::fit_statistics_and_profile_intervals_match_metafor",),
    ),
    Row("correlated effects (CE)", "robumeta 2.0", ("multilevel::correlated_effects_match_robumeta",)),
    Row(
        "CR0, CR1, CR1p, CR2 and dof at given variances",
        CLUBSANDWICH,
        ("robust::robust_variances_match_clubsandwich_at_its_variances",),
        lambda case: "year" not in case["case"]["formula"],
    ),
    Row(
        "the same, calendar year among the moderators",
        CLUBSANDWICH,
        ("robust::robust_variances_match_clubsandwich_at_its_variances",),
        lambda case: "year" in case["case"]["formula"],
    ),
    Row(
        "CR2 of fitted models",
        "metafor 3.8, clubSandwich 0.5.8",
        ("robust::multilevel_coefficients_are_the_robust_ones", "robust::univariate_fits_match_clubsandwich"),
    ),
    Row("HTZ Wald tests", CLUBSANDWICH, ("robust::wald_tests_match_clubsandwich",)),
    Row("Mantel-Haenszel, Peto, Cochran-Mantel-Haenszel", METAFOR, ("counts::matches_metafor",)),
    Row("Mantel-Haenszel, Breslow-Day, Tarone", STATSMODELS, ("counts::tests_agree_with_statsmodels",)),
    Row("binomial-normal model UM.FS, tight", "lme4 1.1-31", GLMM, of("model", "UM.FS")),
    Row("binomial-normal model CM.EL, tight", METAFOR, GLMM, of("model", "CM.EL")),
    Row("binomial-normal models, default stopping", METAFOR, ("glmm::matches_metafor",)),
    Row(
        "common odds ratio by logistic regression",
        STATSMODELS,
        ("glmm::common_effect_matches_statsmodels",),
        lambda case: case["name"] == "collins1985b",
    ),
    Row(
        "Bayesian model: tau, printed to 7 digits", "bayesmeta", ("bayes::TestBayesmetaPrinted.tau_to_the_last_digit",)
    ),
    Row(
        "Bayesian model: mean, shrunken trials, printed",
        "bayesmeta",
        (
            "bayes::TestBayesmetaPrinted.mu_within_bayesmeta_s_grid",
            "bayes::TestBayesmetaPrinted.shrunken_trials_within_bayesmeta_s_grid",
        ),
    ),
    Row("influence: 8 statistics and dfbetas", METAFOR, ("influence::statistics_match_metafor",)),
    Row("leave-one-out, REML", METAFOR, ("reference_sensitivity::leave_one_out_matches_metafor",)),
    Row(
        "cumulative, DL; Baujat's coordinates",
        METAFOR,
        (
            "reference_sensitivity::cumulative_fits_match_metafor",
            "reference_sensitivity::baujat_coordinates_match_metafor",
        ),
    ),
    Row("all subsets (GOSH)", METAFOR, ("reference_sensitivity::all_subsets_match_metafor",)),
    Row("Egger-type regressions, every predictor", METAFOR, ("small_study::every_predictor_matches_metafor",)),
    Row("rank test of Begg", METAFOR, ("small_study::begg_matches_metafor",)),
    Row(
        "Egger's test by least squares",
        STATSMODELS,
        ("small_study::eggers_test_is_the_regression_of_deviates_on_precision",),
    ),
    Row("trim and fill: L0, R0, Q0", METAFOR, ("trim_and_fill::matches_metafor",)),
    Row("p-curve, printed to 7 digits", "p-curve app", ("small_study_published::p_curve_of_the_app",)),
    Row("limit meta-analysis, printed to 8 digits", "metasens", ("pet_peese::limit_meta_analysis_of_passive_smoking",)),
    Row("excess significance", METAFOR, ("excess_significance::as_first_published",)),
    Row("selection models by steps", METAFOR, ("selection_models::matches_metafor",), of("type", "stepfun")),
    Row(
        "smooth selection models",
        METAFOR,
        ("selection_models::matches_metafor",),
        lambda case: case["case"]["type"] != "stepfun" and case["case"]["steps"] is None,
    ),
    Row("p-uniform*, printed to 8 digits", "puniform", ("p_value_methods::p_uniform_star_of_passive_smoking",)),
    Row("worst case of publication bias", "robumeta 2.0", ("worst_case::weighted_means_of_robumeta",)),
)


def software_table() -> str:
    lines = [
        "| Feature | Software | Cases | Values | Largest difference | Digits | p-values | Largest at |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in ROWS:
        m = measure(row)
        at = f"`{m.at}`" if m.largest else "–"
        lines.append(
            f"| {row.feature} | {row.software} | {m.cases:,} | {m.values:,} | {m.largest:.0e} | {digits(m.largest)} "
            f"| {digits(m.p_largest)} | {at} |"
        )
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def printed_table() -> str:
    """Every printed number, by dataset: how many come out, and each that does not."""
    published, checks = tests_of("published"), tests_of("reference_published")
    counts: dict[str, list[int]] = {}
    apart = []
    for name, row in published.ROWS:
        known = {"mm": published.mm, "np": np, "pd": published.pd, "heterogeneity": published.heterogeneity}
        computed = float(eval(row["call"], known | {"trials": published.DATASETS[name].trials}))
        count = counts.setdefault(f"`data/{name}`", [0, 0])
        count[0] += 1
        count[1] += published.agrees(row["printed"], computed)
        if not published.agrees(row["printed"], computed):
            apart.append((f"`{name}` {row['label']}", row["printed"], computed, row["note"]))
    count = counts.setdefault("`tests/reference/published_numbers.csv`", [0, 0])
    for row in checks.ROWS:
        computed = float(checks.values(row["id"])[row["label"]])
        count[0] += 1
        count[1] += checks.agrees(row["printed"], computed)
        if not checks.agrees(row["printed"], computed):
            reason = REASONS.get((row["id"], row["label"]), DEFAULT_RULE)
            apart.append((f"{row['id']} {row['label']}", row["printed"], computed, reason))
    lines = ["| Numbers of | Printed | Reproduced to the last digit |", "|---|--:|--:|"]
    lines += [f"| {name} | {n} | {same} |" for name, (n, same) in counts.items()]
    total = np.sum(list(counts.values()), axis=0)
    lines += [f"| all | {total[0]} | {total[1]} |", "", f"The {len(apart)} that differ:", ""]
    lines += ["| Number | Printed | Computed | Why |", "|---|--:|--:|---|"]
    lines += [f"| {label} | {printed} | {computed:.6g} | {note} |" for label, printed, computed, note in apart]
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with its two measured tables replaced."""
    for name, table in (("software", software_table()), ("printed", printed_table())):
        start, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
        before, rest = page.split(start)
        page = f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page would change")
    asked = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    new = with_tables(old)
    if asked.check:
        return int(new != old)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
