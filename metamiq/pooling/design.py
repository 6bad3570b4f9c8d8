"""From a moderator formula to a design matrix, with the coding in plain sight."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamiq.errors import DataError
from metamiq.pooling.wls import Array

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
    spec: ModelSpec = field(repr=False)

    @property
    def has_intercept(self) -> bool:
        """Whether a column of ones is among the columns."""
        return "Intercept" in self.names

    def new_rows(self, frame: pd.DataFrame) -> Array:
        """The design of other rows, coded as the original ones; NaN where a moderator is missing."""
        needed = _variables(self.spec.formula)
        _check_variables(needed, frame, self.formula)
        whole = frame[needed].notna().all(axis=1).to_numpy() if needed else np.ones(len(frame), dtype=bool)
        out = np.full((len(frame), len(self.names)), np.nan)
        part = frame.loc[whole]
        if len(part):
            _check_levels(self, part)
            if needed:
                out[whole] = np.asarray(self.spec.get_model_matrix(part, context={}), dtype=float)
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
        (the columns must be linearly independent).

    Examples
    --------
    >>> frame = pd.DataFrame({"disorder": ["GAD", "OCD", "GAD", "OCD"], "sessions": [4, 3, None, 1]})
    >>> d = design_matrix("disorder + sessions", frame)
    >>> d.names, d.rows.tolist(), d.omitted.tolist(), d.reference_levels
    (('Intercept', 'disorder[T.OCD]', 'sessions'), [0, 1, 3], [2], {'disorder': 'GAD'})
    """
    import formulaic
    from formulaic.errors import FormulaicError

    text = formula.strip().removeprefix("~").strip() or "1"
    if "~" in text:
        raise ValueError(
            f"A moderator formula has no left-hand side, but {formula!r} has one. Write what stands after ~."
        )
    try:
        parsed = formulaic.Formula(text)
        needed = _variables(parsed)
        _check_variables(needed, frame, formula)
        whole = frame[needed].notna().all(axis=1).to_numpy() if needed else np.ones(len(frame), dtype=bool)
        if not whole.any():
            raise DataError(f"At least one row must have every moderator of {formula!r}, but none has.")
        if needed:
            part = _plain_types(frame.loc[whole], needed)
            matrix = parsed.get_model_matrix(part, context={})
            spec = matrix.model_spec
            x, names = np.asarray(matrix, dtype=float), tuple(map(str, matrix.columns))
        else:
            matrix = parsed.get_model_matrix(pd.DataFrame({"_": np.ones(len(frame))}), context={})
            spec = matrix.model_spec
            x, names = np.ones((len(frame), 1)), ("Intercept",)
    except FormulaicError as error:
        raise ValueError(f"The formula {formula!r} could not be read: {error}") from error
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
        spec=spec,
    )
    _check_rank(design)
    return design


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
        column = frame[name]
        if pd.api.types.is_bool_dtype(column):
            column = column.astype(float)
        elif pd.api.types.is_numeric_dtype(column):
            column = column.astype(float)
            if not np.isfinite(column).all():
                raise DataError(f"{name} must be finite where it is given, but it holds an infinity.")
        out[name] = column
    return pd.DataFrame(out)


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
    scale = np.sqrt((design.X**2).sum(axis=0))
    if (scale == 0).any() or np.linalg.matrix_rank(design.X / np.where(scale > 0, scale, 1)) < len(design.names):
        k, p = design.X.shape
        raise DataError(
            f"The {p} columns of {design.formula!r} ({', '.join(design.names)}) must be linearly independent over the "
            f"{k} rows that have every moderator, but they are not. A moderator may not vary, or repeat another, or "
            "there are more columns than rows; leave one out."
        )
