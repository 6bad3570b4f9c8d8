"""What do the trials of MI added to CBT for anxiety come to, taken together?

Reproduces: Marker & Norton (2018), twelve trials, g = 0.59. Departs: their trial list could not be read; these are all
candidate trials whose report gives an effect size or a verdict, pooled as points and bounds by maximum likelihood.
"""

from saving import FIGURES, save

import metamiq as mm


def main() -> None:
    trials = mm.load_dataset("mi_cbt_anxiety")
    effects = mm.trial_effects(trials)
    pooled = mm.random_effects_bounded(effects)
    print(pooled.summary())
    ax = mm.plots.forest(pooled, reference=(0.59, "published 0.59"))
    save(ax, "pooled_forest")
    mm.plots.save_png(ax.figure, FIGURES / "pooled_forest.png", dpi=110)
    print("\nWithout assumed arm sizes:")
    print(mm.random_effects_bounded(mm.trial_effects(trials, assume=False)).summary())


if __name__ == "__main__":
    main()
