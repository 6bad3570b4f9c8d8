"""Exercises from published summary data, and the likely slip behind a wrong answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd

from metamiq.datasets import Dataset, load_dataset
from metamiq.effects.derivation import Derivation
from metamiq.effects.expression import Expression
from metamiq.errors import DataError
from metamiq.explaining.measures import explain_row, plain_name
from metamiq.explaining.reported import convert

_S = "sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/(n1 + n2 - 2))"
_J = "J(n1 + n2 - 2)"
_PPC = "((m1_post - m1_pre) - (m2_post - m2_pre))"


def _over(sd1: str, sd2: str, df: str = "(n1 + n2 - 2)", correct: str = _J, difference: str = "(m1 - m2)") -> str:
    return f"{correct}*{difference}/sqrt(((n1 - 1)*{sd1}**2 + (n2 - 1)*{sd2}**2)/{df})"


#: Slips of each kind of exercise: what went wrong, and the formula that the wrong answer follows.
SLIPS: dict[str, tuple[tuple[str, str], ...]] = {
    "SMD": (
        ("d for g: the small-sample correction J was left out", _over("sd1", "sd2", correct="1")),
        ("the sign: the groups were swapped", _over("sd1", "sd2", difference="(m2 - m1)")),
        ("the SDs were taken for standard errors and multiplied by √n",
         _over("(sd1*sqrt(n1))", "(sd2*sqrt(n2))")),
        ("standard errors were put in place of the SDs", _over("(sd1/sqrt(n1))", "(sd2/sqrt(n2))")),
        ("N for df: J was taken with N in place of N − 2",
         _over("sd1", "sd2", correct="J(n1 + n2)")),
        ("N for df: the pooled variance was divided by N in place of N − 2",
         _over("sd1", "sd2", df="(n1 + n2)")),
        ("the SD of group 2 alone was used (Glass's delta)", "J(n2 - 1)*(m1 - m2)/sd2"),
        ("the SD of group 1 alone was used", f"{_J}*(m1 - m2)/sd1"),
        ("the SDs were averaged, not pooled", f"{_J}*(m1 - m2)/sqrt((sd1**2 + sd2**2)/2)"),
        ("the pooled variance was not rooted", f"{_J}*(m1 - m2)/({_S})**2"),
        ("the mean difference was not standardised", "m1 - m2"),
        ("d for g, and the sign", _over("sd1", "sd2", correct="1", difference="(m2 - m1)")),
    ),
    "t": (
        ("2t/√df was used, which is right only for large equal groups", "2*t/sqrt(n1 + n2 - 2)"),
        ("2t/√df was used, then J", f"{_J}*2*t/sqrt(n1 + n2 - 2)"),
        ("d for g: the small-sample correction J was left out", "t*sqrt(1/n1 + 1/n2)"),
        ("the sign: the groups were swapped", f"-{_J}*t*sqrt(1/n1 + 1/n2)"),
        ("N for df: J was taken with N in place of N − 2", "J(n1 + n2)*t*sqrt(1/n1 + 1/n2)"),
        ("t/√N was used, which is for one group measured twice", "t/sqrt(n1 + n2)"),
    ),
    "PPC_PRE": (
        ("d for g: the small-sample correction J was left out",
         _over("sd1_pre", "sd2_pre", correct="1", difference=_PPC)),
        ("the sign: the groups were swapped",
         _over("sd1_pre", "sd2_pre", difference="((m2_post - m2_pre) - (m1_post - m1_pre))")),
        ("the SDs after treatment were used in place of those before",
         _over("sd1_post", "sd2_post", difference=_PPC)),
        ("the baseline was ignored: only the means after treatment were compared",
         _over("sd1_pre", "sd2_pre", difference="(m1_post - m2_post)")),
        ("only the change of group 1 was taken", _over("sd1_pre", "sd2_pre", difference="(m1_post - m1_pre)")),
        ("standard errors were put in place of the SDs",
         _over("(sd1_pre/sqrt(n1))", "(sd2_pre/sqrt(n2))", difference=_PPC)),
        ("N for df: J was taken with N in place of N − 2",
         _over("sd1_pre", "sd2_pre", correct="J(n1 + n2)", difference=_PPC)),
        ("SDs before and after were pooled", f"{_J}*{_PPC}/sqrt(((n1 - 1)*(sd1_pre**2 + sd1_post**2) + "
         "(n2 - 1)*(sd2_pre**2 + sd2_post**2))/(2*(n1 + n2 - 2)))"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Exercise:
    """One question from published numbers.

    Attributes
    ----------
    kind : str
        Which formula: a key of `SLIPS`.
    question : str
        What is asked.
    numbers : mapping of str to float
        The numbers, by the names of the formulas.
    source : str
        Where they were published.
    solution : Derivation
        The steps to the answer.
    """

    kind: str
    question: str
    numbers: Mapping[str, float]
    source: str
    solution: Derivation

    @property
    def answer(self) -> float:
        """The right answer."""
        return self.solution["estimate"]

    def check(self, answer: str) -> Verdict:
        """Whether an answer is right within its own rounding, and the slip that it points to when it is not.

        An answer must have two decimals at least, or it says too little to be checked.
        """
        try:
            given = Decimal(answer.strip().replace("−", "-").replace(",", "."))
        except InvalidOperation as problem:
            raise DataError(f"The answer must be a number, not {answer!r}.") from problem
        exponent = int(given.as_tuple().exponent) if given.is_finite() else 0
        if not given.is_finite() or exponent > -2:
            raise DataError(f"Give the answer with two decimals at least, not {answer!r}.")
        value, half = float(given), 0.5 * 10.0**exponent * (1 + 1e-9)
        # J may be exact or approximate, and intermediate results rounded: the third decimal is not held against anyone.
        allowed = max(half, 0.0005 + 0.0005 * abs(self.answer))
        if abs(value - self.answer) <= allowed:
            return Verdict(True, "", self.answer)
        for words, formula in SLIPS[self.kind]:
            slipped = float(Expression(formula).value(self.numbers))
            if abs(value - slipped) <= max(half, 0.0005 + 0.0005 * abs(slipped)):
                return Verdict(False, words, self.answer)
        if abs(value + self.answer) <= allowed:
            return Verdict(False, "the sign: the groups were swapped", self.answer)
        return Verdict(False, "", self.answer)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer was right; the slip that a wrong one points to, empty when none fits; the right answer."""

    right: bool
    slip: str
    answer: float

    def text(self) -> str:
        """The verdict in a sentence."""
        if self.right:
            return "Right."
        if self.slip:
            return f"Not right. The likely slip: {self.slip}. The answer is {self.answer:.3f}."
        return f"Not right, and no usual slip gives this number. The answer is {self.answer:.3f}."


def exercise(seed: int | None = None, kind: str | None = None) -> Exercise:
    """Draw an exercise from the bundled datasets.

    Parameters
    ----------
    seed : int, optional
        The same seed gives the same exercise.
    kind : {"SMD", "t", "PPC_PRE"}, optional
        g from means and SDs; from a t statistic; of changes in two groups. Any, by default.

    Returns
    -------
    Exercise
        With ``question``, ``source``, ``check(answer)`` and ``solution``.

    Raises
    ------
    ValueError
        If the kind is unknown.

    Examples
    --------
    >>> task = exercise(seed=1, kind="t")
    >>> print(task.check("1.34").text())
    Not right. The likely slip: 2t/√df was used, which is right only for large equal groups. The answer is 1.186.
    """
    if kind is not None and kind not in _MAKERS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, sorted(_MAKERS)))}, not {kind!r}.")
    rng = np.random.default_rng(seed)
    # Most numbers come as means and SDs, so most questions do.
    chosen = kind or str(rng.choice(["SMD", "SMD", "SMD", "PPC_PRE", "t"]))
    return _MAKERS[chosen](rng)


def _source(ds: Dataset) -> str:
    """The publication that a dataset names as its source."""
    package = json.loads((ds.path / "datapackage.json").read_text(encoding="utf-8"))
    titles = [str(source["title"]) for source in package.get("sources", [])]
    return titles[0] if titles else f"dataset {ds.name}"


def _row(frame: pd.DataFrame, rng: np.random.Generator) -> dict[str, object]:
    row = frame.iloc[int(rng.integers(len(frame)))]
    return {str(k): v for k, v in row.to_dict().items() if not pd.isna(v)}


def _plain(row: Mapping[str, object], names: tuple[str, ...]) -> dict[str, float]:
    return {plain_name(name): float(str(row[name])) for name in names}


def _means(rng: np.random.Generator) -> Exercise:
    name = str(rng.choice(["normand1999", "gibson2002", "curtis1998"]))
    ds = load_dataset(name)
    row = _row(ds.trials, rng)
    x = _plain(row, ("m1i", "sd1i", "n1i", "m2i", "sd2i", "n2i"))
    what = row.get("label") or row.get("study")
    question = (
        f"{what}: group 1 has mean {x['m1']:g} (SD {x['sd1']:g}, n {x['n1']:g}), group 2 mean {x['m2']:g} "
        f"(SD {x['sd2']:g}, n {x['n2']:g}). What is Hedges' g, positive when group 1 is higher?"
    )
    return Exercise("SMD", question, x, _source(ds), explain_row(row, "SMD"))


def _changes(rng: np.random.Generator) -> Exercise:
    ds = load_dataset("morris2008")
    row = _row(ds.trials, rng)
    names = tuple(f"{stat}{i}i_{time}" for i in (1, 2) for time in ("pre", "post") for stat in ("m", "sd"))
    x = _plain(row, (*names, "n1i", "n2i"))
    arms = [
        f"group {i} goes from {x[f'm{i}_pre']:g} (SD {x[f'sd{i}_pre']:g}) to {x[f'm{i}_post']:g} "
        f"(SD {x[f'sd{i}_post']:g}), n {x[f'n{i}']:g}"
        for i in (1, 2)
    ]
    question = (
        f"{row['study']}: {arms[0]}; {arms[1]}. What is g of the difference in change (group 1 minus group 2), over "
        "the pooled SD before treatment?"
    )
    return Exercise("PPC_PRE", question, x, _source(ds), explain_row(row, "PPC_PRE"))


def _t(rng: np.random.Generator) -> Exercise:
    ds = load_dataset("mi_cbt_anxiety")
    with_t = ds.results.loc[(ds.results["report"] == "t") & ds.results[["n_mi", "n_cbt", "value"]].notna().all(axis=1)]
    row = _row(with_t, rng)
    x = {"t": float(str(row["value"])), "n1": float(str(row["n_mi"])), "n2": float(str(row["n_cbt"]))}
    trial = ds.trials.loc[ds.trials["trial_id"] == row["trial_id"], "label"].iloc[0]
    question = (
        f"{trial} report t = {x['t']:g} for {row['outcome']} between groups of {x['n1']:g} and {x['n2']:g}, in favour "
        "of group 1. What is Hedges' g?"
    )
    return Exercise("t", question, x, f"{trial}, {row['source']}", convert(t=x["t"], n1=x["n1"], n2=x["n2"]).derivation)


_MAKERS: dict[str, Callable[[np.random.Generator], Exercise]] = {"SMD": _means, "t": _t, "PPC_PRE": _changes}
