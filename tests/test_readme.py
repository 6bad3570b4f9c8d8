"""The README's code runs and prints what it shows; its numbers are those of the main job."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import metamiq as mm
from metamiq.question import Answers

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.is_file() else ""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.S)


def test_set_up_is_exactly_two_commands():
    commands = blocks("sh")[0].strip().splitlines()
    assert len(commands) == 2
    assert commands[0].endswith("metamiq reproduce")
    assert commands[1].endswith("pytest")
    assert all(c.startswith("python3.11 -m venv") for c in commands)


def test_code_prints_what_is_shown():
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(blocks("python")[0], {})
    assert printed.getvalue().strip() == blocks("text")[0].strip()


def test_numbers_are_those_of_the_main_job():
    answers = Answers(mm.load_dataset("mi_cbt_anxiety"))
    words = " ".join(TEXT.split())
    fit, early = answers.pooled, answers.early
    assert f"Pooled Hedges g = {fit.estimate:.2f} (95% interval {fit.ci_low:.2f} to {fit.ci_high:.2f})" in words
    assert f"from {fit.k} trials: {fit.k_points} effect size and {fit.k_bounds} bounds" in words
    assert f"({early.estimate:.2f}, {early.ci_low:.2f} to {early.ci_high:.2f})" in words


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_links_lead_somewhere(link):
    assert link.startswith("http") or (ROOT / link).exists()


def test_figures_are_what_the_analyses_write():
    written = {f"{name}.svg" for name in re.findall(r'save\([^\n]*"(\w+)"\)', _sources())}
    present = {p.name for p in (ROOT / "figures").glob("*.svg")}
    assert present == written


def _sources():
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "analyses").glob("*.py")))
