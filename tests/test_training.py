import math
import os
import shutil
import signal
import socket
import threading
import traceback
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch import nn
from torch._dynamo.utils import counters
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srlib import training
from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.models import SrResNet
from srlib.training import TrainConfig, train
from srlib.training.checkpoint import load_checkpoint
from srlib.training.config import schedule
from srlib.training.run_log import COLUMNS, RunLog
from srlib.training.state import TrainingState


@pytest.fixture(scope="module")
def pairs():
    return make_pairs({"astronaut": sample_image("astronaut")[100:196, 160:256]}, 2)


def make(pairs, seed=0):
    torch.manual_seed(seed)
    sampler = PatchSampler(pairs, 2, lr_patch_size=8, batch_size=4, seed=seed)
    return SrResNet(2, channels=6, num_blocks=1, output="linear"), sampler


def quiet(**options):
    return TrainConfig(progress=False, **options)


def test_training_reduces_the_loss(pairs):
    model, sampler = make(pairs)
    model.tail.conv.bias.data.fill_(0.2)  # a mistake that is easy to unlearn
    history = train(model, sampler, quiet(steps=60, learning_rate=1e-2))
    assert history["loss"].iloc[-10:].mean() < 0.4 * history["loss"].iloc[0]
    assert model.training


def test_a_longer_training_beats_bicubic_on_its_own_photograph(pairs):
    torch.manual_seed(0)
    model = SrResNet(2, channels=16, num_blocks=1)
    _, sampler = make(pairs)
    batches = [sampler.sample() for _ in range(8)]

    def loss():
        with torch.no_grad():
            return sum(nn.functional.l1_loss(model(lr), hr).item() for lr, hr in batches)

    before = loss()  # untrained it is bicubic
    train(model, sampler, quiet(steps=300))
    assert loss() < 0.96 * before


def test_the_same_seed_gives_the_same_weights(pairs):
    results = []
    for seed in (0, 0, 1):
        model, sampler = make(pairs, seed)
        history = train(model, sampler, quiet(steps=5))
        weights = nn.utils.parameters_to_vector(model.parameters()).tolist()
        results.append(history["loss"].to_list() + weights)
    assert results[0] == results[1] != results[2]


def test_the_history_has_a_row_a_step(pairs):
    model, sampler = make(pairs)
    history = train(model, sampler, quiet(steps=7))
    assert list(history.index) == list(range(1, 8)) and history.index.name == "step"
    assert list(history.columns) == COLUMNS
    assert history["seconds"].is_monotonic_increasing and history["seconds"].iloc[0] > 0
    assert history["validation_db"].isna().all() and history.attrs["complete"]
    assert np.isfinite(history.drop(columns="validation_db").to_numpy()).all()
    assert (history[["gradient_norm", "patches_per_s", "psnr_db"]] > 0).all(axis=None)


def test_another_loss_is_used(pairs):
    model, sampler = make(pairs)
    history = train(model, sampler, quiet(steps=1), loss=nn.functional.mse_loss)
    other, same_sampler = make(pairs)
    lr, hr = same_sampler.sample()
    assert history["loss"].item() == pytest.approx(((other(lr) - hr) ** 2).mean().item())


@pytest.fixture
def clock(monkeypatch):
    """The clock of `train`, by which each step takes 1/32 s."""
    clock = SimpleNamespace(now=0.0)

    def read():
        clock.now += 1 / 32
        return clock.now

    monkeypatch.setattr("srlib.training.time", SimpleNamespace(perf_counter=read))
    return clock


def test_the_clock_stands_still_during_on_step(pairs, clock):
    def on_step(step, model):
        clock.now += 100
        seen.append((step, model))

    model, sampler = make(pairs)
    seen = []
    history = train(model, sampler, quiet(steps=6), on_step=on_step)
    assert seen == [(step, model) for step in range(1, 7)]
    assert list(history["seconds"]) == [step / 32 for step in range(1, 7)]


def test_training_by_the_clock_ends_and_lets_the_learning_rate_follow_it(pairs, clock):
    model, sampler = make(pairs)
    config = quiet(seconds=0.5, warmup=0.25, learning_rate=1.0, clip_norm=1e-9)
    history = train(model, sampler, config)
    assert list(history["seconds"]) == [step / 32 for step in range(1, 17)]
    seconds, rates = history["seconds"].to_numpy() / 0.5, history["learning_rate"].to_numpy()
    for done, rate in zip(seconds, rates[1:], strict=False):
        falling = math.cos(math.pi / 2 * (done - 0.25) / 0.75) ** 2
        assert rate == pytest.approx(done / 0.25 if done < 0.25 else falling)


@pytest.mark.parametrize("why", ["hidden in a list", "frozen"])
def test_a_network_with_nothing_to_train_is_named(pairs, why):
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Conv2d(3, 3, 3, padding=1)]

        def forward(self, x):
            return self.layers[0](x)

    model = Hidden() if why.startswith("hidden") else nn.Conv2d(3, 3, 3).requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train.*nn.ModuleList does not"):
        train(model, make(pairs)[1], quiet(steps=1))


def test_a_frozen_part_stays_as_it_is(pairs):
    model, sampler = make(pairs)
    model.head.requires_grad_(False)
    before, body = model.head.weight.clone(), model.body.weight.clone()
    train(model, sampler, quiet(steps=3))
    assert torch.equal(model.head.weight, before) and not torch.equal(model.body.weight, body)


@pytest.mark.parametrize("kind", ["compiler", "no compiler", "another error"])
def test_where_nothing_can_be_compiled_training_goes_on(pairs, monkeypatch, kind):
    def refuse(network, mode):
        def forward(lr):
            network(lr)  # which counts in batch norm
            error = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
            raise {
                "compiler": error("LoweringException: too old"),
                "no compiler": RuntimeError("Failed to find C compiler. Please specify CC"),
                "another error": RuntimeError("shapes do not fit"),
            }[kind]

        return forward

    def run(**options):
        model, sampler = make(pairs)
        model = nn.Sequential(model, nn.BatchNorm2d(3))
        train(model, sampler, quiet(steps=3, **options))
        return model.state_dict()

    plain = run()
    monkeypatch.setattr(torch, "compile", refuse)
    if kind == "another error":
        with pytest.raises(RuntimeError, match="shapes do not fit"):
            run(compile="default")
        return
    with pytest.warns(UserWarning, match="^training goes on uncompiled, because: .*(old|CC)"):
        same = run(compile="default")
    assert all(torch.equal(same[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    "capability, expected",
    [
        ((6, 1), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((8, 9), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((12, 0), torch.bfloat16),
    ],
)
def test_auto_precision_is_what_the_gpu_has(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert training.config.precision_type("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize("has", [False, True])
def test_auto_precision_is_what_the_processor_has(monkeypatch, has):
    monkeypatch.setattr(training.config, "cpu_has_bfloat16", lambda: has)
    expected = torch.bfloat16 if has else torch.float32
    assert training.config.precision_type("auto", torch.device("cpu")) == expected


def test_the_average_is_torch_s_and_reads_no_count_on_the_gpu(pairs, monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    expected = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    ours = AveragedModel(model)
    for step in range(4):
        model(torch.rand(2, 3, 8, 8))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        expected.update_parameters(model)
        training._update_average(ours, model, 0.9)
        for name, value in expected.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), (step, name)
    monkeypatch.setattr(AveragedModel, "update_parameters", lambda *_: pytest.fail("it waits"))
    train(*make(pairs), quiet(steps=2, ema_decay=0.9))


def test_a_batch_too_large_is_a_sentence_and_the_checkpoint_stays(pairs, tmp_path):
    def run(fail):
        def greedy(sr, hr):
            greedy.calls += 1
            if greedy.calls == fail:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            return nn.functional.l1_loss(sr, hr)

        greedy.calls = 0
        model, sampler = make(pairs)
        train(model, sampler, quiet(steps=6, checkpoint_every=2), loss=greedy, folder=tmp_path)
        return greedy.calls

    with pytest.raises(MemoryError, match="^4 patches of 8 x 8 LR pixels need more memory than"):
        run(fail=4)
    assert load_checkpoint(tmp_path / "checkpoints").step == 2
    with pytest.raises(RuntimeError, match="^another error$"):
        train(*make(pairs), quiet(steps=1), loss=lambda *_: raise_(RuntimeError("another error")))


def raise_(error):
    raise error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler: they say nothing about this code
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_a_compiled_training_is_the_same_and_is_compiled_before_its_first_batch(
    pairs, tmp_path, monkeypatch
):
    """With batch norm: the warm-up may change neither random numbers nor buffers."""
    # A run that is killed while it compiles leaves broken files in the machine's cache.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    graphs = []

    def run(**options):
        model, sampler = make(pairs)
        model = nn.Sequential(model, nn.BatchNorm2d(3))
        torch.manual_seed(4)
        draw = sampler.sample

        def sample(*which):
            graphs.append(counters["stats"]["unique_graphs"])
            return draw(*which)

        sampler.sample = sample
        train(model, sampler, quiet(steps=3, **options))
        return model, torch.rand(1)

    plain, after_plain = run()
    counters.clear()
    graphs.clear()
    compiled, after_compiled = run(compile="default")
    assert torch.equal(after_plain, after_compiled)
    # A batch is drawn to compile with, and what it led to is all that the three steps need.
    assert graphs == [0, 1, 1, 1] and counters["stats"]["unique_graphs"] == 1
    assert compiled[1].num_batches_tracked == 3
    for name, value in plain[1].state_dict().items():
        torch.testing.assert_close(compiled[1].state_dict()[name], value, rtol=1e-3, atol=1e-4)


def small(seed=0, **options):
    """A network of which a step takes a millisecond, and a sampler."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1))
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    pairs = make_pairs({"one": images[0], "other": images[1]}, 2)
    return model, PatchSampler(pairs, 2, lr_patch_size=6, **{"batch_size": 4, **options})


def weights_of(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def by_hand(optimizer, rates, clip_norm, decay=None):
    """Train `small` in float64 with updates that are written down here.

    Returns weights and average after each step, losses, squared errors and norms.
    """
    model, sampler = small()
    model = model.double()
    first, second = (
        [torch.zeros_like(parameter) for parameter in model.parameters()] for _ in range(2)
    )
    average, rows = None, []
    for step, rate in enumerate(rates, start=1):
        lr, hr = (patches.double() for patches in sampler.sample())
        sr = model(lr)
        loss = (sr - hr).abs().mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum((gradient**2).sum().item() for gradient in gradients))
        factor = min(1.0, clip_norm / norm)
        with torch.no_grad():
            for parameter, gradient, m, v in zip(
                model.parameters(), gradients, first, second, strict=True
            ):
                gradient = gradient * factor
                if optimizer == "sgd":  # Nesterov: look where the momentum leads
                    m.mul_(0.9).add_(gradient)
                    parameter -= rate * (gradient + 0.9 * m)
                else:
                    m.mul_(0.9).add_(0.1 * gradient)
                    v.mul_(0.999).add_(0.001 * gradient**2)
                    update = m / (1 - 0.9**step) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
                    parameter -= rate * update
        weights = weights_of(model)
        average = (
            weights
            if average is None or decay is None
            else (decay * average + (1 - decay) * weights)
        )
        rows.append((weights, average, loss.item(), ((sr - hr) ** 2).mean().item(), norm))
    return rows


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["cosine", "step", "one_cycle", "constant"])
def test_every_step_is_that_written_down_by_hand(optimizer, kind):
    steps, highest, warmup, clip = 20, 0.01, 0.2, 0.15
    rates = [highest * schedule(kind, step / steps, warmup) for step in range(steps)]
    rows = by_hand(optimizer, rates, clip, decay=0.8)
    seen, averages = [], []
    model, sampler = small()
    history = train(
        model,
        sampler,
        quiet(
            steps=steps,
            optimizer=optimizer,
            learning_rate=highest,
            schedule=kind,
            warmup=warmup,
            clip_norm=clip,
            ema_decay=0.8,
            validate_every=1,
        ),
        on_step=lambda step, model: seen.append(weights_of(model)),
        validate=lambda model: averages.append(weights_of(model)) or 20.0,
    )
    norms = [row[4] for row in rows]
    assert min(norms) < clip < max(norms) or min(norms) > clip
    np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-12)
    for column, k in (("loss", 2), ("gradient_norm", 4)):
        np.testing.assert_allclose(history[column], [row[k] for row in rows], rtol=2e-4)
    decibels = [-10 * math.log10(row[3]) for row in rows]
    np.testing.assert_allclose(history["psnr_db"], decibels, atol=1e-3)
    for row, weights, average in zip(rows, seen, averages, strict=True):
        np.testing.assert_allclose(weights, row[0], atol=1e-4)
        np.testing.assert_allclose(average, row[1], atol=1e-4)
    # What is validated is the average, and so is what remains.
    assert torch.equal(weights_of(model), averages[-1])
    assert not torch.equal(seen[-1], averages[-1])
    assert history["validation_db"].eq(20.0).all()


def test_rows_are_means_over_the_steps_between_them():
    model, sampler = small()
    fine = train(model, sampler, quiet(steps=11))
    model, sampler = small()
    config = quiet(steps=11, log_every=4, validate_every=6)
    coarse = train(model, sampler, config, validate=lambda model: 1.0)
    assert list(coarse.index) == [4, 6, 8, 11]
    assert list(coarse["validation_db"].notna()) == [False, True, False, True]
    mse = 10 ** (-fine["psnr_db"] / 10)
    for first, last in ((1, 4), (5, 6), (7, 8), (9, 11)):
        for column in ("loss", "gradient_norm"):
            mean = fine.loc[first:last, column].mean()
            assert coarse.loc[last, column] == pytest.approx(mean, rel=1e-5)
        decibels = -10 * math.log10(mse.loc[first:last].mean())
        assert coarse.loc[last, "psnr_db"] == pytest.approx(decibels, abs=1e-4)
        assert coarse.loc[last, "learning_rate"] == fine.loc[last, "learning_rate"]


def test_on_log_gets_the_rows_and_may_do_with_them_what_it_likes():
    rows = []

    def on_log(row):
        rows.append(dict(row))
        row.clear()

    model, sampler = small()
    history = train(model, sampler, quiet(steps=7, log_every=3), on_log=on_log)
    assert [row.pop("step") for row in rows] == [3, 6, 7]
    for row, (_, values) in zip(rows, history.iterrows(), strict=True):
        np.testing.assert_array_equal([row[name] for name in COLUMNS], values[COLUMNS])


def test_what_validates_may_leave_the_network_in_evaluation_mode():
    model, sampler = small()
    modes = []
    train(
        model,
        sampler,
        quiet(steps=3, validate_every=1),
        validate=lambda model: len(model.eval()),
        on_step=lambda step, model: modes.append(model.training),
    )
    assert modes == [True] * 3 and model.training


def test_checkpoints_come_when_they_are_due(tmp_path):
    model, sampler = small()
    found = {}

    def on_step(step, model):  # what was there before this step
        found[step] = {path.name[5:14] for path in (tmp_path / "checkpoints").glob("*")}

    config = quiet(steps=9, checkpoint_every=4, log_every=3)
    train(model, sampler, config, folder=tmp_path, on_step=on_step)
    assert found[4] == set() and found[5] == {"000000004"}
    assert found[9] == {"000000004", "000000008"}
    names = {path.name[5:14] for path in (tmp_path / "checkpoints").glob("*")}
    assert names == {"000000008", "000000009"}


def test_a_loss_that_is_not_finite_tells_the_way_out(tmp_path):
    model, sampler = small()
    losses = []

    def loss(sr, hr):
        losses.append((sr - hr).abs().mean())
        return losses[-1] * (math.inf if len(losses) == 6 else 1)

    config = quiet(steps=9, checkpoint_every=2, ema_decay=0.5)
    with pytest.raises(FloatingPointError) as caught:
        train(model, sampler, config, loss=loss, folder=tmp_path)
    message = str(caught.value)
    assert "the loss in step 6 is inf" in message and "the learning rate 0.000" in message
    assert "The model has the last good weights" in message
    assert "with a lower learning rate and, if the training has a folder, in another" in message
    reference, sampler = small()
    train(reference, sampler, quiet(steps=9), on_step=keep_until(5, kept := []))
    assert torch.equal(weights_of(model), kept[-1])
    assert load_checkpoint(tmp_path / "checkpoints").step == 4
    model, sampler = small()
    with pytest.raises(ValueError, match="learning_rate: 0.001 there, 0.0001 now.*another folder"):
        train(model, sampler, quiet(steps=9, ema_decay=0.5, learning_rate=1e-4), folder=tmp_path)


def test_where_one_looks_late_as_on_a_gpu_no_bad_weights_are_saved(tmp_path, monkeypatch):
    class Late(TrainingState):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self._late = True

    monkeypatch.setattr(training, "TrainingState", Late)
    calls = []

    def loss(sr, hr):
        calls.append(1)
        return (sr - hr).abs().mean() * (math.nan if len(calls) == bad else 1)

    for bad, good, there in ((5, 4, 3), (1, 0, None)):
        calls.clear()
        model, sampler = small()
        folder = tmp_path / str(bad)
        config = quiet(steps=20, log_every=4, checkpoint_every=3)
        seen = [weights_of(model)]
        with pytest.raises(FloatingPointError, match="the loss in step . is nan"):
            train(model, sampler, config, loss=loss, folder=folder, on_step=keep_until(99, seen))
        assert torch.equal(weights_of(model), seen[good])
        saved = load_checkpoint(folder / "checkpoints")
        assert (saved and saved.step) == there and not torch.isfinite(seen[-1]).all()


def keep_until(last, kept):
    return lambda step, model: kept.append(weights_of(model)) if step <= last else None


def test_a_gradient_that_is_not_finite_stops_too():
    model, sampler = small()

    def loss(sr, hr):  # zero, with a slope that is none
        return torch.sqrt((sr - sr.detach()) ** 2).mean()

    before = weights_of(model)
    with pytest.raises(FloatingPointError, match="the loss in step 1 is 0.0, the norm of .* nan"):
        train(model, sampler, quiet(steps=9), loss=loss)
    assert torch.equal(weights_of(model), before)


def test_float16_leaves_out_steps_that_overflow():
    model, sampler = small()
    before, seen = weights_of(model), []

    def loss(sr, hr):  # times the first scale of 65536, its gradient is too much for float16
        return (sr - hr).abs().mean() * 1e2

    config = quiet(steps=20, mixed_precision="fp16")
    history = train(model, sampler, config, loss=loss, on_step=keep_until(20, seen))
    assert not math.isfinite(history["gradient_norm"].iloc[0]) and torch.equal(seen[0], before)
    assert np.isfinite(history["gradient_norm"].iloc[10:]).all()
    assert torch.isfinite(weights_of(model)).all() and not torch.equal(seen[-1], before)


def test_float16_does_not_leave_out_steps_for_ever():
    model, sampler = small()
    before = weights_of(model)

    def loss(sr, hr):
        return (sr - hr).abs().mean() + torch.sqrt((sr - sr.detach()) ** 2).mean()

    with pytest.raises(FloatingPointError, match="the loss in step 18 is 0.*gradient nan"):
        train(model, sampler, quiet(steps=60, mixed_precision="fp16"), loss=loss)
    assert torch.equal(weights_of(model), before)


def press(number, *steps, times=1):
    def on_step(step, model):
        if step in steps:
            for _ in range(times):
                signal.raise_signal(number)

    return on_step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_step_and_keeps_all(tmp_path, capsys, number):
    reference, sampler = small()
    whole = train(reference, sampler, quiet(steps=12))
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    model, sampler = small()
    history = train(model, sampler, quiet(steps=12), folder=tmp_path, on_step=press(number, 5))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert list(history.index) == [1, 2, 3, 4, 5] and history.attrs["complete"] is False
    said = capsys.readouterr().out
    assert "stopped after step 5, the model has the weights of that step" in said
    assert f"call again with folder={str(tmp_path)!r} to go on" in said
    assert load_checkpoint(tmp_path / "checkpoints").step == 5
    model, sampler = small(seed=9)
    history = train(model, sampler, quiet(steps=12), folder=tmp_path)
    assert history.attrs["complete"] and capsys.readouterr().out == ""
    assert torch.equal(weights_of(model), weights_of(reference))
    assert list(history["loss"]) == list(whole["loss"])


def test_an_interrupt_in_the_last_step_changes_nothing(tmp_path, capsys):
    model, sampler = small()
    history = train(model, sampler, quiet(steps=3), on_step=press(signal.SIGINT, 3))
    assert history.attrs["complete"] and capsys.readouterr().out == ""


def test_an_interrupt_without_a_folder(capsys):
    model, sampler = small()
    history = train(model, sampler, quiet(steps=9, ema_decay=0.9), on_step=press(signal.SIGINT, 2))
    assert len(history) == 2
    assert capsys.readouterr().out == (
        "stopped after step 2, the model has the weights of that step\n"
    )


def test_a_second_interrupt_does_not_wait():
    handler = signal.getsignal(signal.SIGINT)
    model, sampler = small()
    with pytest.raises(KeyboardInterrupt):
        train(model, sampler, quiet(steps=9), on_step=press(signal.SIGINT, 4, times=2))
    assert signal.getsignal(signal.SIGINT) is handler


def test_outside_of_the_main_thread_it_trains_and_leaves_the_handlers_alone():
    handler, results = signal.getsignal(signal.SIGINT), []

    def on_step(step, model):
        results.append(signal.getsignal(signal.SIGINT))

    model, sampler = small()
    thread = threading.Thread(
        target=lambda: results.append(train(model, sampler, quiet(steps=3), on_step=on_step))
    )
    thread.start()
    thread.join()
    assert results[:3] == [handler] * 3 and len(results[3]) == 3


def test_a_time_goes_on_where_it_stopped(tmp_path, clock):
    config = quiet(seconds=0.5, checkpoint_every=5)
    model, sampler = small()
    history = train(model, sampler, config, folder=tmp_path, on_step=press(signal.SIGINT, 8))
    assert len(history) == 8 and not history.attrs["complete"]
    model, sampler = small()
    again = train(model, sampler, config, folder=tmp_path)
    assert again.attrs["complete"]
    assert list(again["seconds"]) == [step / 32 for step in range(1, 17)]
    pd.testing.assert_frame_equal(again.iloc[:8], history, check_exact=True)


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def in_processes(count, call):
    """Call it in so many forks that train together, with gloo."""
    port, children = free_port(), []
    for rank in range(count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads, Python 3.12
            children.append(os.fork())
        if children[-1] == 0:
            try:
                torch.set_num_threads(1)
                os.environ |= {
                    "OMP_NUM_THREADS": "1",  # or accelerate warns
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(count),
                    "LOCAL_WORLD_SIZE": str(count),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
                AcceleratorState._reset_state(reset_partial_state=True)
                call(rank)
                torch.distributed.barrier()  # or one may be gone before the other has met it
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    return [os.waitpid(child, 0)[1] for child in children]


@pytest.mark.processes
@pytest.mark.parametrize("options", [{"ema_decay": 0.9, "log_every": 3}, {"optimizer": "sgd"}])
def test_two_processes_with_8_patches_are_one_with_16(tmp_path, options):
    """Only the order of float32 sums differs: by 1e-5 in weights around 0.1 after 12 steps."""
    config = quiet(steps=12, learning_rate=3e-3, checkpoint_every=5, **options)
    reference, sampler = small(batch_size=16)
    whole = train(reference, sampler, config, validate=lambda model: 30.0)

    def call(rank):
        # Other weights in the second process: those of the first count.
        model, sampler = small(seed=rank, batch_size=8)
        history = train(
            model, sampler, config, folder=tmp_path / "two", validate=lambda model: 30.0
        )
        assert history.attrs["complete"]
        torch.save(weights_of(model), tmp_path / f"{rank}.pt")
        history.to_csv(tmp_path / f"{rank}.csv")

    assert in_processes(2, call) == [0, 0]
    weights = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert torch.equal(*weights)
    np.testing.assert_allclose(weights[0], weights_of(reference), atol=1e-5)
    two = pd.read_csv(tmp_path / "0.csv", index_col="step")
    columns = ["loss", "psnr_db", "learning_rate", "gradient_norm", "validation_db"]
    pd.testing.assert_frame_equal(two[columns], whole[columns], rtol=1e-4)


@pytest.mark.processes
def test_two_processes_stop_together_and_one_may_go_on(tmp_path):
    config = quiet(steps=12, learning_rate=3e-3)
    reference, sampler = small(batch_size=16)
    train(reference, sampler, config)

    def call(rank):
        model, sampler = small(batch_size=8)
        # The launcher passes the same Ctrl-C on, so that it comes twice; and only one hears it.
        on_step = press(signal.SIGINT, 5, times=2) if rank == 1 else None
        history = train(model, sampler, config, folder=tmp_path, on_step=on_step)
        assert not history.attrs["complete"]

    assert in_processes(2, call) == [0, 0]
    assert load_checkpoint(tmp_path / "checkpoints").step == 5
    model, sampler = small(seed=4, batch_size=16)
    history = train(model, sampler, config, folder=tmp_path)
    assert list(history.index) == list(range(1, 13))
    np.testing.assert_allclose(weights_of(model), weights_of(reference), atol=1e-5)
    # And a finished one does nothing, also in two processes.
    assert in_processes(2, lambda rank: train(*small(batch_size=8), config, folder=tmp_path)) == [
        0,
        0,
    ]


@pytest.mark.processes
def test_what_several_processes_cannot_do_is_said():
    def call(rank):
        PartialState()  # finds no GPU, and lets each process train alone
        with pytest.raises(ValueError, match="2 processes were started .* has joined 1"):
            train(*small(), quiet(steps=5))
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.raises(ValueError, match="several processes need steps, got seconds=5"):
            train(*small(), quiet(seconds=5))

    assert in_processes(2, call) == [0, 0]


@pytest.mark.processes
def test_a_folder_that_cannot_be_used_is_refused_in_all_processes(tmp_path):
    """Only the first looks at it; the others do not wait for it for ever."""
    (tmp_path / "file").write_text("")
    used, other = tmp_path / "used", tmp_path / "other"
    train(*small(batch_size=16), quiet(steps=2), folder=other)
    log = RunLog(used, {})
    log.read()

    def call(rank):
        for folder, message in (
            (used, "used is in use: another training is writing to it"),
            (other, "other holds another training .steps: 2 there, 5 now"),
            (tmp_path / "file", "file cannot take a training"),
        ):
            with pytest.raises((ValueError, OSError), match=message):
                train(*small(batch_size=8), quiet(steps=5), folder=folder)

    assert in_processes(2, call) == [0, 0]
    log.close()
    assert list(used.iterdir()) == []


def test_the_bar_tells_decibels_and_speed(capsys):
    model, sampler = small()
    train(model, sampler, TrainConfig(steps=3), validate=lambda model: 31.25)
    said = capsys.readouterr().err
    assert " dB, validation 31.25 dB, " in said and " patches/s" in said and "3/3" in said
    model, sampler = small()
    train(model, sampler, TrainConfig(seconds=0.3), folder=None)
    assert "0.3/0.3" in capsys.readouterr().err
    train(model, sampler, quiet(steps=2))
    assert capsys.readouterr().err == ""


KERNEL = """
import numpy as np, time
from torch import nn
from srlib.data import PatchSampler, make_pairs
from srlib.training import TrainConfig, train
from srlib.training.state import TrainingState
image = np.zeros((24, 24, 3), np.uint8)
model = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1))
sampler = PatchSampler(make_pairs({"one": image}, 2), 2, lr_patch_size=6, batch_size=2)
config = TrainConfig(steps=1_000_000, log_every=100, progress=False)
history = train(model, sampler, config, folder=FOLDER,
                on_log=lambda row: row["step"] == 100 and print("here", flush=True))
print("rows", len(history), history.attrs["complete"])
"""


@pytest.mark.slow
def test_the_stop_button_of_a_notebook(tmp_path):
    manager_of = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_of.start_new_kernel(
        kernel_name="python3", env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    said = []

    def hook(message):
        text = message["content"].get("text", "")
        if "here" in text:
            manager.interrupt_kernel()
        said.append(text)

    try:
        reply = client.execute_interactive(
            KERNEL.replace("FOLDER", repr(str(tmp_path))), output_hook=hook, timeout=500
        )
        assert reply["content"]["status"] == "ok", reply
        said = "".join(said)
        assert "stopped after step " in said and "rows" in said and "False" in said
        assert load_checkpoint(tmp_path / "checkpoints").step >= 100
        # And the kernel's own interrupt works again.
        reply = client.execute_interactive(
            "print('here', flush=True); time.sleep(60)", output_hook=hook2(manager), timeout=100
        )
        assert reply["content"]["ename"] == "KeyboardInterrupt"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def hook2(manager):
    return lambda message: (
        manager.interrupt_kernel() if "here" in message["content"].get("text", "") else None
    )
