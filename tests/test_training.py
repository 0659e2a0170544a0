import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.models import SrResNet
from srlib.training import TrainConfig, train


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
    assert list(history.columns) == ["seconds", "loss", "learning_rate", "gradient_norm"]
    assert history["seconds"].is_monotonic_increasing and history["seconds"].iloc[0] > 0
    assert np.isfinite(history.to_numpy()).all() and (history["gradient_norm"] > 0).all()


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_learning_rate_rises_straight_and_falls_like_a_cosine(pairs, warmup):
    model, sampler = make(pairs)
    steps = 100
    history = train(model, sampler, quiet(steps=steps, learning_rate=2e-3, warmup=warmup))
    rates = history["learning_rate"].to_numpy() / 2e-3
    rising = round(warmup * steps)
    np.testing.assert_allclose(rates[1:rising], np.arange(1, rising) / max(rising, 1))
    part = np.arange(steps - rising) / (steps - rising)
    np.testing.assert_allclose(rates[rising:], np.cos(math.pi / 2 * part) ** 2, atol=1e-12)
    assert (rates > 0).all()
    assert rates.max() == pytest.approx(1) and rates[-1] < 0.002


def test_a_step_is_adam_on_the_shortened_gradient(pairs):
    model, sampler = make(pairs)
    other, same_sampler = make(pairs)
    history = train(model, sampler, quiet(steps=1, warmup=0, learning_rate=1e-3, clip_norm=1e-3))
    lr, hr = same_sampler.sample()
    loss = (other(lr) - hr).abs().mean()
    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in other.parameters()))
    assert history["loss"].item() == pytest.approx(loss.item())
    assert history["gradient_norm"].item() == pytest.approx(norm.item()) and norm > 1e-2
    for after, before in zip(model.parameters(), other.parameters(), strict=True):
        # Adam's first step: g / (|g| + eps), where eps counts as the gradient is short.
        gradient = before.grad * 1e-3 / (norm + 1e-6)
        expected = before - 1e-3 * gradient / (gradient.abs() + 1e-8)
        np.testing.assert_allclose(after.detach(), expected.detach(), atol=1e-6)


def test_another_loss_is_used(pairs):
    model, sampler = make(pairs)
    history = train(model, sampler, quiet(steps=1), loss=nn.functional.mse_loss)
    other, same_sampler = make(pairs)
    lr, hr = same_sampler.sample()
    assert history["loss"].item() == pytest.approx(((other(lr) - hr) ** 2).mean().item())


class Pause:
    """An `on_step` that takes its time, and says how much."""

    def __init__(self, seconds):
        self.seconds, self.steps, self.waited = seconds, [], 0.0

    def __call__(self, step, model):
        start = time.perf_counter()
        time.sleep(self.seconds)
        self.steps.append(step)
        self.model = model
        self.waited += time.perf_counter() - start


def test_the_clock_stands_still_during_on_step(pairs):
    model, sampler = make(pairs)
    on_step = Pause(0.15)
    start = time.perf_counter()
    history = train(model, sampler, quiet(steps=6), on_step=on_step)
    elapsed = time.perf_counter() - start
    assert on_step.steps == [1, 2, 3, 4, 5, 6] and on_step.model is model
    assert history["seconds"].iloc[-1] <= elapsed - on_step.waited


def test_training_by_the_clock_ends_and_lets_the_learning_rate_follow_it(pairs):
    model, sampler = make(pairs)
    on_step = Pause(0.02)
    start = time.perf_counter()
    config = quiet(seconds=0.5, warmup=0.25, learning_rate=1.0, clip_norm=1e-9)
    history = train(model, sampler, config, on_step=on_step)
    assert time.perf_counter() - start >= 0.5 + on_step.waited
    assert len(history) == len(on_step.steps) > 2
    seconds, rates = history["seconds"].to_numpy() / 0.5, history["learning_rate"].to_numpy()
    assert seconds[-2] < 1

    def falling(done):
        return math.cos(math.pi / 2 * min((done - 0.25) / 0.75, 1)) ** 2

    for before, rate, after in zip(seconds, rates[1:], seconds[1:], strict=False):
        if before >= 0.25:
            assert falling(after) <= rate <= falling(before)
        elif after < 0.25:
            assert before / 0.25 <= rate <= after / 0.25


def test_a_loss_that_is_not_finite_stops_and_keeps_the_weights(pairs):
    model, sampler = make(pairs)
    kept = {}

    def on_step(step, model):
        kept[step] = nn.utils.parameters_to_vector(model.parameters()).clone()

    def loss(prediction, target):
        good = (prediction - target).abs().mean()
        return good * (math.nan if len(kept) == 3 else 1)

    with pytest.raises(FloatingPointError, match="the loss in step 4 is nan"):
        train(model, sampler, quiet(steps=9), loss=loss, on_step=on_step)
    assert list(kept) == [1, 2, 3]
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), kept[3])
    assert not torch.equal(kept[2], kept[3])


def test_a_frozen_part_stays_as_it_is(pairs):
    model, sampler = make(pairs)
    model.head.requires_grad_(False)
    before, body = model.head.weight.clone(), model.body.weight.clone()
    train(model, sampler, quiet(steps=3))
    assert torch.equal(model.head.weight, before) and not torch.equal(model.body.weight, body)


def test_the_bar_shows_and_can_be_silent(pairs, capsys):
    model, sampler = make(pairs)
    train(model, sampler, TrainConfig(steps=2))
    assert "2/2" in capsys.readouterr().err
    train(model, sampler, quiet(steps=2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "either steps or seconds, got steps=None, seconds=None"),
        ({"steps": 3, "seconds": 4}, "either steps or seconds, got steps=3, seconds=4"),
        ({"steps": 0}, "steps must be > 0, got 0"),
        ({"seconds": -1.0}, "seconds must be > 0, got -1.0"),
        ({"seconds": math.nan}, "seconds must be > 0, got nan"),
        ({"steps": 3, "learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"steps": 3, "clip_norm": -1}, "clip_norm must be > 0, got -1"),
        ({"steps": 3, "warmup": 1.0}, "warmup must be in 0..1, without 1, got 1.0"),
        ({"steps": 3, "warmup": -0.1}, "warmup must be in 0..1, without 1, got -0.1"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)
