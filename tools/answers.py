"""Runs the exercises of one submission, inside the sandbox that `sandbox` makes.

``python answers.py FOLDER`` reads ``FOLDER/job.json``, loads everything, runs learners' code and
writes a file for each exercise: only values, and nobody trusts them. ``FOLDER/progress`` gets a
byte when everything is loaded, and one after each exercise.
"""

import ast
import base64
import builtins
import contextlib
import gc
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from srlib import exercises
from srlib.exercises.grading import place_of
from srlib.exercises.safe_call import Misfit, NotAttempted, Outcome

try:
    import resource
except ImportError:  # Windows
    resource = None


def encode(value: Any) -> Any:
    """Turn what JSON does not know into dtype, shape and bytes, or into its type's name."""
    kind = "tensor" if isinstance(value, torch.Tensor) else "array"
    if kind == "tensor":  # NumPy has no bfloat16
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)
    if isinstance(value, (np.ndarray, np.generic, complex)):
        array = np.asarray(value)
        data = base64.b64encode(array.tobytes()).decode()
        return {f"__{kind}__": [array.dtype.str, array.shape, data]}
    return f"an object of type {type(value).__name__}"


def decode(found: dict) -> Any:
    """Turn back what `encode` made of arrays; any exception if it is something else."""
    for kind in found.keys() & {"__array__", "__tensor__"}:
        dtype, shape, data = found[kind]
        array = np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
        return array if kind == "__array__" else torch.from_numpy(array)
    return found


def write_outcome(outcome: Outcome) -> str:
    """Write an outcome as JSON."""
    found, error = {"value": outcome.value, "changed": outcome.changed}, outcome.error
    if error is not None:
        place = "" if isinstance(error, (Misfit, NotAttempted)) else place_of(error)
        found["error"] = [type(error).__name__, f"{str(error)[:1000]}{place[:500]}"]
    return json.dumps(found, default=encode)


def read_outcome(text: str) -> Outcome:
    """Turn an outcome back; exceptions of unknown type become others of the same name."""
    found = json.loads(text, object_hook=decode)
    changed = tuple(place for place in found["changed"] if isinstance(place, (int, str)))
    if "error" not in found:
        return Outcome(found["value"], None, changed)
    name, text = (part[:2000] for part in found["error"])
    kind = {**vars(builtins), "Misfit": Misfit, "NotAttempted": NotAttempted}.get(name)
    with contextlib.suppress(TypeError):  # UnicodeDecodeError and its like want more than a text
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return Outcome(None, kind(text), changed)
    return Outcome(None, type(name, (Exception,), {})(text), changed)


def computes(node: ast.AST) -> bool:
    """Whether a statement calls something or repeats itself, outside of functions it defines."""
    if isinstance(node, (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False
    kinds = (ast.Call, ast.Await, ast.For, ast.While, ast.With, ast.Raise, ast.Assert)
    return isinstance(node, kinds) or any(map(computes, ast.iter_child_nodes(node)))


def definitions(sources: Iterable[str]) -> Iterator[str]:
    """Yield what cells define without computing: imports, functions, classes, constants."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for source in sources:
        lines = ["" if re.match(r"\s*[%!]", line) else line for line in source.splitlines()]
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.parse("\n".join(lines)).body:
                constant = (ast.Assign, ast.AnnAssign, ast.If, ast.Try)
                if isinstance(node, kinds) or isinstance(node, constant) and not computes(node):
                    whole = (node, *getattr(node, "decorator_list", ()))
                    yield "\n".join(lines[min(n.lineno for n in whole) - 1 : node.end_lineno])


def load(given: list[tuple[str, bool]]) -> InteractiveShell:
    """Make what runs cells as a notebook does, and run the course's own cells."""
    exercises.check = lambda exercise_id, answer: answer  # where a cell still calls it
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.ask_exit = sys.exit
    shell.showtraceback = shell.showsyntaxerror = lambda *arguments, **options: None
    for source, whole in given:
        for part in [source] if whole else definitions([source]):
            error = shell.run_cell(part).error_in_exec  # most errors miss what is left out
            made = any(f"{getattr(error, 'name', '')}.py" in text for text, _ in given)
            if isinstance(error, ImportError) and not made:
                raise error
    return shell


def attempt(shell: InteractiveShell, task: dict, cases: list) -> str:
    """Run an exercise's cell and call its function with all cases; return the outcomes as JSON."""
    shell.user_ns.pop(task["name"], None)
    result, outcomes, stopped = shell.run_cell(task["source"]), [], ""
    if error := result.error_before_exec or result.error_in_exec:
        stopped = traceback.format_exception_only(error)[-1].strip()[:500]
    if task["name"] in shell.user_ns:
        tried = exercises.get_exercise(task["id"]).attempt(shell.user_ns[task["name"]], cases)
        try:
            outcomes = [write_outcome(outcome) for outcome in tried]
        except (TypeError, ValueError, RecursionError) as error:  # odd keys, a list in itself
            stopped = f"returned what is no value ({error})."
    return json.dumps({"stopped": stopped, "outcomes": outcomes})


def main(folder: Path) -> None:
    """Load everything, then run the exercises from the `first` on."""
    job = json.loads((folder / "job.json").read_bytes())
    for kind, most in job["limits"].items():  # for all that is started here, too
        with contextlib.suppress(AttributeError, ValueError):  # not known, or lower already
            resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))
    shell, tasks, first = load(job["given"]), job["tasks"], job["first"]
    chosen = [(exercises.get_exercise(task["id"]), task["seed"]) for task in tasks]
    cases = [[*exercise.cases(), *exercise.twins(seed)] for exercise, seed in chosen]
    progress = (folder / "progress").open("wb", buffering=0)
    files = [(folder / task["id"]).open("w") for task in tasks[first:]]
    if user := job["user"]:  # root gives up its rights
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    progress.write(b".")
    for number, task in enumerate(tasks):
        if number < first:  # it was run before, and has ended Python
            for source in definitions([task["source"]]):
                shell.run_cell(source)
        else:
            for source in definitions(job["added"]):
                shell.run_cell(source)
            with files[number - first] as file:
                file.write(attempt(shell, task, cases[number]))
            progress.write(b".")
        shell.user_ns[task["name"]] = chosen[number][0].reference  # what others build on is right
        gc.collect()  # errors hold on to what their functions had
    os._exit(0)  # whatever threads still run


if __name__ == "__main__":
    main(Path(sys.argv[1]))
