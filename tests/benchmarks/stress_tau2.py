"""Do REML and ML ever stop at a worse likelihood than a fine grid finds? Invented tables.

    python tests/benchmarks/stress_tau2.py [--tables 20000] [--seed 1]

Each table is fitted by itself and, if it has no moderators, in a padded batch with others of its size. The likelihood
at the estimate is compared with the best of a grid of tau2 whose steps are a factor of 1.04 apart, from a thousandth of
the smallest variance to where all weights are the same, both by formulas written out here. A table that fails is
printed whole.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import metamiq as mm
from metamiq.pooling.tau2 import TAU2

Array = NDArray[np.float64]
Table = tuple[Array, Array, Array | None]  # yi, vi and the design, None for an intercept

METHODS = ("REML", "ML")
STEP = 1.04
WORSE = 1e-8  # of 1 + |log-likelihood|: ten million times the rounding error, far below what could matter


def spread(rng: np.random.Generator, k: int, orders: float = 6.0) -> Array:
    return 10.0 ** (rng.uniform(-4, 2) + rng.uniform(-orders / 2, orders / 2, k))


def any_table(rng: np.random.Generator) -> Table:
    """k from 2 to 200, variances over six orders of magnitude, tau2 from 0 to huge."""
    k = int(10 ** rng.uniform(np.log10(2), np.log10(200.9)))
    v = 10.0 ** rng.uniform(-4, 2, k)
    tau2 = 0.0 if rng.random() < 0.25 else 10 ** rng.uniform(-5, 6)
    return rng.normal(size=k) * np.sqrt(v + tau2) + rng.normal(), v, None


def two_groups(rng: np.random.Generator) -> Table:
    """Precise studies that agree beside imprecise ones that do not: often two maxima, of nearly the same height."""
    precise, rough = int(rng.integers(2, 13)), int(rng.integers(1, 9))
    ratio, far, near = 10 ** rng.uniform(0.5, 5), 10 ** rng.uniform(-1, 1.5), 10 ** rng.uniform(-1, 0.3)
    v = np.concatenate([np.ones(precise), np.full(rough, ratio)]) * 10.0 ** rng.uniform(-0.2, 0.2, precise + rough)
    y = rng.normal(size=precise + rough) * np.sqrt(v) * np.repeat([near, far], [precise, rough])
    unit = 10 ** rng.uniform(-3, 3)
    return y * unit, v * unit**2, None


def three_scales(rng: np.random.Generator) -> Table:
    """Variances at three sizes a hundredfold or more apart, each group with a spread of its own."""
    sizes = rng.integers(1, 7, 3)
    scale = np.repeat(10.0 ** np.cumsum(rng.uniform(1, 3, 3)), sizes)
    own = np.repeat(10.0 ** rng.uniform(-1, 1, 3), sizes)
    v = scale * 10.0 ** rng.uniform(-0.3, 0.3, len(scale))
    return rng.normal(size=len(scale)) * np.sqrt(v) * own, v, None


def small(rng: np.random.Generator) -> Table:
    """Two to six studies, heavy tails."""
    k = int(rng.integers(2, 7))
    v = spread(rng, k)
    return rng.standard_t(1.5, k) * np.sqrt(v) * 10 ** rng.uniform(-1, 1), v, None


def near_zero(rng: np.random.Generator) -> Table:
    """Q close to its degrees of freedom: the maximum lies at 0 or a little above."""
    k = int(rng.integers(2, 40))
    v = spread(rng, k, 4.0)
    y = rng.normal(size=k) * np.sqrt(v)
    q = float(np.sum((y - np.average(y, weights=1 / v)) ** 2 / v))
    return y * np.sqrt((k - 1) * 10 ** rng.uniform(-0.1, 0.3) / q), v, None


def moderated(rng: np.random.Generator) -> Table:
    """One of the above with one or two moderators, numbers or groups."""
    while True:
        y, v, _ = (any_table, two_groups, three_scales, near_zero)[int(rng.integers(4))](rng)
        k, p = len(y), int(rng.integers(1, 3))
        if k < p + 2:
            continue
        columns = [rng.normal(size=k) if rng.random() < 0.5 else (rng.random(k) < 0.5).astype(float) for _ in range(p)]
        x = np.column_stack([np.ones(k), *columns])
        if np.linalg.matrix_rank(x) == p + 1:
            return y, v, x


def permuted(rng: np.random.Generator) -> list[Table]:
    """A table and 49 with other signs, as a permutation test draws them: all with the very same variances."""
    y, v, _ = (two_groups, three_scales)[int(rng.integers(2))](rng)
    signs = rng.choice([-1.0, 1.0], (49, len(y)))
    return [(y, v, None), *((y * s, v, None) for s in signs)]


SHARED = "one vi, many yi"
FAMILIES: dict[str, tuple[Callable[[np.random.Generator], Table], float]] = {
    "any": (any_table, 0.2),
    "two groups": (two_groups, 0.2),
    "three scales": (three_scales, 0.15),
    "small, heavy tails": (small, 0.1),
    "near tau2 = 0": (near_zero, 0.1),
    "with moderators": (moderated, 0.15),
}


def heights(table: Table, tau2: Array) -> dict[str, Array]:
    """Log-likelihoods without their constants, shape (G,), written out."""
    y, v, x = table
    w = 1 / (v + tau2[:, None])
    if x is None:
        total = w.sum(axis=1)
        residual = y - (w @ y / total)[:, None]
        logm = np.log(total)
    else:
        q = np.linalg.qr(x)[0]  # orthonormal columns: the likelihood changes by a constant only
        m = np.einsum("gk,kp,kq->gpq", w, q, q, optimize=True)
        beta = np.linalg.solve(m, ((w * y) @ q)[..., None])[..., 0]
        residual = y - beta @ q.T
        logm = np.linalg.slogdet(m)[1]
    ml = 0.5 * (np.log(w).sum(axis=1) - (w * residual**2).sum(axis=1))
    return {"ML": ml, "REML": ml - 0.5 * logm}


def grid_of(table: Table) -> Array:
    y, v, _ = table
    low, high = 1e-3 * v.min(), 100 * (v.max() + np.ptp(y) ** 2)
    return np.append(0.0, np.geomspace(low, high, int(np.log(high / low) / np.log(STEP)) + 2))


def maxima(values: Array) -> int:
    """How many maxima the grid shows, counting one at 0; steps of rounding error do not count."""
    step = np.diff(values)
    rising = np.sign(step[np.abs(step) > 1e-11 * (1 + np.abs(values[1:]))])
    return int(np.sum((rising[:-1] > 0) & (rising[1:] < 0)) + (len(rising) > 0 and rising[0] < 0))


def in_batches(tables: list[Table]) -> dict[str, Array]:
    """tau2 of every table without moderators from batches, NaN for the others.

    Tables that share their variances go in with one row of them, the rest padded beside others of about their size.
    """
    out = {method: np.full(len(tables), np.nan) for method in METHODS}
    sharing: dict[int, list[int]] = {}
    for i, (_, v, x) in enumerate(tables):
        if x is None:
            sharing.setdefault(id(v), []).append(i)
    for rows in sharing.values():
        if len(rows) > 1:
            for method in METHODS:
                yi = np.array([tables[i][0] for i in rows])
                out[method][rows] = mm.batch.random_effects(yi, tables[rows[0]][1], method=method).tau2
    order = sorted((rows[0] for rows in sharing.values() if len(rows) == 1), key=lambda i: len(tables[i][0]))
    for start in range(0, len(order), 500):
        rows = order[start : start + 500]
        widest = max(len(tables[i][0]) for i in rows)
        yi, vi = np.zeros((len(rows), widest)), np.ones((len(rows), widest))
        mask = np.zeros((len(rows), widest), dtype=bool)
        for place, i in enumerate(rows):
            k = len(tables[i][0])
            yi[place, :k], vi[place, :k], mask[place, :k] = tables[i][0], tables[i][1], True
        for method in METHODS:
            out[method][rows] = mm.batch.random_effects(yi, vi, mask=mask, method=method).tau2
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    start = time.perf_counter()
    rng = np.random.default_rng(asked.seed)
    names, tables = [], []
    for name, (make, share) in FAMILIES.items():
        for _ in range(round(asked.tables * share)):
            names.append(name)
            tables.append(make(rng))
    for _ in range(asked.tables // 500):
        tables += permuted(rng)
    names += [SHARED] * (len(tables) - len(names))
    batched = in_batches(tables)
    count = {
        name: np.zeros(3, dtype=int) for name in (*FAMILIES, SHARED)
    }  # fits, with several maxima, worse than the grid
    worst, apart = -np.inf, 0.0
    for i, (name, table) in enumerate(zip(names, tables, strict=True)):
        grid = grid_of(table)
        alone = {method: TAU2[method](*table) for method in METHODS}
        found = np.array([x for method in METHODS for x in (alone[method], batched[method][i])])
        values = heights(table, np.append(grid, np.nan_to_num(found)))
        for j, method in enumerate(METHODS):
            on_grid, own = values[method][: len(grid)], values[method][len(grid) + 2 * j :][:2]
            own = own[: 1 if table[2] is not None else 2]
            best = float(on_grid.max())
            short = (best - own) / (1 + abs(best))
            worst = max(worst, float(short.max()))
            several = maxima(on_grid) > 1
            count[name] += [1, several, bool((short > WORSE).any())]
            if len(own) == 2:
                apart = max(apart, abs(float(own[0] - own[1])) / (1 + abs(best)))
            if (short > WORSE).any():
                answers = ", ".join(f"{x:.9g}" for x in found[2 * j : 2 * j + len(own)])
                print(
                    f"{method} {name}: tau2 {answers}; the grid has {grid[on_grid.argmax()]:.9g}, {short.max():.2g} up"
                )
                print(f"  yi = {table[0].tolist()}\n  vi = {table[1].tolist()}\n  X = {table[2]!r}")
    total = np.sum(list(count.values()), axis=0)
    print("| Tables | Fits (REML, ML) | With several maxima | Worse than the grid |\n|---|---|---|---|")
    for name, (fits, several, worse) in [*count.items(), ("all", total)]:
        print(f"| {name} | {fits:,} | {several:,} | {worse:,} |")
    print(f"\nLargest (grid - estimate) / (1 + |log-likelihood|): {worst:.1e}; alone against batched: {apart:.1e}.")
    print(f"Seed {asked.seed}, {time.perf_counter() - start:.0f} s.", file=sys.stderr)
    return int(total[2] > 0)


if __name__ == "__main__":
    sys.exit(main())
