"""A file is replaced whole or not at all, whoever writes and reads beside."""

import errno
import os
import random
import signal
import stat
import sys
import threading

import pytest
from forks import in_a_fork, kill

from srlib import _atomic
from srlib._atomic import atomic_write


def write(path, data):
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def test_a_reader_never_sees_half_a_file_of_two_writers(tmp_path):
    path, contents = tmp_path / "file", [bytes([i]) * 100_000 for i in range(2)]
    write(path, contents[0])
    written = threading.Event()

    def write_often(content):
        for _ in range(40):
            write(path, content)
        written.set()

    threads = [threading.Thread(target=write_often, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while not written.is_set():
        assert path.read_bytes() in contents
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents and os.listdir(tmp_path) == ["file"]


def test_two_that_write_at_once_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as one:
        with atomic_write(path) as other:
            assert one != other and one.name == other.name == "file"
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one" and os.listdir(tmp_path) == ["file"]


def test_other_files_of_the_folder_stay(tmp_path):
    for name in ("notes.part", "notes.tmp", ".notes", "notes~"):
        (tmp_path / name).write_text("mine")
    before = sorted(os.listdir(tmp_path))
    write(tmp_path / "notes", b"new")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "notes"):
        1 / 0  # noqa: B018
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "notes"])
    assert all((tmp_path / name).read_text() == "mine" for name in before)


@pytest.mark.parametrize("function", [None, "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function):
    write(tmp_path / "file", b"old")

    def full(*_):
        raise OSError("No space left on device")

    if function:
        monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space"), atomic_write(tmp_path / "file") as partial:
        partial.write_bytes(b"new")
        if function is None:
            full()
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "no" / "file", b"new")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to(target)
    write(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert os.listdir(tmp_path / "elsewhere") == ["target"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_itself_stays(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="symbolic links"):
        write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path) == ["link"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_decides_who_may_read(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "file") as partial:
            partial.unlink()
            os.close(os.open(partial, os.O_CREAT, 0o600))  # as safetensors makes its files
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_a_long_name_and_its_ending_are_kept(tmp_path):
    for name in ("ü" * 100 + ".safetensors", "x" * 251 + ".png"):
        with atomic_write(tmp_path / name) as partial:
            assert partial.name == name
        assert os.listdir(tmp_path) == [name]
        (tmp_path / name).unlink()


def lines_until(stop, path):
    """Write a file; at the line number `stop` of what it takes to, be killed. Return all lines."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if event == "line":
            count += 1
            if count == stop:
                kill()
        return trace

    sys.settrace(trace)
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(b"new")
            partial.write_bytes(b"new" * 1000)
    finally:
        sys.settrace(None)
    return count


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot lock folders")
@pytest.mark.processes
@pytest.mark.parametrize("there", [True, False])
def test_a_killed_writer_leaves_a_whole_file_and_the_next_removes_the_rest(tmp_path, there):
    path = tmp_path / "file"
    (tmp_path / ".file-mine").mkdir()  # of another kind
    lines = lines_until(0, path)
    step = lines // 25
    results, left = [], 0
    for place in range(0, lines - step, step):
        path.unlink()
        if there:
            path.write_bytes(b"old")
        stop = place + random.randint(1, step)
        assert in_a_fork(lambda stop=stop: lines_until(stop, path)) in (0, signal.SIGKILL)
        results.append(path.read_bytes() if path.exists() else None)
        left += len(os.listdir(tmp_path)) > 1 + path.exists()
        write(path, b"next")
        assert sorted(os.listdir(tmp_path)) == [".file-mine", "file"]
    assert set(results) == {b"old" if there else None, b"new" * 1000} and left


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot lock folders")
def test_what_another_computer_has_begun_stays(tmp_path, monkeypatch):
    def killed_elsewhere():
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        with atomic_write(tmp_path / "file"):
            kill()

    assert in_a_fork(killed_elsewhere) == signal.SIGKILL
    (begun,) = os.listdir(tmp_path)
    write(tmp_path / "file", b"mine")
    assert sorted(os.listdir(tmp_path)) == [begun, "file"]
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    write(tmp_path / "file", b"theirs")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot lock folders")
def test_a_folder_taken_for_a_dead_writers_is_made_anew(tmp_path, monkeypatch):
    """As if another writer had come between the making of the folder and its lock."""
    lock, taken = _atomic.fcntl.flock, []

    def late(descriptor, kind):
        if not taken:
            taken.extend(os.listdir(tmp_path))
            (tmp_path / taken[0]).rmdir()
        lock(descriptor, kind)

    monkeypatch.setattr(_atomic.fcntl, "flock", late)
    write(tmp_path / "file", b"new")
    assert len(taken) == 1 and os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot lock folders")
def test_where_folders_cannot_be_locked_files_are_written_all_the_same(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_atomic.fcntl, "flock", refused)
    with atomic_write(tmp_path / "file") as living:
        living.write_text("living")
        write(tmp_path / "file", b"other")
        assert living.read_text() == "living"
    monkeypatch.setattr(_atomic, "fcntl", None)  # Windows
    write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]
