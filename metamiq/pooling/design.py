"""From a moderator formula to a design matrix, with the coding in plain sight."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.errors import DataError
from metamiq.pooling.formula_check import check_formula
from metamiq.pooling.formula_size import check_columns, check_terms
from metamiq.pooling.tables import LARGEST, SMALLEST, Array

if TYPE_CHECKING:
    from formulaic import ModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """A design matrix, the rows of the table it covers, and how to build it again for new rows."""

    X: Array  # (k, p)
    names: tuple[str, ...]  # one per column, as formulaic writes them: "disorder[T.OCD]"
    terms: dict[str, tuple[int, ...]]  # columns of each term of the formula, the intercept left out
    rows: NDArray[np.intp]  # positions in the table that have every moderator
    omitted: NDArray[np.intp]  # positions left out because a moderator is missing
    formula: str
    reference_levels: dict[str, str]  # the level of each factor that the others are compared with
    numeric: frozenset[str]  # columns of the table that entered as numbers
    spec: ModelSpec = field(repr=False)

    @property
    def has_intercept(self) -> bool:
        """Whether a column of ones is among the columns."""
        return "Intercept" in self.names

    def new_rows(self, frame: pd.DataFrame) -> Array:
        """The design of other rows, coded as the original ones; NaN where a moderator is missing."""
        from formulaic.errors import FormulaicError

        if not isinstance(frame, pd.DataFrame):
            raise ValueError(f"New rows must be a DataFrame with the moderators, not {type(frame).__name__}.")
        needed = _variables(self.spec.formula)
        _check_variables(needed, frame, self.formula)
        whole = frame[needed].notna().all(axis=1).to_numpy() if needed else np.ones(len(frame), dtype=bool)
        out = np.full((len(frame), len(self.names)), np.nan)
        part = frame.loc[whole]
        if len(part):
            _check_levels(self, part)
            if needed:
                coded = _plain_types(part, needed)
                _check_numeric(self.numeric, coded)
                try:
                    with np.errstate(all="ignore"):
                        matrix = self.spec.get_model_matrix(coded, context={}, na_action="ignore")
                except FormulaicError as error:  # a spline beyond its data, say
                    raise _unreadable(self.formula, error, "applied to the new rows") from error
                values = np.asarray(matrix, dtype=float)
                _check_size(values, self.names, self.formula)
                out[whole] = values
            else:
                out[whole] = 1.0
        return out


def _check_variables(needed: list[str], frame: pd.DataFrame, formula: str) -> None:
    missing = sorted(set(needed) - set(map(str, frame.columns)))
    if missing:
        raise DataError(
            f"Every moderator of {formula!r} must be a column of the table, but {', '.join(missing)} is not among "
            f"{', '.join(sorted(map(str, frame.columns)))}."
        )


def _check_levels(design: Design, frame: pd.DataFrame) -> None:
    for name, state in design.spec.encoder_state.items():
        levels = state[1].get("categories")
        if levels is None or name not in frame:
            continue
        unknown = sorted(set(map(str, frame[name])) - set(map(str, levels)))
        if unknown:
            raise DataError(
                f"{name} must be one of {', '.join(map(str, levels))}, as in the fitted data, but new rows have "
                f"{', '.join(unknown)}."
            )


def design_matrix(formula: str, frame: pd.DataFrame) -> Design:
    """Code the moderators of `formula` (formulaic syntax, right-hand side only) for the rows of `frame`.

    Text columns become treatment-coded factors whose reference is the first level in sorted order;
    ``C(x, contr.treatment("level"))`` chooses another one. Numeric columns enter as they are; ``a:b`` and ``a*b`` are
    interactions, ``bs(x, df=4)`` and ``cr(x, df=4)`` splines, ``0 +`` drops the intercept.

    Raises
    ------
    DataError
        If a moderator is not a column, is missing in every row, does not vary, or repeats what others say
        (the columns must be linearly independent, and no more than rows).
    ValueError
        If the formula cannot be read, comes to too many terms, or calls something else than the functions of formulas.

    Examples
    --------
    >>> frame = pd.DataFrame({"disorder": ["GAD", "OCD", "GAD", "OCD"], "sessions": [4, 3, None, 1]})
    >>> d = design_matrix("disorder + sessions", frame)
    >>> d.names, d.rows.tolist(), d.omitted.tolist(), d.reference_levels
    (('Intercept', 'disorder[T.OCD]', 'sessions'), [0, 1, 3], [2], {'disorder': 'GAD'})
    """
    import formulaic
    from formulaic.errors import FormulaicError

    if not isinstance(formula, str):
        raise ValueError(f"A moderator formula must be text such as 'disorder + mi_sessions', not {formula!r}.")
    text = formula.strip().removeprefix("~").strip() or "1"
    if "~" in text:
        raise ValueError(
            f"A moderator formula has no left-hand side, but {formula!r} has one. Write what stands after ~."
        )
    try:
        check_terms(text)
        parsed = formulaic.Formula(text)
    except (FormulaicError, SyntaxError) as error:
        raise _unreadable(formula, error) from error
    if not isinstance(parsed, formulaic.SimpleFormula) or not len(parsed):
        raise ValueError(f"A moderator formula must have one part with at least one term, but {formula!r} has not.")
    check_formula(parsed, formula)
    needed = _variables(parsed)
    _check_variables(needed, frame, formula)
    if "yi" in needed:
        raise DataError(f"A moderator must be something other than the effect, but {formula!r} has yi. Leave it out.")
    whole = frame[needed].notna().all(axis=1).to_numpy() if needed else np.ones(len(frame), dtype=bool)
    if not whole.any():
        raise DataError(f"At least one row must have every moderator of {formula!r}, but none has.")
    part = _plain_types(frame.loc[whole], needed) if needed else pd.DataFrame({"_": np.ones(len(frame))})
    _check_no_numbers_as_text(parsed, part)
    check_columns(parsed, part, formula)
    try:
        with np.errstate(all="ignore"):  # log(0), say: said below
            matrix = parsed.get_model_matrix(part, context={}, na_action="ignore")
    except (FormulaicError, SyntaxError, TypeError, ValueError) as error:
        raise _unreadable(formula, error) from error
    spec = matrix.model_spec
    x, names = np.asarray(matrix, dtype=float), tuple(map(str, matrix.columns))
    _check_size(x, names, formula)
    terms = {str(term): tuple(range(s.start, s.stop)) for term, s in spec.term_slices.items() if str(term) != "1"}
    still = sorted(term for term, columns in terms.items() if not columns)
    if still:
        raise DataError(
            f"{', '.join(still)} must vary over the {int(whole.sum())} rows that have every moderator of {formula!r}, "
            "but it has one value only. Leave it out."
        )
    design = Design(
        X=x,
        names=names,
        terms=terms,
        rows=np.flatnonzero(whole),
        omitted=np.flatnonzero(~whole),
        formula=text,
        reference_levels=_references(spec, names),
        numeric=frozenset(name for name in needed if pd.api.types.is_numeric_dtype(part[name])),
        spec=spec,
    )
    _check_rank(design)
    return design


def _check_numeric(numeric: frozenset[str], coded: pd.DataFrame) -> None:
    text = sorted(name for name in numeric if not pd.api.types.is_numeric_dtype(coded[name]))
    if text:
        # formulaic would take them for factors, and remember that for all rows to come.
        raise DataError(f"{', '.join(text)} must hold numbers, as in the fitted data, but new rows have text.")


def _unreadable(formula: str, error: Exception, done: str = "read") -> ValueError:
    # The first line says what is wrong; formulaic's others show where in terminal colours.
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return ValueError(f"The formula {formula!r} could not be {done}: {said}")


def _check_size(x: Array, names: tuple[str, ...], formula: str) -> None:
    size = np.abs(x).max(axis=0)
    bad = [name for name, s in zip(names, size, strict=True) if not (s == 0 or SMALLEST <= s <= LARGEST)]
    if bad:
        raise DataError(
            f"Every column of {formula!r} must be finite, and between {SMALLEST:g} and {LARGEST:g} in size, but "
            f"{', '.join(bad)} is not. Correct the moderator, or express it in another unit."
        )


def _variables(formula: Any) -> list[str]:
    """Columns that a formula reads, sorted; formulaic's own list misses those inside its splines and centring."""
    found = set(map(str, formula.required_variables))
    for term in formula:
        for factor in term.factors:
            try:
                tree = ast.parse(str(factor.expr), mode="eval")
            except SyntaxError:  # a name in backticks, which formulaic does list
                continue
            called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
            owners = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            found |= {
                n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called and id(n) not in owners
            }
    return sorted(found)


def _plain_types(frame: pd.DataFrame, needed: list[str]) -> pd.DataFrame:
    # Booleans are factors with two levels to a reader, and 0 / 1 to a regression; the second is shorter.
    out = {}
    for name in needed:
        column = frame[name].infer_objects()  # numbers that stood beside an empty cell are still numbers
        if pd.api.types.is_numeric_dtype(column):
            column = column.astype(float)
            if not np.isfinite(column).all():
                raise DataError(f"{name} must be finite where it is given, but it holds an infinity.")
        elif isinstance(column.dtype, pd.CategoricalDtype):
            column = column.cat.remove_unused_categories()
        else:
            column = column.astype(object)
            strange = sorted({type(x).__name__ for x in column if not isinstance(x, (str, bool, int, float))})
            if strange:
                raise DataError(
                    f"{name} must hold numbers or text to be a moderator, but it holds {', '.join(strange)}. Turn it "
                    "into one of them."
                )
        out[name] = column
    return pd.DataFrame(out)


def _check_no_numbers_as_text(formula: Any, part: pd.DataFrame) -> None:
    """Refuse numbers that became text: as names of groups, which nobody said they are, they make another model."""
    for name in sorted({str(factor.expr) for term in formula for factor in term.factors} & set(part.columns)):
        text = list(part[name]) if part[name].dtype == object else []
        if not text or not all(isinstance(x, str) for x in text):
            continue
        if pd.to_numeric(pd.Series(text), errors="coerce").notna().all():
            raise DataError(
                f"{name} must hold numbers, or names of groups, but it holds numbers written as text ({text[0]!r} and "
                f"others). Turn them into numbers (pd.to_numeric), or write C({name}) if they name groups."
            )


def _references(spec: Any, names: tuple[str, ...]) -> dict[str, str]:
    references = {}
    for name, state in spec.encoder_state.items():
        levels = state[1].get("categories")
        if levels is None:
            continue
        coded = [level for level in map(str, levels) if any(f"T.{level}]" in n for n in names)]
        left = [level for level in map(str, levels) if level not in coded]
        if coded and len(left) == 1:
            references[str(name)] = left[0]
    return references


def _check_rank(design: Design) -> None:
    scale = np.abs(design.X).max(axis=0)
    if (scale == 0).any() or np.linalg.matrix_rank(design.X / np.where(scale > 0, scale, 1)) < len(design.names):
        k, p = design.X.shape
        named = ", ".join(design.names[:20]) + (", ..." if p > 20 else "")
        raise DataError(
            f"The {p} columns of {design.formula!r} ({named}) must be linearly independent over the "
            f"{k} rows that have every moderator, but they are not. A moderator may not vary, or repeat another, or "
            "there are more columns than rows; leave one out."
        )
