"""Training on a pretended GPU: on the device, without waiting for it, as on the CPU."""

import itertools

import numpy as np
import pytest
import torch
from pretended_gpu.steps import run, waits_between_rows

from srlib.degradation import DegradedSampler, RandomDegradation
from srlib.training.adversarial import AdversarialLoss
from srlib.training.config import precision_type

EVERY_WAY = list(itertools.product(("adam", "sgd", "muon"), ("no", "bf16", "fp16", "auto")))


def test_the_sampler_draws_what_it_draws_on_the_cpu(make_sampler, gpu):
    options = {"permute_colours": True, "seed": 3}
    here, there = make_sampler(**options), make_sampler(**options, device="cpu")
    gpu.reset()
    for _ in range(3):
        for batch, expected in zip(here.sample(), there.sample(), strict=True):
            assert batch.is_cuda and torch.equal(batch.cpu(), expected)


def test_patches_are_degraded_as_on_the_cpu(pairs, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    def make(device):
        options = {"lr_patch_size": 8, "batch_size": 3, "seed": 3, "device": device}
        return DegradedSampler(pairs, 4, RandomDegradation(), **options)

    here, there = make("cuda"), make("cpu")
    for _ in range(3):
        for batch, expected in zip(here.sample(), there.sample(), strict=True):
            assert batch.is_cuda
            torch.testing.assert_close(batch.cpu(), expected, rtol=0, atol=0.01)
    run(here, steps=2)


def test_auto_precision_is_what_the_gpu_has():
    has_bfloat16 = torch.cuda.get_device_capability() >= (8, 0)
    expected = torch.bfloat16 if has_bfloat16 else torch.float16
    assert precision_type("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(("optimizer", "precision"), EVERY_WAY)
def test_a_step_waits_for_nothing(make_sampler, gpu, optimizer, precision):
    config = {"optimizer": optimizer, "mixed_precision": precision, "ema_decay": 0.9}
    waits = waits_between_rows(gpu, make_sampler(), channels_last=True, **config)
    assert not waits
    assert not gpu.trained_on_cpu


def test_a_step_against_a_discriminator_waits_for_nothing(make_sampler, gpu):
    assert not waits_between_rows(gpu, make_sampler(), loss=AdversarialLoss(channels=4))
    assert not gpu.trained_on_cpu


def test_a_row_waits_once(make_sampler, gpu):
    waits = []
    run(make_sampler(), on_step=lambda step, model: waits.append(sum(gpu.waits.values())))
    assert set(np.diff(waits)) == {1}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_it_learns_what_it_learns_on_the_cpu(make_sampler, optimizer, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    histories = [
        run(make_sampler(device=device), optimizer=optimizer)[1] for device in ("cuda", "cpu")
    ]
    for column in ("loss", "gradient_norm", "psnr_db"):
        np.testing.assert_allclose(*(history[column] for history in histories), rtol=1e-3)


@pytest.mark.parametrize(
    ("optimizer", "precision"), [("adam", "bf16"), ("sgd", "no"), ("muon", "fp16")]
)
def test_a_training_that_was_stopped_goes_on(make_sampler, tmp_path, optimizer, precision):
    config = {"optimizer": optimizer, "mixed_precision": precision, "ema_decay": 0.9}
    config |= {"checkpoint_every": 3, "log_every": 2, "steps": 8}
    whole, _ = run(make_sampler(), **config)

    def stop(step, model):
        if step == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(make_sampler(), folder=tmp_path, on_step=stop, **config)
    rest, history = run(make_sampler(), folder=tmp_path, **config)
    assert list(history.index) == [2, 4, 6, 8]
    for name, value in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], value)
