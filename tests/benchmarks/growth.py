"""How time and memory grow: with the number of rows k, and with the number of tables B.

python tests/benchmarks/growth.py
"""

from __future__ import annotations

import platform
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import metamiq as mm

RNG = np.random.default_rng(7)


def best_of(work: Callable[[], object], least: int = 3) -> float:
    work()
    times = []
    start_all = time.perf_counter()
    while len(times) < least or (time.perf_counter() - start_all < 0.3 and len(times) < 50):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of log time on log size over the upper half, where calls no longer dominate."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(times[half:]), 1)[0])


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    print("# Growth\n")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, best of several runs.\n")
    sizes = [10, 100, 1_000, 10_000, 100_000, 1_000_000]
    data = {k: (RNG.normal(0.5, 0.4, k), RNG.uniform(0.02, 0.2, k)) for k in sizes}
    print("| one REML + Knapp-Hartung fit, k | ms | peak MB |\n|---|---|---|")
    times = []
    for k in sizes:
        yi, vi = data[k]
        times.append(best_of(lambda yi=yi, vi=vi: mm.random_effects(yi=yi, vi=vi)))
        peak = peak_bytes(lambda yi=yi, vi=vi: mm.random_effects(yi=yi, vi=vi))
        print(f"| {k:,} | {1e3 * times[-1]:.3f} | {peak / 1e6:.2f} |")
    print(f"\nExponent in k over the upper half: {exponent(sizes, times):.2f} (1 is linear).\n")
    counts = [1, 10, 100, 1_000, 10_000, 100_000]
    print("| REML fits of k = 12 at once, B | ms | peak MB |\n|---|---|---|")
    times = []
    for b in counts:
        yi, vi = RNG.normal(0.5, 0.4, (b, 12)), RNG.uniform(0.02, 0.2, (b, 12))
        times.append(best_of(lambda yi=yi, vi=vi: mm.batch.random_effects(yi, vi)))
        peak = peak_bytes(lambda yi=yi, vi=vi: mm.batch.random_effects(yi, vi))
        print(f"| {b:,} | {1e3 * times[-1]:.3f} | {peak / 1e6:.2f} |")
    print(f"\nExponent in B over the upper half: {exponent(counts, times):.2f}.\n")
    fit = mm.random_effects(yi=RNG.normal(0.5, 0.4, 20), vi=RNG.uniform(0.02, 0.2, 20), method="DL", test="z")
    start = time.perf_counter()
    peak = peak_bytes(lambda: mm.subsets(fit))
    print(f"All 1,048,575 subsets of 20 trials (DL): {time.perf_counter() - start:.1f} s, peak {peak / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
