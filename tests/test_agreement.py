"""What docs/agreement.md says is what tests/reference/agreement.py measures.

Here each line's first case and the one with its largest difference are measured again; all of them by name:
python tests/reference/agreement.py --check
"""

import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "agreement.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def agreement():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE / "reference")
        yield importlib.import_module("agreement")


@pytest.fixture(scope="module")
def differences(agreement):
    return importlib.import_module("differences")


def lines(name):
    """Cells of a measured table of the page."""
    table = PAGE.split(f"<!-- measured: {name} -->")[1].split(f"<!-- end: {name} -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]


def decimals(text):
    return {"10+": 10, "–": 99}.get(text) or int(text)


def test_digits_are_those_measured(agreement):
    stated = lines("software")[2:]
    assert [line[:2] for line in stated] == [[row.feature, row.software] for row in agreement.ROWS]
    for row, (feature, _, cases, _, largest, digits, p_values, at) in zip(agreement.ROWS, stated, strict=True):
        worst = at.strip("`")
        measured = agreement.measure(row, lambda place, name, worst=worst: place == 0 or name == worst)
        assert f"{measured.cases:,}" == cases, feature
        assert agreement.digits(measured.largest) == digits, feature
        if digits != "10+":  # beyond, rounding decides
            assert float(largest) / 2 <= measured.largest <= 2 * float(largest), feature
        assert decimals(agreement.digits(measured.p_largest)) >= decimals(p_values), feature


def test_printed_numbers_are_counted(agreement):
    """Each gap is asserted where the number is tested; here that the page has them all."""
    published, checks = agreement.tests_of("published"), agreement.tests_of("reference_published")
    rows = len(published.ROWS) + len(checks.ROWS)
    apart = len(published.GAPS) + len(checks.GAPS)
    table = lines("printed")
    assert ["all", str(rows), str(rows - apart)] in table
    assert [f"The {apart} that differ:"] in table
    labels = [line[0] for line in table[-apart:]]
    expected = [f"`{name}` {label}" for name, label in published.GAPS] + [f"{i} {label}" for i, label in checks.GAPS]
    assert sorted(labels) == sorted(expected)


def test_measuring_sees_a_difference(differences):
    """One part in a thousand, within the tolerance; a p-value is compared by its difference."""
    notes = differences.Notes()
    notes.allclose([1.001, 2.0], [1.0, 2.0], rtol=0.01)
    assert notes.largest == pytest.approx(1e-3)
    assert [differences.digits(x) for x in (2e-3, 0.0, 1e-12, None)] == ["2", "10+", "10+", "–"]
    notes.allclose(1e-9, 2e-9, rtol=1, err_msg="p_value")
    assert notes.p_largest == pytest.approx(1e-9)
    assert notes.largest == pytest.approx(1e-3)
    # Near zero the tolerances say what is small: 1e-12 beside 0 on a scale of 1e-4.
    notes = differences.Notes()
    notes.allclose(1e-12, 0.0, rtol=1e-6, atol=1e-10)
    assert notes.largest == pytest.approx(1e-8)
    with pytest.raises(AssertionError):
        notes.allclose(1.1, 1.0, rtol=0.01)


def test_each_software_has_a_line():
    named = " ".join(line[1] for line in lines("software"))
    for name in ("metafor 3.8", "clubSandwich", "robumeta", "lme4", "bayesmeta", "pimeta", "statsmodels"):
        assert name in named
