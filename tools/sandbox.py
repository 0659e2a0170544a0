"""Runs submissions, each in a bubblewrap sandbox of its own, and judges what comes out.

Inside (`answers`) nothing is trusted. It sees the system, the environment and the course read-only,
no network, no process of others and no file of the teacher. It leaves one file for each exercise,
which is read here after everything inside is dead, and compared here.
"""

import contextlib
import ctypes
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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
from answers import read_outcome

from srlib.exercises import get_exercise
from srlib.exercises.safe_call import Outcome

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = Path(__file__).with_name("answers.py")
LONGEST_S = 600  # by the clock, for loading or an exercise
RESULT_SIZE = 1_000_000  # bytes that an exercise may give back
FILE_SIZE = 64_000_000  # bytes of any file that a submission writes
FOLDER_SIZE = 256_000_000  # bytes of its /tmp, and of its /dev/shm
PROCESSES = 100 + 2 * (os.cpu_count() or 1)  # that a submission may have at a time, with threads
PR_SET_CHILD_SUBREAPER = 36
stop = threading.Event()  # ends all that run
judging = threading.Lock()  # references may draw random numbers, whose state all threads share


class NotGradedError(Exception):
    """Something kept a submission from being graded that is not its author's fault."""


class Task(NamedTuple):
    """An exercise to run: its id, its function's name, the seed of its twins, the cell's code."""

    id: str
    name: str
    seed: int
    source: str


class Answer(NamedTuple):
    """What came of one exercise: the outcomes of its function, and what stopped it."""

    outcomes: list[Outcome]
    stopped: str


def read_bounded(path: Path, size: int) -> bytes:
    """Read a plain file of at most `size` bytes; ValueError if it is anything else."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{path.name} is no file, but a folder, a link or a pipe")
    with path.open("rb") as file:
        content = file.read(size + 1)
    if len(content) > size:
        raise ValueError(f"{path.name} has more than {size // 10**6} MB")
    return content


def read_answer(path: Path) -> Answer:
    """Read the file of an exercise; whatever is wrong with it stops the exercise."""
    try:
        found = json.loads(read_bounded(path, RESULT_SIZE))
        return Answer([read_outcome(text) for text in found["outcomes"]], found["stopped"][:500])
    except Exception as error:  # anything may have been written there
        return Answer([], f"gave back what is no result ({str(error)[:100]}).")


def verdict(task: Task, answer: Answer) -> tuple[int, str]:
    """Return the points of an answer, and what its author is told."""
    exercise = get_exercise(task.id)
    label = f"{exercise.id} {exercise.title}: "
    if not answer.outcomes:
        return 0, label + (answer.stopped or "there is no such function.")
    cases, twins = exercise.cases(), exercise.twins(task.seed)
    try:
        with judging:
            shown = exercise.judge(cases, answer.outcomes[: len(cases)])
            hidden = exercise.judge(twins, answer.outcomes[len(cases) :])
    except (LookupError, RecursionError):  # lists too deep, changed arguments that do not exist
        return 0, f"{label}gave back what cannot be compared."
    text = f"{shown.status}."
    if shown.status == "failed":
        text = f"not right yet. {shown.message}"
    elif shown.status == "passed" and hidden.status != "passed":
        text = f"right with the numbers shown, not with others. {hidden.message}"
    after = f"\nAfter the function, the cell stopped: {answer.stopped}" if answer.stopped else ""
    return sum(map(all, zip(shown.right, hidden.right, strict=False))), label + text + after


def _bubblewrap(folder: Path, files: list[Path]) -> list[str]:
    """Return the command that stands before another one to lock it in."""
    space = ["--perms", "1777", "--size", str(FOLDER_SIZE), "--tmpfs"]
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.geteuid() == 0:  # what runs inside becomes another user
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    command += ["--proc", "/proc", "--dev", "/dev", *space, "/dev/shm", "--remount-ro", "/dev"]
    command += [*space, "/tmp"]
    system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]
    system += ["/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/sys/devices/system/cpu"]
    python = [sys.base_prefix, Path(sys.executable).resolve().parents[1], sys.prefix]
    course = [ROOT / "srlib", ROOT / "data", ROOT / "pyproject.toml", ANSWERS]
    paths = list(map(Path, [*system, *python, *course, folder]))
    parents = {parent for path in paths for parent in path.parents} - {Path("/"), Path("/tmp")}
    for parent in sorted(parents):  # for whoever is not root, too
        command += ["--perms", "0755", "--dir", str(parent)]
    for path in map(str, paths):
        command += ["--ro-bind-try", path, path]
    for file in map(str, files):  # these can be written, and no others made
        command += ["--bind", file, file]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", "--"]


def why_not_isolated() -> str:
    """Try the sandbox; return why there is none, empty if there is."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    try:
        run({"given": (), "added": ()}, [Task("00.1", "nothing", 0, "")])
    except NotGradedError as error:
        return f"bubblewrap does not work here: {error}"
    return ""


def run(
    cells: dict, tasks: list[Task], *, seconds: float = 20, memory_gb: float = 2, isolated=True
) -> dict[str, Answer]:
    """Run the exercises of a submission in their order, and return an `Answer` for each id.

    `cells` holds under "given" the course's cells, each with whether it is run whole or only for
    what it defines, and under "added" the learner's own. An exercise may compute for `seconds`, and
    wait as long. A process may take `memory_gb` GiB, all together twice as much. What breaks a
    limit, or Python, ends the sandbox; the exercises after it get another one. NotGradedError if
    it could not be started or loaded.
    """
    root = isolated and os.geteuid() == 0
    job = {**cells, "tasks": [task._asdict() for task in tasks]}
    job |= {"seconds": seconds, "memory_gb": 2 * memory_gb}
    job["user"] = 10**9 + secrets.randbelow(10**9) if root else 0  # nobody else's number
    job["limits"] = {"DATA": int(memory_gb * 2**30), "FSIZE": FILE_SIZE, "CORE": 0}
    kernel = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    if root or (isolated and kernel >= (5, 14)):  # before, it counts all that the user runs
        job["limits"]["NPROC"] = PROCESSES
    answers: list[Answer] = []
    while todo := tasks[len(answers) :]:
        with tempfile.TemporaryDirectory(prefix="grading", ignore_cleanup_errors=True) as name:
            folder = Path(name).resolve()
            files = [folder / file for file in ("progress", *(task.id for task in todo))]
            for file in files:
                file.touch()
            job["first"] = len(answers)
            (folder / "job.json").write_text(json.dumps(job))
            stopped = _run_inside(folder, files, job, isolated)
            done = files[1:][: files[0].stat().st_size - 1]
            answers += map(read_answer, done)
            if len(done) < len(todo):
                answers.append(Answer([], stopped or "ended Python."))
    return dict(zip((task.id for task in tasks), answers, strict=True))


def _run_inside(folder: Path, files: list[Path], job: dict, isolated: bool) -> str:
    """Run `answers` until all that it started is dead; return why it was ended, if it was."""
    home = "/tmp" if isolated else str(folder)
    environment = {"HOME": home, "TMPDIR": home, "USER": "learner", "LANG": "C.UTF-8"}
    environment |= {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)}
    environment |= {"SRLIB_PROFILE": "ci", "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": "-1"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {k: v for k, v in os.environ.items() if k == "SYSTEMROOT"}  # of Windows
    command = [sys.executable, "-sP", str(ANSWERS), str(folder)]
    command = _bubblewrap(folder, files) + command if isolated else command
    with tempfile.TemporaryFile() as errors:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": folder}
        process = subprocess.Popen(command, env=environment, stderr=errors, **options)
        try:
            killed = _watch(process, files, job)
        finally:
            _end(process)
        if not files[0].stat().st_size:
            errors.seek(0)
            said = errors.read(10**6).decode(errors="replace").strip().splitlines()
            raise NotGradedError(killed or ["it ended early", *said][-1][:300])
    return killed


def _watch(process: psutil.Popen, files: list[Path], job: dict) -> str:
    """Wait for a sandbox to end; return why it has to be ended before, if so.

    On a busy machine a second of computing takes long, but something is computed all the time.
    """
    done, before, computed, seconds = 0, 0.0, 0.0, job["seconds"]
    began = active = time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        memory, last, computed, now = 0, computed, 0.0, time.monotonic()
        for part in _inside(process):
            with contextlib.suppress(psutil.Error):  # gone meanwhile
                memory += part.memory_info().rss
                computed += sum(part.cpu_times()[:4])  # with what its ended children took
        active = now if computed != last else active
        if (size := min(files[0].stat().st_size, len(files))) > done:  # the next exercise begins
            done, before, began, active = size, computed, now, now
        if stop.is_set():
            raise NotGradedError("it was interrupted")
        if memory > job["memory_gb"] * 2**30:
            return f"needed more than {job['memory_gb']:g} GB of memory in all its processes."
        if done and max(computed - before, now - active) > seconds:
            return f"ran out of time ({seconds:g} s of computing, or of waiting)."
        if now - began > LONGEST_S:
            return f"took more than {LONGEST_S} s."
    return ""


def _inside(process: subprocess.Popen) -> set[psutil.Process]:
    """Return a sandbox's own process and all that live within it."""
    with contextlib.suppress(psutil.Error):
        top = psutil.Process(process.pid)
        return {top, *top.children(recursive=True)}
    return set()


def _end(process: subprocess.Popen) -> None:
    """Kill all that lives within a sandbox; before, stop it, so that it starts nothing more."""
    found = set()
    while new := _inside(process) - found:
        found |= new
        for part in new:
            with contextlib.suppress(psutil.Error):
                part.suspend()
    for part in found:
        with contextlib.suppress(psutil.Error):
            part.kill()
    psutil.wait_procs(found, timeout=10)
    process.wait()


@contextlib.contextmanager
def no_orphans() -> Iterator[None]:
    """Adopt processes whose parent is gone, as far as the system can, and end them at last."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        for left in psutil.Process().children(recursive=True):
            left.kill()
