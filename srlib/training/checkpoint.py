"""Checkpoints: complete, written in one piece or not at all, verified when they are read."""

import contextlib
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

__all__ = ["Checkpoint", "CheckpointError", "load_checkpoint", "save_checkpoint"]

_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.safetensors")


class CheckpointError(OSError):
    """A checkpoint cannot be written. What was there before is still whole."""


class Checkpoint(NamedTuple):
    """A saved state and where it was found.

    Attributes
    ----------
    step : int
        After which step it was saved.
    state : dict
        As it was given to `save_checkpoint`; tensors are on the CPU.
    path : Path
        Its file.
    """

    step: int
    state: dict[str, Any]
    path: Path


def save_checkpoint(
    folder: str | os.PathLike, step: int, state: dict[str, Any], *, keep: int = 2
) -> Path:
    """Write a checkpoint, then delete all but the newest ones that are whole.

    One safetensors file, named by the step and by the SHA-256 of its bytes. It is written under
    another name first and renamed when the disk has it, so that whoever kills the process leaves
    a whole file or none.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    step : int
        Orders the checkpoints.
    state : dict
        Dicts, lists and tuples of tensors, numbers, texts, booleans and None, to any depth.
        Tuples come back as lists.
    keep : int
        How many checkpoints stay, this one included.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CheckpointError
        If it cannot be written, a full disk for instance.
    TypeError
        If `state` holds anything else.
    """
    folder, tensors = Path(folder), {}
    text = json.dumps(_take_out(state, tensors))
    data = save_tensors(tensors, metadata={"state": text})
    path = folder / f"step-{step:09d}-{_digest(data)}.safetensors"
    partial = folder / "unfinished.part"  # one a folder: what a killed process leaves is replaced
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        raise CheckpointError(
            f"the checkpoint of step {step}, {len(data) / 1e6:.1f} MB, cannot be written to "
            f"{folder}, where {shutil.disk_usage(there).free / 1e6:.1f} MB are free: {error}"
        ) from error
    kept = 1
    for old in _newest_first(folder):
        if old == path or not _NAME.fullmatch(old.name):
            continue
        if kept < keep and _read(old) is not None:
            kept += 1
        else:
            old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: str | os.PathLike) -> Checkpoint | None:
    """Read the newest checkpoint that is whole, or None if there is none.

    Warns
    -----
    UserWarning
        For each newer one that is torn, altered or no checkpoint: it is named, and the one
        before is taken.
    """
    for path in _newest_first(Path(folder)):
        data = _read(path)
        if data is None:
            warnings.warn(
                f"{path} is torn, was altered or is no checkpoint; the one before it is used",
                stacklevel=2,
            )
            continue
        length = int.from_bytes(data[:8], "little")  # of the header, see the safetensors format
        text = json.loads(data[8 : 8 + length])["__metadata__"]["state"]
        step = int(_NAME.fullmatch(path.name)[1])
        return Checkpoint(step, _put_back(json.loads(text), load_tensors(data)), path)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def _read(path: Path) -> bytes | None:
    """Return the bytes of a file, or None where they are not those that its name promises."""
    name = _NAME.fullmatch(path.name)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if name and _digest(data) == name[2] else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _take_out(value, tensors):
    """Make JSON of a nested state; its tensors go to `tensors` and leave their number behind."""
    if isinstance(value, torch.Tensor):
        # A copy: safetensors refuses tensors that share memory, as tied weights do.
        tensors[str(len(tensors))] = value.detach().cpu().contiguous().clone()
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, dict):  # pairs, because JSON knows only texts as keys
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
