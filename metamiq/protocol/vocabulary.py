"""The closed list of words in which analyses are planned."""

from __future__ import annotations

import inspect

from metamiq.effects.measures import MEASURES

#: The name under which a protocol beside the data is found.
NAME = "protocol.toml"
#: Kinds of analysis.
KINDS = ("estimate", "subgroup", "moderator", "sensitivity", "dropout")
#: Methods for small-study effects and selection that a protocol may name, and what outputs call each.
SMALL_STUDY = {
    "begg_test": "Begg and Mazumdar",
    "egger_sqrt_n": "Egger with 1/sqrt(n)",
    "egger_test": "Egger's regression",
    "excess_significance": "Excess significance",
    "fail_safe_n": "Fail-safe N (Rosenthal)",
    "harbord_test": "Harbord",
    "limit_meta_analysis": "Limit meta-analysis",
    "p_curve": "p-curve",
    "p_uniform_star": "p-uniform*",
    "pet_peese": "PET-PEESE",
    "peters_test": "Peters",
    "selection_model": "Selection model, 3 parameters",
    "trim_and_fill": "Trim and fill",
    "trim_and_fill_fixed": "Trim (fixed) and fill (random)",
    "worst_case": "Worst case",
}
#: Sensitivity analyses that a protocol may name, and what each is.
SENSITIVITY = {
    "audit": "comparison with the published claims in claims.csv",
    "bootstrap": "resampling of trials",
    "cumulative": "adding trials in the order of publication",
    "few_sessions": "trials with one or two MI sessions alone",
    "flip_set": "the smallest set of trials without which the conclusion would be another",
    "influence": "what each trial does to the fit",
    "leave_one_out": "leaving each trial out in turn",
    "multiverse": "every combination of the choices in choices.toml",
    "permutation_test": "permutations of a moderator",
    "points_only": "effect sizes alone, verdicts dropped",
    "subsets": "every subset of the trials, as in the report's what if",
    "without_assumed_sizes": "without trials whose arm sizes are assumed",
    **SMALL_STUDY,
}
#: Ways of pooling dropout, and what each is.
DROPOUT_MODELS = {"mantel_haenszel": "Mantel-Haenszel", "random_effects": "random effects (REML)"}


def default_vtype(measure: str) -> str | None:
    """The variance formula that a measure has by default; None where it has only one."""
    chosen = inspect.signature(MEASURES[measure].function).parameters.get("vtype") if measure in MEASURES else None
    return None if chosen is None else str(chosen.default)
