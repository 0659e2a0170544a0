"""Write a file whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Give a ``with`` block a file to write to, which replaces `path` if the block succeeds.

    The file is beside `path` and has a name of its own, so that two writers cannot meet in it
    and nothing of the user's is overwritten. It is removed if the block raises. The disk has it
    before `path` is replaced; a link stays a link, and what it points to is replaced.

    Raises
    ------
    OSError
        If it cannot be made, written to the disk or renamed.
    """
    path = Path(os.path.realpath(path))
    # A folder of its own: the file keeps its ending, and the umask decides who may read it.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem[:40]}-") as folder:
        partial = Path(folder, path.name)
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors would keep it from the rest of a class
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
