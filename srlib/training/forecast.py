"""What a training takes on a device, measured before its first step, and how a recipe suits it."""

import copy
import dataclasses
import importlib.util
import os
import shutil
import statistics
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from srlib.data import PatchSampler
from srlib.training import TrainConfig, train
from srlib.training.config import precision_type

__all__ = ["Forecast", "bytes_per_patch", "forecast", "suit"]

_STEPS, _PATIENCE_S = 12, 5.0  # how many steps are tried at most, and for how long
_HELD = 1.5 * 2**30  # bytes that torch, cuDNN and the photographs take on a GPU


class Forecast(NamedTuple):
    """What a training is made of and how fast it is."""

    parameters: int
    operations: int  # floating-point operations of a step
    seconds: float  # of a step, uncompiled


def forecast(
    model: nn.Module,
    sampler: PatchSampler,
    config: TrainConfig,
    *,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.l1_loss,
) -> Forecast:
    """Try a few steps on a copy of the network, as `srlib.training.train` will do them.

    At most twelve, and no more after five seconds. They are not compiled, since compiling takes
    longer than most of what it would tell. Network, sampler and random numbers stay as they were.
    In one process only. MemoryError if a batch is too large for the memory.
    """
    trial, device, ends = copy.deepcopy(model), sampler.device, []
    loss = copy.deepcopy(loss)  # it may learn, too

    class Enough(Exception):
        pass

    def watch(step, _):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ends.append(time.perf_counter())
        if step >= 3 and ends[-1] - ends[0] > _PATIENCE_S:
            raise Enough

    # Too low a rate to harm even a network that would not stand the first steps of a high one.
    short = {"steps": _STEPS, "seconds": None, "learning_rate": 1e-12, "compile": "no"}
    quiet = {"log_every": _STEPS, "validate_every": None, "checkpoint_every": None}
    quiet |= {"tensorboard": False, "progress": False}
    place, random = sampler.state_dict(), [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=random):
        try:
            history = train(
                trial,
                sampler,
                dataclasses.replace(config, **short, **quiet),
                loss=loss,
                on_step=watch,
            )
            if not history.attrs["complete"]:
                raise KeyboardInterrupt
        except Enough:
            pass
        finally:
            sampler.load_state_dict(place)
        lr = torch.zeros(1, 3, sampler.lr_patch_size, sampler.lr_patch_size, device=device)
        with FlopCounterMode(display=False) as counter:
            sr = trial(lr)
            loss(sr, torch.zeros_like(sr)).backward()
    return Forecast(
        sum(parameter.numel() for parameter in model.parameters()),
        counter.get_total_flops() * sampler.batch_size,
        statistics.median(after - before for before, after in zip(ends, ends[1:], strict=False)),
    )


def bytes_per_patch(model: nn.Module, lr_patch_size: int, precision: torch.dtype) -> int:
    """Count what a patch leaves in memory for the way back, in a type of the convolutions."""
    held = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    trial = copy.deepcopy(model).cpu()
    lr = torch.zeros(1, 3, lr_patch_size, lr_patch_size)
    half = precision != torch.float32
    with (
        torch.random.fork_rng(devices=[]),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        sr = trial(lr)  # the graph keeps what was saved, so that no address is used twice
    del sr
    return sum(size for place, size in held.items() if place not in weights)


def suit(
    recipe: dict[str, Any],
    model: nn.Module,
    device: torch.device,
    *,
    fixed: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Fit a recipe to a device: the same recipe with other values, and a reason for each choice.

    Asks the device for its capability and memory, and whether something is there to compile with.
    The batch is halved until it fits into four fifths of the memory. Settings in `fixed` stay.
    On a processor only the precision is told.
    """
    recipe, reasons = dict(recipe), []
    precision = precision_type(recipe.get("mixed_precision", "no"), device)
    if recipe.get("mixed_precision") == "auto":
        kind = str(precision).removeprefix("torch.")
        why = "the processor has no instructions for bfloat16"
        if device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(device)
            why = f"the GPU's capability is {major}.{minor}"
        elif precision == torch.bfloat16:
            why = "the processor has instructions for it"
        reasons.append(f"convolutions in {kind}: {why}")
    if device.type != "cuda":
        return recipe, reasons
    total = torch.cuda.get_device_properties(device).total_memory
    if "batch_size" not in fixed:
        each, batch = bytes_per_patch(model, recipe["lr_patch_size"], precision), None
        each *= 1.5  # gradients on their way, and what a convolution needs inside
        for batch in (recipe["batch_size"] >> halvings for halvings in range(16)):
            if batch <= 1 or batch * each + _HELD <= 0.8 * total:
                break
        recipe["batch_size"] = batch = max(batch, 1)
        need = (batch * each + _HELD) / 2**30
        reasons.append(
            f"batches of {batch} patches: about {need:.1f} of {total / 2**30:.1f} GiB (calculated)"
        )
    if recipe.get("compile", "no") != "no" and "compile" not in fixed:
        if missing := _missing_to_compile(device):
            recipe["compile"] = "no"
            reasons.append(f"uncompiled: {missing}")
        else:
            reasons.append(f"compiled ({recipe['compile']}): a compiler and Triton are there")
    return recipe, reasons


def _missing_to_compile(device):
    """Say what `torch.compile` lacks; "" if nothing."""
    if os.name == "nt":
        return "there is no Triton for Windows"
    if torch.cuda.get_device_capability(device) < (7, 0):
        return "Triton needs a GPU of capability 7.0 or more"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not any(map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))):
        return "no C compiler (gcc) is installed"
    return ""
