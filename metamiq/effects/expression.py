"""A formula written once: evaluated, printed with its symbols, printed with its numbers, as text and as LaTeX.

What a reader sees is the expression that was computed, so that the two cannot part.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from metamiq.effects.correction import small_sample_correction
from metamiq.tails import critical_value

Values = Mapping[str, Any]

#: How a name is written, when it is not its letters with the digits as an index: text, LaTeX.
SYMBOLS: dict[str, tuple[str, str]] = {
    "C": ("C", "C"),
    "I2": ("I²", "I^2"),
    "R2": ("R²", "R^2"),
    "S2": ("s²", "s^2"),
    "ci_high": ("upper", r"\mathrm{upper}"),
    "ci_level": ("level", r"\mathrm{level}"),
    "ci_low": ("lower", r"\mathrm{lower}"),
    "df": ("df", r"\mathit{df}"),
    "ei": ("eᵢ", "e_i"),
    "ends_high": ("upperᵢ", r"\mathrm{upper}_i"),
    "ends_low": ("lowerᵢ", r"\mathrm{lower}_i"),
    "hi": ("hᵢ", "h_i"),
    "logOR": ("ln OR", r"\ln\mathrm{OR}"),
    "logRR": ("ln RR", r"\ln\mathrm{RR}"),
    "logL": ("ln L", r"\ln L"),
    "mu": ("μ", r"\mu"),
    "odds_ratio": ("OR", r"\mathrm{OR}"),
    "pi": ("π", r"\pi"),
    "pi_high": ("upper PI", r"\mathrm{upper\ PI}"),
    "pi_low": ("lower PI", r"\mathrm{lower\ PI}"),
    "s2typ": ("s²", "s^2"),
    "scale2": ("q", "q"),
    "si": ("sᵢ", "s_i"),
    "sp": ("SDₚ", r"\mathrm{SD}_p"),
    "Vq": ("V'", "V'"),
    "ai": ("aᵢ", "a_i"),
    "mx": ("x̄", r"\bar{x}"),
    "my": ("ȳ", r"\bar{y}"),
    "ui": ("uᵢ", "u_i"),
    "Jnu": ("J(ν)", r"J(\nu)"),
    "nu": ("ν", r"\nu"),
    "sp_pre": ("SDₚ,pre", r"\mathrm{SD}_{p,\mathrm{pre}}"),
    "sp_post": ("SDₚ,post", r"\mathrm{SD}_{p,\mathrm{post}}"),
    "tau2": ("τ²", r"\tau^2"),
    "tcrit": ("t*", "t^*"),
    "vi": ("vᵢ", "v_i"),
    "wi": ("wᵢ", "w_i"),
    "xi": ("xᵢ", "x_i"),
    "yi": ("yᵢ", "y_i"),
    "zcrit": ("z*", "z^*"),
}
_WORDS = {"m": "M", "sd": "SD", "se": "SE", "ci": "CI", "or": "OR", "rr": "RR", "md": "MD", "med": "median"}
_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_HIGH = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class _Function(NamedTuple):
    evaluate: Callable[..., Any]
    text: str  # with {0}, {1} for the arguments
    latex: str


_FUNCTIONS: dict[str, _Function] = {
    "sqrt": _Function(np.sqrt, "√({0})", r"\sqrt{{{0}}}"),
    "log": _Function(np.log, "ln({0})", r"\ln\left({0}\right)"),
    "exp": _Function(np.exp, "exp({0})", r"\exp\left({0}\right)"),
    "abs": _Function(np.abs, "|{0}|", r"\left|{0}\right|"),
    "arcsin": _Function(np.arcsin, "arcsin({0})", r"\arcsin\left({0}\right)"),
    "arctanh": _Function(np.arctanh, "artanh({0})", r"\operatorname{{artanh}}\left({0}\right)"),
    "sum": _Function(np.sum, "Σ({0})", r"\sum_i {0}"),
    "mean": _Function(np.mean, "mean({0})", r"\operatorname{{mean}}\left({0}\right)"),
    "maximum": _Function(np.maximum, "max({0}, {1})", r"\max\left({0}, {1}\right)"),
    "gamma": _Function(special.gamma, "Γ({0})", r"\Gamma\left({0}\right)"),
    "J": _Function(small_sample_correction, "J({0})", r"J\left({0}\right)"),
    "Phi": _Function(special.ndtr, "Φ({0})", r"\Phi\left({0}\right)"),
    "zquantile": _Function(special.ndtri, "Φ⁻¹({0})", r"\Phi^{{-1}}\left({0}\right)"),
    # The tail that leaves `level` in the middle, so that it is the quantile that the engine takes.
    "zcritical": _Function(critical_value, "z((1 + {0})/2)", r"z_{{(1 + {0})/2}}"),
    "tcritical": _Function(critical_value, "t((1 + {0})/2; {1})", r"t_{{(1 + {0})/2;\,{1}}}"),
    "tupper": _Function(lambda p, df: -special.stdtrit(df, p), "t(1 − {0}; {1})", r"t_{{1 - {0};\,{1}}}"),
}
_CONSTANTS = {"pi": np.pi}

_SUM, _PRODUCT, _NEGATIVE, _POWER, _ATOM = range(5)
_OPERATORS: dict[type[ast.operator], tuple[int, str, str]] = {
    ast.Add: (_SUM, " + ", " + "),
    ast.Sub: (_SUM, " − ", " - "),
    ast.Mult: (_PRODUCT, "·", r" \cdot "),
    ast.Div: (_PRODUCT, "/", ""),
}


def symbol(name: str, latex: bool = False) -> str:
    r"""Write a name as a reader of papers knows it.

    Examples
    --------
    >>> symbol("sd1"), symbol("tau2"), symbol("n1", latex=True), symbol("m1_post")
    ('SD₁', 'τ²', 'n_{1}', 'M₁,post')
    """
    if name in SYMBOLS:
        return SYMBOLS[name][1 if latex else 0]
    head, _, tail = name.partition("_")
    found = re.fullmatch(r"([A-Za-z]+?)(\d*)", head)
    letters, digits = found.groups() if found else (head, "")
    letters = _WORDS.get(letters, letters)
    if latex:
        base = letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"
        index = ",".join(part for part in (digits, rf"\mathrm{{{tail}}}" if tail else "") if part)
        return f"{base}_{{{index}}}" if index else base
    index = digits.translate(_LOW)
    return f"{letters}{index},{tail}" if tail and index else f"{letters}{index}" + (f",{tail}" if tail else "")


def number(value: float, latex: bool = False, digits: int = 6) -> str:
    """Write a number with at most six significant digits, a true minus sign and no trailing zeros.

    Examples
    --------
    >>> number(-0.35516964), number(1.0), number(1.5e-9)
    ('−0.35517', '1', '1.5·10⁻⁹')
    """
    if not np.isfinite(value):
        infinite = r"\infty" if latex else "∞"
        return "NaN" if np.isnan(value) else (("-" if latex else "−") if value < 0 else "") + infinite
    text = f"{float(value):.{digits}g}"
    mantissa, _, power = text.partition("e")
    if power:
        exponent = str(int(power))
        text = rf"{mantissa} \cdot 10^{{{exponent}}}" if latex else f"{mantissa}·10{exponent.translate(_HIGH)}"
    return text if latex else text.replace("-", "−", 1) if text.startswith("-") else text


@lru_cache(maxsize=1024)
def _parse(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


class Expression:
    """One formula in Python's notation: numbers, names, + - * / **, and the functions of this module.

    Examples
    --------
    >>> pooled = Expression("sqrt(((n1 - 1)*sd1**2 + (n2 - 1)*sd2**2)/df)")
    >>> values = {"n1": 8, "n2": 8, "sd1": 9.66, "sd2": 6.01, "df": 14}
    >>> print(pooled.text())
    √(((n₁ − 1)·SD₁² + (n₂ − 1)·SD₂²)/df)
    >>> print(pooled.text(values))
    √(((8 − 1)·9.66² + (8 − 1)·6.01²)/14)
    >>> print(f"{pooled.value(values):.4f}")
    8.0447
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self._tree = _parse(formula)

    def names(self) -> tuple[str, ...]:
        """Names that need a value, in order of appearance."""
        called = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        found = [n for n in ast.walk(self._tree) if isinstance(n, ast.Name) and id(n) not in called]
        found.sort(key=lambda n: n.col_offset)
        return tuple(dict.fromkeys(n.id for n in found if n.id not in _CONSTANTS))

    def value(self, values: Values) -> Any:
        """The number (or the array, when a value is one)."""
        return _evaluate(self._tree, values)

    def text(self, values: Values | None = None) -> str:
        """The formula in Unicode: with symbols, or with the numbers put in. A sum is put in as its total."""
        return _write(self._tree, values, latex=False)[0]

    def latex(self, values: Values | None = None) -> str:
        """The same as LaTeX, without the dollar signs."""
        return _write(self._tree, values, latex=True)[0]


def _evaluate(node: ast.expr, values: Values) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return _CONSTANTS[name] if name in _CONSTANTS else values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, values), _evaluate(right, values)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return np.divide(a, b)
                case ast.Pow():
                    return a**b
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name].evaluate(*(_evaluate(arg, values) for arg in args))
    raise ValueError(f"A formula may not contain {ast.unparse(node)!r}.")


def _brackets(text: str, latex: bool) -> str:
    return rf"\left({text}\right)" if latex else f"({text})"


def _write(node: ast.expr, values: Values | None, latex: bool) -> tuple[str, int]:
    """The text of a node and how tightly it binds."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return number(value, latex), _ATOM
        case ast.Name(id=name):
            if values is None or name in _CONSTANTS:
                return symbol(name, latex), _ATOM
            shown = number(float(values[name]), latex, digits=7)
            return shown, _NEGATIVE if shown[:1] in "-−" else _PRODUCT if "10" in shown and "·" in shown else _ATOM
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner, binds = _write(operand, values, latex)
            return ("-" if latex else "−") + (_brackets(inner, latex) if binds <= _NEGATIVE else inner), _NEGATIVE
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            inner, binds = _write(base, values, latex)
            inner = _brackets(inner, latex) if binds < _ATOM or inner[-1:] == "²" else inner
            upper = _write(exponent, values, latex)[0]
            if latex:
                return f"{inner}^{{{upper}}}", _POWER
            return inner + (upper.translate(_HIGH) if upper.isdigit() else f"^{upper}"), _POWER
        case ast.BinOp(left=left, op=op, right=right):
            return _write_binary(left, op, right, values, latex)
        case ast.Call(func=ast.Name(id=name), args=args):
            if name in ("sum", "mean") and values is not None:
                shown = number(float(_evaluate(node, values)), latex, digits=7)
                return shown, _NEGATIVE if shown[:1] in "-−" else _ATOM
            if name == "sum" and not latex and isinstance(args[0], ast.Name):
                return f"Σ{_write(args[0], None, latex)[0]}", _ATOM
            return getattr(_FUNCTIONS[name], "latex" if latex else "text").format(
                *(_write(arg, values, latex)[0] for arg in args)
            ), _ATOM
    raise ValueError(f"A formula may not contain {ast.unparse(node)!r}.")


def _write_binary(
    left: ast.expr, op: ast.operator, right: ast.expr, values: Values | None, latex: bool
) -> tuple[str, int]:
    level, sign, latex_sign = _OPERATORS[type(op)]
    (a, a_binds), (b, b_binds) = _write(left, values, latex), _write(right, values, latex)
    if latex and isinstance(op, ast.Div):
        return rf"\frac{{{a}}}{{{b}}}", _ATOM
    if a_binds < level or (a_binds == _NEGATIVE and level == _PRODUCT):
        a = _brackets(a, latex)
    needs = b_binds < level or b_binds == _NEGATIVE
    if needs or (b_binds == level and isinstance(op, (ast.Sub, ast.Div))):
        b = _brackets(b, latex)
    return a + (latex_sign if latex else sign) + b, level
