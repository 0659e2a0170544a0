"""Tests of the graded exercises: their points, and nbgrader from hand-out to feedback."""

import copy
import csv
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import psutil
import pytest
import sandbox
import torch
from answers import definitions, read_outcome, write_outcome
from assignment import build, points_of
from assignment import graded as graded_version
from nbgrader.api import Gradebook
from sandbox import RESULT_SIZE, Answer, Task, read_answer, run, verdict, why_not_isolated
from submissions import find, read_code, rebuild, student_of

from srlib import exercises
from srlib.exercises import points
from srlib.exercises.comparison import difference
from srlib.exercises.inputs import shuffle
from srlib.exercises.safe_call import Outcome

REPOSITORY = Path(__file__).resolve().parents[1]
TOOL = REPOSITORY / "tools/assignment.py"
NAME = "05_residual_blocks"
SECONDS = 8
EXERCISES = [exercises.get_exercise(name) for name in exercises.list_exercises().index]
SCRIPTS = sorted((REPOSITORY / "solutions").glob("[0-9][0-9]_*.py"))
every_exercise = pytest.mark.parametrize("task", EXERCISES, ids=lambda task: task.id)


# Points and twins ------------------------------------------------------------------------------


def test_shuffle_keeps_kind_shape_and_values_but_not_their_order():
    random = np.random.default_rng(0)
    for value in (np.arange(24, dtype=np.uint8).reshape(4, 6), torch.arange(12.0).reshape(3, 4)):
        other = shuffle(value, random)
        assert (type(other), other.dtype, other.shape) == (type(value), value.dtype, value.shape)
        assert sorted(np.ravel(other).tolist()) == np.ravel(value).tolist()
        assert np.ravel(other).tolist() != np.ravel(value).tolist()
    nested = ([np.full(3, 200, np.uint8), 7], {"x": torch.zeros(2, 2)}, "text", len, None)
    (array, seven), mapping, *rest = shuffle(nested, random)  # constants are changed
    assert array.dtype == np.uint8 and (array == array[0]).all() and array[0] != 200
    assert mapping["x"].dtype == torch.float32 and mapping["x"].abs().min() > 0
    assert [seven, *rest] == [7, "text", len, None]
    assert nested[0][0][0] == 200  # a copy


def written_down(task):
    """Answer with the results of the visible cases, written down."""

    def same(mine, theirs):
        return callable(mine) or not difference(mine, theirs, tolerance=0)

    def answer(*arguments, **keywords):
        for case in task.cases():
            if len(arguments) == len(case.arguments) and all(map(same, arguments, case.arguments)):
                return task.reference(*case.arguments, **case.keywords)
        return None

    return answer


@every_exercise
def test_points_tell_right_from_wrong(task):
    def stub(*arguments, **keywords):
        raise NotImplementedError

    most = len(task.cases())
    for seed in (1, 20, 300):
        assert points(task.id, lambda *a, **k: task.reference(*a, **k), seed=seed) == most
    for answer in (written_down(task), task.reference, None, stub):  # `check` hands the second on
        assert points(task.id, answer, seed=1) == 0
    for mistake in task.mistakes:
        assert points(task.id, mistake.function, seed=1) < most


# What comes out of a sandbox --------------------------------------------------------------------


def test_values_come_back_as_they_went():
    values = [1, -2.5, True, None, "a", float("inf"), 1 + 2j, np.uint8(3), np.arange(6.0)[::2]]
    values += [torch.ones(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.bfloat16)]
    values += [(1, [2, (torch.eye(2),)]), {"a": {"b": np.zeros((0, 3), np.complex64)}}]
    for value in values:
        back = read_outcome(write_outcome(Outcome(value, None, (0, "scale"))))
        assert not difference(back.value, value, tolerance=0) and back.changed == (0, "scale")


def test_what_is_no_result_stops_its_exercise_only(tmp_path):
    arrays = (["|O8", [1], ""], ["<f8", [2**40], ""], [[], [], []], "pickle", 7)
    outcomes = [{"value": {"__array__": array}, "changed": []} for array in arrays]
    outcomes += [5, {}, {"value": 1}, {"error": [1, 2], "changed": []}]
    contents = ["", "[" * 100_000, "PK\x03", "5", " " * (RESULT_SIZE + 1), '{"outcomes": []}']
    for outcome in outcomes:
        contents.append(json.dumps({"stopped": "", "outcomes": [json.dumps(outcome)]}))
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_text(content)
    (tmp_path / "link").symlink_to(tmp_path / "0")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (*tmp_path.iterdir(), tmp_path / "missing"):
        assert "gave back what is no result" in read_answer(path).stopped, path


@pytest.mark.parametrize("value", [[1] * 10**6, {str(n): n for n in range(10**5)}, "x" * 10**6])
@pytest.mark.parametrize("changed", [(), (99,)])
def test_odd_values_are_compared_in_short(value, changed):
    answer = Answer([Outcome(value, None, changed)] * 6, "")
    earned, text = verdict(Task("05.1", "residual_block", 1, ""), answer)
    assert earned == 0 and len(text) < 1000


@pytest.mark.parametrize(("busy", "said"), [(True, ""), (False, "ran out of time")])
def test_a_busy_machine_takes_no_time_from_a_learner(tmp_path, monkeypatch, busy, said):
    """Pretend that the clock goes on by 5 s while a hundredth of a second is computed, or none."""
    clock, polls = itertools.count(0, 5), itertools.count(1)
    process = SimpleNamespace(poll=lambda: 0 if next(polls) > 100 else None)
    part = SimpleNamespace(
        memory_info=lambda: SimpleNamespace(rss=0),
        cpu_times=lambda: (next(polls) / 100 if busy else 1, 0, 0, 0),
    )
    monkeypatch.setattr(sandbox, "_inside", lambda process: [part])
    monkeypatch.setattr(sandbox.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sandbox.time, "sleep", lambda seconds: None)
    (tmp_path / "progress").write_text(".")
    job = {"seconds": 20, "memory_gb": 1}
    assert sandbox._watch(process, [tmp_path / "progress"] * 2, job).startswith(said)
    assert said or next(polls) > 100


def test_two_names_stay_two():
    names = ["a+b", "a_b", "a*b", "a_b.", " a_b", "\udcff", "x" * 200, "x" * 201, "é", "e\u0301"]
    students = {student_of(name) for name in names}
    assert len(students) == len(names) and {"a_b", "é"} < students
    assert all(len(os.fsencode(student)) < 250 and "/" not in student for student in students)


def test_what_cells_define_is_taken_and_what_they_compute_is_not():
    taken = [
        "half = lambda x: np.round(x / 2)",
        "if True:\n    def double(x):\n        return 2 * x",
    ]
    taken += [
        "SIDES = (1, 3)",
        "import math",
        "try:\n    import cv2\nexcept ImportError: cv2 = None",
    ]
    left = [
        "K = np.array([1, 3])",
        "if True:\n    train()",
        "if True:\n    while True: pass",
        "x +",
    ]
    assert list(definitions(taken)) == taken
    assert list(definitions(left)) == []


def test_a_check_may_be_written_in_other_styles():
    checks = ["f = check('05.1', f)", 'f=check( "05.1",f );  # once more', 'f = check("05.1", f)']
    for line in checks:
        cells = [{"cell_type": "code", "source": [f"def f(): ...\n{line}"]}]
        assert read_code(json.dumps({"cells": cells}).encode()) == ["def f(): ..."]


# A class ---------------------------------------------------------------------------------------

R = "#RIGHT#"  # the solution of the exercise
HANG = "while True:\n    try:\n        while True:\n            pass\n    except:\n        pass\n"
FORK = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
ENDS = "import os\nos._exit(0)\n"
HUNGRY = "def add_to_bicubic(*a):\n    x = []\n    while 1:\n        x += [0] * 10**6"
IN_A_SANDBOX = "import os\nassert os.getpid() < 10\n"  # what follows would end these tests
KILLS = f"""{IN_A_SANDBOX}import contextlib
for target in (-1, os.getppid()):
    for signal in (2, 15, 19, 9):
        with contextlib.suppress(OSError):
            os.kill(target, signal)
"""
FLOOD = """import contextlib, os
for file in range(3, 50):
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(10**6))
"""
FORGED = "import os, pickle\nfor n in range(3, 50):\n    os.write(n, pickle.dumps(print))\n"
DAEMON = """import subprocess, sys
command = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(@SLEEP@)"
subprocess.Popen([sys.executable, "-c", command], start_new_session=True, env={})
"""
# This stops its cell if it can do harm.
HARM = """import contextlib, os, socket, sys, srlib, torch
assert not os.path.exists(@COURSE@) and "TEACHERS" not in os.environ
with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", @PORT@))
    sys.exit("there is a network")
for folder in (torch.__path__[0], srlib.__path__[0], sys.argv[1], "/usr", "/etc"):
    with contextlib.suppress(OSError):
        open(f"{folder}/harm", "w")
        sys.exit(folder)
for folder in ("/tmp", "/dev/shm", "/", "/dev"):
    with contextlib.suppress(OSError):
        for number in range(100):
            open(f"{folder}/{number}", "wb").write(bytes(10**7))
        sys.exit("there is no end")
"""
HARD_CODED = """from srlib.exercises import get_exercise
KNOWN = [case.arguments[0] for case in get_exercise("05.1").cases()]
#RIGHT# if any(torch.equal(x, known) for known in KNOWN) else x
"""
HELPER = "%matplotlib inline\ndef rectified(x):\n    return x.clamp(min=0)\n" + HANG
HELPED = "def residual_block(x, first, second):\n    return x + second(rectified(first(x)))"
RETURNED = 'residual_block = check("05.1", lambda x, first, second: x)'
# What learners hand in: their four solutions and cells that they add, or a file; the points that
# they deserve, None if they cannot be graded; a part of the remark, empty if there is none.
CLASS = {
    "right": ([R, R, R, R], (3, 3, 3, 3), ""),
    "blank": ([], (0, 0, 0, 0), ""),
    "mark": ([R], (3, 0, 0, 0), ""),  # the file begins with a byte-order mark
    "no_ids": ([R, R, R, R], (3, 3, 3, 3), ""),
    "a+b": ([R], (3, 0, 0, 0), ""),
    "a_b": ([f"{R}\nresidual_block = max"], (0, 0, 0, 0), ""),
    "markup": ([f"{R}\nraise ValueError('<script>1\\x1b[2K</script><h1>')"], (3, 0, 0, 0),
               "05.1 ValueError: "),
    "computed": (["def residual_block(x, f, g):\n    return x + g(ten(f(x)))", "", "", "",
                  "ten = functools.partial(torch.clamp, min=0)"], (0, 0, 0, 0),
                 "05.1 needs ten, which another cell computes"),
    "leaves": ([f"exit()\n{R}", R], (0, 3, 0, 0), "05.1 SystemExit"),
    "Zoë Müller 12": ([HELPED, "", "", "", HELPER], (3, 0, 0, 0), ""),
    "elsewhere": ([HARD_CODED, "", "", "", R], (0, 3, 0, 0), ""),
    "handed_back": ([RETURNED], (0, 0, 0, 0), ""),
    "odd": ([f"x = '@SURROGATE@'\n{R}", f"x = {'9' * 4500}\n{R}", HUNGRY, f"{R})"],
            (3, 0, 0, 0), "05.4 SyntaxError"),
    "long": ([R + "\n#" * 3000, R], (0, 3, 0, 0), "a cell of more than 5000 characters"),
    "hang": ([R, HANG + R, R, ENDS + R], (3, 0, 3, 0), "05.2 ran out of time"),
    "harmless": ([HARM + R, KILLS + R, R, R], (3, 3, 3, 3), ""),
    "daemon": ([DAEMON + R], (3, 0, 0, 0), ""),
    "bomb": ([R, FORK + R, R, R], (3, 0, 3, 3), "05.2 "),
    "stops": ([R, f"{IN_A_SANDBOX}os.kill(0, 19)\n{R}", R], (3, 0, 3, 0), "05.2 ran out of time"),
    "flood": ([FLOOD + R, R, R, R], (0, 0, 0, 0), "05.1 gave back what is no result"),
    "forged": ([R, R, R, FORGED + R], (3, 3, 3, 0), "05.4 "),
    "not_json": (lambda path: path.write_text("PK\x03\x04"), None, "the file is no notebook"),
    "no_cells": (lambda path: path.write_text('{"cells": 7}'), None, "the file is no notebook"),
    "folder": (Path.mkdir, None, "is no file, but a folder"),
    "link": (lambda path: path.symlink_to("/etc/passwd"), None, "is no file"),
    "pipe": (os.mkfifo, None, "is no file"),
}  # fmt: skip


SAID = {  # on the pages
    "blank": "05.1 a residual block: not attempted.",
    "elsewhere": "right with the numbers shown, not with others",
    "hang": f"ran out of time ({SECONDS} s of computing, or of waiting).",
    "odd": "your function raised MemoryError",
    "Zoë Müller 12": "rectified",
}


def read(course, step):
    return nbformat.read(course / f"{step}/{NAME}/{NAME}.ipynb", as_version=4)


def by_id(notebook, grade_id):
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return notebook.cells[ids.index(grade_id)]


def hand_in(student, course, path, known=()):
    """Write what a learner of the class hands in."""
    sources = CLASS[student][0]
    if callable(sources):
        return sources(path)
    notebook, solved = read(course, "release"), read(course, "source")
    cells = [by_id(notebook, f"solution-05-{number}") for number in (1, 2, 3, 4)]
    right = [by_id(solved, f"solution-05-{number}").source for number in (1, 2, 3, 4, 2)]
    notebook.cells.append(nbformat.v4.new_code_cell())  # the learner's own
    for cell, source, solution in zip([*cells, notebook.cells[-1]], sources, right, strict=False):
        solution = re.sub(r"\s*### (BEGIN|END) SOLUTION", "", solution)
        cell.source = source.replace(R, solution) or cell.source
    for cell in notebook.cells if student == "no_ids" else ():
        cell.metadata = {}
    text = json.dumps(notebook).replace("@SURROGATE@", r"\ud800")
    for name, value in {**dict(known), "@SLEEP@": os.getpid()}.items():
        text = text.replace(name, json.dumps(str(value))[1:-1])
    path.write_text("\ufeff" * (student == "mark") + text, encoding="utf-8")


def run_tool(*arguments, expect=0, **environment):
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    environment = {**os.environ, **environment}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == expect, result.stdout + result.stderr
    return result


def read_table(course):
    with (course / f"{NAME}.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def points_in(row):
    return tuple(int(row[f"05.{number}"] or -1) for number in (1, 2, 3, 4))


def feedback(course, student):
    page = course / f"feedback/{student_of(student)}/{NAME}/{NAME}.html"
    return " ".join(page.read_text(encoding="utf-8").split())


def is_anything_left():
    rows = [process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"])]
    return any(f"time.sleep({os.getpid()})" in " ".join(row) for row in rows)


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    """Make the course folder with an assignment in it."""
    course = tmp_path_factory.mktemp("a class") / "grading"
    return course, run_tool("make", "05", "--course", course).stdout


@pytest.fixture(scope="module")
def graded(assignment, tmp_path_factory):
    """Grade the whole class once, with bubblewrap."""
    if reason := why_not_isolated():
        pytest.skip(reason)
    course = assignment[0]
    folder = tmp_path_factory.mktemp("handed in, $HOME 'and' more")
    with socket.create_server(("127.0.0.1", 0)) as server:
        known = {"@PORT@": server.getsockname()[1], "@COURSE@": repr(str(course))}
        for student in CLASS:
            hand_in(student, course, folder / f"{student}.ipynb", known)
        options = ("--seconds", SECONDS, "--submitted", folder)
        result = run_tool("grade", "05", "--course", course, *options, expect=1, TEACHERS="secret")
    return course, result.stdout


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("student", CLASS)
def test_each_gets_the_points_that_it_deserves(graded, student):
    course, printed = graded
    _, expected, remark = CLASS[student]
    row = read_table(course)[student_of(student)]
    assert remark in row["remark"] if remark else row["remark"] == "", row
    if expected is None:
        assert "not graded" in row["remark"] and row["total"] == row["05.1"] == ""
        return
    assert points_in(row) == expected, row
    assert (int(row["total"]), int(row["max"])) == (sum(expected), 12)
    assert f"{student_of(student)}: 05.1 {expected[0]}/3" in printed
    page = feedback(course, student)
    for text in (f"Score: {sum(expected)}.0 / 12.0", remark, SAID.get(student, "")):
        assert text in page
    assert "<script>1" not in page and "</script><h1>" not in page and "\x1b" not in page
    seed = re.search(r"seed=(\d+)", by_id(read(course, "source"), "test-05-1").source)[1]
    assert seed not in page and "_points" not in page  # who knows it can write results down


@pytest.mark.slow
@pytest.mark.processes
def test_everybody_is_in_the_table_and_nothing_is_left(graded):
    assert len(read_table(graded[0])) == len(CLASS)
    assert not is_anything_left()


@pytest.mark.slow
@pytest.mark.processes
def test_without_bubblewrap_it_says_so_and_the_tool_s_faults_are_tried_again(assignment, tmp_path):
    graded_already = shutil.ignore_patterns("submitted", "rebuilt", "autograded", "feedback")
    course = shutil.copytree(assignment[0], tmp_path / "grading", ignore=graded_already)
    (tmp_path / "new").mkdir()
    for student in ("right", "hang", "daemon"):
        hand_in(student, course, tmp_path / f"new/{student}.ipynb")
    grade = ("grade", "05", "--course", course, "--seconds", SECONDS)
    new, plain = ("--submitted", tmp_path / "new"), {"PATH": str(tmp_path)}
    run_tool(*grade, *new, "--memory", 0.01, expect=1, **plain)  # it cannot even be loaded
    table = read_table(course)
    assert all(row["total"] == "" and "not graded" in row["remark"] for row in table.values())
    result = run_tool(*grade, **plain)
    assert "not isolated: bubblewrap is not installed" in result.stderr
    table = read_table(course)
    for student in ("right", "hang"):
        assert points_in(table[student]) == CLASS[student][1]
        assert "not isolated" in table[student]["remark"]
        assert "not isolated" in feedback(course, student)
    assert points_in(table["daemon"])[0] == 3 and not is_anything_left()
    pages = {p: p.stat().st_mtime_ns for p in course.glob(f"feedback/*/{NAME}/{NAME}.html")}
    hand_in("right", course, course / f"submitted/hang/{NAME}/{NAME}.ipynb")  # it is corrected
    run_tool(*grade, **plain)
    assert points_in(read_table(course)["hang"]) == (3, 3, 3, 3)
    changed = [p.parts[-3] for p, stamp in pages.items() if p.stat().st_mtime_ns != stamp]
    assert changed == ["hang"]

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.find_grade("test-05-1", NAME, NAME, "hang").manual_score = 1
        gradebook.db.commit()
    run_tool(*grade, **plain)
    assert points_in(read_table(course)["hang"]) == (1, 3, 3, 3)
    (tmp_path / "late").mkdir()
    hand_in("blank", course, tmp_path / "late/hang.ipynb")
    (tmp_path / "late/right.ipynb").write_text("")
    (tmp_path / "late/Paul.py").write_text("x = 1")
    run_tool(*grade, "--submitted", tmp_path / "late", expect=1, **plain)
    table = read_table(course)
    assert points_in(table["hang"]) == (0, 0, 0, 0) and points_in(table["right"]) == (3, 3, 3, 3)
    assert "points by hand were for the submission before: 05.1 1" in table["hang"]["remark"]
    assert "the file is no notebook; the earlier one counts" in table["right"]["remark"]
    assert table["Paul"]["remark"] == "not graded: no notebook, but Paul.py"


@pytest.mark.slow
@pytest.mark.processes
def test_an_assignment_that_the_course_has_left_behind_is_not_graded(assignment, tmp_path):
    course = shutil.copytree(assignment[0], tmp_path / "grading")
    release = read(course, "release")
    by_id(release, "test-05-2").metadata.nbgrader.points += 1
    nbformat.write(release, course / f"release/{NAME}/{NAME}.ipynb")
    hand_in("blank", course, tmp_path / "anna.ipynb")
    result = run_tool("grade", "05", "--course", course, "--submitted", tmp_path, expect=1)
    assert "make assignment NB=05, then grade again" in result.stderr


@pytest.mark.slow
def test_what_is_missing_in_a_submission_is_said(assignment):
    release = read(assignment[0], "release")
    stub = by_id(release, "solution-05-1").source
    renamed = stub.replace("residual_block", "my_block")
    known = [cell.source for cell in release.cells if cell.cell_type == "code"]
    for code, remarks in (
        ([renamed], ["05.1 there is no function residual_block"]),
        (["print('another notebook')"], ["none of the functions is in it: another notebook?"]),
        ([f"{stub}  # changed"], []),
        ([*known, ""], []),
    ):
        notebook = copy.deepcopy(release)
        assert rebuild(notebook, code, 1)[2] == remarks
        if code == [renamed]:
            assert by_id(notebook, "solution-05-1").source == renamed  # for the teacher to see


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name[:2])
def test_the_course_s_own_solutions_get_all_points(script):
    """Cut down to what it defines, each notebook still holds what its solutions use."""
    source = graded_version(build(script, REPOSITORY)[0], 7)
    points = points_of(source)
    cells, tasks, _ = rebuild(source, [], 7)
    answers = run(cells, tasks, seconds=60, memory_gb=4, isolated=False)
    earned = {task.id: verdict(task, answers[task.id])[0] for task in tasks}
    assert earned == points and len(earned) >= 2, answers


@pytest.mark.slow
def test_the_release_version_is_the_notebook_without_answers(assignment):
    course, printed = assignment
    release = read(course, "release")
    joined = "\n".join(cell.source for cell in release.cells)
    for cell in nbformat.read(REPOSITORY / f"notebooks/{NAME}.ipynb", as_version=4).cells:
        assert all(part.strip() in joined for part in cell.source.split("\n\n\n"))
    assert not re.search("HIDDEN|_points|SOLUTION|return x [+] second", joined)
    assert all(not cell.get("outputs") for cell in release.cells)
    test = by_id(release, "test-05-1").metadata.nbgrader
    assert test.locked and test.points == 3
    assert "raise NotImplementedError" in by_id(release, "solution-05-1").source
    assert "05.1   3 points  a residual block" in printed and "total 12 points" in printed
    before = read(course, "source")
    assert run_tool("make", "05", "--course", course).stdout == printed
    assert read(course, "source") == before and read(course, "release") == release


def test_the_command_line_says_what_is_missing_and_finds_what_platforms_pack(tmp_path):
    grade = ("--course", tmp_path / "c")
    assert "no notebook has the number '77'" in run_tool("grade", "77", *grade, expect=1).stderr
    assert "make assignment NB=05" in run_tool("grade", "05", *grade, expect=1).stderr
    names = ["Ada_1/06_y.ipynb", "Ada_1/05_x.ipynb", "Ben/work/05_x.ipynb", "E[1].ipynb"]
    names += ["F/05.zip", "GRETA.IPYNB", "h.txt"]
    handed_in = tmp_path / "in"
    for name in (*names, ".hid/Dee.ipynb", "GRETA.txt"):
        (handed_in / name).parent.mkdir(parents=True, exist_ok=True)
        (handed_in / name).write_text(name)
    found = {student: paths[-1].read_text() for student, paths in find(handed_in, "05").items()}
    students = ["Ada_1", "Ben", student_of("E[1]"), "F", "GRETA", "h"]
    assert found == dict(zip(students, names[1:], strict=True))
    run_tool("make", "05", *grade)
    nowhere = run_tool("grade", "05", *grade, "--submitted", tmp_path / "nosuch", expect=1)
    assert "there is no folder" in nowhere.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("value", ["~/a b", "O'Neil", '"$HOME" `id`', "$(shell echo hi)"])
@pytest.mark.parametrize("given", ["command line", "environment"])
def test_make_passes_names_as_they_are(tmp_path, value, given):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    for target, name, ahead in (("grade", "SUBMITTED", "--submitted="), ("publish", "REPO", "")):
        words = ["make", "-so", ".venv/.dev", target, "PYTHON=x"]
        words += [f"{name}={value}"] if given == "command line" else []
        environment = {"PATH": os.environ["PATH"]}  # nothing of a make that runs the tests
        environment |= {name: value} if given == "environment" else {}
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert f"{ahead}{value}" in done.stdout.splitlines(), done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_takes_its_defaults_where_nothing_is_given(tmp_path):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    words = ["make", "-s", "--eval", 'show: ; @echo "$$PYTHON, $$REF, $$MARKS, $$NB"', "show"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "python3").symlink_to(sys.executable)
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert re.fullmatch(r"python3, main, not \(notebooks .*\), \n", done.stdout), done.stderr


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
