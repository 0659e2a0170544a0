"""Make the graded version of a notebook, and grade what comes back, with nbgrader.

Run it from anywhere::

    python tools/assignment.py make 05                       # the version to hand out
    python tools/assignment.py grade 05                      # what lies in grading/submitted
    python tools/assignment.py grade 05 --submitted FOLDER   # files as STUDENT.ipynb

``grading/`` is a course folder of nbgrader, whose own commands and formgrader work there too.
"""

import argparse
import copy
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
import pandas as pd
from build_notebooks import ROOT, STUB, build
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.api import Grade, Gradebook, MissingEntry
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from sandbox import no_orphans, read_bounded, run, stop, verdict, why_not_isolated
from sqlalchemy.exc import SAWarning
from submissions import CHECK, find, harmless, read_code, rebuild, student_of
from tqdm import tqdm
from traitlets.config import Config, PyFileConfigLoader

from srlib.exercises import get_exercise, list_exercises

CONFIG = f"""\
# Written by tools/assignment.py; lost and written again with each run.
c = get_config()
c.CourseDirectory.course_id = "super-resolution"
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
"""
# For notebooks that come with their outputs, from the sandbox: nbgrader runs no code.
GRADING = Config(
    CourseDirectory={"submitted_directory": "rebuilt"},
    Autograde={
        "sanitize_preprocessors": [],
        "autograde_preprocessors": ["nbgrader.preprocessors.SaveAutoGrades"],
    },
)
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
SIZE = 100_000_000  # bytes of a submission, which holds figures too
WORKERS = min(os.cpu_count() or 1, 8) + 1  # one that waits keeps no core busy


class Course:
    """nbgrader's course folder, and one assignment in it. Errors say what a teacher can do."""

    def __init__(self, root: Path, number: str):
        scripts = sorted((ROOT / "solutions").glob(f"{number}_*.py"))
        if len(scripts) != 1 or len(number) != 2:
            sys.exit(f"no notebook has the number {number!r}: give two digits (05)")
        self.root, self.script, self.name = root, scripts[0], scripts[0].stem
        # nbgrader calls alembic by its name.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH')}"
        root.mkdir(parents=True, exist_ok=True)
        (root / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")

    def notebook(self, step: str) -> Path:
        """Return where a step of nbgrader keeps the notebook: source, release, submitted/anna."""
        return self.root / step / self.name / f"{self.name}.ipynb"

    def read(self, step: str) -> NotebookNode:
        """Read the notebook of a step."""
        return nbformat.read(self.notebook(step), as_version=4)

    def run(self, kind: type[BaseConverter], *, force: bool) -> str:
        """Run one of nbgrader's converters; return what went wrong, empty if nothing did."""
        config = PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        config.CourseDirectory.root = str(self.root)
        config.merge({} if kind is GenerateAssignment else GRADING)
        folder = CourseDirectory(config=config)
        folder.assignment_id = self.name
        with warnings.catch_warnings(action="ignore", category=SAWarning):  # nbgrader's own
            result = capture_log(kind(coursedir=folder, config=config, force=force))
        return "" if result["success"] else (result.get("error") or result.get("log") or "?")


def graded(notebook: NotebookNode, seed: int) -> NotebookNode:
    """Split each exercise into a solution cell and a test cell, and give them to nbgrader."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code" and (found := CHECK.search(cell.source)):
            test = copy.deepcopy(cell)
            cells.append(test)
            cell.source = CHECK.sub("", cell.source).strip()
            test.source = TEST.format(id=found[2], name=found[1], seed=seed)
            test.id = f"{cell.id}-test"
            points = {"points": len(get_exercise(found[2]).cases())}
            for part, kind, more in ((cell, "solution", {}), (test, "test", points)):
                part.metadata.nbgrader = {
                    **{"schema_version": 3, "cell_type": "code", "task": False, **more},
                    **{"grade": bool(more), "locked": bool(more), "solution": not more},
                    "grade_id": f"{kind}-{found[2].replace('.', '-')}",  # which may hold no dots
                }
    notebook.cells = cells
    return notebook


def points_of(notebook: NotebookNode) -> dict[str, int]:
    """Return the points of each exercise of a graded notebook, by its id."""
    tests = (cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade"))
    return {CHECK.search(cell.source)[2]: cell.metadata.nbgrader["points"] for cell in tests}


def seed_of(source: str) -> int:
    """Return the number that a source version draws its hidden cases from, else a new one."""
    known = re.search(r"_points\(.*?seed=(\d+)", source)
    return int(known[1]) if known else secrets.randbelow(10**9)


def make(course: Course) -> None:
    """Write source and release version of an assignment, and say what was made."""
    path = course.notebook("source")
    seed = seed_of(path.read_text(encoding="utf-8") if path.is_file() else "")
    source = graded(build(course.script, ROOT)[0], seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(source, path)
    if failed := course.run(GenerateAssignment, force=True):
        sys.exit(f"nbgrader could not make the release version:\n{failed}")
    points = points_of(source)
    for exercise_id, number in points.items():
        print(f"{exercise_id}  {number:2} points  {get_exercise(exercise_id).title}")
    print(f"total {sum(points.values())} points\nhand out: {course.notebook('release')}")
    print(f"collect:  {course.notebook('submitted/STUDENT')}")
    print(f"          or files STUDENT.ipynb in any folder; then: make grade NB={course.name[:2]}")


def noted(course: Course, student: str) -> dict:
    """Return what `grade_one` noted when it last graded a submission; empty if it did not."""
    if not course.notebook(f"feedback/{student}").with_suffix(".html").is_file():
        return {}
    return course.read(f"rebuilt/{student}").metadata["grading"]


def taken(course: Course, student: str, files: list[Path]) -> tuple[bytes, list[str]]:
    """Return the content of the last of `files`, or of what was handed in before, and remarks."""
    path, before = files[-1], course.notebook(f"submitted/{student}")
    remarks = [f"newer than {other.name}" for other in files[:-1][:3]]
    if len(files) > 4:
        remarks.append(f"and than {len(files) - 4} more: is this folder one learner's?")
    if student_of(path.stem) != student and not path.stem.startswith(course.name[:2]):
        remarks.append(f"taken: {path.name}")
    try:
        if path.suffix.lower() != ".ipynb":
            raise ValueError(f"no notebook, but {path.name}")
        content = read_bounded(path, SIZE)
        read_code(content)
    except Exception as error:
        if path == before or not before.is_file():
            raise
        return before.read_bytes(), [f"{path.name}: {error}; the earlier one counts"]
    return content, remarks


def grade_one(course: Course, student: str, files: list[Path], unfit: str, limits: dict) -> bool:
    """Run the last of a student's `files`, and write down its points for nbgrader.

    What was graded before is left as it is. Any error leaves a submission ungraded. Returns whether
    another content was graded before.
    """
    content, about = taken(course, student, files)
    source = course.notebook("source").read_text(encoding="utf-8")
    module = (ROOT / f"srlib/exercises/nb{course.name[:2]}.py").read_bytes()
    of_content = hashlib.sha256(content).hexdigest()
    made_of = hashlib.sha256(content + module + f"{source} {limits} {about}".encode()).hexdigest()
    before = noted(course, student)
    if before.get("made_of") == made_of:
        return False
    for step in ("rebuilt", "autograded", "feedback"):
        shutil.rmtree(course.notebook(f"{step}/{student}").parent, ignore_errors=True)
    course.notebook(f"submitted/{student}").parent.mkdir(parents=True, exist_ok=True)
    course.notebook(f"submitted/{student}").write_bytes(content)
    notebook = course.read("release")
    cells, tasks, remarks = rebuild(notebook, read_code(content), seed_of(source))
    answers = run(cells, tasks, isolated=not unfit, **limits)
    elsewhere = "\n".join(cells["added"])
    tests = [cell for cell in notebook.cells if CHECK.search(cell.source)]
    for task, test in zip(tasks, tests, strict=True):
        earned, text = verdict(task, answers[task.id])
        if stopped := answers[task.id].stopped:
            remarks.append(f"{task.id} {stopped.splitlines()[0][:200]}")
        for name in set(re.findall(r"name '(\w+)' is not defined", text)):
            if re.search(rf"^\s*{name}\b[^=\n]*=(?!=)", elsewhere, re.MULTILINE):
                remarks.append(f"{task.id} needs {name}, which another cell computes")
        lines = (textwrap.fill(t, 90, subsequent_indent="    ") for t in text.splitlines())
        points = {"text/plain": str(earned)}  # which nbgrader takes for partial credit
        test.outputs = [
            new_output("stream", name="stdout", text=harmless("\n".join(lines)) + "\n"),
            new_output("execute_result", points, execution_count=1),
        ]
    remarks = [*remarks, *about, *["not isolated"] * bool(unfit)]
    remarks = [" ".join(harmless(remark).split()) for remark in remarks]
    # As code: a learner's words must not become HTML in a teacher's browser.
    note = "".join(textwrap.indent(textwrap.fill(f"- {r}", 90), "    ") + "\n" for r in remarks)
    notebook.cells[1:1] = [new_markdown_cell(f"Remarks:\n\n{note}", id="remarks")] * bool(remarks)
    notebook.metadata["grading"] = {"made_of": made_of, "content": of_content, "remarks": remarks}
    course.notebook(f"rebuilt/{student}").parent.mkdir(parents=True)
    nbformat.write(notebook, course.notebook(f"rebuilt/{student}"))
    return before.get("content", of_content) != of_content


def is_outdated(course: Course) -> bool:
    """Whether exercises have other cases than when the assignment was made, or are no more."""
    now = {key: len(get_exercise(key).cases()) for key in list_exercises().index}
    return any(now.get(key) != most for key, most in points_of(course.read("release")).items())


def open_gradebook(course: Course) -> Gradebook:
    """Open nbgrader's database."""
    return Gradebook(f"sqlite:///{course.root / 'gradebook.db'}")


def grades_of(course: Course, student: str, gradebook: Gradebook) -> dict[str, Grade]:
    """Return nbgrader's grades of a student by exercise; MissingEntry if there are none."""
    grades = gradebook.find_submission_notebook(course.name, course.name, student).grades
    return {grade.name.removeprefix("test-").replace("-", "."): grade for grade in grades}


def forget(course: Course, student: str) -> str:
    """Remove from nbgrader's database what belongs to an earlier submission; return a remark."""
    with open_gradebook(course) as gradebook:
        try:
            grades = grades_of(course, student, gradebook)
        except MissingEntry:
            return ""
        by_hand = {key: g.manual_score for key, g in grades.items() if g.manual_score is not None}
        gradebook.remove_submission(course.name, student)
    text = ", ".join(f"{key} {points:g}" for key, points in by_hand.items())
    return f"points by hand were for the submission before: {text}" if by_hand else ""


def grade(course: Course, found: dict[str, list[Path]], **limits: float) -> pd.DataFrame:
    """Grade what was `found` and all that lies in ``submitted``; return a row for each student."""
    if not course.notebook("release").is_file():
        sys.exit(f"there is no assignment yet: make assignment NB={course.name[:2]}")
    if is_outdated(course):
        sys.exit(
            "the course has changed since this assignment was made, and its exercises have other "
            f"cases. make assignment NB={course.name[:2]}, then grade again: all are graded anew"
        )
    kept = course.root.glob(f"submitted/*/{course.name}/*.ipynb")
    kept = sorted(kept, key=lambda path: path.stem == course.name)  # the right name comes last
    found = {path.parts[-3]: [path] for path in kept} | found
    if not found:
        where = course.notebook("submitted/STUDENT")
        sys.exit(f"nothing to grade: put notebooks at {where}, or give --submitted")
    if unfit := why_not_isolated():
        print(f"not isolated: {unfit}. See docs/teaching.md.", file=sys.stderr)
    failed, jobs, renewed = {}, {}, []
    with no_orphans(), ThreadPoolExecutor(WORKERS) as pool:
        try:
            for student, files in found.items():
                jobs[pool.submit(grade_one, course, student, files, unfit, limits)] = student
            for job in tqdm(as_completed(jobs), "grading", len(jobs), unit="notebook"):
                if error := job.exception():  # whatever one submission does, the others are graded
                    failed[jobs[job]] = f"{NOT_GRADED}: {harmless(str(error))}"
                elif job.result():
                    renewed.append(jobs[job])
        finally:
            stop.set()  # what still runs after Ctrl-C
            pool.shutdown(cancel_futures=True)
    trouble, about = "", {student: forget(course, student) for student in renewed}
    if len(failed) < len(found):
        trouble = course.run(Autograde, force=False) or course.run(GenerateFeedback, force=False)
    students = sorted(found)
    rows = [row_of(course, s, failed.get(s, ""), about.get(s, ""), trouble) for s in students]
    return pd.DataFrame(rows)


def row_of(course: Course, student: str, failed: str, about: str, trouble: str) -> dict:
    """Return and print a student's row, with points that a teacher changed in formgrader."""
    points = points_of(course.read("release"))
    scores, total, most = dict.fromkeys(points, ""), "", sum(points.values())
    try:
        if not failed:
            remarks = noted(course, student)["remarks"]
            with open_gradebook(course) as gradebook:
                grades = grades_of(course, student, gradebook)
                earned = {key: grade.score for key, grade in grades.items()}
            scores = {key: f"{earned[key]:g}" for key in points}
            total = f"{sum(earned.values()):g}"
    except Exception as error:
        failed = f"{NOT_GRADED}: {[repr(error), *trouble.strip().splitlines()][-1]}"
    remark = failed or "; ".join(filter(None, [*remarks, about]))
    each = "  ".join(f"{key} {scores[key]}/{points[key]}" for key in points)
    print(f"{student}: {each}  total {total}/{most}  {remark}".rstrip())
    return {"student": student, **scores, "total": total, "max": most, "remark": remark}


def main() -> int:
    """Run the command line; return 1 if somebody was not graded, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("make", "grade"))
    parser.add_argument("number", metavar="NN", help="the notebook, like 05")
    parser.add_argument("--course", type=Path, default=ROOT / "grading", help="nbgrader's folder")
    parser.add_argument("--submitted", type=Path, help="a folder of files STUDENT.ipynb")
    parser.add_argument("--seconds", type=float, default=20, help="for an exercise (default 20)")
    parser.add_argument("--memory", type=float, default=2, help="GB for a process (default 2)")
    options = parser.parse_args()
    course = Course(options.course.resolve(), options.number)
    if options.command == "make":
        make(course)
        return 0
    found, folder = {}, options.submitted and options.submitted.expanduser()
    if folder and not folder.is_dir():
        sys.exit(f"there is no folder {folder}")
    if folder and not (found := find(folder, options.number)):
        sys.exit(f"nothing lies in {folder}")
    rows = grade(course, found, seconds=options.seconds, memory_gb=options.memory)
    table = course.root / f"{course.name}.csv"
    rows.to_csv(table, index=False, encoding="utf-8-sig")  # for spreadsheets
    print(f"table:    {table}\nfeedback: {course.notebook('feedback/STUDENT').parent}")
    return int(rows["remark"].str.startswith(NOT_GRADED).any())


if __name__ == "__main__":
    sys.exit(main())
