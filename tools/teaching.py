"""Print common mistakes, points and hints of the exercises as Markdown, for teachers.

Run it from anywhere::

    python tools/teaching.py 05      # one notebook
    python tools/teaching.py         # all
"""

import argparse

from srlib.exercises import get_exercise, list_exercises


def describe(exercise_id: str) -> str:
    """Return an exercise's points, the mistakes that `check` knows, and its hints, as Markdown."""
    task = get_exercise(exercise_id)
    sentences = dict.fromkeys(mistake.message for mistake in task.mistakes)  # without repeats
    return "\n".join(
        [
            f"## {task.id} {task.title}\n",
            f"{len(task.cases())} points. What learners get wrong, in the words of `check`:\n",
            *(f"- {sentence}" for sentence in sentences),
            "\nHints, the last one is the solution:\n",
            *(f"{number}. {hint}" for number, hint in enumerate(task.hints, start=1)),
        ]
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="notebooks (default: all)")
    numbers = parser.parse_args().numbers
    known = list_exercises().index
    if unknown := set(numbers) - {name[:2] for name in known}:
        parser.error(f"no notebook has the number {', '.join(sorted(unknown))}")
    chosen = (name for name in known if not numbers or name[:2] in numbers)
    print("\n\n".join(describe(name) for name in chosen))


if __name__ == "__main__":
    main()
