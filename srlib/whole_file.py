"""A file that is there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["whole_file"]


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Give a ``with`` block a place to write to, which replaces `path` if nothing goes wrong.

    The place is beside `path`, with the ending .part. It is removed where the block raises.

    Parameters
    ----------
    path : path
        Replaced if it exists.

    Raises
    ------
    OSError
        If it cannot be renamed.
    """
    partial = Path(path).with_suffix(".part")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
