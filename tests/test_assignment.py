"""Tests of the graded exercises: their points, and nbgrader from hand-out to feedback."""

import copy
import csv
import functools
import inspect
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch
from answers import encode
from sandbox import RESULT_SIZE, Answer, Task, decode, read_answer, verdict, why_not_isolated
from submissions import find, student_of

from srlib import exercises
from srlib.exercises import points
from srlib.exercises.comparison import difference
from srlib.exercises.grading import Exercise
from srlib.exercises.inputs import shuffle
from srlib.exercises.safe_call import Outcome

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


# What comes out of a sandbox --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.processes
def test_the_course_s_own_solutions_get_all_points():
    """Cut down to what it defines, each notebook still holds what its solutions use."""
    code = """
from assignment import ROOT, build, graded, points_of
from sandbox import run, verdict
from submissions import job_of
for script in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py")):
    source = graded(build(script, ROOT)[0], 7)
    cells, tasks = job_of(source, source)
    answers = run(cells, tasks, seconds=60, memory_gb=4, isolated=False)
    assert len(tasks) == len(points_of(source)) >= 2
    for task in tasks:
        earned, text = verdict(task, answers[task.id])
        assert earned == points_of(source)[task.id], (earned, text, answers[task.id])
        print(text)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TOOL.parent)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(": passed.") == len(EXERCISES)


def test_values_come_back_as_they_went():
    values = [1, -2.5, True, None, "a", float("inf"), 1 + 2j, np.uint8(3), np.arange(6.0)[::2]]
    values += [torch.ones(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.bfloat16)]
    values += [(1, [2, (torch.eye(2),)]), {"a": 1, (1, 2): np.zeros((0, 3), np.complex64)}]
    for value in values:
        assert not difference(decode(json.loads(json.dumps(encode(value)))), value, tolerance=0)
    assert type(decode(encode(len))).__name__ == "builtin_function_or_method"


@pytest.mark.parametrize(
    "value",
    [
        *({"array": ["|O8", [1], ""]}, {"array": ["<f8", [2**40], ""]}, {"array": [[], [], []]}),
        *({"dict": [[{"list": []}, 1]]}, {"list": 7}, {"pickle": "x"}, [1], {}, {"a": 1, "b": 2}),
        functools.reduce(lambda inner, _: {"list": [inner]}, range(100), 1),
    ],
)
def test_what_is_no_result_stops_its_exercise_only(tmp_path, value):
    file = tmp_path / "05.1"
    outcome = {"value": value, "changed": []}
    file.write_text(json.dumps({"stopped": "", "outcomes": [outcome]}))
    assert "no result" in read_answer(file, "").stopped
    for event in ({}, {"error": [1, 2], "changed": []}, {"value": 1}, 5):
        file.write_text(json.dumps({"stopped": "", "outcomes": [event]}))
        assert "no result" in read_answer(file, "").stopped


def test_files_that_are_none_or_too_large_are_refused(tmp_path):
    (tmp_path / "large").write_bytes(b" " * (RESULT_SIZE + 1))
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "pickle").write_bytes(b"\x80\x04N.")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    os.mkfifo(tmp_path / "pipe")
    for name in ("large", "deep", "pickle", "link", "pipe", "missing"):
        assert "gave back what is no result" in read_answer(tmp_path / name, "").stopped
    assert read_answer(tmp_path / "empty", "ended Python.").stopped == "ended Python."


@pytest.mark.parametrize("value", [[1] * 10**6, {str(n): n for n in range(10**5)}, "x" * 10**6])
def test_a_large_wrong_value_is_compared_by_its_shape(value):
    task = Task("05.1", "residual_block", 1, "")
    earned, text = verdict(task, Answer([Outcome(value)] * 6))
    assert earned == 0 and len(text) < 1000


def test_two_names_stay_two():
    names = ["a+b", "a_b", "a*b", "a_b.", " a_b", "\udcff", "x" * 200, "x" * 201, "é", "e\u0301"]
    students = {student_of(name) for name in names}
    assert len(students) == len(names) and {"a_b", "é"} < students
    assert all(len(os.fsencode(student)) < 250 and "/" not in student for student in students)


# A class ---------------------------------------------------------------------------------------

KILL = "import os\nos.kill({}, {})\n"
FORK = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
FLOOD = """import os, pickle, sys
for number in (1, 4):
    try:
        with open(f"{sys.argv[1]}/05.{number}", "wb") as file:
            while True:
                file.write(bytes(10**6))
    except OSError:
        pass
os._exit(0)"""
FORGED = """import os, pickle, sys
open(f"{sys.argv[1]}/05.3", "wb").write(pickle.dumps(print))
os._exit(0)"""
FULL = """for folder in ("/tmp", "/dev/shm", "/", "/dev"):
    try:
        for number in range(100):
            open(f"{folder}/{number}", "wb").write(bytes(10**7))
        assert False, "there is no end"
    except OSError:
        pass
"""
DAEMON = """import subprocess, sys
command = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(@SLEEP@)"
subprocess.Popen([sys.executable, "-c", command], start_new_session=True, env={})
"""
CALLS = """import socket
try:
    socket.create_connection(("127.0.0.1", @PORT@))
except OSError:
    pass
else:
    raise SystemExit
"""
# These raise if they can do harm.
READS = """import os
assert not os.path.exists(@COURSE@) and "TEACHERS" not in os.environ
"""
WRITES = """import os, sys, srlib, torch
for folder in (torch.__path__[0], srlib.__path__[0], sys.argv[1], "/usr", "/etc"):
    try:
        open(f"{folder}/harm", "w")
    except OSError:
        continue
    raise SystemExit(folder)
"""
HANG = "while True:\n    try:\n        while True:\n            pass\n    except:\n        pass"
HUNGRY = "def add_to_bicubic(*a):\n    x = []\n    while 1:\n        x.append(torch.ones(10**6))"


def by_id(notebook, grade_id):
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    return notebook.cells[ids.index(grade_id)]


def make_class(release, right) -> dict[str, tuple]:
    """Return what each learner hands in, the points that it deserves, what is remarked."""
    known = [
        [round(value, 4) for value in case.arguments[0].flatten().tolist()]
        for case in exercises.get_exercise("05.1").cases()
    ]
    shown = "[round(value, 4) for value in x.flatten().tolist()] in KNOWN"
    hard_coded = f"KNOWN = {known}\n{right[0]} if {shown} else x"

    def hand(*sources, added=(), ids=True):
        notebook = copy.deepcopy(release)
        for number, source in enumerate(sources, start=1):
            if source is not None:
                by_id(notebook, f"solution-05-{number}").source = source
        for source in added:
            notebook.cells.insert(3, nbformat.v4.new_code_cell(source))
        for cell in notebook.cells:
            cell.metadata = cell.metadata if ids else {}
        return json.dumps(notebook)

    helper = "%matplotlib inline\ndef rectified(x):\n    return x.clamp(min=0)\n" + HANG
    one, two, three, four = right
    known_name = one.replace("F.relu", "rectified")
    builds = two.replace("self.last(", "0 * mine(x) + self.last(")
    returned = 'residual_block = check("05.1", lambda x, first, second: x)'
    return {
        "right": (hand(*right), (3, 3, 3, 3), ""),
        "blank": (hand(), (0, 0, 0, 0), ""),
        "bom": ("\ufeff" + hand(*right), (3, 3, 3, 3), ""),
        "a+b": (hand(one), (3, 0, 0, 0), ""),
        "a_b": (hand(one.replace("x + ", "2 * x + ")), (0, 0, 0, 0), ""),
        "Zoë Müller 12": (hand(known_name, added=[helper]), (3, 0, 0, 0), ""),
        "elsewhere": (hand(hard_coded, added=[two]), (0, 3, 0, 0), "05.2 solution was found"),
        "no_ids": (hand(*right, ids=False), (3, 3, 3, 3), "in another cell"),
        "handed_back": (hand(returned), (0, 0, 0, 0), ""),
        "builds": (hand(f"def mine(x):\n    return x\n{HANG}", builds), (0, 3, 0, 0), "time"),
        "not_json": ("PK\x03\x04", (0, 0, 0, 0), "not JSON"),
        "no_cells": ('{"cells": 7}', (0, 0, 0, 0), "it has no cells"),
        "odd": (hand(f"x = '@SURROGATE@'\n{one}", f"x = {'9' * 5000}\n{two}", HUNGRY, f"{four})"),
                (3, 0, 0, 0), "05.4 SyntaxError"),
        "hang": (hand(one, HANG, three, f"{four}\nimport os\nos._exit(0)"),
                 (3, 0, 3, 0), "05.2 ran out"),
        "harmless": (hand(DAEMON + one, CALLS + two, READS + three, WRITES + four),
                     (3, 3, 3, 3), ""),
        "flood": (hand(FLOOD, FULL + two, FORGED, four), (0, 3, 0, 3), "05.1 gave back"),
        "bomb": (hand(one, FORK), (3, 0, 0, 0), "05.2 "),
        "kills": (hand(one, KILL.format("-1", 9) + two), (3, 0, 0, 0), "ended Python"),
        "stops": (hand(one, KILL.format("os.getppid()", 19)), (3, 0, 0, 0), "stopped a process"),
    }  # fmt: skip


def run_tool(*arguments, expect=0, **environment):
    result = subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result


def read_table(course):
    with (course / f"{NAME}.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def points_in(row):
    return tuple(int(row[f"05.{number}"] or -1) for number in (1, 2, 3, 4))


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    """Make the course folder with an assignment in it."""
    course = tmp_path_factory.mktemp("a class") / "grading"
    made = run_tool("make", "05", "--course", course)
    release = nbformat.read(course / f"release/{NAME}/{NAME}.ipynb", as_version=4)
    source = nbformat.read(course / f"source/{NAME}/{NAME}.ipynb", as_version=4)
    cells = [by_id(source, f"solution-05-{number}").source for number in (1, 2, 3, 4)]
    right = [re.sub(r"\s*### (BEGIN|END) SOLUTION", "", cell) for cell in cells]
    return course, made.stdout, make_class(release, right)


@pytest.fixture(scope="module")
def graded(assignment, tmp_path_factory):
    """Grade the whole class once, with bubblewrap."""
    if reason := why_not_isolated():
        pytest.skip(reason)
    course, _, learners = assignment
    handed_in = tmp_path_factory.mktemp("handed in, $HOME 'and' more")
    with socket.create_server(("127.0.0.1", 0)) as server:
        known = {"@PORT@": server.getsockname()[1], "@COURSE@": repr(str(course))}
        known["@SLEEP@"] = os.getpid()
        for student, (text, _, _) in learners.items():
            for name, value in known.items():
                text = text.replace(name, json.dumps(str(value))[1:-1])
            text = text.replace("@SURROGATE@", r"\ud800")
            (handed_in / f"{student}.ipynb").write_text(text, encoding="utf-8")
        (handed_in / "folder.ipynb").mkdir()
        (handed_in / "link.ipynb").symlink_to("/etc/passwd")
        os.mkfifo(handed_in / "pipe.ipynb")
        options = ("--seconds", SECONDS, "--submitted", handed_in)
        result = run_tool("grade", "05", "--course", course, *options, expect=1, TEACHERS="secret")
    return course, learners, result.stdout


@pytest.mark.slow
def test_the_release_version_is_the_notebook_without_answers(assignment):
    course, printed, _ = assignment
    release = nbformat.read(course / f"release/{NAME}/{NAME}.ipynb", as_version=4)
    course_notebook = nbformat.read(REPOSITORY / f"notebooks/{NAME}.ipynb", as_version=4)
    joined = "\n".join(cell.source for cell in release.cells)
    for cell in course_notebook.cells:
        for part in cell.source.split("\n\n\n"):
            assert part.strip() in joined
    assert not any(
        word in joined for word in ("HIDDEN", "_points", "SOLUTION", "return x + second")
    )
    assert all(not cell.get("outputs") for cell in release.cells)
    test = by_id(release, "test-05-1")
    assert test.metadata.nbgrader.locked and test.metadata.nbgrader.points == 3
    assert "raise NotImplementedError" in by_id(release, "solution-05-1").source
    assert "05.1   3 points  a residual block" in printed and "total 12 points" in printed
    paths = [course / f"{step}/{NAME}/{NAME}.ipynb" for step in ("source", "release")]
    before = [path.read_bytes() for path in paths]
    assert run_tool("make", "05", "--course", course).stdout == printed
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.slow
@pytest.mark.processes
def test_each_gets_the_points_that_it_deserves(graded):
    course, learners, printed = graded
    table = read_table(course)
    seed = re.search(r"seed=(\d+)", (course / f"source/{NAME}/{NAME}.ipynb").read_text())[1]
    for name in ("folder", "link", "pipe"):
        row = table.pop(name)
        assert row["total"] == row["05.1"] == "" and "not graded" in row["remark"]
    assert len(table) == len(learners)
    for student, (_, expected, remark) in learners.items():
        student = student_of(student)
        row = table[student]
        assert points_in(row) == expected, row
        assert (int(row["total"]), int(row["max"])) == (sum(expected), 12)
        assert remark in row["remark"] if remark else row["remark"] == "", row
        text = (course / f"feedback/{student}/{NAME}/{NAME}.html").read_text(encoding="utf-8")
        assert f"Score: {sum(expected)}.0 / 12.0" in text
        assert seed not in text and "_points" not in text  # who knows it can write results down
        assert f"{student}: 05.1 {expected[0]}/3" in printed


@pytest.mark.slow
@pytest.mark.processes
def test_the_feedback_says_why_and_nothing_is_left(graded):
    for student, text in {
        "blank": "05.1 a residual block: not attempted.",
        "elsewhere": "right with the numbers shown, not with others",
        "hang": f"ran out of time ({SECONDS} s of computing, {3 * SECONDS} s in all).",
        "odd": "your function raised",
        "not_json": "the file is no notebook: it is not JSON",
        "Zoë Müller 12": "rectified",
    }.items():
        page = (graded[0] / f"feedback/{student}/{NAME}/{NAME}.html").read_text(encoding="utf-8")
        assert text in " ".join(page.split())
    assert not left_running()


def left_running():
    lines = [
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    ]
    return [line for line in lines if f"time.sleep({os.getpid()})" in line]


@pytest.mark.slow
@pytest.mark.processes
def test_without_bubblewrap_it_says_so_and_the_tool_s_faults_are_tried_again(assignment, tmp_path):
    course, _, learners = assignment
    graded_already = shutil.ignore_patterns("submitted", "rebuilt", "autograded", "feedback")
    course = shutil.copytree(course, tmp_path / "grading", ignore=graded_already)
    for student in ("right", "hang"):
        path = course / f"submitted/{student}/{NAME}/{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(learners[student][0], encoding="utf-8")
    daemon = learners["harmless"][0].replace("@SLEEP@", str(os.getpid()))
    (tmp_path / "new").mkdir()
    (tmp_path / "new/daemon.ipynb").write_text(daemon, encoding="utf-8")
    grade = ("grade", "05", "--course", course, "--seconds", SECONDS)
    plain = {"PATH": str(tmp_path)}
    run_tool(*grade, "--memory", 0.01, expect=1, **plain)  # it cannot even be loaded
    table = read_table(course)
    assert all(row["total"] == "" and "not graded" in row["remark"] for row in table.values())
    result = run_tool(*grade, "--submitted", tmp_path / "new", **plain)
    assert "not isolated: bubblewrap is not installed" in result.stderr
    table = read_table(course)
    for student in ("right", "hang"):
        assert points_in(table[student]) == learners[student][1]
        assert "not isolated" in table[student]["remark"]
    assert points_in(table["daemon"])[0] == 3 and not left_running()
    shutil.copy(course / f"submitted/right/{NAME}/{NAME}.ipynb", path)  # hang is corrected
    pages = {p: p.stat().st_mtime_ns for p in course.glob(f"feedback/*/{NAME}/{NAME}.html")}
    run_tool(*grade, **plain)
    assert points_in(read_table(course)["hang"]) == (3, 3, 3, 3)
    changed = [p for p, stamp in pages.items() if p.stat().st_mtime_ns != stamp]
    assert [path.parts[-3] for path in changed] == ["hang"]


def test_the_command_line_says_what_is_missing_and_finds_what_platforms_pack(tmp_path):
    for number, words in (
        ("77", "no notebook has the number '77'"),
        ("05", "make assignment NB=05"),
    ):
        assert words in run_tool("grade", number, "--course", tmp_path / "c", expect=1).stderr
    for name in (
        *("Ada_1_file/05_x.ipynb", "Ada_1_file/06_y.ipynb", "Ben/work/05_x.ipynb", "E[1].ipynb"),
        *(
            f"Cy/{NAME}/{NAME}.ipynb",
            "Cy/06_deconvolution/06_deconvolution.ipynb",
            ".hid/Dee.ipynb",
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = {student: paths[-1].read_text() for student, paths in find(tmp_path, NAME).items()}
    assert found == {
        **{"Ada_1_file": "Ada_1_file/05_x.ipynb", "Ben": "Ben/work/05_x.ipynb"},
        **{"Cy": f"Cy/{NAME}/{NAME}.ipynb", student_of("E[1]"): "E[1].ipynb"},
    }


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
