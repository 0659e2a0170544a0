"""A file is replaced whole or not at all, whoever writes and reads beside."""

import os
import stat
import threading

import pytest

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
    name = "ü" * 100 + ".safetensors"
    with atomic_write(tmp_path / name) as partial:
        assert partial.name == name
    assert os.listdir(tmp_path) == [name]
