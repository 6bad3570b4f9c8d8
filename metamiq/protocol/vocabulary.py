"""The closed list of words in which analyses are planned."""

from __future__ import annotations

#: The name under which a protocol beside the data is found.
NAME = "protocol.toml"
#: Kinds of analysis.
KINDS = ("estimate", "subgroup", "moderator", "sensitivity", "dropout")
#: Sensitivity analyses that a protocol may name, and what each is.
SENSITIVITY = {
    "audit": "comparison with the published claims in claims.csv",
    "begg_test": "rank correlation of effects and variances",
    "bootstrap": "resampling of trials",
    "cumulative": "adding trials in the order of publication",
    "egger_test": "regression of effects on standard errors",
    "excess_significance": "more significant trials than their power allows",
    "fail_safe_n": "number of null trials that would undo the result",
    "few_sessions": "trials with one or two MI sessions alone",
    "harbord_test": "Egger's regression for odds ratios, on the score",
    "influence": "what each trial does to the fit",
    "leave_one_out": "leaving each trial out in turn",
    "limit_meta_analysis": "the mean that remains as standard errors go to zero",
    "multiverse": "every combination of the choices in choices.toml",
    "p_curve": "distribution of significant p-values",
    "p_uniform_star": "p-uniform*",
    "permutation_test": "permutations of a moderator",
    "pet_peese": "regression on the standard error or the variance, PET-PEESE",
    "peters_test": "regression of log odds ratios on the inverse sample size",
    "points_only": "effect sizes alone, verdicts dropped",
    "selection_model": "weight functions of the p-value",
    "subsets": "every subset of the trials, as in the report's what if",
    "trim_and_fill": "trials that would make the funnel symmetric",
    "without_assumed_sizes": "without trials whose arm sizes are assumed",
    "worst_case": "the worst that unpublished trials could do",
}
#: Ways of pooling dropout, and what each is.
DROPOUT_MODELS = {"mantel_haenszel": "Mantel-Haenszel", "random_effects": "random effects (REML)"}
