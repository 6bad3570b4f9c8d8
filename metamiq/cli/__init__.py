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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="metamiq")
def main() -> None:
    """From what trial reports print to a pooled answer that anyone can audit.

    \b
    Example:
      metamiq reproduce --out answer
    """


for _command in (reproduce, audit, report, check, pool, datasets, effect, explain, compare, which, quiz):
    main.add_command(_command)
for _command in (prisma, rob, characteristics, grade):
    main.add_command(_command)
for _command in (small_study, sensitivity, multiverse, suspects):
    main.add_command(_command)
for _command in (protocol, new_trial, todo, copy_dataset, add, restore, diff, reconcile, bundle, verify, export):
    main.add_command(_command)
