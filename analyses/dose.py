"""Is there more benefit with more MI sessions?

Reproduces: Marker & Norton (2018), no moderation by dose. Departs: the trials and the model are ours, see
data/mi_cbt_anxiety. Trials whose number of sessions is not known are left out and named.
"""

from saving import save

import metamiq as mm


def main() -> None:
    trials = mm.load_dataset("mi_cbt_anxiety")
    effects = mm.trial_effects(trials)
    dose = mm.random_effects_bounded(effects, moderators="mi_sessions")
    print(dose.summary())
    save(mm.plots.bubble(dose, "mi_sessions"), "dose_bubble")
    few = mm.random_effects_bounded(effects[effects["mi_sessions"] <= 2])
    print("\nOne or two sessions:")
    print(few.summary())


if __name__ == "__main__":
    main()
