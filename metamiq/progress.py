"""Progress on standard error for work that takes a while; silent for the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 2.0  # seconds before anything is shown


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items`, showing a bar on a terminal's standard error once they have taken over two seconds.

    Parameters
    ----------
    items : iterable
        Pieces of work.
    total : int
        How many there are.
    what : str
        What is being done, in a few words.

    Examples
    --------
    >>> sum(track([1, 2, 3], 3, "adding"))
    6
    """
    start = time.monotonic()
    bar = None
    task = None
    try:
        for done, item in enumerate(items):
            yield item
            # There is no standard error in a program without a console, or where it was closed.
            if bar is None and sys.stderr is not None and sys.stderr.isatty() and time.monotonic() - start > PATIENCE:
                from rich.console import Console
                from rich.progress import Progress

                bar = Progress(console=Console(stderr=True), transient=True)
                task = bar.add_task(what, total=total)
                bar.start()
            if bar is not None and task is not None:
                bar.update(task, completed=done + 1)
    finally:
        if bar is not None:
            bar.stop()
