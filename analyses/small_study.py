"""Do small trials of MI added to CBT for anxiety report larger effects than large ones?

Reproduces: nothing that was published. Departs: with one effect size among the trials, tests of asymmetry and selection
models cannot be run or read; each says so itself. What is left is to look at points and bounds together.
"""

from saving import save

import metamiq as mm

METHODS = {
    "Egger": mm.egger_test,
    "Begg": mm.begg_test,
    "Trim and fill": mm.trim_and_fill,
    "PET-PEESE": mm.pet_peese,
    "Limit meta-analysis": mm.limit_meta_analysis,
    "Selection model": mm.selection_model,
    "p-uniform*": mm.p_uniform_star,
    "Excess significance": mm.excess_significance,
}


def main() -> None:
    effects = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    pooled = mm.random_effects_bounded(effects)
    points = mm.random_effects(effects[effects["kind"] == "point"])
    for title, fit in (("Points and bounds", pooled), ("Points alone", points)):
        print(f"{title} (k = {fit.k}):")
        for name, method in METHODS.items():
            try:
                print(f"  {name}: {method(fit)}")
            except ValueError as reason:
                print(f"  {name}: {reason}")
    save(mm.plots.albatross(pooled), "small_study_albatross")
    save(mm.plots.funnel(pooled), "small_study_funnel")


if __name__ == "__main__":
    main()
