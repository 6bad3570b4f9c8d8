"""How far a moderator formula grows, known before any of it is computed.

A short formula can ask for more than any machine has: ``(a + b + c + d)**15`` is a thousand million products of terms,
``C(study):C(weeks)`` a column for each pair. A formula may come from somebody else (a protocol file, a bundle).
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

import numpy as np
import pandas as pd

from metamiq.errors import DataError

_LONGEST = 10_000  # signs
_MOST_TERMS = 10_000  # before equal ones are joined
_MOST_CELLS = 50_000_000  # of a design matrix, which is held a few times over
_CURVES = frozenset(("bs", "cc", "cr", "cs", "poly"))


def check_terms(text: str) -> None:
    """Raise ValueError where writing out the terms of a formula would take for ever.

    Parameters
    ----------
    text : str
        The formula, in formulaic's syntax; none of it is written out here.

    Examples
    --------
    >>> check_terms("a*b*c + (a + b + c)**2")
    >>> check_terms("(a + b + c + d)**15")
    Traceback (most recent call last):
    ...
    ValueError: A moderator formula must come to at most 10,000 terms before equal ones are joined, but \
'(a + b + c + d)**15' comes to more. Write out the terms that are meant.
    """
    from formulaic.parser import DefaultFormulaParser

    if len(text) > _LONGEST:
        raise ValueError(f"A moderator formula must have at most {_LONGEST:,} signs, but this one has {len(text):,}.")
    if _n_terms(DefaultFormulaParser().get_ast(text)) > _MOST_TERMS:
        raise ValueError(
            f"A moderator formula must come to at most {_MOST_TERMS:,} terms before equal ones are joined, but "
            f"{_short(text)!r} comes to more. Write out the terms that are meant."
        )


def _n_terms(tree: Any) -> int:
    """How many terms a formula is written out to; any number above the most for what is too large."""
    waiting, counts = [(tree, False)], []
    while waiting:  # no recursion: a sum is as deep as it is long
        node, is_ready = waiting.pop()
        if not hasattr(node, "operator"):
            counts.append(1)
        elif not is_ready:
            waiting += [(node, True), *((part, False) for part in node.args)]
        else:
            parts = [counts.pop() for _ in node.args]  # the first argument's first: it was counted last
            counts.append(_written_out(str(node.operator), parts, node.args))
            if counts[-1] > _MOST_TERMS:
                return counts[-1]
    return counts[0]


def _written_out(sign: str, parts: list[int], args: Any) -> int:
    """Terms that an operation on arguments of so many terms comes to."""
    if sign in ("**", "^"):
        power = str(args[1])
        if not power.isdecimal():
            return 1  # formulaic says that this is no power
        return parts[0] ** int(power) if len(power) < 3 else _MOST_TERMS + 1
    return {"*": math.prod(parts) + sum(parts), ":": math.prod(parts)}.get(sign, sum(parts))


def check_columns(parsed: Any, part: pd.DataFrame, formula: str) -> None:
    """Raise DataError where a design matrix would have more columns than rows, or more cells than can be held.

    Parameters
    ----------
    parsed : formulaic.SimpleFormula
        What formulaic read, and `check_formula` has found harmless.
    part : DataFrame
        The rows that have every moderator.
    formula : str
        For the message.
    """
    factors = {str(factor.expr): factor for term in parsed for factor in term.factors}
    fewest = {expr: _fewest(expr, factor.eval_method, part) for expr, factor in factors.items()}
    columns = {str(term): math.prod(fewest[str(factor.expr)] for factor in term.factors) for term in parsed}
    n, rows = sum(columns.values()), len(part)
    if n <= rows and n * rows <= _MOST_CELLS:
        return
    widest = max(columns, key=columns.__getitem__)
    limit = "no more columns than rows" if n > rows else f"at most {_MOST_CELLS:,} cells"
    raise DataError(
        f"The design matrix of a formula must have {limit}, but {_short(formula)!r} needs at least {n:,} columns "
        f"({_short(widest)} alone {columns[widest]:,}) for the {rows:,} rows that have every moderator. Leave out an "
        "interaction, or a moderator of many values."
    )


def _fewest(expr: str, method: Any, part: pd.DataFrame) -> int:
    """Columns that one factor of a term makes, at least: one less than its levels, where it has levels."""
    kind = str(method).rpartition(".")[2].upper()
    if kind == "LITERAL":
        return 1
    if kind == "LOOKUP":
        return 1 if pd.api.types.is_numeric_dtype(part[expr]) else part[expr].nunique() - 1
    longer = "_" * (1 + max(len(str(name)) for name in part))  # than any name there is
    quoted = {name: f"{longer}{i}" for i, name in enumerate(re.findall(r"`([^`]*)`", expr))}
    for name, plain in quoted.items():
        expr = expr.replace(f"`{name}`", plain)
    part = part.rename(columns=quoted)
    tree = ast.parse(expr, mode="eval")
    calls = [x for x in ast.walk(tree) if isinstance(x, ast.Call) and isinstance(x.func, ast.Name)]
    if curves := [x for x in calls if _name(x.func) in _CURVES]:
        return max(2, *map(_size, curves)) - 1
    factors = [x for x in calls if _name(x.func) == "C"]
    names = [x.id for x in ast.walk(tree) if isinstance(x, ast.Name) and x.id in part]
    if not factors and all(pd.api.types.is_numeric_dtype(part[name]) for name in names):
        return 1
    for call in factors:  # how levels are coded, which can take as much as the design itself, is no matter here
        call.args, call.keywords = call.args[:1], [x for x in call.keywords if x.arg != "contrasts"]
    if factors and factors[0] is tree.body and not factors[0].keywords and _name(factors[0].args[0]) in part:
        return part[_name(factors[0].args[0])].nunique() - 1
    return _n_columns(ast.unparse(tree), part) - 1


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _size(curve: ast.Call) -> int:
    """The degrees of freedom or the degree of a spline or polynomial, whichever is larger."""
    given = [*curve.args[1:2], *curve.args[3:4], *(x.value for x in curve.keywords if x.arg in ("df", "degree"))]
    strange = [x for x in given if not isinstance(x, ast.Constant | ast.List)]
    if strange:
        raise ValueError(f"Degrees of freedom and degree must be whole numbers, not {ast.unparse(strange[0])!r}.")
    return max((x.value for x in given if isinstance(x, ast.Constant) and isinstance(x.value, int)), default=1)


def _n_columns(expr: str, part: pd.DataFrame) -> int:
    """Columns of an expression that is neither a column nor a number per row: a sparse matrix costs a cell a row."""
    import formulaic
    from formulaic.errors import FormulaicError

    try:
        with np.errstate(all="ignore"):
            found = formulaic.Formula(f"0 + {expr}").get_model_matrix(
                part, context={}, na_action="ignore", output="sparse"
            )
    except (FormulaicError, SyntaxError, TypeError, ValueError):
        return 2  # it cannot be computed, which is said when it is tried for the design
    return int(found.shape[1])


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
