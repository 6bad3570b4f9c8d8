"""What a moderator formula may compute: arithmetic and the functions of formulas, nothing that acts.

formulaic evaluates what stands in a formula as Python. A formula may come from somebody else (a protocol file, a
bundle), so that a call such as ``x.to_csv("file")`` must never be evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_FUNCTIONS = frozenset(
    ("C", "I", "bs", "cc", "center", "cr", "cs", "exp", "exp10", "exp2", "lag", "log", "log10", "log2", "poly", "scale")
)
_NUMPY = frozenset(
    ("abs", "arcsin", "arctanh", "cbrt", "cos", "exp", "expm1", "log", "log10", "log1p", "log2", "sign", "sin", "sqrt")
)
_CODINGS = frozenset(("SAS", "diff", "helmert", "poly", "sum", "treatment"))
_HIGHEST_POWER = 20
_NODES = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.Call, ast.keyword, ast.Attribute, ast.List, ast.Tuple),
    *(ast.UnaryOp, ast.USub, ast.UAdd, ast.Not, ast.Invert),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.BoolOp, ast.And, ast.Or, ast.BitAnd, ast.BitOr),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)


def check_formula(parsed: Any, formula: str) -> None:
    """Raise ValueError where a term of a parsed formula is more than arithmetic and known functions.

    Parameters
    ----------
    parsed : formulaic.SimpleFormula
        What formulaic read; nothing of it is evaluated here.
    formula : str
        For the message.
    """
    for term in parsed:
        for factor in term.factors:
            if str(factor.eval_method).rpartition(".")[2].upper() == "LOOKUP":
                continue
            for problem in _problems(str(factor.expr)):
                raise ValueError(
                    f"A moderator formula may hold columns, numbers, + - * / **, and functions such as "
                    f"{', '.join(sorted(_FUNCTIONS))} and np.sqrt, but {formula!r} has {problem}. Compute the column "
                    "beforehand and name it."
                )


def _problems(expression: str) -> Iterator[str]:
    if "`" in expression and any(sign in expression for sign in "'\"#\n\\"):
        # Which signs belong to a name in backticks could be read in two ways.
        yield f"{expression!r}, a name in backticks beside text in quotes"
        return
    try:
        tree = ast.parse(re.sub(r"`[^`]*`", "_name", expression), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield f"{expression!r}"
        return
    known = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_known(node.func)}
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            yield f"{expression!r}"
        elif (
            (isinstance(node, ast.Call) and id(node.func) not in known)
            or (isinstance(node, ast.Attribute) and id(node) not in known)
            or (isinstance(node, ast.BinOp) and _is_large(node))
        ):
            yield repr(ast.unparse(node))


def _is_known(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in _FUNCTIONS
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr in {"np": _NUMPY, "contr": _CODINGS}.get(function.value.id, frozenset())
    return False


def _is_large(node: ast.BinOp) -> bool:
    """Whether an operation could take for ever: powers of whole numbers, repeated lists."""
    if any(isinstance(x, ast.List | ast.Tuple) or _is_text(x) for x in (node.left, node.right)):
        return True
    if not isinstance(node.op, ast.Pow):
        return False
    power = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
    small = isinstance(power, ast.Constant) and isinstance(power.value, int | float) and power.value <= _HIGHEST_POWER
    return not small or not any(isinstance(x, ast.Name) for x in ast.walk(node.left))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, int | float)
