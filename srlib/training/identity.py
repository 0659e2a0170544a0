"""What a training is known by: its network, its loss and its pictures, not only their names."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import nn

from srlib.training.config import TrainConfig

__all__ = ["check_same", "describe", "options_of"]

# Settings that may differ on resume: logging and speed, never the result.
_MAY_CHANGE_ON_RESUME = set(
    "compile log_every validate_every checkpoint_every tensorboard progress".split()
)


def describe(
    model: nn.Module, sampler: Any, config: TrainConfig, loss: Callable, processes: int
) -> dict[str, Any]:
    """Return all that the result depends on: a training is resumed only where it is the same.

    ValueError if the loss is a lambda, which has no name. Weights are not part of it, nor what
    random numbers they come from: a checkpoint has its own.
    """
    loss_options = options_of(loss)
    if any(str(name).endswith("<lambda>") for name in (_name(loss), *loss_options.values())):
        raise ValueError(
            "a training with a folder knows its loss by name, got a lambda: write it as a function"
        )
    settings = {k: v for k, v in asdict(config).items() if k not in _MAY_CHANGE_ON_RESUME}
    description = {
        "network": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "modules": len(list(model.modules())),
        "loss": _name(loss),
        "scale": sampler.scale,
        "hr_pixels": sampler.hr_pixels,
        # A sampler of one's own may lack these.
        "pictures": getattr(sampler, "content", None),
        "seed": getattr(sampler, "seed", None),
        "permute_colours": bool(getattr(sampler, "permute_colours", False)),
        "equal_images": bool(getattr(sampler, "equal_images", False)),
        "degradation": str(getattr(sampler, "degradation", None)),
        "sampler": type(sampler).__name__,
        "lr_patch_size": sampler.lr_patch_size,
        "batch_size": sampler.batch_size * processes,
        "augment": sampler.augment,
        **settings,
        "network_options": options_of(model),
        "loss_options": loss_options,
    }
    # NumPy's numbers become Python's, as a checkpoint needs them.
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in description.items()}


def options_of(thing: nn.Module | Callable) -> dict[str, Any]:
    """Return what a network or a loss was made with: ``{"tail.output": "linear", ...}``.

    These are numbers, texts, booleans, None, tuples of them and named functions, where they are
    public attributes: of a network and each of its layers, or of an object that is called. A
    function has them in ``functools.partial`` or in the function around it. Of tensors only type,
    shape and whether they are trained are told, and nothing of lists and dicts, which may grow.
    """
    if inspect.ismethod(thing):
        thing = thing.__self__
    found = {}
    if isinstance(thing, nn.Module):
        for place, module in thing.named_modules():
            if place:
                found[place] = type(module).__name__
            found |= _plain(vars(module), f"{place}." if place else "")
        frozen = {place for place, tensor in thing.named_parameters() if not tensor.requires_grad}
        for place, tensor in thing.state_dict().items():
            if isinstance(tensor, torch.Tensor):
                kind = str(tensor.dtype).removeprefix("torch.")
                found[place] = f"{kind} {tuple(tensor.shape)}" + ", frozen" * (place in frozen)
        return found
    if isinstance(thing, functools.partial):
        arguments = {str(place): value for place, value in enumerate(thing.args)}
        return _plain({"func": thing.func, **arguments, **thing.keywords})
    if hasattr(thing, "__qualname__"):
        around = inspect.getclosurevars(thing).nonlocals if inspect.isfunction(thing) else {}
        return {"defined_in": _name(thing, full=True).rpartition(".")[0], **_plain(around)}
    return _plain(getattr(thing, "__dict__", {}))


def check_same(folder: Path, old: dict, new: dict) -> None:
    """Raise ValueError if the description of the training in a folder is not the `new` one.

    What the old one does not have is not compared: it was not recorded.
    """
    old, new = _flat(old), _flat(new)
    differences = [
        f"{key}: {value!r} there, {new.get(key)!r} now"
        for key, value in old.items()
        if value != new.get(key)
    ]
    if differences:
        more = [f"and {len(differences) - 8} more"] if len(differences) > 8 else []
        raise ValueError(
            f"{folder} holds another training ({'; '.join(differences[:8] + more)}); "
            "choose another folder, or the same values to go on"
        )


def _name(thing, full=False):
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    place = getattr(thing, "__module__", None)  # methods of C classes have none
    return f"{place}.{name}" if full else name.rpartition(".")[2]


def _plain(values, before=""):
    """Keep what can be written down and stays the same while a network is used."""
    found = {}
    for name, value in values.items():
        if name.startswith("_"):
            continue
        items = value if isinstance(value, tuple) else (value,)
        # NaN is no number that could be compared.
        if all(isinstance(i, str | int | float | NoneType) and i == i for i in items):
            found[before + name] = list(value) if isinstance(value, tuple) else value  # as in JSON
        elif hasattr(value, "__qualname__"):
            found[before + name] = _name(value, full=True)
        elif isinstance(value, nn.Module):
            found[before + name] = type(value).__name__
    return found


def _flat(description):
    flat = {}
    for key, value in description.items():
        if key.endswith("_options"):
            place = key.removesuffix("_options")
            flat |= {f"{place}.{name}": option for name, option in value.items()}
        else:
            flat[key] = value
    return flat
