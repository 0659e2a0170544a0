"""Checkpoints: written whole or not at all, verified when they are read."""

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from srlib._atomic import atomic_write

__all__ = ["Checkpoint", "CheckpointError", "load_checkpoint", "save_checkpoint"]

_PATTERN = "step-*.safetensors"
_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.safetensors")


class CheckpointError(OSError):
    """A checkpoint or log cannot be written or read. The checkpoints before it are still whole."""


class Checkpoint(NamedTuple):
    """The state after a step, its tensors on the CPU, and the file that it came from."""

    step: int
    state: dict[str, Any]
    path: Path


def save_checkpoint(
    folder: str | os.PathLike, step: int, state: dict[str, Any], *, keep: int = 2
) -> Path:
    """Write a checkpoint into `folder` and delete all but the newest `keep` that are whole.

    It is one safetensors file, named by the step and by the SHA-256 of its bytes. `state` has
    dicts, lists and tuples of tensors, numbers, texts, booleans and None, to any depth; TypeError
    for anything else. Tuples come back as lists. CheckpointError if it cannot be written.
    """
    folder, tensors = Path(folder), {}
    metadata = {"state": json.dumps(_take_out(state, tensors)), "step": str(step)}
    data = save_tensors(tensors, metadata=metadata)
    path = folder / f"step-{step:09d}-{_digest(data)}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        raise CheckpointError(
            f"the checkpoint of step {step}, {len(data) / 1e6:.1f} MB, cannot be written to "
            f"{folder}, where {shutil.disk_usage(there).free / 1e6:.1f} MB are free: {error}"
        ) from error
    for unfinished in folder.glob(".step-*"):  # by a process that was killed
        shutil.rmtree(unfinished, ignore_errors=True)
    kept = 1
    for old in _newest_first(folder):
        if old == path or not _NAME.fullmatch(old.name):
            continue
        with contextlib.suppress(OSError):  # what cannot be read or deleted stays
            if kept < keep and _read(old) is not None:
                kept += 1
            else:
                old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: str | os.PathLike) -> Checkpoint | None:
    """Read the newest checkpoint that is whole, or None; warn of newer ones that are not.

    CheckpointError if one cannot be read, ValueError if its name has another step than it holds.
    """
    found, broken = None, []
    for path in _newest_first(Path(folder)):
        data = _read(path)
        if data is None:
            broken.append(path.name)
            continue
        length = int.from_bytes(data[:8], "little")  # of the header, see the safetensors format
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        step = int(_NAME.fullmatch(path.name)[1])
        held = int(metadata.get("step", step))  # older checkpoints do not have it
        if held != step:
            raise ValueError(
                f"{path} was renamed: it holds step {held}, not {step}; give it back its name, "
                f"step-{held:09d}-{_digest(data)}.safetensors, or move it out of the folder"
            )
        state = _put_back(json.loads(metadata["state"]), load_tensors(data))
        found = Checkpoint(step, state, path)
        break
    if broken:
        instead = f"that of step {found.step} is used" if found else "nothing is left to go on from"
        warnings.warn(
            f"{folder}: torn, altered or no checkpoint: {', '.join(broken)}; {instead}",
            stacklevel=2,
        )
    return found


def _newest_first(folder):
    try:
        names = os.listdir(folder)  # unlike glob, it does not take a forbidden folder for empty
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((folder / name for name in fnmatch.filter(names, _PATTERN)), reverse=True)


def _read(path):
    """Return the bytes of a file, or None where they do not have the SHA-256 of its name."""
    name = _NAME.fullmatch(path.name)
    if not name or not path.is_file():
        return None
    try:
        data = path.read_bytes()
    except OSError as error:  # it may be whole, and readable tomorrow
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return data if _digest(data) == name[2] else None


def _digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def _take_out(value, tensors):
    """Return a state as JSON can hold it; each tensor moves to `tensors` and leaves its number."""
    if isinstance(value, torch.Tensor):
        # A copy: safetensors refuses tensors that share memory, as tied weights do.
        tensors[str(len(tensors))] = value.detach().cpu().contiguous().clone()
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, dict):  # as pairs: JSON has only texts as keys
        return {"dict": [[key, _take_out(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_take_out(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors, numbers and texts, got {type(value).__name__}")


def _put_back(value, tensors):
    if isinstance(value, list):
        return [_put_back(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _put_back(item, tensors) for key, item in value["dict"]}
    return value
