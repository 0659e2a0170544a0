"""Calls a learner's functions and writes down what came back. `sandbox` starts it and ends it.

Its process runs code that nobody has read. It judges nothing, and what it says is only taken as
values: JSON for each event.
"""

import base64
import json
import os
import sys
import traceback
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import numpy as np
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import srlib
from srlib.exercises import get_exercise
from srlib.exercises.safe_call import Misfit, NotAttempted, Outcome


def encode(value: Any) -> Any:
    """Turn a value into what JSON can hold; of an unknown object only the type's name is left."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
        return {"tensor": encode(value.numpy())["array"]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        data = base64.b64encode(value.tobytes()).decode()
        return {kind: [value.dtype.str, list(value.shape), data]}
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encode(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(part)] for key, part in value.items()]}
    return {"object": type(value).__name__}


def encode_outcome(outcome: Outcome) -> dict:
    """Turn an outcome into what JSON can hold."""
    error = outcome.error
    if error is None:
        return {"value": encode(outcome.value), "changed": list(outcome.changed)}
    place = "" if isinstance(error, (Misfit, NotAttempted)) else place_of(error)
    return {"error": [type(error).__name__, f"{error}{place}"], "changed": list(outcome.changed)}


def place_of(error: BaseException) -> str:
    """Quote the innermost line of the learner's cell."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.line and frame.filename.startswith("<ipython"):
            return f", in line {frame.lineno} of {frame.name}: `{frame.line}`"
    return ""


def hide_solutions() -> None:
    """Let imports no longer find the reference solutions; `check` only hands its answer on."""
    stand_in = ModuleType("srlib.exercises")
    stand_in.check = lambda exercise_id, answer: answer
    stand_in.hint = lambda exercise_id: None
    for name in [name for name in sys.modules if name.startswith("srlib.exercises")]:
        sys.modules[name] = None  # an import then raises ModuleNotFoundError
    sys.modules["srlib.exercises"] = srlib.exercises = stand_in


def make_shell() -> InteractiveShell:
    """Make what runs cells as a notebook does, without a history and silent about errors."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config, user_ns={"__name__": "__main__"})
    shell.showtraceback = shell.showsyntaxerror = lambda *arguments, **options: None
    return shell


def main(connection: Connection, work: str) -> None:
    """Run what `work`, as JSON, asks for, and report."""
    job = json.loads(work)
    if hasattr(os, "setsid"):
        os.setsid()  # signals to the own group reach nobody else
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # what the answers print is not wanted
        os.dup2(nowhere, stream)

    def say(**event: Any) -> None:
        connection.send_bytes(json.dumps(event).encode())

    exercises = {task["id"]: get_exercise(task["id"]) for task in job["tasks"]}
    trials = {
        task["id"]: (*exercises[task["id"]].cases(), *exercises[task["id"]].twins(task["seed"]))
        for task in job["tasks"]
    }
    hide_solutions()
    shell = make_shell()
    for source in job["definitions"]:
        shell.run_cell(source)
    say(event="ready")
    for task in job["tasks"]:
        name, exercise = task["name"], exercises[task["id"]]
        if not task["done"]:
            say(event="task", id=task["id"])
            shell.user_ns.pop(name, None)
            result = shell.run_cell(task["source"])
            if error := result.error_before_exec or result.error_in_exec:
                text = "".join(traceback.format_exception_only(error)).strip()
                say(event="stopped", text=text, defined=name in shell.user_ns)
            if name in shell.user_ns:
                say(event="calling")
                for outcome in exercise.attempt(shell.user_ns[name], trials[task["id"]]):
                    try:
                        encoded = encode_outcome(outcome)
                    except (RecursionError, ValueError) as error:  # a list in itself, a huge int
                        encoded = {"error": [type(error).__name__, str(error)], "changed": []}
                    say(event="outcome", **encoded)
            say(event="done", id=task["id"])
        shell.user_ns[name] = exercise.reference  # later exercises may build on a right one
