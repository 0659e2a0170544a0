"""Run a notebook's experiments for hours, and keep what they found in data/experiments.

python tools/experiments.py 04            # goes on where it was stopped
python tools/experiments.py 04 --accept   # its code was changed, but not what it computes

It runs those experiments whose record is missing or was made by other code, as make would. The
notebook's solution is executed under the profile "long": its cells with the tag "experiment", and
what the others import and define. What it trains lies in runs/experiments until all of it is done.
A record keeps the code that made it: the cells with the tag, up to the one that names the
experiment, and the long values of the parameters cell. A test compares it with the notebook. Where
they differ, run the experiment again, or say with --accept that the change makes no difference.
"""

import argparse
import ast
import datetime
import difflib
import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path

import jupytext
import nbformat
import torch

from srlib._atomic import atomic_write
from srlib.environment import hardware
from srlib.training.experiments import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[1]
_DEFINITIONS = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
RUNS, RECORDS = ROOT / "runs" / "experiments", ROOT / "data" / "experiments"


def experiments_of(script: Path) -> dict[str, str]:
    """Return the experiments of a notebook's script by name, each with the code that decides it."""
    cells = jupytext.read(script, fmt="py:percent").cells
    found, code = {}, []
    for cell in cells:
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        names = re.findall(r'compare_trainings\(\s*"(\w+)"', cell.source)
        if "parameters" in tags:
            code.append(_long_values(cell.source))
        elif "experiment" in tags:
            code.append(cell.source)
        elif names:
            raise ValueError(f'{script.name}: the cell of {names[0]} needs the tag "experiment"')
        found |= {name: "\n\n".join(code) + "\n" for name in names}
    return found


def _long_values(source):
    """Keep what the profile long takes of a parameters cell: `name = value` lines."""
    lines = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            value = node.value
            if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "by_profile":
                values = {keyword.arg: keyword.value for keyword in value.keywords}
                value = values.get("long", values["cpu"])
            lines.append(f"{ast.unparse(node.targets[0])} = {ast.unparse(value)}")
    return "\n".join(lines)


def difference(name: str, before: str, after: str) -> str:
    """Return the changed lines of an experiment's code, or nothing."""
    lines = (text.splitlines() for text in (before, after))
    names = f"{name}, as it ran", f"{name}, now"
    return "\n".join(difflib.unified_diff(*lines, *names, lineterm=""))


def for_hours(script: Path) -> nbformat.NotebookNode:
    """Read a notebook's script up to its last experiment: else only imports and definitions."""
    notebook = jupytext.read(script, fmt="py:percent")  # as the code that the record keeps
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = max(n for n, cell in enumerate(cells) if "compare_trainings(" in cell.source)
    notebook.cells = cells[: last + 1]
    for cell in notebook.cells:
        if not {"setup", "parameters", "experiment"} & set(cell.metadata.get("tags", [])):
            cell.source = "\n\n".join(
                ast.unparse(node)
                for node in ast.parse(cell.source).body
                if isinstance(node, _DEFINITIONS)
            )
    return notebook


def begin(name: str, code: str) -> None:
    """Make the folder of an experiment, or refuse one that was begun with other code."""
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "code.py"
    if noted.is_file() and (changed := difference(name, noted.read_text(encoding="utf-8"), code)):
        sys.exit(f"{folder} was begun with other code; remove it to begin again\n{changed}")
    noted.write_text(code, encoding="utf-8")


def keep(name: str, notebook: str, code: str) -> None:
    """Copy what an experiment found to data/experiments, and write down how it was made."""
    folder, target = RUNS / name, RECORDS / name
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    record = {
        "command": f"make experiments NB={notebook}",
        **record,
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": hardware()["CPU"],
        "code": code.splitlines(),
    }
    target.mkdir(parents=True, exist_ok=True)
    for path in [*folder.glob("*.csv"), *folder.glob("*.safetensors")]:
        shutil.copyfile(path, target / path.name)
    write_record(name, record)
    print(f"data/experiments/{name}: kept, {record['seconds'] / 3600:.1f} h of training")


def stored(name: str) -> dict:
    """Return the record of an experiment, with the code that made it by lines; {} if none is."""
    path = RECORDS / name / "record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_record(name: str, record: dict) -> None:
    """Write the record of an experiment."""
    with atomic_write(RECORDS / name / "record.json") as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebook", metavar="NN")
    parser.add_argument("--accept", action="store_true", help="take the changed code for the same")
    options = parser.parse_args()
    scripts = list((ROOT / "solutions").glob(f"{options.notebook}_*.py"))
    if len(scripts) != 1 or not (experiments := experiments_of(scripts[0])):
        parser.error(f"no notebook {options.notebook} with experiments in solutions/")
    if options.accept:
        for name, code in experiments.items():
            record = stored(name)
            if record and (changed := difference(name, "\n".join(record["code"]), code)):
                write_record(name, record | {"code": code.splitlines()})
                print(changed)
        return
    import papermill  # slow to import

    experiments = {
        name: code
        for name, code in experiments.items()
        if stored(name).get("code") != code.splitlines()
    }
    if not experiments:
        print(
            f"{options.notebook}: this code made what is stored; to repeat one, remove its record"
        )
        return
    for name, code in experiments.items():
        begin(name, code)
    os.environ |= {"SRLIB_PROFILE": "long", FOLDER_VARIABLE: str(RUNS)}
    reduced = RUNS / f"{options.notebook}.ipynb"
    nbformat.write(for_hours(scripts[0]), reduced)
    papermill.execute_notebook(reduced, reduced, kernel_name="python3", cwd=scripts[0].parent)
    for name, code in experiments.items():
        keep(name, options.notebook, code)


if __name__ == "__main__":
    main()
