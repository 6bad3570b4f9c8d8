"""The two ways an analysis can fail for a reason that the user must know."""


class DataError(ValueError):
    """The data cannot be used as they stand.

    The message is one sentence: what must hold, what came, where (file, line, trial) and what to do.
    """


class ConvergenceError(RuntimeError):
    """An iteration did not reach an answer, or the likelihood has no maximum.

    No number is returned in its place.
    """
