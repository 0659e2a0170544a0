"""What the course does at full size fits into the memory; nothing is computed."""

import numpy as np
import pytest
import torch

from srlib.evaluation import upscale
from srlib.models import SrResNet, load_pretrained
from srlib.training import TrainConfig, train
from srlib.training.recipes import PROFILES, network_options

# Of BSDS500's 300 photographs and of their copies shrunk as the recipe says.
PIXELS = 300 * 321 * 481 * (1 + sum(factor**2 for factor in PROFILES["gpu"]["shrink"]))


@pytest.fixture(autouse=True)
def only_memory(gpu):
    gpu.only_memory = True
    yield
    gpu.only_memory = False


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("precision", ["no", "auto"])
def test_the_full_training(make_sampler, precision, optimizer):
    recipe = PROFILES["gpu"]
    network = network_options(recipe)
    photographs = torch.empty(int(PIXELS * (1 + 1 / 16)), dtype=torch.int32, device="cuda")
    sampler = make_sampler(batch_size=recipe["batch_size"])
    sampler.lr_patch_size = recipe["lr_patch_size"]  # more than its picture has: none is drawn
    changed = {"steps": 2, "compile": "no", "progress": False, "optimizer": optimizer}
    changed |= {"mixed_precision": precision}
    train(SrResNet(4, **network), sampler, TrainConfig.from_recipe(recipe, **changed))
    assert torch.cuda.max_memory_allocated() > photographs.nbytes + 2**28


def test_a_batch_that_is_too_large(make_sampler):
    """So that a training that fits says something."""
    sampler = make_sampler(batch_size=5000, lr_patch_size=24)
    with pytest.raises(MemoryError, match="5000 patches of 24 x 24 LR pixels need more memory"):
        train(SrResNet(4), sampler, TrainConfig(steps=1, progress=False))


def test_a_large_picture():
    upscale(load_pretrained("srresnet_x4").to("cuda"), np.zeros((700, 1000, 3), np.uint8))
    assert torch.cuda.max_memory_allocated() > 2**29
