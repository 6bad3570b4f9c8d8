"""Opening a file that a user named, without waiting for what may never come."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from metamiq.datasets.faults import Fault, FaultyDataError

#: Where the system shows what a process has open already: standard input, and bash's ``<(...)``.
_OPEN_ALREADY = ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
#: What to do with data that stand in no file.
ADVICE = "Give data that stand in no file as /dev/stdin, or in bash as <(command)."


class NoFileError(OSError):
    """A named pipe, a device or a socket; `strerror` says which."""


def read_bytes(file: Path, most: int) -> bytes:
    """The content of a file; of one that has more than `most` bytes, one byte more than that.

    A named pipe is not opened: that waits until somebody writes to it, for ever if nobody does. What the process was
    given open is read, whatever it is: standard input as ``/dev/stdin``, and bash's ``<(...)`` as ``/dev/fd/63``.

    Raises
    ------
    OSError
        If it cannot be read; `NoFileError` if it is no file.
    ValueError
        If its name has a NUL byte.
    """
    where = os.path.abspath(file)
    if where != "/dev/stdin" and os.path.dirname(where) not in _OPEN_ALREADY:
        kind = _KINDS.get(stat.S_IFMT(os.stat(file).st_mode))
        if kind is not None:
            raise NoFileError(errno.EINVAL, kind, str(file))
    with open(file, "rb") as stream:  # not by its size: a pipe has none
        return stream.read(most + 1)


def load_table(file: Path, name: str, largest: int) -> bytes:
    """The content of a table's file, of at most `largest` bytes; a `DataError` says why there is none."""
    try:
        raw = read_bytes(file, largest)
        if len(raw) <= largest:
            return raw
        rule = f"a table must have at most {largest:,} bytes"
        fault = Fault(rule, "it has more", name, advice="Leave out the columns that are not needed.")
    except NoFileError as error:
        fault = Fault("a table must be a file", f"this is {error.strerror}", name, advice=ADVICE)
    except IsADirectoryError:
        fault = Fault("a table must be a file", "this is a folder", name, advice="Name the file in it.")
    except FileNotFoundError:
        fault = Fault("the file must exist", "it was not found", name, advice="Check the name and the folder.")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        fault = Fault("the file must be readable", f"the system says {str(error)!r}", name)
    raise FaultyDataError([fault])
