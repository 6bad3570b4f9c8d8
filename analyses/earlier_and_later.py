"""Do the trials that Marker & Norton could have pooled differ from those published since?

Reproduces: nothing; asks whether g = 0.59 may have come from the earlier trials. Departs: `published_by_2018_04` says
only that a trial could have been among the twelve, never that it was.
"""

from saving import save

import metamiq as mm


def main() -> None:
    effects = mm.trial_effects(mm.load_dataset("mi_cbt_anxiety"))
    for answer, words in (("yes", "published by April 2018"), ("no", "published since")):
        print(f"\n{words}:")
        print(mm.random_effects_bounded(effects[effects["published_by_2018_04"] == answer]).summary())
    both = mm.random_effects_bounded(effects, moderators="published_by_2018_04")
    print("\ndifference:")
    print(both.summary())
    save(mm.plots.group_means(both), "era_means")


if __name__ == "__main__":
    main()
