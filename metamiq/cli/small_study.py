"""`metamiq small-study`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metamiq.cli.common import check_picture, guarded, save_picture
from metamiq.cli.study_tables import fit_options


@click.command("small-study")
@fit_options
@click.option(
    "--funnel",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a funnel plot on regions of significance here (.svg, .pdf or .png).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@guarded
def small_study(funnel: Path | None, as_json: bool, **choices: Any) -> None:
    """Look for small-study effects and selection in a study table, by every method at once.

    \b
    Example:
      metamiq small-study trials.csv --measure SMD --funnel funnel.svg

    One line per method: its statistic, its p-value and of what, the mean after correction with its interval; below,
    what must be borne in mind with this table, and when each method must not be read. With 2x2 counts (--measure OR
    or RR) the tests of Harbord and Peters are there too.

    FILE is a study table (CSV or .xlsx) or a bundled dataset's name.
    """
    from metamiq.cli.study_tables import check_size, fit_of
    from metamiq.protocol.compliance import as_dict, note_of
    from metamiq.report.content import json_value
    from metamiq.report.planned import label_small_study, small_study_done
    from metamiq.report.small_study import small_study_data
    from metamiq.report.writing import json_text
    from metamiq.sensitivity.small_study_overview import small_study_effects

    check_picture(funnel, "--funnel")
    fitted = fit_of(**choices)
    fit = fitted.fit
    check_size(fit.effects, "small-study", 20_000)  # rank correlations compare all pairs
    found = small_study_effects(fit)  # type: ignore[arg-type]  # refuses bounds itself
    planned = fitted.compliance(small_study_done(found))
    found = label_small_study(found, planned)
    if as_json:
        values = {"k": found.k, "mean": found.mean, "ci_low": found.ci.low, "ci_high": found.ci.high}
        answer = {k: json_value(v) for k, v in {**values, "level": found.level, "measure": found.measure}.items()}
        click.echo(json_text(answer | small_study_data(found) | {"protocol": as_dict(planned)}), nl=False)
    else:
        click.echo(f"{found.summary()}\n\n{note_of(planned)}")
    if funnel is not None:
        from metamiq import plots

        save_picture(plots.funnel(fit), funnel)
