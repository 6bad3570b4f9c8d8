"""Independent tasks on one process or many: on this machine, or through joblib on a Dask or Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from metamiq.progress import track

T = TypeVar("T")


def run(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], n_jobs: int, what: str) -> list[T]:
    """Results of ``function(*task)`` in the order of the tasks, whoever does them.

    Parameters
    ----------
    function : callable
        Picklable, and a function of its arguments alone.
    tasks : sequence of tuple
        Cut the same way whatever the number of workers, so that the results are the same bits.
    n_jobs : int
        Workers, through joblib (extra `parallel`): -1 for all cores. When it is 1, the backend and the number of
        workers of an active ``joblib.parallel_config`` are used.
    what : str
        What is being done, for the progress bar.

    Raises
    ------
    ImportError
        If more than one worker is asked for and joblib is not installed.

    Examples
    --------
    >>> run(divmod, [(17, 5), (9, 3)], 1, "dividing")
    [(3, 2), (3, 0)]
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise ValueError(f"n_jobs must be a whole number of workers, or -1 for all cores, not {n_jobs!r}.")
    workers: int | None = n_jobs
    if n_jobs == 1:
        # Whoever has set up a parallel_config has imported joblib.
        joblib = sys.modules.get("joblib")
        if joblib is None or joblib.effective_n_jobs(None) == 1:
            return [function(*task) for task in track(tasks, len(tasks), what)]
        workers = None
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError(
            f"n_jobs={n_jobs} needs joblib, which is not installed: pip install 'metamiq[parallel]', or use n_jobs=1."
        ) from error
    done = Parallel(n_jobs=workers, return_as="generator")(delayed(function)(*task) for task in tasks)
    return list(track(done, len(tasks), what))
