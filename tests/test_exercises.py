"""Tests of the facade, and of every registered exercise."""

import sys
import types

import numpy as np
import pytest
import torch

from srlib import exercises
from srlib.exercises import check, hint, list_exercises
from srlib.exercises.grading import Case, Exercise, Mistake, grade

EXERCISES = [exercises.get_exercise(name) for name in exercises.list_exercises().index]

# The facade, on one invented exercise --------------------------------------------------------


def halve(x):
    return x / 2


HALVING = Exercise(
    title="Halving",
    reference=halve,
    cases=lambda: (Case("seven", (7,)),),
    mistakes=(Mistake(lambda x: x // 2, "Whole numbers lose the rest."),),
    hints=("Think.", "Divide.", "x / 2"),
)


@pytest.fixture(autouse=True)
def invented(monkeypatch):
    monkeypatch.delenv("SRLIB_STRICT", raising=False)
    monkeypatch.setattr(exercises, "_hints_shown", {})
    module = types.SimpleNamespace(EXERCISES=(HALVING,))  # as a file nb98.py would be
    monkeypatch.setitem(sys.modules, "srlib.exercises.nb98", module)
    monkeypatch.setattr(exercises, "_NOTEBOOKS", [*exercises._NOTEBOOKS, "98"])


def stub(x):
    raise NotImplementedError


def test_a_right_answer_is_handed_back(capsys):
    def answer(x):
        return 0.5 * x

    assert check("98.1", answer) is answer
    assert capsys.readouterr().out == "98.1 Halving: passed.\n"


def test_a_wrong_answer_gives_the_reference(capsys):
    handed_on = check("98.1", lambda x: int(x / 2))
    assert handed_on(3) == 1.5
    assert capsys.readouterr().out == (
        "98.1 Halving: not right yet. Whole numbers lose the rest.\n"
        "Case 'seven': yours is 3, expected 3.5.\n"
        "The arguments were: x = 7.\n"
        'The notebook goes on with the reference solution. Try hint("98.1").\n'
    )


def test_a_stub_gives_the_reference(capsys):
    assert check("98.1", stub)(3) == 1.5
    assert capsys.readouterr().out == (
        "98.1 Halving: not attempted. The notebook goes on with the reference solution.\n"
    )


def test_the_reference_that_was_handed_on_does_not_pass(capsys):
    answer = check("98.1", stub)
    capsys.readouterr()
    assert check("98.1", answer) is answer
    out = capsys.readouterr().out
    assert "passed" not in out
    assert out.startswith("98.1 Halving: this is the reference solution, which an earlier check")
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (stub, "not attempted"),
        (halve, "this is the reference"),
        (lambda x: x, "(.|\n)*yours is 7, expected 3.5"),
        (None, "not right yet. Pass the function itself"),
        (3.5, "not right yet. Pass the function itself"),
    ],
)
def test_strict_raises_and_tells_what_is_wrong(answer, found, monkeypatch, capsys):
    monkeypatch.setenv("SRLIB_STRICT", "1")
    with pytest.raises(AssertionError, match=rf"^98\.1 Halving: {found}"):
        check("98.1", answer)
    assert capsys.readouterr().out == ""


def test_strict_lets_right_answers_pass(monkeypatch, capsys):
    monkeypatch.setenv("SRLIB_STRICT", "1")
    assert check("98.1", lambda x: x / 2)(1) == 0.5
    assert capsys.readouterr().out == "98.1 Halving: passed.\n"


def test_other_values_of_strict_do_not_raise(monkeypatch):
    monkeypatch.setenv("SRLIB_STRICT", "0")
    assert check("98.1", stub) is halve


@pytest.mark.parametrize("call", [lambda unknown: check(unknown, halve), hint])
def test_an_unknown_id_names_the_closest(call):
    with pytest.raises(ValueError, match=r"98\.1.*, the nearest is '98\.1'; got '98\.11'"):
        call("98.11")
    with pytest.raises(ValueError, match=r"the nearest is '98\.1'; got 98\.1$"):
        call(98.1)
    with pytest.raises(ValueError, match=r"98\.1; got '\?'"):
        call("?")
    with pytest.raises(ValueError, match="got <function halve"):
        call(halve)


def test_hints_come_one_by_one_and_start_again(capsys):
    for _ in range(4):
        hint("98.1")
    assert capsys.readouterr().out == (
        "98.1 Halving, hint 1 of 3: Think.\n"
        "98.1 Halving, hint 2 of 3: Divide.\n"
        "98.1 Halving, hint 3 of 3: x / 2\n"
        "This was the last hint. The next call starts with the first one again.\n"
        "98.1 Halving, hint 1 of 3: Think.\n"
    )


def test_the_list_has_no_answers():
    table = list_exercises()
    assert list(table.index) == [task.id for task in EXERCISES] + ["98.1"]
    assert list(table.columns) == ["title", "hints"]
    assert list(table.loc["98.1"]) == ["Halving", 3]


# Every registered exercise -------------------------------------------------------------------

every_exercise = pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.id)
every_mistake = pytest.mark.parametrize(
    ("task", "mistake"),
    [
        pytest.param(task, mistake, id=f"{task.id}-{number}")
        for task in EXERCISES
        for number, mistake in enumerate(task.mistakes, start=1)
    ],
)


def test_ids_are_unique_and_sorted():
    numbers = []
    for task in EXERCISES:
        notebook, number = task.id.split(".")
        assert (len(notebook), notebook.isdigit(), number.isdigit()) == (2, True, True)
        assert not number.startswith("0")
        numbers.append((int(notebook), int(number)))
    assert numbers == sorted(set(numbers))


@every_exercise
def test_the_form_is_kept(task):
    assert task.title.strip() == task.title != ""
    assert len(task.mistakes) >= 2
    assert len(task.hints) >= 2
    names = [case.name for case in task.cases()]
    assert len(names) == len(set(names)) > 0
    for sentence in (*task.hints, *(mistake.message for mistake in task.mistakes)):
        assert sentence.strip() == sentence != ""
    assert all(mistake.message[-1] in ".?" for mistake in task.mistakes)


@every_exercise
def test_the_reference_passes(task):
    verdict = grade(task, task.reference)
    assert verdict.status == "passed", verdict.message
    assert verdict.message == ""


@every_mistake
def test_each_mistake_is_named_by_its_own_sentence(task, mistake):
    """Fails as well where the cases cannot tell two mistakes apart."""
    verdict = grade(task, mistake.function)
    assert verdict.status == "failed"
    assert verdict.message.startswith(mistake.message + "\n")


def fill_with_zero(value):
    if isinstance(value, (np.ndarray, torch.Tensor)):
        value[...] = 0 if value.any() else 1
        return True
    return False


@every_exercise
def test_bad_answers_get_their_verdict(task):
    def raising(*arguments, **keywords):
        raise ZeroDivisionError("on purpose")

    def returning_none(*arguments, **keywords):
        return None

    def unfinished(*arguments, **keywords):
        raise NotImplementedError

    def text(*arguments, **keywords):
        return "a text"

    assert "ZeroDivisionError: on purpose" in grade(task, raising).message
    assert "returned None" in grade(task, returning_none).message
    assert grade(task, text).status == "failed"
    assert grade(task, unfinished).status == "not attempted"
    assert "without calling it" in grade(task, 0).message


@every_exercise
def test_a_changed_input_is_noticed(task):
    changed = []

    def meddling(*arguments, **keywords):
        result = task.reference(*arguments, **keywords)
        if isinstance(result, (np.ndarray, torch.Tensor)):
            result = result.copy() if isinstance(result, np.ndarray) else result.clone()
        changed.extend(filter(fill_with_zero, [*arguments, *keywords.values()]))
        return result

    verdict = grade(task, meddling)
    if not changed:
        pytest.skip("no case has an array")
    assert "changed its input" in verdict.message
