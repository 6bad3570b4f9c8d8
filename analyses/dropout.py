"""Do fewer people drop out when MI is added?

Reproduces: Marker & Norton (2018), no difference in dropout. Departs: only trials whose counts could be read;
Mantel-Haenszel, with random effects (REML, normal interval) for comparison.
"""

from saving import save

import metamiq as mm


def main() -> None:
    counts = mm.dropout_counts(mm.load_dataset("mi_cbt_anxiety"))
    print(counts[["label", "stage", "ai", "n1i", "ci", "n2i"]].to_string(index=False))
    for measure in ("OR", "RR", "RD"):
        print(mm.mantel_haenszel(counts, measure).summary())
    pooled = mm.random_effects(mm.effect_sizes(counts, "OR"), method="REML", test="z")
    print(pooled.summary())
    save(mm.plots.forest(pooled), "dropout_forest")


if __name__ == "__main__":
    main()
