"""Work done in a second process changes no number, and no failure of it is seen."""

import sys

import pytest

import metamiq as mm
from metamiq.question import Answers
from metamiq.report import second_process, what_if
from metamiq.report.second_process import SecondProcess


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(second_process, "processors", lambda: 2)


def test_the_answers_are_the_same_bits():
    ds = mm.load_dataset("mi_cbt_anxiety")
    with SecondProcess() as second:
        second.give(what_if.of_dataset, ds, 0.95, "0.59")
        process = second._process
        there = second.answer()
        assert process is not None
        assert process.poll() is not None
    assert there.payload() == what_if.first_question(Answers(ds), "0.59").payload()


def test_a_process_that_ends_early_costs_nothing_but_time():
    with SecondProcess() as second:
        assert second._process is not None
        second._process.kill()
        second._process.wait()
        second.give(divmod, 17, 5)
        assert second.answer() == (3, 2)


def test_an_error_of_the_call_is_raised_here():
    with SecondProcess() as second:
        second.give(divmod, 17, 0)
        with pytest.raises(ZeroDivisionError):
            second.answer()


def test_without_a_second_processor_none_is_started(monkeypatch):
    monkeypatch.setattr(second_process, "processors", lambda: 1)
    with SecondProcess() as second:
        assert second._process is None
        second.give(divmod, 17, 5)
        assert second.answer() == (3, 2)


def test_without_an_interpreter_none_is_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with SecondProcess() as second:
        assert second._process is None


def test_nothing_is_left_running():
    with SecondProcess() as second:
        process = second._process
        assert process is not None
    assert process.poll() is not None


def test_an_answer_needs_a_question():
    with SecondProcess() as second, pytest.raises(ValueError, match="give must be called"):
        second.answer()
