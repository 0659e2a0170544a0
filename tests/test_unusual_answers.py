"""Answers that no list of mistakes names: unusual right ones pass, wrong ones do not.

They lie in files answers_to_*.py. `NN.k-n` in a test's name is the n-th answer to NN.k there.
"""

import importlib
from pathlib import Path

import answers_to_04_07
import pytest

from srlib import exercises
from srlib.exercises.grading import grade

FILES = [
    importlib.import_module(path.stem)
    for path in sorted(Path(__file__).parent.glob("answers_to_*.py"))
]
RIGHT = {name: answers for file in FILES for name, answers in file.RIGHT.items()}
WRONG = {name: answers for file in FILES for name, answers in file.WRONG.items()}


def each(answers: dict) -> list:
    return [
        pytest.param(name, answer, id=f"{name}-{number}")
        for name, given in answers.items()
        for number, answer in enumerate(given, start=1)
    ]


@pytest.mark.parametrize(("name", "answer"), each(RIGHT))
def test_an_unusual_right_answer_passes(name, answer):
    verdict = grade(exercises.get_exercise(name), answer)
    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "answer"), each(WRONG))
def test_a_wrong_answer_fails(name, answer):
    assert grade(exercises.get_exercise(name), answer).status == "failed"


def test_there_are_five_right_answers_for_each_exercise():
    assert sorted(RIGHT) == sorted(WRONG) == list(exercises.list_exercises().index)
    assert all(len(answers) >= 5 for answers in RIGHT.values())


@pytest.mark.parametrize("answer", answers_to_04_07.BY_TORCH)
def test_the_function_that_is_to_be_written_cannot_be_called(answer):
    verdict = grade(exercises.get_exercise("06.1"), answer)
    assert "write the transposed convolution without conv" in verdict.message
