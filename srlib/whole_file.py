"""A file that is there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["whole_file"]


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Give a ``with`` block a place to write to, which replaces `path` if nothing goes wrong.

    The place is beside `path`, with the ending .part. It is removed where the block raises. Who
    may read the file follows the umask, whatever the block's writer thinks.

    Parameters
    ----------
    path : path
        Replaced if it exists.

    Raises
    ------
    OSError
        If it cannot be made or renamed.
    """
    partial = Path(path).with_suffix(".part")
    partial.unlink(missing_ok=True)
    partial.touch()
    mode = partial.stat().st_mode
    try:
        yield partial
        partial.chmod(mode)  # safetensors would keep it from the rest of a class
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
