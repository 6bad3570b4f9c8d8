"""Numbers as a reader wants to see them in a sentence."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# A hyphen in "k - 1" or before a number that stands by itself; not one in a name, a date, a range or a web address.
_NEGATIVE = re.compile(r"(?<=\b[knp] )-(?= [\dp]\b)|(?<![^\s(\[<>≤≥±,;:'\"])-(?=\.?\d|inf\b|∞)")


def fixed(value: float, digits: int = 2) -> str:
    """A number with a fixed number of decimals; never "-0.00".

    Examples
    --------
    >>> fixed(-0.001), fixed(-0.126), fixed(float("inf"))
    ('0.00', '-0.13', 'inf')
    """
    if not math.isfinite(value):
        return str(float(value))
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def p_text(p: float, digits: int = 3) -> str:
    """A p-value with a fixed number of decimals, or that it is below the smallest that they can show.

    Examples
    --------
    >>> p_text(0.0478), p_text(1e-9), p_text(1e-9, 4)
    ('p = 0.048', 'p < 0.001', 'p < 0.0001')
    """
    smallest = 10.0**-digits
    return f"p < {smallest:.{digits}f}" if p < smallest else f"p = {p:.{digits}f}"


def table_text(table: pd.DataFrame, digits: int = 4) -> str:
    """A table of results with a fixed number of decimals; a p-value that they cannot show is below the smallest.

    Examples
    --------
    >>> import pandas as pd
    >>> print(table_text(pd.DataFrame({"estimate": [0.5], "p_value": [1e-9]}, index=["mean"])))
          estimate  p_value
    mean    0.5000  <0.0001
    """
    smallest = 10.0**-digits

    def number(x: float) -> str:
        return f"{x:.{digits}f}"

    def p_value(p: float) -> str:
        return "NaN" if p != p else f"<{number(smallest)}" if p < smallest else number(p)

    p_columns = [c for c in table.columns if c == "p_value" or str(c).endswith("_p")]
    return table.to_string(float_format=number, formatters=dict.fromkeys(p_columns, p_value))


def count(n: int, noun: str) -> str:
    """A number of things, with the plural where it is due.

    Examples
    --------
    >>> count(1, "bound"), count(0, "bound"), count(147744, "fit")
    ('1 bound', '0 bounds', '147,744 fits')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def from_studies(k: int, n_studies: int) -> str:
    """How many effect sizes from how many studies.

    Examples
    --------
    >>> from_studies(5, 3), from_studies(1, 1)
    ('5 effect sizes from 3 studies', '1 effect size from 1 study')
    """
    return f"{count(k, 'effect size')} from {n_studies:,} {'study' if n_studies == 1 else 'studies'}"


def true_minus(text: str) -> str:
    """Text for a page or a picture: the hyphen of a negative number becomes a minus sign, and +- one sign, too.

    Terminal, CSV and JSON keep the hyphen, which other programs read.

    Examples
    --------
    >>> true_minus("mean +- SE")
    'mean ± SE'
    >>> true_minus("g = -0.71 (-1.11 to -0.32), k - 2, 2010-2015, NCT-123, x -y")
    'g = −0.71 (−1.11 to −0.32), k − 2, 2010-2015, NCT-123, x -y'
    """
    return _NEGATIVE.sub("\N{MINUS SIGN}", text).replace(" +- ", " \N{PLUS-MINUS SIGN} ")


def one_line(fit: Any) -> str:
    """A fit in one line, for `repr`: its class, estimate and interval (or its coefficients), k and the choices.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> one_line(SimpleNamespace(estimate=0.5, ci_low=0.1, ci_high=0.9, k=12, method="REML", test="knha"))
    'SimpleNamespace(estimate 0.5000 [0.1000, 0.9000], k = 12, REML, knha)'
    """
    try:
        what = f"estimate {fixed(fit.estimate, 4)} [{fixed(fit.ci_low, 4)}, {fixed(fit.ci_high, 4)}]"
    except (
        AttributeError,
        ArithmeticError,
        RuntimeError,
        ValueError,
    ):  # several coefficients, or an interval that is not found
        names = [str(name) for name in getattr(fit, "names", ())]
        what = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    choices = [str(getattr(fit, name)) for name in ("measure", "method", "test") if getattr(fit, name, None)]
    k = [f"k = {fit.k}"] if hasattr(fit, "k") else []
    return f"{type(fit).__name__}({', '.join([*([what] if what else []), *k, *choices])})"


def in_short(result: Any) -> str:
    r"""A result for `repr`: its class and the first line of its summary; below it, what one must bear in mind.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> print(in_short(SimpleNamespace(summary=lambda: "Rank test: k = 5\nCaution: Few.", cautions=("Few.",))))
    SimpleNamespace(Rank test: k = 5)
    Caution: Few.
    """
    try:
        first = result.summary().splitlines()[0].rstrip(":.")
    except (ArithmeticError, RuntimeError, ValueError):  # an interval that is not found, say
        first = ""
    return "\n".join([f"{type(result).__name__}({first})", *(f"Caution: {x}" for x in getattr(result, "cautions", ()))])
