"""Two extractions of made-up reports: differences by what they do to g, agreement, decisions."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

from metamiq.cli import main
from metamiq.datasets import read_dataset
from metamiq.effects.trials import trial_effects
from metamiq.errors import DataError
from metamiq.living.dry_run import plan
from metamiq.living.reconcile import kappa, reconcile
from metamiq.living.transaction import accept
from metamiq.pooling.bounded import random_effects_bounded

_spec = importlib.util.spec_from_file_location("living_examples", Path(__file__).with_name("living_examples.py"))
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


@pytest.fixture
def two(tmp_path):
    """B read another d, another number of sessions and another verdict, and has a trial more."""
    a = examples.write_dataset(tmp_path / "a")
    b = examples.write_dataset(tmp_path / "b")
    results, trials = b / "results.csv", b / "trials.csv"
    text = results.read_text(encoding="utf-8").replace(",0.30,", ",0.55,")
    results.write_text(
        text.replace(
            "gamma2015-post,gamma2015,symptoms,post,nonsignificant,,",
            "gamma2015-post,gamma2015,symptoms,post,significant,mi,",
        ),
        encoding="utf-8",
    )
    text = trials.read_text(encoding="utf-8").replace("candidate,yes,1,", "candidate,yes,2,")
    trials.write_text(text + "zeta2016,Zeta 2016,2016,GAD,candidate,yes,2,,,44,,\n", encoding="utf-8")
    return a, b


def pooled(ds):
    return random_effects_bounded(trial_effects(ds)).estimate


def test_differences_come_by_what_they_do_to_g(two):
    a, b = two
    found = reconcile(a, b)
    cells = found.differences.set_index(["row", "column"])
    assert set(cells.index) == {
        ("beta2012-post", "value"), ("gamma2015-post", "report"), ("gamma2015-post", "favours"),
        ("beta2012", "mi_sessions"), ("zeta2016", "(row)"),
    }  # fmt: skip
    sizes = found.differences[["moves_g", "moves_g_row"]].abs().max(axis=1).dropna()
    assert sizes.is_monotonic_decreasing
    for _, cells_of_row in found.differences.groupby("row"):
        assert cells_of_row["moves_g"].abs().is_monotonic_decreasing
    ds = read_dataset(a)
    changed = dataclasses.replace(ds, results=ds.results.assign(value=[np.nan, 0.55, np.nan]))
    assert_allclose(cells.loc[("beta2012-post", "value"), "moves_g"], pooled(changed) - pooled(ds))
    assert cells.loc[("beta2012", "mi_sessions"), "moves_g"] == 0
    assert cells.loc[("zeta2016", "(row)"), ["a", "b"]].tolist() == ["not there", "there"]
    report = cells.loc[("gamma2015-post", "report")]
    assert report["moves_g_row"] > 0.1, "a positive verdict in place of none"
    assert found.undecided == 5
    back = reconcile(b, a).differences.set_index(["row", "column"])
    assert set(back.index) == set(cells.index)


def test_agreement_counts_cells_that_somebody_filled(two):
    found = reconcile(*two)
    cells = found.agreement.set_index(["table", "column"])
    assert cells.loc[("results", "value"), ["n", "agree"]].tolist() == [1, 0]
    assert cells.loc[("results", "report"), ["n", "agree"]].tolist() == [3, 2]
    # By hand: A significant, d, nonsignificant; B significant, d, significant: po = 2/3, pe = (2 + 1 + 0) / 9.
    assert_allclose(cells.loc[("results", "report"), "kappa"], (2 / 3 - 1 / 3) / (1 - 1 / 3))
    assert np.isnan(cells.loc[("trials", "role"), "kappa"])
    assert ("results", "se") not in cells.index


def test_kappa_of_chance_and_of_full_agreement():
    assert_allclose(kappa([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]), 0)
    assert_allclose(kappa([("a", "a"), ("b", "b")]), 1)


def test_the_same_extraction_twice_leaves_nothing_to_decide(two):
    found = reconcile(two[0], two[0])
    assert found.differences.empty
    assert found.undecided == 0
    assert "0 differences" in found.summary()


def test_a_third_file_decides_and_add_applies_it(two, tmp_path):
    a, b = two
    (b / "trials.csv").write_text((b / "trials.csv").read_text(encoding="utf-8").rsplit("zeta", 1)[0], encoding="utf-8")
    table = reconcile(a, b).to_frame().astype({"choice": object})
    choices = {"value": "0.52", "report": "B", "favours": "B", "mi_sessions": "A"}
    table = table.assign(choice=table["column"].map(choices), source="full text", locator="p. 2")
    file = tmp_path / "decisions.csv"
    table.to_csv(file, index=False)
    found = reconcile(a, b, decisions=file)
    assert found.undecided == 0
    agreed = tmp_path / "agreed.csv"
    agreed.write_text(found.agreed_csv(), encoding="utf-8")
    accept(plan(a, agreed, replace=True, why="agreed"))
    results = read_dataset(a).results.set_index("result_id")
    assert results.loc["beta2012-post", "value"] == 0.52
    assert results.loc["gamma2015-post", "report"] == "significant"
    assert read_dataset(a).trials["mi_sessions"].tolist() == [3, 1, 4]


def test_decisions_are_checked(two, tmp_path):
    a, b = two
    with pytest.raises(DataError, match="5 are not"):
        reconcile(a, b).agreed_csv()
    table = reconcile(a, b).to_frame()
    file = tmp_path / "decisions.csv"

    def refused(**changes):
        table.assign(**{"choice": "A", "source": "x", "locator": "p. 1", **changes}).to_csv(file, index=False)
        with pytest.raises(DataError) as caught:
            reconcile(a, b, decisions=file)
        return str(caught.value)

    assert "has no source and locator" in refused(locator="")
    assert "nothing differs at" in refused(row="nowhere")
    assert "a formula" in refused(choice="=1+1")
    assert "decided by A or B" in refused(choice="0.4")
    pd.DataFrame({"table": ["x"]}).to_csv(file, index=False)
    with pytest.raises(DataError, match="the header lacks"):
        reconcile(a, b, decisions=file)
    table.assign(choice="B", source="x", locator="p. 1").to_csv(file, index=False)
    with pytest.raises(DataError, match="added or deleted by hand"):
        reconcile(a, b, decisions=file).agreed_csv()


def test_filled_templates_are_compared_on_their_own_rows(tmp_path):
    base = examples.write_dataset(tmp_path / "base")
    ann, bob = tmp_path / "ann.toml", tmp_path / "bob.toml"
    ann.write_text(examples.NEW, encoding="utf-8")
    bob.write_text(examples.NEW.replace("sd_cbt = 6", "sd_cbt = 9"), encoding="utf-8")
    with pytest.raises(DataError, match="needs the dataset"):
        reconcile(ann, bob)
    found = reconcile(ann, bob, base=base)
    assert found.differences[["row", "column", "a", "b"]].to_numpy().tolist() == [
        ["delta2020-post", "sd_cbt", "6", "9"]
    ]
    assert found.differences["moves_g"].item() < 0, "a larger SD makes g smaller"
    assert found.agreement["n"].max() == 1, "rows that neither person read do not count as agreement"


def test_on_the_command_line(two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(main, ["reconcile", "a", "b", "--out", "out"], catch_exceptions=False)
    assert shown.exit_code == 1
    assert "5 differences, 5 undecided" in shown.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"differences.csv", "agreement.csv"}
    data = json.loads(CliRunner().invoke(main, ["reconcile", "a", "b", "--json"], catch_exceptions=False).stdout)
    assert data["undecided"] == 5
