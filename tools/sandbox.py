"""Runs submissions, each in a bubblewrap sandbox of its own, and judges what comes out.

Inside (`answers`) nothing is trusted. It sees the system, the environment and the course read-only,
no network, no process of others and no file of the teacher. It leaves one file for each exercise,
which is read here after everything inside is dead, and compared here.
"""

import base64
import builtins
import contextlib
import functools
import importlib.util
import json
import os
import platform
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from srlib.exercises import get_exercise
from srlib.exercises.safe_call import Misfit, NotAttempted, Outcome

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = Path(__file__).with_name("answers.py")
LOADING_S = 600  # off the learner's clock
RESULT_SIZE = 4_000_000  # bytes that an exercise may give back
FILE_SIZE = 64_000_000  # bytes of any file that a submission writes
FOLDER_SIZE = 256_000_000  # bytes of its /tmp, and of its /dev/shm
PROCESSES = 40  # that a submission may have at a time
DEPTH = 30  # of lists in lists
stop = threading.Event()  # ends all that run


class NotGradedError(Exception):
    """Something kept a submission from being graded that is not its author's fault."""


@dataclass(frozen=True)
class Task:
    """An exercise to run: its id, its function's name, the seed of its twins, the cell's code."""

    id: str
    name: str
    seed: int
    source: str


@dataclass
class Answer:
    """What came of one exercise: the outcomes of its function, or what stopped it."""

    outcomes: list[Outcome] = field(default_factory=list)
    stopped: str = ""


def read_bounded(path: Path, size: int) -> bytes:
    """Read a plain file of at most `size` bytes; ValueError if it is anything else."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{path.name} is no file, but a folder, a link or a pipe")
    kinds = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")  # some are missing on Windows, one elsewhere
    flags = sum(getattr(os, kind, 0) for kind in kinds)
    with open(os.open(path, os.O_RDONLY | flags), "rb") as file:
        content = file.read(size + 1)
    if len(content) > size:
        raise ValueError(f"{path.name} has more than {size // 10**6} MB")
    return content


def decode(value: Any, depth: int = 0) -> Any:
    """Turn back what `answers.encode` made, as data only; any exception if it is something else."""
    if depth > DEPTH or isinstance(value, list):
        raise ValueError("no value")
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in ("array", "tensor"):
        dtype, shape, data = content
        if not re.fullmatch(r"[<>|][biufc]\d{1,2}", dtype):
            raise ValueError("no dtype")
        array = np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
        return torch.from_numpy(array) if kind == "tensor" else array
    if kind == "dict":
        return {decode(key, depth + 1): decode(part, depth + 1) for key, part in content}
    if kind == "object":
        return type(content[:80], (), {})()
    return {"list": list, "tuple": tuple}[kind](decode(part, depth + 1) for part in content)


def decode_outcome(event: dict) -> Outcome:
    """Turn back an outcome; exceptions of unknown type become others of the same name."""
    changed = tuple(place for place in event["changed"] if isinstance(place, (int, str)))
    if "error" not in event:
        return Outcome(decode(event["value"]), None, changed)
    name, text = (part[:2000] for part in event["error"])
    kind = {"Misfit": Misfit, "NotAttempted": NotAttempted}.get(name) or vars(builtins).get(name)
    with contextlib.suppress(TypeError):  # UnicodeDecodeError and its like want more than a text
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return Outcome(None, kind(text), changed)
    return Outcome(None, type(name, (Exception,), {})(text), changed)


def read_answer(path: Path, unfinished: str) -> Answer:
    """Read the file of an exercise; whatever is wrong with it stops the exercise."""
    try:
        if not (content := read_bounded(path, RESULT_SIZE)):
            return Answer(stopped=unfinished)
        found = json.loads(content)
        return Answer(
            [decode_outcome(event) for event in found["outcomes"]], found["stopped"][:500]
        )
    except Exception as error:  # anything may have been written there
        return Answer(stopped=f"gave back what is no result ({type(error).__name__}).")


def verdict(task: Task, answer: Answer) -> tuple[int, str]:
    """Return the points of an answer, and what its author is told."""
    exercise = get_exercise(task.id)
    label = f"{exercise.id} {exercise.title}: "
    if not answer.outcomes:
        return 0, label + (answer.stopped or "there is no such function.")
    cases, twins = exercise.cases(), exercise.twins(task.seed)
    shown = exercise.judge(cases, answer.outcomes[: len(cases)])
    hidden = exercise.judge(twins, answer.outcomes[len(cases) :])
    text = "passed."
    if shown.status == "not attempted":
        text = "not attempted."
    elif shown.status == "failed":
        text = f"not right yet. {shown.message}"
    elif hidden.status == "failed" or len(hidden.right) < len(twins):
        text = f"right with the numbers shown, not with others. {hidden.message}"
    after = f"\nAfter the function, the cell stopped: {answer.stopped}" if answer.stopped else ""
    return sum(map(all, zip(shown.right, hidden.right, strict=False))), label + text + after


def _bubblewrap(folder: Path, files: list[Path]) -> list[str]:
    """Return the command that stands before another one to lock it in."""
    space = ["--perms", "1777", "--size", str(FOLDER_SIZE), "--tmpfs"]
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.geteuid() == 0:  # the sandbox becomes another user, see `answers.set_limits`
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    command += ["--proc", "/proc", "--dev", "/dev", *space, "/dev/shm", "--remount-ro", "/dev"]
    command += [*space, "/tmp"]
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")):
        link = ["--symlink", os.readlink(path)] if path.is_symlink() else ["--ro-bind-try", path]
        command += [*map(str, link), str(path)]
    python = Path(sys.executable).resolve().parents[1]
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    package = Path(importlib.util.find_spec("srlib").origin).parent
    course = [package, ROOT / "data", ROOT / "pyproject.toml", ANSWERS]
    system = ["/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/sys/devices/system/cpu"]
    paths = ["/usr", sys.base_prefix, python, sys.prefix, *packages, *course, *system, folder]
    seen = {Path("/"), Path("/tmp")}
    for path in dict.fromkeys(map(Path, paths)):
        for parent in reversed([one for one in path.parents if one not in seen]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind-try", str(path), str(path)]
        seen |= {path, *path.parents}
    for file in files:  # these can be written, and no others made
        command += ["--bind", str(file), str(file)]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", "--"]


@functools.cache
def why_not_isolated() -> str:
    """Try the sandbox once; return why there is none, empty if there is."""
    if sys.platform != "linux":
        return "bubblewrap is for Linux only"
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    try:
        run({"given": (), "added": ()}, [])
    except NotGradedError as error:
        return f"bubblewrap does not work here: {error}"
    return ""


def run(
    cells: dict, tasks: list[Task], *, seconds: float = 20, memory_gb: float = 2, isolated=True
) -> dict[str, Answer]:
    """Run the exercises of a submission in their order, and return an `Answer` for each id.

    `cells` holds under "given" the course's cells, each with whether it is run whole or only for
    what it defines, and under "added" the learner's own. An exercise may compute for `seconds`, and
    take three times as long by the clock. A process may take `memory_gb` GiB, all together twice
    as much. NotGradedError if they could not be started or loaded.
    """
    root = isolated and os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="grading", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        files = [folder / file for file in ("ready", *(task.id for task in tasks))]
        work = {"seconds": seconds, "wall": 3 * seconds, "loading": LOADING_S, "size": RESULT_SIZE}
        work |= {**cells, "tasks": [asdict(task) for task in tasks]}
        work["user"] = 10**9 + secrets.randbelow(10**9) if root else 0  # nobody else's number
        limits = {"DATA": int(memory_gb * 2**30), "FSIZE": FILE_SIZE, "CORE": 0}
        version = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
        if root or (isolated and version >= (5, 14)):  # before, it counts all that the user runs
            limits["NPROC"] = 3 * PROCESSES + 2 * (os.cpu_count() or 1)  # here threads count too
        work["limits"] = {f"RLIMIT_{kind}": most for kind, most in limits.items()}
        (folder / "job.json").write_text(json.dumps(work))
        for file in files:
            file.touch()
        if root:  # the other user has to read it, and to write those
            for path in (folder, folder / "job.json", *files):
                path.chmod(0o755 if path == folder else 0o666)
        home = "/tmp" if isolated else name
        environment = {"HOME": home, "TMPDIR": home, "USER": "learner", "LANG": "C.UTF-8"}
        environment |= {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)}
        environment |= {"SRLIB_PROFILE": "ci", "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": "-1"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {k: v for k, v in os.environ.items() if k == "SYSTEMROOT"}  # of Windows
        command = [sys.executable, "-sP", str(ANSWERS), str(folder)]
        command = _bubblewrap(folder, files) + command if isolated else command
        with tempfile.TemporaryFile() as errors:
            options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": name}
            process = subprocess.Popen(command, env=environment, stderr=errors, **options)
            try:
                killed = _watch(process, files[0], work, 2 * memory_gb)
            finally:
                _end(process)
            if files[0].stat().st_size == 0:
                errors.seek(0)
                said = errors.read(10**6).decode(errors="replace").strip().splitlines()
                raise NotGradedError(killed or (said[-1] if said else "it ended early")[:300])
        return {task.id: read_answer(folder / task.id, killed or "ended Python.") for task in tasks}


def _watch(process: subprocess.Popen, ready: Path, work: dict, memory_gb: float) -> str:
    """Wait for a sandbox to end; return why it has to be ended before, if so."""
    deadline, loaded, before = time.monotonic() + LOADING_S, False, 0.0
    number = len(work["tasks"])
    while process.poll() is None:
        time.sleep(0.1)
        memory, computed, inside = 0, 0.0, _inside(process)
        for part in inside:
            with contextlib.suppress(psutil.Error):  # gone meanwhile
                memory += part.memory_info().rss
                computed += sum(part.cpu_times()[:4])  # with what its ended children took
                if part.status() == psutil.STATUS_STOPPED:
                    return "stopped a process."
        if not loaded and ready.stat().st_size:
            loaded, before = True, computed
            again = 0 if sys.platform == "linux" else LOADING_S  # each process loads everything
            deadline = time.monotonic() + number * (work["wall"] + again) + 60
        if stop.is_set():
            raise NotGradedError("it was interrupted")
        if time.monotonic() > deadline:
            return "ran out of time." if loaded else f"loading took more than {LOADING_S} s"
        if memory > memory_gb * 2**30:
            return f"needed more than {memory_gb:g} GB of memory in all its processes."
        if len(inside) > PROCESSES:
            return f"started more than {PROCESSES} processes."
        if loaded and computed - before > 1.5 * number * work["seconds"] + 10:
            return "ran out of time in all its processes."
    return ""


def _inside(process: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that live within a sandbox, and its own."""
    found = []
    with contextlib.suppress(psutil.Error):
        top = psutil.Process(process.pid)
        for part in (*top.children(recursive=True), top):
            with contextlib.suppress(psutil.Error):
                found += [part] if part.status() != psutil.STATUS_ZOMBIE else []
    return found


def _end(process: subprocess.Popen) -> None:
    """Kill all that lives within a sandbox, and then what started it."""
    with contextlib.suppress(psutil.Error):
        psutil.Process(process.pid).suspend()  # it starts nothing more
    while inside := [part for part in _inside(process) if part.pid != process.pid]:
        for part in inside:
            with contextlib.suppress(psutil.Error):
                part.kill()
        psutil.wait_procs(inside, timeout=0.1)
    process.kill()
    process.wait()
