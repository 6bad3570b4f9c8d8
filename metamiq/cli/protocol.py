"""`metamiq protocol`, and how other commands come by a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from metamiq.cli.common import guarded, say

if TYPE_CHECKING:
    from metamiq.protocol.record import Protocol

_SET_ASIDE = "none"

protocol_option = click.option(
    "--protocol",
    metavar="FILE",
    help="Protocol by which analyses are planned or not; by default protocol.toml beside the data. none: take none.",
)


def protocol_for(given: str | None, folder: Path) -> Protocol | None:
    """The protocol that was named, or the one beside the data; which it is goes to stderr."""
    from metamiq.errors import DataError
    from metamiq.protocol.vocabulary import NAME

    if given == _SET_ASIDE:
        return None
    file = folder / NAME if given is None else Path(given)
    if given is None and file.is_symlink():
        say(f"note: {file} is a symbolic link and is not taken; --protocol FILE names a protocol")
        return None
    if given is None and not file.exists():
        return None
    from metamiq.protocol.reading import read_protocol

    try:
        protocol = read_protocol(file)
    except DataError as error:
        if given is None:
            raise DataError(f"{error}\nThis file was found beside the data; --protocol none sets it aside.") from None
        raise
    say(f"protocol: {file}{', found beside the data' if given is None else ''}: {protocol.describe()}")
    return protocol


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="New file to write instead of stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@guarded
def protocol(file: Path | None, out: Path | None, as_json: bool) -> None:
    """Print a template of a protocol; or check the protocol FILE and show what is planned.

    \b
    Examples:
      metamiq protocol --out protocol.toml
      metamiq protocol protocol.toml

    A protocol beside the data (protocol.toml) is taken by every command that pools. Their outputs then label each
    analysis planned or not planned, and a report carries out the planned subgroups and moderators. With FILE and --out
    the protocol is written again, with the meaning of each field.
    """
    from metamiq.protocol.reading import read_protocol
    from metamiq.protocol.template import template_text
    from metamiq.report.writing import json_text

    if as_json and (file is None or out is not None):
        raise ValueError("--json shows a protocol that is there: give FILE, and no --out.")
    found = None if file is None else read_protocol(file)
    if out is not None:
        _write_new(out, template_text(found))
    elif found is None:
        click.echo(template_text(), nl=False)
    elif as_json:
        click.echo(json_text(found.to_dict()), nl=False)
    else:
        _show(found)


def _write_new(out: Path, text: str) -> None:
    from metamiq.errors import DataError
    from metamiq.files import at_home, new_file

    try:
        new_file(at_home(out), text.encode("utf-8"))
    except FileExistsError:
        raise DataError(f"A protocol must be a new file, but {out} exists. Choose another --out.") from None
    except OSError as error:
        raise DataError(f"{out} must be writable, but the system says {error.strerror!r}. Choose --out.") from None
    say(f"written: {out} (fill it in; then: metamiq protocol {out})")


def _show(found: Protocol) -> None:
    from metamiq.report import terminal

    click.echo(f"Protocol {found.describe()}")
    if found.content.question:
        click.echo(found.content.question)
    click.echo()
    columns = {"field": "field", "first": "planned"}
    if found.amendments:
        columns = {"field": "field", "first": "planned at first", "now": "planned now"}
    terminal.show_table(found.to_frame(), columns, "What is planned")
    for change in found.amendments:
        known = {True: ", results known", False: ", results not known", None: ""}[change.results_known]
        click.echo(f"Amendment of {change.date}{known}: {change.what} ({change.why})")
