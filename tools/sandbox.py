"""Grades the solution cells of a notebook within limits of time and memory.

`RunAnswers` takes the place of nbgrader's own execution in its autograder. The learner's code
runs in a process of its own (`answers`), which is stopped when it takes too long or too much. What
its functions returned is compared with the reference here, out of the reach of that code.
"""

import base64
import builtins
import contextlib
import functools
import json
import multiprocessing
import os
import re
import textwrap
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import answers
import nbformat
import numpy as np
import psutil
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from submissions import definitions, grade_id, others, solution_id, test_id
from traitlets import Float

from srlib.exercises import get_exercise
from srlib.exercises.safe_call import Misfit, NotAttempted, Outcome, TimeUp

LOADING_S = 120  # imports and the notebook's own definitions
EVENT_LIMIT = 5_000_000  # bytes that one result may take
TOKEN = uuid.uuid4().hex  # what all processes of this run carry in their environment
# Where processes can be copied, what takes seconds to import is imported once.
CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
PRELOADED = ["answers", "matplotlib.pyplot", "ipywidgets", "srlib.training", "srlib.widgets"]
TEST = re.compile(r'_points\("(?P<id>[\d.]+)", (?P<name>\w+), seed=(?P<seed>\d+)\)')


@dataclass(frozen=True)
class Task:
    """An exercise to run: its id, its function's name, the seed of its twins, the cell's code."""

    id: str
    name: str
    seed: int
    source: str


@dataclass
class Answer:
    """What one exercise's cell did: the outcomes of its function, what stopped it, a remark."""

    outcomes: list[Outcome] = field(default_factory=list)
    stopped: str = ""
    remark: str = ""


def decode(value: Any) -> Any:
    """Turn back what `answers.encode` made, as data only."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "complex":
        return complex(*content)
    if kind in ("array", "tensor", "scalar"):
        dtype, shape, data = content
        array = np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
        return torch.from_numpy(array) if kind == "tensor" else array[()] if shape == [] else array
    if kind in ("tuple", "list"):
        parts = [decode(part) for part in content]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "dict":
        return {decode(key): decode(part) for key, part in content}
    return type(str(content), (), {})()


def decode_outcome(event: dict) -> Outcome:
    """Turn back an outcome; exceptions of unknown type become others of the same name."""
    changed = tuple(event["changed"])
    if "error" not in event:
        return Outcome(decode(event["value"]), None, changed)
    name, text = map(str, event["error"])
    known = {"Misfit": Misfit, "NotAttempted": NotAttempted}
    kind = known.get(name) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        kind = type(name, (Exception,), {})
    try:
        error = kind(text)
    except TypeError:  # UnicodeDecodeError and its like want more than a text
        error = type(name, (Exception,), {})(text)
    return Outcome(None, error, changed)


class _Process:
    """A process that runs `answers.main`, its events, its limits."""

    def __init__(self, job: dict, *, seconds: float, memory_gb: float):
        self.memory_gb = memory_gb
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=answers.main, args=(theirs, json.dumps(job)))
        self.process.start()
        theirs.close()
        # For the case that it stops in the middle of an event, which `next_event` then waits for.
        self.watchdog = threading.Timer(LOADING_S + seconds, self.process.kill)
        self.watchdog.daemon = True
        self.watchdog.start()

    def next_event(self, deadline: float) -> dict:
        """Wait for the next event; "time", "memory" and "end" are those of the process itself."""
        while True:
            if self._memory() > self.memory_gb * 2**30:
                return {"event": "memory"}
            if time.monotonic() > deadline:
                return {"event": "time"}
            alive = self.process.is_alive()
            try:
                if self.connection.poll(0.05):
                    event = json.loads(self.connection.recv_bytes(EVENT_LIMIT))
                    if event["event"] == "outcome":
                        event["outcome"] = decode_outcome(event)
                    return event
            except (EOFError, OSError, ValueError, KeyError, TypeError, RecursionError):
                return {"event": "end"}  # it is over, or sent what `answers` never sends
            if not alive:
                return {"event": "end"}

    def _memory(self) -> int:
        """Bytes in use by the process and all that it started."""
        total = 0
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            process = psutil.Process(self.process.pid)
            for part in (process, *process.children(recursive=True)):
                total += part.memory_info().rss
        return total

    def end(self) -> None:
        """Kill the process and all that it started."""
        self.watchdog.cancel()
        started = []
        with contextlib.suppress(psutil.Error):
            started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.join()
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.connection.close()
        while orphans := _orphans():
            for process in orphans:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.02)


def _orphans() -> list[psutil.Process]:
    """Find processes that were started within a sandbox and whose parent is gone."""
    inside = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get("SRLIB_SANDBOX") == TOKEN:
                inside[process.pid] = (process, process.ppid())
    return [p for p, parent in inside.values() if parent not in {*inside, os.getpid()}]


def _set_environment() -> None:
    """Prepare what the processes inherit; before the first one starts."""
    paths = (str(Path(__file__).parent), str(Path(__file__).parents[1]))
    os.environ |= {
        "SRLIB_SANDBOX": TOKEN,
        "SRLIB_PROFILE": "ci",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "MPLBACKEND": "agg",
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
    }
    if CONTEXT.get_start_method() == "forkserver":
        CONTEXT.set_forkserver_preload(["__main__", *PRELOADED])


@functools.cache
def run(
    sources: tuple[str, ...], tasks: tuple[Task, ...], *, seconds: float, memory_gb: float
) -> dict[str, Answer]:
    """Run solution cells and call their functions with the cases and their twins.

    Parameters
    ----------
    sources
        Code that defines what the solutions may use.
    tasks
        The exercises in the notebook's order.
    seconds
        What each exercise may take.
    memory_gb
        What the process and all that it starts may take together, in GiB.

    Returns
    -------
    dict
        An `Answer` for each id. A cell that ends the process costs only its own exercise.
    """
    _set_environment()
    found = {task.id: Answer() for task in tasks}
    finished: set[str] = set()
    while len(finished) < len(tasks):
        left = [{**asdict(task), "done": task.id in finished} for task in tasks]
        job = {"definitions": sources, "tasks": left}
        process = _Process(job, seconds=seconds * len(tasks), memory_gb=memory_gb)
        try:
            finished |= _follow(process, found, seconds) or set(found)
        finally:
            process.end()
    return found


def _follow(process: _Process, found: dict[str, Answer], seconds: float) -> set[str]:
    """Fill in answers until the process ends; return the exercises that are finished now."""
    deadline, current, calling = time.monotonic() + LOADING_S, "", False
    started, finished = set(), set()
    reasons = {
        "time": (f"ran out of time ({seconds:g} s)", TimeUp()),
        "memory": (
            f"needed more than {process.memory_gb:g} GB of memory",
            MemoryError(f"more than {process.memory_gb:g} GB"),
        ),
        "end": ("ended Python", SystemExit("Python ended here")),
    }
    while True:
        event = process.next_event(deadline)
        answer = found.get(current)
        match event["event"]:
            case "task" if event["id"] in found.keys() - started:
                current, calling = event["id"], False
                started.add(current)
                found[current] = Answer()
                deadline = time.monotonic() + seconds
            case "stopped" if answer:
                answer.stopped = str(event["text"])[:500]
            case "calling":
                calling = True
            case "outcome" if answer:
                answer.outcomes.append(event["outcome"])
            case "done":
                finished.add(current)
                if current == list(found)[-1]:
                    return finished
            case "time" | "memory" | "end":
                remark, error = reasons[event["event"]]
                if not answer or current in finished:  # not within a solution cell
                    for left in found.keys() - finished:
                        found[left].remark = f"the cells before the exercises: {remark}"
                    return set()
                answer.remark = remark
                if calling:
                    answer.outcomes.append(Outcome(error=error))
                else:
                    answer.stopped = f"The cell itself {remark}."
                return {*finished, current}


def verdict(exercise_id: str, seed: int, answer: Answer) -> tuple[int, str]:
    """Return the points of an answer, and what its author is told."""
    exercise = get_exercise(exercise_id)
    label = f"{exercise.id} {exercise.title}: "
    cases, twins = exercise.cases(), exercise.twins(seed)
    shown = exercise.judge(cases, answer.outcomes[: len(cases)])
    hidden = exercise.judge(twins, answer.outcomes[len(cases) :])
    earned = sum(map(all, zip(shown.right, hidden.right, strict=False)))
    if not answer.outcomes:
        return 0, label + (answer.stopped or answer.remark or "there is no such function.")
    if shown.status == "not attempted":
        return 0, label + "not attempted."
    if shown.status == "failed":
        return earned, f"{label}not right yet. {shown.message}"
    if hidden.status == "failed" or len(hidden.right) < len(twins):
        return earned, f"{label}right with the numbers shown, not with others. {hidden.message}"
    return earned, label + "passed."


def job_of(
    notebook: NotebookNode, source: NotebookNode
) -> tuple[tuple[str, ...], tuple[Task, ...]]:
    """Return what `run` needs of a submission, given the source version of the assignment."""
    solutions = {grade_id(cell): cell.source for cell in notebook.cells}
    tests = [found for cell in source.cells if (found := TEST.search(cell.source))]
    tasks = (
        Task(t["id"], t["name"], int(t["seed"]), solutions.get(solution_id(t["id"]), ""))
        for t in tests
    )
    added = definitions(others(notebook.cells, source.cells))
    return (*definitions(source.cells), *added), tuple(tasks)


class RunAnswers(NbGraderPreprocessor):
    """Fills in the outputs of test cells; see the module."""

    seconds = Float(20, help="seconds that an exercise may take").tag(config=True)
    memory = Float(2, help="GiB of memory that a submission may take").tag(config=True)

    def preprocess(self, nb, resources):
        """Run a submission whose locked cells are the course's own again."""
        names = resources["nbgrader"]
        path = Path("source", names["assignment"], f"{names['notebook']}.ipynb")
        job = job_of(nb, nbformat.read(path, as_version=4))
        found = run(*job, seconds=self.seconds, memory_gb=self.memory)
        tests = {grade_id(cell): cell for cell in nb.cells}
        for task in job[1]:
            answer = found[task.id]
            earned, text = verdict(task.id, task.seed, answer)
            if answer.stopped and answer.outcomes:
                text += f"\nAfter the function, the cell stopped: {answer.stopped}"
            remark = f"{task.id} {answer.remark}" if answer.remark else ""
            result = {"text/plain": str(earned)}  # which nbgrader takes for partial credit
            tests[test_id(task.id)].outputs = [
                new_output("stream", name="stdout", text=f"{_wrapped(text)}\n"),
                new_output(
                    "execute_result", result, execution_count=1, metadata={"remark": remark}
                ),
            ]
        return nb, resources


def _wrapped(text: str) -> str:
    """Break lines that a feedback page would cut off."""
    lines = text.splitlines()
    return "\n".join(textwrap.fill(line, 90, subsequent_indent="    ") for line in lines)
