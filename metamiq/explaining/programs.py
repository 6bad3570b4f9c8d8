"""One trial as other programs would give it: the same data, another formula, another number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metamiq.effects.continuous import two_groups
from metamiq.effects.expression import Expression
from metamiq.effects.records import float_arrays
from metamiq.tails import critical_value

_POOLED = "(m1 - m2)/sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/(n1 + n2 - 2))"
#: The forms of J that programs use; N = n1 + n2.
CORRECTIONS = {
    "exact": "J(n1 + n2 - 2)",
    "approximate": "1 - 3/(4*(n1 + n2) - 9)",
    "none": "1",
    "exact, group 2 only": "J(n2 - 1)",
}


@dataclass(frozen=True, slots=True)
class Program:
    """How a program computes a standardised mean difference from means, SDs and sizes.

    Attributes
    ----------
    name : str
        Program and setting.
    correction : str
        Which J, a key of `CORRECTIONS`.
    variance : str
        Formula of the sampling variance, in g, d, J and the sizes.
    source : str
        Where this is known from.
    standardiser : str
        Formula of d.
    """

    name: str
    correction: str
    variance: str
    source: str
    standardiser: str = _POOLED

    def compute(self, m1: Any, sd1: Any, n1: Any, m2: Any, sd2: Any, n2: Any) -> tuple[Any, Any]:
        """G and its variance."""
        x = {"m1": m1, "sd1": sd1, "n1": n1, "m2": m2, "sd2": sd2, "n2": n2}
        x["d"] = Expression(self.standardiser).value(x)
        x["J"] = Expression(CORRECTIONS[self.correction]).value(x)
        x["g"] = x["J"] * x["d"]
        return x["g"], Expression(self.variance).value(x)


_SUM = "1/n1 + 1/n2"
LS = f"{_SUM} + g**2/(2*(n1 + n2))"
LS2 = f"J**2*({_SUM} + d**2/(2*(n1 + n2)))"
UB = f"{_SUM} + (1 - (n1 + n2 - 4)/((n1 + n2 - 2)*J**2))*g**2"
REVMAN = f"{_SUM} + g**2/(2*(n1 + n2 - 3.94))"
_CHECKED = "the program's value for one trial is met to all printed digits"

#: The programs, the formula that this package uses by default first.
PROGRAMS: tuple[Program, ...] = (
    Program("metafor, LS (default)", "exact", LS, f"escalc, measure SMD, vtype LS; {_CHECKED}"),
    Program("metafor, LS2", "exact", LS2, f"escalc, measure SMD, vtype LS2; {_CHECKED}"),
    Program("metafor, UB", "exact", UB, f"escalc, measure SMD, vtype UB; {_CHECKED}"),
    Program("R meta", "exact", UB, f"metacont, exact.smd = TRUE (its default), White & Thomas (2005); {_CHECKED}"),
    Program("RevMan 5", "approximate", REVMAN,
            "Deeks & Higgins (2010), Statistical algorithms in Review Manager 5; as R meta with exact.smd = FALSE"),
    Program("statsmodels", "approximate", REVMAN, f"effectsize_smd; {_CHECKED}"),
    Program("R esc", "approximate", f"{_SUM} + d**2/(2*(n1 + n2))", f"J on d, not on its variance; {_CHECKED}"),
    Program("R compute.es", "approximate", LS2, _CHECKED),
    Program("Comprehensive Meta-Analysis", "approximate", LS2,
            "Borenstein et al. (2009), ch. 4, by the authors of the program; not checked against the program"),
    Program("PyMARE", "approximate", f"J**2*({_SUM} + d**2/(2*(n1 + n2 - 2)))", _CHECKED),
    Program("JASP", "exact", LS, "computes effect sizes with metafor; not checked against the program"),
    Program("metafor, SMD1 (Glass)", "exact, group 2 only", f"{_SUM} + g**2/(2*n2)",
            f"escalc, measure SMD1; {_CHECKED}", "(m1 - m2)/sd2"),
)  # fmt: skip


def compare_programs(
    m1i: float, sd1i: float, n1i: float, m2i: float, sd2i: float, n2i: float, *, level: float = 0.95
) -> pd.DataFrame:
    """One trial as other programs give it, side by side, with the formulas that differ.

    Parameters
    ----------
    m1i, sd1i, n1i, m2i, sd2i, n2i : float
        Mean, SD and size of group 1 and of group 2.
    level : float
        Coverage of the normal interval.

    Returns
    -------
    DataFrame
        One row per program: ``program yi vi sei ci_low ci_high correction variance differs source``; ``differs`` says
        what is not as in metafor's default, and is empty where nothing is.

    Raises
    ------
    DataError
        If a value is missing or impossible.

    References
    ----------
    Borenstein et al. (2009), ch. 4; Hedges (1981, 1982, 1983); White, I. R. & Thomas, J. (2005). Clinical Trials, 2,
    141-151; Deeks, J. J. & Higgins, J. P. T. (2010). Statistical algorithms in Review Manager 5.

    Examples
    --------
    >>> table = compare_programs(18.9, 7.4, 15, 24.3, 6.1, 14)
    >>> print(table.loc[table.program.isin(["R meta", "RevMan 5"]), ["program", "yi", "vi"]].round(7).to_string())
        program        yi        vi
    3    R meta -0.771234  0.149870
    4  RevMan 5 -0.771269  0.149964
    """
    two_groups(m1i, sd1i, n1i, m2i, sd2i, n2i)
    x = {name: float(value) for name, value in float_arrays(
        m1=m1i, sd1=sd1i, n1=n1i, m2=m2i, sd2=sd2i, n2=n2i).items()}  # fmt: skip
    default = PROGRAMS[0]
    rows = []
    for program in PROGRAMS:
        g, v = (float(value) for value in program.compute(**x))
        half = float(critical_value(level)) * np.sqrt(v)
        differs = []
        if program.standardiser != default.standardiser:
            differs.append("divides by the SD of group 2")
        if program.correction != default.correction:
            differs.append(f"J = {Expression(CORRECTIONS[program.correction]).text()}")
        if program.variance != default.variance:
            differs.append(f"v = {Expression(program.variance).text()}")
        rows.append(
            {
                "program": program.name,
                "yi": g,
                "vi": v,
                "sei": np.sqrt(v),
                "ci_low": g - half,
                "ci_high": g + half,
                "correction": program.correction,
                "variance": Expression(program.variance).text(),
                "differs": "; ".join(differs),
                "source": program.source,
            }
        )
    return pd.DataFrame(rows)
