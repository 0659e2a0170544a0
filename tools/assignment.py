"""Make the graded version of a notebook, and grade what comes back, with nbgrader.

Run it from anywhere::

    python tools/assignment.py make 05                       # the version to hand out
    python tools/assignment.py grade 05                      # what lies in grading/submitted
    python tools/assignment.py grade 05 --submitted FOLDER   # files as STUDENT.ipynb

``grading/`` is a course folder of nbgrader, whose own commands and formgrader work there too.
"""

import argparse
import copy
import csv
import hashlib
import os
import re
import secrets
import shutil
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from build_notebooks import ROOT, STUB, build
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from sandbox import Answer, Task, read_bounded, run, stop, verdict, why_not_isolated
from sqlalchemy.exc import SAWarning
from submissions import CHECK, SIZE, find, grade_id, job_of, printable, read_cells, rebuild
from tqdm import tqdm
from traitlets.config import Config, PyFileConfigLoader

from srlib.exercises import get_exercise

CONFIG = """\
# Written by tools/assignment.py; lost and written again with each run.
c = get_config()
c.CourseDirectory.course_id = "super-resolution"
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
"""
# For notebooks that come with their outputs, from the sandbox: nbgrader runs no code. Hidden tests
# are cleared from the feedback, which else shows the seed.
STEPS = ("ClearHiddenTests", "LimitOutput", "SaveAutoGrades", "AssignLatePenalties")
GRADING = {
    "CourseDirectory": {"submitted_directory": "rebuilt"},
    "Autograde": {
        "sanitize_preprocessors": ["nbgrader.preprocessors.OverwriteCells"],
        "autograde_preprocessors": [f"nbgrader.preprocessors.{step}" for step in STEPS],
    },
}
TEST = """\
### BEGIN HIDDEN TESTS
from srlib.exercises import points as _points

_earned = _points("{id}", {name}, seed={seed})
### END HIDDEN TESTS
{name} = check("{id}", {name})
### BEGIN HIDDEN TESTS
_earned
### END HIDDEN TESTS"""
NOT_GRADED = "not graded"
WORKERS = min(os.cpu_count() or 1, 8) + 1  # one that waits keeps no core busy


class AssignmentError(Exception):
    """Something that the teacher can put right; the message says what."""


class Course:
    """nbgrader's course folder, and one assignment in it."""

    def __init__(self, root: Path, number: str):
        scripts = sorted((ROOT / "solutions").glob(f"{number}_*.py"))
        if len(scripts) != 1 or len(number) != 2:
            raise AssignmentError(f"no notebook has the number {number!r}: give two digits (05)")
        self.root, self.script, self.name = root, scripts[0], scripts[0].stem
        # nbgrader calls alembic by its name.
        bin_folder = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([bin_folder, os.environ.get("PATH", "")])
        root.mkdir(parents=True, exist_ok=True)
        (root / "nbgrader_config.py").write_text(CONFIG.format(stub=STUB), encoding="utf-8")

    def notebook(self, step: str) -> Path:
        """Return where a step of nbgrader keeps the notebook: source, release, submitted/anna."""
        return self.root / step / self.name / f"{self.name}.ipynb"

    def run(self, kind: type[BaseConverter], *, force: bool) -> str:
        """Run one of nbgrader's converters; return what went wrong, empty if nothing did."""
        config = PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        config.CourseDirectory.root = str(self.root)
        config.merge(Config({} if kind is GenerateAssignment else GRADING))
        folder = CourseDirectory(config=config)
        folder.assignment_id = self.name
        with warnings.catch_warnings(action="ignore", category=SAWarning):  # nbgrader's own
            result = capture_log(kind(coursedir=folder, config=config, force=force))
        return "" if result["success"] else (result.get("error") or result.get("log") or "?")


def graded(notebook: NotebookNode, seed: int) -> NotebookNode:
    """Split each exercise into a solution cell and a test cell, and give them to nbgrader."""
    result = copy.deepcopy(notebook)
    result.cells = []
    for cell in notebook.cells:
        found = CHECK.search(cell.source) if cell.cell_type == "code" else None
        solution, test = copy.deepcopy(cell), copy.deepcopy(cell)
        result.cells += [solution, test] if found else [cell]
        if found:
            solution.source = CHECK.sub("", cell.source).strip()
            test.source = TEST.format(id=found[2], name=found[1], seed=seed)
            test.id = f"{cell.id}-test"
            points = {"points": len(get_exercise(found[2]).cases())}
            for part, kind, more in ((solution, "solution", {}), (test, "test", points)):
                part.metadata.nbgrader = {
                    **{"schema_version": 3, "cell_type": "code", "task": False, **more},
                    **{"grade": bool(more), "locked": bool(more), "solution": not more},
                    "grade_id": f"{kind}-{found[2].replace('.', '-')}",  # which may hold no dots
                }
    return result


def points_of(notebook: NotebookNode) -> dict[str, int]:
    """Return the points of each exercise of a graded notebook, by its id."""
    return {
        CHECK.search(cell.source)[2]: cell.metadata.nbgrader["points"]
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }


def make(course: Course) -> None:
    """Write source and release version of an assignment, and say what was made."""
    path = course.notebook("source")
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    known = re.search(r"_points\(.*?seed=(\d+)", before)
    seed = int(known[1]) if known else secrets.randbelow(10**9)
    source = graded(build(course.script, ROOT)[0], seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(source, path)
    if failed := course.run(GenerateAssignment, force=True):
        raise AssignmentError(f"nbgrader could not make the release version:\n{failed}")
    points = points_of(source)
    for exercise_id, number in points.items():
        print(f"{exercise_id}  {number:2} points  {get_exercise(exercise_id).title}")
    print(f"total {sum(points.values())} points\nhand out: {course.notebook('release')}")
    print(f"collect:  {course.notebook('submitted/STUDENT')}")
    print(f"          or files STUDENT.ipynb in any folder; then: make grade NB={course.name[:2]}")


def take_in(course: Course, folder: Path) -> dict[str, str]:
    """Copy files from a folder to where nbgrader wants them; return a remark for each student."""
    if not (found := find(folder, course.name)):
        raise AssignmentError(f"no .ipynb files in {folder}")
    remarks = {}
    for student, paths in found.items():
        others = ", ".join(str(path.relative_to(folder)) for path in paths[:-1])
        remarks[student] = f"newer than {others}" if others else ""
        target = course.notebook(f"submitted/{student}")
        try:
            content = read_bounded(paths[-1], SIZE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except (ValueError, OSError) as error:
            remarks[student] = f"{NOT_GRADED}: {error}"
    return remarks


def prepare(course: Course, student: str, release: NotebookNode, source: str) -> NotebookNode:
    """Rebuild a submission; its metadata keep the remarks, and what it was made of."""
    handed_in = course.notebook(f"submitted/{student}")
    if not handed_in.exists():  # under another name
        handed_in = max(handed_in.parent.glob("*.ipynb"), default=handed_in)
    remarks, cells = [], []
    try:
        cells = read_cells(handed_in)
    except ValueError as error:
        remarks = [str(error)]
    rebuilt = rebuild(release, cells, remarks)
    made_of = hashlib.sha256((nbformat.writes(rebuilt) + source).encode()).hexdigest()
    rebuilt.metadata["grading"] = {"remarks": remarks, "made_of": made_of}
    return rebuilt


def last(course: Course, student: str) -> dict:
    """Return what `prepare` and `fill` noted of the submission that was graded last."""
    if not course.notebook(f"feedback/{student}").with_suffix(".html").is_file():
        return {}
    path = course.notebook(f"rebuilt/{student}")
    return nbformat.read(path, as_version=4).metadata.get("grading", {})


def fill(rebuilt: NotebookNode, tasks: list[Task], answers: dict[str, Answer]) -> None:
    """Write points, and what the author is told, into the test cells as nbgrader reads them."""
    tests = {grade_id(cell): cell for cell in rebuilt.cells}
    for task in tasks:
        earned, text = verdict(task, answers[task.id])
        if said := answers[task.id].stopped.partition("\n")[0]:
            rebuilt.metadata["grading"]["remarks"].append(printable(f"{task.id} {said}"[:200]))
        lines = (textwrap.fill(t, 90, subsequent_indent="    ") for t in text.splitlines())
        points = {"text/plain": str(earned)}  # which nbgrader takes for partial credit
        tests[f"test-{task.id.replace('.', '-')}"].outputs = [
            new_output("stream", name="stdout", text=printable("\n".join(lines)) + "\n"),
            new_output("execute_result", points, execution_count=1),
        ]


def grade(course: Course, taken: dict[str, str], *, again: bool, **limits: float) -> list[dict]:
    """Grade all that lies in ``submitted``; return a row for each student."""
    if not course.notebook("release").is_file():
        raise AssignmentError(f"there is no assignment yet: make assignment NB={course.name[:2]}")
    release = nbformat.read(course.notebook("release"), as_version=4)
    text = course.notebook("source").read_text(encoding="utf-8")
    source, points = nbformat.reads(text, as_version=4), points_of(release)
    handed_in = {path.parent.name for path in course.root.glob(f"submitted/*/{course.name}")}
    if not (students := sorted(handed_in | set(taken))):
        where = course.notebook("submitted/STUDENT")
        raise AssignmentError(f"nothing to grade: put notebooks at {where}, or give --submitted")
    if unfit := why_not_isolated():
        print(f"not isolated: {unfit}. See docs/teaching.md.", file=sys.stderr)
    failed = {s: remark for s, remark in taken.items() if remark.startswith(NOT_GRADED)}
    made, running = {}, {}
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for student in (s for s in students if s not in failed):
                try:  # whatever one submission does, the others are graded
                    made[student] = prepare(course, student, release, text)
                    before = last(course, student).get("made_of")
                    if again or before != made[student].metadata["grading"]["made_of"]:
                        cells, tasks = job_of(made[student], source)
                        future = pool.submit(run, cells, tasks, isolated=not unfit, **limits)
                        running[future] = student, tasks
                except Exception as error:
                    failed[student] = f"{NOT_GRADED}: {error}"
            for future in tqdm(as_completed(running), "grading", len(running), unit="notebook"):
                student, tasks = running[future]
                for step in ("rebuilt", "autograded", "feedback"):
                    shutil.rmtree(course.notebook(f"{step}/{student}").parent, ignore_errors=True)
                try:
                    fill(made[student], tasks, future.result())
                    made[student].metadata["grading"]["remarks"] += ["not isolated"] * bool(unfit)
                    course.notebook(f"rebuilt/{student}").parent.mkdir(parents=True)
                    nbformat.write(made[student], course.notebook(f"rebuilt/{student}"))
                except Exception as error:
                    failed[student] = f"{NOT_GRADED}: {error}"
        finally:
            stop.set()  # what still runs after Ctrl-C
            pool.shutdown(cancel_futures=True)
    trouble = ""
    if len(failed) < len(students):
        trouble = course.run(Autograde, force=False) or course.run(GenerateFeedback, force=False)
    return [row_of(course, s, points, taken.get(s), failed.get(s), trouble) for s in students]


def row_of(course: Course, student: str, points: dict, taken: str, failed: str, trouble: str):
    """Return and print a student's row, with points that a teacher changed in formgrader."""
    scores, total, most = dict.fromkeys(points, ""), "", sum(points.values())
    try:
        if not failed:
            remarks = [taken, *last(course, student)["remarks"]]
            with Gradebook(f"sqlite:///{course.root / 'gradebook.db'}") as gradebook:
                found = gradebook.find_submission_notebook(course.name, course.name, student).grades
                scores = {g.name.removeprefix("test-").replace("-", "."): g.score for g in found}
            scores = {key: f"{scores[key]:g}" for key in points}
            total = f"{sum(map(float, scores.values())):g}"
    except Exception as error:
        failed = f"{NOT_GRADED}: {[repr(error), *trouble.strip().splitlines()][-1]}"
    remark = failed or "; ".join(filter(None, remarks))
    each = "  ".join(f"{key} {scores[key]}/{points[key]}" for key in points)
    print(f"{student}: {each}  total {total}/{most}  {remark}".rstrip())
    return {"student": student, **scores, "total": total, "max": most, "remark": remark}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if anything is wrong, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("make", "grade"):
        part = commands.add_parser(command)
        part.add_argument("number", metavar="NN", help="the notebook, like 05")
        part.add_argument("--course", type=Path, default=ROOT / "grading", help="nbgrader's folder")
    part.add_argument("--submitted", type=Path, help="a folder of files STUDENT.ipynb")
    part.add_argument("--seconds", type=float, default=20, help="for an exercise (default 20)")
    part.add_argument("--memory", type=float, default=2, help="GB for a submission (default 2)")
    part.add_argument("--again", action="store_true", help="also those that have not changed")
    options = parser.parse_args(arguments)
    try:
        course = Course(options.course.resolve(), options.number)
        if options.command == "make":
            make(course)
            return 0
        submitted = options.submitted and Path(os.path.expanduser(options.submitted))
        taken = take_in(course, submitted) if submitted else {}
        limits = {"seconds": options.seconds, "memory_gb": options.memory}
        rows = grade(course, taken, again=options.again, **limits)
        table = course.root / f"{course.name}.csv"
        with table.open("w", encoding="utf-8-sig", newline="") as file:  # for spreadsheets
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        print(f"table:    {table}\nfeedback: {course.notebook('feedback/STUDENT').parent}")
    except AssignmentError as error:
        print(error, file=sys.stderr)
        return 1
    return int(any(row["remark"].startswith(NOT_GRADED) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
