"""Takes in what learners hand in, and puts their solutions into a notebook that is otherwise new.

Whatever else was done to a notebook, deleted, edited or broken, so cannot change its grade.
"""

import copy
import hashlib
import json
import os
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from sandbox import Task, read_bounded

SIZE = 100_000_000  # bytes of a file, which holds figures too
CELL_SIZE = 5_000  # characters of a cell; longer ones can hold up the feedback's highlighting
CHECK = re.compile(r'^(\w+) = check\("([\d.]+)", \1\)\s*$', re.MULTILINE)
TEST = re.compile(r'_points\("(?P<id>[\d.]+)", (?P<name>\w+), seed=(?P<seed>\d+)\)')


def student_of(name: str) -> str:
    """Return a student's id: the name as it is, or what is left of it and a number of its own."""
    plain = unicodedata.normalize("NFC", re.sub(r"[^\w.@ -]", "_", name)).strip(" .@-")[:60]
    number = hashlib.sha256(os.fsencode(name)).hexdigest()[:6]
    return plain if plain == name else f"{plain}-{number}"


def find(folder: Path, name: str) -> dict[str, list[Path]]:
    """Find the notebooks of an assignment in a folder as learning platforms pack it.

    Returns the files of each student; the last one is the newest that begins with the number.
    """
    found: dict[str, list[Path]] = {}
    files = sorted(folder.rglob("*.ipynb"), key=lambda path: path.lstat().st_mtime)
    for path in sorted(files, key=lambda path: path.stem.startswith(name[:2])):
        parts = path.relative_to(folder).parts
        another = len(parts) > 2 and re.match(r"\d\d_", parts[1]) and parts[1] != name
        if not another and not any(part.startswith(".") for part in parts):
            student = student_of(path.stem if len(parts) == 1 else parts[0])
            found.setdefault(student, []).append(path)
    return found


def read_cells(path: Path) -> list[SimpleNamespace]:
    """Return a file's cells as far as they can be understood: ``cell_type, source, grade_id``.

    ValueError says why it is no notebook.
    """
    data = read_bounded(path, SIZE)
    try:
        content = json.loads(data.decode(json.detect_encoding(data), "replace").lstrip("\ufeff"))
    except (ValueError, RecursionError):
        raise ValueError("the file is no notebook: it is not JSON") from None
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise ValueError("the file is no notebook: it has no cells")
    return [_cell(cell) for cell in cells if isinstance(cell, dict)]


def _cell(cell: dict) -> SimpleNamespace:
    source: Any = cell.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    metadata: Any = cell.get("metadata")
    for key in ("nbgrader", "grade_id"):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return SimpleNamespace(
        cell_type=cell.get("cell_type"),
        source=printable(source),
        grade_id=metadata if isinstance(metadata, str) else "",
    )


def grade_id(cell: Any) -> str:
    """Return the id that nbgrader knows a cell by, or ``""``."""
    if hasattr(cell, "grade_id"):
        return cell.grade_id
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def printable(text: str) -> str:
    """Replace what no file can hold: halves of surrogates."""
    return text.encode("utf-8", "replace").decode()


def rebuild(release: NotebookNode, cells: list[Any], remarks: list[str]) -> NotebookNode:
    """Put the solutions among `cells`, from `read_cells`, into a short copy of the release version.

    It holds the title, the `remarks`, of which some are added here, each exercise's text, solution
    and test, and in its metadata the code cells that the learner added or changed.
    """
    rebuilt = copy.deepcopy(release)
    code = [c for c in cells if c.cell_type == "code" and len(c.source) <= CELL_SIZE]
    if len(code) < sum(cell.cell_type == "code" for cell in cells):
        remarks.append(f"a cell of more than {CELL_SIZE} characters was left out")
    kept, used = [], []
    for text, solution, test in zip(
        rebuilt.cells, rebuilt.cells[1:], rebuilt.cells[2:], strict=False
    ):
        if not (check := CHECK.search(test.source)):
            continue
        found = _find_solution(check[1], solution, code)
        if found is not None:
            used.append(found)
            solution.source = CHECK.sub("", found.source).rstrip()
            if grade_id(found) != grade_id(solution):
                remarks.append(f"{check[2]} solution was found in another cell")
        kept += [cell for cell in (text,) if cell.cell_type == "markdown"] + [solution, test]
    known = {cell.source.strip() for cell in release.cells}
    others = [c for c in code if c.source.strip() not in known and not grade_id(c)]
    added = [c.source for c in others if not any(c is one for one in used)]
    rebuilt.metadata["added"] = added
    rebuilt.cells[0].source = rebuilt.cells[0].source.partition("\n")[0]
    note = "".join(f"- {remark}\n" for remark in remarks)
    top = [new_markdown_cell(f"Remarks:\n\n{note}", id="remarks")] if remarks else []
    rebuilt.cells = [rebuilt.cells[0], *top, *kept]
    return rebuilt


def _find_solution(name: str, stub: Any, code: list[Any]) -> Any | None:
    """Find the cell with a function: by id, else by name; the last one that was worked on."""
    defines = re.compile(rf"^((async )?def|class) {name}\b|^{name} *=(?!=)", re.MULTILINE)

    def worked_on(cell: Any) -> bool:
        rest = CHECK.sub("", cell.source).strip()
        return rest != stub.source.strip() and bool(rest)

    by_id = [c for c in code if grade_id(c) == grade_id(stub) and worked_on(c)]
    by_name = [c for c in code if defines.search(CHECK.sub("", c.source)) and worked_on(c)]
    candidates = [c for c in by_id if c in by_name] or by_name or by_id
    return candidates[-1] if candidates else None


def job_of(rebuilt: NotebookNode, source: NotebookNode) -> tuple[dict, list[Task]]:
    """Return what the sandbox runs of a rebuilt submission, given the assignment's source."""
    solutions = {grade_id(cell): cell.source for cell in rebuilt.cells}
    plain = [c for c in source.cells if c.cell_type == "code" and not grade_id(c)]
    given = [(c.source, "parameters" in c.metadata.get("tags", [])) for c in plain]
    tests = [found for cell in source.cells if (found := TEST.search(cell.source))]
    return {"given": given, "added": rebuilt.metadata.get("added", [])}, [
        Task(t["id"], t["name"], int(t["seed"]), solutions[f"solution-{t['id'].replace('.', '-')}"])
        for t in tests
    ]
