"""The command line: arguments in, report out. The work is done elsewhere, and imported when a command needs it."""

from __future__ import annotations

import click

from metamiq.cli.catch import check
from metamiq.cli.first_question import audit, reproduce
from metamiq.cli.learn import compare, effect, explain, quiz, which
from metamiq.cli.living import add, copy_dataset, diff, new_trial, reconcile, restore, todo
from metamiq.cli.protocol import protocol
from metamiq.cli.report import report
from metamiq.cli.review import prisma, rob
from metamiq.cli.review_tables import characteristics, grade
from metamiq.cli.sensitivity import multiverse, sensitivity, suspects
from metamiq.cli.sharing import bundle, export, verify
from metamiq.cli.small_study import small_study
from metamiq.cli.study_tables import datasets, pool

SECTIONS = {
    "The published answer": (
        (reproduce, "the whole first question: answer, figures, verdicts, report.html"),
        (audit, "published claims, and what the evidence says of each"),
        (multiverse, "every defensible choice at once"),
    ),
    "One effect size, and why": (
        (effect, "g from whatever a paper prints, with each step"),
        (explain, "each step behind any number of a dataset"),
        (compare, "what other programs give for the same data, and why"),
        (which, "the formula behind a number that someone printed"),
        (quiz, "practice on published numbers"),
    ),
    "A table of studies": (
        (pool, "pool any study table, CSV or .xlsx"),
        (report, "the same as one page that answers, shows and explains"),
        (sensitivity, "how far the answer hangs on single rows"),
        (small_study, "small-study effects and selection"),
        (suspects, "which single slip would explain the answer"),
        (export, "for other programs, and as an R script"),
        (datasets, "published tables to try all this on"),
    ),
    "A dataset that grows": (
        (copy_dataset, "a bundled dataset as a folder of your own"),
        (todo, "which numbers are missing, and what each would buy"),
        (new_trial, "a template for a new trial or for missing numbers"),
        (add, "check it, see the answer before and after, accept it"),
        (check, "look for mistakes in data"),
        (reconcile, "two people's extractions compared"),
        (diff, "what changed in the data and in the answer"),
        (restore, "go back to an earlier version"),
    ),
    "A review to publish": (
        (protocol, "what was planned; every analysis is labelled by it"),
        (prisma, "the PRISMA 2020 flow diagram"),
        (rob, "risk-of-bias traffic lights"),
        (characteristics, "the table of study characteristics"),
        (grade, "a GRADE summary of findings for people to fill"),
        (bundle, "data, results and checksums in one zip file"),
        (verify, "run a bundle again and compare each digit"),
    ),
}


class Sections(click.Group):
    """Commands under headings, each with one whole line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(command.name), line) for command, line in commands], col_spacing=2)


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="metamiq")
def main() -> None:
    """From what trial reports print to a pooled answer that anyone can audit.

    \b
    Example:
      metamiq reproduce --out answer
    """


for _commands in SECTIONS.values():
    for _command, _line in _commands:
        main.add_command(_command)
