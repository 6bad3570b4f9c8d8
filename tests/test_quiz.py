"""Exercises, and the slips that wrong answers point to."""

import math

import pytest

import metamiq as mm
from metamiq.effects.expression import Expression
from metamiq.explaining.quiz import SLIPS

KINDS = ["SMD", "t", "PPC_PRE"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_the_right_answer_is_right_however_it_is_rounded(kind, seed):
    task = mm.exercise(seed, kind)
    for digits in (2, 3, 6):
        assert task.check(f"{task.answer:.{digits}f}").right
    assert task.check(f"{task.answer:.3f}".replace(".", ",").replace("-", "−")).right


@pytest.mark.parametrize("kind", KINDS)
def test_every_slip_is_named(kind):
    named = set()
    for seed in range(40):
        task = mm.exercise(seed, kind)
        for _, formula in SLIPS[kind]:
            wrong = float(Expression(formula).value(task.numbers))
            if not math.isfinite(wrong):  # a group of 2 has no J of its own
                continue
            verdict = task.check(f"{wrong:.7f}")
            if abs(wrong - task.answer) > 0.0011 + 0.0011 * abs(task.answer):  # else it is no slip one can see
                assert not verdict.right
                assert verdict.slip
                named.add(verdict.slip)
    assert named == {words for words, _ in SLIPS[kind]}


def test_merlo_2010_again():
    task = mm.exercise(kind="t")
    verdict = task.check("1.34")
    assert "2t/√df" in verdict.text()
    assert "t = 2.51" in task.question
    assert "J was left out" in task.check("1.255").slip


def test_the_solution_and_source_are_there():
    task = mm.exercise(3, "SMD")
    assert task.solution["estimate"] == task.answer
    assert any(year in task.source for year in ("1999", "2002"))
    assert mm.exercise(3, "SMD").question == task.question
    assert {mm.exercise(seed).kind for seed in range(30)} == set(KINDS)


def test_answers_that_cannot_be_checked():
    task = mm.exercise(1, "SMD")
    for answer in ("about one", "0.5", "1", "nan"):
        with pytest.raises(mm.DataError, match=r"must be a number|two decimals"):
            task.check(answer)
    assert "no usual slip" in task.check("17.23").text()
    with pytest.raises(ValueError, match="kind must be one of"):
        mm.exercise(kind="OR")
