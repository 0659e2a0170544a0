"""Check an answer to an exercise, get a hint, list the exercises."""

import difflib
import functools
import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from srlib.exercises.grading import Exercise, grade

__all__ = ["check", "get_exercise", "hint", "list_exercises", "points"]

# The exercises of notebook 05 are in nb05.py, which is loaded when one of them is needed.
_NOTEBOOKS = sorted(m.name[2:] for m in pkgutil.iter_modules(__path__) if m.name.startswith("nb"))
_hints_shown: dict[str, int] = {}


def check(exercise_id: str, answer: Callable) -> Callable:
    """Check the learner's function, print what was found, and return a function that is right.

    With ``my_psnr = check("03.1", my_psnr)`` a notebook goes on in any case: the result is `answer`
    if it is right, otherwise the reference solution. If the environment variable ``SRLIB_STRICT``
    is 1, a wrong answer raises an AssertionError. `list_exercises` has all ids.
    """
    exercise = get_exercise(exercise_id)
    label = f"{exercise.id} {exercise.title}"
    if answer is exercise.reference:
        # Running the check cell a second time does not solve the exercise.
        found = (
            "this is the reference solution, which an earlier check handed on. "
            "Run the cell with your function first, then check again."
        )
        outlook = ""
    else:
        verdict = grade(exercise, answer)
        if verdict.status == "passed":
            print(f"{label}: passed.")
            return answer
        if verdict.status == "not attempted":
            found = "not attempted."
            outlook = " The notebook goes on with the reference solution."
        else:
            found = f"not right yet. {verdict.message}"
            outlook = (
                f'\nThe notebook goes on with the reference solution. Try hint("{exercise.id}").'
            )
    if os.environ.get("SRLIB_STRICT") == "1":
        raise AssertionError(f"{label}: {found}")
    print(f"{label}: {found}{outlook}")
    return exercise.reference


def hint(exercise_id: str) -> None:
    """Print the next hint of an exercise such as ``"03.1"``; after the last, the first again."""
    exercise = get_exercise(exercise_id)
    shown = _hints_shown.get(exercise.id, 0)
    count = len(exercise.hints)
    text = f"{exercise.id} {exercise.title}, hint {shown + 1} of {count}: {exercise.hints[shown]}"
    if shown + 1 == count:
        text += "\nThis was the last hint. The next call starts with the first one again."
    print(text)
    _hints_shown[exercise.id] = (shown + 1) % count


def list_exercises() -> pd.DataFrame:
    """List the exercises: a DataFrame with title and number of hints by id."""
    rows = [(task.id, task.title, len(task.hints)) for task in _all_exercises()]
    return pd.DataFrame(rows, columns=["id", "title", "hints"]).set_index("id")


def points(exercise_id: str, answer: Callable, *, seed: int, time_limit_s: float = 10.0) -> int:
    """Count the points of an answer, for grading: one for each case that is right twice.

    The second time it has other numbers, chosen by `seed`; see
    `srlib.exercises.grading.Exercise.twins`. Each time it may take `time_limit_s` seconds. The
    reference that `check` returns gets 0 points.
    """
    exercise = get_exercise(exercise_id)
    if answer is exercise.reference:
        return 0
    right = []
    for cases in (exercise.cases(), exercise.twins(seed)):
        outcomes = exercise.attempt(answer, cases, time_limit_s=time_limit_s)
        right.append(exercise.judge(cases, outcomes).right)
    return sum(map(all, zip(*right, strict=False)))


def get_exercise(exercise_id: str) -> Exercise:
    """Return an exercise by its id, like ``"03.1"``; raise ValueError if there is none."""
    if isinstance(exercise_id, str) and exercise_id[:2] in _NOTEBOOKS:
        for exercise in _exercises_of(exercise_id[:2]):
            if exercise.id == exercise_id:
                return exercise
    known = [exercise.id for exercise in _all_exercises()]
    closest = difflib.get_close_matches(str(exercise_id), known, n=1)
    nearest = f", the nearest is {closest[0]!r}" if closest else ""
    raise ValueError(f"the exercises are {', '.join(known)}{nearest}; got {exercise_id!r}")


def _all_exercises() -> list[Exercise]:
    return [exercise for notebook in _NOTEBOOKS for exercise in _exercises_of(notebook)]


@functools.cache
def _exercises_of(notebook: str) -> tuple[Exercise, ...]:
    """Load the exercises of a notebook, such as "05", and number them in their order."""
    module = importlib.import_module(f"{__name__}.nb{notebook}")
    return tuple(
        replace(exercise, id=f"{notebook}.{number}")
        for number, exercise in enumerate(module.EXERCISES, start=1)
    )
