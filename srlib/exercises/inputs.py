"""Small pictures to check exercises on, and shuffled copies of inputs."""

from typing import Any

import numpy as np
import torch

from srlib.resample import imresize

__all__ = ["noise_image", "shuffle", "smooth_image"]


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Make a picture of random pixels: uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Make a smooth picture, which shrinking changes little: uint8 (H, W, 3)."""
    small = noise_image(-(-height // 4), -(-width // 4), seed)
    return imresize(small, 4)[:height, :width].copy()


def shuffle(value: Any, random: np.random.Generator) -> Any:
    """Copy a value, with the elements of all arrays and tensors in it in another order.

    It may be an array, a tensor, or tuples, lists and dicts of those; anything else stays as it
    is. Arrays whose elements are all equal get another value. Shapes and dtypes stay.
    """
    if isinstance(value, torch.Tensor):
        return torch.from_numpy(shuffle(value.detach().numpy(), random)).to(value.dtype)
    if isinstance(value, np.ndarray):
        if value.size and (value == value.flat[0]).all():
            step = random.integers(1, 20) if value.dtype.kind in "iu" else random.uniform(0.1, 0.9)
            return np.asarray(value + np.asarray(step, value.dtype), value.dtype)  # uint8 may wrap
        other = value
        while np.array_equal(other, value, equal_nan=value.dtype.kind in "fc"):
            other = random.permutation(value.ravel()).reshape(value.shape)
        return other
    if isinstance(value, (tuple, list)):
        return type(value)(shuffle(part, random) for part in value)
    if isinstance(value, dict):
        return {key: shuffle(part, random) for key, part in value.items()}
    return value
