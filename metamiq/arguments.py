"""Checks of arguments that many functions take: numbers, a choice, a coverage, a number of repetitions, a seed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

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


_ALSO_CALLED = {
    "hksj": "knha", "hk": "knha", "hartung-knapp": "knha", "knapp-hartung": "knha", "normal": "z", "wald": "z",
    "fixed": "FE", "common": "FE", "ce": "FE", "dersimonian-laird": "DL", "random": "REML",
    "g": "SMD", "d": "SMD", "hedges g": "SMD", "hedges' g": "SMD", "cohen's d": "SMD", "wmd": "MD", "lnrr": "ROM",
    "odds ratio": "OR", "risk ratio": "RR", "relative risk": "RR", "risk difference": "RD", "r": "COR", "z": "ZCOR",
    "correlation": "COR", "fisher's z": "ZCOR", "proportion": "PR",
}  # fmt: skip


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ValueError when a choice is not in the list, naming the list, and the one that was probably meant.

    Examples
    --------
    >>> one_of("test", "hksj", ("z", "t", "knha"))
    Traceback (most recent call last):
    ValueError: test must be one of 'knha', 't', 'z', not 'hksj'. Did you mean 'knha'?
    """
    known = sorted(allowed)
    if value in known:
        return
    meant = str(value).strip().casefold()
    near = [x for x in known if x.casefold() == meant or x == _ALSO_CALLED.get(meant)]
    near = near or [x for x in known if x.casefold() in difflib.get_close_matches(meant, map(str.casefold, known), 1)]
    guess = f" Did you mean {near[0]!r}?" if near and meant else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}.{guess}")


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
    """Values as float64, NaN where one is missing or masked; numbers written as text count as numbers.

    Raises
    ------
    DataError
        If they are text, dates, truth values or complex numbers.

    Examples
    --------
    >>> numbers(pd.array([1, None], dtype="Int64"), "n1i")
    array([ 1., nan])
    """
    if isinstance(values, Iterator):
        raise DataError(f"{name} must be a list, an array or a column, not a {type(values).__name__}.")
    try:
        given = pd.Series(values) if isinstance(values, pd.api.extensions.ExtensionArray) else values
        if isinstance(given, np.ma.MaskedArray):
            check_kind(given.dtype.kind, name, what)
            given = np.ma.filled(given.astype(float), np.nan)
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


def check_same_rows(**values: object) -> None:
    """Raise DataError when Series that are to be paired row by row have different indexes.

    Examples
    --------
    >>> check_same_rows(yi=pd.Series([0.1, 0.2]), vi=pd.Series([0.01, 0.02], index=[1, 0]))
    Traceback (most recent call last):
    metamiq.errors.DataError: yi and vi must have the same index, for values are paired row by row, but it differs. \
Put them into one table, or take .to_numpy() of each if their order is right.
    """
    series = [(name, value) for name, value in values.items() if isinstance(value, pd.Series)]
    for name, value in series[1:]:
        if len(value) == len(series[0][1]) and not value.index.equals(series[0][1].index):
            raise DataError(
                f"{series[0][0]} and {name} must have the same index, for values are paired row by row, but it "
                "differs. Put them into one table, or take .to_numpy() of each if their order is right."
            )


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
