"""Runs the exercises of one submission, inside the sandbox that `sandbox` makes.

``python answers.py FOLDER`` reads ``FOLDER/job.json``, writes ``FOLDER/ready`` when everything is
loaded, and then a file for each exercise. From there on learners' code runs, each exercise once and
in a process of its own; what comes out is only values, and nobody trusts them.
"""

import ast
import base64
import contextlib
import ctypes
import functools
import json
import multiprocessing
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from srlib import exercises
from srlib.exercises.grading import place_of
from srlib.exercises.safe_call import Misfit, NotAttempted, Outcome

try:
    import resource
except ImportError:  # Windows, where only the wall clock ends an exercise
    resource = None

# A copy of a process that has loaded everything starts at once; elsewhere each loads it again.
CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
PR_SET_CHILD_SUBREAPER = 36


def encode(value: Any) -> Any:
    """Turn a value into what JSON can hold; of an unknown object only the type's name is left."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encode(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(part)] for key, part in value.items()]}
    kind = "tensor" if isinstance(value, torch.Tensor) else "array"
    if kind == "tensor":  # NumPy has no bfloat16
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)
    if isinstance(value, (np.ndarray, np.generic, complex)):
        array = np.asarray(value)
        if array.dtype.kind in "biufc":
            data = base64.b64encode(array.tobytes()).decode()
            return {kind: [array.dtype.str, array.shape, data]}
    return {"object": type(value).__name__}


def encode_outcome(outcome: Outcome) -> dict:
    """Turn an outcome into what JSON can hold."""
    error = outcome.error
    if error is None:
        try:
            return {"value": encode(outcome.value), "changed": outcome.changed}
        except RecursionError as endless:  # a list in itself
            error = endless
    place = "" if isinstance(error, (Misfit, NotAttempted)) else place_of(error)
    text = f"{str(error)[:1000]}{place[:500]}"
    return {"error": [type(error).__name__, text], "changed": outcome.changed}


def definitions(sources: Iterable[str]) -> Iterator[str]:
    """Yield what cells define without computing: imports, functions, classes, constants."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for source in sources:
        lines = ["" if re.match(r"\s*[%!]", line) else line for line in source.splitlines()]
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.parse("\n".join(lines)).body:
                calls = any(isinstance(part, (ast.Call, ast.Await)) for part in ast.walk(node))
                constant = isinstance(node, (ast.Assign, ast.AnnAssign)) and not calls
                if constant or isinstance(node, kinds):
                    whole = (node, *getattr(node, "decorator_list", ()))
                    yield "\n".join(lines[min(n.lineno for n in whole) - 1 : node.end_lineno])


@functools.cache
def load(folder: Path) -> tuple[dict, InteractiveShell, list[tuple]]:
    """Read the job; make what runs cells as a notebook does, and run the course's own cells."""
    job = json.loads((folder / "job.json").read_bytes())
    exercises.check = lambda exercise_id, answer: answer  # where a cell still calls it
    config = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell(config=config, user_ns={"__name__": "__main__"})
    shell.showtraceback = shell.showsyntaxerror = lambda *arguments, **options: None
    for source, whole in job["given"]:
        for part in [source] if whole else definitions([source]):
            error = shell.run_cell(part).error_in_exec  # most errors miss what is left out
            made = any(f"{getattr(error, 'name', '')}.py" in text for text, _ in job["given"])
            if isinstance(error, ImportError) and not made:
                raise error
    chosen = [(exercises.get_exercise(task["id"]), task["seed"]) for task in job["tasks"]]
    return job, shell, [(task, (*task.cases(), *task.twins(seed))) for task, seed in chosen]


def attempt(folder: Path, number: int, loaded: Connection) -> None:
    """Run one exercise's cell, call its function with all cases, and write down the outcomes."""
    job, shell, trials = load(folder)
    sys.modules["__main__"] = shell.user_module
    if resource:
        limit = round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + job["seconds"] + 0.5)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    loaded.send_bytes(b"loaded")
    task, (exercise, cases) = job["tasks"][number], trials[number]
    earlier = job["tasks"][:number]
    for source in definitions([*(other["source"] for other in earlier), *job["added"]]):
        shell.run_cell(source)
    for other, (right, _) in zip(earlier, trials, strict=False):
        shell.user_ns[other["name"]] = right.reference  # what exercises build on is right
    shell.user_ns.pop(task["name"], None)
    result, outcomes, stopped = shell.run_cell(task["source"]), [], ""
    if error := result.error_before_exec or result.error_in_exec:
        stopped = traceback.format_exception_only(error)[-1].strip()[:500]
    if task["name"] in shell.user_ns:
        tried = exercise.attempt(shell.user_ns[task["name"]], cases)
        outcomes = [encode_outcome(outcome) for outcome in tried]
    content = json.dumps({"stopped": stopped, "outcomes": outcomes})
    if len(content) > job["size"]:
        content = json.dumps({"stopped": "returned too much to be compared.", "outcomes": []})
    (folder / task["id"]).write_text(content)
    os._exit(0)  # whatever threads still run


def sweep() -> float:
    """End whatever an exercise has started; return what all exercises computed, in seconds."""
    while started := psutil.Process().children(recursive=True):
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(*((-1, 0) if resource else (started[0].pid, 0)))
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) if resource else 0.0


def set_limits(job: dict) -> None:
    """Give up rights, and set the limits that all processes of a submission inherit."""
    if user := job["user"]:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for name, most in job["limits"].items():
        if kind := getattr(resource, name, None):
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
    if sys.platform == "linux":  # processes whose parent is gone become children of this one
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(folder: Path) -> None:
    """Load everything, then let each exercise run once."""
    set_limits(json.loads((folder / "job.json").read_bytes()))
    own = sys.modules["__main__"]
    job = load(folder)[0]
    sys.modules["__main__"] = own  # the shell puts a learner's there, where spawning looks for this
    (folder / "ready").write_text("ready")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # what the answers print is not wanted
        os.dup2(nowhere, stream)
    computed = 0.0
    for number, task in enumerate(job["tasks"]):
        loaded, say = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=attempt, args=(folder, number, say))
        process.start()
        loaded.poll(job["loading"])
        process.join(job["wall"])
        late, before = process.is_alive(), computed
        computed = sweep()
        if late or computed - before >= job["seconds"]:
            limits = f"{job['seconds']:g} s of computing, {job['wall']:g} s in all"
            answer = {"stopped": f"ran out of time ({limits}).", "outcomes": []}
            (folder / task["id"]).write_text(json.dumps(answer))
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
