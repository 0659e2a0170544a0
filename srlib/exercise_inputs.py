"""Small pictures that exercises are checked on."""

import numpy as np

from srlib.resample import imresize

__all__ = ["noise_image", "smooth_image"]


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Make a picture that is different in every row, column and channel: uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Make a picture that survives being shrunk: uint8 (H, W, 3)."""
    small = noise_image(-(-height // 4), -(-width // 4), seed)
    return imresize(small, 4)[:height, :width].copy()
