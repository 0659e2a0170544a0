"""A class: many processes on one cache, other accounts, folders with any name."""

import contextlib
import fcntl
import importlib
import os
import runpy
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from file_server import (
    REPOSITORY,
    assert_nothing_half,
    bytes_of,
    make_zip,
    run_fetch,
)

from srlib import assets, models
from srlib._atomic import atomic_write
from srlib._download import FetchError, obtain
from srlib.assets import is_cached
from srlib.image import write_image

NOBODY = 65534  # the account without rights, on any Unix
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@contextlib.contextmanager
def a_class(files, name, cache, count=4, **options):
    """Processes that have imported what they need and wait; none is left behind."""
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(count):
            process = run_fetch(files, name, cache, wait=True, **PIPES, **options)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        yield processes


def start(processes):
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def slowly(content, seconds=0.3):
    """Answer late enough that all have asked by then."""

    def answer(handler):
        time.sleep(seconds)
        handler.send(content, len(content))

    return answer


def serve_dataset(server, kind):
    """Return the files to fetch, and what must be there afterwards."""
    if kind == "zip":
        images = {f"080{i}.png": bytes_of(i, 50_000) for i in range(4)}
        content = make_zip([(f"DIV2K_valid_HR/{n}", c) for n, c in images.items()])
        files = [server.serve("DIV2K/DIV2K_valid_HR.zip", content, slowly(content))]
        return files, {f"DIV2K/DIV2K_valid_HR/{n}": c for n, c in images.items()}
    contents = {f"Set5/x2/HR/{i}.png": bytes_of(i, 50_000) for i in range(6)}
    return [server.serve(n, c, slowly(c)) for n, c in contents.items()], contents


def assert_all_have_it(processes, folder):
    for process in processes:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert output.splitlines()[-1] == str(folder)


# A whole class once, where thirty may meet in more ways than four.
@pytest.mark.processes
@pytest.mark.parametrize(("kind", "count"), [("files", 30), ("zip", 4)])
def test_many_at_once_download_each_file_once(server, tmp_path, kind, count):
    files, right = serve_dataset(server, kind)
    name, cache = files[0].name.split("/")[0], tmp_path / "cache"
    with a_class(files, name, cache, count) as processes:
        assert not cache.exists() and not server.hits
        start(processes)
        assert_all_have_it(processes, cache / name)
    assert server.hits == {f"/{file.name}": 1 for file in files}
    assert_nothing_half(cache, *right.items())


def holder_of(lock, processes):
    """The process that has locked a file, as the system itself lists it."""
    inode = f":{lock.stat().st_ino} "
    lines = [line for line in Path("/proc/locks").read_text().splitlines() if inode in line]
    owners = {int(line.split()[4]) for line in lines if "->" not in line}
    (found,) = [process for process in processes if process.pid in owners]
    return found


@pytest.mark.processes
@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="asks Linux who holds a lock")
def test_the_one_that_downloads_is_killed_and_the_others_finish(server, tmp_path):
    files, right = serve_dataset(server, "files")
    stalled = threading.Event()

    def stall(handler):
        content = right["Set5/x2/HR/0.png"]
        with contextlib.suppress(OSError):  # it hangs up when it is killed
            handler.send(content[: len(content) // 2], len(content))
            stalled.wait(600)

    server.answers["/Set5/x2/HR/0.png"] = (stall, *server.answers["/Set5/x2/HR/0.png"])
    cache = tmp_path / "cache"
    with a_class(files, "Set5", cache) as processes:
        start(processes)
        while len(server.hits) < len(files):  # one file stands still, the others arrive
            assert all(process.poll() is None for process in processes)
            time.sleep(0.02)
        killed = holder_of(cache / "Set5" / ".lock", processes)
        killed.kill()
        killed.communicate(timeout=600)
        stalled.set()
        assert_all_have_it([p for p in processes if p is not killed], cache / "Set5")
    assert killed.returncode == -signal.SIGKILL
    again = [hits for path, hits in server.hits.items() if path != "/Set5/x2/HR/0.png"]
    assert server.hits["/Set5/x2/HR/0.png"] == 2 and set(again) <= {1, 2}
    assert_nothing_half(cache, *right.items())


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="takes flock away")
def test_without_locks_of_the_file_system_each_file_is_loaded_once_too(server, tmp_path):
    """Some network folders have none; filelock then warns and works by a file's existence."""
    files, right = serve_dataset(server, "files")
    with a_class(files, "Set5", tmp_path / "cache", locks=False) as processes:
        start(processes)
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
            assert "flock not supported" in errors or not errors
    assert server.hits == {f"/{file.name}": 1 for file in files}
    assert_nothing_half(tmp_path / "cache", *right.items())


def test_a_folder_that_cannot_be_locked_is_a_clear_error(server, tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(FetchError, match=r"No locks available.*SRLIB_DATA"):
        obtain([server.serve("Set5/a.png", b"a")], tmp_path, progress=False)
    assert not server.hits


# --- other accounts ---------------------------------------------------------------------------


@pytest.fixture
def shared():
    """A folder that every account of this machine can enter."""
    if not hasattr(os, "setresuid") or os.geteuid() != 0:
        pytest.skip("becomes another account, which only root can do")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for one account only
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextlib.contextmanager
def another_account():
    """Be the account without rights; it may not even be able to read this Python."""
    for name in ("filelock", "pooch", "requests", "tqdm.auto"):
        importlib.import_module(name)
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["files", "zip"])
@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_what_one_account_fetches_another_one_reads(server, shared, kind, umask):
    files, right = serve_dataset(server, kind)
    name, cache = files[0].name.split("/")[0], shared / "cache"
    first = run_fetch(files, name, cache, umask=umask, **PIPES)
    assert first.communicate(timeout=600) and first.returncode == 0
    for path in cache.rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    with another_account():
        obtain(files, cache, progress=False)
    assert server.hits == {f"/{file.name}": 1 for file in files}
    assert_nothing_half(cache, *right.items())


@pytest.mark.processes
def test_a_private_umask_is_respected(server, tmp_path):
    files, _ = serve_dataset(server, "files")
    process = run_fetch(files, "Set5", tmp_path / "cache", umask=0o077, **PIPES)
    assert process.communicate(timeout=600) and process.returncode == 0
    for path in (tmp_path / "cache").rglob("*.png"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_missing_in_a_read_only_cache_is_a_clear_error(server, shared):
    files, right = serve_dataset(server, "files")
    cache = shared / "cache"
    obtain(files, cache, progress=False)
    (cache / files[0].name).unlink()
    server.hits.clear()
    with another_account(), pytest.raises(FetchError) as caught:
        obtain(files, cache, progress=False)
    assert not server.hits
    for part in ("cannot write to the cache folder", str(cache), files[0].name, "1 files"):
        assert part in str(caught.value)
    assert "set SRLIB_DATA to another one" in str(caught.value)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_cache_that_another_account_keeps_to_itself_is_a_clear_error(server, shared, closed):
    files, _ = serve_dataset(server, "files")
    cache = shared / "cache"
    obtain(files, cache, progress=False)
    os.chmod(cache / files[0].name if closed == "file" else cache, 0o600)
    with another_account(), pytest.raises(FetchError, match="cannot read the cache folder") as info:
        obtain(files, cache, progress=False)
    assert "chmod -R a+rX" in str(info.value)


@pytest.mark.parametrize("kind", ["files", "zip"])
def test_is_cached_is_no_where_it_may_not_look(server, shared, monkeypatch, kind):
    files, _ = serve_dataset(server, kind)
    obtain(files, shared / "cache", progress=False)
    monkeypatch.setenv("SRLIB_DATA", str(shared / "cache"))
    monkeypatch.setattr(assets, "_load_registry", lambda: files)
    name = files[0].name.split("/")[0]
    assert is_cached(name)
    os.chmod(shared / "cache", 0o700)
    with another_account():
        assert not is_cached(name)


@pytest.mark.processes
def test_a_folder_that_a_class_may_write_to_is_filled_by_several_accounts(server, shared):
    """Of a group with umask 002, say; here everybody may write, with umask 0."""
    files, right = serve_dataset(server, "files")
    cache = shared / "cache"
    first = run_fetch(files, files[0].name, cache, umask=0, **PIPES)
    assert first.communicate(timeout=600) and first.returncode == 0
    with another_account():
        obtain(files, cache, progress=False)
    assert server.hits == {f"/{file.name}": 1 for file in files}
    assert_nothing_half(cache, *right.items())


def test_networks_and_pictures_of_one_account_can_be_read_by_others(tmp_path):
    network = models.create_model("SrResNet", 2, channels=4, num_blocks=1)
    models.save_network(tmp_path / "network.safetensors", network, "SrResNet", scale=2)
    write_image(tmp_path / "picture.png", np.zeros((4, 4, 3), np.uint8))
    with atomic_write(tmp_path / "text.csv") as partial:
        partial.write_text("text")
    (tmp_path / "plain").touch()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 4 and set(modes.values()) == {modes["plain"]}


# --- folders with any name --------------------------------------------------------------------

AWKWARD = "Übung 3 – élèves & 学生's (neu) #1 100%"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the course in a folder whose name makes trouble wherever names are glued."""
    course = tmp_path_factory.mktemp("home") / AWKWARD / "course"
    leave_out = shutil.ignore_patterns("__pycache__", "cache")
    for folder in ("srlib", "data"):
        shutil.copytree(REPOSITORY / folder, course / folder, ignore=leave_out)
    (course / "notebooks").mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", course)
    return course


def run_in(course, *arguments, **variables):
    """Run Python in the copy; the editable installation must not stand in for it."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=course,
        env={**os.environ, "SRLIB_PROFILE": "ci", "PYTHONPATH": str(course), **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_command_line_works_in_any_folder(course, tmp_path):
    photo, out = tmp_path / "mein Bild ä.png", tmp_path / "größer 2.png"
    write_image(photo, np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8))
    folder, table = tmp_path / "die Läufe" / "erster Lauf", tmp_path / "Ergebnis é.csv"
    network = folder / "model.safetensors"
    tiny = "--steps 2 --channels 4 --num-blocks 1 --data bundled/train --seed 0".split()
    commands = [
        ["train", "--out", folder, *tiny],
        ["upscale", photo, out, "--method", network],
        ["evaluate", "--data", tmp_path, "--csv", table, "--method", network],
    ]
    commands = [[str(word) for word in words] for words in commands]
    program = "import sys, srlib.__main__ as m\nprint(m.__file__)\n"
    program += f"sys.exit(any(m.main(words) for words in {commands!r}))"  # one import for all
    text = run_in(course, "-c", program)
    assert text.startswith(str(course))
    assert out.is_file() and "mean" in table.read_text(encoding="utf-8")


@pytest.mark.slow
def test_info_in_any_folder_on_a_terminal_that_cannot_show_it(course, tmp_path):
    cache = str(tmp_path / "Daten 学生")
    text = run_in(course, "-m", "srlib", "info", SRLIB_DATA=cache, PYTHONIOENCODING="ascii")
    assert r"Daten \u5b66\u751f, set by SRLIB_DATA" in " ".join(text.split())
    assert text.splitlines()[-1].startswith("This machine can do the course.")


@pytest.mark.processes
def test_the_setup_cell_finds_the_course_in_any_folder(course):
    setup = runpy.run_path(str(REPOSITORY / "tools" / "build_notebooks.py"))["setup_cell"]
    program = (
        f"import sys; sys.path = [p for p in sys.path if p != {str(REPOSITORY)!r}]\n"
        "from unittest.mock import MagicMock; sys.modules['torch'] = MagicMock(__version__='')\n"
        f"{setup(course)[0]}\nprint(__import__('srlib').__file__)"
    )
    text = run_in(course / "notebooks", "-P", "-c", program, PYTHONPATH="")
    assert text.splitlines()[-1] == str(course / "srlib" / "__init__.py")


@pytest.mark.processes
def test_a_cache_in_any_folder(server, tmp_path):
    files, right = serve_dataset(server, "zip")
    cache = tmp_path / AWKWARD / "cache"
    with a_class(files, "DIV2K", cache, count=2) as processes:
        start(processes)
        assert_all_have_it(processes, cache / "DIV2K")
    assert_nothing_half(cache, *right.items())
