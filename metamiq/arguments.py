"""Checks of arguments that many functions take: a coverage, a number of repetitions, a seed."""

from __future__ import annotations

import numpy as np


def check_level(level: float) -> None:
    """Raise ValueError when a coverage is not a number between 0 and 1.

    Examples
    --------
    >>> check_level(95)
    Traceback (most recent call last):
    ValueError: level must lie between 0 and 1, not 95. Write 0.95 for 95%.
    """
    if not isinstance(level, (float, int, np.number)) or not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}. Write 0.95 for 95%.")


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
