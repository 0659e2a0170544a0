"""Make the course's notebooks from the percent scripts in ``solutions/``.

Each ``solutions/NN_topic.py`` becomes ``solutions/NN_topic.ipynb`` (complete, without outputs) and
``notebooks/NN_topic.ipynb`` (solutions cleared; with ``--execute`` run and saved with its outputs).
Run it from anywhere::

    python tools/build_notebooks.py                  # write all notebooks
    python tools/build_notebooks.py 02 03 --execute  # write and execute two of them
    python tools/build_notebooks.py --check          # write nothing, fail where a notebook is stale

A code cell that is not the lesson has the tag ``folded`` and opens with a line ``# @title ...``:
its code is folded under these words in JupyterLab, in Colab and on the site.
"""

import argparse
import ast
import copy
import hashlib
import itertools
import json
import os
import re
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from queue import Empty

import jupytext
import nbformat
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.preprocessors.clearsolutions import ClearSolutions
from traitlets import Type

from srlib._atomic import atomic_write

ROOT = Path(__file__).resolve().parents[1]
SIZE_LIMIT = 1_000_000  # bytes of an executed learner notebook
STUB = "raise NotImplementedError"
TITLE = r"# @title (\S.*)"  # the first line of a folded cell: what stands there while it is folded
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGETS = "application/vnd.jupyter.widget-state+json"
COLAB = "https://colab.research.google.com"

SETUP = """\
# @title Setup: make the course's package importable, and say what this notebook runs on
import importlib.util
import sys
from pathlib import Path

found = importlib.util.find_spec("srlib")
if found is None or found.origin is None:  # None: a mere folder of that name
    places = [Path.cwd(), *Path.cwd().parents]
    courses = [p for p in places if (p / "srlib").is_dir() and (p / "pyproject.toml").is_file()]
    if not courses:
{elsewhere}
    sys.path.insert(0, str(courses[0]))

import matplotlib.pyplot as plt
import torch

from srlib.environment import active_profile

plt.style.use("srlib.course")
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
versions = f"Python {{sys.version.split()[0]}}, torch {{torch.__version__}}"
print(f"{{versions}}, {{device}}, profile {{active_profile()}}")"""

NOWHERE = """\
        raise ModuleNotFoundError(
            "srlib was not found: open this notebook inside a copy of the course's repository."
        )"""

# The folder's name holds owner and ref, so that another fork's clone is another one. What is cloned
# gets it last, so that a clone that was interrupted is not taken for one.
CLONE = """\
        # No copy of the course around, as on Colab: clone it, then install what is missing.
        import os
        import runpy
        import shutil
        import subprocess

        repository, ref = "{repository}", "{ref}"
        url = f"https://github.com/{{repository}}.git"
        course = Path(f"{{repository}}/{{ref}}".replace("/", "-")).resolve()
        if course.is_dir():
            print("The course is in", course)
        else:
            part = Path(f"{{course}}.part")
            shutil.rmtree(part, ignore_errors=True)
            command = ["git", "clone", "--quiet", "--depth=1", f"--branch={{ref}}", url, str(part)]
            ask_nothing = os.environ | {{"GIT_TERMINAL_PROMPT": "0"}}
            done = subprocess.run(command, capture_output=True, text=True, env=ask_nothing)
            if done.returncode:
                why = " ".join(done.stderr.split())
                raise RuntimeError(f"the course cannot be cloned from {{url}} at {{ref}}: {{why}}")
            part.rename(course)
            print("Cloned", url, "at", ref, "into", course)
        runpy.run_path(str(course / "tools" / "install_missing.py"), run_name="__main__")
        # For !python -m srlib
        os.environ["PYTHONPATH"] = f"{{course}}{{os.pathsep}}{{os.environ.get('PYTHONPATH', '')}}"
        courses = [course]"""


class ScriptError(ValueError):
    """A script or setting that makes no notebook; the message opens with file and line."""


def check_script(path: Path) -> None:
    """Refuse a script whose solutions cannot be cleared safely; see `ScriptError`."""

    def refuse(line: int, reason: str) -> None:
        raise ScriptError(f"{path.parent.name}/{path.name}:{line}: {reason}")

    lines = path.read_text(encoding="utf-8").splitlines()
    if not any(re.match(r"# %%.*tags=.*[\"']parameters[\"']", line) for line in lines):
        refuse(1, 'no parameters cell: start one with # %% tags=["parameters"]')
    for number, line in enumerate(lines, 1):
        if re.match(r"# %%.*tags=.*[\"']folded[\"']", line):
            if not re.match(TITLE, "".join(lines[number : number + 1])):
                refuse(number, "a folded cell is code that opens with a line '# @title ...'")
    regions, begin = [], 0  # (first, last) line of each solution; the line that opened this one
    for number, line in enumerate([*lines, "# %%"], 1):
        marker = re.fullmatch(r"\s*### (BEGIN|END) SOLUTION\s*", line)
        if not marker and re.search("(BEGIN|END) SOLUTION", line):
            refuse(number, f"a marker reads '### BEGIN SOLUTION' and stands alone, got {line!r}")
        if begin and (line.startswith("# %%") or (marker and marker[1] == "BEGIN")):
            refuse(begin, "this BEGIN SOLUTION has no END SOLUTION in its cell")
        if marker and marker[1] == "END" and not begin:
            refuse(number, "this END SOLUTION has no BEGIN SOLUTION before it")
        if marker and begin:
            regions.append((begin, number))
        if marker:
            begin = 0 if begin else number
        saved = r"# %%.*\b(outputs|execution|attachments)\b\"?[=:]|.*data:\w+/[\w.+-]+;base64,"
        if re.match(saved, line):
            refuse(number, "a script holds no saved output: let a cell compute it")

    for first, last in regions:  # clear in place, so that line numbers stay
        indent = lines[first - 1][: -len(lines[first - 1].lstrip())]
        lines[first - 1 : last] = [indent + STUB] + [""] * (last - first)
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError as error:
        refuse(error.lineno or 1, f"with solutions cleared this is no Python: {error.msg}")
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    assignments = [node for node in tree.body if isinstance(node, ast.Assign)]
    for first, _ in regions:
        top = next(node for node in tree.body if node.lineno <= first <= node.end_lineno)
        around = [n for n in ast.walk(top) if isinstance(n, functions) and n.lineno < first]
        if not hasattr(top, "name") or not any(first <= n.end_lineno for n in around):
            refuse(first, "a solution region stands inside a function only")
        if not ast.get_docstring(top):
            refuse(top.lineno, f"{top.name} needs a docstring before its solution")
        later = [ast.unparse(node) for node in assignments if node.lineno > first]
        if not any(re.match(rf"{top.name} = check\(.*, {top.name}\b", text) for text in later):
            refuse(first, f'no check for this region: add {top.name} = check("NN.k", {top.name})')


def check_address(repository: str, ref: str) -> None:
    """Refuse what cannot be a GitHub repository with a branch or tag; see `ScriptError`."""
    name = r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.+$)[\w.-]+"
    if not re.fullmatch(name, repository, re.ASCII) or repository.endswith(".git"):
        raise ScriptError(f"repository must be 'owner/name' on GitHub, got {repository!r}")
    # git check-ref-format allows more, but not all of it survives in an address and in code.
    name = r"(?!.*(\.\.|//|/\.|\.lock(/|$)))\w(?:[\w./+-]*[\w+-])?"
    if not re.fullmatch(name, ref, re.ASCII):
        raise ScriptError(f"ref must be the name of a branch or tag, got {ref!r}")
    if re.fullmatch("[0-9a-f]{40}", ref):
        raise ScriptError(f"ref must be a branch or tag, which can be cloned, got commit {ref!r}")


def course_address(root: Path = ROOT) -> tuple[str, str]:
    """Return (repository, ref): where learners who have no copy of the course find it.

    From ``[tool.srlib.course]`` of pyproject.toml: ``("owner/name", "main")`` for instance, or
    ``("", "")`` where no repository is named. `ScriptError` if either cannot be right.
    """
    project = root / "pyproject.toml"
    tables = tomllib.loads(project.read_text(encoding="utf-8")) if project.is_file() else {}
    course = tables.get("tool", {}).get("srlib", {}).get("course", {})
    repository, ref = course.get("repository", ""), course.get("ref", "") or "main"
    if not repository:
        return "", ""
    try:
        check_address(repository, ref)
    except ScriptError as error:
        raise ScriptError(f"pyproject.toml: {error}") from None
    return repository, ref


def setup_cell(root: Path) -> tuple[str, str]:
    """Return the setup cell's code and the address that the badge links to, or ``""``."""
    repository, ref = course_address(root)
    if not repository:
        return SETUP.format(elsewhere=NOWHERE), ""
    clone = CLONE.format(repository=repository, ref=ref)
    return SETUP.format(elsewhere=clone), f"{COLAB}/github/{repository}/blob/{ref}/notebooks"


def build(path: Path, root: Path) -> tuple[NotebookNode, NotebookNode]:
    """Return (solution notebook, learner notebook) of a script, both without outputs."""
    check_script(path)
    cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    if cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise ScriptError(f"{path.parent.name}/{path.name}:1: begin with a markdown cell '# Title'")
    setup, link = setup_cell(root)
    if link:
        title, _, rest = cells[0].source.partition("\n")
        badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({link}/{path.stem}.ipynb)"
        cells[0].source = f"{title}\n\n{badge}\n\n{rest.lstrip()}".rstrip()
    cells.insert(1, new_code_cell(setup, metadata={"tags": ["setup", "folded"]}))

    solution = new_notebook(metadata=METADATA, nbformat_minor=5)
    for cell in cells:
        new = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")
        metadata = {k: v for k, v in cell.metadata.items() if not k.startswith("lines_to_")}
        if "folded" in metadata.get("tags", []):  # first for JupyterLab, then for Colab
            metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
        solution.cells.append(new(cell.source, metadata=metadata))
    clear = ClearSolutions(enforce_metadata=False, code_stub={"python": STUB})
    learner, _ = clear.preprocess(copy.deepcopy(solution), {})
    for notebook in (solution, learner):
        stamp_ids(notebook, path.stem)
    return solution, learner


def stamp_ids(notebook: NotebookNode, topic: str) -> None:
    """Give each cell an id that depends on the topic and on what the cell holds."""
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        content = f"{topic}\n{cell.cell_type}\n{cell.source}"
        seen[content] += 1
        digest = hashlib.sha256(f"{content}\n{seen[content]}".encode()).hexdigest()
        cell.id = f"{topic[:2]}-{digest[:12]}"


def keep_outputs(learner: NotebookNode, path: Path) -> bool:
    """Copy the outputs of the notebook at `path` if its code is the same; tell whether it was.

    The setup cell may differ, for a fork that enters its name in pyproject.toml changes no result;
    so may the title of a folded cell.
    """
    if not path.is_file():
        return False
    old = nbformat.read(path, as_version=4)
    cells, before = ([c for c in nb.cells if c.cell_type == "code"] for nb in (learner, old))
    if len(cells) != len(before) or any(
        re.sub(f"^{TITLE}\n+", "", cell.source) != re.sub(f"^{TITLE}\n+", "", twin.source)
        and "setup" not in cell.metadata.get("tags", [])
        for cell, twin in zip(cells, before, strict=True)
    ):
        return False
    for cell, twin in zip(cells, before, strict=True):
        cell.outputs, cell.execution_count = twin.outputs, twin.execution_count
    if "widgets" in old.metadata:
        learner.metadata.widgets = old.metadata.widgets
    return True


class ReplyChannel(AsyncZMQSocketChannel):
    """A kernel's shell channel that looks again for a reply twice a second.

    What a cell shows in an Output widget is sent back to the kernel through this socket, past
    asyncio. If the kernel's reply comes in at that moment, asyncio is never told of it, and the
    cell is waited for until its time is over: https://github.com/jupyter/nbclient/issues/312.
    """

    async def get_msg(self, timeout: float | None = None) -> dict:
        """Return the next message; queue.Empty if none has come within `timeout` seconds."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0.5:
            try:
                return await super().get_msg(0.5)
            except Empty:
                pass
        return await super().get_msg(max(left, 0))


class KernelClient(AsyncKernelClient):
    """jupyter_client's, with that channel for the replies."""

    shell_channel_class = Type(ReplyChannel)


def execute(learner: NotebookNode, folder: Path) -> NotebookNode:
    """Run a learner notebook in `folder` and return it with outputs that repeat from run to run."""
    environment = {"SRLIB_PROFILE": "cpu", **os.environ, "PYTHONHASHSEED": "0"}
    environment.pop("SRLIB_STRICT", None)  # an exercise not attempted is right here
    client = NotebookClient(
        learner,
        kernel_name="python3",
        timeout=3600,  # seconds a cell: a kernel that has died without a word would be waited for
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.create_kernel_manager().client_factory = KernelClient
    return normalise(client.execute(env=environment))


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Renumber widget models, merge streams, and drop times, rates and addresses from outputs."""
    ids = {model: f"{n:032x}" for n, model in enumerate(widget_states(notebook))}
    # What tqdm writes after its count: [00:12<00:30, 2.31it/s].
    timing = r"\s?\[[\d:]*:\d\d(?:(?:<|&lt;)(?:[\d:]*:\d\d|\?))?,\s[^\]\n]*\]"

    def scrub(node):
        if isinstance(node, dict):
            return {ids.get(key, key): scrub(value) for key, value in node.items()}
        if isinstance(node, list):
            return [scrub(item) for item in node]
        if not isinstance(node, str):
            return node
        node = re.sub(r"[0-9a-f]{32}", lambda found: ids.get(found[0], found[0]), node)
        return re.sub(r" at 0x[0-9a-f]{6,}", " at 0x0", re.sub(timing, "", node))

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = nbformat.from_dict(scrub(merge_streams(cell.outputs)))
    widgets = {key: scrub(value) for key, value in notebook.metadata.items() if key == "widgets"}
    notebook.metadata = nbformat.from_dict(METADATA | widgets)
    return notebook


def merge_streams(outputs: list) -> list:
    """Join what was printed between two displays; keep only the last state of a progress bar."""
    merged = []
    for printed, group in itertools.groupby(outputs, lambda o: o.output_type == "stream"):
        group = list(group)
        for name in ("stdout", "stderr") if printed else ():
            text = "".join(o.text for o in group if o.name == name)
            text = "\n".join(line.rstrip("\r").split("\r")[-1] for line in text.split("\n"))
            if text.strip(" "):
                merged.append(new_output("stream", name=name, text=text))
        merged += [] if printed else group
    return merged


def widget_states(notebook: NotebookNode) -> dict:
    """Return the saved widget models of a notebook by id, in the order they were made."""
    return notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})


def find_errors(notebook: NotebookNode) -> list[str]:
    """Return a line for each error in outputs, and for each one that a widget swallowed."""
    outputs = [(f"cell {n}", o) for n, c in enumerate(notebook.cells) for o in c.get("outputs", [])]
    shown = []
    for model in widget_states(notebook).values():
        state = model.get("state", {})
        outputs += [("inside an Output widget", output) for output in state.get("outputs", [])]
        if "srlib-error" in str(state.get("value", "")):
            shown.append(f"shown by a widget: {state['value'][:300]}")
    errors = [(where, output) for where, output in outputs if output["output_type"] == "error"]
    return [f"{where}: {error['ename']}: {error['evalue']}" for where, error in errors] + shown


def largest_outputs(notebook: NotebookNode, count: int = 3) -> str:
    """Name the largest outputs and widget models, with their bytes."""
    sizes = [
        (len(json.dumps(output)), f"cell {index} ({output.output_type})")
        for index, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
    ]
    models = widget_states(notebook).values()
    sizes += [(len(json.dumps(model)), f"widget {model.get('model_name')}") for model in models]
    return ", ".join(f"{name} {size:,}" for size, name in sorted(sizes, reverse=True)[:count])


def first_difference(committed: NotebookNode, built: NotebookNode) -> str | None:
    """Say in which cell two notebooks differ first, outputs apart; None if nowhere."""
    for index, (old, new) in enumerate(itertools.zip_longest(committed.cells, built.cells)):
        if not old or not new:
            which = "surplus" if old else "missing"
            return f"cell {index} is {which}:\n{(old or new).source[:200]}"
        for part in ("cell_type", "source", "metadata", "id"):
            if old.get(part) != new.get(part):
                return f"cell {index} differs in {part}, built is:\n{new.source[:200]}"
    return None


def make(path: Path, root: Path, *, check: bool, run: bool) -> list[str]:
    """Write, or with `check` only compare, the two notebooks of a script; return the faults."""
    faults = []
    for folder, notebook in zip(("solutions", "notebooks"), build(path, root), strict=True):
        target, name = root / folder / f"{path.stem}.ipynb", f"{folder}/{path.stem}.ipynb"
        if check:
            committed = nbformat.read(target, as_version=4) if target.is_file() else None
            found = first_difference(committed, notebook) if committed else "is missing"
            faults += [f"{name}: {found}"] if found else []
            continue
        target.parent.mkdir(exist_ok=True)
        note = ""
        if folder == "notebooks" and run:
            notebook = execute(notebook, target.parent)
            faults += [f"{name}: {error}" for error in find_errors(notebook)]
        elif folder == "notebooks" and not keep_outputs(notebook, target):
            note = " without outputs: it needs --execute"
        text = nbformat.writes(notebook) + "\n"
        if (size := len(text.encode())) > SIZE_LIMIT:
            faults.append(
                f"{name}: {size:,} bytes are more than {SIZE_LIMIT:,}; "
                f"largest: {largest_outputs(notebook)}"
            )
        if not faults and (not target.is_file() or target.read_text(encoding="utf-8") != text):
            with atomic_write(target) as partial:
                partial.write_text(text, encoding="utf-8", newline="\n")
            print(f"{name}: written{note}")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if anything is wrong, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="notebooks to make (default: all)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--execute", action="store_true", help="run learner notebooks, save outputs")
    mode.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    options = parser.parse_args(arguments)

    root, faults = options.root.resolve(), []
    try:
        course_address(root)
    except ScriptError as error:  # said once, not for each notebook
        print(error, file=sys.stderr)
        return 1
    scripts = sorted((root / "solutions").glob("[0-9][0-9]_*.py"))
    unknown = set(options.numbers) - {path.name[:2] for path in scripts}
    if unknown:
        parser.error(f"no script in solutions/ has the number {', '.join(sorted(unknown))}")
    for path in scripts:
        if options.numbers and path.name[:2] not in options.numbers:
            continue
        try:
            faults += make(path, root, check=options.check, run=options.execute)
        except ScriptError as error:
            faults.append(str(error))
        except (CellExecutionError, DeadKernelError) as error:
            plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # tracebacks come coloured
            faults.append(f"notebooks/{path.stem}.ipynb: {plain}")
    made = {script.stem for script in scripts}
    for path in [*root.glob("solutions/*.ipynb"), *root.glob("notebooks/*.ipynb")]:
        if path.stem not in made and not options.numbers:
            faults.append(f"{path.parent.name}/{path.name}: no script makes this notebook")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
