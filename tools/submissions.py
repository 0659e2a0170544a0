"""Reads what learners hand in, and puts their solutions into a notebook that is otherwise new.

Whatever else was done to a notebook, deleted, edited or broken, so cannot change its grade.
"""

import ast
import copy
import json
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

SIZE_LIMIT = 100_000_000  # bytes of a file
CHECK = re.compile(r'^(\w+) = check\("([\d.]+)", \1\)\s*$', re.MULTILINE)
# Whoever writes these in a solution is not solving the exercise.
SUSPICIOUS = re.compile(r"exercises\.(nb\d\d|grading)|sys\.modules|__globals__|get_objects")


class UnreadableError(ValueError):
    """A file that is no notebook; the message says why."""


def read_cells(path: Path) -> list[SimpleNamespace]:
    """Return a file's cells as far as they can be understood: ``cell_type, source, grade_id``."""
    if path.stat().st_size > SIZE_LIMIT:
        raise UnreadableError(f"the file has more than {SIZE_LIMIT // 10**6} MB")
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError):
        raise UnreadableError("the file is no notebook: it is not JSON") from None
    sheets = content.get("worksheets") if isinstance(content, dict) else None
    holder = sheets[0] if isinstance(sheets, list) and sheets else content  # of format 3
    cells = holder.get("cells") if isinstance(holder, dict) else None
    if not isinstance(cells, list):
        raise UnreadableError("the file is no notebook: it has no cells")
    return [_cell(cell) for cell in cells if isinstance(cell, dict)]


def _cell(cell: dict) -> SimpleNamespace:
    source: Any = cell.get("source", cell.get("input", ""))
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    metadata: Any = cell.get("metadata")
    for key in ("nbgrader", "grade_id"):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return SimpleNamespace(
        cell_type=cell.get("cell_type"),
        source=source,
        grade_id=metadata if isinstance(metadata, str) else "",
    )


def grade_id(cell: Any) -> str:
    """Return the id that nbgrader knows a cell by, or ``""``."""
    if hasattr(cell, "grade_id"):
        return cell.grade_id
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def solution_id(exercise_id: str) -> str:
    """Return the id of an exercise's solution cell; nbgrader allows no dots in it."""
    return f"solution-{exercise_id.replace('.', '-')}"


def test_id(exercise_id: str) -> str:
    """Return the id of an exercise's test cell."""
    return f"test-{exercise_id.replace('.', '-')}"


def definitions(cells: Iterable[Any]) -> list[str]:
    """Return what cells define without computing: imports, functions, classes, constants.

    The `parameters` cell comes whole. Cells that nbgrader knows by an id are left out.
    """
    found = []
    for cell in cells:
        if cell.cell_type != "code" or grade_id(cell):
            continue
        if "parameters" in getattr(cell, "metadata", {}).get("tags", []):
            found.append(cell.source)
            continue
        lines = [line for line in cell.source.splitlines() if not re.match(r"\s*[%!]", line)]
        try:
            statements = ast.parse("\n".join(lines)).body
        except (SyntaxError, ValueError, RecursionError):  # also what is not finished
            continue
        found += [ast.unparse(statement) for statement in statements if _only_defines(statement)]
    return found


def _only_defines(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return not any(isinstance(node, (ast.Call, ast.Await)) for node in ast.walk(statement))
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(statement, kinds)


def others(cells: Iterable[Any], given: Iterable[Any]) -> list[Any]:
    """Return the cells that were added to the `given` ones, or changed."""
    known = {cell.source.strip() for cell in given}
    return [cell for cell in cells if cell.source.strip() not in known and not grade_id(cell)]


def rebuild(
    release: NotebookNode, cells: list[Any], remarks: list[str]
) -> tuple[NotebookNode, list[str]]:
    """Put the solutions among `cells` into a short copy of the notebook that was handed out.

    Parameters
    ----------
    release
        The notebook as handed out.
    cells
        What came back, from `read_cells`; empty for nothing usable.
    remarks
        What is known already.

    Returns
    -------
    tuple
        The title, the exercises' texts, solutions and tests, everything else left out; and
        all remarks, which stand in the notebook too.
    """
    rebuilt, remarks = copy.deepcopy(release), list(remarks)
    code = [cell for cell in cells if cell.cell_type == "code"]
    if code and not any(grade_id(cell) for cell in code):
        remarks.append("the cells have lost their ids; solutions were found by function names")
    kept, used = [rebuilt.cells[0]], []
    kept[0].source = kept[0].source.partition("\n")[0]
    for position, cell in enumerate(rebuilt.cells):
        if not (test := CHECK.search(cell.source)):
            continue
        name, exercise_id = test.groups()
        solution = rebuilt.cells[position - 1]
        same = [c for c in code if grade_id(c) == grade_id(cell)]
        if code and not same and any(map(grade_id, code)):
            remarks.append(f"{exercise_id} check cell was deleted; the original was used")
        elif any(c.source.strip() != cell.source.strip() for c in same):
            remarks.append(f"{exercise_id} check cell was edited; the original was used")
        found = _find_solution(name, solution, code)
        if found is not None:
            used.append(found)
            solution.source = CHECK.sub("", found.source).rstrip()
            if grade_id(found) != grade_id(solution) and any(map(grade_id, code)):
                remarks.append(f"{exercise_id} solution was found in another cell")
            if SUSPICIOUS.search(found.source):
                remarks.append(f"{exercise_id} reaches for the grading: look at its cell")
        text = rebuilt.cells[position - 2]
        kept += [text] if text.cell_type == "markdown" else []
        kept += [solution, cell]
    added = [c for c in others(code, release.cells) if not any(c is one for one in used)]
    if sources := definitions(added):
        note = "# Imports and functions from cells that were added or changed\n"
        kept.insert(1, new_code_cell(note + "\n".join(sources), id="added"))
    if remarks:
        lines = "\n".join(f"- {remark}" for remark in remarks)
        kept.insert(1, new_markdown_cell(f"Remarks:\n\n{lines}", id="remarks"))
    rebuilt.cells = kept
    return rebuilt, remarks


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
