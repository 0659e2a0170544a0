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


def kill_in(phase, module=checkpoint):
    """Make the next checkpoint of this process its last, at a point of its writing."""
    if phase == "before writing":
        module._digest = lambda data: kill()
    elif phase == "while writing":

        def torn(path, mode):
            with open(path, mode) as file:
                file.write(b"half of it")
                file.flush()
                kill()

        module.open = torn
    elif phase == "before renaming":
        module.os.fsync = lambda descriptor: kill()
    elif phase == "after renaming":
        replace = os.replace
        module.os.replace = lambda *paths: (replace(*paths), kill())
    else:
        unlink = Path.unlink
        Path.unlink = lambda path, **options: (unlink(path, **options), kill())
