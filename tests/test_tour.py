"""Every box of docs/tour.md, and of the page on bounds, runs in order and prints the lines that it shows."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from click.testing import CliRunner

from metamiq.cli import main

TOUR = Path(__file__).parents[1] / "docs" / "tour.md"
BOUNDS = TOUR.with_name("points_and_bounds.md")
# Where the text says that a command ends with another exit code than 0.
EXIT_CODES = {
    "metamiq check mi_cbt_anxiety": 1,
    "metamiq effect --t 2.51": 2,
    "metamiq quiz --seed 2 --kind t --answer 1.34": 1,
    "metamiq diff my-evidence@1 my-evidence": 1,
}


# What a reader is told to save, and where.
FILES = {
    ("A reviewer", "toml"): "made-up.toml",
    ("A review to publish", "toml"): "my-review/protocol.toml",
    ("A review to publish", "csv"): "my-review/flow.csv",
}


def parts(title, page=TOUR):
    """The blocks of one section: (language, text)."""
    text = page.read_text(encoding="utf-8")
    section = re.search(rf"^## {title}\b.*?(?=^## |\Z)", text, flags=re.S | re.M)
    assert section, f"{page.name} must have a section '{title}'"
    return re.findall(r"^```(\w+)\n(.*?)^```", section[0], flags=re.S | re.M)


def assert_shown(shown, printed, what):
    """Lines that are shown stand in the output in this order; without "..." between two, one right after the other."""
    lines = [line.rstrip() for line in printed.splitlines()]
    at, adjacent = 0, False
    for line in shown.splitlines():
        if line == "...":
            adjacent = False
            continue
        found = [i for i in range(at, len(lines)) if lines[i] == line]
        assert found, f"{what} must print {line!r} after line {at}, but it prints:\n{printed}"
        assert not adjacent or found[0] == at, f"{what} prints lines before {line!r} that are not shown:\n{printed}"
        at, adjacent = found[0] + 1, True


def run_commands(block):
    for entry in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, shown = entry.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "metamiq"
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == EXIT_CODES.get(command, 0), f"{command}:\n{result.output}"
        assert_shown(shown, result.stdout + result.stderr, command)


def output_of(code, names):
    out = io.StringIO()
    with redirect_stdout(out):
        exec(code, names)
    return out.getvalue()


@pytest.mark.parametrize("title", ["A researcher", "A student", "A reviewer", "A review to publish"])
def test_the_tour_is_true(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, printed = {}, ""
    blocks = parts(title)
    assert blocks
    for language, text in blocks:
        if language == "console":
            run_commands(text)
        elif (title, language) in FILES:
            (tmp_path / FILES[title, language]).write_text(text, encoding="utf-8")
        elif language == "python":
            printed = output_of(text, names)
            plt.close("all")
        else:
            assert language == "text"
            assert_shown(text, printed, "the code above")


def test_the_page_on_bounds_computes_what_it_shows():
    (_, code), (_, shown) = parts("The model", BOUNDS)
    assert_shown(shown, output_of(code, {}), "the model")


def test_files_of_the_tour_are_named_as_made_up():
    (text,) = [text for language, text in parts("A reviewer") if language == "toml"]
    assert "MADE UP" in text
    assert 'source = "made up"' in text
    assert any("MADE UP" in text for language, text in parts("A review to publish") if language == "toml")


def test_a_line_that_is_not_printed_fails():
    with pytest.raises(AssertionError, match="must print 'b'"):
        assert_shown("a\nb", "a\nc\n", "it")
    with pytest.raises(AssertionError, match="not shown"):
        assert_shown("a\nb", "a\nc\nb\n", "it")
    assert_shown("a\n...\nb", "a\nc\nb\n", "it")
