"""How often `metamiq check` cries wolf, and how many planted mistakes it catches.

    python tests/benchmarks/check_rates.py [TABLES] > tests/benchmarks/check_rates.md

Every table is synthetic: people with whole-number sum scores are drawn, allotted to two arms, lost at random, and
reported as a careful paper would: means and SDs with two decimals, t, df, p, g, and which arm did better when p < .05.
So a clean table has no mistake, and each finding on it is a false alarm, notes included. A mistake is planted in one
row of a clean table; it is caught when its own code is found in that row. Prints Markdown.
"""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

import metamiq as mm
from metamiq.living.check import check
from metamiq.tails import two_sided_p

SEED = 20261123
ROWS = 25
EFFECT, TAU = 0.35, 0.25
SIZES = (12, 120)  # per arm

# name, smallest and largest score, usual mean and SD before treatment, whether a high score is good
INSTRUMENTS = (
    ("scale A", 0, 40, 24.0, 5.5, "no"),
    ("scale B", 0, 63, 27.0, 9.0, "no"),
    ("scale C", 16, 80, 58.0, 10.0, "no"),
    ("scale D", 0, 100, 45.0, 15.0, "yes"),
)
BARE = ["study", "m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"]
USUAL = [*BARE, "year", "instrument", "higher_is_better", "favours", "n_total", "printed_g"]
KINDS = {"bare": BARE, "usual": USUAL, "rich": None}


def scores(rng, instrument, n, shift):
    """Whole-number sum scores of n people whose mean has moved by `shift` SDs towards health."""
    _, low, high, mean, sd, good = instrument
    towards = 1 if good == "yes" else -1
    before = rng.normal(mean, sd, n)
    after = mean + 0.6 * (before - mean) + towards * (0.8 + shift) * sd + rng.normal(0, 0.8 * sd, n)
    return [np.clip(np.round(x), low, high) for x in (before, after)]


def trial(rng, number, instrument=None):
    """One row of a careful extraction."""
    instrument = INSTRUMENTS[rng.integers(len(INSTRUMENTS))] if instrument is None else instrument
    randomised = rng.integers(*SIZES) + rng.integers(-3, 4, 2)
    lost = rng.binomial(randomised - 4, 0.08)
    n1, n2 = randomised - lost
    pre1, post1 = scores(rng, instrument, n1, rng.normal(EFFECT, TAU))
    pre2, post2 = scores(rng, instrument, n2, 0.0)
    row = {"study": f"study{number:03d}", "year": int(rng.integers(1990, 2026)), "instrument": instrument[0]}
    row |= {"scale_min": instrument[1], "scale_max": instrument[2], "higher_is_better": instrument[5], "items": 1}
    for arm, pre, post in (("1", pre1, post1), ("2", pre2, post2)):
        row |= {f"m{arm}i": round(float(post.mean()), 2), f"sd{arm}i": round(float(post.std(ddof=1)), 2)}
        row |= {f"m{arm}i_pre": round(float(pre.mean()), 2), f"sd{arm}i_pre": round(float(pre.std(ddof=1)), 2)}
        row[f"se{arm}i"] = round(float(post.std(ddof=1) / np.sqrt(len(post))), 2)
    row |= {"n1i": int(n1), "n2i": int(n2), "n1i_randomised": int(randomised[0]), "n2i_randomised": int(randomised[1])}
    row |= {
        "n1i_lost": int(lost[0]),
        "n2i_lost": int(lost[1]),
        "n_total": int(randomised.sum()),
        "df": int(n1 + n2 - 2),
    }
    pooled = np.sqrt(((n1 - 1) * post1.var(ddof=1) + (n2 - 1) * post2.var(ddof=1)) / (n1 + n2 - 2))
    d = (post1.mean() - post2.mean()) / pooled
    t = d / np.sqrt(1 / n1 + 1 / n2)
    p = float(two_sided_p(t, n1 + n2 - 2))
    g = float(mm.hedges_g(post1.mean(), post1.std(ddof=1), n1, post2.mean(), post2.std(ddof=1), n2).yi)
    better = np.sign(t) * (1 if instrument[5] == "yes" else -1)
    row |= {"ti": round(float(t), 2), "pi": round(p, 3), "printed_g": round(g, 2), "analysis": "completers"}
    row |= {"favours": ("1" if better > 0 else "2") if p < 0.05 else None, "score": "post", "timepoint": "post"}
    return row


def table(rng):
    """A clean table, and which rows of it have the authors' words."""
    return pd.DataFrame([trial(rng, i) for i in range(ROWS)])


def se_for_sd(rng, clean):
    """SD01: the standard errors of a row in place of its SDs, in both arms or in one."""
    out, row = clean.copy(), int(rng.integers(ROWS))
    for arm in (("1", "2"), ("1",), ("2",))[rng.integers(3)]:
        out.loc[row, f"sd{arm}i"] = round(clean.loc[row, f"sd{arm}i"] / np.sqrt(clean.loc[row, f"n{arm}i"]), 2)
    return out, row


def arms_swapped(rng, clean):
    """S02: the arms of a row exchanged; the authors' words stay."""
    told = clean.index[clean["favours"].notna()]
    out, row = clean.copy(), int(rng.choice(told))
    for name in ("m{}i", "sd{}i", "n{}i", "m{}i_pre", "sd{}i_pre", "se{}i", "n{}i_randomised", "n{}i_lost"):
        one, two = name.format(1), name.format(2)
        out.loc[row, [one, two]] = clean.loc[row, [two, one]].to_numpy()
    out.loc[row, "ti"] = -clean.loc[row, "ti"]
    return out, row


def total_in_arm(rng, clean):
    """N02: the size of the whole trial in one arm or in both."""
    out, row = clean.copy(), int(rng.integers(ROWS))
    for arm in (("1", "2"), ("1",), ("2",))[rng.integers(3)]:
        out.loc[row, f"n{arm}i"] = clean.loc[row, "n_total"]
    return out, row


def control_twice(rng, clean):
    """U01: a second arm of a trial, compared with the same control group in a row of its own."""
    row = int(rng.integers(ROWS))
    instrument = next(i for i in INSTRUMENTS if i[0] == clean.loc[row, "instrument"])
    second = {**trial(rng, 0, instrument), "study": clean.loc[row, "study"]}
    control = [c for c in clean if "2i" in c]
    second |= clean.loc[row, control].to_dict()
    second["n_total"] = second["n1i_randomised"] + second["n2i_randomised"]
    second["df"] = second["n1i"] + second["n2i"] - 2
    second |= dict.fromkeys(("ti", "pi", "printed_g", "favours"))
    return pd.concat([clean, pd.DataFrame([second])], ignore_index=True), row


def other_g(rng, clean):
    """G01: a reported g that is 0.15 to 0.6 off what the row gives, in either direction."""
    out, row = clean.copy(), int(rng.integers(ROWS))
    size = abs(clean.loc[row, "printed_g"])
    off = rng.uniform(0.15, 0.6) * (1 if size < 0.6 or rng.random() < 0.5 else -1)
    out.loc[row, "printed_g"] = round(float(np.sign(clean.loc[row, "printed_g"] or 1) * (size + off)), 2)
    return out, row


MISTAKES: dict[str, Callable] = {
    "SD01": se_for_sd,
    "S02": arms_swapped,
    "N02": total_in_arm,
    "U01": control_twice,
    "G01": other_g,
}
#: Columns without which a mistake cannot be seen.
NEEDS = {"SD01": (), "S02": ("favours",), "N02": ("n_total",), "U01": (), "G01": ("printed_g",)}


def seen_as(frame, columns):
    return frame if columns is None else frame[columns]


def main(tables: int) -> None:
    """Print the rates."""
    print("# False alarms and catches of `metamiq check`\n")
    print(f"Synthetic tables of {ROWS} trials, {tables} of each kind; made by `check_rates.py` (seed {SEED}), with")
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}. Clean tables hold no mistake; notes count too.\n"
    )
    print("| columns of the table | rows | findings | per 10 rows | of these errors or warnings | by rule |")
    print("|---|---|---|---|---|---|")
    for kind, columns in KINDS.items():
        rng = np.random.default_rng(SEED)
        found = pd.concat([check(seen_as(table(rng), columns)).table for _ in range(tables)])
        by_rule = ", ".join(f"{code} {n}" for code, n in sorted(Counter(found["code"]).items())) or "none"
        grave, rows = int((found["severity"] != "note").sum()), tables * ROWS
        print(f"| {kind} | {rows} | {len(found)} | {10 * len(found) / rows:.2f} | {grave} | {by_rule} |")
    print("\nThe bundled published tables, whose truth is not known, for comparison:\n")
    print("| table | rows | errors and warnings | notes |")
    print("|---|---|---|---|")
    for name in mm.available_datasets():
        result = check(mm.load_dataset(name))
        notes = result.counts()["note"]
        print(f"| {name} | {result.n_rows} | {len(result.table) - notes} | {notes} |")
    print("\nPlanted mistakes, one in each table; caught when the rule's own code is found in that row.\n")
    print("| mistake | " + " | ".join(KINDS) + " |")
    print("|---|" + "---|" * len(KINDS))
    for code, plant in MISTAKES.items():
        cells = []
        for columns in KINDS.values():
            if columns is not None and not set(NEEDS[code]) <= set(columns):
                cells.append("not visible")
                continue
            rng = np.random.default_rng([SEED, *map(ord, code)])
            caught = 0
            for _ in range(tables):
                planted, row = plant(rng, table(rng))
                found = check(seen_as(planted, columns)).table
                caught += bool(((found["code"] == code) & (found["row"] == planted.loc[row, "study"])).any())
            cells.append(f"{caught} of {tables}")
        print(f"| {code} {plant.__doc__.split(': ')[1].rstrip('.')} | " + " | ".join(cells) + " |")
    print("\nColumns:\n")
    for kind, columns in KINDS.items():
        rich = "usual, and scale, randomised and lost per arm, scores before treatment, SE, t, df, p"
        print(f"- {kind}: {', '.join(columns) if columns else rich}")
    print("\n*Not visible*: the table lacks the column that would show it (S02 favours; N02 n_total; G01 printed_g).")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
