"""Does the benefit of adding MI differ between anxiety disorders?

Reproduces: Marker & Norton (2018), no moderation by diagnosis. Departs: points and bounds, likelihood-ratio test; the
trials are ours, see data/mi_cbt_anxiety.
"""

from saving import save

import metamiq as mm


def main() -> None:
    trials = mm.load_dataset("mi_cbt_anxiety")
    effects = mm.trial_effects(trials)
    disorder = mm.random_effects_bounded(effects, moderators="disorder")
    print(disorder.summary())
    print(disorder.group_means().round(2).to_string())
    save(mm.plots.group_means(disorder), "disorder_means")


if __name__ == "__main__":
    main()
