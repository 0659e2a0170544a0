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
import os
import re
import secrets
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from build_notebooks import ROOT, STUB, build
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from sandbox import job_of, run
from sqlalchemy.exc import SAWarning
from submissions import CHECK, UnreadableError, read_cells, rebuild, solution_id, test_id
from traitlets.config import Config, PyFileConfigLoader

from srlib.exercises import get_exercise

CONFIG = """\
# Written by tools/assignment.py; lost and written again with each run.
import sys

sys.path.insert(0, {tools!r})  # tools/sandbox.py runs the submissions, not a Jupyter kernel

c = get_config()
c.CourseDirectory.course_id = "super-resolution"
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
c.Autograde.autograde_preprocessors = [
    "sandbox.RunAnswers",
    "nbgrader.preprocessors.ClearHiddenTests",  # from the feedback, which else shows the seed
    "nbgrader.preprocessors.IgnorePattern",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
"""
TEST = """\
### BEGIN HIDDEN TESTS
from srlib.exercises import points as _points

_earned = _points("{id}", {name}, seed={seed})
### END HIDDEN TESTS
{name} = check("{id}", {name})
### BEGIN HIDDEN TESTS
_earned
### END HIDDEN TESTS"""


WORKERS = 2  # submissions that run at once


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
        config = CONFIG.format(tools=str(Path(__file__).resolve().parent), stub=STUB)
        (root / "nbgrader_config.py").write_text(config, encoding="utf-8")

    def notebook(self, step: str) -> Path:
        """Return where a step of nbgrader keeps the notebook: source, release, submitted/anna."""
        return self.root / step / self.name / f"{self.name}.ipynb"

    def run(self, kind: type[BaseConverter], student: str = "*", **options: dict) -> str:
        """Run one of nbgrader's converters; return why it failed, empty if it did not."""
        config = PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        config.CourseDirectory.root = str(self.root)
        config.merge(Config(options))
        folder = CourseDirectory(config=config)
        folder.assignment_id = self.name
        folder.student_id = student
        with warnings.catch_warnings(action="ignore", category=SAWarning):  # nbgrader's own
            result = capture_log(kind(coursedir=folder, config=config, force=True))
        return "" if result["success"] else (result.get("error") or result.get("log") or "?")

    def gradebook(self) -> Gradebook:
        """Open nbgrader's database."""
        return Gradebook(f"sqlite:///{self.root / 'gradebook.db'}")


def graded(notebook: NotebookNode, seed: int) -> NotebookNode:
    """Split each exercise into a solution cell and a test cell, and give them to nbgrader."""
    result = copy.deepcopy(notebook)
    result.cells = []
    for cell in notebook.cells:
        found = CHECK.search(cell.source) if cell.cell_type == "code" else None
        if not found:
            result.cells.append(cell)
            continue
        name, exercise_id = found.groups()
        solution, test = copy.deepcopy(cell), copy.deepcopy(cell)
        solution.source = CHECK.sub("", cell.source).strip()
        test.source = TEST.format(id=exercise_id, name=name, seed=seed)
        test.id = f"{cell.id}-test"
        common = {"schema_version": 3, "cell_type": "code", "task": False}
        solution.metadata.nbgrader = {
            **common,
            **{"grade": False, "locked": False, "solution": True},
            "grade_id": solution_id(exercise_id),
        }
        test.metadata.nbgrader = {
            **common,
            **{"grade": True, "locked": True, "solution": False},
            "grade_id": test_id(exercise_id),
            "points": len(get_exercise(exercise_id).cases()),
        }
        result.cells += [solution, test]
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
    if failed := course.run(GenerateAssignment):
        raise AssignmentError(f"nbgrader could not make the release version:\n{failed}")
    points = points_of(source)
    for exercise_id, number in points.items():
        print(f"{exercise_id}  {number:2} points  {get_exercise(exercise_id).title}")
    print(f"total {sum(points.values())} points")
    print(f"hand out: {course.notebook('release')}")
    print(f"collect:  {course.notebook('submitted/STUDENT')}")
    print(f"          or files STUDENT.ipynb in any folder; then: make grade NB={course.name[:2]}")


def take_in(course: Course, folder: Path) -> None:
    """Copy files from a folder, as a learning platform packs them, to where nbgrader wants them."""
    number = course.name[:2]

    def fitness(path: Path) -> tuple[bool, float]:
        return path.stem.startswith(number), path.stat().st_mtime

    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.ipynb"), key=fitness):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        if len(parts) > 2 and re.match(r"\d\d_", parts[1]) and parts[1] != course.name:
            continue  # another assignment in nbgrader's own layout
        student = path.stem if len(parts) == 1 else parts[0]
        found[re.sub(r"[^\w.@ -]", "_", student).strip(" .")] = path  # of several, the last
    if not found:
        raise AssignmentError(f"no .ipynb files in {folder}")
    for student, path in found.items():
        target = course.notebook(f"submitted/{student}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def grade(course: Course, *, seconds: float, memory: float, again: bool) -> list[dict]:
    """Grade all that lies in ``submitted``; return a row for each student."""
    if not course.notebook("release").is_file():
        raise AssignmentError(f"there is no assignment yet: make assignment NB={course.name[:2]}")
    release = nbformat.read(course.notebook("release"), as_version=4)
    source = nbformat.read(course.notebook("source"), as_version=4)
    points = points_of(release)
    students = sorted(p.parent.name for p in course.root.glob(f"submitted/*/{course.name}"))
    if not students:
        where = course.notebook("submitted/STUDENT")
        raise AssignmentError(f"nothing to grade: put notebooks at {where}, or give --submitted")
    rows, limits = [], {"seconds": seconds, "memory_gb": memory}
    with ThreadPoolExecutor(WORKERS) as pool:
        prepared = {student: prepare(course, student, release) for student in students}
        running = {
            student: pool.submit(run, *job_of(rebuilt, source), **limits)
            for student, (rebuilt, _) in prepared.items()
            if again or not feedback_of(course, student).is_file()
        }
        for student, (_, remarks) in prepared.items():
            row = {"student": student, **dict.fromkeys(points, 0), "total": 0}
            row |= {"max": sum(points.values()), "remark": ""}
            rows.append(row)
            try:
                if student in running:
                    running[student].result()  # `run` remembers it for nbgrader's turn
                    run_nbgrader(course, student, seconds, memory)
                row |= scores_of(course, student, points)
                remarks += remarks_of(course.notebook(f"autograded/{student}"))
                row["remark"] = "; ".join(remarks)
            except Exception as error:  # whatever one submission does, the others are graded
                row["remark"] = f"not graded: {error}"
            row["total"] = sum(row[exercise_id] for exercise_id in points)
            scores = "  ".join(f"{key} {row[key]:g}/{most}" for key, most in points.items())
            total = f"total {row['total']:g}/{row['max']}"
            print(f"{student}: {scores}  {total}  {row['remark']}".rstrip(), flush=True)
    return rows


def prepare(course: Course, student: str, release: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """Rebuild a submission; forget its feedback if it is another one than last time."""
    handed_in = course.notebook(f"submitted/{student}")
    if not handed_in.is_file():  # under another name
        handed_in = max(handed_in.parent.glob("*.ipynb"), default=handed_in)
    try:
        cells, remarks = read_cells(handed_in), []
    except (UnreadableError, OSError) as error:
        cells, remarks = [], [str(error)]
    rebuilt, remarks = rebuild(release, cells, remarks)
    text = nbformat.writes(rebuilt) + "\n"
    target = course.notebook(f"rebuilt/{student}")
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        feedback_of(course, student).unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    return rebuilt, remarks


def feedback_of(course: Course, student: str) -> Path:
    """Return where nbgrader writes a student's feedback page."""
    return course.notebook(f"feedback/{student}").with_suffix(".html")


def run_nbgrader(course: Course, student: str, seconds: float, memory: float) -> None:
    """Run nbgrader's autograder on a rebuilt submission, and let it write its feedback."""
    options = {
        "CourseDirectory": {"submitted_directory": "rebuilt"},
        "RunAnswers": {"seconds": seconds, "memory": memory},
    }
    failed = course.run(Autograde, student, **options) or course.run(GenerateFeedback, student)
    if failed:
        raise AssignmentError(failed.strip().splitlines()[-1])


def remarks_of(path: Path) -> list[str]:
    """Return what `sandbox` remarked in a graded notebook."""
    outputs = [o for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", [])]
    remarks = [output.get("metadata", {}).get("remark", "") for output in outputs]
    return [remark for remark in remarks if remark]


def scores_of(course: Course, student: str, points: dict[str, int]) -> dict[str, float]:
    """Return the scores from nbgrader's database: with what a teacher changed in formgrader."""
    with course.gradebook() as gradebook:
        grades = gradebook.find_submission_notebook(course.name, course.name, student).grades
        scores = {grade.name: grade.score for grade in grades}
    found = {key: scores[test_id(key)] for key in points}
    return {key: int(score) if score == int(score) else score for key, score in found.items()}


def write_table(path: Path, rows: list[dict]) -> None:
    """Write the scores as a CSV file that spreadsheets open with all letters."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


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
        if options.submitted:
            take_in(course, options.submitted)
        limits = {"seconds": options.seconds, "memory": options.memory}
        rows = grade(course, **limits, again=options.again)
        table = course.root / f"{course.name}.csv"
        write_table(table, rows)
        print(f"table:    {table}\nfeedback: {course.notebook('feedback/STUDENT').parent}")
    except AssignmentError as error:
        print(error, file=sys.stderr)
        return 1
    return int(any(row["remark"].startswith("not graded") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
