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


def test_another_metamiq_is_not_believed(monkeypatch):
    monkeypatch.setattr(second_process, "_SERVE", "import sys, pickle; pickle.dump(('x', (9, 9)), sys.stdout.buffer)")
    with SecondProcess() as second:
        second.give(divmod, 17, 5)
        assert second.answer() == (3, 2)


@pytest.mark.parametrize(
    "serve",
    [
        "print('a message at startup')",
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
        "import sys; sys.stdout.buffer.write(b'\\x80\\x05K\\x01.')",
        "import sys; sys.stdout.buffer.write(b'cnowhere\\nnothing\\n.')",
        "raise SystemExit(3)",
        "import os; os.close(0); os.close(1)",
    ],
)
def test_whatever_comes_in_place_of_an_answer_it_is_computed_here(monkeypatch, serve):
    monkeypatch.setattr(second_process, "_SERVE", serve)
    with SecondProcess() as second:
        second.give(divmod, 17, 5)
        assert second.answer() == (3, 2)


@pytest.mark.parametrize("what", [5, "x" * 1_000_000])
def test_a_process_that_neither_works_nor_ends_is_given_up(monkeypatch, what):
    monkeypatch.setattr(second_process, "_SERVE", "import time; time.sleep(60)")
    monkeypatch.setattr(second_process, "_PATIENCE", 0.2)
    with SecondProcess() as second:
        second.give(str, what)
        assert second.answer() == str(what)


@pytest.mark.parametrize("name", [None, "", "/usr/bin/sleep", "/opt/cad/cad", "python\0"])
def test_a_program_that_is_no_python_is_not_started(monkeypatch, name):
    monkeypatch.setattr(sys, "executable", name)
    with SecondProcess() as second:
        assert second._process is None
        second.give(divmod, 17, 5)
        assert second.answer() == (3, 2)


def test_where_no_process_can_be_started_the_work_is_done_here(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(second_process.subprocess, "Popen", refuse)
    with SecondProcess() as second:
        second.give(divmod, 17, 5)
        assert second.answer() == (3, 2)
