import errno
import hashlib
import math
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from forks import PHASES, in_a_fork, kill_in
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_tensors

from srlib.training import checkpoint
from srlib.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

SOURCE = Path(checkpoint.__file__).parent


def same(one, other):
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and one.shape == other.shape
        return torch.equal(
            one.contiguous().flatten().view(torch.uint8),
            other.contiguous().flatten().view(torch.uint8),
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or one != one and other != other)


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.builds(
        lambda kind, shape: torch.arange(math.prod(shape)).reshape(shape).to(kind),
        st.sampled_from([torch.float32, torch.bfloat16, torch.uint8, torch.int64, torch.bool]),
        st.lists(st.integers(0, 3), max_size=4),
    )
)
keys = st.text() | st.integers() | st.booleans()
states = st.dictionaries(
    st.text(),
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
)


@settings(max_examples=40)
@given(states)
def test_a_state_comes_back_as_it_was(state):
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(folder, 7, state)
        loaded = load_checkpoint(folder)
    assert loaded.step == 7 and loaded.path == path and same(loaded.state, state)


def test_tensors_may_share_memory_and_lie_in_any_order(tmp_path):
    one = torch.arange(24.0).reshape(2, 3, 2, 2)
    state = {
        "tied": [one, one, one[0]],
        "turned": one.mT,
        "last": one.to(memory_format=torch.channels_last),
        "grown": torch.ones(3, requires_grad=True),
        "tuple": (0.9, 0.999),
    }
    save_checkpoint(tmp_path, 1, state)
    loaded = load_checkpoint(tmp_path).state
    assert loaded.pop("tuple") == [0.9, 0.999]
    del state["tuple"]
    assert same(loaded, state)
    loaded["tied"][0].zero_()
    assert same(loaded["tied"][1], one)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {"deep": [len]}, 1j])
def test_what_would_need_a_pickle_is_refused_and_leaves_no_file(tmp_path, value):
    with pytest.raises(TypeError, match="a checkpoint holds tensors, numbers and texts, got"):
        save_checkpoint(tmp_path, 1, {"value": value})
    assert files(tmp_path) == []


def test_nothing_of_the_package_loads_a_pickle():
    for path in SOURCE.parent.rglob("*.py"):
        text = path.read_text()
        for word in ("torch.load(", "pickle", "torch.save(", "np.load("):
            assert word not in text, path.name


def test_the_newest_is_loaded_and_so_many_are_kept(tmp_path):
    assert load_checkpoint(tmp_path / "nothing") is None
    for step in (9, 10, 100, 99_999_999, 1_000_000_000):
        save_checkpoint(tmp_path, step, {"step": step})
        assert load_checkpoint(tmp_path).state == {"step": step}
    assert [name[:15] for name in files(tmp_path)] == ["step-099999999-", "step-1000000000"]
    save_checkpoint(tmp_path, 1_000_000_001, {}, keep=1)
    assert len(files(tmp_path)) == 1


def two_checkpoints(folder):
    """A folder with two, and the path of the newer one."""
    save_checkpoint(folder, 1, {"weights": torch.arange(3.0), "step": 1})
    return save_checkpoint(folder, 2, {"weights": torch.arange(3.0) + 1, "step": 2})


def the_one_before_is_used(folder, broken):
    with pytest.warns(UserWarning, match="torn, .*; that of step 1 is used") as warned:
        loaded = load_checkpoint(folder)
    assert len(warned) == 1 and f"{folder}: " in str(warned[0].message)
    assert broken.name in str(warned[0].message)
    return loaded.step == 1 and same(loaded.state, {"weights": torch.arange(3.0), "step": 1})


@settings(max_examples=50)
@given(st.floats(0, 1, exclude_max=True))
@example(0.0)
@example(0.999999)
def test_a_torn_one_is_named_and_the_one_before_used(part):
    with tempfile.TemporaryDirectory() as folder:
        path = two_checkpoints(folder)
        data = path.read_bytes()
        path.write_bytes(data[: int(part * len(data))])
        assert the_one_before_is_used(folder, path)


@settings(max_examples=50)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_an_altered_one_is_named_and_the_one_before_used(part, change):
    with tempfile.TemporaryDirectory() as folder:
        path = two_checkpoints(folder)
        data = bytearray(path.read_bytes())
        data[int(part * len(data))] ^= change
        path.write_bytes(data)
        assert the_one_before_is_used(folder, path)


def _grow(path):
    path.write_bytes(path.read_bytes() + b"\0")


def _become_a_folder(path):
    path.unlink()
    path.mkdir()


def _take_the_name_of_another(path):
    other = next(p for p in path.parent.iterdir() if p != path)
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("harm", [_grow, _become_a_folder, _take_the_name_of_another])
def test_other_harm_is_seen_too(tmp_path, harm):
    path = two_checkpoints(tmp_path)
    harm(path)
    assert the_one_before_is_used(tmp_path, path)


@pytest.mark.parametrize(
    "name",
    [
        "step-999999999-0123456789abcdef.safetensors",
        "step-best-weights.safetensors",
        "step-1-2-3.safetensors",
        "step-9.safetensors",
    ],
)
def test_a_foreign_file_is_named_and_neither_used_nor_deleted_with_the_good_ones(tmp_path, name):
    two_checkpoints(tmp_path)
    content = b"weights of somebody"
    (tmp_path / name).write_bytes(content)
    with pytest.warns(UserWarning, match=name):
        assert load_checkpoint(tmp_path).step == 2
    for step in (3, 4):
        save_checkpoint(tmp_path, step, {"step": step})
    ours = [path for path in files(tmp_path) if path != name]
    assert [path[:14] for path in ours] == ["step-000000003", "step-000000004"]
    if checkpoint._NAME.fullmatch(name) is None:
        assert (tmp_path / name).read_bytes() == content


def test_one_that_was_renamed_to_another_step_is_refused_and_stays(tmp_path):
    path = two_checkpoints(tmp_path)
    renamed = path.with_name(path.name.replace("000000002", "000000009"))
    path.rename(renamed)
    with pytest.raises(ValueError, match="it holds step 2, not 9; give it back its name") as caught:
        load_checkpoint(tmp_path)
    assert str(renamed) in str(caught.value) and path.name in str(caught.value)
    renamed.rename(path)
    assert load_checkpoint(tmp_path).step == 2


def test_one_that_does_not_tell_its_step_yet_is_loaded(tmp_path, monkeypatch):
    """As they were before: the name alone had the step."""

    def without_step(tensors, metadata):
        return save_tensors(tensors, metadata={"state": metadata["state"]})

    monkeypatch.setattr(checkpoint, "save_tensors", without_step)
    path = save_checkpoint(tmp_path, 7, {"weights": torch.ones(2)})
    assert b'"step"' not in path.read_bytes()
    loaded = load_checkpoint(tmp_path)
    assert loaded.step == 7 and torch.equal(loaded.state["weights"], torch.ones(2))


def test_one_that_cannot_be_read_now_is_named_and_never_deleted(tmp_path, monkeypatch):
    """A network folder that is away for a moment is not a torn file."""
    path = two_checkpoints(tmp_path)
    read = Path.read_bytes

    def unreadable(self):
        if self == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    with pytest.raises(CheckpointError, match=f"{path.name} cannot be read: .*output error"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, 3, {})
    assert path.exists() and len(files(tmp_path)) == 3


def test_a_folder_that_may_not_be_read_is_not_an_empty_one(tmp_path, monkeypatch):
    two_checkpoints(tmp_path)

    def forbidden(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(checkpoint.os, "listdir", forbidden)
    monkeypatch.setattr(checkpoint.os, "scandir", forbidden)
    with pytest.raises(OSError, match=f"Permission denied: '{tmp_path}'"):
        load_checkpoint(tmp_path)


def test_a_folder_with_the_name_of_a_checkpoint_does_not_end_a_training(tmp_path):
    path = two_checkpoints(tmp_path)
    _become_a_folder(path)
    save_checkpoint(tmp_path, 3, {})
    assert path.is_dir()


def test_other_files_do_not_matter(tmp_path):
    two_checkpoints(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    assert load_checkpoint(tmp_path).step == 2
    save_checkpoint(tmp_path, 3, {})
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_broken_ones_never_push_out_whole_ones(tmp_path):
    """Two torn ones are the newest: a training goes on from before them, and saves."""
    for step in (50, 90, 100):
        save_checkpoint(tmp_path, step, {"step": step}, keep=3)
    for name in files(tmp_path)[1:]:
        (tmp_path / name).write_bytes(b"torn")
    broken = ", ".join(reversed(files(tmp_path)[1:]))
    with pytest.warns(UserWarning) as warned:
        assert load_checkpoint(tmp_path).step == 50
    assert len(warned) == 1 and f"{broken}; that of step 50 is used" in str(warned[0].message)
    save_checkpoint(tmp_path, 60, {"step": 60})
    assert [name[:14] for name in files(tmp_path)] == ["step-000000050", "step-000000060"]
    assert load_checkpoint(tmp_path).step == 60


def test_where_all_are_broken_there_is_none(tmp_path):
    two_checkpoints(tmp_path)
    for name in files(tmp_path):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning) as warned:
        assert load_checkpoint(tmp_path) is None
    (message,) = (str(warning.message) for warning in warned)
    assert all(name in message for name in files(tmp_path))
    assert message.endswith("; nothing is left to go on from")


def test_what_a_killed_process_left_is_removed(tmp_path):
    name = two_checkpoints(tmp_path).name
    (tmp_path / ".step-000000003-0123-x7").mkdir()
    (tmp_path / ".step-000000003-0123-x7" / name).write_bytes(b"x" * 1000)
    assert load_checkpoint(tmp_path).step == 2
    save_checkpoint(tmp_path, 3, {})
    assert len(files(tmp_path)) == 2 and load_checkpoint(tmp_path).step == 3


def fails_clearly(folder, step=3):
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(folder, step, {"weights": torch.zeros(300_000)})
    message = str(caught.value)
    assert f"the checkpoint of step {step}, 1.2 MB, cannot be written to" in message
    assert str(folder) in message and " MB are free: " in message
    return message


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path, monkeypatch, function):
    two_checkpoints(tmp_path)
    before = files(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.os, function, full)
    assert "No space left on device" in fails_clearly(tmp_path)
    monkeypatch.undo()
    assert files(tmp_path) == before and load_checkpoint(tmp_path).step == 2


def test_a_write_that_breaks_off_leaves_nothing(tmp_path):
    """A real one: the system allows this process files of 100 kB at most."""
    two_checkpoints(tmp_path)
    before = files(tmp_path)

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        assert "File too large" in fails_clearly(tmp_path)

    assert in_a_fork(write) == 0
    assert files(tmp_path) == before and load_checkpoint(tmp_path).step == 2


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    folder = small_disk / "checkpoints"
    two_checkpoints(folder)
    before = files(folder)
    assert "No space left on device" in fails_clearly(folder)
    assert files(folder) == before and load_checkpoint(folder).step == 2


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    fails_clearly(tmp_path / "file" / "checkpoints")
    assert load_checkpoint(tmp_path / "file" / "checkpoints") is None


@pytest.mark.parametrize("phase", PHASES)
def test_killed_at_any_point_a_whole_one_is_there(tmp_path, phase):
    two_checkpoints(tmp_path)

    def write():
        kill_in(phase)
        save_checkpoint(tmp_path, 3, {"step": 3})

    assert os.WTERMSIG(in_a_fork(write)) == signal.SIGKILL
    done = phase in ("after renaming", "while deleting")
    assert load_checkpoint(tmp_path).step == (3 if done else 2)
    save_checkpoint(tmp_path, 4, {})
    assert len(files(tmp_path)) == 2 and load_checkpoint(tmp_path).step == 4


def test_the_name_holds_the_digest(tmp_path):
    path = two_checkpoints(tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.split("-")[2])
