"""Write a file whole or not at all."""

import contextlib
import errno
import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Give a ``with`` block a file to write to, which replaces `path` if the block succeeds.

    The file is beside `path` and has a name of its own, so that two writers cannot meet in it
    and nothing of the user's is overwritten. It is removed if the block raises; what a killed
    writer left is removed when `path` is written again. The disk has the file before `path` is
    replaced; a link stays a link, and what it points to is replaced.

    Raises
    ------
    OSError
        If it cannot be made, written to the disk or renamed.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():  # it leads back to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    with _own_folder(path) as folder:
        partial = Path(folder, path.name)
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors would keep it from the rest of a class
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)


@contextlib.contextmanager
def _own_folder(path):
    """Make a folder beside `path`: a file in it keeps its ending, and the umask its rights.

    It is locked while its writer lives. The system takes the lock off however a process ends, so a
    folder without one was left by a dead writer. On network drives a lock may count on one computer
    only, and the name says on which. Windows cannot lock folders: there they stay.
    """
    prefix = f".{path.stem[:40]}-{zlib.crc32(os.fsencode(platform.node())):08x}-"
    while True:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
            with _lock(folder) as lock:
                # Another writer may have taken it for a dead one's before it was locked.
                if lock is False or not os.path.isdir(folder):
                    continue
                _remove_dead(path.parent, prefix)
                yield folder
                return


def _remove_dead(parent, prefix):
    names = []
    with contextlib.suppress(OSError):  # a folder that may be written to, but not listed
        names = os.listdir(parent)
    for name in names:
        if re.fullmatch(re.escape(prefix) + "[a-z0-9_]{8}", name):
            with _lock(os.path.join(parent, name)) as lock:
                if lock:
                    shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


@contextlib.contextmanager
def _lock(folder):
    """Lock a folder for a ``with`` block: True, False if another has it, None if nobody can."""
    with contextlib.ExitStack() as at_end:
        locked = None
        if fcntl:
            with contextlib.suppress(OSError):  # gone, or a drive without locks
                descriptor = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
                at_end.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locked = True
                except BlockingIOError:
                    locked = False
        yield locked
