"""Takes in what learners hand in, and puts their solutions into a notebook that is otherwise new.

Whatever else was done to a notebook, deleted, edited or broken, so cannot change its grade.
"""

import ast
import hashlib
import json
import os
import re
import unicodedata
from pathlib import Path

from nbformat import NotebookNode
from sandbox import Task

CELL_SIZE = 5_000  # characters of a cell; longer ones can hold up the feedback's highlighting
# As learners may write it, too.
CHECK = re.compile(
    r"""^(\w+) *= *check\( *["']([\d.]+)["'] *, *\1 *\) *;? *(?:#.*)?$""", re.MULTILINE
)


def student_of(name: str) -> str:
    """Return a student's id: the name as it is, or what is left of it and a number of its own."""
    plain = unicodedata.normalize("NFC", re.sub(r"[^\w.@ -]", "_", name)).strip(" .@-")[:60]
    number = hashlib.sha256(os.fsencode(name)).hexdigest()[:6]
    return plain if plain == name else f"{plain}-{number}"


def find(folder: Path, number: str) -> dict[str, list[Path]]:
    """Find the files STUDENT.ipynb in a folder, and those in a folder for each student.

    Returns the files of each student; the last one is the newest that begins with the number. Who
    has no notebook there gets what there is instead, so that nobody is missing.
    """
    found: dict[str, list[Path]] = {}
    files = [path for path in folder.rglob("*") if path.suffix.lower() == ".ipynb"]
    files.sort(key=lambda path: path.lstat().st_mtime)
    for path in sorted(files, key=lambda path: path.stem.startswith(number)):
        parts = path.relative_to(folder).parts
        if not any(part.startswith(".") for part in parts):
            student = student_of(path.stem if len(parts) == 1 else parts[0])
            found.setdefault(student, []).append(path)
    for path in sorted(folder.iterdir()):
        is_folder = path.is_dir() and path.suffix.lower() != ".ipynb"
        student = student_of(path.name if is_folder else path.stem)
        if student not in found and not path.name.startswith("."):
            inside = (part for part in sorted(path.rglob("*")) if part.is_file())
            found[student] = [next(inside, path)]
    return found


def printable(text: str) -> str:
    """Replace what no file can hold: halves of surrogates."""
    return text.encode("utf-8", "replace").decode()


def harmless(text: str) -> str:
    """Make a text `printable`, and replace what moves a terminal's cursor."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "?", printable(text))


def read_code(content: bytes) -> list[str]:
    """Return a notebook's code cells, without calls of `check`; ValueError if it is none."""
    try:
        cells = [cell for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(map(str, cell["source"])) for cell in cells]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise ValueError("the file is no notebook") from None
    return [printable(CHECK.sub("", source).strip()) for source in sources]


def docstring_of(stub: str) -> str:
    """Return the docstring of the function or class that ends a stub; ValueError without one."""
    if text := ast.get_docstring(ast.parse(stub).body[-1], clean=False):
        return text
    raise ValueError(f"a stub without a docstring: {stub}")


def rebuild(notebook: NotebookNode, code: list[str], seed: int) -> tuple[dict, list[Task], list]:
    """Cut the release version down to its exercises, and put solutions from `code` into them.

    Of an exercise, its text, solution and test are left. The solution is the last cell that defines
    the function, and is not the empty one; if there is none, a cell with the function's docstring
    is shown. Returns cells and tasks for `sandbox.run`, and remarks.
    """
    known = {CHECK.sub("", cell.source).strip() for cell in notebook.cells}
    changed = [source for source in code if source not in known and len(source) <= CELL_SIZE]
    kept, tasks, used, missing = notebook.cells[:1], [], [], []
    for text, solution, test in zip(*(notebook.cells[n:] for n in range(3)), strict=False):
        if check := CHECK.search(test.source):
            name, exercise_id = check.groups()
            defines = re.compile(rf"^((async )?def|class) {name}\b|^{name} *=(?!=)", re.MULTILINE)
            if found := [source for source in changed if defines.search(source)]:
                solution.source = found[-1]
                used += found
            elif renamed := [
                source for source in changed if docstring_of(solution.source) in source
            ]:
                solution.source = renamed[-1]
                missing.append(f"{exercise_id} there is no function {name}")
            tasks.append(Task(exercise_id, name, seed, solution.source))
            kept += [text] * (text.cell_type == "markdown") + [solution, test]
    plain = [c for c in notebook.cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
    given = [(cell.source, "parameters" in cell.metadata.get("tags", [])) for cell in plain]
    added = [source for source in changed if source not in used]
    notebook.cells = kept
    notebook.cells[0].source = notebook.cells[0].source.partition("\n")[0]
    if any(len(source) > CELL_SIZE for source in code):
        missing.append(f"a cell of more than {CELL_SIZE} characters was left out")
    if any(added) and not used and not missing:
        missing.append("none of the functions is in it: another notebook?")
    return {"given": given, "added": added}, tasks, missing
