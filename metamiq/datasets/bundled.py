"""The datasets that come with metamiq, by name."""

from __future__ import annotations

from pathlib import Path

from metamiq.datasets.reading import Dataset, read_dataset

_PACKAGE = Path(__file__).resolve().parent.parent


def _home() -> Path:
    """The folder of datasets: inside an installed wheel, or beside the package in a checkout."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent / "data"


def available_datasets() -> list[str]:
    """Names of the datasets that come with metamiq.

    Returns
    -------
    list of str
        Sorted.

    Examples
    --------
    >>> "mi_cbt_anxiety" in available_datasets()
    True
    """
    home = _home()
    if not home.is_dir():
        return []
    return sorted(entry.name for entry in home.iterdir() if (entry / "trials.csv").is_file())


def load_dataset(name: str) -> Dataset:
    """Read a dataset that comes with metamiq.

    Parameters
    ----------
    name : str
        One of `available_datasets`. For a folder of your own, see `read_dataset`.

    Returns
    -------
    Dataset
        The tables, as `read_dataset` gives them.

    Raises
    ------
    ValueError
        If there is no dataset of that name.

    Examples
    --------
    >>> ds = load_dataset("mi_cbt_anxiety")
    >>> len(ds.trials), len(ds.results), len(ds.dropout), len(ds.claims)
    (31, 29, 6, 7)
    """
    known = available_datasets()
    if name not in known:  # also what keeps paths out
        choices = ", ".join(map(repr, known)) or "none: the installation lacks its data"
        raise ValueError(
            f"name must be one of the bundled datasets ({choices}), not {name!r}. Use read_dataset for a folder."
        )
    return read_dataset(_home() / name)
