import errno
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
import torch
from forks import PHASES, in_a_fork, kill_in
from torch import nn

from srlib.data import PatchSampler, make_pairs
from srlib.training import TrainConfig, run_log, train
from srlib.training.checkpoint import CheckpointError, load_checkpoint
from srlib.training.run_log import COLUMNS, RunLog

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
PAIRS = make_pairs({"one": IMAGES[0], "other": IMAGES[1]}, 2)
STEPS = 24
RUNS = {
    "adam": {},
    "sgd and average": {"optimizer": "sgd", "ema_decay": 0.9, "schedule": "constant"},
    "one cycle, channels last": {"schedule": "one_cycle", "channels_last": True},
    "bf16 and average": {"mixed_precision": "bf16", "ema_decay": 0.99, "schedule": "step"},
    "fp16": {"mixed_precision": "fp16", "channels_last": True},
    "fp16 and sgd": {"mixed_precision": "fp16", "optimizer": "sgd"},
    "muon": {"optimizer": "muon", "mixed_precision": "bf16", "channels_last": True},
    "fp16 and muon": {"mixed_precision": "fp16", "optimizer": "muon"},
    "few rows": {"log_every": 7, "validate_every": 5},
    "no row before a checkpoint": {"log_every": STEPS},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads do not survive a fork."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Dropout2d(0.2),  # needs the state of torch's random numbers
        nn.BatchNorm2d(6),  # has buffers
        nn.Conv2d(6, 6, 3, padding=1),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(6, 3, 3, padding=1),
    )
    return model, PatchSampler(PAIRS, 2, lr_patch_size=6, batch_size=2, seed=seed)


def config(**options):
    return TrainConfig(**{"steps": STEPS, "checkpoint_every": 3, "progress": False, **options})


def validate(model):
    model.eval()  # and forgets to set it back
    return sum(parameter.sum().item() for parameter in model.parameters())


def run(folder, options, seed=0, **more):
    model, sampler = make(seed)
    history = train(model, sampler, config(**options), folder=folder, validate=validate, **more)
    assert history.attrs["complete"]
    return model, history


def assert_same_training(one, other):
    """Assert that weights and history are the same, bit for bit; only the clock may differ."""
    (model, history), (other_model, other_history) = one, other
    weights, other_weights = model.state_dict(), other_model.state_dict()
    assert list(weights) == list(other_weights)
    for name, value in weights.items():
        assert torch.equal(value, other_weights[name]), name
    columns = ["loss", "psnr_db", "learning_rate", "gradient_norm", "validation_db"]
    pd.testing.assert_frame_equal(history[columns], other_history[columns], check_exact=True)


def killed_after(steps, delay, call):
    """Kill a training so many steps and seconds after its start; tell whether it was alive."""
    read, write = os.pipe()
    done = []

    def on_step(step, model):
        os.write(write, b".")
        done.append(step)
        if len(done) == steps + 3:  # on a busy machine the end may be long in coming
            time.sleep(60)

    def after(child):
        os.close(write)
        for _ in range(steps):
            if not os.read(read, 1):
                break
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.close(read)

    status = in_a_fork(lambda: call(on_step), after)
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.mark.processes
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_random_moments_it_ends_as_if_it_never_stopped(tmp_path, name):
    options, chance, kills = RUNS[name], random.Random(name), 0
    uninterrupted = run(tmp_path / "whole", options)
    folder = tmp_path / "killed"
    for _ in range(6):
        seed = chance.randrange(100)  # all that counts has to come from the folder

        def call(on_step, seed=seed):
            run(folder, options, seed if (folder / "checkpoints").exists() else 0, on_step=on_step)

        kills += killed_after(chance.randint(4, 6), chance.uniform(0, 0.004), call)
    assert kills >= 2
    there = load_checkpoint(folder / "checkpoints")
    assert there is not None
    assert_same_training(run(folder, options, seed=5), uninterrupted)
    text, whole = ((tmp_path / part / "log.csv").read_text() for part in ("killed", "whole"))
    assert text.count("\n") == whole.count("\n")
    assert not list(folder.rglob(".*"))


@pytest.mark.processes
@pytest.mark.parametrize("phase", PHASES)
def test_killed_while_it_saves_it_ends_as_if_it_never_stopped(tmp_path, phase):
    uninterrupted = run(tmp_path / "whole", {})
    folder, kills = tmp_path / "killed", 0

    def call():
        saves, save = [], run_log.save_checkpoint

        def dangerous(*arguments):
            saves.append(arguments)
            if len(saves) == 3:
                kill_in(phase)
            return save(*arguments)

        run_log.save_checkpoint = dangerous
        run(folder, {})

    while in_a_fork(call) == signal.SIGKILL:
        kills += 1
    assert kills >= 2
    assert_same_training(run(folder, {}, seed=5), uninterrupted)
    assert not list(folder.rglob(".*"))
    assert len(list((folder / "checkpoints").iterdir())) == 2


def stop_at(step):
    def on_step(now, model):
        if now == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


def stopped(folder, step, options=None, seed=0):
    model, sampler = make(seed)
    history = train(
        model,
        sampler,
        config(**(options or {})),
        folder=folder,
        validate=validate,
        on_step=stop_at(step),
    )
    assert not history.attrs["complete"] and history.index[-1] <= step
    return model, history


def test_a_torn_checkpoint_is_named_and_the_training_still_ends_the_same(tmp_path):
    uninterrupted = run(None, {})
    stopped(tmp_path, 10)
    newest, before = sorted((tmp_path / "checkpoints").iterdir(), reverse=True)
    assert [path.name[:14] for path in (newest, before)] == ["step-000000010", "step-000000009"]
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=newest.name):
        again = run(tmp_path, {}, seed=9)
    assert_same_training(again, uninterrupted)


def test_a_finished_training_called_again_does_nothing(tmp_path):
    options = {"ema_decay": 0.9}
    first = run(tmp_path, options)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    steps = []
    second = run(tmp_path, options, seed=3, on_step=lambda step, model: steps.append(step))
    assert steps == []
    assert_same_training(first, second)
    pd.testing.assert_frame_equal(first[1], second[1], check_exact=True)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 1e-4}, {"steps": 30}, {"ema_decay": 0.5}, {"optimizer": "sgd"}]
)
def test_another_training_is_refused_and_the_folder_stays(tmp_path, changed):
    stopped(tmp_path, 4)
    before = (tmp_path / "log.csv").read_text()
    model, sampler = make()
    (name, value), weights = *changed.items(), model[0].weight.clone()
    with pytest.raises(ValueError, match="holds another training") as caught:
        train(model, sampler, config(**changed), folder=tmp_path)
    message = str(caught.value)
    assert f"{name}: {getattr(config(), name)!r} there, {value!r} now" in message
    assert "choose another folder, or the same values to go on" in message
    assert (tmp_path / "log.csv").read_text() == before
    assert torch.equal(model[0].weight, weights)


def test_what_only_looks_at_the_weights_may_change(tmp_path):
    uninterrupted, _ = run(None, {})
    stopped(tmp_path, 7)
    model, history = run(
        tmp_path, {"log_every": 5, "validate_every": 2, "checkpoint_every": 4}, seed=2
    )
    for one, other in zip(model.parameters(), uninterrupted.parameters(), strict=True):
        assert torch.equal(one, other)
    assert list(history.index[:9]) == [1, 2, 3, 4, 5, 6, 7, 8, 10]


def test_a_loss_is_known_by_name_and_not_by_address(tmp_path):
    class Loss:
        def __call__(self, sr, hr):
            return (sr - hr).abs().mean()

    for on_step in (stop_at(3), None):
        model, sampler = make()
        train(model, sampler, config(), loss=Loss(), folder=tmp_path, on_step=on_step)
    assert json.loads((tmp_path / "config.json").read_text())["loss"] == "Loss"


def out_of_space(folder):
    """Train where the disk fills up; return the model and the message."""
    model, sampler = make()
    with pytest.raises(CheckpointError) as caught:
        train(model, sampler, config(), folder=folder, validate=validate)
    message = str(caught.value)
    assert str(folder) in message and "the weights of the last step" in message
    assert "make room and call again with the same folder to go on" in message
    assert torch.isfinite(model(sampler.sample()[0])).all()
    assert not list(folder.rglob(".*"))
    return model, message


@pytest.mark.parametrize("function, call", [("fsync", 5), ("replace", 5)])
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(tmp_path, monkeypatch, function, call):
    uninterrupted = run(None, {})
    real, calls = getattr(os, function), []

    def sometimes_full(*arguments):
        calls.append(arguments)
        if len(calls) == call:  # config.json and log.csv come first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(os, function, sometimes_full)
    _, message = out_of_space(tmp_path)
    monkeypatch.undo()
    assert "the checkpoint of step 9, " in message and "No space left on device" in message
    assert load_checkpoint(tmp_path / "checkpoints").step == 6
    assert_same_training(run(tmp_path, {}, seed=8), uninterrupted)


def test_a_log_that_cannot_grow(tmp_path):
    """A real one: the system allows this process files of so many bytes at most."""
    uninterrupted = run(None, {})

    def call():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit, open_log = 60_000, RunLog.open

        def open_almost_full(log):
            open_log(log)
            log._file.write("#" * (limit - 600))

        RunLog.open = open_almost_full
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        _, message = out_of_space(tmp_path)
        assert "File too large" in message

    assert in_a_fork(call) == 0
    assert load_checkpoint(tmp_path / "checkpoints").step in (3, 6)
    assert_same_training(run(tmp_path, {}, seed=8), uninterrupted)
    assert "#" not in (tmp_path / "log.csv").read_text()


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    uninterrupted, folder = run(None, {}), small_disk / "run"
    stopped(folder, 7)
    filler = small_disk / "photographs"
    with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    _, message = out_of_space(folder)
    assert "No space left on device" in message
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    filler.unlink()
    assert_same_training(run(folder, {}, seed=8), uninterrupted)


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    model, sampler = make()
    with pytest.raises(CheckpointError, match="run: .*(exists|Not a directory)"):
        train(model, sampler, config(), folder=tmp_path / "run")


def test_the_log_is_the_history(tmp_path):
    _, history = run(tmp_path, {"log_every": 2, "validate_every": 6})
    log = pd.read_csv(tmp_path / "log.csv", index_col="step")
    assert list(log.columns) == COLUMNS == list(history.columns)
    pd.testing.assert_frame_equal(log, history, rtol=1e-6)
    assert list(history.index) == list(range(2, STEPS + 1, 2))
    assert list(history.index[history["validation_db"].notna()]) == [6, 12, 18, 24]


def test_large_steps_stay_whole_numbers(tmp_path):
    log = RunLog(tmp_path, {"what": "a long one"})
    log.open()
    row = dict.fromkeys(COLUMNS, 1 / 3) | {"step": 123_456_789, "validation_db": math.nan}
    log.add(row)
    log.save(123_456_789, {})
    log.close()
    assert (tmp_path / "log.csv").read_text().splitlines()[1].startswith("123456789,0.3333333,")
    again = RunLog(tmp_path, {"what": "a long one"})
    pd.testing.assert_frame_equal(again.table(), log.table(), check_exact=True)
    assert again.table().index[0] == 123_456_789


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(None, {})
    assert list(tmp_path.iterdir()) == []


# Its generated code asks protobuf for what will go one day.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_history(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    options = {"tensorboard": True, "log_every": 3, "validate_every": 6}
    stopped(tmp_path, 10, options)
    _, history = run(tmp_path, options, seed=4)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in COLUMNS:
        values = history[name].dropna()
        found = events.Scalars(name)
        assert [event.step for event in found] == list(values.index)
        np.testing.assert_allclose([event.value for event in found], values, rtol=1e-6)
