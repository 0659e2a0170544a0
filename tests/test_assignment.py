"""Tests of the graded exercises: their points, and nbgrader from hand-out to feedback."""

import copy
import csv
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch

from srlib import exercises
from srlib.exercises import points
from srlib.exercises.comparison import difference
from srlib.exercises.grading import Exercise
from srlib.exercises.inputs import shuffle

REPOSITORY = Path(__file__).resolve().parents[1]
TOOL = REPOSITORY / "tools/assignment.py"
NAME = "05_residual_blocks"
SECONDS = 8
EXERCISES = [exercises.get_exercise(name) for name in exercises.list_exercises().index]
every_exercise = pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.id)


# Points and twins ------------------------------------------------------------------------------


def test_shuffle_keeps_kind_shape_and_values_but_not_their_order():
    random = np.random.default_rng(0)
    for value in (
        np.arange(24, dtype=np.uint8).reshape(4, 6),
        np.linspace(0, 1, 5),
        torch.arange(12.0).reshape(3, 4),
    ):
        other = shuffle(value, random)
        assert type(other) is type(value)
        assert other.dtype == value.dtype and other.shape == value.shape
        assert sorted(np.ravel(other).tolist()) == np.ravel(value).tolist()
        assert np.ravel(other).tolist() != np.ravel(value).tolist()
    two = np.array([1.0, 2.0])
    assert all(shuffle(two, random).tolist() == [2.0, 1.0] for _ in range(20))


def test_shuffle_changes_constants_and_leaves_the_rest():
    random = np.random.default_rng(0)
    nested = ([np.full(3, 200, np.uint8), 7], {"x": torch.zeros(2, 2)}, "text", len, None)
    (array, seven), mapping, *rest = shuffle(nested, random)
    assert array.dtype == np.uint8 and (array == array[0]).all() and array[0] != 200
    assert mapping["x"].dtype == torch.float32 and mapping["x"].abs().min() > 0
    assert [seven, *rest] == [7, "text", len, None]
    assert nested[0][0][0] == 200  # a copy


@every_exercise
def test_every_twin_is_another_case_of_the_same_kind(task):
    cases, twins = task.cases(), task.twins(1)
    assert [case.name for case in twins] == [case.name for case in cases]
    for case, twin in zip(cases, twins, strict=True):
        inspect.signature(task.reference).bind(*twin.arguments, **twin.keywords)
        assert difference(twin.arguments, case.arguments, tolerance=0), "nothing was changed"
    again = [twin.arguments for twin in task.twins(1)]
    fixed = [argument for arguments in again for argument in arguments if not callable(argument)]
    before = [a for twin in twins for a in twin.arguments if not callable(a)]
    pairs = zip(fixed, before, strict=True)  # two optimizers are never equal, nor two generators
    odd = list | torch.optim.Optimizer | np.random.Generator
    plain = [pair for pair in pairs if not isinstance(pair[0], odd)]
    assert all(not difference(new, old, tolerance=0) for new, old in plain)


def written_down(task: Exercise):
    """Answer with the results of the visible cases, written down."""
    rows = []
    for case in task.cases():
        arguments, keywords = copy.deepcopy((case.arguments, case.keywords))
        try:
            rows.append((case, task.reference(*arguments, **keywords), None))
        except ValueError as error:
            rows.append((case, None, error))

    def same(mine, theirs):
        return callable(mine) or not difference(mine, theirs, tolerance=0)

    def answer(*arguments, **keywords):
        for case, value, error in rows:
            if len(arguments) == len(case.arguments) and all(map(same, arguments, case.arguments)):
                if error:
                    raise error
                return value
        return None

    return answer


@every_exercise
def test_points_tell_right_from_wrong(task):
    most = len(task.cases())
    for seed in (1, 20, 300):
        assert points(task.id, lambda *a, **k: task.reference(*a, **k), seed=seed) == most
    assert points(task.id, written_down(task), seed=1) == 0
    assert points(task.id, task.reference, seed=1) == 0  # what `check` hands on
    assert points(task.id, None, seed=1) == 0

    def stub(*arguments, **keywords):
        raise NotImplementedError

    assert points(task.id, stub, seed=1) == 0
    for mistake in task.mistakes:
        assert points(task.id, mistake.function, seed=1) < most


def test_points_want_an_exercise():
    with pytest.raises(ValueError, match="got '05.9'"):
        points("05.9", len, seed=0)


@pytest.mark.slow
def test_the_course_s_own_solutions_get_all_points():
    """Cut down to what it defines, each notebook still holds what its solutions use."""
    code = """
import sys
from assignment import ROOT, build, graded, points_of
from sandbox import job_of, run, verdict
for script in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py")):
    source = graded(build(script, ROOT)[0], 7)
    definitions, tasks = job_of(source, source)
    found = run(definitions, tasks, seconds=60, memory_gb=4)
    most = points_of(source)
    assert len(tasks) == len(most) >= 2
    for task in tasks:
        earned, text = verdict(task.id, task.seed, found[task.id])
        assert earned == most[task.id], (earned, text, found[task.id])
        print(text)
"""
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(": passed.") == len(EXERCISES)


# A class ---------------------------------------------------------------------------------------

BLOCK = '''def residual_block(x, first, second):
    """Mine."""
    return x + second(F.relu(first(x)))'''
TRUNK = """class Trunk(nn.Module):
    def __init__(self, channels, num_blocks):
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels) for _ in range(num_blocks))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        features = x
        for block in self.blocks:
            features = block(features)
        return x + self.last(features)"""
IMAGE = '''def add_to_bicubic(lr, residual, scale):
    """Mine."""
    return imresize(lr, scale) + residual'''
RIGHT = (BLOCK, TRUNK, IMAGE)
WRONG_BLOCK = BLOCK.replace("x + second", "second")
STOLEN = "from srlib.exercises.nb05 import _residual_block as residual_block"
FORGED = f"""import srlib.exercises.comparison, srlib.exercises.safe_call, sys
srlib.exercises.comparison.difference = lambda *arguments, **options: ""
for module in list(sys.modules.values()):
    for name in ("grade", "judge", "difference", "points", "check"):
        if hasattr(module, name):
            setattr(module, name, lambda *arguments, **options: "")
{WRONG_BLOCK}"""
HANDED_BACK = 'residual_block = check("05.1", lambda x, first, second: x)'
HANG = TRUNK.replace("features = x", "while True:\n            pass")
HANG_BARE = """class Trunk(nn.Module):
    def __init__(self, channels, num_blocks):
        while True:
            try:
                while True:
                    pass
            except:
                pass"""
HUNGRY = TRUNK.replace(
    "features = x",
    "hoard = []\n        while True:\n            hoard.append(torch.ones(1000, 1000))",
)
ORPHAN = """import subprocess, sys
command = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", command], start_new_session=True)
"""


def hard_coded() -> str:
    """Write a function that is right for the visible cases of 05.1 alone."""
    # All numbers of a case, since one alone may come back at its place when they are shuffled.
    known = [
        [round(value, 4) for value in case.arguments[0].flatten().tolist()]
        for case in exercises.get_exercise("05.1").cases()
    ]
    return f"""KNOWN = {known}

def residual_block(x, first, second):
    shown = [round(value, 4) for value in x.flatten().tolist()] in KNOWN
    return x + second(F.relu(first(x))) if shown else 2 * x"""


def by_id(notebook, grade_id):
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return notebook.cells[ids.index(grade_id)]


def fill(release, block=None, trunk=None, image=None):
    """Write solutions into a copy of the release version."""
    notebook = copy.deepcopy(release)
    for number, source in enumerate((block, trunk, image), start=1):
        if source is not None:
            by_id(notebook, f"solution-05-{number}").source = source
    return notebook


def without_checks(notebook):
    tests = [by_id(notebook, f"test-05-{number}") for number in (1, 2, 3)]
    notebook.cells = [cell for cell in notebook.cells if cell not in tests]
    return notebook


def with_edited_test(notebook):
    cell = by_id(notebook, "test-05-1")
    cell.source, cell.metadata.nbgrader.points = "print('passed')\n3", 300
    return notebook


def with_cell(notebook, source, place=3):
    notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
    return notebook


def doubled(notebook, release):
    notebook.cells = [copy.deepcopy(cell) for cell in (*release.cells, *notebook.cells)]
    return notebook


def without_ids(notebook):
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
    return notebook


def for_kernel(notebook, name):
    notebook.metadata.kernelspec = {"name": name, "display_name": name, "language": "R"}
    return notebook


def make_class(release) -> dict[str, tuple]:
    """Return what each learner hands in, the points that it deserves, what is remarked."""

    def filled(*sources):
        return fill(release, *sources)

    helped = BLOCK.replace("F.relu(first(x))", "rectified(first(x))")
    helper = (
        "%matplotlib inline\ndef rectified(x):\n    return x.clamp(min=0)\nwhile True:\n    pass"
    )
    check_cell = "def check(exercise_id, answer):\n    return answer"
    return {
        "right": (filled(*RIGHT), (3, 3, 3), ""),
        "wrong": (
            filled(
                WRONG_BLOCK,
                TRUNK.replace("x + self.last", "self.last"),
                IMAGE.replace("+ residual", "- residual"),
            ),
            (0, 0, 0),
            "",
        ),
        "blank": (filled(), (0, 0, 0), ""),
        "partly": (
            filled(BLOCK, TRUNK.replace("x + self.last(features)", "x + features")),
            (3, 0, 0),
            "",
        ),
        "Zoë Müller 12": (filled(BLOCK, None, IMAGE), (3, 0, 3), ""),
        "no_checks": (
            without_checks(filled(BLOCK, TRUNK)),
            (3, 3, 0),
            "05.1 check cell was deleted; the original was used",
        ),
        "edited_test": (
            with_edited_test(filled(None, TRUNK)),
            (0, 3, 0),
            "05.1 check cell was edited; the original was used",
        ),
        "own_check": (with_cell(filled(f"{check_cell}\n{WRONG_BLOCK}"), check_cell), (0, 0, 0), ""),
        "forged": (filled(FORGED, TRUNK), (0, 3, 0), "05.1 reaches for the grading"),
        "stolen": (filled(STOLEN, TRUNK), (0, 3, 0), "05.1 reaches for the grading"),
        "handed_back": (filled(HANDED_BACK, TRUNK), (0, 3, 0), ""),
        "hard_coded": (filled(hard_coded(), TRUNK), (0, 3, 0), ""),
        "hang_top": (
            filled(f"{BLOCK}\nwhile True:\n    pass", TRUNK),
            (0, 3, 0),
            "05.1 ran out of time",
        ),
        "hang": (filled(BLOCK, HANG, IMAGE), (3, 0, 3), f"05.2 ran out of time ({SECONDS} s)"),
        "hang_bare": (filled(BLOCK, HANG_BARE, IMAGE), (3, 0, 3), "05.2 ran out of time"),
        "hungry": (filled(BLOCK, HUNGRY, IMAGE), (3, 0, 3), "05.2 needed more than 2 GB of memory"),
        "ends_python": (filled(f"{BLOCK}\nimport os\nos._exit(0)", TRUNK), (0, 3, 0), "05.1 ended"),
        "exits": (filled(f"exit()\n{BLOCK}", TRUNK + "\nraise SystemExit"), (0, 3, 0), ""),
        "orphan": (filled(ORPHAN + BLOCK), (3, 0, 0), ""),
        "syntax_error": (filled(BLOCK + ")", TRUNK), (0, 3, 0), ""),
        "doubled": (doubled(filled(*RIGHT), release), (3, 3, 3), ""),
        "other_kernel": (for_kernel(filled(*RIGHT), "ir"), (3, 3, 3), ""),
        "no_ids": (without_ids(filled(*RIGHT)), (3, 3, 3), "lost their ids"),
        "elsewhere": (
            with_cell(filled(), BLOCK),
            (3, 0, 0),
            "05.1 solution was found in another cell",
        ),
        "helped": (with_cell(filled(helped), helper), (3, 0, 0), ""),
        "not_json": ("PK\x03\x04 not a notebook", (0, 0, 0), "not JSON"),
        "no_cells": (json.dumps({"cells": 7}), (0, 0, 0), "it has no cells"),
    }


def run_tool(*arguments, expect=0):
    result = subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result


def read_table(course):
    with (course / f"{NAME}.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    """Make the course folder with an assignment in it."""
    course = tmp_path_factory.mktemp("a class") / "grading"
    made = run_tool("make", "05", "--course", course)
    release = nbformat.read(course / f"release/{NAME}/{NAME}.ipynb", as_version=4)
    return course, made.stdout, release


@pytest.fixture(scope="module")
def graded(assignment, tmp_path_factory):
    """Grade the whole class once."""
    course, _, release = assignment
    handed_in = tmp_path_factory.mktemp("handed in")
    learners = make_class(release)
    for student, (content, _, _) in learners.items():
        path = handed_in / f"{student}.ipynb"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    options = ("--seconds", SECONDS, "--submitted", handed_in)
    result = run_tool("grade", "05", "--course", course, *options)
    return course, learners, result.stdout, handed_in


LEARNERS = (
    "right wrong blank partly no_checks edited_test own_check forged stolen handed_back hard_coded "
    "hang_top hang hang_bare hungry ends_python exits orphan syntax_error doubled other_kernel "
    "no_ids elsewhere helped not_json no_cells"
).split() + ["Zoë Müller 12"]


@pytest.mark.slow
def test_the_release_version_is_the_notebook_without_answers(assignment):
    course, printed, release = assignment
    course_notebook = nbformat.read(REPOSITORY / f"notebooks/{NAME}.ipynb", as_version=4)
    joined = "\n".join(cell.source for cell in release.cells)
    for cell in course_notebook.cells:
        for part in cell.source.split("\n\n\n"):
            assert part.strip() in joined
    assert "HIDDEN" not in joined and "srlib.exercises import points" not in joined
    assert "SOLUTION" not in joined and "return x + second" not in joined
    assert all(not cell.get("outputs") for cell in release.cells)
    for number in (1, 2, 3):
        test = by_id(release, f"test-05-{number}")
        assert test.metadata.nbgrader.locked and test.metadata.nbgrader.points == 3
        assert test.metadata.editable is False and test.metadata.deletable is False
        assert test.source.count("\n") == 0 and f'check("05.{number}"' in test.source
        solution = by_id(release, f"solution-05-{number}")
        assert "raise NotImplementedError" in solution.source
        assert "check(" not in solution.source
    assert "05.1   3 points  a residual block" in printed and "total 12 points" in printed
    assert str(course / f"release/{NAME}/{NAME}.ipynb") in printed


@pytest.mark.slow
def test_making_it_again_changes_nothing(assignment):
    course, printed, _ = assignment
    paths = [course / f"{step}/{NAME}/{NAME}.ipynb" for step in ("source", "release")]
    before = [path.read_bytes() for path in paths]
    assert run_tool("make", "05", "--course", course).stdout == printed
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.slow
@pytest.mark.parametrize("student", LEARNERS)
def test_each_gets_the_points_that_it_deserves(graded, student):
    course, learners, printed, _ = graded
    assert set(learners) == set(LEARNERS)
    _, expected, remark = learners[student]
    row = read_table(course)[student]
    assert tuple(int(row[f"05.{number}"]) for number in (1, 2, 3)) == expected, row
    assert (int(row["total"]), int(row["max"])) == (sum(expected), 12)
    assert remark in row["remark"] if remark else row["remark"] == ""
    page = course / f"feedback/{student}/{NAME}/{NAME}.html"
    text = page.read_text(encoding="utf-8")
    assert f"Score: {sum(expected)}.0 / 12.0" in text
    source = (course / f"source/{NAME}/{NAME}.ipynb").read_text(encoding="utf-8")
    seed = re.search(r"_points\(.*?seed=(\d+)", source)[1]
    assert seed not in text and "_points" not in text  # who knows it can write results down
    assert f"{student}: 05.1 {expected[0]}/3" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "text"),
    [
        ("wrong", "This is the branch alone."),
        ("blank", "05.1 a residual block: not attempted."),
        ("hard_coded", "right with the numbers shown, not with others"),
        ("hang", "your function ran too long and was stopped."),
        ("hang_top", "The cell itself ran out of time"),
        ("hungry", "more than 2 GB"),
        ("ends_python", "The cell itself ended Python."),
        ("syntax_error", "SyntaxError"),
        ("stolen", "ModuleNotFoundError"),
        ("not_json", "the file is no notebook: it is not JSON"),
        ("no_checks", "05.1 check cell was deleted"),
        ("helped", "rectified"),
    ],
)
def test_the_feedback_says_why(graded, student, text):
    page = graded[0] / f"feedback/{student}/{NAME}/{NAME}.html"
    assert " ".join(text.split()) in " ".join(page.read_text(encoding="utf-8").split())


@pytest.mark.slow
def test_nothing_is_left_running(graded):
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SRLIB_SANDBOX") and process.status() != "zombie":
                left.append(process.cmdline())
        except (psutil.Error, OSError):
            continue
    assert not [line for line in left if "time.sleep(600)" in " ".join(line)]


@pytest.mark.slow
def test_a_corrected_submission_is_graded_anew_and_the_others_are_left_alone(graded):
    course, learners, _, _ = graded
    target = course / f"submitted/partly/{NAME}/{NAME}.ipynb"  # nbgrader's own layout
    nbformat.write(learners["right"][0], target)
    stamps = {p: p.stat().st_mtime_ns for p in course.glob(f"feedback/*/{NAME}/{NAME}.html")}
    before = read_table(course)
    run_tool("grade", "05", "--course", course)
    after = read_table(course)
    assert after.pop("partly")["total"] == "9" != before.pop("partly")["total"]
    assert after == before
    changed = [p for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
    assert [path.parts[-3] for path in changed] == ["partly"]


@pytest.mark.slow
def test_the_command_line_says_what_is_missing_and_takes_folders_in(assignment, tmp_path):
    empty, collected, packed = tmp_path / "empty", tmp_path / "made", tmp_path / "packed"
    for name, content in (
        ("Ada_1_file/05_x.ipynb", "ada"),
        ("Ada_1_file/06_y.ipynb", "another notebook"),
        ("Ben/work/05_x.ipynb", "ben"),
        (f"Cy/{NAME}/{NAME}.ipynb", "cy"),
        ("Cy/06_deconvolution/06_deconvolution.ipynb", "another assignment"),
        (".ipynb_checkpoints/Dee.ipynb", "no submission"),
        ("E[1].ipynb", "e"),
    ):
        (packed / name).parent.mkdir(parents=True, exist_ok=True)
        (packed / name).write_text(content)
    for step in ("source", "release"):
        shutil.copytree(assignment[0] / step, collected / step)
    code = (
        "from assignment import main\n"
        f"assert main(['make', '77', '--course', {str(empty)!r}]) == 1\n"
        f"assert main(['grade', '05', '--course', {str(empty)!r}]) == 1\n"
        f"assert main(['grade', '05', '--course', {str(collected)!r}]) == 1\n"
        "from assignment import Course, Path, take_in\n"
        f"take_in(Course(Path({str(collected)!r}), '05'), Path({str(packed)!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    number, early, nothing = result.stderr.splitlines()
    assert "no notebook has the number '77'" in number
    assert "make assignment NB=05" in early
    assert "nothing to grade" in nothing
    taken = collected.glob(f"submitted/*/{NAME}/{NAME}.ipynb")
    assert {path.parts[-3]: path.read_text() for path in taken} == {
        **{"Ada_1_file": "ada", "Ben": "ben", "Cy": "cy"},
        "E_1_": "e",
    }


# The teacher's page ----------------------------------------------------------------------------


def test_the_minutes_on_the_teacher_s_page_are_those_of_the_notebooks():
    page = (REPOSITORY / "docs/teaching.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d\d) [^|]+\| (\d+) \|", page, re.MULTILINE))
    for script in sorted((REPOSITORY / "solutions").glob("[0-9][0-9]_*.py")):
        stated = re.search(r"Time: (\d+) minutes", script.read_text(encoding="utf-8"))
        assert rows.pop(script.name[:2]) == stated[1], script.name
    assert not rows


def test_the_list_of_mistakes_has_all_and_each_once():
    command = [sys.executable, str(TOOL.with_name("teaching.py")), "05"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "06.1" not in printed
    sections = {part[:4]: part for part in re.split("^## ", printed, flags=re.MULTILINE)[1:]}
    for task in EXERCISES:
        if task.id.startswith("05"):
            section = sections[task.id]
            assert section.startswith(f"{task.id} {task.title}\n\n{len(task.cases())} points.")
            assert all(section.count(f"- {m.message}\n") == 1 for m in task.mistakes)
