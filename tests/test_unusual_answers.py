"""Answers that no list of mistakes names: unusual right ones pass, wrong ones do not.

A new one goes into the file of its notebook. `NN.k-n` in a test's name is the n-th
answer to NN.k there.
"""

import answers_to_00_03
import answers_to_04_07
import answers_to_12
import answers_to_14
import pytest

from srlib import exercises
from srlib.exercises.grading import grade

FILES = (answers_to_00_03, answers_to_04_07, answers_to_12, answers_to_14)
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
    names = exercises.list_exercises().index
    names = [name for name in names if name[:2] <= "07" or name[:2] in ("12", "14")]
    assert list(RIGHT) == list(WRONG) == names
    assert all(len(answers) >= 5 for answers in RIGHT.values())


@pytest.mark.parametrize("answer", answers_to_04_07.BY_TORCH)
def test_the_function_that_is_to_be_written_cannot_be_called(answer):
    verdict = grade(exercises.get_exercise("06.1"), answer)
    assert "write the transposed convolution without conv" in verdict.message
