"""Measure what a network costs and how far it sees."""

import copy
import math
import time
import weakref

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from srlib._arguments import check_count
from srlib.environment import memory_is_said

__all__ = ["activation_bytes", "measure", "receptive_field"]

_GRIDS = (1, 2, 4, 8, 16)
_PROBES = (64, 128, 256, 512, 1024)  # widths in LR pixels; the smaller, the faster
_STRIP = 32  # their height


def measure(
    model: nn.Module,
    lr_size: tuple[int, int],
    *,
    repeats: int = 10,
    warmup: int = 3,
) -> dict[str, float]:
    """Measure what a network costs on one image, in evaluation mode, on the device of its weights.

    The image has random pixels and `lr_size`, (H, W). `warmup` runs come before the `repeats` that
    are timed, because the first ones choose algorithms and fill caches.

    Returns
    -------
    dict
        - ``parameters``: values in the network's parameters.
        - ``multiply_adds``: of all convolutions and matrix products for the image, with the fixed
          bicubic one and with products by padded zeros, without additions, activations and
          resizing. Half of what torch calls FLOPs.
        - ``multiply_adds_per_pixel``: the same for one pixel of the output.
        - ``latency_ms``: the median of the runs, each until the device has finished.
        - ``latency_iqr_ms``: from the first to the third quartile of the runs.
        - ``peak_memory_mib``: the most that weights, input, features and output take at one
          time, in MiB of 2**20 bytes. On CUDA it is what torch's allocator counts, including
          cuDNN's working memory; elsewhere it is the tensors in use after each of torch's
          operations, without what an operation needs inside.

    Raises
    ------
    MemoryError
        If the image is too large for the memory.
    """
    if len(lr_size) != 2:
        raise ValueError(f"lr_size must be (H, W), got {lr_size!r}")
    for name, value in (("H", lr_size[0]), ("W", lr_size[1])):
        check_count(f"{name} of lr_size", value)
    check_count("repeats", repeats)
    check_count("warmup", warmup)
    weight = next(model.parameters())
    memory_short = (
        f"the network needs more memory than there is for {lr_size[0]} x {lr_size[1]} pixels at "
        "once; choose a smaller lr_size or network"
    )
    was_training = model.training
    model.eval()
    try:
        with memory_is_said(memory_short), torch.inference_mode():
            lr = torch.rand(1, 3, *lr_size, device=weight.device, dtype=weight.dtype)
            with FlopCounterMode(display=False) as counter:
                pixels = math.prod(model(lr).shape[-2:])
            latencies = _latencies(model, lr, repeats, warmup)
            peak = _peak_bytes(model, lr)
    finally:
        model.train(was_training)
    first, median, third = np.percentile(latencies, [25, 50, 75])
    multiply_adds = counter.get_total_flops() // 2
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_adds": multiply_adds,
        "multiply_adds_per_pixel": multiply_adds / pixels,
        "latency_ms": float(median),
        "latency_iqr_ms": float(third - first),
        "peak_memory_mib": peak / 2**20,
    }


def _latencies(model, lr, repeats, warmup):
    """Milliseconds of each run."""
    result = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        model(lr)
        if lr.device.type != "cpu":  # it computes while Python goes on
            torch.accelerator.synchronize(lr.device)
        result.append((time.perf_counter() - start) * 1000)
    return result[warmup:]


def activation_bytes(model: nn.Module) -> int:
    """Measure what a network takes for each LR pixel, in bytes, beside its weights.

    The tensors that are in use at once are counted while an image of 48 x 48 pixels goes through.
    """
    weight = next(model.parameters())
    lr = torch.rand(1, 3, 48, 48, device=weight.device, dtype=weight.dtype)
    held = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    return max(1, math.ceil((_peak_bytes(model, lr) - held) / (48 * 48)))


def _peak_bytes(model, lr):
    tensors = [*model.parameters(), *model.buffers(), lr]
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    if lr.is_cuda:
        torch.cuda.reset_peak_memory_stats(lr.device)
        before = torch.cuda.memory_allocated(lr.device)
        model(lr)
        return sum(held.values()) + torch.cuda.max_memory_allocated(lr.device) - before
    with _LiveTensors(held) as live:
        model(lr)
    return live.peak


# torch has no public name for this mode, though its documentation builds on it.
class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors in use: those in `held` and the results of operations."""

    def __init__(self, held):
        super().__init__()
        self.bytes = dict(held)  # by the storage's address: views do not count again
        self.peak = sum(held.values())

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                address = storage.data_ptr()
                if address not in self.bytes:
                    self.bytes[address] = storage.nbytes()
                    weakref.finalize(storage, self.bytes.pop, address)
        self.peak = max(self.peak, sum(self.bytes.values()))
        return result


def receptive_field(model: nn.Module) -> tuple[int, int]:
    """Measure how far a network sees: a NaN in the input makes NaN of all that depends on it.

    A copy runs in float32 on the CPU. Returns (radius, grid) in LR pixels: no output pixel depends
    on input pixels farther than the radius from its cell, and an input shifted by a cell gives an
    output shifted by a cell. Cells have a side of 1 without pooling, 2 for pooling by 2, at most
    16. ValueError if there are none such, as with a mean over the image, or if a NaN is lost.

    Examples
    --------
    >>> receptive_field(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 5, padding=2)))
    (3, 1)
    """
    model = copy.deepcopy(model).float().cpu().eval()
    # NNPACK transforms whole blocks of pixels, which would spread the NaN.
    with torch.inference_mode(), torch.backends.nnpack.flags(enabled=False):
        for size in _PROBES:
            for grid in _GRIDS:
                radius = _radius(model, size, grid)
                if radius is not None and radius < size // 2 - 2 * grid:
                    return radius, grid
    raise ValueError(
        "the network must see equally far everywhere, and not the whole image, to run in tiles; "
        f"{type(model).__name__} sees more than {_PROBES[-1] // 2 - 2 * _GRIDS[-1]} pixels far"
    )


def _radius(model, size, grid):
    """How far a NaN spreads from a cell, in LR pixels; None if it is another from the next cell."""
    radius = 0
    for turn in (lambda x: x, lambda x: x.mT):  # along rows, along columns
        lr = torch.zeros(2, 3, _STRIP, size)
        starts = [size // 2, size // 2 + grid]
        for image, start in zip(lr, starts, strict=True):
            image[..., start : start + grid] = math.nan
        sr = turn(model(turn(lr)))
        scale, rest = divmod(sr.shape[-1], size)
        if rest or sr.shape[-2:] != (scale * _STRIP, scale * size) or not scale:
            raise ValueError(
                f"the network must enlarge by a whole number, got {tuple(sr.shape[-2:])} "
                f"from {tuple(lr.shape[-2:])}"
            )
        reaches = []
        for image, start in zip(sr, starts, strict=True):
            reached = image.isnan().any(dim=0).any(dim=0).nonzero()  # columns
            if not len(reached):
                raise ValueError("the network must let a NaN through, got none in its output")
            first, last = reached[0].item(), reached[-1].item()
            reaches.append((scale * start - first, last + 1 - scale * (start + grid)))
        if reaches[0] != reaches[1]:
            return None
        radius = max(radius, *(math.ceil(reach / scale) for reach in reaches[0]))
    return radius
