"""Which formula gives the number that someone printed: standardiser x J x variance x sign, tried one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

from metamiq.effects.expression import Expression
from metamiq.effects.smd_interval import hedges_g_ci
from metamiq.errors import DataError
from metamiq.explaining.programs import LS, LS2, REVMAN, UB
from metamiq.tails import critical_value
from metamiq.wording import in_short

_N = "(n1 + n2)"
#: Ways to d from each kind of input: what it is, formula, how far it is from standard practice (0 is standard).
STANDARDISERS: tuple[tuple[str, str, int], ...] = (
    ("mean difference over the pooled SD", f"(m1 - m2)/sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/({_N} - 2))", 0),
    ("mean difference over the SD of group 2 (Glass)", "(m1 - m2)/sd2", 1),
    ("mean difference over the SD of group 1", "(m1 - m2)/sd1", 2),
    ("mean difference over the root mean of the two variances", "(m1 - m2)/sqrt((sd1**2 + sd2**2)/2)", 1),
    ("mean difference over the mean of the two SDs", "(m1 - m2)/((sd1 + sd2)/2)", 3),
    ("mean difference over the pooled SD with N in place of N − 2",
     f"(m1 - m2)/sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/{_N})", 3),
    ("t times the root of 1/n₁ + 1/n₂", "t*sqrt(1/n1 + 1/n2)", 0),
    ("2t/√df, right only for large equal groups", f"2*t/sqrt({_N} - 2)", 2),
    ("2t/√N", f"2*t/sqrt{_N}", 3),
    ("t/√N, which is for one group measured twice", f"t/sqrt{_N}", 4),
    ("t/√df", f"t/sqrt({_N} - 2)", 4),
    ("difference of changes over the pooled SD before treatment (Morris 2008)",
     f"((m1_post - m1_pre) - (m2_post - m2_pre))/sqrt(((n1 - 1)*sd1_pre**2 + (n2 - 1)*sd2_pre**2)/({_N} - 2))", 0),
    ("difference of changes over the pooled SD after treatment",
     f"((m1_post - m1_pre) - (m2_post - m2_pre))/sqrt(((n1 - 1)*sd1_post**2 + (n2 - 1)*sd2_post**2)/({_N} - 2))", 1),
    ("difference of changes over all four SDs, pooled",
     "((m1_post - m1_pre) - (m2_post - m2_pre))/sqrt(((n1 - 1)*(sd1_pre**2 + sd1_post**2) + "
     f"(n2 - 1)*(sd2_pre**2 + sd2_post**2))/(2*({_N} - 2)))", 1),
    ("difference of changes over the root mean of the four variances",
     "((m1_post - m1_pre) - (m2_post - m2_pre))/sqrt((sd1_pre**2 + sd1_post**2 + sd2_pre**2 + sd2_post**2)/4)", 2),
    ("difference of each group's change over its own SD before treatment",
     "(m1_post - m1_pre)/sd1_pre - (m2_post - m2_pre)/sd2_pre", 2),
    ("difference of the means after treatment over their pooled SD, baseline ignored",
     f"(m1_post - m2_post)/sqrt(((n1 - 1)*sd1_post**2 + (n2 - 1)*sd2_post**2)/({_N} - 2))", 2),
    ("difference of changes over the pooled SD of the changes",
     "((m1_post - m1_pre) - (m2_post - m2_pre))/sqrt(((n1 - 1)*(sd1_pre**2 + sd1_post**2 - 2*r*sd1_pre*sd1_post) + "
     f"(n2 - 1)*(sd2_pre**2 + sd2_post**2 - 2*r*sd2_pre*sd2_post))/({_N} - 2))", 2),
)  # fmt: skip
_CORRECTIONS: tuple[tuple[str, str, int], ...] = (
    ("J exact", f"J({_N} - 2)", 0),
    ("J = 1 − 3/(4N − 9)", f"1 - 3/(4*{_N} - 9)", 0),
    ("no J", "1", 1),
    ("J = 1 − 3/(4N − 1), N taken for df", f"1 - 3/(4*{_N} - 1)", 3),
)
_GLASS_J: tuple[tuple[str, str, int], ...] = (("J exact with n₂ − 1", "J(n2 - 1)", 0),)
_VARIANCES: tuple[tuple[str, str, int], ...] = (
    ("1/n₁ + 1/n₂ + g²/(2N)", LS, 0),
    ("J²(1/n₁ + 1/n₂ + d²/(2N))", LS2, 0),
    ("the unbiased or exact form (Hedges 1983; White & Thomas 2005)", UB, 0),
    ("1/n₁ + 1/n₂ + g²/(2(N − 3.94)), as RevMan 5", REVMAN, 0),
    ("1/n₁ + 1/n₂ + d²/(2N), J left out", f"1/n1 + 1/n2 + d**2/(2*{_N})", 1),
    ("J²(1/n₁ + 1/n₂ + d²/(2(N − 2)))", f"J**2*(1/n1 + 1/n2 + d**2/(2*({_N} - 2)))", 1),
    ("1/n₁ + 1/n₂ + d²/(2(N − 2))", f"1/n1 + 1/n2 + d**2/(2*({_N} - 2))", 1),
    ("1/n₁ + 1/n₂ + g²/(2n₂), as for Glass's delta", "1/n1 + 1/n2 + g**2/(2*n2)", 1),
    ("1/n₁ + 1/n₂ + g²/(2(n₂ − 1))", "1/n1 + 1/n2 + g**2/(2*(n2 - 1))", 2),
)
_WITH_R: tuple[tuple[str, str, int], ...] = (
    ("2(1 − r)(1/n₁ + 1/n₂) + g²/(2N)", f"2*(1 - r)*(1/n1 + 1/n2) + g**2/(2*{_N})", 0),
    ("Morris (2008), eq. 25",
     f"J**2*({_N} - 2)/({_N} - 4)*(2*(1 - r)*(1/n1 + 1/n2) + g**2) - g**2", 0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suspect:
    """One combination of formulas, what it gives, and how far that is from what was printed.

    Attributes
    ----------
    words : str
        Standardiser, J, variance and sign.
    formula : str
        Formula of d, in Unicode.
    value : float or tuple of float
        What it gives for the last thing that was printed: the number, or the two ends of the interval.
    gives : mapping of str to float
        What it gives for each number that was printed.
    off : float
        Largest distance to the printed number(s).
    matches : bool
        Whether it rounds to what was printed, or gives it when further digits are cut off.
    oddity : int
        0 for standard practice, more for less usual.
    """

    words: str
    formula: str
    value: float | tuple[float, float]
    gives: Mapping[str, float]
    off: float
    matches: bool
    oddity: int


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Answer of the sleuth: all that match, the most usual first, or the nearest when none does."""

    printed: Mapping[str, str]
    matches: tuple[Suspect, ...]
    nearest: tuple[Suspect, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per suspect: ``words formula value value_high off matches`` and a column for each printed number.

        ``value_high`` ends an interval.
        """
        rows = []
        for s in (*self.matches, *self.nearest):
            low, high = s.value if isinstance(s.value, tuple) else (s.value, np.nan)
            rows.append((s.words, s.formula, low, high, s.off, s.matches, *(s.gives[name] for name in self.printed)))
        return pd.DataFrame(rows, columns=["words", "formula", "value", "value_high", "off", "matches", *self.printed])

    def __repr__(self) -> str:
        return in_short(self)

    def summary(self) -> str:
        """The answer in a few lines."""
        what = ", ".join(f"{name} = {text}" for name, text in self.printed.items())
        if self.matches:
            lines = [f"{what} comes from:"]
            shown: tuple[Suspect, ...] = self.matches[:6]
            more = len(self.matches) - len(shown)
        else:
            lines = [f"No formula tried gives {what}. The nearest:"]
            shown, more = self.nearest[:3], 0
        for s in shown:
            given = _show(s)
            lines.append(f"  {given}  {s.words}")
            lines.append(f"  {' ' * len(given)}  d = {s.formula}")
        if more:
            lines.append(f"  and {more} less usual combination{'s' if more > 1 else ''} that round to the same")
        return "\n".join(lines)


def which(inputs: Mapping[str, float], *, level: float = 0.95, **printed: Any) -> Findings:
    """Say which formula gives the d, g, variance, SE or interval that someone printed.

    Parameters
    ----------
    inputs : mapping of str to float
        The trial's numbers: ``m1 sd1 m2 sd2``, or ``t``, or ``m1_pre m1_post sd1_pre sd1_post`` and the same of group
        2, with ``n1 n2`` (``df`` will do for equal groups), and ``r`` where it is known.
    level : float
        Coverage of a printed interval.
    **printed : str or float
        What was printed, as text with its digits: one or more of ``d``, ``g``, ``effect`` (d or g), ``v``, ``se``,
        ``ci_low``, ``ci_high``. All must come from one combination.

    Returns
    -------
    Findings
        ``matches``, the most usual first; ``nearest`` when there is none; ``summary()`` in words.

    Raises
    ------
    DataError
        If the inputs allow no formula, or nothing was printed.

    Examples
    --------
    >>> print(which({"t": 2.51, "n1": 8, "n2": 8}, d="1.34").summary())
    d = 1.34 comes from:
      1.34165  2t/√df, right only for large equal groups; no J
               d = 2·t/√(n₁ + n₂ − 2)
    """
    texts = {name: str(value).replace("−", "-") for name, value in printed.items() if value is not None}
    known = ("ci_high", "ci_low", "d", "effect", "g", "se", "v")
    unknown = sorted(set(texts) - set(known))
    if unknown:
        raise ValueError(f"printed must be among {', '.join(map(repr, known))}, not {unknown[0]!r}.")
    if not texts:
        raise DataError("Say what was printed: d, g, effect, v, se, or ci_low and ci_high.")
    x = {name: float(value) for name, value in inputs.items() if value is not None}
    if "df" in x and "n1" not in x:
        x["n1"] = x["n2"] = (x["df"] + 2.0) / 2.0
    suspects = [s for s in _suspects(x, texts, level) if np.isfinite(s.off)]
    if not suspects:
        raise DataError(
            "The inputs must allow some formula (m1 sd1 n1 m2 sd2 n2; t n1 n2; or means and SDs before and after with "
            f"n1 n2), but these came: {', '.join(x) or 'none'}."
        )
    matching = sorted((s for s in suspects if s.matches), key=lambda s: (s.oddity, s.off))
    nearest = sorted(suspects, key=lambda s: (s.off, s.oddity))[:5]
    return Findings(texts, tuple(matching), () if matching else tuple(nearest))


def _suspects(x: Mapping[str, float], printed: Mapping[str, str], level: float) -> Iterator[Suspect]:
    for words, formula, odd in STANDARDISERS:
        expression = Expression(formula)
        if not set(expression.names()) <= set(x):
            continue
        base = float(expression.value(x))
        corrections = _CORRECTIONS + (_GLASS_J if "Glass" in words else ())
        for j_words, j_formula, j_odd in corrections:
            if not {"n1", "n2"} <= set(x):
                continue
            if "d" in printed and "g" not in printed and j_words != "no J":
                j_odd += 2  # a printed d is usually uncorrected
            elif "d" in printed and j_words == "no J":
                j_odd = 0
            J = float(Expression(j_formula).value(x))
            for sign, sign_words in ((1.0, ""), (-1.0, "; sign turned round (group 2 minus group 1)")):
                local = {**x, "d": sign * base, "J": J, "g": sign * base * J}
                yield from _judge(
                    local, printed, f"{words}; {j_words}{sign_words}", expression, odd + j_odd + (sign < 0) * 2, level
                )


def _judge(
    x: Mapping[str, float], printed: Mapping[str, str], words: str, formula: Expression, odd: int, level: float
) -> Iterator[Suspect]:
    points = {name: x["g"] for name in ("d", "g", "effect") if name in printed}
    if {"d", "g"} <= set(printed):
        points["d"] = x["d"]
    rest = [name for name in ("v", "se", "ci_low", "ci_high") if name in printed]
    if not rest:
        yield _suspect(points, printed, words, formula, odd)
        return
    variances = _VARIANCES + (_WITH_R if "r" in x else ())
    if "m1_pre" in x and "r" in x:
        variances = tuple((w, f, o + 2) for w, f, o in _VARIANCES) + _WITH_R
    for v_words, v_formula, v_odd in variances:
        v = float(Expression(v_formula).value(x))
        if not v > 0:
            continue
        quantiles = [(float(critical_value(level)), "", 0)]
        if "ci_low" in printed or "ci_high" in printed:
            dof = x["n1"] + x["n2"] - 2.0
            quantiles.append((float(critical_value(level, dof)), "; interval with t in place of z", 1))
        for q, q_words, q_odd in quantiles:
            half = q * v**0.5
            found = {"v": v, "se": v**0.5, "ci_low": x["g"] - half, "ci_high": x["g"] + half}
            values = points | {name: found[name] for name in rest}
            yield _suspect(values, printed, f"{words}; v = {v_words}{q_words}", formula, odd + v_odd + q_odd)
    if rest and set(rest) <= {"ci_low", "ci_high"} and x["J"] < 1:
        low, high = hedges_g_ci(x["d"], x["n1"], x["n2"], correction="none", level=level)
        for scale, s_words in ((1.0, "exact interval of d by the noncentral t"), (x["J"], "the same times J")):
            found = {"ci_low": scale * float(low), "ci_high": scale * float(high)}
            values = points | {name: found[name] for name in rest}
            yield _suspect(values, printed, f"{words}; {s_words}", formula, odd + 1)


def _suspect(
    values: Mapping[str, float], printed: Mapping[str, str], words: str, formula: Expression, odd: int
) -> Suspect:
    off, rounds, cut = 0.0, True, True
    for name, value in values.items():
        target, half = _read(name, printed[name])
        off = max(off, abs(value - target))
        rounds &= abs(value - target) <= half * (1 + 1e-9)
        beyond = abs(value) - abs(target)
        cut &= value * target > 0 and 0 <= beyond < 2 * half
    matches = rounds or cut
    if cut and not rounds:
        words, odd = f"{words}; digits cut off, not rounded", odd + 2
    last = [values[n] for n in values if n not in ("d", "g", "effect")] or list(values.values())
    shown: float | tuple[float, float] = (last[0], last[1]) if len(last) > 1 and "ci_low" in values else last[0]
    return Suspect(words, formula.text(), shown, dict(values), off, matches, odd)


def _read(name: str, text: str) -> tuple[float, float]:
    """The printed number and half a unit of its last digit."""
    try:
        value = Decimal(text)
    except InvalidOperation as problem:
        raise DataError(f"{name} must be a number, not {text!r}.") from problem
    return float(value), 0.5 * 10.0 ** int(value.as_tuple().exponent)


def _show(suspect: Suspect) -> str:
    """What a combination gives for everything that was printed."""
    ends = suspect.value if isinstance(suspect.value, tuple) else ()
    shown = [(name, f"{x:.6g}") for name, x in suspect.gives.items() if not (ends and name in ("ci_low", "ci_high"))]
    if ends:
        shown.append(("interval", f"{ends[0]:.6g} to {ends[1]:.6g}"))
    return shown[0][1] if len(shown) == 1 else ", ".join(f"{name} {text}" for name, text in shown)
