"""Files that somebody else has chosen: what is opened without harm."""

import hashlib
import os
import stat

__all__ = ["check_file", "file_sha256", "in_words"]


def check_file(path: str | os.PathLike, most_bytes: int) -> None:
    """Raise unless `path` is an ordinary file of at most `most_bytes`, before it is opened.

    OSError where there is none or it may not be looked at; ValueError for a pipe or a device (to
    open a pipe waits for a writer, and some devices never end) and for a larger file.
    """
    name = os.fspath(path)
    if "\0" in str(name):
        raise ValueError(f"{name!r}: a file's name cannot hold a zero byte")
    status = os.stat(name)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{name}: a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{name}: not an ordinary file but a pipe or a device")
    if status.st_size > most_bytes:
        raise ValueError(f"{name}: too large, {status.st_size} bytes, the limit is {most_bytes}")


def in_words(error: Exception) -> str:
    """Return what an error says, without the number that the system gives it.

    Of two names, as where a file is renamed, it is the second one: that is what the user wanted.
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = error.filename if error.filename2 is None else error.filename2
        return f"{os.fspath(name)}: {error.strerror}"
    return str(error) or type(error).__name__


def file_sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits. OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
