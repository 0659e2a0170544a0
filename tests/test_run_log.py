import errno
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from forks import PHASES, in_a_fork, kill_in
from safetensors.torch import save as save_tensors
from torch import nn

from srlib.data import PatchSampler, content_hash, make_pairs
from srlib.models import SrResNet
from srlib.training import TrainConfig, checkpoint, run_log, train
from srlib.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from srlib.training.identity import check_same, describe
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
    sampler = PatchSampler(PAIRS, 2, lr_patch_size=6, batch_size=2)
    for _ in range(seed % 3):  # its place has to come from the folder too
        sampler.sample()
    return model, sampler


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


class Net(nn.Module):
    """Three by three, with options of each kind."""

    def __init__(self, output="linear", act=F.relu, size=(3, 3), gain=None, last=True):
        super().__init__()
        self.output, self.act, self.size, self.gain = output, act, size, gain
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=last)
        self.conv = nn.Conv2d(3, 3, size, padding="same")
        self.seen, self.cache = [], None

    def forward(self, lr):
        self.cache = lr
        self.seen.append(lr.shape)
        return self.conv(self.act(self.up(lr)))


def sums(sr, hr):
    return (sr - hr).abs().sum()


def weighted(sr, hr, power):
    return ((sr - hr).abs() ** power).mean()


def made_with(power):
    def loss(sr, hr):
        return ((sr - hr).abs() ** power).mean()

    return loss


class Loss:
    def __init__(self, power=1):
        self.power, self.seen = power, []

    def __call__(self, sr, hr):
        self.seen.append(1)
        return ((sr - hr).abs() ** self.power).mean()

    def twice(self, sr, hr):
        return 2 * self(sr, hr)


def pictures(change=lambda one, other: (one, other)):
    """Pairs of the two images after a change."""
    return make_pairs(dict(enumerate(change(*IMAGES))), 2)


def other_lr():
    return [pair._replace(lr=pair.lr ^ (pair.name == 1)) for pair in pictures()]


def frozen(model):
    model.conv.bias.requires_grad_(False)
    return model


# What changes, what the message says, and what differs: model, pairs, loss, options of the sampler.
DIFFERENT = {
    "output": ("network.output: 'linear' there, 'sigmoid' now", {"model": lambda: Net("sigmoid")}),
    "none": ("network.gain: None there, 0.5 now", {"model": lambda: Net(gain=0.5)}),
    "function": (
        "network.act: 'torch.nn.functional.relu' there, 'torch.nn.functional.silu' now",
        {"model": lambda: Net(act=F.silu)},
    ),
    "tuple": ("network.size: [3, 3] there, [1, 9] now", {"model": lambda: Net(size=(1, 9))}),
    "deep": ("network.up.align_corners: True there, False now", {"model": lambda: Net(last=False)}),
    "frozen": (
        "network.conv.bias: 'float32 (3,)' there, 'float32 (3,), frozen' now",
        {"model": lambda: frozen(Net())},
    ),
    "layers": ("modules: 3 there, 4 now", {"model": lambda: nn.Sequential(Net())}),
    "loss": ("loss: 'l1_loss' there, 'sums' now", {"loss": sums}),
    "pixel": ("pictures: '", {"pairs": pictures(lambda one, other: (one, other ^ 1))}),
    "order": ("pictures: '", {"pairs": pictures(lambda one, other: (other, one))}),
    "lr only": ("pictures: '", {"pairs": other_lr()}),
    "seed": ("seed: 0 there, 1 now", {"seed": 1}),
    "augment": ("augment: True there, False now", {"augment": False}),
    "colours": ("permute_colours: False there, True now", {"permute_colours": True}),
    "equal": ("equal_images: False there, True now", {"equal_images": True}),
}


def call(folder, model=Net, pairs=None, loss=F.l1_loss, on_step=None, **options):
    sampler = PatchSampler(pairs or pictures(), 2, lr_patch_size=6, batch_size=2, **options)
    return train(model(), sampler, config(), loss=loss, folder=folder, on_step=on_step)


def same_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", DIFFERENT)
def test_going_on_with_anything_else_is_refused_with_what_differs(tmp_path, name):
    message, different = DIFFERENT[name]
    call(tmp_path, on_step=stop_at(3))
    before = same_files(tmp_path)
    with pytest.raises(ValueError, match=f"holds another training .*{re.escape(message)}"):
        call(tmp_path, **different)
    assert same_files(tmp_path) == before
    assert call(tmp_path).attrs["complete"]  # and nothing else is in the way


def test_pictures_are_known_by_pixels_and_shape_and_not_by_name():
    def digest(height, width, name="one", value=7):
        return content_hash(make_pairs({name: np.full((height, width, 3), value, np.uint8)}, 2))

    assert digest(24, 24) == digest(24, 24, name="other") != digest(24, 24, value=8)
    assert digest(24, 24) != digest(12, 48)  # the same bytes
    assert re.fullmatch("[0-9a-f]{16}", digest(24, 24))


@pytest.mark.parametrize(
    "one, other, message",
    [
        (made_with(1), made_with(2), "loss.power: 1 there, 2 now"),
        (Loss(), Loss(2), "loss.power: 1 there, 2 now"),
        (Loss().twice, Loss(2).twice, "loss.power: 1 there, 2 now"),
        (Loss().twice, Loss().__call__, "loss: 'twice' there, '__call__' now"),
        (partial(weighted, power=1), partial(weighted, power=2), "loss.power: 1 there, 2 now"),
        (partial(F.l1_loss), partial(F.mse_loss), "loss.func: 'torch.* 'torch.*mse_loss' now"),
        (nn.L1Loss(), nn.L1Loss(reduction="sum"), "loss.reduction: 'mean' there, 'sum' now"),
        (nn.HuberLoss(), nn.HuberLoss(delta=0.1), "loss.delta: 1.0 there, 0.1 now"),
        (torch.dist, torch.Tensor.dist, "loss.defined_in: .* there, 'None.*Tensor.*' now"),
        (run, F.l1_loss, "loss: 'run' there, 'l1_loss' now"),
    ],
)
def test_a_loss_is_known_by_its_name_and_what_it_was_made_with(tmp_path, one, other, message):
    old, new = (describe(Net(), make()[1], config(), loss, 1) for loss in (one, other))
    check_same(tmp_path, old, old)
    with pytest.raises(ValueError, match=message):
        check_same(tmp_path, old, new)


def test_equal_names_of_two_modules_are_two_losses(tmp_path):
    def l1_loss(sr, hr):
        return (sr - hr).abs().mean()

    call(tmp_path, on_step=stop_at(3))
    with pytest.raises(ValueError, match="loss.defined_in: 'torch.nn.functional' there, '.*locals"):
        call(tmp_path, loss=l1_loss)


@pytest.mark.parametrize("wrap", [lambda loss: loss, partial])
def test_a_lambda_is_asked_for_a_name_where_there_is_a_folder(tmp_path, wrap):
    loss = wrap(lambda sr, hr: (sr - hr).abs().mean())
    with pytest.raises(ValueError, match="its loss by name, got a lambda: write it as a function"):
        call(tmp_path / "run", loss=loss)
    assert not (tmp_path / "run").exists()
    assert call(None, loss=loss).attrs["complete"]


def test_what_a_network_and_a_loss_gather_on_the_way_is_not_their_identity(tmp_path):
    """The same call in the same notebook, with the network and the loss that were stopped."""
    model, loss = Net(), Loss()
    call(tmp_path, model=lambda: model, loss=loss, on_step=stop_at(5))
    assert model.seen and model.cache is not None and loss.seen
    assert call(tmp_path, model=lambda: model, loss=loss).attrs["complete"]


def test_numbers_of_numpy_are_numbers(tmp_path):
    for kind, on_step in ((np.int64, stop_at(4)), (int, None)):
        sampler = PatchSampler(PAIRS, kind(2), lr_patch_size=kind(6), batch_size=kind(2))
        train(Net(), sampler, config(), folder=tmp_path, on_step=on_step)


def test_a_message_stays_short_where_everything_differs(tmp_path):
    call(tmp_path, on_step=stop_at(2))
    with pytest.raises(ValueError, match="network: 'Net' there, 'SrResNet' now") as caught:
        call(tmp_path, model=lambda: SrResNet(2, channels=4, num_blocks=1))
    assert re.search(r"; and \d+ more\); choose another folder", str(caught.value))
    assert str(caught.value).count(" there, ") == 8


# What a checkpoint of version 0.5 and before described a training by.
OLD = {
    "network": "Sequential",
    "parameters": 675,
    "loss": "l1_loss",
    "scale": 2,
    "hr_pixels": 1152,
    "lr_patch_size": 6,
    "batch_size": 2,
    "augment": True,
    "steps": STEPS,
    "seconds": None,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "schedule": "cosine",
    "warmup": 0.05,
    "clip_norm": 1.0,
    "ema_decay": None,
    "mixed_precision": "no",
    "channels_last": False,
}


def become_old(folder, monkeypatch, **more):
    """Write the last checkpoint of a training as it once was written."""
    step, state, _ = load_checkpoint(folder / "checkpoints")
    shutil.rmtree(folder / "checkpoints")

    def without_step(tensors, metadata):
        return save_tensors(tensors, metadata={"state": metadata["state"]})

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", without_step)
        save_checkpoint(folder / "checkpoints", step, {**state, "description": OLD | more})


def test_a_training_that_an_older_version_began_goes_on(tmp_path, monkeypatch):
    """What it did not record is said, and is recorded from the next checkpoint on."""
    uninterrupted = run(None, {})
    stopped(tmp_path, 7)
    become_old(tmp_path, monkeypatch)
    with pytest.warns(UserWarning, match="does not tell modules, pictures, seed, .*loss_options"):
        stopped(tmp_path, 9, seed=4)
    assert_same_training(run(tmp_path, {}, seed=5), uninterrupted)  # without a warning
    model, sampler = make()
    sampler = PatchSampler(PAIRS[::-1], 2, lr_patch_size=6, batch_size=2)
    with pytest.raises(ValueError, match="pictures: "):
        train(model, sampler, config(), folder=tmp_path)


@pytest.mark.parametrize(
    "there, now, message",
    [
        ({"loss": "mse_loss"}, {}, "loss: 'mse_loss' there, 'l1_loss' now"),
        ({"hr_pixels": 5}, {}, "hr_pixels: 5 there, 1152 now"),
        ({}, {"permute_colours": True}, "permute_colours: False there, True now"),
        ({}, {"equal_images": True}, "equal_images: False there, True now"),
        ({"permute_colours": True}, {}, "permute_colours: True there, False now"),
    ],
)
def test_what_an_older_version_recorded_is_compared(tmp_path, monkeypatch, there, now, message):
    stopped(tmp_path, 7)
    become_old(tmp_path, monkeypatch, **there)
    sampler = PatchSampler(PAIRS, 2, lr_patch_size=6, batch_size=2, **now)
    with pytest.raises(ValueError, match=rf"holds another training \({message}\)"):
        train(make()[0], sampler, config(), folder=tmp_path)


def test_a_checkpoint_of_something_else_is_named(tmp_path):
    path = save_checkpoint(tmp_path / "checkpoints", 3, {"weights": 1.0})
    with pytest.raises(ValueError, match=f"{path.name} is no checkpoint of a training, it has .'w"):
        run(tmp_path, {})


@pytest.mark.parametrize("name", ["config.json", "log.csv"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", None])
def test_settings_and_log_that_are_damaged_come_from_the_checkpoint(tmp_path, name, content):
    run(tmp_path / "whole", {})
    folder = tmp_path / "cut"
    stopped(folder, 7)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    run(folder, {})
    text, whole = ((place / name).read_text() for place in (folder, tmp_path / "whole"))
    if name == "config.json":
        assert text == whole and json.loads(text)["seed"] == 0
    assert text.count("\n") == whole.count("\n")


def in_use(folder):
    message = f"{folder} is in use: another training is writing to it"
    with torch.random.fork_rng(), pytest.raises(ValueError, match=message):
        run(folder, {})


def test_a_second_training_in_the_same_process_is_refused_and_the_first_goes_on(tmp_path):
    folder, seen = tmp_path / "run", []

    def on_step(step, model):
        if step in (2, 20):
            in_use(folder)
            (tmp_path / "link").unlink(missing_ok=True)
            (tmp_path / "link").symlink_to(folder)
            in_use(tmp_path / "link")
            seen.append(step)

    first = run(folder, {}, on_step=on_step)
    assert seen == [2, 20]
    assert_same_training(first, run(None, {}))
    assert_same_training(first, run(folder, {}))
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_however_a_training_ends_the_next_one_may_use_its_folder(tmp_path, end):
    def on_step(step, model):
        if step == 5:
            raise end

    with pytest.raises(end) as kept:  # and with it the frames, as a notebook keeps them
        run(tmp_path, {}, on_step=on_step)
    model, sampler = make()
    with pytest.raises(ValueError, match="steps: 24 there, 25 now"):
        train(model, sampler, config(steps=25), folder=tmp_path)
    assert_same_training(run(tmp_path, {}), run(None, {}))
    assert kept.value is not None


@pytest.mark.processes
def test_a_training_in_another_process_is_in_the_way_until_it_is_killed(tmp_path):
    folder = tmp_path / "run"
    read, write = os.pipe()

    def hold(step, model):
        if step == 5:
            os.write(write, b".")
            os.read(read_end, 1)  # for ever: nobody writes

    def after(child):
        assert os.read(read, 1)
        in_use(folder)
        os.kill(child, signal.SIGKILL)

    read_end, _keep_open = os.pipe()
    assert in_a_fork(lambda: run(folder, {}, on_step=hold), after) == signal.SIGKILL
    assert (folder / ".lock").exists()  # what it leaves does not matter
    assert_same_training(run(folder, {}), run(None, {}))
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("FileSystem")]
)
def test_a_folder_that_cannot_be_locked_is_named(tmp_path, monkeypatch, error):
    def acquire(*arguments, **options):
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.raises(CheckpointError, match=f"{tmp_path} cannot take a training: .*choose"):
        run(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="takes flock away")
def test_without_locks_of_the_file_system_a_file_is_the_lock(tmp_path, monkeypatch):
    """Newer versions of filelock do so, and warn."""

    def no_flock(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", no_flock)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(tmp_path, {}, on_step=lambda step, model: step == 3 and in_use(tmp_path))
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name", ["checkpoints", "log.csv", "config.json"])
def test_a_place_that_is_taken_is_named_before_the_first_step(tmp_path, name):
    place, steps = tmp_path / name, []
    place.write_text("") if name == "checkpoints" else place.mkdir()
    with pytest.raises(CheckpointError, match=name):
        run(tmp_path, {}, on_step=lambda step, model: steps.append(step))
    assert steps == []


def test_a_finished_training_may_lie_in_a_folder_that_is_only_read(small_disk):
    folder, other = small_disk / "run", small_disk / "other"
    first = run(folder, {"ema_decay": 0.9})
    stopped(other, 5)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert_same_training(run(folder, {"ema_decay": 0.9}), first)
    with pytest.raises(CheckpointError, match="other cannot take a training: .*Read-only"):
        run(other, {})


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
    with pytest.raises(CheckpointError, match="run cannot take a training: .*exists: .*choose"):
        train(model, sampler, config(), folder=tmp_path / "run")


def test_the_log_is_the_history(tmp_path):
    _, history = run(tmp_path, {"log_every": 2, "validate_every": 6})
    log = pd.read_csv(tmp_path / "log.csv", index_col="step")
    assert list(log.columns) == COLUMNS == list(history.columns)
    pd.testing.assert_frame_equal(log, history, rtol=1e-6)
    assert list(history.index) == list(range(2, STEPS + 1, 2))
    assert list(history.index[history["validation_db"].notna()]) == [6, 12, 18, 24]


def test_large_steps_stay_whole_numbers(tmp_path):
    description = {"what": "a long one", "permute_colours": False, "equal_images": False}
    log = RunLog(tmp_path, description)
    log.read()
    log.open()
    row = dict.fromkeys(COLUMNS, 1 / 3) | {"step": 123_456_789, "validation_db": math.nan}
    log.add(row)
    log.save(123_456_789, {})
    log.close()
    assert (tmp_path / "log.csv").read_text().splitlines()[1].startswith("123456789,0.3333333,")
    again = RunLog(tmp_path, description)
    again.read()
    again.close()
    pd.testing.assert_frame_equal(again.table(), log.table(), check_exact=True)
    assert again.table().index[0] == 123_456_789


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(None, {})
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_without_a_folder_is_refused():
    with pytest.raises(ValueError, match="tensorboard=True needs a folder"):
        run(None, {"tensorboard": True})


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
