"""`metamiq check`."""

from __future__ import annotations

import click

from metamiq.cli.common import EXIT_DISAGREES, guarded, open_source, say


@click.command()
@click.argument("data", default="mi_cbt_anxiety")
@click.option("--details", is_flag=True, help="Say of each finding why it matters and what to do.")
@click.option("--test", default="knha", show_default=True, help="Planned test and interval: knha, t, z or adhoc.")
@click.option("--moderator", "moderators", multiple=True, help="A moderator that is to be tested; may be repeated.")
@click.option("--asymmetry", is_flag=True, help="A test of funnel asymmetry is planned.")
@click.option("--ignore", metavar="CODE", help="Set aside the findings of this rule, and store that with the data.")
@click.option("--row", metavar="KEY", help="With --ignore: only for this row.")
@click.option("--reason", metavar="TEXT", help="With --ignore: why the finding does not matter here.")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules and the columns that they read, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def check(
    data: str,
    details: bool,
    test: str,
    moderators: tuple[str, ...],
    asymmetry: bool,
    ignore: str | None,
    row: str | None,
    reason: str | None,
    list_rules: bool,
    as_json: bool,
) -> int:
    """Look for mistakes in DATA: a bundled dataset, a dataset folder, or any study table (CSV or .xlsx).

    \b
    Example:
      metamiq check mi_cbt_anxiety --details
      metamiq check trials.csv --ignore M03 --row smith2010 --reason "baseline-adjusted means"

    Exit code 1: there are errors or warnings. Notes do not count.
    """
    from metamiq.living.check import check as run
    from metamiq.living.ignored import add_ignored
    from metamiq.living.rules import RULES
    from metamiq.report.writing import json_text

    if list_rules:
        _list_rules(as_json)
        return 0
    if (ignore is None) != (reason is None) or (row is not None and ignore is None):
        raise ValueError("--ignore CODE and --reason TEXT must be given together (and --row only with them).")
    opened = open_source(data)
    findings = run(opened.content, test=test, moderators=moderators, asymmetry=asymmetry)
    if ignore is not None and reason is not None:
        meant = {(r.code, r.row) for table in (findings.table, findings.ignored) for r in table.itertuples()}
        if ignore in RULES and not any(code == ignore and row in (None, key) for code, key in meant):
            at = f" in row {row!r}" if row else ""
            raise ValueError(f"--ignore must name a finding, but {ignore} was not found{at}.")
        say(f"written: {add_ignored(opened.path, ignore, reason, row, tuple(RULES))}")
        findings = run(opened.content, test=test, moderators=moderators, asymmetry=asymmetry)
    if as_json:
        click.echo(json_text(findings.to_dict()), nl=False)
    else:
        click.echo(findings.summary())
        text = findings.details() if details else findings.lines()
        if text:
            click.echo(f"\n{text}")
        if not details and (len(findings.table) or len(findings.ignored)):
            say("--details says why each matters and what to do.")
    return 0 if findings.is_clean else EXIT_DISAGREES


def _list_rules(as_json: bool) -> None:
    from metamiq.living.rules import COLUMNS, RULES
    from metamiq.report.writing import json_text

    if as_json:
        facts = ("code", "severity", "title", "why", "do", "reference")
        rules = [{fact: getattr(rule, fact) for fact in facts} for rule in RULES.values()]
        click.echo(json_text({"rules": rules, "columns": COLUMNS}), nl=False)
        return
    for rule in RULES.values():
        click.echo(f"{rule.code:<5}{rule.severity:<8} {rule.title}")
    click.echo("\nColumns that a table may have for these rules, beyond the calculators' (1 stands for either arm):")
    width = max(map(len, COLUMNS)) + 2
    for name, meaning in COLUMNS.items():
        click.echo(f"  {name:<{width}}{meaning}")
