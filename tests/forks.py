"""Processes of a test's own, to be killed."""

import os
import signal
import warnings
from pathlib import Path

import torch

from srlib.training import checkpoint

# Torch decides at its first backward pass whether a fork may do one. After an ONNX export it would
# decide that it may not.
torch.ones(1, requires_grad=True).sum().backward()


def in_a_fork(call, after=None):
    """Call it in a process of its own, which `after(pid)` may kill.

    Return how it ended, as os.waitpid does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads, Python 3.12
        child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # threads do not survive a fork
            call()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    if after:
        after(child)
    return os.waitpid(child, 0)[1]


# Points at which `kill_in` ends a process.
PHASES = ["before writing", "while writing", "before renaming", "after renaming", "while deleting"]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in(phase):
    """Make the next checkpoint of this process its last, at a point of its writing."""
    if phase == "before writing":
        checkpoint._digest = lambda data: kill()
    elif phase == "while writing":

        def torn(path, data):
            with open(path, "wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                kill()

        Path.write_bytes = torn
    elif phase == "before renaming":
        os.fsync = lambda descriptor: kill()
    elif phase == "after renaming":
        replace = os.replace
        os.replace = lambda *paths: (replace(*paths), kill())
    else:
        unlink = Path.unlink
        Path.unlink = lambda path, **options: (unlink(path, **options), kill())
