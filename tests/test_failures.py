"""What fails on a GPU is one sentence that says what to change: memory, a lost device, float64."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from srlib import __main__, data
from srlib._arguments import to_float64
from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.environment import gpu_failure_is_said, memory_is_said
from srlib.evaluation import evaluate
from srlib.measuring import measure
from srlib.resample import imresize
from srlib.training import TrainConfig, train
from srlib.training.checkpoint import load_checkpoint

# As torch 2.14 says them; before 2.8 there was no class of its own.
AcceleratorError = getattr(torch, "AcceleratorError", RuntimeError)
NO_MEMORY = [
    torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total ..."
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"
    ),
]
LOST = [
    AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might ..."),
    AcceleratorError("CUDA error: the launch timed out and was terminated\nFor debugging"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]
SMALL = make_pairs({"astronaut": sample_image("astronaut")[:64, :64]}, 4)


class Failing(nn.Module):
    """A network for x4 that raises an error in a call."""

    scale = 4

    def __init__(self, error, call=1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self._error, self._call, self._calls = error, call, 0  # a training is not known by these

    def forward(self, lr):
        self._calls += 1
        if self._calls >= self._call:
            raise self._error
        return self.weight * nn.functional.interpolate(lr, scale_factor=4)


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_no_memory_is_said_whoever_finds_it(error):
    with pytest.raises(MemoryError, match="^choose less$") as caught, memory_is_said("choose less"):
        raise error
    assert caught.value.__cause__ is error


def test_no_memory_names_the_size(monkeypatch):
    error = NO_MEMORY[0]
    with pytest.raises(MemoryError, match="for 48 x 64 pixels at once; choose a smaller lr_size"):
        measure(Failing(error), (48, 64))
    with pytest.raises(MemoryError, match="16 x 16 pixels at once; choose a smaller tile"):
        evaluate(Failing(error), SMALL, 4, progress=False)

    def own(lr):
        raise error

    with pytest.raises(MemoryError, match="^astronaut: enlarging 16 x 16 .* cut it into tiles$"):
        evaluate(own, SMALL, 4, progress=False)

    class Full:
        nbytes = 3 * 2**20

        def to(self, device):
            raise error

    monkeypatch.setattr(data, "_pack", lambda images: Full())
    with pytest.raises(MemoryError, match="^1 photographs take 6 MiB, more than is free on cpu; "):
        PatchSampler(SMALL, 4, lr_patch_size=8)


@pytest.mark.parametrize("error", LOST, ids=str)
def test_a_gpu_lost_in_the_middle_leaves_a_whole_checkpoint(error, tmp_path):
    config = TrainConfig(steps=8, checkpoint_every=2, progress=False)
    sampler = PatchSampler(SMALL, 4, lr_patch_size=8, batch_size=2)
    with pytest.raises(RuntimeError) as caught:
        train(Failing(error, call=6), sampler, config, folder=tmp_path)
    reason = str(error).splitlines()[0]
    assert str(caught.value) == (
        f"the GPU has failed ({reason}). The last checkpoint is whole: start Python, or the "
        "notebook's kernel, anew, and the same call goes on from there"
    )
    assert load_checkpoint(tmp_path / "checkpoints").step == 4
    history = train(Failing(error, call=99), sampler, config, folder=tmp_path)
    assert history.attrs["complete"] and list(history.index) == list(range(1, 9))


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="^mat1 and mat2 shapes$"), gpu_failure_is_said("more"):
        raise RuntimeError("mat1 and mat2 shapes")


@pytest.mark.parametrize("error", LOST, ids=str)
def test_the_command_line_says_it_in_a_line(error, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setattr(__main__, "_info", fail)
    assert __main__.main(["info"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: the GPU has failed ({str(error).splitlines()[0]}). Give the")


def test_a_driver_older_than_torch_is_a_note_and_the_processor_computes(monkeypatch, capsys):
    """What torch warns of where its first question finds an old driver."""
    text = (
        "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). "
        "Please update your GPU driver (Triggered internally at c10/cuda/CUDAFunctions.cpp:119.)"
    )

    def is_available():
        warnings.warn(text, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(__main__, "_info", lambda options: int(torch.cuda.is_available()))
    assert __main__.main(["info"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "note: the NVIDIA driver is too old for this torch (it found version 11040), so the "
        "processor computes: `python -m srlib info` says what to do"
    )


def test_from_apple_s_gpu_doubles_are_made_on_the_processor():
    def double():
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    there = SimpleNamespace(device=torch.device("mps"), cpu=lambda: torch.ones(2), double=double)
    assert to_float64(there).dtype == torch.float64
    assert to_float64(torch.ones(2, device="meta")).device.type == "meta"  # else where it was


class NoDoubles(TorchDispatchMode):
    """A device without float64: there may be such tensors only on their way to another type."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        doubles = [a for a in args if isinstance(a, torch.Tensor) and a.dtype == torch.float64]
        moved = torch.ops.aten._to_copy.default, torch.ops.aten.lift_fresh.default
        if doubles and operation not in moved:
            raise TypeError(f"float64 in {operation}")
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("scale", [4, 1 / 4, 2.5])
def test_a_resize_of_float32_computes_nothing_in_float64(scale):
    image = torch.rand(1, 3, 12, 16)
    with NoDoubles():
        result = imresize(image, scale)
    expected = imresize(np.ascontiguousarray(image[0].permute(1, 2, 0).double()), scale)
    np.testing.assert_allclose(result[0].permute(1, 2, 0), expected, atol=1e-6)


def test_the_failures_of_a_training_end_the_program_with_1(tmp_path):
    code = (
        "import sys, torch; from srlib import _train_command as c, __main__ as m\n"
        "kind = getattr(torch, 'AcceleratorError', RuntimeError)\n"
        "error = kind('CUDA error: unspecified launch failure')\n"
        "def fail(*a, **k): raise error\n"
        "c.train = fail\n"
        "sys.exit(m.main(['train', '--profile', 'ci', '--out', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: the GPU has failed (CUDA error: unspecified launch failure)" in done.stderr
