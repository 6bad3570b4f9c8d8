"""A second Python process that does one piece of work while this one does another.

It is started before this process has imported what it needs, so that both get ready at the same time. Whatever goes
wrong with it (no second processor, a locked-down machine, a package that only this process can import), the work is
done here instead: it saves time and changes no number.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

_SERVE = "from metamiq.report.second_process import serve; serve()"
_PATIENCE = 120.0  # seconds; the work takes two or three


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


class SecondProcess:
    """At most one call, made in another process; used as a context so that no process is left behind.

    Examples
    --------
    >>> with SecondProcess() as second:
    ...     second.give(divmod, 17, 5)
    ...     print(second.answer())
    (3, 2)
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._work: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self._timer: threading.Timer | None = None
        # A program with Python inside names itself, and would start once more.
        if processors() < 2 or "python" not in Path(sys.executable or "").name.lower():
            return
        one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        with contextlib.suppress(OSError, ValueError):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | one_thread,
            )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the other process."""
        self._end()

    def give(self, function: Callable[..., T], *args: Any) -> None:
        """Have ``function(*args)`` computed; the function, its arguments and its result must be picklable."""
        self._work = function, args
        if self._process is not None:
            self._timer = threading.Timer(_PATIENCE, self._process.kill)  # one that neither works nor ends
            self._timer.daemon = True
            self._timer.start()
        if self._process is not None and self._process.stdin is not None:
            try:
                with self._process.stdin as pipe:
                    pickle.dump(self._work, pipe)
            except OSError:  # it has ended
                self._end()

    def answer(self) -> Any:
        """Return the result of the call, from the other process or, if that failed, computed here and now."""
        if self._work is None:
            raise ValueError("give must be called before answer.")
        try:
            if self._process is not None and self._process.stdout is not None:
                source, result = pickle.load(self._process.stdout)  # written by our own code, one pipe away
                if source == __file__:  # and not by another metamiq that the other process has found
                    return result
        except Exception:  # whatever came in place of an answer: the same call is made here
            pass
        finally:
            self._end()
        function, args = self._work
        return function(*args)

    def _end(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def serve() -> None:
    """Make the one call that standard input holds, and write its result to standard output."""
    import metamiq.report.what_if  # noqa: F401  while the other process gets ready

    function, args = pickle.load(sys.stdin.buffer)
    pickle.dump((__file__, function(*args)), sys.stdout.buffer)
