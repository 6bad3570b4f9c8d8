"""Checks of arguments that many functions take: numbers, a coverage, a number of repetitions, a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamiq.errors import DataError

_NEAREST_ONE = 1 - 1e-12  # closer, quantiles lose their digits, or are infinite


def check_level(level: float) -> None:
    """Raise ValueError when a coverage is not a number between 0 and 1, or lies so near 1 that nothing is excluded.

    Examples
    --------
    >>> check_level(95)
    Traceback (most recent call last):
    ValueError: level must lie between 0 and 1, not 95. Write 0.95 for 95%.
    """
    if not isinstance(level, (float, int, np.number)) or not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}. Write 0.95 for 95%.")
    if level > _NEAREST_ONE:
        raise ValueError(f"level must be at most {_NEAREST_ONE!r}, not {float(level)!r}. Write 0.95 for 95%.")


def check_whole(name: str, value: object, least: int) -> None:
    """Raise ValueError when an argument is not a whole number, or is below `least`.

    Examples
    --------
    >>> check_whole("n", 2.5, least=1)
    Traceback (most recent call last):
    ValueError: n must be a whole number, not 2.5.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}.")


def check_finite(name: str, *values: object) -> None:
    """Raise ValueError when an argument is not a finite number.

    Examples
    --------
    >>> check_finite("value", float("nan"))
    Traceback (most recent call last):
    ValueError: value must be a finite number, not nan.
    """
    for value in values:
        if not isinstance(value, (float, int, np.number)) or not np.isfinite(value):
            raise ValueError(f"{name} must be a finite number, not {value!r}.")


_FAR = 1e6  # times


def check_comparable(name: str, value: float, among: ArrayLike) -> None:
    """Raise ValueError when a number is not finite, or so far from all it is compared with that they look the same.

    Examples
    --------
    >>> check_comparable("value", 0.59, [0.1, 0.9])
    >>> check_comparable("value", 1e308, [0.1, 0.9])
    Traceback (most recent call last):
    ValueError: value must be comparable with the estimates, which lie between 0.1 and 0.9, not 1e+308.
    """
    check_finite(name, value)
    known = np.asarray(among, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) and abs(value) > _FAR * max(1.0, float(np.abs(known).max())):
        raise ValueError(
            f"{name} must be comparable with the estimates, which lie between {known.min():.6g} and "
            f"{known.max():.6g}, not {value:.6g}."
        )


def generator(seed: int | None) -> np.random.Generator:
    """Random numbers that the same seed repeats; None draws a seed.

    Examples
    --------
    >>> generator(-1)
    Traceback (most recent call last):
    ValueError: seed must be at least 0, not -1.
    """
    if seed is not None:
        check_whole("seed", seed, least=0)
    return np.random.default_rng(seed)


_NOT_NUMBERS = {"b": "truth values", "c": "complex numbers", "M": "dates", "m": "durations"}


def numbers(values: ArrayLike, name: str, what: str = "numbers") -> NDArray[np.float64]:
    """Values as float64, NaN where one is missing; numbers written as text count as numbers.

    Raises
    ------
    DataError
        If they are text, dates, truth values or complex numbers.

    Examples
    --------
    >>> numbers(pd.array([1, None], dtype="Int64"), "n1i")
    array([ 1., nan])
    """
    try:
        given = pd.Series(values) if isinstance(values, pd.api.extensions.ExtensionArray) else values
        column = given if isinstance(given, pd.Series) else np.asarray(given)
        check_kind(column.dtype.kind, name, what)
        if isinstance(column, pd.Series):
            return column.to_numpy(dtype=float, na_value=np.nan)
        return column.astype(float)
    except DataError:
        raise
    except OverflowError as error:
        raise DataError(f"{name} must hold {what} of ordinary size, but one is too large to be read.") from error
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} must hold {what}, but it holds text. Read the table with metamiq.read_table."
        ) from error


def check_kind(kind: str, name: str, what: str = "numbers") -> None:
    """Raise DataError when a column's kind (numpy's letter) has numbers only by accident."""
    if kind in _NOT_NUMBERS:
        raise DataError(f"{name} must hold {what}, but it holds {_NOT_NUMBERS[kind]}.")


def check_distinct(table: pd.DataFrame) -> None:
    """Raise DataError when two columns have one name: which of them is meant cannot be told."""
    if not table.columns.is_unique:
        twice = sorted({str(c) for c in table.columns[table.columns.duplicated()]})
        raise DataError(
            f"Column names must differ, but {', '.join(twice)} stands there more than once. Drop all but one."
        )


def check_table(value: object, what: str) -> None:
    """Raise ValueError when something else than a DataFrame is given where a table is needed.

    Examples
    --------
    >>> check_table(None, "A sweep")
    Traceback (most recent call last):
    ValueError: A sweep needs a table (DataFrame), not a NoneType. Of a fit take .effects, of a dataset .trials.
    """
    if not isinstance(value, pd.DataFrame):
        raise ValueError(
            f"{what} needs a table (DataFrame), not a {type(value).__name__}. Of a fit take .effects, of a dataset "
            ".trials."
        )
