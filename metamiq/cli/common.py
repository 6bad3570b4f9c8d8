"""What all commands share: messages on stderr, errors as one sentence, exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metamiq.datasets import Dataset

EXIT_DISAGREES = 1
EXIT_COULD_NOT_RUN = 2


def say(message: str) -> None:
    """Tell the user something that is not a result; what would change the terminal is written out."""
    from metamiq.datasets.faults import visible

    click.echo(visible(message.replace("\t", " ")), err=True)


def guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn the errors a user can act on into one sentence and exit code 2, and a returned number into the exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from metamiq.errors import ConvergenceError

        try:
            code = command(*args, **kwargs)
        except KeyboardInterrupt:
            say("metamiq: stopped before it was done.")
            sys.exit(EXIT_COULD_NOT_RUN)
        except (ValueError, ConvergenceError) as error:  # DataError is a ValueError
            say(f"metamiq: {error}")
            sys.exit(EXIT_COULD_NOT_RUN)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has seen enough; 1, click's own code, would be a disagreement
                _drop_output()
                sys.exit(EXIT_COULD_NOT_RUN)
            say(f"metamiq: {error.filename or 'the output'} could not be read or written: {error.strerror}.")
            if error.filename is None:
                _drop_output()
            sys.exit(EXIT_COULD_NOT_RUN)
        sys.exit(code or 0)

    return run


def _drop_output() -> None:
    """Keep what could not be written from being tried, and complained of, once more at the end."""
    with suppress(OSError, ValueError):  # a stream without a file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_table(name: str) -> bool:
    """Whether the name of a dataset or a study table is that of a table: no folder, and there or with an ending."""
    path = Path(name)
    return not path.is_dir() and (path.exists() or bool(path.suffix))


def open_dataset(name_or_folder: str) -> Dataset:
    """A bundled dataset by name, or a folder; what was noticed in reading goes to stderr."""
    from metamiq.datasets import load_dataset, read_dataset

    if Path(name_or_folder).is_dir():
        ds = read_dataset(name_or_folder)
    elif any(sign in name_or_folder for sign in "/\\."):
        ds = read_dataset(name_or_folder)  # says that the folder is not there
    else:
        ds = load_dataset(name_or_folder)
    for note in ds.notes:
        say(f"note: {note}")
    return ds


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that reads a study table; see `read_study_table`."""
    for option in (
        click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Read only the rows that have this value."),
        click.option(
            "--column", "columns", multiple=True, metavar="COLUMN=NAME",
            help="Take a column of the file for yi, sei, m1i ... where it is not understood by its name.",
        ),
        click.option("--sheet", help="Sheet of an .xlsx workbook; by default the first."),
    ):  # fmt: skip
        command = option(command)
    return command


def group_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that name the groups of a study table, and say which effects are good; see `name_groups`."""
    for option in (
        click.option(
            "--better", type=click.Choice(["higher", "lower"]),
            help="Whether higher or lower scores (or more or fewer events) are good; until then no group is favoured.",
        ),
        click.option("--groups", nargs=2, metavar="FIRST SECOND", help="Names of the two groups of a study table."),
    ):  # fmt: skip
        command = option(command)
    return command


tool_option = click.option(
    "--tool",
    type=click.Choice(("ROB2", "ROB2-Cluster", "ROBINS-I", "QUADAS-2", "ROB1")),
    help="Tool of the risk-of-bias judgements; by default the one that fits domains and judgements.",
)


def name_groups(effects: pd.DataFrame, groups: tuple[str, str] | None, better: str | None) -> None:
    """Let a table of effects carry what `group_options` were given, for pictures and words."""
    effects.attrs |= {k: v for k, v in (("groups", groups), ("better", better)) if v is not None}


def read_study_table(
    file: Path, sheet: str | None = None, columns: tuple[str, ...] = (), where: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A study table; what was noticed in reading, and what each column was taken for, goes to stderr."""
    from metamiq.datasets import read_table

    named, only = pairs("--column", columns), pairs("--where", where)
    table = read_table(file, columns=named, sheet=sheet, where=only)
    for note in table.attrs.get("notes", ()):
        say(f"note: {note}")
    return table


class Source(NamedTuple):
    """What a command was given: a study table in a file, or a dataset, which may be evidence or a study table."""

    path: Path  # the file, or the dataset's folder
    name: str
    table: pd.DataFrame  # studies, or trials
    dataset: Dataset | None = None

    @property
    def home(self) -> Path:
        """Where protocol, judgements and the like stand beside the data."""
        return self.path.parent if self.dataset is None else self.path

    @property
    def evidence(self) -> Dataset | None:
        """The dataset, if it is one of evidence: pooled by its own rules and not as a study table."""
        return None if self.dataset is None or self.dataset.results.empty else self.dataset

    @property
    def content(self) -> Dataset | pd.DataFrame:
        """The dataset as it is, or the table of a file."""
        return self.table if self.dataset is None else self.dataset


def open_source(
    source: str, sheet: str | None = None, columns: tuple[str, ...] = (), where: tuple[str, ...] = ()
) -> Source:
    """A study table or a dataset by its name; raises ValueError for options that a dataset would not heed."""
    if is_table(source):
        path = Path(source)
        return Source(path, path.stem, read_study_table(path, sheet, columns, where))
    if sheet or columns or where:
        raise ValueError("--sheet, --column and --where are for a study table in a file, not for a dataset.")
    ds = open_dataset(source)
    return Source(ds.path, ds.name, ds.trials, ds)


def refuse_choices(**given: str | None) -> None:
    """Raise ValueError where choices for a study table are given with evidence that is pooled by its own rules."""
    named = [f"--{name}" for name, value in given.items() if value is not None]
    if named:
        raise ValueError(
            f"{' and '.join(named)} cannot be chosen for a dataset of evidence: its effect sizes and bounds are pooled "
            "by one likelihood. Leave it out, or give a study table."
        )


def read_judgements(file: Path, tool: str | None = None) -> pd.DataFrame:
    """Risk-of-bias judgements; what was noticed in reading, and what breaks the tool's own rule, goes to stderr."""
    from metamiq.datasets.risk_of_bias import read_risk_of_bias, risk_of_bias_findings

    judged = read_risk_of_bias(file, tool)
    for note in judged.attrs["notes"]:
        say(f"note: {note}")
    for finding in risk_of_bias_findings(judged):
        say(f"finding: {finding}")
    return judged


def pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """What stands before and after the last equals sign, for --where after the first."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=") if option == "--where" else text.rpartition("=")
        if not sign or not name:
            raise ValueError(f"{option} must be of the form COLUMN=..., not {text!r}.")
        found[name] = value
    return found


def check_picture(path: Path | None, option: str) -> None:
    """Refuse a picture's file that is neither SVG, PDF nor PNG, before the work and not after it."""
    if path is not None and path.suffix.lower() not in (".svg", ".pdf", ".png"):
        raise ValueError(f"{option} must name a file that ends in .svg, .pdf or .png, not {str(path)!r}.")


def save_picture(ax: Axes, path: Path) -> None:
    """Write a picture as its file's ending says, and tell where."""
    from metamiq import plots

    drawn = ax.figure.figure
    assert drawn is not None
    save = {".png": plots.save_png, ".pdf": plots.save_pdf}.get(path.suffix.lower(), plots.save_svg)
    save(drawn, path)
    plots.release(drawn)
    say(f"written: {path}")
