"""The yardsticks of speed, side by side with other tools in the same run.

Each tool does the same work on the same numbers in turn, several rounds; medians and ratios are printed as Markdown. A
tool that is not installed is left out. Single-threaded: run with OMP_NUM_THREADS=1.

    python tests/benchmarks/yardsticks.py --rounds 5
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import metamiq as mm
from metamiq.sensitivity.permutation import permutation_test

SLOW = 2.0  # seconds: a work that takes longer is done once only
RNG = np.random.default_rng(20261123)
YI, VI = RNG.normal(0.5, 0.4, 12), RNG.uniform(0.02, 0.2, 12)
MANY_Y, MANY_V = RNG.normal(0.5, 0.4, (10_000, 12)), RNG.uniform(0.02, 0.2, (10_000, 12))
LONG_Y, LONG_V = RNG.normal(0.5, 0.4, 100_000), RNG.uniform(0.02, 0.2, 100_000)
MILLION_Y, MILLION_V = RNG.normal(0.5, 0.4, 1_000_000), RNG.uniform(0.02, 0.2, 1_000_000)
HALF_Y, HALF_V = RNG.normal(0.5, 0.4, 500), RNG.uniform(0.02, 0.2, 500)
DOSE = RNG.integers(1, 6, 12).astype(float)

Work = dict[str, Callable[[], float]]


def metamiq_work() -> Work:
    import pandas as pd

    fit = mm.random_effects(yi=YI, vi=VI)
    long_fit = mm.random_effects(yi=HALF_Y, vi=HALF_V, method="DL", test="z")
    reg = mm.meta_regression(pd.DataFrame({"yi": YI, "vi": VI, "dose": DOSE}), "dose", test="z")
    schools = mm.load_dataset("konstantopoulos2011").trials
    smoke = mm.random_effects(mm.load_dataset("hackshaw1998").trials)
    evidence_set = mm.load_dataset("mi_cbt_anxiety")
    evidence = mm.trial_effects(evidence_set)
    bounded = mm.random_effects_bounded(evidence)
    return {
        "one": lambda: mm.random_effects(yi=YI, vi=VI).ci_low,
        "many": lambda: float(mm.batch.random_effects(MANY_Y, MANY_V, test="z").tau2.sum()),
        "subsets": lambda: float(np.nansum(mm.subsets(fit)["tau2"])),
        "long": lambda: mm.random_effects(yi=LONG_Y, vi=LONG_V).tau2,
        "million": lambda: mm.random_effects(yi=MILLION_Y, vi=MILLION_V).tau2,
        "leave_one_out": lambda: float(mm.leave_one_out(long_fit)["estimate"].iloc[0]),
        "permutations": lambda: permutation_test(reg, n=1000, seed=1).p_value,
        "multiverse": lambda: float(
            sum(
                np.nansum(mm.batch.random_effects(MANY_Y[:2500], MANY_V[:2500], method=m, test="z").tau2)
                for m in ("DL", "REML", "PM", "SJ")
            )
        ),
        "three_level": lambda: float(mm.multilevel(schools, cluster=_cluster(schools)).sigma2.iloc[0]),
        "choices": lambda: float(mm.multiverse(evidence_set).table["estimate"].iloc[0]),
        "selection": lambda: float(mm.selection_model(smoke).estimate),
        "bounded": lambda: float(np.nansum(mm.subsets(bounded)["estimate"])),
    }


def _cluster(frame: object) -> str:
    columns = list(frame.columns)  # type: ignore[attr-defined]
    return "district" if "district" in columns else "cluster"


def pimeta_work() -> Work:
    import pimeta

    X = np.column_stack([np.ones(12), DOSE])
    rng = np.random.default_rng(1)

    def permutations() -> float:
        for _ in range(100):  # a tenth of the work, scaled below
            pimeta.rma(YI, VI, mods=X[rng.permutation(12), 1:])
        return 0.0

    return {
        "one": lambda: float(np.ravel(pimeta.rma(YI, VI, test="knha").ci_lb)[0]),
        "subsets": lambda: float(np.size(pimeta.gosh(YI, VI, method="REML"))),
        "permutations/10": permutations,
    }


def pymare_work() -> Work:
    from pymare.estimators import DerSimonianLaird, VarianceBasedLikelihoodEstimator

    one = np.ones((12, 1))
    rng = np.random.default_rng(1)

    def fit(y: np.ndarray, v: np.ndarray, X: np.ndarray) -> float:
        estimator = VarianceBasedLikelihoodEstimator(method="reml")
        estimator.fit(y, v, X)
        return float(np.sum(estimator.params_["tau2"]))

    def leave_one_out() -> float:
        mean = 0.0
        for i in range(500):
            keep = np.arange(500) != i
            estimator = DerSimonianLaird()
            estimator.fit(HALF_Y[keep, None], HALF_V[keep, None], np.ones((499, 1)))
            mean = float(np.ravel(estimator.params_["fe_params"])[0])
        return mean

    orders = np.array([rng.permutation(12) for _ in range(1000)])
    X = np.column_stack([np.ones(12), DOSE])
    return {
        "one": lambda: fit(YI[:, None], VI[:, None], one),
        "many": lambda: fit(MANY_Y.T, MANY_V.T, one),
        "long": lambda: fit(LONG_Y[:, None], LONG_V[:, None], np.ones((100_000, 1))),
        "leave_one_out": leave_one_out,
        # It permutes the effects against one design, many data sets at once.
        "permutations": lambda: fit(YI[orders].T, VI[orders].T, X),
    }


def pymetaanalysis_work() -> Work:
    from meta_analyze import meta_analysis

    # Its defaults: DL-type estimator unless named, normal interval.
    return {"one": lambda: float(meta_analysis(effect=YI, variance=VI, tau2_method="REML").estimate)}


def statsmodels_work() -> Work:
    from statsmodels.stats.meta_analysis import combine_effects

    def leave_one_out() -> float:
        mean = 0.0
        for i in range(500):
            keep = np.arange(500) != i
            mean = float(combine_effects(HALF_Y[keep], HALF_V[keep], method_re="dl").mean_effect_re)
        return mean

    return {
        "one": lambda: float(combine_effects(YI, VI, method_re="iterated").mean_effect_re),
        "leave_one_out": leave_one_out,
    }


R_SCRIPT = r"""
suppressMessages(library(metafor))
args <- commandArgs(TRUE); d <- args[1]
n <- function(f) scan(file.path(d, f), quiet = TRUE)
yi <- n("yi"); vi <- n("vi"); hy <- n("hy"); hv <- n("hv"); dose <- n("dose")
time <- function(f, times) { f(); t <- system.time(for (i in 1:times) f())[["elapsed"]]; t / times }
once <- function(f) system.time(f())[["elapsed"]]
cat("one", time(function() rma(yi, vi, test = "knha"), 50), "\n")
schools <- dat.konstantopoulos2011
smoke <- dat.hackshaw1998
three <- function() selmodel(rma(yi, vi, data = smoke, method = "ML"), type = "stepfun", steps = 0.025)
cat("selection", time(three, 10), "\n")
cat("three_level", time(function() rma.mv(yi, vi, random = ~ 1 | district/school, data = schools), 10), "\n")
if (length(args) > 1) {
  my <- matrix(n("my"), 500, 12, byrow = TRUE); mv <- matrix(n("mv"), 500, 12, byrow = TRUE)
  cat("many/20", once(function() for (i in 1:500) rma(my[i, ], mv[i, ], control = list(maxiter = 1000))), "\n")
  cat("subsets/20", once(function() { set.seed(1); gosh(rma(yi, vi), subsets = 205, progbar = FALSE) }), "\n")
  cat("leave_one_out", once(function() leave1out(rma(hy, hv, method = "DL"))), "\n")
  cat("permutations", once(function() permutest(rma(yi, vi, mods = ~dose), iter = 1000, progbar = FALSE)), "\n")
}
"""


def metafor_times(folder: Path, whole: bool) -> dict[str, float]:
    out = subprocess.run(
        ["Rscript", "--vanilla", str(folder / "work.R"), str(folder), *(["all"] if whole else [])],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: float(value) for name, value in (line.split() for line in out.stdout.splitlines())}


def prepare_r(folder: Path) -> None:
    (folder / "work.R").write_text(R_SCRIPT, encoding="utf-8")
    for name, values in {
        "yi": YI,
        "vi": VI,
        "hy": HALF_Y,
        "hv": HALF_V,
        "dose": DOSE,
        "my": MANY_Y[:500].ravel(),
        "mv": MANY_V[:500].ravel(),
    }.items():
        np.savetxt(folder / name, values, fmt="%.17g")


def seconds(work: Callable[[], float]) -> float:
    """One timing: enough repetitions to fill a tenth of a second."""
    start = time.perf_counter()
    work()
    once = time.perf_counter() - start
    if once > SLOW:
        return once
    times = max(1, int(0.1 / max(once, 1e-6)))
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


ROWS = {  # name: (words, unit, seconds to unit, aim in that unit)
    "one": ("one REML + Knapp-Hartung fit with interval, k = 12", "ms", 1e3, 0.1),
    "many": ("10,000 REML fits, k = 12, per fit", "us", 1e2, 1.5),
    "subsets": ("all 4,095 subsets of 12 trials, REML", "ms", 1e3, 10),
    "long": ("one REML fit, k = 100,000", "ms", 1e3, 4),
    "million": ("one REML fit, k = 1,000,000", "ms", 1e3, 100),
    "leave_one_out": ("leave-one-out, k = 500, DL", "ms", 1e3, 1),
    "permutations": ("1,000 REML permutations with a moderator, k = 12", "ms", 1e3, 10),
    "multiverse": ("10,000 fits by four estimators", "ms", 1e3, 500),
    "three_level": ("three-level fit, k = 56", "ms", 1e3, 5),
    "choices": ("the bundled multiverse: 147,744 specifications, with bounds", "s", 1.0, 2),
    "selection": ("three-parameter selection model, k = 37", "ms", 1e3, 20),
    "bounded": ("32,767 fits of points and bounds, 15 trials", "s", 1.0, 10),
}
TOOLS = {
    "metamiq": (metamiq_work, "metamiq"),
    "pimeta": (pimeta_work, "pimeta"),
    "PyMARE": (pymare_work, "pymare"),
    "PyMetaAnalysis": (pymetaanalysis_work, "meta_analyze"),
    "statsmodels": (statsmodels_work, "statsmodels"),
}


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    works = {tool: make() for tool, (make, module) in TOOLS.items() if importlib.util.find_spec(module)}
    times: dict[str, dict[str, list[float]]] = {tool: {} for tool in works}
    skip: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        r = shutil.which("Rscript") is not None
        if r:
            prepare_r(folder)
            times["metafor"] = {}
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            for row in [*ROWS, "permutations/10"]:
                for tool, work in works.items():
                    if row not in work or (tool, row) in skip:
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        try:
                            took = seconds(work[row])
                        except Exception as error:
                            print(f"{tool}, {row}: {type(error).__name__}: {error}", file=sys.stderr)
                            skip.add((tool, row))
                            continue
                    times[tool].setdefault(row, []).append(took)
                    if took > SLOW:
                        skip.add((tool, row))
            if r:
                for row, took in metafor_times(folder, whole=turn == 0).items():
                    times["metafor"].setdefault(row, []).append(took)
    for tool in times:  # part of the work was done; the rest would take as long per piece
        for row in list(times[tool]):
            if "/" in row:
                whole, parts = row.split("/")
                times[tool][whole] = [int(parts) * t for t in times[tool].pop(row)]
    return times


def machine() -> str:
    """The processor and how many of it there are."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def number(x: float) -> str:
    return f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


def table(times: dict[str, dict[str, list[float]]]) -> str:
    others = [tool for tool in times if tool != "metamiq"]
    lines = [
        f"| work | unit | aim | metamiq | {' | '.join(others)} | nearest / metamiq |",
        f"|{'---|' * (5 + len(others))}",
    ]
    for row, (words, unit, scale, aim) in ROWS.items():
        ours = statistics.median(times["metamiq"][row]) * scale
        theirs = {t: statistics.median(times[t][row]) * scale for t in others if row in times[t]}
        cells = [number(theirs[t]) if t in theirs else "-" for t in others]
        ratio = f"{min(theirs.values()) / ours:.1f}" if theirs else "-"
        mark = "" if ours <= aim else " (missed)"
        lines.append(f"| {words} | {unit} | {number(aim)} | {number(ours)}{mark} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    times = measure(parser.parse_args().rounds)
    print("# Yardsticks of speed\n")
    print(
        f"Medians of alternating rounds, one thread; Python {platform.python_version()}, numpy {np.__version__}, "
        f"on {machine()}. metafor's 10,000 fits and 4,095 subsets are a twentieth of the work, scaled up, and "
        "pimeta's permutations a tenth.\n"
    )
    print(table(times))


if __name__ == "__main__":
    main()
