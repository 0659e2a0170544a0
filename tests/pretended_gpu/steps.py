"""A small training, and how often it waits for the GPU."""

import collections

import torch

from srlib.models import SrResNet
from srlib.training import TrainConfig, train


def run(sampler, *, loss=torch.nn.functional.l1_loss, folder=None, on_step=None, **config):
    """Train a small network; return it and the history."""
    torch.manual_seed(0)
    model = SrResNet(4, channels=8, num_blocks=1, hr_channels=4)
    config = TrainConfig(**{"steps": 10, "progress": False, **config})
    return model, train(model, sampler, config, loss=loss, folder=folder, on_step=on_step)


def waits_between_rows(gpu, sampler, **options) -> collections.Counter:
    """Return what waits for the GPU in the steps of a training that write no row.

    The first step does not count: what is made once is made there.
    """
    found, seen = collections.Counter(), []

    def on_step(step, model):
        waits = gpu.waits + collections.Counter(synchronized=gpu.synchronizations())
        if step > 1 and step % 5:
            found.update(waits - seen[-1])
        seen.append(waits)

    run(sampler, log_every=5, on_step=on_step, **options)
    return found
