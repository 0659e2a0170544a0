"""Faults of every kind, planted: the pretended GPU finds each."""

import threading

import pytest
import torch
import torch.nn.functional as F
from pretended_gpu.steps import run, waits_between_rows
from torch import nn

MIXED = {
    "added": lambda x: x + torch.rand(3),
    "in place": lambda x: torch.rand(3).add_(x),
    "number in place": lambda x: torch.tensor(1.0).add_(x[0]),
    "stacked": lambda x: torch.stack([x[0], torch.tensor(1.0)]),
    "convolved": lambda x: F.conv1d(x[None, None], torch.rand(1, 1, 2)),
    "index": lambda x: torch.rand(3)[x.long()],
}


@pytest.mark.parametrize("fault", MIXED)
def test_mixed_devices(fault):
    with pytest.raises(RuntimeError, match="device"):
        MIXED[fault](torch.zeros(3, device="cuda"))


def test_a_number_may_come_from_the_cpu():
    x = torch.zeros(3, device="cuda")
    assert (x + torch.tensor(1.0)).is_cuda and (torch.tensor(1.0) * x[0]).is_cuda


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_generator_of_the_other_device(device):
    (other,) = {"cpu", "cuda"} - {device}
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.rand(3, device=device, generator=torch.Generator(other))


def test_numpy_of_a_device_tensor():
    with pytest.raises(TypeError, match="to numpy"):
        torch.zeros(3, device="cuda").numpy()


def test_a_batch_on_the_cpu(make_sampler):
    sampler = make_sampler(device="cpu")
    sampler.device = torch.device("cuda")
    with pytest.raises(RuntimeError, match="device"):
        run(sampler)


def test_a_training_on_the_cpu(make_sampler, gpu):
    run(make_sampler(device="cpu"), steps=2)
    (line, *_), _ = zip(*gpu.trained_on_cpu.items(), strict=True)
    assert line.startswith("srlib/training/__init__.py:")


WAITS = {
    "a copy from cuda to cpu": lambda sr, hr: sr.detach().mean().cpu(),
    "a copy from cpu to cuda": lambda sr, hr: torch.ones(2).to(sr.device),
    "aten._local_scalar_dense.default": lambda sr, hr: sr.mean().item(),
    "aten.nonzero.default": lambda sr, hr: (sr > hr).nonzero(),
    "aten.masked_select.default": lambda sr, hr: sr.masked_select(sr > hr),
    "a mask as an index": lambda sr, hr: sr[sr > hr],
    "an index on the CPU": lambda sr, hr: sr[torch.arange(1)],
    "synchronized": lambda sr, hr: torch.cuda.synchronize(),
}


@pytest.mark.parametrize("reason", WAITS)
def test_a_wait_in_each_step(make_sampler, gpu, reason):
    def loss(sr, hr):
        WAITS[reason](sr, hr)
        return F.l1_loss(sr, hr)

    found = waits_between_rows(gpu, make_sampler(), loss=loss)
    ((what, count),) = found.items()
    assert count == 7  # of ten steps the first and those with a row do not count
    if reason != "synchronized":
        assert what[0] == reason
        assert what[1].startswith("tests/pretended_gpu/check_faults.py:")


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_in_convolutions(monkeypatch, allowed):
    """Two convolutions folded into one are as exact as float32 or as TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    first, second = (nn.Conv2d(8, 8, 1, bias=False, device="cuda") for _ in "ab")
    folded = nn.Conv2d(8, 8, 1, bias=False, device="cuda")
    x = torch.rand(1, 8, 16, 16, device="cuda")
    with torch.no_grad():
        folded.weight[..., 0, 0] = second.weight[..., 0, 0] @ first.weight[..., 0, 0]
        difference = (second(first(x)) - folded(x)).abs().max()
    assert (difference > 1e-5) == (allowed and torch.cuda.get_device_capability() >= (8, 0))


def test_more_memory_than_there_is():
    half = torch.empty(torch.cuda.mem_get_info()[1] // 2, dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        torch.empty_like(half).add_(torch.empty(2**28, device="cuda").sum())


def test_float64_on_a_gpu_that_has_none(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "no_float64", True)
    with pytest.raises(TypeError, match="no float64"):
        torch.rand(3, device="cuda").double()


def test_what_the_mode_does_not_see_is_an_error():
    raised = []

    def add():
        try:
            torch.zeros(3, device="cuda").add_(1)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=add)  # modes are a thread's own
    thread.start()
    thread.join()
    assert raised
