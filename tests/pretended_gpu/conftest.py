"""The GPU of `run.py`, which runs these tests, for each of them as new."""

import gc

import pytest
import torch
from pretended_gpu.device import PretendedGpu
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs


@pytest.fixture(autouse=True)
def gpu():
    (gpu,) = _get_current_dispatch_mode_stack()
    assert isinstance(gpu, PretendedGpu)
    gc.collect()  # an error holds what was in use
    torch.cuda.empty_cache()
    gpu.reset()
    return gpu


@pytest.fixture(scope="session")
def pairs():
    return make_pairs({"astronaut": sample_image("astronaut")[:96, :96]}, 4)


@pytest.fixture
def make_sampler(pairs):
    """A function that makes a sampler of small patches, on the GPU."""

    def make(**options):
        options = {"lr_patch_size": 8, "batch_size": 2, "device": "cuda", **options}
        return PatchSampler(pairs, 4, **options)

    return make
